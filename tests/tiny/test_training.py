"""The training itself, on a model of a few thousand weights."""

import json
import operator
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import r3mes
from training import corpus, practice, train
from training.corpus import Mix
from training.stages import Stage

TOKENIZER = Path(r3mes.__file__).parent / "tiny"
SUM = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")
EMBEDDING = "model.embed_tokens.weight"


def weights(folder: Path, *, steps: int, average: float = 0.0) -> dict[str, Any]:
    """What a stage of so many steps saves into `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    stage = Stage(
        Mix(1),
        steps,
        horizon=9,
        rate=0.1,
        warmup=1,
        opening=8,
        opening_weight=1.0,
        rows=1,
        length=128,
        average=average,
    )
    folder.mkdir()
    train.fit(LlamaForCausalLM(config), tokenizer, stage, folder)
    return load_file(folder / "model.safetensors")


def test_a_stage_saves_the_running_average_of_its_weights(tmp_path: Path) -> None:
    first = weights(tmp_path / "first", steps=1)
    second = weights(tmp_path / "second", steps=2)
    average = weights(tmp_path / "average", steps=2, average=0.75)

    assert not torch.equal(first[EMBEDDING], second[EMBEDDING])
    for name, weight in average.items():
        expected = 0.75 * first[name].float() + 0.25 * second[name].float()
        torch.testing.assert_close(weight.float(), expected, rtol=0.01, atol=0.001)


def test_the_log_tells_the_stage_and_the_last_step(tmp_path: Path) -> None:
    weights(tmp_path / "run", steps=3)
    lines = (tmp_path / "run" / train.LOG_NAME).read_text().splitlines()
    begin, *_, end = map(json.loads, lines)

    assert {"seed": 1, "practice": 0.0}.items() <= begin["stage"]["mix"].items()
    assert (2, 384) == (end["step"], end["tokens"])


def test_every_practised_sum_is_right() -> None:
    practised = corpus.chats(Mix(1, practice=1), 300)
    answers = [turn["content"] for chat in practised for turn in chat.messages]
    sums = [found for answer in answers if answer and (found := SUM.fullmatch(answer))]
    compute = {"+": operator.add, "-": operator.sub, "*": operator.mul}

    assert len(sums) > 300
    for found in sums:
        a, sign, b, told = found.groups()
        assert int(told) == compute[sign](int(a), int(b))


def test_names_to_be_copied_are_written_in_the_question() -> None:
    chats = [practice.several(Random(seed), practice.json_of_names, 3) for seed in range(50)]
    turns = [turn for chat in chats for turn in chat.messages]

    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        for key, value in json.loads(answer["content"]).items():
            assert f"{key} {value}" in question["content"]
