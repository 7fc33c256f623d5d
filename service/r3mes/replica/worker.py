"""One API worker: its ASGI stack and what starts and ends with it. The worker's composition root.

Edge, then probes, then the FastAPI application; knows each by its constructor only.
"""

import asyncio
import logging
import os
import socket
from pathlib import Path

from starlette.types import Receive, Scope, Send

from r3mes import __version__
from r3mes.engine.messages import ReplicaState
from r3mes.errors import StartError
from r3mes.replica.accounts import Accounts
from r3mes.replica.app import build_app
from r3mes.replica.edge import Edge
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.probes import Probes
from r3mes.replica.rehearsal import rehearse
from r3mes.replica.text.model import TextModel
from r3mes.replica.text.tokenizer import bar_torch, load_text_model
from r3mes.settings import Settings
from r3mes.telemetry.tracing import Tracing

log = logging.getLogger(__name__)


class Worker:
    """The ASGI application of one process; made after the fork."""

    def __init__(self, settings: Settings, *, folder: Path) -> None:
        self._settings = settings
        pid = os.getpid()
        self._engine = EngineClient(folder, worker=f"w{pid}", pid=pid, probes=settings.probes)
        self._text: TextModel | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._stack(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        bar_torch()
        replica = f"{socket.gethostname()}-{os.getpid()}"
        self._tracing = Tracing(self._settings.telemetry, version=__version__, replica=replica)
        self._located, self._warm = asyncio.Event(), asyncio.Event()
        self._engine.on_state = self._take_state
        await self._engine.start()
        self._stack = self._build()
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(self._get_ready())
            if self._engine.state.phase == "ready":
                await loading  # a replacement takes connections when it can answer them
            await send({"type": "lifespan.startup.complete"})
            await receive()
            loading.cancel()
        await self._engine.stop()
        await asyncio.to_thread(self._tracing.close)
        await send({"type": "lifespan.shutdown.complete"})

    def _build(self) -> Edge:
        self._app = build_app(self._settings, self._engine)
        accounts = Accounts(self._engine, self._tracing)
        probes = Probes(self._app, engine=self._engine, settings=self._settings.probes)
        return Edge(
            probes,
            settings=self._settings.server,
            on_start=accounts.begin,
            on_end=accounts.end,
            draining=lambda: self._engine.state.phase == "draining",
        )

    def _take_state(self, state: ReplicaState) -> None:
        if state.warm_ttft is not None:
            self._warm.set()
        if state.model is None:
            return
        self._located.set()
        if self._text is not None:
            self._text.info = state.model  # first its folder is known, then its length and more

    async def _get_ready(self) -> None:
        """Load the tokenizer as soon as the model's folder is known, answer once, then say so."""
        await self._located.wait()
        info = self._engine.state.model
        assert info is not None  # noqa: S101 - what the event says
        try:
            text = await asyncio.to_thread(
                load_text_model, info, self._settings.model.chat_template
            )
        except StartError as error:
            self._engine.say_hello(ready=False, failure=error.message)
            return
        except Exception:
            log.exception("the tokenizer cannot be loaded")
            failure = "The tokenizer cannot be loaded; the log says more."
            self._engine.say_hello(ready=False, failure=failure)
            return
        self._text = text
        self._take_state(self._engine.state)
        self._app.state.text = text
        await self._warm.wait()
        await rehearse(self._app)
        self._engine.say_hello(ready=True)
