"""The outermost layer of an API worker: ids, the record of the exchange, and every error's answer.

Pure ASGI. It knows the headers and the error tree; it knows no route, no engine and no telemetry
(the two hooks are given by composition).
"""

import logging
import re
import secrets
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from r3mes.errors import (
    CLIENT_GONE,
    InternalError,
    R3mesError,
    RequestTimeout,
    RequestTooLarge,
    ShuttingDown,
    UnsupportedEncoding,
)
from r3mes.replica import exchange as exchanges
from r3mes.replica.error_reply import RawHeaders, body_of, headers_of
from r3mes.replica.exchange import Exchange
from r3mes.settings import ServerSettings

REFUSAL = "refusal"  # key of scope["state"] under which the protocol leaves its own error
DIRECT = "direct"  # key of Edge's own `send`: layers within look at no more than a start
KEPT = "kept"  # key under which it says whether the connection had an answer before
UNREADABLE = "_OTHER"  # method, in OpenTelemetry's word, of a request that was refused unread

CLOSING = (RequestTimeout, RequestTooLarge, UnsupportedEncoding, ShuttingDown)

REQUEST_ID = re.compile(r"[A-Za-z0-9._:@+=-]{1,128}")
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")

log = logging.getLogger(__name__)

OnStart = Callable[[Exchange, Headers], None]
OnEnd = Callable[[Exchange], None]


class Edge:
    """`on_start` may fill the ids of the span; `on_end` runs before the last bytes leave."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        on_start: OnStart,
        on_end: OnEnd,
        draining: Callable[[], bool],
    ) -> None:
        self.app = app
        self.max_body_bytes = settings.max_body_bytes
        self.on_start = on_start
        self.on_end = on_end
        self.draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = begin(scope, headers)
        self.on_start(exchange, headers)
        reply = Reply(self, scope, exchange, send)
        scope["state"][DIRECT] = reply.send
        body = Body(scope, receive, limit=self.max_body_bytes)
        try:
            check_refusal(scope)
            check_body_headers(headers, limit=self.max_body_bytes)
            await self.app(scope, body.receive, reply.send)
        except R3mesError as error:
            await reply.fail(error)
        except ClientDisconnect:
            pass  # it left while it sent its body; the record says so
        except Exception:
            log.exception("unexpected error", extra={"request_id": exchange.request_id})
            await reply.fail(InternalError("Something went wrong on our side."))
        finally:
            reply.end()
            del scope["state"][DIRECT]  # else the scope held itself, until a collection


def begin(scope: Scope, headers: Headers) -> Exchange:
    """Make the record and put it where routes find it."""
    exchange = Exchange(
        request_id=sole(headers, "x-request-id", REQUEST_ID) or secrets.token_hex(16),
        method=scope["method"],
        path=scope["path"],
        traceparent=sole(headers, "traceparent", TRACEPARENT),
        kept=scope.get("state", {}).get(KEPT, False),
    )
    if exchange.traceparent:
        exchange.tracestate = sole(headers, "tracestate", TRACESTATE)
    scope.setdefault("state", {})[exchanges.KEY] = exchange
    return exchange


def sole(headers: Headers, name: str, form: re.Pattern[str]) -> str | None:
    """The header's value, if it came once and in the right form."""
    values = headers.getlist(name)
    return values[0] if len(values) == 1 and form.fullmatch(values[0]) else None


def check_refusal(scope: Scope) -> None:
    """Raise what the protocol found: in the head, or in the body as far as it has come."""
    refusal = scope["state"].get(REFUSAL)
    if refusal is not None:
        raise refusal


def check_body_headers(headers: Headers, *, limit: int) -> None:
    """Refuse a body for what its headers say, before a byte of it is read."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedEncoding("Send the body without Content-Encoding.")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large(limit)


def too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The body is larger than {limit} bytes.")


def route_of(scope: Scope) -> str | None:
    """The template of the route that answered; None when none matched."""
    if scope["method"] == UNREADABLE:
        return "unparsed"
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    # Starlette's own routes leave no template; those without parameters are theirs.
    plain = "endpoint" in scope and not scope.get("path_params")
    return str(scope["path"]) if plain else None


class Body:
    """The request's body on its way in: counted, and broken off where the protocol says so."""

    def __init__(self, scope: Scope, receive: Receive, *, limit: int) -> None:
        self.scope = scope
        self.inner = receive
        self.limit = limit
        self.seen = 0

    async def receive(self) -> Message:
        message = await self.inner()
        check_refusal(self.scope)
        self.seen += len(message.get("body", b""))
        if self.seen > self.limit:
            raise too_large(self.limit)
        return message


class Reply:
    """The response on its way out: our headers on its start, the record closed before its end."""

    def __init__(self, edge: Edge, scope: Scope, exchange: Exchange, send: Send) -> None:
        self.edge = edge
        self.scope = scope
        self.exchange = exchange
        self.inner = send
        self.started = False
        self.closing = False
        self.ended = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.exchange.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self.headers()]}
        elif not message.get("more_body", False):
            self.complete()
        await self.inner(message)

    def headers(self) -> RawHeaders:
        exchange = self.exchange
        headers = [(b"x-request-id", exchange.request_id.encode("ascii"))]
        if exchange.trace_id and exchange.span_id:
            flags = "01" if exchange.sampled else "00"
            value = f"00-{exchange.trace_id}-{exchange.span_id}-{flags}"
            headers.append((b"traceresponse", value.encode("ascii")))
        if self.closing or self.edge.draining():
            headers.append((b"connection", b"close"))
        return headers

    async def fail(self, error: R3mesError) -> None:
        """Answer with the error; once the response has begun it can only be cut off."""
        self.exchange.error_type = error.code
        if self.started:
            self.exchange.status = error.status
            return
        self.closing = isinstance(error, CLOSING) or REFUSAL in self.scope["state"]
        body = body_of(error)
        headers = headers_of(error, body)
        start = {"type": "http.response.start", "status": error.status, "headers": headers}
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body})

    def end(self) -> None:
        """The application is done. Without a whole response, the client has left."""
        if self.ended:
            return
        if self.exchange.error_type is None:
            self.exchange.status = CLIENT_GONE
        self.complete()

    def complete(self) -> None:
        """Close the record, exactly once."""
        if self.ended:
            return
        self.ended = True
        self.exchange.route = route_of(self.scope)
        self.edge.on_end(self.exchange)
