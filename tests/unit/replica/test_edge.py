"""The outermost layer over real sockets: ids, errors, and a record closed exactly once."""

import gc
import logging
import weakref
from collections.abc import Iterator

import pytest
from starlette.types import Message, Receive, Scope, Send

from r3mes.replica.edge import Edge
from r3mes.replica.exchange import Exchange
from r3mes.settings import LimitSettings, ServerSettings, Settings
from support.edge_server import EdgeServer, serve_edge
from support.raw_http import Connection, RawResponse, head

BODY = b'{"text": "hi"}'


@pytest.fixture(scope="module")
def server() -> Iterator[EdgeServer]:
    with serve_edge() as running:
        yield running


def get(server: EdgeServer, path: str, *headers: str, method: str = "GET") -> RawResponse:
    with Connection(server.port) as connection:
        return connection.send(head(method, path, *headers)).response()


def post(server: EdgeServer, raw: bytes, *, content_type: str | None) -> RawResponse:
    with Connection(server.port) as connection:
        start = head("POST", "/echo", f"Content-Length: {len(raw)}", content_type=content_type)
        return connection.send(start + raw).response()


@pytest.mark.parametrize("given", ["abc", "A.b_c:d-9@x=+", "x" * 128])
def test_a_fit_request_id_is_kept(server: EdgeServer, given: str) -> None:
    assert given == get(server, "/version", f"X-Request-Id: {given}").headers["x-request-id"]


UNFIT = ["", "a b", "x" * 129, "ümlaut", "a/b", 'a"b', "a\tb", "{x}"]


@pytest.mark.parametrize("given", UNFIT)
def test_an_unfit_request_id_is_replaced(server: EdgeServer, given: str) -> None:
    made = get(server, "/version", f"X-Request-Id: {given}").headers["x-request-id"]

    assert given != made
    assert 32 == len(made)


def test_two_request_ids_are_replaced(server: EdgeServer) -> None:
    answer = get(server, "/version", "X-Request-Id: a", "X-Request-Id: b")

    assert 32 == len(answer.headers["x-request-id"])


ERRORS = {
    "/nothing": ("GET", 404, "unknown_url"),
    "/version/": ("GET", 404, "unknown_url"),
    "//version": ("GET", 404, "unknown_url"),
    "/VERSION": ("GET", 404, "unknown_url"),
    "/echo": ("GET", 405, "unknown_url"),
    "/version": ("TRACE", 405, "unknown_url"),
    "/busy": ("GET", 503, "server_overloaded"),
    "/boom": ("GET", 500, "internal_error"),
}


@pytest.mark.parametrize(("path", "expected"), ERRORS.items(), ids=list(ERRORS))
def test_every_error_has_our_shape_and_an_id(
    server: EdgeServer, path: str, expected: tuple[str, int, str]
) -> None:
    method, status, code = expected
    answer = get(server, path, "X-Request-Id: mine", method=method)

    assert (status, code, "mine") == (answer.status, answer.code, answer.headers["x-request-id"])


def test_the_headers_of_an_error_tell_what_to_do(server: EdgeServer) -> None:
    busy = get(server, "/busy").headers

    assert ("7", "true") == (busy["retry-after"], busy["x-should-retry"])
    assert "POST" == get(server, "/echo").headers["allow"]
    assert "false" == get(server, "/boom").headers["x-should-retry"]


def test_a_full_engine_can_be_answered_as_too_many_requests() -> None:
    with serve_edge(Settings(limits=LimitSettings(overload_status=429))) as server:
        busy = get(server, "/busy")

    assert (429, "server_overloaded") == (busy.status, busy.code)
    assert ("7", "true") == (busy.headers["retry-after"], busy.headers["x-should-retry"])
    assert 429 == server.ended.get(timeout=5).status


