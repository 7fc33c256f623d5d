"""`make bench`: R3MES beside the servers that are found here, on one model with random weights.

One server runs at a time; the order alternates from round to round; each round starts every server
anew and gives all of them the same prompts. What is compared are medians over the rounds.
"""

import argparse
import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.comparison_report import Round, write_report
from benchmarks.machine import processors
from benchmarks.random_model import Size, random_model
from benchmarks.servers import (
    Missing,
    Server,
    llama_server,
    ours,
    running,
    say,
    transformers_serve,
    vllm_cpu,
)
from r3mes.bench.caller import Caller
from r3mes.bench.figures import Figures, summarize
from r3mes.bench.load import keep_busy
from r3mes.bench.prompts import prompt as random_words

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks"
TIMEOUT_S = 300


@dataclass(frozen=True)
class Course:
    size: Size
    rounds: int
    levels: tuple[int, ...]
    prompt_tokens: int
    output_tokens: int
    threads: int

    def requests(self, streams: int) -> int:
        return max(4, 2 * streams)


def main() -> None:
    asked = arguments()
    course = Course(
        size=asked.size,
        rounds=1 if asked.quick else asked.rounds,
        levels=tuple(int(part) for part in ("1,16" if asked.quick else asked.levels).split(",")),
        prompt_tokens=asked.prompt_tokens,
        output_tokens=asked.output_tokens,
        threads=asked.threads,
    )
    model = random_model(course.size)
    servers, missing = find_servers(model, course)
    rounds = [
        measure(server, round_, model, course)
        for round_ in range(course.rounds)
        for server in in_turn(servers, round_)
    ]
    write_report(asked.out, asdict(course), servers, missing, rounds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["135m", "5m"], default="135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--levels", default="1,4,16,64", help="streams at a time")
    parser.add_argument("--quick", action="store_true", help="one round at 1 and 16 streams")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--output-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--out", type=Path, default=RESULTS / "servers.md")
    return parser.parse_args()


def find_servers(model: Path, course: Course) -> tuple[list[Server], list[Missing]]:
    threads, streams = course.threads, max(course.levels)
    candidates = (
        ours(model, threads=threads),
        ours(model, threads=threads, weights="int8"),
        llama_server(model, threads=threads, streams=streams),
        llama_server(model, threads=threads, streams=streams, kind="q8_0"),
        vllm_cpu(model, threads=threads, streams=streams),
        transformers_serve(model, threads=threads),
    )
    servers = [found for found in candidates if isinstance(found, Server)]
    missing = [found for found in candidates if isinstance(found, Missing)]
    for absent in missing:
        say(f"{absent.name} is left out: {absent.reason}.")
    return servers, missing


def in_turn(servers: Sequence[Server], round_: int) -> Sequence[Server]:
    """Every other round the other way round, so that no server is always first."""
    return servers if round_ % 2 == 0 else list(reversed(servers))


def measure(server: Server, round_: int, model: Path, course: Course) -> Round:
    """A server that fails is a result too."""
    log = model / f"{server.name.replace(' ', '-')}.log"
    try:
        with running(server, log=log) as (url, start_s):
            say(f"round {round_ + 1}: {server.name} ready after {start_s:.1f} s")
            figures = asyncio.run(drive(server, url, round_, model, course))
    except RuntimeError as error:
        say(f"round {round_ + 1}: {server.name} failed. {error} Its log: {log}")
        return Round(server.name, start_s=None, levels={}, failure=str(error))
    return Round(server.name, start_s=start_s, levels=figures, failure=None)


async def drive(
    server: Server, url: str, round_: int, model: Path, course: Course
) -> dict[int, Figures]:
    caller = Caller(
        url,
        model=server.model,
        endpoint="completions",
        api_key=None,
        timeout_s=TIMEOUT_S,
        ignore_eos=False,  # not all of them know it, and random weights hardly ever end
    )
    ask = partial(caller.ask, max_tokens=course.output_tokens)
    prompts = prompts_of(model, course.prompt_tokens, seed=round_)
    warm = await ask(next(prompts))
    if warm.error:
        raise RuntimeError(f"The first request failed: {warm.error}.")
    figures = {}
    for streams in (level for level in course.levels if level <= server.most):
        wanted = [next(prompts) for _ in range(course.requests(streams))]
        outcomes = await keep_busy(iter(wanted), ask=ask, streams=streams, on_end=lambda _: None)
        figures[streams] = summarize(f"{streams} at a time", outcomes)
        say(f"  {streams:3} at a time: {figures[streams].output_tokens_per_s:.1f} tokens/s")
    return figures


def prompts_of(model: Path, tokens: int, *, seed: int) -> Iterator[str]:
    """Texts of exactly that many tokens; the same for every server of a round."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    rng = random.Random(seed)
    while True:
        ids = tokenizer.encode(random_words(tokens, rng=rng), add_special_tokens=False).ids
        yield tokenizer.decode(ids[:tokens])


if __name__ == "__main__":
    main()
