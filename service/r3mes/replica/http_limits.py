"""HTTP/1.1 with bounds: uvicorn's httptools protocol that refuses slow, oversized and broken input.

It owns what only the connection can know: the size and age of a request's head, the age of its
body, a client that stops reading, pipelined requests. What is refused is handed to Edge, which
answers and keeps the record, also for a request that is broken before it has a head.
Knows no route and no JSON.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from r3mes.errors import (
    HeadersTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    R3mesError,
    RequestTimeout,
    RequestTooLarge,
)
from r3mes.replica.edge import KEPT, REFUSAL, UNREADABLE
from r3mes.replica.soft_close import SoftCloseTransport
from r3mes.settings import ServerSettings

MAX_PIPELINED = 16  # requests that wait on one connection behind the one being answered
UNREAD = frozenset({b"baggage", b"range"})  # nothing here reads them, so they are dropped unseen
UNREAD_BYTES = 128 << 10  # of such headers
FRAMING = 8  # a chunk of one byte takes six on the wire; no honest body is larger than this times

Phase = Literal["fresh", "idle", "head", "body"]


def protocol_class(settings: ServerSettings) -> type[HttpToolsProtocol]:
    """The class to give to uvicorn as `http`."""

    class Protocol(BoundedProtocol):
        limits = settings

    return Protocol


class ReadingFlow(FlowControl):
    """Tells when reading is paused or goes on."""

    def __init__(self, transport: asyncio.Transport, *, changed: Callable[[], None]) -> None:
        super().__init__(transport)
        self.changed = changed

    def pause_reading(self) -> None:
        super().pause_reading()
        self.changed()

    def resume_reading(self) -> None:
        super().resume_reading()
        self.changed()


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    `phase` says what is being received; one timer runs until the first head and then while a head
    or a body is incomplete. It stands still while we do not read, for then nothing can arrive.
    Once `deaf`, further input is dropped and the connection ends with the response in progress.
    """

    limits: ClassVar[ServerSettings]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = self.limits.keep_alive_s  # type: ignore[assignment] # a float works
        self.phase: Phase = "fresh"
        self.received = 0  # bytes of this phase, as far as reads tell
        self.head_bytes = 0
        self.deaf = False
        self.answered = False
        self.fault: R3mesError | None = None
        self.active: RequestResponseCycle | None = None
        self.phase_timer: asyncio.TimerHandle | None = None
        self.time_left = self.limits.header_timeout_s  # of this phase, when its timer stands still
        self.due = 0.0  # when it ends, while its timer runs
        self.write_timer: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.soft = SoftCloseTransport(
            transport, self.loop, patience=self.limits.write_timeout_s, unread=self.has_unread
        )
        self.transport = self.soft
        self.flow = ReadingFlow(self.soft, changed=self.reading_changed)
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.stop_timers()
        self.pipeline.clear()
        if self.active is not None and not self.active.response_complete:
            self.active.disconnected = True  # uvicorn tells only the newest of pipelined requests
            self.active.message_event.set()

    def eof_received(self) -> None:
        """The transport closes itself then: what was answered leaves before."""
        self.soft.flush()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.write_timer = self.loop.call_later(self.limits.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.write_timer is not None:
            self.write_timer.cancel()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self.deaf or self.transport.is_closing():
            self.soft.drop(len(data))
            return
        self.received += len(data)
        try:
            self.parser.feed_data(data)
            self.check_received()
        except httptools.HttpParserUpgrade:
            self.stop_listening()
        except httptools.HttpParserError as error:
            self.refuse(self.fault or malformed(reason(error)))
        self.watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_bytes = 0
        self.enter("head")

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self.count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase == "body":
            return  # a trailer; nobody asked for it, and it must not become a header
        if name.lower() in UNREAD:
            return
        super().on_header(name, value)
        self.count_head(len(name) + len(value) + len(b": \r\n"))

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            self.fail(MethodNotAllowed("This is no proxy.", allow="GET, HEAD, POST"))
        self.check_head()
        super().on_headers_complete()
        self.enter("body")

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.enter("idle")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.active = cycle
        cycle.scope["state"][KEPT] = self.answered
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.answered = True
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return False  # an upgrade nobody offers is an ordinary request

    # What is refused

    def count_head(self, size: int) -> None:
        self.head_bytes += size
        if self.head_bytes > self.limits.max_header_bytes:
            self.fail(head_too_large(self.limits))
        if len(self.headers) > self.limits.max_headers:
            self.fail(HeadersTooLarge(f"More than {self.limits.max_headers} headers."))

    def check_received(self) -> None:
        """Bound what the parser holds back before it calls us: one endless line."""
        if self.phase == "body":
            if self.received > FRAMING * self.limits.max_body_bytes:
                self.fail(RequestTooLarge("The body's framing is too large."))
        elif self.received > self.limits.max_header_bytes + UNREAD_BYTES:
            self.fail(head_too_large(self.limits))

    def check_head(self) -> None:
        """What a parser lets through and intermediaries read differently."""
        names = [name for name, _ in self.headers]
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            self.fail(malformed("Only HTTP/1.0 and HTTP/1.1 are spoken here."))
        if self.parser.get_http_version() == "1.1" and names.count(b"host") != 1:
            self.fail(malformed("HTTP/1.1 needs exactly one Host header."))
        if any(
            name == b"transfer-encoding" and value != b"chunked" for name, value in self.headers
        ):
            self.fail(malformed("The only transfer encoding is `chunked`."))
        if self.parser.should_upgrade() and (
            b"transfer-encoding" in names or b"content-length" in names
        ):
            self.fail(malformed("A request for an upgrade has no body."))
        if len(self.pipeline) >= MAX_PIPELINED:
            self.fail(malformed("Too many requests at once on one connection."))

    def fail(self, error: R3mesError) -> None:
        """Leave the parser; `data_received` goes on with the error."""
        self.fault = error
        raise httptools.HttpParserError(error.message)

    def refuse(self, error: R3mesError) -> None:
        """Give the error to whoever can still answer with it, and end the connection."""
        self.stop_listening()
        if self.active is not None and not self.active.response_complete:
            if self.phase == "body":  # its own, or that of the last in line: told in its turn
                self.cycle.scope["state"][REFUSAL] = error
                self.cycle.message_event.set()
        elif self.phase == "body":
            self.transport.close()  # its answer has been given already
        else:
            self.answer(error)

    def stop_listening(self) -> None:
        self.deaf = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def answer(self, error: R3mesError) -> None:
        """There is no request that an application could be asked, so Edge gets a stand-in."""
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "method": UNREADABLE,
            "root_path": self.root_path,
            "path": "",
            "raw_path": b"",
            "query_string": b"",
            "headers": [],
            "state": {**self.app_state, REFUSAL: error},
        }
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)

    # Time

    def enter(self, phase: Phase) -> None:
        self.phase = phase
        if phase != "head":  # a head's first bytes came while it was not yet known as one
            self.received = 0
        self._unset_keepalive_if_required()
        self.hold()
        in_body = phase == "body"
        self.time_left = self.limits.body_timeout_s if in_body else self.limits.header_timeout_s

    def watch(self) -> None:
        """Start the timer of this phase unless it runs or there is nothing to wait for."""
        if self.phase == "idle" or self.phase_timer is not None or self.deaf:
            return
        if self.flow.read_paused or self.transport.is_closing():
            return
        self.due = self.loop.time() + self.time_left
        self.phase_timer = self.loop.call_later(self.time_left, self.late)

    def hold(self) -> None:
        """Stop the timer; what is left of the time stays."""
        if self.phase_timer is not None:
            self.time_left = max(0.0, self.due - self.loop.time())
            self.phase_timer.cancel()
            self.phase_timer = None

    def reading_changed(self) -> None:
        if self.flow.read_paused:
            self.hold()
        else:
            self.watch()

    def late(self) -> None:
        self.phase_timer = None
        if self.phase == "fresh":
            self.transport.close()  # it never said a word
        else:
            self.refuse(RequestTimeout("The request did not arrive in time."))

    def stop_timers(self) -> None:
        for timer in (self.phase_timer, self.write_timer):
            if timer is not None:
                timer.cancel()
        self.soft.stop_timers()

    def has_unread(self) -> bool:
        return self.deaf or self.phase in ("head", "body")


def reason(error: httptools.HttpParserError) -> str:
    """A callback of uvicorn fails only on an address that it cannot take apart."""
    if isinstance(error, httptools.HttpParserCallbackError):
        return "The address of the request cannot be read."
    return f"Broken HTTP: {error}."


def malformed(message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_http")


def head_too_large(limits: ServerSettings) -> HeadersTooLarge:
    return HeadersTooLarge(f"The headers are larger than {limits.max_header_bytes} bytes.")
