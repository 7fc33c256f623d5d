"""Prompts that are given back."""

import pytest

from r3mes.replica.echo import Echo, echo_of, echoes_of
from r3mes.replica.text.model import TextModel
from r3mes.replica.text.tokenizer import BackendCodec
from support import tokenizers_made
from support.model_info import byte_model, info_of

PROMPTS = ["hello w", "", "<|im_end|>hi</think>", "<s>he</s> llo", "  he", "🙂"]


def text_model(kind: str) -> TextModel:
    return TextModel(BackendCodec(tokenizers_made.ALL[kind]()), None, info=info_of())


async def echo(text: TextModel, prompt: str) -> Echo:
    ids = await text.encode(prompt, add_special_tokens=True)
    return echo_of(ids, text, verbatim=prompt)


@pytest.mark.parametrize("kind", ["byte_level", "sentence_piece"])
@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_prompt_goes_back_as_it_came_and_its_tokens_cover_it(
    kind: str, prompt: str
) -> None:
    found = await echo(text_model(kind), prompt)

    assert prompt == found.text
    assert prompt == "".join(prompt[start:end] for start, end in found.spans)


async def test_tokens_that_the_tokenizer_adds_have_no_place_in_the_prompt() -> None:
    found = await echo(text_model("sentence_piece"), "he")

    assert [(0, 0), (0, 2)] == found.spans


async def test_what_a_tokenizer_cannot_give_back_is_given_back_all_the_same() -> None:
    found = await echo(text_model("word_piece"), "HELLO  world")

    assert "HELLO  world" == found.text


async def test_ids_go_back_with_their_special_tokens() -> None:
    text = byte_model()
    (found,) = await echoes_of([[256, 104, 105]], [None], text=text)

    assert "<bos>hi" == found.text
    assert [(0, 5), (5, 6), (6, 7)] == found.spans
