"""Broken and hostile HTTP against a whole replica: keys, limits, clients that leave or stall.

After each the canary must be answered and the log must still be one JSON object a line.
"""

import json
import socket
import struct
import time
from collections.abc import Iterator
from statistics import median

import httpx
import psutil
import pytest

from support.raw_http import Connection, chunk, head
from support.replica import Replica, wait_for

KEY = "test-key-3f9a"  # what guards the guarded replica
ALLOWED = f"Authorization: Bearer {KEY}"
COMPLETIONS = "/v1/completions"
BODY = b'{"prompt": "Hi", "max_tokens": 4, "seed": 1}'
GROWTH = 5 << 20


@pytest.fixture(scope="module")
def replica(guarded_replica: Replica) -> Replica:
    return guarded_replica


@pytest.fixture(scope="module")
def port(replica: Replica) -> int:
    number = httpx.URL(replica.url).port
    assert number is not None
    return number


@pytest.fixture(autouse=True)
def canary(replica: Replica, port: int) -> Iterator[None]:
    """The same question before and after each test gets the same answer."""
    before = ask(port)
    yield
    assert before == ask(port)
    wait_for(lambda: running(port) == 0, "an idle engine")
    assert all(json.loads(line) for line in replica.log.splitlines())


def post(body: bytes, *headers: str, path: str = COMPLETIONS) -> bytes:
    return head("POST", path, ALLOWED, f"Content-Length: {len(body)}", *headers) + body


def ask(port: int) -> str:
    with Connection(port) as connection:
        answer = connection.send(post(BODY)).response()
        assert 200 == answer.status, answer.body
        return str(answer.json()["choices"][0]["text"])


def running(port: int) -> int:
    with Connection(port) as connection:
        answer = connection.send(head("GET", "/load", ALLOWED)).response()
        return int(answer.json()["running"])


LENGTH = f"Content-Length: {len(BODY)}"
TOO_LARGE = (1 << 20) + 1
CHUNKED = head("POST", COMPLETIONS, ALLOWED, "Transfer-Encoding: chunked")

