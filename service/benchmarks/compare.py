"""`make bench`: R3MES beside the servers that are found here, on models with random weights.

One server runs at a time; the order alternates from round to round; each round starts every server
anew and gives all of them the same prompts. What is compared are medians over the rounds.
"""

import argparse
import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import in_process
from benchmarks.comparison_report import IN_PROCESS, Round, Section, write_report
from benchmarks.machine import processors
from benchmarks.random_model import Size, random_model
from benchmarks.servers import (
    Missing,
    Server,
    bundled,
    llama_server,
    ours,
    running,
    say,
    transformers_serve,
    vllm_cpu,
)
from r3mes.bench.caller import Caller, Outcome
from r3mes.bench.figures import Figures, summarize
from r3mes.bench.load import keep_busy
from r3mes.bench.prompts import prompt as random_words

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks"
TIMEOUT_S = 300
TAIL = 16  # requests of a level beyond its streams, so that some begin while others run
BURST = 16  # prompts that arrive together


@dataclass(frozen=True)
class Course:
    """`prompt` and `output` bound the tokens of a request; `highest` is a level for ours alone."""

    size: Size
    rounds: int
    levels: tuple[int, ...]
    prompt: tuple[int, int] = (128, 128)
    output: tuple[int, int] = (64, 64)
    highest: int | None = None
    all_servers: bool = False

    @property
    def words(self) -> str:
        def span(bounds: tuple[int, int]) -> str:
            low, high = bounds
            return f"{low}" if low == high else f"{low} to {high}"

        return f"{span(self.prompt)} tokens in, {span(self.output)} out"


COURSES = (
    Course("135m", 3, (1, 4, 16, 64), highest=256, all_servers=True),
    Course("360m", 3, (16,)),
    Course("qwen2.5-0.5b", 3, (16,)),
    Course("qwen3-0.6b", 3, (16,), prompt=(32, 256), output=(16, 96)),
)
QUICK = (Course("135m", 1, (1, 16), all_servers=True),)


@dataclass(frozen=True)
class Request:
    prompt: str
    output_tokens: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round at 1 and 16 streams")
    parser.add_argument("--size", choices=[course.size for course in COURSES], help="only this one")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--levels", help="streams at a time, parted by commas")
    parser.add_argument("--servers", help="names, parted by commas; by default all that are found")
    parser.add_argument("--out", type=Path, default=RESULTS / "servers.md")
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
    starts = [start_s() for _ in range(courses[0].rounds)]
    write_report(asked.out, [section(course, names) for course in courses], starts)


def start_s() -> float:
    """From the start of the process to warm, with the bundled model and all defaults."""
    with running(bundled(), log=Path("/dev/null")) as (_, seconds):
        say(f"the bundled model is warm after {seconds:.1f} s")
        return seconds


def section(course: Course, names: set[str] | None) -> Section:
    model = random_model(course.size)
    servers, missing = find_servers(model, course)
    if names:
        servers, missing = [it for it in servers if it.name in names], []
    rounds = []
    for number in range(course.rounds):
        rounds += [measure(server, number, model, course) for server in in_turn(servers, number)]
        if course.all_servers and (not names or IN_PROCESS in names):
            rounds.append(without_http(number, model, course))
    return Section(course.size, course.words, course.rounds, servers, missing, rounds)


def find_servers(model: Path, course: Course) -> tuple[list[Server], list[Missing]]:
    threads, streams = processors(), max(course.levels)
    candidates = [
        ours(model, threads=threads, most=course.highest or streams),
        llama_server(model, threads=threads, streams=streams),
    ]
    if course.all_servers:
        candidates += [
            ours(model, threads=threads, weights="int8"),
            llama_server(model, threads=threads, streams=streams, kind="q8_0"),
            vllm_cpu(model, threads=threads, streams=streams),
            transformers_serve(model, threads=threads),
        ]
    servers = [found for found in candidates if isinstance(found, Server)]
    missing = [found for found in candidates if isinstance(found, Missing)]
    for absent in missing:
        say(f"{absent.name} is left out: {absent.reason}.")
    return servers, missing


