"""Strict JSON from strangers. Knows no HTTP and no field of any request.

Stricter than the standard parser: no duplicate keys, no numbers outside JSON or outside a double,
no lone surrogates, at most `MAX_DEPTH` levels and `MAX_FIELDS` keys. Time is linear in the text,
which whoever calls bounds.
"""

import json
import math
import re
from typing import Any

from r3mes.errors import InvalidRequest

MAX_DEPTH = 64
MAX_FIELDS = 100 << 10  # keys in one document

# Also one left open to the end, or else each quote in it would be tried as a start of its own.
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
OPENING = frozenset(b"[{")


def parse_json(raw: bytes) -> object:
    """The value of a JSON document in UTF-8; raises InvalidRequest with the exact code."""
    check_shape(raw)
    try:
        value: object = DECODER.decode(decoded(raw))
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.", code="invalid_json") from error
    except ValueError as error:  # Python refuses integers of more than 4300 digits
        raise InvalidRequest("A number in the body is too long.", code="invalid_number") from error
    if b"\\ud" in raw or b"\\uD" in raw:
        check_surrogates(value)
    return value


def check_shape(raw: bytes) -> None:
    """Refuse too many keys or levels before anything is built from them."""
    if raw.count(b":") <= MAX_FIELDS and raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    skeleton = STRING.sub(b"", raw)
    if skeleton.count(b":") > MAX_FIELDS:
        raise InvalidRequest(f"More than {MAX_FIELDS} fields.", code="too_many_fields")
    if deeper_than(MAX_DEPTH, skeleton.translate(None, NOT_BRACKETS)):
        raise InvalidRequest(f"More than {MAX_DEPTH} levels deep.", code="json_too_deep")


def deeper_than(limit: int, brackets: bytes) -> bool:
    level = 0
    for bracket in brackets:
        level += 1 if bracket in OPENING else -1
        if level > limit:
            return True
    return False


def decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not UTF-8.", code="invalid_unicode") from error


def check_surrogates(value: object) -> None:
    """A lone surrogate is a str to Python that no UTF-8 can carry."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequest("Half of a surrogate pair.", code="invalid_unicode") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequest("A key stands twice in one object.", code="duplicate_key")
    return fields


def finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise InvalidRequest("A number in the body is too large.", code="invalid_number")
    return number


def no_constant(name: str) -> float:
    raise InvalidRequest(f"{name} is not a JSON number.", code="invalid_number")


DECODER = json.JSONDecoder(
    object_pairs_hook=unique_keys, parse_float=finite, parse_constant=no_constant
)


def json_object(raw: bytes) -> dict[str, Any]:
    value = parse_json(raw)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    return value
