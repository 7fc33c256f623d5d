"""`python -m benchmarks.engine`: the engine in process, against the machine's limits and itself.

Everything is measured in one run on one model with random weights; the ways to compute take turns,
and what is told are medians. No HTTP: that is `compare`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.apart import apart
from benchmarks.engine_report import Figure, write_page
from benchmarks.progress import Bar

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "engine-figures.md"
ROUNDS = 3
# The parts of a round, and about the seconds that each takes on two cores.
LIMITS, MODULES = "limits and one stream", "stock modules"
WAYS = ("float32", "bfloat16", "int8")
SMALL_CACHE = "float32, KV float16"  # no goal is about it
PARTS = {LIMITS: 20, "float32": 50, "bfloat16": 17, "int8": 13, MODULES: 25, SMALL_CACHE: 29}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    rounds = 1 if asked.quick else asked.rounds
    with Bar(planned_s(rounds)) as bar:
        take(rounds, bar, page=asked.page)
    sys.stdout.write(asked.page.read_text())


def planned_s(rounds: int) -> float:
    return sum(PARTS[part] for number in range(rounds) for part in parts(number))


def parts(number: int) -> Sequence[str]:
    """Of a round; float32 comes first in one and last in the next. The first has all the goals."""
    ways = WAYS if number % 2 == 0 else WAYS[::-1]
    return [LIMITS, *ways, MODULES, *([SMALL_CACHE] if number == 1 else [])]


def take(rounds: int, bar: Bar, *, page: Path) -> None:
    with apart() as pool:
        found = []
        for number in range(rounds):
            figures: dict[str, Figure] = {}
            for part in parts(number):
                words = f"the engine, round {number + 1} of {rounds}: {part}"
                with bar.part(words, PARTS[part]):
                    figures |= pool.submit(measure, part).result()
            found.append(figures)
    write_page(page, found)


def measure(part: str) -> dict[str, Figure]:
    from benchmarks import engine_parts

    if part == LIMITS:
        return engine_parts.of_one_stream()
    return engine_parts.of_paths() if part == MODULES else engine_parts.of_way(part)


if __name__ == "__main__":
    main()