def test_an_unexpected_exception_is_logged_with_the_id_and_not_told(
    server: EdgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = get(server, "/boom", "X-Request-Id: mine")

    assert b"secret" not in answer.body
    (record,) = caplog.records
    assert "mine" == record.__dict__["request_id"]
    assert "a secret of ours" in str(record.exc_info)


@pytest.mark.parametrize("content_type", [None, "text/plain", "multipart/form-data", "json", ""])
def test_another_content_type_is_refused(server: EdgeServer, content_type: str | None) -> None:
    answer = post(server, BODY, content_type=content_type)

    assert (400, "invalid_content_type") == (answer.status, answer.code)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
def test_every_spelling_of_json_is_taken(server: EdgeServer, content_type: str) -> None:
    assert {"text": "hi"} == post(server, BODY, content_type=content_type).json()


def test_a_validation_error_names_its_field(server: EdgeServer) -> None:
    answer = post(server, b'{"text": 1}', content_type="application/json")

    assert (400, "invalid_type") == (answer.status, answer.code)
    assert "text" == answer.json()["error"]["param"]


def test_a_draining_server_ends_each_connection_after_its_answer(server: EdgeServer) -> None:
    server.draining = True
    try:
        with Connection(server.port) as connection:
            answer = connection.send(head("GET", "/version")).response()

            assert (200, "close") == (answer.status, answer.headers["connection"])
            assert connection.at_end()
    finally:
        server.draining = False


GOOD_PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (GOOD_PARENT, GOOD_PARENT),
        (GOOD_PARENT.upper(), None),
        ("00-" + "0" * 32 + "-" + "b" * 16 + "-01", None),
        ("ff-" + "a" * 32 + "-" + "b" * 16 + "-01", None),
        (GOOD_PARENT + "-more", None),
        ("x" * 20_000, None),
    ],
)
def test_only_a_well_formed_traceparent_is_kept(
    server: EdgeServer, given: str, kept: str | None
) -> None:
    forget(server)
    answer = get(server, "/version", f"traceparent: {given}", "baggage: " + "b" * 8000)

    assert (200, kept) == (answer.status, server.ended.get(timeout=10).traceparent)


def test_the_record_tells_what_happened(server: EdgeServer) -> None:
    forget(server)
    post(server, BODY, content_type="application/json")
    get(server, "/boom")
    get(server, "/nothing")

    records = [server.ended.get(timeout=10) for _ in range(3)]
    assert [("/echo", 200, None), ("/boom", 500, "internal_error"), (None, 404, "unknown_url")] == [
        (record.route, record.status, record.error_type) for record in records
    ]
    assert server.ended.empty()


def test_a_page_that_is_no_route_of_the_api_is_known_by_its_path(server: EdgeServer) -> None:
    forget(server)
    for path in ("/docs", "/docs/", "/openapi.json"):
        get(server, path)

    routes = [server.ended.get(timeout=10).route for _ in range(3)]
    assert ["/docs", None, None] == routes  # this server has no such document


def test_a_client_that_leaves_within_its_body_is_a_499_and_no_error(
    server: EdgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    forget(server)
    with Connection(server.port) as connection:
        connection.send(head("POST", "/echo", "Content-Length: 100"), b"{")

    assert 499 == server.ended.get(timeout=10).status
    assert [] == caplog.records


async def test_the_record_is_closed_once_and_before_the_last_bytes_leave() -> None:
    order: list[object] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def send(message: Message) -> None:
        order.append(message.get("body", "start"))

    edge = Edge(
        application,
        settings=ServerSettings(),
        on_start=lambda exchange, headers: order.append(exchange.status),
        on_end=lambda exchange: order.append(exchange.status),
        draining=lambda: False,
    )
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}
    await edge(scope, nothing, send)

    assert [None, "start", b"a", 200, b"b"] == order


async def nothing() -> Message:
    raise AssertionError("nobody asked for the body")


def test_strangers_are_refused_before_their_body_is_read() -> None:
    with serve_edge(Settings(api_keys="key")) as server:
        answer = post(server, b"not json", content_type="text/plain")

        assert (401, "invalid_api_key") == (answer.status, answer.code)
        assert "Bearer" == answer.headers["www-authenticate"]
        assert 200 == get(server, "/version").status
        assert 401 == get(server, "/busy").status
        assert 503 == get(server, "/busy", "Authorization: Bearer key").status
        assert {None, "2c70e12b"} == {record.key_id for record in everything(server)}


def forget(server: EdgeServer) -> None:
    everything(server)


def everything(server: EdgeServer) -> list[Exchange]:
    records = []
    while not server.ended.empty():
        records.append(server.ended.get())
    return records


async def test_nothing_of_a_request_is_left_to_the_collector() -> None:
    class Owner:
        async def send(self, message: Message) -> None:
            pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    edge = Edge(
        app,
        settings=ServerSettings(),
        on_start=lambda exchange, headers: None,
        on_end=lambda exchange: None,
        draining=lambda: False,
    )
    owner = Owner()
    gone = weakref.ref(owner)
    gc.disable()
    try:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {}}
        await edge(scope, receive, owner.send)
        del owner, scope
        assert gone() is None
    finally:
        gc.enable()
