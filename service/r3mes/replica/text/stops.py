"""Finds stop strings in text that arrives piece by piece. Knows no tokens.

The result does not depend on how the text was cut: a match is the one that ends first, and of
those that end together the longest. Text that may yet become a stop string is held back. Each
character is looked at once (an Aho-Corasick automaton).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Node:
    """A prefix of some stop string; `stop` is the longest stop string that ends here."""

    depth: int
    stop: str | None = None
    next: dict[str, "Node"] = field(default_factory=dict)
    fallback: "Node | None" = None


def automaton(stops: Sequence[str]) -> Node:
    root = Node(0)
    for stop in stops:
        node = root
        for char in stop:
            node = node.next.setdefault(char, Node(node.depth + 1))
        node.stop = stop
    link(root)
    return root


def link(root: Node) -> None:
    """Give each node the longest other prefix that its text ends with."""
    todo = deque([root])
    while todo:
        node = todo.popleft()
        for char, child in node.next.items():
            child.fallback = advance(root, node.fallback, char)
            if child.stop is None:
                child.stop = child.fallback.stop
            todo.append(child)


def advance(root: Node, node: Node | None, char: str) -> Node:
    while node is not None:
        if char in node.next:
            return node.next[char]
        node = node.fallback
    return root


class StopMatcher:
    """`feed` returns the text that is certainly not part of a stop string.

    Once `found` is set the text has ended. `include` leaves the stop string in the text.
    """

    def __init__(self, stops: Sequence[str], *, include: bool = False) -> None:
        self.found: str | None = None
        self._root = automaton(stops)
        self._node = self._root
        self._include = include
        self._held = ""

    def feed(self, text: str) -> str:
        if not self._root.next:
            return text
        known = len(self._held)
        buffer = self._held + text
        for end, char in enumerate(text, start=known + 1):
            self._node = advance(self._root, self._node, char)
            if self._node.stop is not None:
                return self._end(buffer[:end], self._node.stop)
        safe = len(buffer) - self._node.depth
        self._held = buffer[safe:]
        return buffer[:safe]

    def finish(self) -> str:
        """No more text will come: what was held back is plain text after all."""
        held, self._held, self._node = self._held, "", self._root
        return held

    def _end(self, text: str, stop: str) -> str:
        self.found = stop
        self._held = ""
        return text if self._include else text[: len(text) - len(stop)]
