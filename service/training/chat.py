"""The shape of one training chat: messages in the API's form and the tools that were offered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

Message = dict[str, Any]
Tool = dict[str, Any]


@dataclass(frozen=True)
class Chat:
    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)
    drill: bool = False  # only the opening of each answer is learned

    def user_turns(self) -> list[str]:
        return [turn["content"] for turn in self.messages if turn["role"] == "user"]


Maker = Callable[[Random], Chat]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def exchange(ask: str, answer: str) -> Chat:
    """A chat of one question and one answer."""
    return Chat([user(ask), assistant(answer)])
