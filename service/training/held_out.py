"""Keeps the judged questions out of the training text: equal, contained or nearly equal."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).with_name("questions.json")
NEAR = 0.8  # share of common words from which a training question counts as a copy


def judged() -> dict[str, Any]:
    """The judged questions and their rule, as written in `questions.json`."""
    loaded: dict[str, Any] = json.loads(QUESTIONS.read_text())
    return loaded


def judged_texts() -> list[str]:
    """Every judged user turn."""
    table = judged()
    turns = [turn for row in table["two_turns"] for turn in (row["first"], row["then"])]
    return [row["ask"] for row in table["questions"]] + turns


def normalised(text: str) -> str:
    """Lower case words parted by single spaces."""
    return " ".join(re.findall(r"[a-z0-9_/']+", text.lower()))


class HeldOut:
    """Answers whether a training question is a copy of a judged one."""

    def __init__(self, questions: Iterable[str]) -> None:
        self.texts = [normalised(question) for question in questions]
        self.words = [frozenset(text.split()) for text in self.texts]

    def covers(self, question: str) -> bool:
        text = normalised(question)
        words = frozenset(text.split())
        if any(f" {judged} " in f" {text} " for judged in self.texts):
            return True
        return any(len(words & other) >= NEAR * len(words | other) for other in self.words)
