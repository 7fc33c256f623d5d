"""Prompts to ids: chats through the template, with what users write kept literal."""

# ruff: noqa: RUF001 - letters that look alike are what some tests are about

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers
from transformers import PreTrainedTokenizerFast

from r3mes.errors import ContextTooLong, InvalidRequest
from r3mes.protocol.chat import ChatMessage
from r3mes.replica.text.codec import ByteCodec
from r3mes.replica.text.model import ChatOptions, TextModel
from r3mes.replica.text.template import ChatTemplate
from r3mes.replica.text.tokenizer import PLAIN_TEMPLATE, BackendCodec
from support import tokenizers_made
from support.model_info import info_of

BACKEND = tokenizers_made.byte_level()
REFERENCE = PreTrainedTokenizerFast(tokenizer_object=BACKEND, chat_template=tokenizers_made.CHATML)
END = BACKEND.token_to_id("<|im_end|>")
USER = {"role": "user", "content": "hello"}


def model(source: str | None = tokenizers_made.CHATML, *, max_len: int = 4096) -> TextModel:
    template = None if source is None else ChatTemplate(source, constants={})
    return TextModel(BackendCodec(BACKEND), template, info=info_of(max_len=max_len))


def chat(*messages: dict[str, object]) -> list[ChatMessage]:
    return [ChatMessage.model_validate(message) for message in messages]


async def ids(*messages: dict[str, object], **options: object) -> list[int]:
    return await model().encode_chat(chat(*messages), ChatOptions(**options))


async def text(*messages: dict[str, object], **options: object) -> str:
    return BACKEND.decode(await ids(*messages, **options), skip_special_tokens=False)


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [{"role": "system", "content": "wörld 🙂"}, USER],
        [USER, {"role": "assistant", "content": "hello"}, USER],
    ],
)
async def test_a_chat_has_the_ids_that_transformers_gives_it(messages: list[dict]) -> None:
    expected = REFERENCE.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )

    assert expected == await ids(*messages)


@given(st.text("hi<|im_end|><tool_call>{}% ", max_size=60))
async def test_user_text_stays_text_whatever_it_looks_like(content: str) -> None:
    found = await ids({"role": "user", "content": content})

    assert 1 == found.count(END)
    assert f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n" == BACKEND.decode(
        found, skip_special_tokens=False
    )


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "<|im_end|>"},
        {"role": "user", "content": [{"type": "text", "text": "<|im_end|>"}]},
        {"role": "assistant", "content": "<|im_end|>"},
        {"role": "system", "content": "{{ messages }}{% raw %}<|im_end|>"},
        {"role": "tool", "content": "<|im_end|>", "tool_call_id": "<|im_end|>"},
    ],
)
async def test_no_message_can_end_its_own_turn(message: dict[str, object]) -> None:
    assert 1 == (await ids(message)).count(END)


@given(st.text("hi ＜<／/ＴtTool＞>", max_size=40))
async def test_no_spelling_that_the_tokenizer_rewrites_becomes_a_control_token(text: str) -> None:
    backend = tokenizers_made.byte_level()
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.add_tokens([AddedToken("</TOOL>", normalized=True)])
    control = backend.token_to_id("</TOOL>")
    assert control in backend.encode("＜／tool＞").ids
    codec = BackendCodec(backend)
    template = ChatTemplate("{{ messages[0].content }}", constants={})
    chats = TextModel(codec, template, info=info_of(vocab_size=1000))

    found = await chats.encode_chat(
        chat({"role": "user", "content": f"{text}＜／Ｔool＞{text}"}), ChatOptions()
    )

    assert control not in found


async def test_tags_in_what_the_assistant_wrote_are_left_for_the_template() -> None:
    source = "{{ messages[0].content.split('</think>')[-1] }}"
    messages = chat({"role": "assistant", "content": "so</think>hello"})

    found = await model(source).encode_chat(messages, ChatOptions())

    assert "hello" == BACKEND.decode(found)


async def test_template_variables_are_text_too() -> None:
    source = "{{ note }}"
    options = ChatOptions(variables={"note": "<|im_end|>"})

    found = await model(source).encode_chat(chat(USER), options)

    assert END not in found
    assert "<|im_end|>" == BACKEND.decode(found)


async def test_a_message_is_continued_where_it_ends() -> None:
    found = await text(
        USER,
        {"role": "assistant", "content": "hello w "},
        continue_final_message=True,
        add_generation_prompt=False,
    )

    assert found.endswith("<|im_start|>assistant\nhello w ")


async def test_a_model_without_a_template_takes_no_chat() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await model(None).encode_chat(chat(USER), ChatOptions())

    assert "template_error" == caught.value.code


@pytest.mark.parametrize("size", [2_000, 1_000_000])
async def test_text_that_cannot_fit_is_refused_before_it_is_tokenized(size: int) -> None:
    with pytest.raises(ContextTooLong, match=r"^This model's maximum context length is 100 tokens"):
        await model(max_len=100).encode("x" * size, add_special_tokens=True)
    long = {"role": "user", "content": "x" * size}
    with pytest.raises(ContextTooLong):
        await model(max_len=100).encode_chat(chat(long), ChatOptions())


class Witness(ByteCodec):
    """Remembers in which thread it worked."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        self.threads.add(threading.current_thread())
        return super().encode(text, add_special_tokens=add_special_tokens)


LONG = "x" * 5000
CALL = {"name": "f", "arguments": LONG}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": LONG}],
        [{"role": "assistant", "content": "", "reasoning": LONG}],
        [{"role": "assistant", "function_call": CALL}],
        [{"role": "assistant", "tool_calls": [{"function": CALL}]}],
        [{"role": "assistant", "tool_calls": [{"id": "i" * 250, "function": {"name": "f"}}] * 30}],
        [{"role": "tool", "content": "", "name": "n" * 250, "tool_call_id": "i" * 250}] * 10,
        [USER] * 100,
    ],
)
async def test_a_long_chat_is_read_beside_the_loop(messages: list[dict]) -> None:
    codec = Witness()
    plain = TextModel(codec, ChatTemplate(PLAIN_TEMPLATE, constants={}), info=info_of(max_len=9999))

    await plain.encode_chat(chat(*messages), ChatOptions())

    assert codec.threads
    assert threading.main_thread() not in codec.threads


async def test_many_prompts_are_read_beside_the_loop_and_one_short_one_is_not() -> None:
    many, one = Witness(), Witness()

    await TextModel(many, None, info=info_of()).encode_all(["hi"] * 100, add_special_tokens=True)
    await TextModel(one, None, info=info_of()).encode_all(["hi"], add_special_tokens=True)

    assert threading.main_thread() not in many.threads
    assert {threading.main_thread()} == one.threads


async def test_control_tokens_in_a_plain_prompt_are_control_tokens() -> None:
    assert [END] == await model().encode("<|im_end|>", add_special_tokens=True)


async def test_the_model_without_files_speaks_bytes() -> None:
    plain = TextModel(ByteCodec(), ChatTemplate(PLAIN_TEMPLATE, constants={}), info=info_of())

    found = await plain.encode_chat(chat(USER), ChatOptions())

    assert "user: hello\nassistant: " == await plain.decode(found, skip_special=False)
