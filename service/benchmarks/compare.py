"""`python -m benchmarks.compare`: R3MES beside the servers that are found here.

One server runs at a time, on models with random weights; the order alternates from round to round,
and all get the same prompts. What is told are medians over the rounds.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import in_process
from benchmarks.comparison_report import IN_PROCESS, Round, Section, write_report
from benchmarks.machine import processors
from benchmarks.plan import BURST, COURSES, QUICK, Cell, Course, Request, Requests
from benchmarks.progress import Bar, say
from benchmarks.random_model import random_model
from benchmarks.servers import (
    OURS,
    Missing,
    Server,
    bundled,
    fastapi_generate,
    llama_server,
    ours,
    running,
    transformers_serve,
    vllm_cpu,
)
from benchmarks.stage import Stage
from r3mes.bench.caller import Caller, Outcome
from r3mes.bench.figures import Figures, summarize
from r3mes.bench.load import keep_busy
from r3mes.errors import R3mesError

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "servers.md"
TIMEOUT_S = 300
LONGEST_QUICK_START_S = 30
WHOLE = "only the whole comparison has it"


@dataclass(frozen=True)
class Contest:
    """A course with all that takes part."""

    course: Course
    model: Path
    servers: Sequence[Server]
    missing: Sequence[Missing]
    in_process: bool

    @property
    def seconds(self) -> float:
        """About what it takes."""
        rounds = range(self.course.rounds)
        turns = sum(self.course.turn_s(it, number) for it in self.servers for number in rounds)
        return turns + self.in_process * self.in_process_s * len(rounds)

    @property
    def in_process_s(self) -> float:
        return in_process.LOAD_S + self.course.level(BURST).seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round at 1 and 16 streams")
    parser.add_argument("--size", choices=[course.size for course in COURSES], help="only this one")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--levels", help="streams at a time, parted by commas")
    parser.add_argument(
        "--servers",
        help=f"names, parted by commas; by default all that are found. {IN_PROCESS} brings {OURS}",
    )
    parser.add_argument("--out", type=Path, default=PAGE)
    asked = parser.parse_args()
    courses = [it for it in (QUICK if asked.quick else COURSES) if asked.size in (None, it.size)]
    if not courses:
        parser.error(f"{asked.size} is not in the quick comparison")
    if asked.rounds:
        courses = [replace(course, rounds=asked.rounds) for course in courses]
    if asked.levels:
        levels = tuple(map(int, asked.levels.split(",")))
        courses = [replace(course, levels=levels, highest=None) for course in courses]
    names = set(asked.servers.split(",")) if asked.servers else None
    if names and IN_PROCESS in names:
        names.add(OURS)  # after which it is taken
    contests = [prepare(course, names) for course in courses]
    with Bar(planned_s(contests)) as bar:
        take(contests, bar, page=asked.out)
    sys.stdout.write(asked.out.read_text())


def prepare(course: Course, names: set[str] | None = None) -> Contest:
    """Makes the model where it is not yet there."""
    model = random_model(course.size)
    servers, missing = find_servers(model, course)
    if names:
        servers, missing = [it for it in servers if it.name in names], []
    beside = course.all_servers and (not names or IN_PROCESS in names)
    return Contest(course, model, servers, missing, beside)


def find_servers(model: Path, course: Course) -> tuple[list[Server], list[Missing]]:
    threads, streams = processors(), max(course.levels)
    candidates: list[Server | Missing] = [
        ours(model, threads=threads, most=course.highest or streams),
        llama_server(model, threads=threads, streams=streams),
    ]
    if course.all_servers:
        candidates += [
            ours(model, threads=threads, weights="int8"),
            llama_server(model, threads=threads, streams=streams, kind="q8_0"),
            vllm_cpu(model, threads=threads, streams=streams),
            transformers_serve(model, threads=threads),
            fastapi_generate(model, threads=threads),
        ]
    if not course.patient:
        candidates = [without_patience(found, streams) for found in candidates]
    servers = [found for found in candidates if isinstance(found, Server)]
    missing = [found for found in candidates if isinstance(found, Missing)]
    for absent in missing:
        say(f"{absent.name} is left out: {absent.reason}.")
    return servers, missing


def without_patience(found: Server | Missing, streams: int) -> Server | Missing:
    if isinstance(found, Server) and found.start_s > LONGEST_QUICK_START_S:
        return Missing(found.name, f"it takes {found.start_s:.0f} s to start; {WHOLE}")
    if isinstance(found, Server) and found.most < streams:
        return Missing(found.name, f"it is asked for no more than {found.most} at a time; {WHOLE}")
    return found


def planned_s(contests: Sequence[Contest]) -> float:
    starts = contests[0].course.rounds * bundled().start_s
    return starts + sum(it.seconds for it in contests)


def take(contests: Sequence[Contest], bar: Bar, *, page: Path) -> None:
    starts = [start_s(bar) for _ in range(contests[0].course.rounds)]
    sections = [section(it, bar) for it in contests]
    write_report(page, sections, [it for it in starts if it is not None])


def start_s(bar: Bar) -> float | None:
    """From the start of the process to warm, with the bundled model and all defaults."""
    server = bundled()
    with bar.part("start of the bundled model", server.start_s):
        try:
            with running(server, log=Path("/dev/null")) as started:
                bar.say(f"  warm after {started.after_s:.1f} s")
                return started.after_s
        except RuntimeError as error:
            bar.say(f"  {error}")
            return None


def section(it: Contest, bar: Bar) -> Section:
    rounds = []
    with Stage(it.model) as stage:
        for number in range(it.course.rounds):
            for server in in_turn(it.servers, number):
                words = f"{it.course.size}, round {number + 1} of {it.course.rounds}: {server.name}"
                with bar.part(f"{words} starts", it.course.turn_s(server, number)):
                    rounds.append(measure(server, number, it, stage=stage, bar=bar))
                if it.in_process and server.name == OURS:  # while the machine is as it was
                    rounds.append(without_http(number, it, bar))
    course = it.course
    return Section(course.size, course.words, course.rounds, it.servers, it.missing, rounds)


def in_turn(servers: Sequence[Server], number: int) -> Sequence[Server]:
    """Every other round the other way round, so that no server is always first."""
    return servers if number % 2 == 0 else list(reversed(servers))


def measure(server: Server, number: int, it: Contest, *, stage: Stage, bar: Bar) -> Round:
    """A server that fails is a result too."""
    try:
        with stage.turn(server) as started:
            after_s = started.after_s
            levels, burst = asyncio.run(drive(server, started.url, number, it, bar))
    except RuntimeError as error:
        bar.say(f"  {server.name} failed. {error} Its log: {stage.log(server)}")
        return Round(server.name, start_s=None, levels={}, burst=None, failure=str(error))
    return Round(server.name, start_s=after_s, levels=levels, burst=burst, failure=None)


def without_http(number: int, it: Contest, bar: Bar) -> Round:
    """Our engine in process, at the level that is compared with it."""
    cell, requests = it.course.level(BURST), Requests(it.model, it.course, number=number)
    wanted = [(requests.ids(one.prompt), one.output_tokens) for one in requests.take(cell)]
    with bar.part(f"{IN_PROCESS}, {cell.name}", it.in_process_s):
        try:
            seen = summarize(cell.name, in_process.answer(it.model, wanted, streams=cell.streams))
        except (R3mesError, BrokenProcessPool) as error:
            bar.say(f"  {IN_PROCESS} failed. {error}")
            return Round(IN_PROCESS, start_s=None, levels={}, burst=None, failure=str(error))
    bar.say(f"  {seen.output_tokens_per_s:.1f} tokens/s")
    return Round(IN_PROCESS, start_s=None, levels={cell.streams: seen}, burst=None, failure=None)


async def drive(
    server: Server, url: str, number: int, it: Contest, bar: Bar
) -> tuple[dict[int, Figures], Figures | None]:
    """Each level that is meant for the server, and a burst if one is."""
    caller = Caller(
        url,
        model=server.model,
        endpoint="completions",
        api_key=None,
        timeout_s=TIMEOUT_S,
        ignore_eos=False,  # not all of them know it, and random weights hardly ever end
    )
    requests = Requests(it.model, it.course, number=number)
    cell = it.course.warm()
    (warm,) = await together(caller, requests.take(cell), cell)
    if warm.error:
        raise RuntimeError(f"The first request failed: {warm.error}.")

    async def figures(cell: Cell) -> Figures:
        wanted = requests.take(cell)
        with bar.part(f"{it.course.size}: {server.name}, {cell.name}", cell.seconds):
            seen = summarize(cell.name, await together(caller, wanted, cell))
        bar.say(f"  {seen.output_tokens_per_s:.1f} tokens/s")
        return seen

    levels = it.course.levels_of(server, number)
    seen = {cell.streams: await figures(cell) for cell in levels}
    burst = it.course.burst_of(server)
    return seen, await figures(burst) if burst else None


async def together(caller: Caller, requests: Sequence[Request], cell: Cell) -> list[Outcome]:
    lengths = {request.prompt: request.output_tokens for request in requests}

    async def ask(prompt: str) -> Outcome:
        return await caller.ask(prompt, max_tokens=lengths[prompt])

    return await keep_busy(
        iter(lengths),
        ask=ask,
        streams=cell.streams,
        seconds=cell.begin_s,
        on_end=lambda _: None,
    )


if __name__ == "__main__":
    main()
