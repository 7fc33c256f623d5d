"""One stream of an answer, from the engine's news to what leaves by ASGI."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Send

from r3mes.engine.messages import Logprob, SamplingParams, Stamps, Update
from r3mes.protocol.chat import ChatBody
from r3mes.replica.answer import Answer
from r3mes.replica.chat_shape import ChatShape
from r3mes.replica.completion_shape import CompletionShape
from r3mes.replica.echo import echo_of
from r3mes.replica.edge import DIRECT
from r3mes.replica.engine_client import Generation, Job
from r3mes.replica.exchange import KEY, Exchange
from r3mes.replica.sampling import reading_of
from r3mes.replica.sse import EventStream
from r3mes.replica.wire import Identity
from support.model_info import byte_model

TEXT = byte_model()
WHO = Identity("chatcmpl-1", "chat.completion.chunk", 5, "m", "fp_x", None)


class Wire:
    """The ASGI side of one stream; what is sent can be waited for."""

    def __init__(self, body: Any, *, choices: int = 1) -> None:
        self.stopped: list[int] = []
        self.generation = Generation(
            0, choices, abort=lambda streams, reason: self.stopped.extend(streams)
        )
        self.exchange = Exchange("r", "POST", "/")
        self.sent: list[dict[str, Any]] = []
        self.entered = self.aborted = False
        self._changed = asyncio.Event()
        self._left = asyncio.Event()
        params = SamplingParams(max_tokens=9, logprobs=getattr(body, "alternatives", int)())
        jobs = [Job([104, 105], params)] * choices
        answer = Answer(jobs, reading_of(body), n=choices, text=TEXT, exchange=self.exchange)
        if isinstance(body, ChatBody):
            shape: Any = ChatShape(body, answer, WHO)
        else:
            echoes = [echo_of([104, 105], TEXT, verbatim="hi")] if body.echo else []
            shape = CompletionShape(body, answer, WHO, echoes)
        self._stream = EventStream(answer, shape, self._generate())

    @asynccontextmanager
    async def _generate(self) -> AsyncIterator[Generation]:
        self.entered = True
        try:
            yield self.generation
        finally:
            self.aborted = bool(self.generation.unfinished)

    async def run(self, *, through: Send | None = None) -> None:
        scope = {"state": {KEY: self.exchange, DIRECT: self._send}}
        await self._stream(scope, self._receive, through or self._send)

    def leave(self) -> None:
        self._left.set()

    def tell(self, text: str, *, choice: int = 0, **end: Any) -> None:
        ids = list(text.encode())
        stamps = Stamps(queued=0.0, cached_tokens=1)
        logprobs = [Logprob(token, -0.5, 1, [(token, -0.5)]) for token in ids]
        self.generation.take(Update(choice, ids, logprobs=logprobs, stamps=stamps, **end))

    async def seen(self, count: int) -> list[bytes]:
        """The bodies that were sent, once there are so many."""
        while len(self.bodies()) < count:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 5)
        return self.bodies()

    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if "body" in message]

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        self._changed.set()
