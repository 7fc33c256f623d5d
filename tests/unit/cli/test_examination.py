"""What a check-up finds wrong, against servers that answer as a broken one would."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from r3mes.cli.examination import Examination
from r3mes.errors import CallFailed

Answer = Callable[[httpx.Request], httpx.Response]


@contextmanager
def visit(answer: Answer) -> Iterator[Examination]:
    transport = httpx.MockTransport(answer)
    with httpx.Client(base_url="http://server", transport=transport) as client:
        yield Examination(client, model="m")


def chat_answer(**choice: object) -> dict[str, object]:
    said = {"message": {"content": "Hello"}, "finish_reason": "stop", **choice}
    return {"choices": [said], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}


def traced(request: httpx.Request) -> dict[str, str]:
    trace_id = request.headers["traceparent"].split("-")[1]
    return {"traceresponse": f"00-{trace_id}-00f067aa0ba902b7-00"}


def events(*payloads: object) -> bytes:
    lines = [p if isinstance(p, str) else json.dumps(p) for p in payloads]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


PIECE = {"choices": [{"delta": {"content": "Hi"}}]}
END = {"choices": [{"delta": {}, "finish_reason": "stop"}]}


def test_waiting_ends_with_what_the_server_said_last() -> None:
    loading = {"phase": "loading", "detail": "fetching weights"}

    with (
        visit(lambda _: httpx.Response(503, json=loading)) as seen,
        pytest.raises(CallFailed) as failed,
    ):
        seen.ready(0, on_wait=print)

    assert "Not ready after 0 s: loading (fetching weights)" == failed.value.message


def test_waiting_tells_why_nobody_answers() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Name or service not known")

    with visit(answer) as seen, pytest.raises(CallFailed) as failed:
        seen.ready(0, on_wait=print)

    assert failed.value.message.endswith("(Name or service not known)")


def test_each_new_state_is_heard_once_while_waiting() -> None:
    states = iter(["loading", "loading", "warming", "ready"])
    heard: list[str] = []

    def answer(_: httpx.Request) -> httpx.Response:
        phase = next(states)
        return httpx.Response(200 if phase == "ready" else 503, json={"phase": phase})

    with visit(answer) as seen:
        seen.ready(30, on_wait=heard.append)

    assert ["waiting: loading", "waiting: warming"] == heard


@pytest.mark.parametrize(
    "body",
    [
        chat_answer(message={"content": ""}),
        chat_answer(finish_reason=None),
        {"choices": [], "usage": {}},
        {"hello": "world"},
    ],
)
def test_half_an_answer_is_none(body: dict[str, object]) -> None:
    with visit(lambda _: httpx.Response(200, json=body)) as seen, pytest.raises(CallFailed):
        seen.chat()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (events(PIECE, END), "without [DONE]"),
        (events(PIECE, "[DONE]"), "without a finish reason"),
        (events(END, "[DONE]"), "without text"),
        (events(PIECE, {"error": {"message": "The engine died."}}), "The engine died."),
    ],
)
def test_a_stream_without_its_end_is_cut_off(body: bytes, reason: str) -> None:
    with (
        visit(lambda _: httpx.Response(200, content=body)) as seen,
        pytest.raises(CallFailed) as failed,
    ):
        seen.stream()

    assert reason in failed.value.message


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "no valid traceresponse header: None"),
        ({"traceresponse": "00-1-2-3"}, "no valid traceresponse header: 00-1-2-3"),
        ({"traceresponse": f"00-{'a' * 32}-{'b' * 16}-00"}, "of another trace"),
    ],
)
def test_an_answer_outside_the_calls_trace_is_told(headers: dict[str, str], reason: str) -> None:
    with visit(lambda _: httpx.Response(200, json=chat_answer(), headers=headers)) as seen:
        seen.chat()
        with pytest.raises(CallFailed) as failed:
            seen.trace_header()

    assert reason in failed.value.message


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("r3mes_phase{phase='ready'} 1", "could not be read"),
        ('r3mes_phase{phase="ready"} 0\n', "does not say ready"),
        ('r3mes_phase{phase="ready"} 1\n', "0 requests and 0 tokens are counted"),
    ],
)
def test_metrics_that_miss_this_very_call_are_told(page: str, reason: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/metrics":
            return httpx.Response(200, text=page)
        return httpx.Response(200, json=chat_answer(), headers=traced(request))

    with visit(answer) as seen:
        seen.chat()
        seen.trace_header()
        with pytest.raises(CallFailed) as failed:
            seen.metrics()

    assert reason in failed.value.message
