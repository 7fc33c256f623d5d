"""Whole chats through a worker's application before the first client: warm is who has answered.

FastAPI builds its routing with the first request, a template is compiled with the first chat, the
first stream imports its way, and Python specializes what has run a few times. They do not pass
Edge: no log and no count of requests knows them.
"""

import asyncio
import json
import logging
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message

from r3mes.errors import InvalidRequest, R3mesError
from r3mes.replica.edge import DIRECT
from r3mes.replica.exchange import KEY, Exchange

TIMES = 8  # after which an answer takes no less
ENOUGH_S = 1.0  # a slow model's time is its own, and no worker's
LONGEST_S = 30.0  # a slow model has answered once in its own warm-up: the rest is less
ANSWER = {"stream": True, "max_tokens": 2, "ignore_eos": True}
QUESTION = "What does the readiness probe of a replica wait for?"
CHAT = {"messages": [{"role": "user", "content": QUESTION}], **ANSWER}
COMPLETION = {"prompt": QUESTION, **ANSWER}

log = logging.getLogger(__name__)


async def rehearse(app: ASGIApp) -> None:
    """Ask; needs the engine to be warm. What fails here is told, and costs only time later."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(LONGEST_S):
            for _ in range(TIMES):
                await answer_once(app)
                if time.monotonic() > began + ENOUGH_S:
                    break
    except (R3mesError, TimeoutError) as error:
        log.warning("the first answer of this worker may be slow: %s", str(error) or "no answer")
    except Exception:
        log.exception("the first answer of this worker failed")  # as a client's would: it lives on


async def answer_once(app: ASGIApp) -> None:
    try:
        await ask(app, "/v1/chat/completions", CHAT)
    except InvalidRequest:  # no template, or one that wants more of a chat
        await ask(app, "/v1/completions", COMPLETION)


async def ask(app: ASGIApp, path: str, body: dict[str, Any]) -> None:
    """Raises the error that a client would be answered with."""
    sent = [json.dumps(body).encode()]

    async def receive() -> Message:
        if sent:
            return {"type": "http.request", "body": sent.pop(), "more_body": False}
        await asyncio.Event().wait()  # it stays until the end
        return {"type": "http.disconnect"}

    await app(scope_of(path), receive, drop)


def scope_of(path: str) -> dict[str, Any]:
    name = f"rehearsal-{secrets.token_hex(8)}"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "state": {KEY: Exchange(name, "POST", path, rehearsal=True), DIRECT: drop},
    }


async def drop(_: Message) -> None:
    """Nobody listens."""
