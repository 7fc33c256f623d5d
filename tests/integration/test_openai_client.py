"""The official Python client against the real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest

from support.replica import Replica

CHAT: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "Hello"}]}
SAME: dict[str, Any] = {"temperature": 0, "seed": 5, "max_tokens": 24}


@pytest.fixture
def client(fake_replica: Replica) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{fake_replica.url}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture
async def async_client(fake_replica: Replica) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{fake_replica.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as made:
        yield made


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**CHAT, **SAME)

    assert answer.id.startswith("chatcmpl-")
    assert ("fake", "chat.completion") == (answer.model, answer.object)
    assert "assistant" == answer.choices[0].message.role
    assert 24 == len(answer.choices[0].message.content)
    assert "length" == answer.choices[0].finish_reason
    assert 24 == answer.usage.completion_tokens
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 24
    assert 0 == answer.usage.completion_tokens_details.reasoning_tokens


def test_a_streamed_chat_is_the_same_text_in_parts(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**CHAT, **SAME)
    chunks = list(
        client.chat.completions.create(
            **CHAT, **SAME, stream=True, stream_options={"include_usage": True}
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert whole.choices[0].message.content == text
    assert 1 == len({(chunk.id, chunk.created, chunk.model) for chunk in chunks})
    assert ["assistant"] == [
        chunk.choices[0].delta.role for chunk in chunks[:-1] if chunk.choices[0].delta.role
    ]
    assert ["length"] == [
        chunk.choices[0].finish_reason for chunk in chunks[:-1] if chunk.choices[0].finish_reason
    ]
    assert [] == chunks[-1].choices
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    ends = {"logit_bias": {"257": 100}, "extra_body": {"min_tokens": 5}}
    with client.chat.completions.stream(**CHAT, **SAME, **ends) as stream:
        final = stream.get_final_completion()

    assert (5, "stop") == (len(final.choices[0].message.content), final.choices[0].finish_reason)


def test_choices_have_their_own_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**CHAT, **{**SAME, "n": 3})
    texts = [choice.message.content for choice in answer.choices]

    assert [0, 1, 2] == [choice.index for choice in answer.choices]
    assert 3 == len(set(texts))
    assert client.chat.completions.create(**CHAT, **SAME).choices[0].message.content == texts[0]


def test_choices_are_streamed_side_by_side(client: openai.OpenAI) -> None:
    texts = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(**CHAT, **SAME, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    whole = client.chat.completions.create(**CHAT, **SAME, n=3)

    assert {choice.index: choice.message.content for choice in whole.choices} == texts


def test_a_stop_string_ends_the_answer(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**CHAT, **SAME).choices[0].message.content
    stop = whole[9:12]
    answer = client.chat.completions.create(**CHAT, **SAME, stop=[stop])
    streamed = client.chat.completions.create(**CHAT, **SAME, stop=[stop], stream=True)

    expected = whole[: whole.index(stop)]
    assert (expected, "stop") == (
        answer.choices[0].message.content,
        answer.choices[0].finish_reason,
    )
    assert expected == "".join(chunk.choices[0].delta.content or "" for chunk in streamed)


def test_probabilities_are_given_for_each_token(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**CHAT, **SAME, logprobs=True, top_logprobs=2)
    entries = answer.choices[0].logprobs.content

    assert answer.choices[0].message.content == "".join(entry.token for entry in entries)
    assert [2] * 24 == [len(entry.top_logprobs) for entry in entries]
    assert all(-9999 <= entry.logprob <= 0 for entry in entries)


async def test_the_asynchronous_client_streams_many_at_once(
    async_client: openai.AsyncOpenAI,
) -> None:
    async def one(seed: int) -> str:
        stream = await async_client.chat.completions.create(
            **CHAT, **{**SAME, "seed": seed}, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    texts = await asyncio.gather(*map(one, range(8)))
    again = await asyncio.gather(*map(one, range(8)))

    assert 8 == len(set(texts))
    assert texts == again


def test_completions_continue_each_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="fake", prompt=["one", "two"], n=2, seed=5, max_tokens=4, echo=True
    )

    assert [0, 1, 2, 3] == [choice.index for choice in answer.choices]
    assert ["one", "one", "two", "two"] == [choice.text[:3] for choice in answer.choices]
    assert 16 == answer.usage.completion_tokens


def test_completions_are_streamed(client: openai.OpenAI) -> None:
    wishes: dict[str, Any] = {"model": "fake", "prompt": "one", "seed": 5, "max_tokens": 9}
    whole = client.completions.create(**wishes)
    chunks = list(client.completions.create(**wishes, stream=True))

    assert whole.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks)
    assert "length" == chunks[-1].choices[0].finish_reason


def test_the_probabilities_of_a_prompt_can_be_read(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="fake", prompt=[104, 105, 33], max_tokens=0, echo=True, logprobs=1
    )
    found = answer.choices[0].logprobs

    assert "hi!" == answer.choices[0].text
    assert ["h", "i", "!"] == found.tokens
    assert [None, 0.0, 0.0] == found.token_logprobs
    assert [0, 1, 2] == found.text_offset
    assert 0 == answer.usage.completion_tokens


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data

    assert model == client.models.retrieve("fake")
    assert 4096 == model.max_model_len  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (openai.NotFoundError, {"model": "other"}),
        (openai.BadRequestError, {"temperature": 3}),
        (openai.BadRequestError, {"tools": [{"type": "function"}]}),
    ],
)
def test_errors_are_what_the_client_knows(
    client: openai.OpenAI, error: type[openai.APIStatusError], fields: dict[str, Any]
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{**CHAT, **fields})

    assert "invalid_request_error" == caught.value.type
    assert next(iter(fields)) == caught.value.param


def test_raw_answers_carry_the_request_s_id(fake_replica: Replica) -> None:
    answer = httpx.post(
        f"{fake_replica.url}/v1/chat/completions",
        json={**CHAT, "max_tokens": 1},
        headers={"x-request-id": "mine"},
    )

    assert ("mine", "chatcmpl-mine") == (answer.headers["x-request-id"], answer.json()["id"])
