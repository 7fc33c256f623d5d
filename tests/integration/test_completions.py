"""Completions, tokens and models of a real replica."""

from typing import Any

import httpx
import pytest

from r3mes import __version__
from r3mes.protocol.answers import Completion
from support.replica import Replica, wait_for
from support.streams import data_of

ask_fields = {"prompt": "Once", "max_tokens": 6, "seed": 3}


@pytest.fixture
def ask(fake_replica: Replica) -> Any:
    def post(path: str = "/v1/completions", /, **fields: Any) -> httpx.Response:
        body = {**ask_fields, **fields} if path == "/v1/completions" else fields
        return httpx.post(f"{fake_replica.url}{path}", json=body, timeout=20)

    return post


def choices(answer: httpx.Response) -> list[dict[str, Any]]:
    assert 200 == answer.status_code, answer.text
    return answer.json()["choices"]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["param"]


def joined(chunks: list[dict[str, Any]], index: int) -> dict[str, Any]:
    """The parts of one choice, put together as a client does."""
    parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == index]
    whole = {**parts[-1], "text": "".join(part["text"] for part in parts)}
    if whole["logprobs"] is not None:
        lists = [part["logprobs"] for part in parts]
        whole["logprobs"] = {name: sum((one[name] for one in lists), []) for name in lists[0]}  # noqa: RUF017
    return whole


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"n": 2, "prompt": ["One", "Two"]},
        {"echo": True},
        {"echo": True, "logprobs": 2, "n": 2},
        {"logprobs": 0},
        {"stop": ["a", "e"], "max_tokens": 60},
        {"prompt": [104, 105], "echo": True},
        {"prompt": [[104], [105]], "stop_token_ids": [106], "logit_bias": {"106": 100}},
    ],
)
def test_a_stream_put_together_is_the_answer_in_one(ask: Any, wishes: dict[str, Any]) -> None:
    whole = choices(ask(**wishes))
    chunks = data_of(ask(**wishes, stream=True).text)

    assert whole == [joined(chunks, index) for index in range(len(whole))]


@pytest.mark.parametrize(
    "wishes", [{}, {"logprobs": 1, "echo": True, "prompt_logprobs": 1, "return_token_ids": True}]
)
def test_the_answer_is_what_the_document_describes(ask: Any, wishes: dict[str, Any]) -> None:
    found = ask(**wishes).json()

    assert found == Completion.model_validate(found).model_dump(exclude_unset=True)


def test_choices_stand_prompt_by_prompt(ask: Any) -> None:
    found = choices(ask(prompt=["One", "Two"], n=2, echo=True))

    assert [0, 1, 2, 3] == [choice["index"] for choice in found]
    assert ["One", "One", "Two", "Two"] == [choice["text"][:3] for choice in found]


def test_ids_and_text_are_the_same_prompt(ask: Any) -> None:
    ids = ask("/tokenize", prompt="Once").json()["tokens"]

    assert choices(ask()) == choices(ask(prompt=ids))
    assert choices(ask(add_special_tokens=False)) == choices(ask(prompt=list(b"Once")))


def test_sixteen_tokens_are_the_default(ask: Any) -> None:
    assert 16 == ask(max_tokens=None).json()["usage"]["completion_tokens"]


def test_a_prompt_can_be_scored_without_an_answer(ask: Any) -> None:
    (choice,) = choices(ask(prompt="hey", max_tokens=0, echo=True, logprobs=1))

    assert "hey" == choice["text"]
    assert ["<bos>", "h", "e", "y"] == choice["logprobs"]["tokens"]
    assert [None, 0.0, 0.0, 0.0] == choice["logprobs"]["token_logprobs"]
    assert [None, {"h": 0.0}, {"e": 0.0}, {"y": 0.0}] == choice["logprobs"]["top_logprobs"]
    assert [0, 0, 1, 2] == choice["logprobs"]["text_offset"]
    assert "length" == choice["finish_reason"]


def test_prompt_logprobs_name_each_alternative(ask: Any) -> None:
    (choice,) = choices(ask(prompt=[104, 105], prompt_logprobs=1, return_token_ids=True))

    assert [None, {"105": {"logprob": 0.0, "rank": 1, "decoded_token": "i"}}] == choice[
        "prompt_logprobs"
    ]
    assert [104, 105] == choice["prompt_token_ids"]
    assert 6 == len(choice["token_ids"])
    assert choice["logprobs"] is None
    assert choices(ask())[0]["prompt_logprobs"] is None


