"""The same two endpoints in several Python frameworks, for `http_servers`.

POST /echo parses a chat request and answers a small object; GET /sse streams events, each encoded
and sent on its own, as a token would be. Every framework is imported only where it is served.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

EVENTS = 100
PACE = "PACE_MS"  # environment: milliseconds between two events of a stream, 0 for full speed
PACE_S = float(os.environ.get(PACE, "0")) / 1000
CHUNK = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": None}],
}
SSE = "text/event-stream"


def answer(body: dict[str, Any]) -> dict[str, Any]:
    messages = len(body["messages"])
    return {"model": body["model"], "n": messages, "max_tokens": body["max_tokens"]}


def event() -> bytes:
    return b"data: " + json.dumps(CHUNK).encode() + b"\n\n"


async def events() -> AsyncIterator[bytes]:
    for _ in range(EVENTS):
        yield event()
        await asyncio.sleep(PACE_S)  # at full speed one event a turn of the loop


def events_of_a_thread() -> Iterator[bytes]:
    for _ in range(EVENTS):
        yield event()
        if PACE_S:
            time.sleep(PACE_S)


def fastapi() -> Any:
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse
    from pydantic import BaseModel

    class Message(BaseModel):
        role: Literal["system", "user", "assistant", "tool"]
        content: str

    class Body(BaseModel):
        model: str
        messages: list[Message]
        max_tokens: int = 16
        temperature: float = 1.0
        stream: bool = False

    class Answer(BaseModel):
        model: str
        n: int
        max_tokens: int

    async def echo(body: Body) -> Answer:
        return Answer(model=body.model, n=len(body.messages), max_tokens=body.max_tokens)

    async def sse() -> StreamingResponse:
        return StreamingResponse(events(), media_type=SSE)

    app = FastAPI()
    app.post("/echo")(echo)
    app.get("/sse")(sse)
    return app


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def echo(request: Request) -> Response:
        return JSONResponse(answer(await request.json()))

    async def sse(request: Request) -> Response:
        return StreamingResponse(events(), media_type=SSE)

    return Starlette(routes=[Route("/echo", echo, methods=["POST"]), Route("/sse", sse)])


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """No framework: the floor of what the server itself costs."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/sse":
        await start(send, SSE)
        async for data in events():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    out = json.dumps(answer(json.loads(body))).encode()
    await start(send, "application/json", (b"content-length", str(len(out)).encode()))
    await send({"type": "http.response.body", "body": out})


async def start(send: Any, kind: str, *headers: tuple[bytes, bytes]) -> None:
    all_headers = [(b"content-type", kind.encode()), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": all_headers})


def flask() -> Any:
    from flask import Flask, Response, jsonify, request

    def echo() -> Any:
        return jsonify(answer(request.get_json()))

    def sse() -> Any:
        return Response(events_of_a_thread(), mimetype=SSE)

    app = Flask(__name__)
    app.post("/echo")(echo)
    app.get("/sse")(sse)
    return app


def django() -> Any:
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
    from django.urls import path

    async def echo(request: HttpRequest) -> JsonResponse:
        return JsonResponse(answer(json.loads(request.body)))

    async def sse(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(events(), content_type=SSE)

    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[])
    globals()["urlpatterns"] = [path("echo", echo), path("sse", sse)]
    return get_asgi_application()


def serve_tornado(port: int) -> None:
    import uvloop
    from tornado.web import Application, RequestHandler

    class Echo(RequestHandler):
        def post(self) -> None:
            self.write(answer(json.loads(self.request.body)))

    class Sse(RequestHandler):
        async def get(self) -> None:
            self.set_header("Content-Type", SSE)
            async for data in events():
                self.write(data)
                await self.flush()

    async def serve() -> None:
        Application([("/echo", Echo), ("/sse", Sse)]).listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    uvloop.run(serve())


if __name__ == "__main__":
    serve_tornado(int(sys.argv[1]))
