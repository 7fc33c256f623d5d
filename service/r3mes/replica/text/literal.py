"""Keeps what users write from being read as control tokens. Knows no tokenizer.

A tokenizer turns the text of an added token, such as `<|im_end|>`, into that token wherever it
finds it. So each such text in a user's string gets a mark after its first character before the
template is rendered; the rendered text is cut at the marks, and the parts are encoded one by one.
A mark is a Unicode noncharacter that occurs nowhere in the request.

Some tokenizers rewrite text first (letters of any width or case become one) and look for some of
their tokens in the result. Text whose rewriting shows one is cut there too.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from r3mes.errors import InvalidRequest

# The Unicode noncharacters of the block that exists for internal use such as this.
MARKS = tuple(chr(code) for code in range(0xFDD0, 0xFDF0))
FIRST_LOOK = 64  # characters

Rewriting = Callable[[str], str]
Shows = Callable[[str], bool]  # whether a token is in the text once it is rewritten


class Literals:
    """The added tokens of a model, as something that can be looked for in linear time.

    `rewritten` are those that the tokenizer looks for in what `rewrite` makes of a text. Tokens of
    whitespace alone are left out: they are ordinary text, and harmless.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        *,
        rewritten: Iterable[str] = (),
        rewrite: Rewriting | None = None,
    ) -> None:
        self._starts = starts_of(tokens)
        self._shows = None if rewrite is None else search(starts_of(rewritten), rewrite)

    def marked(self, text: str, mark: str) -> str:
        if self._starts is not None:
            text = self._starts.sub(lambda match: match[0] + mark, text)
        if self._shows is None:
            return text
        return mark.join(piece for part in text.split(mark) for piece in cut(part, self._shows))

    def mark_all(self, value: Any, mark: str) -> Any:
        """The same value with every string in it marked, also keys."""
        if isinstance(value, str):
            return self.marked(value, mark)
        if isinstance(value, dict):
            return {self.marked(k, mark): self.mark_all(v, mark) for k, v in value.items()}
        if isinstance(value, list):
            return [self.mark_all(item, mark) for item in value]
        return value


def search(words: re.Pattern[str] | None, rewrite: Rewriting) -> Shows | None:
    return None if words is None else lambda text: words.search(rewrite(text)) is not None


def cut(text: str, shows: Shows) -> Iterator[str]:
    """The text in pieces, none of which shows a token."""
    start = 0
    while (end := first_end(text, start, shows)) is not None:
        if end - 1 == start:
            raise InvalidRequest("The text has a character that is a control token.")
        yield text[start : end - 1]
        start = end - 1
    yield text[start:]


def first_end(text: str, start: int, shows: Shows) -> int | None:
    """Where a token is complete: up to here one shows, up to the character before none does.

    Looking ever further and then closer keeps the time in proportion to the way.
    """
    clean, size = start, FIRST_LOOK
    while not shows(text[start : start + size]):
        clean = start + size
        size *= 2
        if clean >= len(text):
            return None
    end = min(start + size, len(text))
    while end - clean > 1:
        middle = (clean + end) // 2
        clean, end = (clean, middle) if shows(text[start:middle]) else (middle, end)
    return end


def starts_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """Finds the first character of every token, also of tokens that overlap."""
    words = [token for token in tokens if len(token) > 1 and token.strip(" \n\t\r▁")]
    return re.compile(f"(?=(?:{trie_pattern(words)})).", re.DOTALL) if words else None


def free_marks(value: Any, count: int) -> list[str]:
    """Marks that occur nowhere in the value."""
    used = {char for text in strings(value) if not text.isascii() for char in MARKS if char in text}
    free = [char for char in MARKS if char not in used]
    if len(free) < count:
        raise InvalidRequest("The text uses all the noncharacters U+FDD0 to U+FDEF.")
    return free[:count]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def trie_pattern(words: Iterable[str]) -> str:
    """A pattern that matches the shortest of the words at a place, looking at each character once.

    A plain alternation would try thousands of words one after another.
    """
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for char in word:
            node = node.setdefault(char, {})
        node[""] = {}
    return branches(root)


def branches(node: dict[str, Any]) -> str:
    if "" in node:
        return ""  # a shorter word is enough
    options = []
    for char, child in node.items():
        run = char
        while len(child) == 1 and "" not in child:
            ((char, child),) = child.items()
            run += char
        options.append(re.escape(run) + branches(child))
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"