REFUSED: dict[str, tuple[int, str, bytes]] = {
    "a byte too many": (413, "request_too_large", post(b"x" * TOO_LARGE)),
    "a byte too many in chunks": (413, "request_too_large", CHUNKED + chunk(b"x" * TOO_LARGE)),
    "a head of 64 KiB": (431, "headers_too_large", head("GET", "/version", "X: " + "x" * 65536)),
    "1 000 headers": (
        431,
        "headers_too_large",
        head("GET", "/version", *(f"X-{number:04}: abc" for number in range(1000))),
    ),
    "a proxy wanted": (405, "unknown_url", b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"),
    "an address that is none": (400, "invalid_http", b"GET http://[x HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a slow head": (408, "request_timeout", head("GET", "/version")[:-2]),
    "a slow body": (408, "request_timeout", post(BODY)[:-1]),
    "length and chunks": (
        400,
        "invalid_http",
        head("POST", COMPLETIONS, ALLOWED, LENGTH, "Transfer-Encoding: chunked") + BODY,
    ),
    "two lengths": (400, "invalid_http", post(BODY, "Content-Length: 4")),
    "a signed length": (400, "invalid_http", head("POST", COMPLETIONS, "Content-Length: +5")),
    "a length in hex": (400, "invalid_http", head("POST", COMPLETIONS, "Content-Length: 0x5")),
    "a bad chunk": (400, "invalid_http", CHUNKED + b"zz\r\n" + BODY + post(BODY)),
    "no line end after a chunk": (400, "invalid_http", CHUNKED + b"1\r\n{{" + post(BODY)),
    "compressed": (415, "unsupported_encoding", post(BODY, "Content-Encoding: gzip")),
}


@pytest.mark.parametrize(("status", "code", "sent"), REFUSED.values(), ids=REFUSED.keys())
def test_a_broken_request_is_refused_and_its_connection_ends(
    port: int, status: int, code: str, sent: bytes
) -> None:
    with Connection(port) as connection:
        answer = connection.send(sent).response()

        assert (status, code) == (answer.status, answer.code)
        assert connection.at_end()


def test_a_request_that_is_refused_unread_is_counted_and_logged(
    replica: Replica, port: int
) -> None:
    def counted() -> float:
        return replica.metric("r3mes_requests_total", route="unparsed", status="431", finish="")

    before = counted()
    with Connection(port) as connection:
        answer = connection.send(head("GET", "/version", "X: " + "x" * 65536)).response()

    assert before + 1 == counted()
    wait_for(lambda: answer.headers["x-request-id"] in replica.log, "the line of the request")
    [line] = [one for one in replica.log.splitlines() if answer.headers["x-request-id"] in one]
    told = json.loads(line)
    assert ("unparsed", 431, "headers_too_large") == (told["route"], told["status"], told["error"])


ANSWERED: dict[str, tuple[int, str | None, bytes]] = {
    "no type": (400, "invalid_content_type", head("POST", COMPLETIONS, ALLOWED, content_type=None)),
    "text": (
        400,
        "invalid_content_type",
        head("POST", COMPLETIONS, ALLOWED, content_type="text/plain"),
    ),
    "wrong method": (405, "unknown_url", head("GET", COMPLETIONS, ALLOWED)),
    "trace": (405, "unknown_url", head("TRACE", COMPLETIONS, ALLOWED)),
    "unknown path": (404, "unknown_url", head("GET", "/v1/nothing", ALLOWED)),
    "a host that looks like a path": (
        401,
        "invalid_api_key",
        head("GET", "/v1/models", host="x/health?y="),
    ),
    "two slashes": (404, "unknown_url", head("GET", "//v1/models")),
    "dots": (401, "invalid_api_key", head("GET", "/v1/models/%2e%2e/admin")),
    "capitals": (404, "unknown_url", head("GET", "/V1/models")),
    "a slash too many": (404, "unknown_url", head("POST", COMPLETIONS + "/", ALLOWED)),
    "forwarded": (
        401,
        "invalid_api_key",
        head("GET", "/v1/models", "X-Forwarded-For: 127.0.0.1", "X-R3mes-Tenant: a"),
    ),
    "10 000 ranges": (
        200,
        None,
        head("GET", "/version", "Range: bytes=" + ",".join(["0-0"] * 10_000)),
    ),
    "bad trace": (
        200,
        None,
        head("GET", "/version", "traceparent: 00-zz", "baggage: " + "b" * 65536),
    ),
    "unknown field": (400, "unknown_parameter", post(b'{"prompt": "x", "surprise": 1}')),
    "unknown field of /tokenize": (
        400,
        "unknown_parameter",
        post(b'{"prompt": "x", "surprise": 1}', path="/tokenize"),
    ),
    "unknown field of /detokenize": (
        400,
        "unknown_parameter",
        post(b'{"tokens": [1], "surprise": 1}', path="/detokenize"),
    ),
    "no key": (401, "invalid_api_key", head("GET", "/v1/models")),
    "empty bearer": (401, "invalid_api_key", head("GET", "/v1/models", "Authorization: Bearer ")),
    "basic": (401, "invalid_api_key", head("GET", "/v1/models", "Authorization: Basic eDp5")),
    "two keys": (401, "invalid_api_key", head("GET", "/v1/models", ALLOWED, ALLOWED)),
    "SQL": (401, "invalid_api_key", head("GET", "/v1/models", "X-Api-Key: ' OR '1'='1")),
    "beyond ASCII": (401, "invalid_api_key", head("GET", "/v1/models", "X-Api-Key: \xff\xfe")),
    "wrong secret": (401, "invalid_api_key", head("GET", "/v1/models", f"X-Api-Key: {KEY}0")),
    "a NUL in the key": (400, "invalid_http", head("GET", "/v1/models", "X-Api-Key: a\x00")),
    "a key of 1 MB": (
        431,
        "headers_too_large",
        head("GET", "/v1/models", "X-Api-Key: " + "k" * 10**6),
    ),
}


@pytest.mark.parametrize(("status", "code", "sent"), ANSWERED.values(), ids=ANSWERED.keys())
def test_an_odd_request_gets_its_answer(
    port: int, status: int, code: str | None, sent: bytes
) -> None:
    with Connection(port) as connection:
        answer = connection.send(sent).response()

    assert status == answer.status
    if code is not None:
        assert code == answer.code
    assert (status == 401) == ("www-authenticate" in answer.headers)
    assert answer.headers["x-request-id"]


def test_405_names_what_is_allowed(port: int) -> None:
    with Connection(port) as connection:
        assert "POST" == connection.send(ANSWERED["trace"][2]).response().headers["allow"]


@pytest.mark.parametrize("given", ["a\tb", "x" * 10240, "ümlaut", 'a"}{'])
def test_an_unfit_request_id_never_reaches_the_log(replica: Replica, port: int, given: str) -> None:
    with Connection(port) as connection:
        answer = connection.send(head("GET", "/version", f"X-Request-Id: {given}")).response()

    made = answer.headers["x-request-id"]
    assert 32 == len(made)
    wait_for(lambda: made in replica.log, "the log line")
    assert given not in replica.log


def test_an_empty_request_id_is_none(port: int) -> None:
    with Connection(port) as connection:
        answer = connection.send(head("GET", "/version", "X-Request-Id: ")).response()

    assert 32 == len(answer.headers["x-request-id"])


def test_slow_bodies_hold_up_nobody(port: int) -> None:
    def typical_time() -> float:
        times = []
        for _ in range(15):
            began = time.monotonic()
            ask(port)
            times.append(time.monotonic() - began)
        return median(times)

    alone = typical_time()
    slow = [Connection(port).send(post(BODY)[:-1]) for _ in range(500)]
    try:
        assert typical_time() < 10 * alone
        assert {408} == {connection.response().status for connection in slow}
    finally:
        for connection in slow:
            connection.socket.close()


STREAM = b'{"prompt": "Hi", "max_tokens": 4000, "ignore_eos": true, "stream": %s}'


@pytest.mark.parametrize("streaming", [b"true", b"false"])
@pytest.mark.parametrize("way", ["close", "reset", "half-close"])
def test_a_client_that_leaves_frees_its_slot(
    replica: Replica, port: int, way: str, streaming: bytes
) -> None:
    with Connection(port) as connection:
        connection.send(post(STREAM % streaming))
        wait_for(lambda: running(port) == 1, "a running request")
        if way == "reset":
            linger = struct.pack("ii", 1, 0)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if way == "half-close":
            connection.socket.shutdown(socket.SHUT_WR)
        else:
            connection.socket.close()

        wait_for(lambda: running(port) == 0, "the slot to be free", within=2)
    assert "Traceback" not in replica.log


def test_what_a_client_left_is_counted_as_delivered_and_499(replica: Replica, port: int) -> None:
    count = {"route": COMPLETIONS, "status": "499"}
    before = replica.metric("r3mes_requests_total", **count)
    with Connection(port) as connection:
        connection.send(post(STREAM % b"true"))
        while connection.received.count(b"data:") < 5:
            assert connection.more()

    wait_for(lambda: replica.metric("r3mes_requests_total", **count) == before + 1, "a 499")


def test_a_client_that_stops_reading_is_cut_and_others_are_not(replica: Replica, port: int) -> None:
    body = STREAM.replace(b"4000", b"4000, %s" % b'"n": 16, "logprobs": 20') % b"true"
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", port))
        stalled.sendall(post(body))
        wait_for(lambda: running(port) == 16, "running requests")
        ask(port)

        wait_for(lambda: running(port) == 0, "the stream to be cut", within=30)


def test_the_key_appears_nowhere(replica: Replica, port: int) -> None:
    with httpx.Client(base_url=replica.url, headers={"X-Api-Key": KEY}) as client:
        pages = [client.get(path).text for path in ("/v1/models", "/metrics", "/openapi.json")]
        pages.append(client.post(COMPLETIONS, json={"model": "x"}).text)
    with Connection(port) as connection:
        refused = connection.send(head("GET", "/v1/models", f"Authorization: Bearer {KEY}0"))
        pages.append(refused.response().body.decode())

    assert not [page for page in [*pages, replica.log] if KEY in page]


def test_repeating_all_of_it_grows_no_process(replica: Replica, port: int) -> None:
    quick = [sent for name, (_, _, sent) in REFUSED.items() if "slow" not in name]
    quick += [sent for _, _, sent in ANSWERED.values()]

    def repeat(times: int) -> None:
        for sent in quick * times:
            with Connection(port) as connection:
                connection.send(sent).response()

    repeat(3)
    before = {process: rss(process) for process in replica.processes()}
    repeat(3)

    grown = {process: rss(process) - before[process] for process in replica.processes()}
    assert {} == {process: more for process, more in grown.items() if more > GROWTH}


def rss(process: psutil.Process) -> int:
    return int(process.memory_info().rss)
