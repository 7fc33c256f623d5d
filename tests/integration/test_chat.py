"""Chat completions of a real replica: what a client can rely on."""

from itertools import chain
from typing import Any

import httpx
import pytest

from r3mes.protocol.answers import ChatCompletion
from support.replica import Replica
from support.streams import data_of, text_of

MESSAGES = [{"role": "user", "content": "Hello"}]
EOS = "257"


@pytest.fixture
def ask(fake_replica: Replica) -> Any:
    def post(path: str = "/v1/chat/completions", /, **fields: Any) -> httpx.Response:
        body = {"messages": MESSAGES, "max_tokens": 8, "seed": 3, **fields}
        return httpx.post(f"{fake_replica.url}{path}", json=body, timeout=20)

    return post


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["param"]


def content(answer: httpx.Response) -> str:
    return answer.json()["choices"][0]["message"]["content"]


WISHES = [
    {},
    {"temperature": 0},
    {"stop": ["a", "b", "ab"]},
    {"n": 3, "stop": "e"},
    {"logit_bias": {EOS: 100}, "min_tokens": 4},
    {"logit_bias": {EOS: 100}, "min_tokens": 4, "skip_special_tokens": False},
    {
        "logit_bias": {EOS: 100},
        "min_tokens": 4,
        "skip_special_tokens": False,
        "include_stop_str_in_output": True,
    },
    {"logit_bias": {EOS: 100}, "ignore_eos": True, "skip_special_tokens": False},
    {"logit_bias": {"240": 100}},
    {"logit_bias": {"233": 100}, "stop": "\ufffd\ufffd"},
    {"logprobs": True, "top_logprobs": 2, "max_tokens": 3},
]


@pytest.mark.parametrize("wishes", WISHES)
def test_a_stream_put_together_is_the_answer_in_one(ask: Any, wishes: dict[str, Any]) -> None:
    whole = ask(**wishes).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = data_of(ask(**wishes, **options).text)

    for choice in whole["choices"]:
        index = choice["index"]
        own = [part for chunk in chunks for part in chunk["choices"] if part["index"] == index]
        assert choice["message"]["content"] == text_of(chunks, index=index)
        assert [choice["finish_reason"]] == [p["finish_reason"] for p in own if p["finish_reason"]]
        assert choice["stop_reason"] == own[-1]["stop_reason"]
        if choice["logprobs"]:
            parts = [part["logprobs"]["content"] for part in own if part["logprobs"]]
            assert choice["logprobs"]["content"] == list(chain(*parts))
    assert whole["usage"]["completion_tokens"] == chunks[-1]["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    "wishes", [{}, {"logprobs": True, "top_logprobs": 1, "return_token_ids": True, "n": 2}]
)
def test_the_answer_is_what_the_document_describes(ask: Any, wishes: dict[str, Any]) -> None:
    found = ask(**wishes).json()

    assert found == ChatCompletion.model_validate(found).model_dump(exclude_unset=True)


def test_the_end_of_the_sequence_is_counted_but_not_shown(ask: Any) -> None:
    answer = ask(logit_bias={EOS: 100}, min_tokens=4).json()

    assert 4 == len(answer["choices"][0]["message"]["content"])
    assert 5 == answer["usage"]["completion_tokens"]
    assert ("stop", None) == (
        answer["choices"][0]["finish_reason"],
        answer["choices"][0]["stop_reason"],
    )


def test_the_name_that_the_client_used_comes_back(ask: Any) -> None:
    assert ["fake", "bundled", "fake"] == [
        ask(**fields).json()["model"] for fields in ({}, {"model": "bundled"}, {"model": "fake"})
    ]


def test_max_tokens_are_cut_to_what_the_context_leaves(ask: Any) -> None:
    answer = ask(messages=[{"role": "user", "content": "x" * 4060}], max_tokens=500).json()

    assert 4096 == answer["usage"]["total_tokens"]
    assert "length" == answer["choices"][0]["finish_reason"]


@pytest.mark.parametrize("size", [4096, 900_000])
def test_a_chat_longer_than_the_context_is_refused_with_both_numbers(ask: Any, size: int) -> None:
    answer = ask(messages=[{"role": "user", "content": "x" * size}])

    assert (400, "context_length_exceeded", "messages") == error(answer)
    message = answer.json()["error"]["message"]
    assert message.startswith("This model's maximum context length is 4096 tokens. However, ")
    assert str(size)[:2] in message


def test_a_long_chat_is_cut_when_the_client_says_so(ask: Any) -> None:
    long = [{"role": "user", "content": "x" * 5000}]
    answer = ask(messages=long, truncate_prompt_tokens=-1)

    assert 4088 == answer.json()["usage"]["prompt_tokens"]


@pytest.mark.parametrize("text", ["\u0000", "‮abc", "a\u0300" * 50, "👨‍👩‍👧", "{{ x }}{% raw %}"])
def test_odd_text_reaches_the_model_as_it_is(ask: Any, text: str) -> None:
    tokens = ask("/tokenize", messages=[{"role": "user", "content": text}]).json()["tokens"]
    back = ask("/detokenize", tokens=tokens).json()["prompt"]

    assert f"user: {text}\nassistant: " == back


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "gpt-9"}, (404, "model_not_found", "model")),
        ({"stop_token_ids": [259]}, (400, "invalid_token_id", "stop_token_ids")),
        ({"logit_bias": {"259": 1}}, (400, "invalid_token_id", "logit_bias")),
        ({"messages": []}, (400, "invalid_value", "messages")),
        ({"n": 16, "max_tokens": 4000, "stream": True}, None),
    ],
)
def test_what_only_the_model_can_tell_is_checked_too(
    ask: Any, fields: dict[str, Any], expected: tuple[int, str, str] | None
) -> None:
    if expected:
        assert expected == error(ask(**fields))


@pytest.mark.parametrize(
    ("deadline", "status", "code"),
    [("0", 504, "deadline_exceeded"), ("-1", 400, "invalid_value"), ("x", 400, "invalid_value")],
)
def test_a_deadline_is_kept(fake_replica: Replica, deadline: str, status: int, code: str) -> None:
    answer = httpx.post(
        f"{fake_replica.url}/v1/chat/completions",
        json={"messages": MESSAGES},
        headers={"x-r3mes-deadline": deadline},
    )

    assert (status, code) == error(answer)[:2]
    if status == 504:
        assert "false" == answer.headers["x-should-retry"]


def test_unknown_fields_are_ignored(ask: Any) -> None:
    assert content(ask()) == content(ask(whatever={"a": 1}, store=True))


def test_the_service_tier_is_named_when_asked_for(ask: Any) -> None:
    assert "default" == ask(service_tier="auto").json()["service_tier"]
    assert "service_tier" not in ask().json()
