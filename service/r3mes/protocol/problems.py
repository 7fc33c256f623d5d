"""Turns what Pydantic found wrong with a body into our error tree. The only place that does.

A validator of ours raises `problem(code, message, at=…)`, whose Pydantic error type is the code
that a client gets; Pydantic's own types map onto `missing_required_parameter`, `invalid_type` and
`invalid_value`. Only the first problem is told: no answer is larger than a line.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic_core import PydanticCustomError

from r3mes.errors import InvalidRequest, UnsupportedParameter
from r3mes.wording import plain

MOST_TEXT = 300  # characters of a message or path; both may hold what the client sent

Code = Literal[
    "empty_prompt",
    "invalid_combination",
    "invalid_role",
    "invalid_token_id",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "unsupported_content",
    "unsupported_parameter",
]
OURS: frozenset[str] = frozenset(get_args(Code))


def problem(code: Code, message: str, *, at: str | None = None) -> PydanticCustomError:
    """For validators to raise; `at` is the path below the place that Pydantic knows of."""
    # The message goes through the context: Pydantic would read braces in it as a template.
    return PydanticCustomError(code, "{message}", {"message": message, "at": at})


def to_error(errors: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """The first of Pydantic's errors as an error that a client gets."""
    first = errors[0]
    code = code_of(first)
    message = plain(first)
    if len(errors) > 1:
        message = f"{message[:MOST_TEXT]} ({len(errors) - 1} more problems)"
    param = path_of(first)
    where = f"{param}: " if param else ""
    error = UnsupportedParameter if code == UnsupportedParameter.code else InvalidRequest
    return error((where + message)[: 2 * MOST_TEXT], param=param, code=code)


def code_of(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind in OURS:
        return kind
    if kind == "missing":
        return "invalid_role" if error["loc"][-1] == "role" else "missing_required_parameter"
    if kind.endswith("_type"):
        return "invalid_type"
    return "invalid_value"


def path_of(error: Mapping[str, Any]) -> str | None:
    """Dotted path of the offending field; the leading `body` is ours, not the client's."""
    parts = [str(part) for part in error["loc"]]
    if parts and parts[0] == "body":
        del parts[0]
    below = (error.get("ctx") or {}).get("at")
    if below:
        parts.append(below)
    return ".".join(parts)[:MOST_TEXT] or None
