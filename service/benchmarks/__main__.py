"""`make bench`: the engine in process, then servers side by side, under one bar."""

import argparse
import sys

from benchmarks import compare, engine
from benchmarks.plan import COURSES, QUICK
from benchmarks.progress import Bar


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round at few levels")
    quick = parser.parse_args().quick
    rounds = 1 if quick else engine.ROUNDS
    contests = [compare.prepare(course) for course in (QUICK if quick else COURSES)]
    with Bar(engine.planned_s(rounds) + compare.planned_s(contests)) as bar:
        engine.take(rounds, bar, page=engine.PAGE)
        compare.take(contests, bar, page=compare.PAGE)
    sys.stdout.write(engine.PAGE.read_text() + compare.PAGE.read_text())


if __name__ == "__main__":
    main()
