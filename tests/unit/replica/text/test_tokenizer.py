"""Real tokenizers of several kinds behind the same interface."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from r3mes.errors import StartError
from r3mes.replica.text.codec import ByteCodec
from r3mes.replica.text.detokenizer import Detokenizer
from r3mes.replica.text.tokenizer import BackendCodec, load_text_model
from support import tokenizers_made
from support.model_info import info_of
from support.replica import SERVICE

BACKENDS = {name: make() for name, make in tokenizers_made.ALL.items()}
CODECS = {name: BackendCodec(backend) for name, backend in BACKENDS.items()}
FAITHFUL = ("byte_level", "sentence_piece")


def text_of(detokenizer: Detokenizer, ids: list[int]) -> str:
    return "".join([*map(detokenizer.feed, ids), detokenizer.finish()])


@pytest.mark.parametrize("kind", FAITHFUL)
@given(text=st.text("helo wörld🙂</s><|im_end|>\n", max_size=20))
def test_text_survives_encoding_and_decoding(kind: str, text: str) -> None:
    codec = CODECS[kind]
    if kind == "sentence_piece":  # it puts a space behind a special token, as before a text
        assume(not any(token in text for token in codec.added_tokens))
    ids = codec.encode(text, add_special_tokens=False)
    detokenizer = codec.detokenizer(skip_special=False, at_start=True)

    assert text == text_of(detokenizer, ids)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("skip", [False, True])
@given(data=st.data())
def test_ids_one_by_one_give_the_library_s_text_of_all_of_them(
    kind: str, skip: bool, data: st.DataObject
) -> None:
    backend = BACKENDS[kind]
    ids = data.draw(st.lists(st.integers(0, backend.get_vocab_size() - 1), max_size=12))
    detokenizer = CODECS[kind].detokenizer(skip_special=skip, at_start=True)
    expected = backend.decode(ids, skip_special_tokens=skip)

    found = text_of(detokenizer, ids)

    if kind == "sentence_piece":  # it gives up a whole run of bytes where one of them is wrong
        assert len(expected.replace("\ufffd", "")) <= len(found)
        if "\ufffd" in expected:
            return
    assert expected == found


@pytest.mark.parametrize("kind", BACKENDS)
def test_ids_beyond_the_tokenizer_have_no_text(kind: str) -> None:
    assert b"" == CODECS[kind].token_bytes(10_000)


def test_the_bytes_of_a_token_are_its_own_also_within_a_character() -> None:
    codec = CODECS["byte_level"]
    ids = codec.encode("🙂", add_special_tokens=False)

    assert ["🙂".encode()[index : index + 1] for index in range(4)] == [
        codec.token_bytes(token) for token in ids
    ]


def test_text_that_goes_on_gets_no_space_before_it() -> None:
    codec = CODECS["sentence_piece"]
    ids = codec.encode("he", add_special_tokens=False) + codec.encode_rest("llo")

    assert "hello" == text_of(codec.detokenizer(skip_special=True, at_start=True), ids)


def test_special_tokens_are_added_where_the_tokenizer_says_so() -> None:
    codec = CODECS["sentence_piece"]

    assert 1 == codec.encode("he", add_special_tokens=True)[0]
    assert 1 != codec.encode("he", add_special_tokens=False)[0]


def test_what_training_left_in_the_file_neither_cuts_nor_pads_a_prompt(tmp_path: Path) -> None:
    backend = tokenizers_made.byte_level()
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    folder = tokenizers_made.save(backend, tmp_path)
    codec = load_text_model(info_of(path=str(folder)), None).codec

    for text in ("hello wim", "hi"):
        assert CODECS["byte_level"].encode(text, add_special_tokens=False) == codec.encode(
            text, add_special_tokens=False
        )


def test_no_id_stands_for_more_bytes_than_promised() -> None:
    codec = CODECS["byte_level"]

    assert codec.longest_token == len("<|endoftext|>")


PROGRAM = """
import json, sys
from r3mes.errors import StartError
from r3mes.replica.text.tokenizer import bar_torch, load_tokenizer
bar_torch()
tokenizer = load_tokenizer(sys.argv[1])
try:
    load_tokenizer(sys.argv[2])
except StartError as error:
    refusal = error.message
torch = [name for name, it in sys.modules.items() if name.split(".")[0] == "torch" and it]
print(json.dumps([tokenizer.chat_template, refusal[:32], torch]))
"""


def test_a_checkpoint_is_loaded_without_torch_and_refused_without_a_tokenizer(
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    tokenizers_made.save(tokenizers_made.byte_level(), tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path), str(empty)],
        env={"PYTHONPATH": str(SERVICE), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=True,
        text=True,
    )

    assert [tokenizers_made.CHATML, "The tokenizer cannot be loaded: ", []] == json.loads(
        done.stdout
    )
    assert "" == done.stderr


def test_the_fake_runner_needs_no_files() -> None:
    text = load_text_model(info_of(), None)

    assert isinstance(text.codec, ByteCodec)


def test_a_chat_template_that_is_given_must_work(tmp_path: Path) -> None:
    file = tmp_path / "template.jinja"
    file.write_text("{% for %}")

    with pytest.raises(StartError, match="line 1"):
        load_text_model(info_of(), file)
    with pytest.raises(StartError, match="cannot be read"):
        load_text_model(info_of(), tmp_path / "absent")
