"""What a comparison asks of its servers, and about how long that takes. Starts and asks nothing."""

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.random_model import Size
from benchmarks.servers import Server
from r3mes.bench.prompts import prompt as random_words

TAIL = 16  # requests of a level beyond its streams, so that some begin while others run
BURST = 16  # prompts that arrive together
TOKENS = 128, 64  # in and out: what the seconds below are of
# Seconds of such a request with 135m, as the slower of the usual servers take them on two cores.
ALONE_S, AMONG_FOUR_S, AMONG_MORE_S = 1.6, 0.8, 0.4
WEIGHT: dict[Size, float] = {"135m": 1, "360m": 2.7, "qwen2.5-0.5b": 3.7, "qwen3-0.6b": 4.4}


@dataclass(frozen=True)
class Cell:
    """One load on one server."""

    name: str
    streams: int
    requests: int
    seconds: float  # about what it takes

    @property
    def begin_s(self) -> float:
        """Afterwards none of its requests begins, so that a slow machine does not take hours."""
        return 2 * self.seconds


@dataclass(frozen=True)
class Course:
    """`prompt` and `output` bound the tokens of a request, which are drawn for each.

    `highest` is a level for ours alone, in the first round.
    """

    size: Size
    rounds: int
    levels: tuple[int, ...]
    prompt: tuple[int, int] = (TOKENS[0], TOKENS[0])
    output: tuple[int, int] = (TOKENS[1], TOKENS[1])
    highest: int | None = None
    all_servers: bool = False
    patient: bool = True  # with servers that take long to start or few streams

    @property
    def words(self) -> str:
        def span(bounds: tuple[int, int]) -> str:
            low, high = bounds
            return f"{low}" if low == high else f"{low} to {high}"

        return f"{span(self.prompt)} tokens in, {span(self.output)} out"

    def levels_of(self, server: Server, number: int) -> list[Cell]:
        """What is asked of the server in this round, beside a burst."""
        levels = (*self.levels, *([self.highest] if self.highest and number == 0 else []))
        return [self.level(it, slower=server.slower) for it in levels if it <= server.most]

    def burst_of(self, server: Server) -> Cell | None:
        if not (self.all_servers and server.bursts):
            return None
        return self._cell("burst", BURST, BURST)

    def level(self, streams: int, *, slower: float = 1) -> Cell:
        """A server that is several times slower gets its streams once, and so fewer requests."""
        count = max(3, streams) if slower > 1 else max(4, min(2 * streams, streams + TAIL))
        return self._cell(f"{streams} at a time", streams, count, slower)

    def warm(self) -> Cell:
        """Before anything is measured."""
        return self._cell("warm", 1, 1)

    def _cell(self, name: str, streams: int, requests: int, slower: float = 1) -> Cell:
        one = AMONG_MORE_S if streams > 4 else AMONG_FOUR_S if streams > 1 else ALONE_S
        length = (sum(self.prompt) + sum(self.output)) / (2 * sum(TOKENS))
        weight = WEIGHT.get(self.size, 1) * length * slower
        return Cell(name, streams, requests, requests * one * weight)

    def turn_s(self, server: Server, number: int) -> float:
        """About what a round of the server takes."""
        start = server.start_s if number == 0 or not server.stays else 0
        cells = [self.warm(), *self.levels_of(server, number), self.burst_of(server)]
        return start + sum(cell.seconds for cell in cells if cell)


COURSES = (
    Course("135m", 3, (1, 4, 16, 64), highest=256, all_servers=True),
    # Shorter, as each token takes several times as long.
    Course("360m", 3, (16,), prompt=(32, 32), output=(16, 16)),
    Course("qwen2.5-0.5b", 3, (16,), prompt=(32, 32), output=(16, 16)),
    Course("qwen3-0.6b", 3, (16,), prompt=(16, 64), output=(8, 32)),
)
QUICK = (Course("135m", 1, (1, 16), all_servers=True, patient=False),)


@dataclass(frozen=True)
class Request:
    prompt: str
    output_tokens: int


class Requests:
    """Texts of exactly as many tokens as the course wants.

    A cell of a round has the same for every server; who gets fewer of them gets the first ones.
    """

    def __init__(self, model: Path, course: Course, *, number: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._course, self._number = course, number

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def take(self, cell: Cell) -> list[Request]:
        dice = random.Random(f"{self._number}, {cell.name}")
        return [self._one(dice) for _ in range(cell.requests)]

    def _one(self, dice: random.Random) -> Request:
        tokens = dice.randint(*self._course.prompt)
        words = random_words(tokens, rng=dice)
        text = self._tokenizer.decode(self.ids(words)[:tokens])
        return Request(text, dice.randint(*self._course.output))
