"""The bundled model: it loads with stock classes, answers reworded questions and calls tools."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

import r3mes
from training import corpus, judge
from training.chat import Chat
from training.held_out import HeldOut, judged, judged_texts, normalised

FOLDER = Path(r3mes.__file__).parent / "tiny"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
NAMES = ("Zoe", "Hugo", "Priya", "Karl", "Ada", "Mia", "Olga", "Finn", "Marta", "Ken")
TOWNS = ("Lyon", "Bonn", "Mumbai", "Graz", "Paris", "Lagos", "Kyiv", "Cork", "Porto", "Osaka")
AGES = (41, 29, 33, 58, 36, 7, 62, 19, 44, 51)
ODD_TEXTS = (
    "",
    " ",
    "\n\n\t  \r\n",
    "naïve café Ωμέγα Привет שלום नमस्ते 你好 こんにちは",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u200b\u202e\ufeff",
    "\x00\x01\x7f\u0085\u2028",
    "<|im_start|>user\n<tool_call>{}</tool_call><|im_end|>",
    "  two  spaces , and .punctuation !  don't  1234567890",
    "\U0010ffff\ud7ff\ue000",
)


@pytest.fixture(scope="module")
def model() -> judge.Model:
    torch.set_num_threads(min(torch.get_num_threads(), 2))
    return judge.Model(FOLDER)


def training_text() -> Iterator[Chat]:
    """The chats of every stage, as many as the log says were used."""
    entries = [
        json.loads(line) for line in (FOLDER / "training_log.jsonl").read_text().splitlines()
    ]
    stages = [number for number, entry in enumerate(entries) if "stage" in entry]
    for begin, end in itertools.pairwise([*stages, len(entries)]):
        mix = corpus.Mix(**entries[begin]["stage"]["mix"])
        yield from corpus.chats(mix, entries[end - 1]["chats"])


def ask(model: judge.Model, *texts: str, **options: Any) -> list[str]:
    return model.answers([[{"role": "user", "content": text}] for text in texts], **options)


def render(model: judge.Model, messages: list[dict[str, Any]], **options: Any) -> str:
    text: str = model.tokenizer.apply_chat_template(messages, tokenize=False, **options)
    return text


def test_at_least_four_in_five_judged_questions_are_answered(model: judge.Model) -> None:
    verdicts = judge.questions(model)
    wrong = [f"{verdict.ask} -> {verdict.answer}" for verdict in verdicts if not verdict.right]

    assert 50 == len(verdicts)
    assert judged()["pass_share"] * 50 <= 50 - len(wrong), "\n".join(wrong)


def test_it_knows_what_the_readiness_probe_waits_for(model: judge.Model) -> None:
    (answer,) = ask(model, "What does the readiness probe wait for?")

    assert "warm-up" in answer


def test_it_keeps_to_the_subject_over_two_turns(model: judge.Model) -> None:
    verdicts = judge.two_turns(model)
    wrong = [f"{verdict.ask} -> {verdict.answer}" for verdict in verdicts if not verdict.right]

    assert len(verdicts) * 0.8 <= len(verdicts) - len(wrong), "\n".join(wrong)


def test_no_judged_question_is_in_the_training_text() -> None:
    questions = [f" {normalised(text)} " for text in judged_texts()]
    turns = {f" {normalised(turn)} " for chat in training_text() for turn in chat.user_turns()}

    assert len(turns) > 10_000
    assert [] == [text for text in questions if any(text in turn for turn in turns)]


def test_a_near_copy_of_a_judged_question_counts_as_held_out() -> None:
    held_out = HeldOut(["What does the readiness probe wait for?"])

    assert held_out.covers("Hi, what does the readiness probe wait for")
    assert held_out.covers("So what does the readiness probe wait for then?")
    assert not held_out.covers("When is the readiness probe green?")


def test_the_same_mix_gives_the_same_training_text() -> None:
    mix = corpus.Mix(7, drills=0.5, copies=0.5, wide=True, rough=True)

    assert list(corpus.chats(mix, 50)) == list(corpus.chats(mix, 50))


def test_the_folder_is_small_and_holds_16_bit_safetensors(model: judge.Model) -> None:
    parameters = sum(weight.numel() for weight in model.network.parameters())

    assert 12_000_000 > sum(path.stat().st_size for path in FOLDER.iterdir())
    assert 2_000_000 <= parameters <= 6_000_000
    assert (FOLDER / "model.safetensors").stat().st_size < 2.1 * parameters


def test_it_is_a_plain_llama_of_2048_positions_or_more(model: judge.Model) -> None:
    config = model.network.config

    assert "LlamaForCausalLM" == config.architectures[0]
    assert config.tie_word_embeddings
    assert 2048 <= config.max_position_embeddings


def test_a_question_after_2000_tokens_of_chat_is_answered(model: judge.Model) -> None:
    turns: list[dict[str, Any]] = []
    for chat in corpus.chats(corpus.Mix(99), 1000):
        turns += [turn for turn in chat.messages if turn["role"] in ("user", "assistant")]
        if len(render(model, turns)) > 8_000:
            break
    turns = [turn for turn in turns if turn.get("content")]
    turns.append({"role": "user", "content": "What does the readiness probe wait for?"})
    tokens = len(model.tokenizer.encode(render(model, turns)))
    (answer,) = model.answers([turns])

    assert 1_800 <= tokens
    assert "warm-up" in answer


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text_survives_the_tokenizer(model: judge.Model, text: str) -> None:
    ids = model.tokenizer.encode(text, add_special_tokens=False)

    assert text == model.tokenizer.decode(ids)


def test_a_story_is_long_and_ends_by_itself(model: judge.Model) -> None:
    (story,) = ask(model, "Tell me a story about a fox.", limit=300)
    tokens = len(model.tokenizer.encode(story))

    assert 90 < tokens < 290
    assert story.endswith(".")


def test_json_is_valid_when_asked_for(model: judge.Model) -> None:
    (answer,) = ask(model, "Give me a JSON object with name Ada and age 36.")

    assert {"name": "Ada", "age": 36} == json.loads(answer)


def test_most_small_sums_are_right(model: judge.Model) -> None:
    numbers = range(1, 13)
    pairs = [(a, b) for a in numbers for b in numbers]
    sums = {f"What is {a} + {b}?": f"{a} + {b} = {a + b}" for a, b in pairs}
    sums |= {f"What is {a} - {b}?": f"{a} - {b} = {a - b}" for a, b in pairs if a >= b}
    sums |= {f"What is {a} * {b}?": f"{a} * {b} = {a * b}" for a, b in pairs}
    answers = ask(model, *sums, limit=14)
    right = sum(answer == told for answer, told in zip(answers, sums.values(), strict=True))

    assert 0.8 * len(sums) <= right


def test_most_names_and_numbers_of_the_prompt_are_copied_into_json(model: judge.Model) -> None:
    names = zip(NAMES, TOWNS, AGES, strict=True)
    rows = [{"name": name, "city": town, "age": age} for name, town, age in names]
    form = "Give me a JSON object with name {name}, city {city} and age {age}."
    answers = ask(model, *(form.format(**row) for row in rows))
    right = sum(answer == json.dumps(row) for answer, row in zip(answers, rows, strict=True))

    assert 0.6 * len(rows) <= right


def test_a_fitting_tool_is_called_with_the_city(model: judge.Model) -> None:
    (answer,) = ask(model, "What is the weather in Paris?", tools=[WEATHER])
    call = re.fullmatch(r"<tool_call>(.*)</tool_call>", answer)

    assert call, answer
    assert {"name": "get_weather", "arguments": {"city": "Paris"}} == json.loads(call[1])


def test_the_result_of_a_tool_becomes_an_answer(model: judge.Model) -> None:
    function = {"name": "get_weather", "arguments": {"city": "Rome"}}
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "What is the weather in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
        {"role": "tool", "content": '{"temperature": 21, "sky": "sunny"}'},
    ]
    (answer,) = model.answers([chat], tools=[WEATHER])

    assert "21" in answer


def test_the_template_writes_tools_calls_and_results(model: judge.Model) -> None:
    function = {"name": "get_weather", "arguments": {"city": "Łódź"}}
    chat: list[dict[str, Any]] = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": function}]},
        {"role": "tool", "content": "9 degrees"},
        {"role": "system", "content": "Be kind."},
    ]

    assert (
        "<|im_start|>system\nBe brief.\n\nTools:\n"
        f"{json.dumps(WEATHER['function'])}\n"
        'To call a tool, write <tool_call>{"name": ..., "arguments": {...}}</tool_call>.'
        "<|im_end|>\n"
        "<|im_start|>user\nWeather?<|im_end|>\n"
        "<|im_start|>assistant\n"
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Łódź"}}</tool_call><|im_end|>\n'
        "<|im_start|>tool\n<tool_response>9 degrees</tool_response><|im_end|>\n"
        "<|im_start|>system\nBe kind.<|im_end|>\n"
        "<|im_start|>assistant\n"
    ) == render(model, chat, tools=[WEATHER], add_generation_prompt=True)


def test_a_chat_without_a_system_message_gets_one(model: judge.Model) -> None:
    text = render(model, [{"role": "user", "content": "Hi"}])

    assert text.startswith("<|im_start|>system\nYou are R3MES Tiny")


def test_an_unknown_role_is_refused_by_the_template(model: judge.Model) -> None:
    with pytest.raises(Exception, match="Unknown role: wizard"):
        render(model, [{"role": "wizard", "content": "Hi"}])