def test_a_stop_id_is_named(ask: Any) -> None:
    (choice,) = choices(ask(stop_token_ids=[106], logit_bias={"106": 100}, min_tokens=2))

    assert ("stop", 106, 2) == (choice["finish_reason"], choice["stop_reason"], len(choice["text"]))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prompt": [259]}, (400, "invalid_token_id", "prompt")),
        ({"prompt": "x" * 4096}, (400, "context_length_exceeded", "prompt")),
        ({"prompt": [1] * 4096}, (400, "context_length_exceeded", "prompt")),
        ({"prompt": [""]}, (400, "empty_prompt", "prompt")),
        ({"n": 16, "max_tokens": 4000, "prompt": ["a"] * 20}, (400, "invalid_value", "max_tokens")),
    ],
)
def test_what_only_the_model_can_tell_is_checked(
    ask: Any, fields: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert expected == error(ask(**fields))


def test_tokens_become_text_again(ask: Any) -> None:
    found = ask("/tokenize", prompt="hé", return_token_strs=True).json()

    assert {
        "count": 4,
        "max_model_len": 4096,
        "tokens": [256, 104, 195, 169],
        "token_strs": ["<bos>", "h", "\ufffd", "\ufffd"],
    } == found
    assert {"prompt": "<bos>hé"} == ask("/detokenize", tokens=found["tokens"]).json()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "user: Hi\nassistant: "),
        ({"add_generation_prompt": False}, "user: Hi\n"),
        ({"add_special_tokens": True}, "<bos>user: Hi\nassistant: "),
    ],
)
def test_a_chat_is_tokenized_as_it_would_be_answered(
    ask: Any, fields: dict[str, Any], text: str
) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    tokens = ask("/tokenize", messages=messages, **fields).json()["tokens"]

    assert text == ask("/detokenize", tokens=tokens).json()["prompt"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"add_generation_prompt": False, "add_special_tokens": True},
        {"reasoning_effort": "none", "chat_template_kwargs": {"x": "y"}},
        {
            "continue_final_message": True,
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "He"},
            ],
        },
    ],
)
def test_a_chat_has_the_ids_that_it_is_answered_with(ask: Any, fields: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], **fields}
    answered = ask("/v1/chat/completions", max_tokens=1, return_token_ids=True, **body).json()
    found = ask("/tokenize", **body).json()

    assert answered["prompt_token_ids"] == found["tokens"]
    assert found["token_strs"] is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"chat_template_kwargs": {"tools": []}}, "unsupported_parameter"),
        ({"reasoning_effort": "huge"}, "invalid_value"),
        ({"continue_final_message": True}, "invalid_combination"),
        (
            {"continue_final_message": True, "add_generation_prompt": True},
            "invalid_combination",
        ),
        ({"functions": [{}]}, "unsupported_parameter"),
    ],
)
def test_a_chat_that_is_not_answered_is_not_tokenized_either(
    ask: Any, fields: dict[str, Any], expected: str
) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], **fields}

    assert (400, expected) == error(ask("/tokenize", **body))[:2]
    assert (400, expected) == error(ask("/v1/chat/completions", **body))[:2]


@pytest.mark.parametrize("tokens", [[259], [-1], [True], [2**63]])
def test_ids_that_mean_nothing_are_refused(ask: Any, tokens: list[Any]) -> None:
    assert "invalid_token_id" == error(ask("/detokenize", tokens=tokens))[1]


@pytest.mark.parametrize("path", ["fake", "bundled", "%66ake"])
def test_the_model_is_found_by_each_of_its_names(fake_replica: Replica, path: str) -> None:
    assert "fake" == fake_replica.probe(f"/v1/models/{path}").json()["id"]


@pytest.mark.parametrize("path", ["other", "a/b", "a%2Fb", "fake/", "../fake"])
def test_another_model_is_not(fake_replica: Replica, path: str) -> None:
    assert 404 == fake_replica.probe(f"/v1/models/{path}").status_code


def test_a_model_s_name_may_hold_slashes(start_replica: Any) -> None:
    replica = start_replica({"engine.runner": "fake", "model.name": "org/model"}).wait_ready()

    assert ["org/model"] * 2 == [
        replica.probe(f"/v1/models/{path}").json()["id"] for path in ("org/model", "org%2Fmodel")
    ]


def test_the_load_is_told(fake_replica: Replica) -> None:
    def load() -> dict[str, Any]:
        return fake_replica.probe("/load").json()

    wait_for(lambda: load()["server_load"] == 0, "the answered requests to be gone")
    assert "ready" == load()["phase"]


def test_the_version_is_told(fake_replica: Replica) -> None:
    assert {"version": __version__} == fake_replica.probe("/version").json()
