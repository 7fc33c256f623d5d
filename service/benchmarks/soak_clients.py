"""What the clients of a soak do: ask, leave early, ask for too much, send rubbish, kill workers.

Each act notes in the ledger what it did and what came of it. Knows which outcomes are as promised.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from benchmarks.soak_watch import processes
from r3mes.bench.caller import Caller
from r3mes.bench.prompts import prompt

# A worker that is killed takes its connections along; nothing else may end one.
TORN = ("cut off", "no connection", "ReadError", "ConnectError", "RemoteProtocolError")
PROMISED: dict[str, tuple[str, ...]] = {
    "streamed": ("ok", "503 server_overloaded", *TORN),
    "whole": ("ok", "503 server_overloaded", *TORN),
    "left": ("left", "ok", "503 server_overloaded", *TORN),
    "prompt too long": ("400 context_length_exceeded", *TORN),
    "body too large": ("413 request_too_large", *TORN),
    "not JSON": ("400 invalid_json", *TORN),
    "unknown model": ("404 model_not_found", *TORN),
    "killed a worker": ("ok",),
}


@dataclass
class Soak:
    """One run: where it goes and what it has seen."""

    caller: Caller
    http: httpx.AsyncClient
    pid: int
    rng: random.Random
    context: int  # tokens of the model
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, act: str, outcome: str) -> None:
        self.ledger[act, outcome] += 1

    @property
    def surprises(self) -> dict[str, int]:
        return {
            f"{act}: {outcome}": count
            for (act, outcome), count in self.ledger.items()
            if outcome not in PROMISED[act]
        }


async def stream(soak: Soak) -> None:
    seen = await soak.caller.ask(some_words(soak), max_tokens=soak.rng.randint(1, 64))
    soak.note("streamed", seen.error or "ok")


async def leave(soak: Soak) -> None:
    """Hang up at a random moment, before the first token or after."""
    try:
        async with asyncio.timeout(soak.rng.uniform(0.0, 0.6)):
            seen = await soak.caller.ask(some_words(soak), max_tokens=512)
            soak.note("left", seen.error or "ok")
    except TimeoutError:
        soak.note("left", "left")


async def whole(soak: Soak) -> None:
    await post(soak, "whole", {"max_tokens": 16, **message(some_words(soak))})


async def prompt_too_long(soak: Soak) -> None:
    await post(soak, "prompt too long", message(prompt(soak.context * 2, rng=soak.rng)))


async def body_too_large(soak: Soak) -> None:
    await post(soak, "body too large", message("x" * (2 << 20)))


async def not_json(soak: Soak) -> None:
    await post(soak, "not JSON", b'{"messages": [{"role": "user"')


async def unknown_model(soak: Soak) -> None:
    await post(soak, "unknown model", {**message("Hello"), "model": "nobody"})


def message(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def some_words(soak: Soak) -> str:
    return prompt(soak.rng.randint(1, soak.context // 8), rng=soak.rng)


async def post(soak: Soak, act: str, body: dict[str, object] | bytes) -> None:
    path = f"{soak.caller.url}/v1/chat/completions"
    try:
        if isinstance(body, bytes):
            headers = {"Content-Type": "application/json"}
            answer = await soak.http.post(path, content=body, headers=headers)
        else:
            answer = await soak.http.post(path, json=body)
    except httpx.HTTPError as error:
        soak.note(act, type(error).__name__)
        return
    code = "" if answer.is_success else answer.json()["error"]["code"]
    soak.note(act, "ok" if answer.is_success else f"{answer.status_code} {code}")


ACTS: dict[Callable[[Soak], Awaitable[None]], int] = {  # and how often of a hundred
    stream: 40,
    leave: 30,
    whole: 18,
    prompt_too_long: 4,
    body_too_large: 2,
    not_json: 3,
    unknown_model: 3,
}


async def client(soak: Soak, stop: asyncio.Event) -> None:
    while not stop.is_set():
        [act] = soak.rng.choices(list(ACTS), weights=list(ACTS.values()))
        await act(soak)


async def kill_workers(soak: Soak, stop: asyncio.Event, *, every_s: float) -> None:
    while not await stopped(stop, within=every_s):
        workers = processes(soak.pid)["worker"]
        if workers:
            os.kill(soak.rng.choice(workers).pid, signal.SIGKILL)
            soak.note("killed a worker", "ok")


async def stopped(stop: asyncio.Event, *, within: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), within)
    except TimeoutError:
        return False
    return True
