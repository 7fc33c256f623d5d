"""The probes and /metrics, answered from the last known state and the clock: they start no work.

Raw ASGI in front of the application. Knows no route and no engine, only what the supervisor said.
"""

import json
import time
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from r3mes.engine.messages import ReplicaState
from r3mes.errors import MethodNotAllowed
from r3mes.replica.engine_client import EngineClient
from r3mes.settings import ProbeSettings

OPENMETRICS = b"application/openmetrics-text"
STARTED_PHASES = ("ready", "draining")
PATHS = frozenset({"/livez", "/readyz", "/startupz", "/health", "/ready", "/metrics"})


class Probes:
    def __init__(self, app: ASGIApp, *, engine: EngineClient, settings: ProbeSettings) -> None:
        self._app = app
        self._engine = engine
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("Use GET here.", allow="GET, HEAD")
        if scope["path"] == "/metrics":
            await self._metrics(scope, send)
            return
        good = self._is_good(scope["path"])
        body = json.dumps(self._body(good=good)).encode()
        await answer(send, 200 if good else 503, b"application/json", body)

    async def _metrics(self, scope: Scope, send: Send) -> None:
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        page = await self._engine.scrape(openmetrics=OPENMETRICS in accepted)
        await answer(send, 200, page.content_type.encode(), page.text)

    def _is_good(self, path: str) -> bool:
        match path:
            case "/startupz":
                return self._is_started(self._engine.state)
            case "/readyz" | "/ready":
                return self._is_ready(self._engine.state)
        return self._is_live(self._engine.state)

    def _is_started(self, state: ReplicaState) -> bool:
        was_warm = state.phase == "draining" and state.warm_ttft is not None
        return state.phase == "ready" or was_warm

    def _is_ready(self, state: ReplicaState) -> bool:
        return state.phase == "ready" and not self._engine.is_silent(
            self._settings.ready_heartbeat_s
        )

    def _is_live(self, state: ReplicaState) -> bool:
        # While it loads, the engine may be silent for long: imports and file reads block it.
        if state.phase not in STARTED_PHASES:
            return state.phase != "failed"
        return not self._engine.is_silent(self._settings.live_heartbeat_s)

    def _body(self, *, good: bool) -> dict[str, Any]:
        state = self._engine.state
        return {
            "status": "ok" if good else "unavailable",
            "phase": state.phase,
            "progress": round(state.progress, 3),
            "detail": state.detail,
            "elapsed_s": round(time.monotonic() - state.started, 3),
            "phase_seconds": {name: round(took, 3) for name, took in state.phase_seconds.items()},
            "warm_ttft_s": state.warm_ttft,
            "slowest_step_s": round(state.slowest_step, 3),
            "heartbeat_age_s": round(max(0.0, self._engine.heartbeat_age()), 3),
        }


async def answer(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
