"""Server-sent events, byte for byte, and when they leave."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from r3mes.engine.messages import Logprob, Stamps, Update
from r3mes.errors import Overloaded, ShuttingDown
from r3mes.protocol.chat import ChatBody
from r3mes.protocol.completions import CompletionBody
from r3mes.replica import sse
from support.one_stream import Wire

HEAD = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":5,"model":"m",'
    '"system_fingerprint":"fp_x","choices":['
)
ROLE = '"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
USAGE = (
    '"usage":{"prompt_tokens":2,"completion_tokens":%d,"total_tokens":%d,'
    '"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":0}}'
)


def chat(**fields: Any) -> ChatBody:
    return ChatBody.model_validate(
        {"messages": [{"role": "user", "content": "hi"}], "stream": True, **fields}
    )


def events(*datas: str) -> bytes:
    return "".join(f"data: {data}\n\n" for data in datas).encode()


def delta(text: str, tail: str = "") -> str:
    return (
        f'{HEAD}{{"index":0,"delta":{{"content":"{text}"}},"logprobs":null,'
        f'"finish_reason":null}}]{tail}}}'
    )


def ending(tail: str = "", *, finish: str = "length", stop: str = "null") -> str:
    return (
        f'{HEAD}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"{finish}",'
        f'"stop_reason":{stop}}}]{tail}}}'
    )


def opening(tail: str = "") -> str:
    return f'{HEAD}{{"index":0,{ROLE}{tail}}}'


async def whole(wire: Wire) -> bytes:
    await wire.run()
    return b"".join(wire.bodies())


async def test_a_stream_has_role_deltas_end_and_done() -> None:
    wire = Wire(chat())
    wire.tell("a\n")
    wire.tell("é", finish="length")

    assert events(opening(), delta("a\\n"), delta("é"), ending(), "[DONE]") == await whole(wire)


async def test_usage_comes_once_when_asked() -> None:
    wire = Wire(chat(stream_options={"include_usage": True}))
    wire.tell("a", finish="length")
    none = ',"usage":null'

    assert events(
        opening(none), delta("a", none), ending(none), f"{HEAD}],{USAGE % (1, 3)}}}", "[DONE]"
    ) == await whole(wire)


async def test_usage_comes_with_every_chunk_when_asked() -> None:
    wire = Wire(chat(stream_options={"include_usage": True, "continuous_usage_stats": True}))
    wire.tell("a", finish="length")
    none, usage = ("," + USAGE % counts for counts in ((0, 2), (1, 3)))

    assert events(
        opening(none), delta("a", usage), ending(usage), f"{HEAD}]{usage}}}", "[DONE]"
    ) == await whole(wire)


async def test_usage_with_every_chunk_is_not_asked_for_without_usage() -> None:
    wire = Wire(chat(stream_options={"continuous_usage_stats": True}))
    wire.tell("a", finish="length")

    assert b"usage" not in await whole(wire)


async def test_the_headers_keep_proxies_from_buffering() -> None:
    wire = Wire(chat())
    wire.tell("a", finish="length")
    await wire.run()

    assert {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ],
    } == wire.sent[0]
    assert [False] == [message["more_body"] for message in wire.sent[1:]]


async def test_only_the_start_goes_through_the_layers_within_edge() -> None:
    wire = Wire(chat())
    wire.tell("a", finish="length")
    through: list[dict[str, Any]] = []

    async def layer(message: Any) -> None:
        through.append(message)

    await wire.run(through=layer)

    assert ["http.response.start"] == [message["type"] for message in through]
    assert ["http.response.body"] == [message["type"] for message in wire.sent]


async def test_one_delivery_is_one_write_for_all_choices() -> None:
    wire = Wire(chat(n=2), choices=2)
    wire.tell("a", finish="length")
    wire.tell("b", choice=1, finish="length")

    await wire.run()

    (body,) = wire.bodies()
    assert [1, 1] == [body.count(b'{"index":%d,"delta":{"role"' % index) for index in (0, 1)]


async def test_each_delivery_leaves_at_once() -> None:
    wire = Wire(chat())
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        wire.tell("a")
        await wire.seen(1)
        wire.tell("b")
        await wire.seen(2)
        wire.tell("c", finish="length")

    assert [1, 1, 1] == [body.count(b'"delta":{"content"') for body in wire.bodies()]


async def test_probabilities_stand_beside_their_text() -> None:
    wire = Wire(chat(logprobs=True, top_logprobs=1))
    wire.tell("a", finish="length")
    entry = '{"token":"a","logprob":-0.5,"bytes":[97]'

    assert f'{entry},"top_logprobs":[{entry}}}]}}],"refusal":null}}'.encode() in await whole(wire)


async def test_ids_are_told_when_asked() -> None:
    wire = Wire(chat(return_token_ids=True))
    wire.tell("ab", finish="length")
    found = await whole(wire)

    assert b'"prompt_token_ids":[104,105]' in found
    assert b'"token_ids":[97,98]' in found


async def test_a_stop_string_is_named() -> None:
    wire = Wire(chat(stop="b"))
    wire.tell("ab")

    assert ending(finish="stop", stop='"b"').encode() in await whole(wire)
    assert [0] == wire.stopped


async def test_what_the_engine_makes_after_a_stop_string_counts_for_nothing() -> None:
    wire = Wire(chat(n=2, stop="b", stream_options={"include_usage": True}), choices=2)
    wire.tell("ab")
    wire.tell("c", finish="abort")
    wire.tell("c", choice=1, finish="length")
    found = await whole(wire)

    assert (USAGE % (3, 5)).encode() in found
    assert 2 == found.count(b'"delta":{"content"')
    assert ["stop", "length"] == wire.exchange.finish_reasons


async def test_the_size_of_a_chunk_can_be_hidden() -> None:
    sizes = set()
    for text in ("a", "abcdefgh"):
        wire = Wire(chat(stream_options={"include_obfuscation": True}))
        wire.tell(text, finish="length")
        sizes.add(len(await whole(wire)) % 32)

    assert 1 == len(sizes)


async def test_an_error_before_the_first_byte_is_a_real_one() -> None:
    wire = Wire(chat())
    wire.tell("", finish="error", error="server_overloaded", message="Full.")

    with pytest.raises(Overloaded):
        await wire.run()
    assert [] == wire.sent


async def test_a_later_error_is_an_event_and_the_stream_still_ends() -> None:
    wire = Wire(chat())
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        wire.tell("a")
        await wire.seen(1)
        wire.generation.fail(ShuttingDown("Bye."))

    error = (
        '{"error":{"message":"Bye.","type":"service_unavailable","param":null,'
        '"code":"shutting_down"}}'
    )
    assert events(error, "[DONE]") == wire.bodies()[-1]
    assert not wire.sent[-1]["more_body"]
    assert "shutting_down" == wire.exchange.error_type


async def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    wire = Wire(chat())
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        await wire.seen(2)
        wire.tell("a", finish="length")

    assert [b": keep-alive\n"] * 2 == wire.bodies()[:2]
    assert wire.bodies()[-1].startswith(b"data: {")


async def test_silence_after_an_event_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.05)
    wire = Wire(chat())
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        await asyncio.sleep(0.03)
        before = len(wire.bodies())  # none, unless the machine is slow
        wire.tell("a")
        await wire.seen(before + 3)
        wire.tell("b", finish="length")

    assert [b": keep-alive\n"] * 2 == wire.bodies()[before + 1 : before + 3]


async def test_no_timer_holds_a_stream_that_has_ended() -> None:
    wire = Wire(chat())
    wire.tell("a", finish="length")
    await wire.run()
    ended = weakref.ref(wire.generation)
    del wire
    gc.collect()

    assert ended() is None


async def test_news_without_a_word_write_nothing() -> None:
    wire = Wire(chat(stop="ab"))
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        wire.tell("c")
        await wire.seen(1)
        wire.tell("a")  # may become the stop string
        await asyncio.sleep(0.01)
        assert 1 == len(wire.bodies())
        wire.tell("c", finish="length")


async def test_news_without_a_word_are_silence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 1.0)  # no pause of a busy machine between two news
    wire = Wire(chat())
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        for _ in range(200):
            wire.tell("")
            await asyncio.sleep(0.02)
            if filled := b": keep-alive\n" in wire.bodies():
                break
        wire.tell("a", finish="length")

    assert filled


async def test_a_client_that_leaves_takes_its_work_along() -> None:
    wire = Wire(chat())
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        wire.tell("a")
        await wire.seen(1)
        wire.leave()

    assert wire.aborted
    assert wire.sent[-1]["more_body"]


async def test_the_record_is_complete_before_the_last_bytes_leave() -> None:
    wire = Wire(chat())
    wire.tell("ab", finish="length")
    await wire.run()
    record = wire.exchange

    assert (2, 2, 1, ["length"]) == (
        record.prompt_tokens,
        record.completion_tokens,
        record.cached_tokens,
        record.finish_reasons,
    )
    assert record.stamps[0] is not None
    assert record.first_chunk is not None


async def test_the_first_text_leaves_once() -> None:
    wire = Wire(chat(stop="b"))
    async with asyncio.TaskGroup() as group:
        group.create_task(wire.run())
        wire.tell("a")
        await wire.seen(1)
        first = wire.exchange.first_chunk
        wire.tell("b")

    assert first == wire.exchange.first_chunk
    (stamps,) = wire.exchange.stamps
    assert stamps is not None
    assert stamps.finished is not None  # the stop string's, which the engine does not see


async def test_a_completion_echoes_its_prompt_first() -> None:
    wire = Wire(CompletionBody(prompt="hi", echo=True, stream=True, logprobs=0))
    wire.generation.take(
        Update(
            0,
            [97],
            [Logprob(97, -0.5, 1, [])],
            prompt_logprobs=[None, Logprob(105, -1.0, 2, [])],
            finish="length",
            stamps=Stamps(queued=0.0),
        )
    )
    found = await whole(wire)

    assert (
        b'"text":"hi","logprobs":{"tokens":["h","i"],"token_logprobs":[null,-1.0],'
        b'"top_logprobs":[null,{"i":-1.0}],"text_offset":[0,1]},"finish_reason":null' in found
    )
    assert (
        b'"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[-0.5],'
        b'"top_logprobs":[{"a":-0.5}],"text_offset":[2]},"finish_reason":"length"' in found
    )
