"""`make soak`: ten minutes of cancels, oversize prompts, rubbish and killed workers.

Afterwards slots, blocks, descriptors and memory must be back at the baseline, which is taken after
a first round of the same load. Writes docs/benchmarks/soak.md and ends with 1 when a promise broke.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.comparison_report import commit
from benchmarks.machine import describe_machine
from benchmarks.progress import say
from benchmarks.random_model import cache
from benchmarks.servers import free_port, wait_ready
from benchmarks.soak_clients import Soak, client, kill_workers, stopped
from benchmarks.soak_watch import Sight, look, look_until_idle
from r3mes.bench.caller import Caller

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks"
WORKERS = 2
SETTINGS = {
    "R3MES_SERVER__WORKERS": str(WORKERS),
    "R3MES_ENGINE__KV_BLOCKS": "256",  # few enough for preemption
    "R3MES_ENGINE__MAX_WAITING": "16",  # and for a full line
}
GROWTH_MB = 30.0  # of one role: what an allocator may keep
MORE_DESCRIPTORS = 2  # a probe's connection may be open in either sight


def main() -> None:
    asked = arguments()
    with replica(asked.model, log=cache() / "soak.log") as (url, process):
        facts = asyncio.run(run(asked, url, process.pid))
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        process.send_signal(signal.SIGTERM)
        facts["exit"] = process.wait(120)
        facts["orphans"] = len(psutil.wait_procs(family, timeout=10)[1])
    broken = broken_promises(facts)
    write(asked, facts, broken)
    sys.exit(1 if broken else 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--kill-every", type=float, default=20, help="seconds")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "soak.md")
    return parser.parse_args()


@contextmanager
def replica(model: str, *, log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    port = free_port()
    command = [sys.executable, "-m", "r3mes", "replica", "--model", model, "--port", str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **SETTINGS},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_ready(process, f"{url}/readyz")
        yield url, process
    finally:
        process.kill()
        process.wait()


async def run(asked: argparse.Namespace, url: str, pid: int) -> dict[str, Any]:
    began = time.monotonic()
    async with httpx.AsyncClient(timeout=120) as http:
        card = (await http.get(f"{url}/v1/models")).json()["data"][0]
        caller = Caller(url, model=card["id"], endpoint="chat", api_key=None, timeout_s=120)
        rng = random.Random(asked.seed)
        soak = Soak(caller, http, pid, rng, context=card["max_model_len"])
        await load(soak, asked, seconds=max(10.0, asked.minutes * 6), sights=[], began=began)
        soak.ledger.clear()
        baseline = await idle(url, pid, began)
        say(f"baseline: {baseline}")
        sights: list[Sight] = []
        await load(soak, asked, seconds=asked.minutes * 60, sights=sights, began=began)
        end = await idle(url, pid, began)
        say(f"end: {end}")
        canary = await caller.ask("Hello", max_tokens=4)
    return {
        "minutes": asked.minutes,
        "clients": asked.clients,
        "baseline": asdict(baseline),
        "end": asdict(end),
        "sights": [asdict(sight) for sight in sights],
        "ledger": {f"{act}: {outcome}": n for (act, outcome), n in sorted(soak.ledger.items())},
        "surprises": soak.surprises,
        "canary": canary.error or "ok",
    }


async def load(
    soak: Soak, asked: argparse.Namespace, *, seconds: float, sights: list[Sight], began: float
) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(asked.clients):
            group.create_task(client(soak, stop))
        group.create_task(kill_workers(soak, stop, every_s=asked.kill_every))
        group.create_task(watch(soak, stop, sights=sights, began=began))
        await asyncio.sleep(seconds)
        stop.set()


async def watch(soak: Soak, stop: asyncio.Event, *, sights: list[Sight], began: float) -> None:
    """A sight every ten seconds; one that a killed worker spoils is left out."""
    while not await stopped(stop, within=10):
        try:
            sights.append(await asyncio.to_thread(look, soak.caller.url, soak.pid, since=began))
        except (httpx.HTTPError, psutil.Error):
            continue
        say(f"{sights[-1].at_s:6.0f} s: {sum(soak.ledger.values())} acts, {sights[-1].memory_mb}")


async def idle(url: str, pid: int, began: float) -> Sight:
    return await asyncio.to_thread(look_until_idle, url, pid, workers=WORKERS, since=began)


def broken_promises(facts: dict[str, Any]) -> list[str]:
    before, after = facts["baseline"], facts["end"]
    broken = [f"{count} x {what}" for what, count in facts["surprises"].items()]
    for name in ("phase_ready", "workers", "running", "waiting", "blocks_used", "blocks_all"):
        if before[name] != after[name]:
            broken.append(f"{name} was {before[name]} and is {after[name]}")
    for role, count in after["descriptors"].items():
        if count > before["descriptors"].get(role, 0) + MORE_DESCRIPTORS:
            broken.append(f"{role}: {before['descriptors'].get(role, 0)} descriptors, now {count}")
    for role, size in after["memory_mb"].items():
        if size > before["memory_mb"].get(role, 0.0) + GROWTH_MB:
            broken.append(f"{role}: {before['memory_mb'].get(role)} MB, now {size} MB")
    if facts["canary"] != "ok":
        broken.append(f"the canary: {facts['canary']}")
    if facts["exit"] != 0:
        broken.append(f"the exit status was {facts['exit']}")
    if facts["orphans"]:
        broken.append(f"{facts['orphans']} processes were left")
    return broken


def write(asked: argparse.Namespace, facts: dict[str, Any], broken: list[str]) -> None:
    before, after = facts["baseline"], facts["end"]
    lines = [
        "# Soak",
        "",
        f"{facts['minutes']:g} minutes, {facts['clients']} clients, a worker killed every "
        f"{asked.kill_every:g} s, {WORKERS} workers, model `{Path(asked.model).name}`.",
        f"Machine: {describe_machine()}.",
        f"Taken {datetime.now(UTC).isoformat(timespec='seconds')} at commit {commit()} "
        "by `make soak`.",
        "",
        "| | baseline | end |",
        "|---|---|---|",
    ]
    for name in ("workers", "running", "waiting", "blocks_used", "blocks_all"):
        lines.append(f"| {name.replace('_', ' ')} | {before[name]} | {after[name]} |")
    for kind, unit in (("descriptors", ""), ("memory_mb", " MB")):
        for role, value in after[kind].items():
            was = before[kind].get(role, 0)
            lines.append(f"| {role}, {kind.removesuffix('_mb')} | {was}{unit} | {value}{unit} |")
    lines += ["", "| what clients did and what came of it | times |", "|---|---|"]
    lines += [f"| {what} | {count} |" for what, count in facts["ledger"].items()]
    verdict = [f"- BROKEN: {what}." for what in broken] or ["Every promise was kept."]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text("\n".join([*lines, "", *verdict]) + "\n")
    asked.out.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    sys.stdout.write(asked.out.read_text())


if __name__ == "__main__":
    main()
