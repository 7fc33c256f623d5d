"""Strict JSON: what is read, and the exact code of what is not."""

import time

import pytest

from r3mes.errors import InvalidRequest
from r3mes.replica.strict_json import MAX_DEPTH, MAX_FIELDS, json_object, parse_json


def code_of(raw: bytes) -> str:
    with pytest.raises(InvalidRequest) as refused:
        json_object(raw)
    assert len(refused.value.message) < 200
    return refused.value.code


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def keys(count: int) -> bytes:
    return b"{" + b",".join(b'"%x":1' % number for number in range(count)) + b"}"


def test_plain_json_is_read_as_the_standard_parser_does() -> None:
    raw = '{"a": [1, -2.5e3, true, null], "ü\\n\\ud83d\\ude00": {"b": "\\\\ud800"}}'.encode()

    assert {"a": [1, -2500.0, True, None], "ü\n😀": {"b": "\\ud800"}} == parse_json(raw)


REFUSED = {
    "empty": (b"", "invalid_json"),
    "blank": (b" \n", "invalid_json"),
    "truncated": (b'{"a": [1, 2', "invalid_json"),
    "truncated string": (b'{"a": "b', "invalid_json"),
    "trailing garbage": (b"{} x", "invalid_json"),
    "two documents": (b"{}{}", "invalid_json"),
    "byte order mark": (b"\xef\xbb\xbf{}", "invalid_json"),
    "single quotes": (b"{'a': 1}", "invalid_json"),
    "trailing comma": (b'{"a": 1,}', "invalid_json"),
    "control character in a string": (b'{"a": "\x00"}', "invalid_json"),
    "leading zero": (b'{"a": 01}', "invalid_json"),
    "null": (b"null", "invalid_type"),
    "array": (b"[]", "invalid_type"),
    "string": (b'"x"', "invalid_type"),
    "number": (b"1", "invalid_type"),
    "duplicate key": (b'{"model": 1, "model": 1}', "duplicate_key"),
    "duplicate key by an escape": (b'{"model": 1, "m\\u006fdel": 1}', "duplicate_key"),
    "duplicate key below": (b'{"a": [{"b": 1, "b": 2}]}', "duplicate_key"),
    "NaN": (b'{"a": NaN}', "invalid_number"),
    "Infinity": (b'{"a": Infinity}', "invalid_number"),
    "-Infinity": (b'{"a": -Infinity}', "invalid_number"),
    "beyond a double": (b'{"a": 1e400}', "invalid_number"),
    "long integer": (b'{"a": ' + b"7" * 100_000 + b"}", "invalid_number"),
    "invalid UTF-8": (b'{"a": "\xff"}', "invalid_unicode"),
    "overlong UTF-8": (b'{"a": "\xc0\xaf"}', "invalid_unicode"),
    "UTF-16": ('{"a": 1}'.encode("utf-16-le"), "invalid_json"),
    "lone surrogate": (b'{"a": "\\ud800"}', "invalid_unicode"),
    "lone low surrogate": (b'{"a": "\\uDC00 x"}', "invalid_unicode"),
    "lone surrogate in a key": (b'{"\\ud800": 1}', "invalid_unicode"),
    "surrogate in UTF-8": (b'{"a": "\xed\xa0\x80"}', "invalid_unicode"),
    "one level too many": (nested(MAX_DEPTH + 1), "json_too_deep"),
    "100 000 levels": (nested(100_000), "json_too_deep"),
    "100 000 levels left open": (b'{"a":' * 100_000, "json_too_deep"),
    "one field too many": (keys(MAX_FIELDS + 1), "too_many_fields"),
    "1 000 000 fields": (keys(1_000_000), "too_many_fields"),
}


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_strict_json_has_its_own_code(raw: bytes, code: str) -> None:
    assert code == code_of(raw)


def test_everything_within_the_limits_is_read() -> None:
    value = parse_json(nested(MAX_DEPTH))

    for _ in range(MAX_DEPTH - 1):
        assert isinstance(value, list)
        (value,) = value
    assert [] == value
    assert {"a": 1} == parse_json(b'{"a": 1}')
    assert MAX_FIELDS == len(json_object(keys(MAX_FIELDS)))


def test_brackets_and_colons_in_strings_do_not_count() -> None:
    text = '[{"\\:' * 20_000
    raw = b'{"a": "' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"}'

    assert {"a": text} == parse_json(raw)


def test_a_flat_document_may_have_more_brackets_than_levels() -> None:
    assert [[]] * 100_000 == parse_json(b"[" + b",".join([b"[]"] * 100_000) + b"]")


@pytest.mark.parametrize(
    "raw",
    [
        nested(100_000),
        b"7" * 100_000,
        b'"' + b"\\" * 500_001,
        b'"\\' * 300_000,
        b"[]," * 300_000,
        b"[" * 65 + b'"' + b'\\"' * (512 << 10),
        b"[" * 65 + b'"' + b"\\" * ((1 << 20) + 1),
        b":" * 200_000 + b'"' * 800_001,
    ],
    ids=[
        "deep",
        "long number",
        "backslashes",
        "quotes",
        "wide",
        "quotes in a string left open",
        "backslashes in a string left open",
        "empty strings",
    ],
)
def test_hostile_bodies_are_refused_in_linear_time(raw: bytes) -> None:
    began = time.thread_time()
    code_of(raw)

    assert time.thread_time() - began < 0.5  # 50 ms are promised; ten times that means not linear
