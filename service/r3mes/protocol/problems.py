"""Turns pydantic's report on a request into one error of our tree. Knows no HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any

from r3mes.errors import InvalidRequest

REQUEST_PARTS = ("body", "query", "path", "header", "cookie")

CODES = {"missing": "missing_required_parameter"}


def to_error(errors: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """The first problem, named by the dotted path of its field."""
    first = errors[0]
    param = ".".join(str(part) for part in first["loc"] if part not in REQUEST_PARTS)
    kind = str(first["type"])
    return InvalidRequest(str(first["msg"]), param=param or None, code=code_of(kind))


def code_of(kind: str) -> str:
    if kind.endswith(("_type", "_parsing")):
        return "invalid_type"
    return CODES.get(kind, "invalid_value")
