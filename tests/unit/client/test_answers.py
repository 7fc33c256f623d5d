import pytest

from r3mes.client.answers import read_chunk, refusal
from r3mes.errors import CallFailed


@pytest.mark.parametrize(
    ("payload", "piece"),
    [
        (b'{"choices":[{"delta":{"content":"Hi"}}]}', "Hi"),
        (b'{"choices":[{"text":"Hi"}]}', "Hi"),
        (b'{"choices":[{"delta":{"reasoning_content":"Hm"}}]}', "Hm"),
        (b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', ""),
        (b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}', ""),
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"unknown":{}}', ""),
    ],
)
def test_the_text_of_an_event_is_found_in_either_endpoint(payload: bytes, piece: str) -> None:
    assert piece == read_chunk(payload).piece


def test_an_error_event_is_raised_with_its_code_as_the_kind() -> None:
    with pytest.raises(CallFailed, match="It is over") as raised:
        read_chunk(b'{"error":{"message":"It is over","code":"shutting_down"}}')

    assert "shutting_down" == raised.value.code


def test_an_error_in_a_bare_string_is_raised_too() -> None:
    with pytest.raises(CallFailed, match="Out of luck"):
        read_chunk(b'{"error":"Out of luck"}')


def test_what_is_no_chunk_is_a_bad_answer() -> None:
    with pytest.raises(CallFailed) as raised:
        read_chunk(b"<html>")

    assert "bad answer" == raised.value.code


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"error":{"message":"Too long.","code":"context_length_exceeded"}}', "400: Too long."),
        (b"Bad gateway", "400: Bad gateway"),
        (b"", "400: no reason was given"),
        (b"\xff\xfe", "400: \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_refusal_is_one_sentence_whatever_the_body(body: bytes, sentence: str) -> None:
    assert sentence == refusal(400, body).message


def test_who_lacks_a_key_is_told_where_to_give_it() -> None:
    sentence = "401: Who are you? Here the key is given by --api-key or OPENAI_API_KEY."

    assert sentence == refusal(401, b'{"error":{"message":"Who are you?"}}').message
