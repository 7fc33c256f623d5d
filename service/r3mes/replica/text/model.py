"""The text side of one model: prompts to ids, and what turns ids back into text.

Composes template, literals and codec; knows neither HTTP nor the engine.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from r3mes.engine.messages import ModelInfo
from r3mes.errors import ContextTooLong, InvalidRequest
from r3mes.protocol.chat import ChatMessage, TemplatedBody
from r3mes.replica.text.codec import Codec
from r3mes.replica.text.conversation import template_messages
from r3mes.replica.text.detokenizer import Detokenizer
from r3mes.replica.text.literal import Literals, free_marks
from r3mes.replica.text.template import ChatTemplate

INLINE_CHARS = 4096  # shorter work costs less than handing it to a thread
MORE = 64  # characters that take as long as a prompt, a message or a call beside its text

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How to render a chat. `variables` reach the template as they are."""

    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    variables: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, body: TemplatedBody) -> Self:
        return cls(
            add_generation_prompt=body.prompted(),
            continue_final_message=bool(body.continue_final_message),
            add_special_tokens=bool(body.add_special_tokens),
            variables=body.template_variables(),
        )


class TextModel:
    def __init__(self, codec: Codec, template: ChatTemplate | None, *, info: ModelInfo) -> None:
        self.codec = codec
        self.info = info
        self._template = template
        self._everything = Literals(
            codec.added_tokens, rewritten=codec.rewritten_tokens, rewrite=codec.rewrite
        )
        self._specials = Literals(
            specials(codec.added_tokens),
            rewritten=specials(codec.rewritten_tokens),
            rewrite=codec.rewrite,
        )

    async def encode(self, text: str, *, add_special_tokens: bool, cut: bool = False) -> list[int]:
        """Ids of a prompt as it stands. `cut` tells that the result may be longer than fits."""
        (ids,) = await self.encode_all([text], add_special_tokens=add_special_tokens, cut=cut)
        return ids

    async def encode_all(
        self, texts: Sequence[str], *, add_special_tokens: bool, cut: bool = False
    ) -> list[list[int]]:
        """The same for several prompts at once."""

        def encoded(text: str) -> list[int]:
            self._check_bytes(len(text.encode()), of="prompt", cut=cut)
            return self.codec.encode(text, add_special_tokens=add_special_tokens)

        size = sum(map(len, texts)) + MORE * len(texts)
        return await off_loop(lambda: list(map(encoded, texts)), size=size)

    async def encode_chat(
        self, messages: Sequence[ChatMessage], options: ChatOptions, *, cut: bool = False
    ) -> list[int]:
        """Ids of a chat; raises InvalidRequest where the template cannot render it."""

        def work() -> list[int]:
            shown = sum(len(message.content or "") for message in messages)
            self._check_bytes(shown, of="messages", cut=cut)
            parts = self._render(messages, options)
            self._check_bytes(sum(len(part.encode()) for part in parts), of="messages", cut=cut)
            ids = self.codec.encode(parts[0], add_special_tokens=options.add_special_tokens)
            for part in parts[1:]:
                ids += self.codec.encode_rest(part)
            return ids

        size = sum(map(weight, messages))
        return await off_loop(work, size=size + len(repr(options.variables)))

    def detokenizer(self, *, skip_special: bool, at_start: bool = False) -> Detokenizer:
        return self.codec.detokenizer(skip_special=skip_special, at_start=at_start)

    async def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """The text of a whole prompt."""

        def work() -> str:
            detokenizer = self.detokenizer(skip_special=skip_special, at_start=True)
            return "".join([*map(detokenizer.feed, ids), detokenizer.finish()])

        return await off_loop(work, size=len(ids))

    async def token_texts(self, ids: Sequence[int]) -> list[str]:
        return await off_loop(lambda: list(map(self.token_text, ids)), size=len(ids))

    def framing(self) -> list[int]:
        """The ids that the tokenizer adds before and behind a text."""
        return self.codec.encode("", add_special_tokens=True)

    def token_text(self, token: int) -> str:
        return self.codec.token_bytes(token).decode("utf-8", "replace")

    def _check_bytes(self, count: int, *, of: str, cut: bool) -> None:
        """Text that cannot fit whatever its ids are need not be tokenized to be refused."""
        least = -(-count // self.codec.longest_token)
        if least > self.info.max_len and not cut:
            raise too_long(self.info.max_len, f"at least {least}", of=of)

    def _render(self, messages: Sequence[ChatMessage], options: ChatOptions) -> list[str]:
        """The rendered text, cut where user text must not join into a control token."""
        template = self._template
        if template is None:
            raise InvalidRequest(
                "This model has no chat template; use completions, or serve it with one.",
                param="messages",
                code="template_error",
            )
        shaped = template_messages(messages, knows_developer="developer" in template.source)
        mark, end = free_marks([shaped, options.variables], 2)
        shaped = [self._marked(message, mark) for message in shaped]
        if options.continue_final_message:
            shaped[-1]["content"] += end
        variables = self._everything.mark_all(options.variables, mark)
        variables["add_generation_prompt"] = options.add_generation_prompt
        text = template.render(shaped, variables)
        if options.continue_final_message:
            text = before(end, text)
        return text.split(mark)

    def _marked(self, message: dict[str, Any], mark: str) -> dict[str, Any]:
        """Templates look for tags such as `</think>` in what the assistant wrote: those stay."""
        literals = self._specials if message["role"] == "assistant" else self._everything
        marked = {key: literals.mark_all(value, mark) for key, value in message.items()}
        return {**marked, "role": message["role"]}


def specials(tokens: Mapping[str, bool]) -> list[str]:
    return [text for text, special in tokens.items() if special]


def weight(message: ChatMessage) -> int:
    """Characters of all that a message can bring, and what it costs beside them."""
    own = (
        message.content,
        message.name,
        message.tool_call_id,
        message.reasoning_content,
        message.reasoning,
    )
    functions = [call.function for call in message.tool_calls or ()]
    if message.function_call is not None:
        functions.append(message.function_call)
    called = [text for each in functions for text in (each.name, each.arguments)]
    ids = [call.id for call in message.tool_calls or ()]
    texts = [text or "" for text in (*own, *called, *ids)]
    return sum(map(len, texts)) + MORE * (1 + len(functions))


def before(end: str, text: str) -> str:
    """The rendered text up to the end of the last message's content."""
    head, found, _ = text.rpartition(end)
    if not found:
        raise InvalidRequest(
            "The chat template does not show the last message.",
            param="continue_final_message",
            code="template_error",
        )
    return head


def too_long(limit: int, needed: str, *, of: str) -> ContextTooLong:
    """Routers recognise the beginning of this sentence."""
    return ContextTooLong(
        f"This model's maximum context length is {limit} tokens. However, your {of} resulted in "
        f"{needed} tokens. Please reduce the length of the {of}.",
        param=of,
    )


async def off_loop(work: Callable[[], Result], *, size: int) -> Result:
    """Long work runs in a thread, so that streams of others go on."""
    return work() if size <= INLINE_CHARS else await asyncio.to_thread(work)
