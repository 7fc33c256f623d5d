"""From a request to jobs for the engine."""

from typing import Any

import pytest

from r3mes.engine.messages import SamplingParams
from r3mes.errors import ContextTooLong, InvalidRequest
from r3mes.protocol.completions import CompletionBody
from r3mes.replica.engine_client import Job
from r3mes.replica.sampling import Door, cut_prompt, derived, jobs_of, traced
from r3mes.settings import EngineSettings, LimitSettings
from support.model_info import info_of

PROMPT = list(range(10))


def jobs(
    *prompts: list[int],
    info: Any = None,
    limits: LimitSettings | None = None,
    engine: EngineSettings | None = None,
    **fields: Any,
) -> list[Job]:
    body = CompletionBody(prompt="x", **fields)
    door = Door(
        info or info_of(max_len=100),
        limits or LimitSettings(),
        engine or EngineSettings(),
        field="prompt",
    )
    return jobs_of(body, prompts or [PROMPT], door=door)


def params(**fields: Any) -> SamplingParams:
    return jobs(**fields)[0].params


def test_the_clients_values_reach_the_engine() -> None:
    wishes = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": -5,
        "max_tokens": 9,
        "min_tokens": 3,
        "ignore_eos": True,
        "logprobs": 2,
    }
    expected = SamplingParams(
        **wishes, stop_token_ids=(4,), logit_bias={3: 1.5}, prompt_logprobs=None
    )

    assert expected == params(**wishes, stop_token_ids=[4], logit_bias={"3": 1.5})


def test_the_model_s_defaults_stand_where_the_client_is_silent() -> None:
    info = info_of(defaults={"temperature": 0.6, "top_k": 20.0})
    found = params(info=info)

    assert (0.6, 20, 1.0) == (found.temperature, found.top_k, found.top_p)
    assert (0.0, 0) == (
        params(info=info, temperature=0).temperature,
        params(info=info, top_k=-1).top_k,
    )


@pytest.mark.parametrize(("wanted", "used"), [(1e-50, 0.0), (9e-6, 0.0), (1e-5, 1e-5)])
def test_a_temperature_too_small_to_divide_by_is_greedy(wanted: float, used: float) -> None:
    assert used == params(temperature=wanted).temperature
    assert used == params(info=info_of(defaults={"temperature": wanted})).temperature


def test_choices_stand_prompt_by_prompt() -> None:
    found = jobs([1], [2], n=2, seed=7)

    assert [[1], [1], [2], [2]] == [job.prompt for job in found]
    assert [7, derived(7, 1)] * 2 == [job.params.seed for job in found]


def test_choices_of_one_request_have_seeds_of_their_own() -> None:
    seeds = {derived(7, choice) for choice in range(16)}

    assert 16 == len(seeds)
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_without_a_seed_each_request_has_its_own() -> None:
    assert params().seed != params().seed


def test_max_tokens_is_cut_to_the_context() -> None:
    assert 90 == params(max_tokens=10_000).max_tokens


@pytest.mark.parametrize(("length", "fields"), [(100, {}), (101, {"max_tokens": 0, "echo": True})])
def test_a_prompt_that_fills_the_context_is_refused(length: int, fields: dict[str, Any]) -> None:
    with pytest.raises(ContextTooLong) as caught:
        jobs([0] * length, **fields)

    assert caught.value.message.startswith(
        "This model's maximum context length is 100 tokens. However, "
    )
    assert str(length) in caught.value.message
    assert "prompt" == caught.value.param


def test_a_prompt_of_the_whole_context_can_be_read_without_an_answer() -> None:
    assert 0 == jobs([0] * 100, max_tokens=0, echo=True)[0].params.max_tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"stop_token_ids": [259]}, "stop_token_ids"), ({"logit_bias": {"259": 1}}, "logit_bias")],
)
def test_ids_outside_the_vocabulary_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        jobs(**fields)

    assert ("invalid_token_id", param) == (caught.value.code, caught.value.param)


def test_the_budget_of_a_request_bounds_all_its_choices_together() -> None:
    limits = LimitSettings(max_request_tokens=100)

    with pytest.raises(InvalidRequest, match="at most 100"):
        jobs([1], [2], n=4, max_tokens=13, limits=limits)
    assert 12 == jobs([1], [2], n=4, max_tokens=12, limits=limits)[0].params.max_tokens


def test_telemetry_hears_of_a_limit_only_where_the_client_named_one() -> None:
    for body, told in (
        (CompletionBody(prompt="x"), None),
        (CompletionBody(prompt="x", max_tokens=5000), 5000),
    ):
        assert told == traced(params(), body)["max_tokens"]


@pytest.mark.parametrize(
    ("prompts", "n", "error"),
    [(2, 3, ("too_many_prompts", "prompt")), (1, 6, ("invalid_value", "n"))],
)
def test_more_choices_than_an_idle_engine_has_room_for_are_refused_for_good(
    prompts: int, n: int, error: tuple[str, str]
) -> None:
    engine = EngineSettings(max_waiting=3, max_batch=2)

    with pytest.raises(InvalidRequest, match="at most 5") as caught:
        jobs(*[PROMPT] * prompts, n=n, engine=engine)
    assert error == (caught.value.code, caught.value.param)
    assert 5 == len(jobs(n=5, engine=engine))


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, PROMPT),
        ({"truncate_prompt_tokens": 3}, [7, 8, 9]),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, [0, 1, 2]),
        ({"truncate_prompt_tokens": 30}, PROMPT),
        ({"truncate_prompt_tokens": -1, "max_tokens": 4}, [4, 5, 6, 7, 8, 9]),
        ({"truncate_prompt_tokens": -1, "max_tokens": 400}, [9]),
    ],
)
def test_a_prompt_is_cut_where_the_client_says_so(fields: dict[str, Any], kept: list[int]) -> None:
    body = CompletionBody(prompt="x", **fields)

    assert kept == cut_prompt(PROMPT, body, info_of(max_len=10))