def in_turn(servers: Sequence[Server], number: int) -> Sequence[Server]:
    """Every other round the other way round, so that no server is always first."""
    return servers if number % 2 == 0 else list(reversed(servers))


def measure(server: Server, number: int, model: Path, course: Course) -> Round:
    """A server that fails is a result too."""
    log = model / f"{server.name.replace(' ', '-')}.log"
    try:
        with running(server, log=log) as (url, start_s):
            say(f"round {number + 1}: {server.name} ready after {start_s:.1f} s")
            figures, burst = asyncio.run(drive(server, url, number, model, course))
    except RuntimeError as error:
        say(f"round {number + 1}: {server.name} failed. {error} Its log: {log}")
        return Round(server.name, start_s=None, levels={}, burst=None, failure=str(error))
    return Round(server.name, start_s=start_s, levels=figures, burst=burst, failure=None)


def without_http(number: int, model: Path, course: Course) -> Round:
    """Our engine in process, at the level that is compared with it."""
    requests = Requests(model, course, seed=number)
    wanted = [(requests.ids(it.prompt), it.output_tokens) for it in requests.take(count(BURST))]
    seen = summarize("in process", in_process.answer(model, wanted, streams=BURST))
    say(f"  in process, {BURST} at a time: {seen.output_tokens_per_s:.1f} tokens/s")
    return Round(IN_PROCESS, start_s=None, levels={BURST: seen}, burst=None, failure=None)


async def drive(
    server: Server, url: str, number: int, model: Path, course: Course
) -> tuple[dict[int, Figures], Figures | None]:
    """Each level that is meant for the server, and a burst if it takes that many."""
    caller = Caller(
        url,
        model=server.model,
        endpoint="completions",
        api_key=None,
        timeout_s=TIMEOUT_S,
        ignore_eos=False,  # not all of them know it, and random weights hardly ever end
    )
    requests = Requests(model, course, seed=number)
    (warm,) = await together(caller, requests.take(1), streams=1)
    if warm.error:
        raise RuntimeError(f"The first request failed: {warm.error}.")
    figures = {}
    for streams in (*course.levels, *([course.highest] if course.highest else [])):
        wanted = requests.take(count(streams))
        if streams <= server.most:
            outcomes = await together(caller, wanted, streams=streams)
            figures[streams] = summarize(f"{streams} at a time", outcomes)
            say(f"  {streams:3} at a time: {figures[streams].output_tokens_per_s:.1f} tokens/s")
    burst = requests.take(BURST)
    if not course.all_servers or server.most < BURST:
        return figures, None
    seen = summarize("burst", await together(caller, burst, streams=BURST))
    return figures, seen


def count(streams: int) -> int:
    """Requests of a level."""
    return max(4, min(2 * streams, streams + TAIL))


async def together(caller: Caller, requests: Sequence[Request], *, streams: int) -> list[Outcome]:
    lengths = {request.prompt: request.output_tokens for request in requests}

    async def ask(prompt: str) -> Outcome:
        return await caller.ask(prompt, max_tokens=lengths[prompt])

    return await keep_busy(iter(lengths), ask=ask, streams=streams, on_end=lambda _: None)


class Requests:
    """Texts of exactly as many tokens as the course wants; the same for every server of a round."""

    def __init__(self, model: Path, course: Course, *, seed: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._course, self._dice = course, random.Random(seed)

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def take(self, count: int) -> list[Request]:
        return [self._one() for _ in range(count)]

    def _one(self) -> Request:
        tokens = self._dice.randint(*self._course.prompt)
        words = random_words(tokens, rng=self._dice)
        ids = self._tokenizer.encode(words, add_special_tokens=False).ids
        text = self._tokenizer.decode(ids[:tokens])
        return Request(text, self._dice.randint(*self._course.output))


if __name__ == "__main__":
    main()
