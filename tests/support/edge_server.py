"""A worker's HTTP front without an engine: Edge and the bounded protocol under a small app."""

import asyncio
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict

from r3mes.errors import Overloaded
from r3mes.replica.auth import caller, install_keys
from r3mes.replica.edge import Edge
from r3mes.replica.error_reply import route_errors
from r3mes.replica.exchange import Exchange
from r3mes.replica.http_limits import protocol_class
from r3mes.replica.json_body import JsonRoute
from r3mes.settings import ServerSettings, Settings


class Echo(BaseModel):
    model_config = ConfigDict(strict=True)

    text: str


def small_app(settings: Settings) -> FastAPI:
    app = FastAPI(dependencies=[Depends(caller)], redirect_slashes=False, openapi_url=None)
    app.router.route_class = JsonRoute
    app.state.gone = threading.Event()

    @app.get("/version")
    async def version() -> str:
        return "1"

    @app.post("/echo")
    async def echo(body: Echo) -> dict[str, str]:
        return {"text": body.text}

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(1)
        return "late"

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("a secret of ours")

    @app.get("/busy")
    async def busy() -> None:
        raise Overloaded("The line is full.", retry_after=7)

    @app.get("/endless")
    async def endless(request: Request) -> StreamingResponse:
        async def rows() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 4096
                    await asyncio.sleep(0)
            finally:
                app.state.gone.set()

        return StreamingResponse(rows())

    app.add_route("/docs", lambda request: PlainTextResponse("the page"))
    route_errors(app, overload_status=settings.limits.overload_status)
    install_keys(app, settings)
    return app


@dataclass
class EdgeServer:
    """A running server; `ended` holds the records that Edge closed, in order."""

    port: int
    app: Any
    ended: "queue.Queue[Exchange]" = field(default_factory=queue.Queue)
    draining: bool = False


@contextmanager
def serve_edge(settings: Settings | None = None, **server: Any) -> Iterator[EdgeServer]:
    """Serve `small_app` on loopback in a thread."""
    settings = settings or Settings(server=ServerSettings(**server))
    listener = socket.create_server(("127.0.0.1", 0))
    running = EdgeServer(listener.getsockname()[1], small_app(settings))
    edge = Edge(
        running.app,
        settings=settings.server,
        on_start=lambda exchange, headers: None,
        on_end=running.ended.put,
        draining=lambda: running.draining,
    )
    config = uvicorn.Config(
        edge,
        http=protocol_class(settings.server),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    program = uvicorn.Server(config)
    thread = threading.Thread(target=program.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield running
    finally:
        program.should_exit = True
        program.force_exit = True
        thread.join(10)
        listener.close()
