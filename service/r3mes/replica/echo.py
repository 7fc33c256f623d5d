"""A prompt as completions give it back: its text, and where each of its tokens lies in it.

A prompt that came as text goes back as it came, whatever the tokenizer made of it. Where decoding
does not give the same text, the places of the tokens are those in the decoded one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from r3mes.engine.messages import Logprob
from r3mes.replica.choice import TokenInfo
from r3mes.replica.text.model import TextModel, off_loop


@dataclass(frozen=True, slots=True)
class Echo:
    text: str
    spans: list[tuple[int, int]]

    def tokens(self, ids: Sequence[int], found: Sequence[Logprob | None]) -> list[TokenInfo]:
        return [
            TokenInfo(token, logprob, start, end)
            for token, logprob, (start, end) in zip(ids, found, self.spans, strict=True)
        ]


async def echoes_of(
    prompts: Sequence[list[int]], texts: Sequence[str | None], *, text: TextModel
) -> list[Echo]:
    """`texts` holds what each prompt was, or None where it came as ids or was cut."""

    def work() -> list[Echo]:
        pairs = zip(prompts, texts, strict=True)
        return [echo_of(ids, text, verbatim=verbatim) for ids, verbatim in pairs]

    return await off_loop(work, size=sum(map(len, prompts)))


def echo_of(ids: Sequence[int], text: TextModel, *, verbatim: str | None) -> Echo:
    head, tail = (0, 0) if verbatim is None else around(ids, text.framing())
    detokenizer = text.detokenizer(skip_special=False, at_start=True)
    spans = [(0, 0)] * head
    parts: list[str] = []
    length = 0
    for token in ids[head : len(ids) - tail]:
        part = detokenizer.feed(token)
        spans.append((length, length + len(part)))
        length += len(part)
        parts.append(part)
    spans += [(length, length)] * tail
    decoded = "".join([*parts, detokenizer.finish()])
    return Echo(decoded if verbatim is None else verbatim, spans)


def around(ids: Sequence[int], framing: Sequence[int]) -> tuple[int, int]:
    """How many ids before and behind a text the tokenizer has added to it."""
    head = 0
    while head < min(len(ids), len(framing)) and ids[head] == framing[head]:
        head += 1
    behind = list(framing[head:])
    return head, len(behind) if behind and list(ids[-len(behind) :]) == behind else 0
