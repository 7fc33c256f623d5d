"""The bounds of one connection, spoken to by hand."""

import itertools
import socket
import time
from collections.abc import Iterator

import pytest

from support.edge_server import EdgeServer, serve_edge
from support.raw_http import Connection, chunk, head

BODY = b'{"text": "hi"}'
GOOD = head("POST", "/echo", f"Content-Length: {len(BODY)}") + BODY
CHUNKED = head("POST", "/echo", "Transfer-Encoding: chunked")


@pytest.fixture(scope="module")
def server() -> Iterator[EdgeServer]:
    with serve_edge(header_timeout_s=0.3, body_timeout_s=0.3, keep_alive_s=0.6) as running:
        yield running


def refusal(server: EdgeServer, *pieces: bytes) -> tuple[int, str | None]:
    """Status and code of the answer; the connection must end after it."""
    with Connection(server.port) as connection:
        connection.send(*pieces)
        answer = connection.response()
        assert "close" == answer.headers["connection"]
        assert answer.headers["x-request-id"]
        assert connection.at_end()
        return answer.status, answer.code


def test_a_good_request_is_answered_and_the_connection_kept(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        for _ in range(3):
            answer = connection.send(GOOD).response()

            assert (200, {"text": "hi"}) == (answer.status, answer.json())


@pytest.mark.parametrize("request_", [GOOD, head("GET", "/version"), head("GET", "/none")])
def test_a_client_that_has_ended_its_side_is_answered(server: EdgeServer, request_: bytes) -> None:
    for _ in range(10):
        with Connection(server.port) as connection:
            connection.send(request_)
            connection.socket.shutdown(socket.SHUT_WR)

            assert connection.response().status in (200, 404)


def test_a_request_in_single_bytes_is_answered(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(*(bytes([byte]) for byte in GOOD))

        assert 200 == connection.response().status


def test_a_body_in_chunks_of_one_byte_is_answered(server: EdgeServer) -> None:
    pieces = b"".join(chunk(bytes([byte])) for byte in BODY)
    with Connection(server.port) as connection:
        connection.send(CHUNKED + pieces + chunk(b""))

        assert {"text": "hi"} == connection.response().json()


BROKEN_HEADS = {
    "length and chunked": head("POST", "/echo", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunked and length": head("POST", "/echo", "Transfer-Encoding: chunked", "Content-Length: 5"),
    "two lengths": head("POST", "/echo", "Content-Length: 5", "Content-Length: 6"),
    "two equal lengths": head("POST", "/echo", "Content-Length: 5", "Content-Length: 5"),
    "signed length": head("POST", "/echo", "Content-Length: +5"),
    "hex length": head("POST", "/echo", "Content-Length: 0x5"),
    "length beyond 64 bits": head("POST", "/echo", "Content-Length: 99999999999999999999"),
    "space before colon": head("POST", "/echo", "Content-Length : 5"),
    "unknown coding": head("POST", "/echo", "Transfer-Encoding: gzip, chunked"),
    "no host": b"GET /version HTTP/1.1\r\n\r\n",
    "two hosts": head("GET", "/version", "Host: other"),
    "unknown method": head("FOO", "/version"),
    "bare line feeds": b"GET /version HTTP/1.1\nHost: a\n\n",
    "version 2": b"GET /version HTTP/2.0\r\nHost: a\r\n\r\n",
    "folded header": b"GET /version HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "NUL in header": b"GET /version HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
    "raw bytes in path": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "upgrade with body": head(
        "POST", "/echo", "Upgrade: h2c", "Connection: upgrade", "Content-Length: 5"
    ),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
}


def test_a_tunnel_is_no_method_of_ours(server: EdgeServer) -> None:
    request_head = b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"

    assert (405, "unknown_url") == refusal(server, request_head + b"hello" + GOOD)


@pytest.mark.parametrize("request_head", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
def test_a_broken_head_is_refused_and_the_connection_closed(
    server: EdgeServer, request_head: bytes
) -> None:
    assert (400, "invalid_http") == refusal(server, request_head + b"hello" + GOOD)


BROKEN_BODIES = {
    "not hex": b"zz\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "no line end after data": b"5\r\nhelloXX0\r\n\r\n",
    "size beyond 64 bits": b"fffffffffffffffff\r\n",
}


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_a_broken_chunk_is_refused_and_nothing_after_it_is_read(
    server: EdgeServer, body: bytes
) -> None:
    assert (400, "invalid_http") == refusal(server, CHUNKED + body + GOOD)


def test_trailers_do_not_become_headers(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(CHUNKED + chunk(BODY) + b"0\r\nContent-Encoding: gzip\r\n\r\n")

        assert 200 == connection.response().status


def test_a_head_over_the_limit_is_431(server: EdgeServer) -> None:
    line = "X-Long: " + "x" * (64 << 10)

    assert (431, "headers_too_large") == refusal(server, head("GET", "/version", line))


def test_a_flood_in_one_header_line_is_cut_off(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        endless = itertools.chain([b"GET / HTTP/1.1\r\nX: "], itertools.repeat(b"x" * 65536, 1600))
        taken = connection.send_until_refused(endless)

        assert taken < 50 << 20


UNENDED = {
    "a header line": (431, b"GET / HTTP/1.1\r\nX: " + b"x" * (192 << 10)),
    "a header that is dropped": (431, b"GET / HTTP/1.1\r\nRange: " + b"x" * (192 << 10)),
    "a chunk's extension": (413, CHUNKED + b"5;" + b"x" * (9 << 20)),
}


@pytest.mark.parametrize(("status", "request_part"), UNENDED.values(), ids=UNENDED.keys())
def test_what_never_ends_is_refused_at_the_limit_and_not_by_the_clock(
    status: int, request_part: bytes
) -> None:
    with serve_edge() as patient:
        assert status == refusal(patient, request_part)[0]


def test_headers_that_nothing_reads_are_dropped_whatever_their_size(server: EdgeServer) -> None:
    ranges = "Range: bytes=" + ",".join(["0-1"] * 10_000)
    baggage = "Baggage: " + "b" * (64 << 10)
    with Connection(server.port) as connection:
        answer = connection.send(head("GET", "/version", ranges, baggage)).response()

        assert 200 == answer.status


def test_many_headers_are_431(server: EdgeServer) -> None:
    many = [f"X-{number}: y" for number in range(1000)]

    assert (431, "headers_too_large") == refusal(server, head("GET", "/version", *many))


def test_a_slow_head_is_408(server: EdgeServer) -> None:
    assert (408, "request_timeout") == refusal(server, b"GET /version HTTP/1.1\r\n")


def test_a_second_head_that_is_slow_is_408(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(GOOD).response()
        answer = connection.send(b"GET /ver").response()

        assert (408, "request_timeout") == (answer.status, answer.code)
        assert connection.at_end()


def test_a_silent_connection_is_closed_without_a_word(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        assert connection.at_end()


def test_a_connection_with_nothing_but_line_ends_is_closed(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        assert connection.send(b"\r\n", b"\r\n").at_end()


def test_an_idle_connection_is_closed_after_the_keep_alive_time(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(GOOD).response()
        began = time.monotonic()

        assert connection.at_end()
        assert time.monotonic() - began > 0.3


def test_an_answer_may_take_longer_than_the_keep_alive_time(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(GOOD).response()

        assert "late" == connection.send(head("GET", "/slow")).response().json()


def test_a_slow_body_is_408(server: EdgeServer) -> None:
    request = head("POST", "/echo", "Content-Length: 100") + b"{"

    assert (408, "request_timeout") == refusal(server, request)


def test_a_body_over_the_limit_is_413_before_it_is_read(server: EdgeServer) -> None:
    request = head("POST", "/echo", f"Content-Length: {(1 << 20) + 1}")

    assert (413, "request_too_large") == refusal(server, request)


def test_the_answer_to_a_large_body_reaches_a_client_that_sends_it_all(server: EdgeServer) -> None:
    size = 4 << 20
    request = head("POST", "/echo", f"Content-Length: {size}") + b"x" * size

    assert (413, "request_too_large") == refusal(server, request)


def test_a_body_in_chunks_is_413_at_the_limit(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        endless = itertools.chain([CHUNKED], itertools.repeat(chunk(b"x" * 65536), 1600))
        taken = connection.send_until_refused(endless)

        assert taken < 50 << 20
    assert (413, "request_too_large") == refusal(server, CHUNKED, *[chunk(b"x" * 65536)] * 17)


def test_a_compressed_body_is_415_and_not_inflated(server: EdgeServer) -> None:
    request = head("POST", "/echo", "Content-Length: 2", "Content-Encoding: gzip") + b"\x1f\x8b"

    assert (415, "unsupported_encoding") == refusal(server, request)


def test_a_websocket_handshake_gets_an_ordinary_answer(server: EdgeServer) -> None:
    upgrade = ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13")

    assert (404, "unknown_url") == refusal(server, head("GET", "/v1/responses", *upgrade))


def test_pipelined_requests_are_answered_in_order(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(GOOD * 10)

        assert [200] * 10 == [connection.response().status for _ in range(10)]


def test_more_pipelined_requests_than_the_bound_end_the_connection(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(GOOD * 200)
        while connection.more():
            pass

        assert 17 == connection.received.count(b"HTTP/1.1 200 OK")


def test_a_body_may_take_its_time_while_we_do_not_read_it(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(head("GET", "/slow"), GOOD[:-9])
        first = connection.response()
        second = connection.send(GOOD[-9:]).response()

        assert ("late", {"text": "hi"}) == (first.json(), second.json())


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (head("GET", "/version", "X-Long: " + "x" * (64 << 10)), 431, "headers_too_large"),
        (b"\x16\x03\x01 hello\r\n\r\n", 400, "invalid_http"),
        (b"GET /version HTTP/1.1\r\n", 408, "request_timeout"),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "unknown_url"),
    ],
)
def test_a_request_that_is_refused_unread_leaves_a_record(
    sent: bytes, status: int, code: str
) -> None:
    with serve_edge(header_timeout_s=0.3) as server:
        assert (status, code) == refusal(server, sent)

        record = server.ended.get(timeout=10)
    assert ("unparsed", status, code) == (record.route, record.status, record.error_type)


def test_garbage_behind_a_request_ends_the_connection_after_its_answer(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        answer = connection.send(GOOD + b"\x00\x01garbage\r\n\r\n").response()

        assert 200 == answer.status
        assert connection.at_end()


@pytest.mark.parametrize(
    ("unfinished", "expected"),
    [
        (CHUNKED + b"zz\r\n", (400, "invalid_http")),
        (head("POST", "/echo", "Content-Length: 5"), (408, "request_timeout")),
    ],
    ids=["broken", "slow"],
)
def test_a_bad_body_behind_another_request_is_refused_in_its_turn(
    server: EdgeServer, unfinished: bytes, expected: tuple[int, str]
) -> None:
    with Connection(server.port) as connection:
        first = connection.send(head("GET", "/slow") + unfinished).response()
        second = connection.response()

        assert "late" == first.json()
        assert expected == (second.status, second.code)
        assert connection.at_end()


def test_a_refused_body_is_skipped_and_the_connection_kept(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        refused = connection.send(head("PUT", "/echo", "Content-Length: 5")).response()
        answer = connection.send(b"hello" + GOOD).response()

        assert (405, 200) == (refused.status, answer.status)


def test_a_refused_body_that_never_comes_ends_the_connection(server: EdgeServer) -> None:
    with Connection(server.port) as connection:
        connection.send(head("PUT", "/echo", "Content-Length: 5")).response()

        assert connection.at_end()


def test_a_client_that_stops_reading_is_cut_off() -> None:
    with serve_edge(write_timeout_s=0.3) as server, Connection(server.port) as connection:
        connection.send(head("GET", "/endless"))

        assert server.app.state.gone.wait(10)


def test_every_request_of_a_lost_connection_learns_of_it() -> None:
    with serve_edge() as server:
        with Connection(server.port) as connection:
            connection.send(head("GET", "/endless") + GOOD)
            assert connection.more()

        assert server.app.state.gone.wait(10)
        assert 499 == server.ended.get(timeout=10).status
        assert server.ended.empty()
