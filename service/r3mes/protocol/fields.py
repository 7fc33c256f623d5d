"""The kinds of fields that request bodies are made of.

Everything is strict: `"1"` is no number and `1` is no bool. null means omitted wherever a field is
optional. Unions are resolved by validators of ours, so that a path never names a branch.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from r3mes.bounds import BOUNDS
from r3mes.errors import InvalidRequest
from r3mes.protocol.problems import problem

MOST_STOPS = 16
MOST_STOP_CHARS = 1024
MOST_BIASES = 1024
MOST_BIAS = 100
INT64 = 1 << 63


class Body(BaseModel):
    """A request body. Unknown fields are kept so that they can be counted or refused.

    `unsupported` names fields that other servers know and that would change the output; each with
    the values that change nothing here.
    """

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    unsupported: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    ignored: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def refuse_unsupported(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name in data.keys() & cls.unsupported.keys():
            if data[name] is not None and data[name] not in cls.unsupported[name]:
                raise problem("unsupported_parameter", "This is not supported here.", at=name)
        return data

    def unknown(self) -> list[str]:
        """Names that this API has never heard of."""
        known = self.ignored | self.unsupported.keys()
        return [name for name in self.model_extra or {} if name not in known]

    def refuse_unknown(self) -> None:
        """Raise InvalidRequest for the first name that this API has never heard of."""
        for name in self.unknown():
            shown = name[:64]
            raise InvalidRequest(f"Unknown field {shown!r}.", param=shown, code="unknown_parameter")


def token_id(value: Any) -> int:
    """Whether the vocabulary holds it is checked where the vocabulary is known."""
    if type(value) is not int or not 0 <= value < INT64:
        raise problem("invalid_token_id", "A token id is a whole number, 0 or more.")
    return value


def stop_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not 1 <= len(value) <= MOST_STOP_CHARS:
        raise problem("invalid_value", f"A stop string has 1 to {MOST_STOP_CHARS} characters.")
    return [value]


def id_keys(value: Any) -> Any:
    """JSON keys are strings; those of a bias are token ids."""
    if not isinstance(value, dict):
        return value
    if len(value) > MOST_BIASES:
        raise problem("invalid_value", f"Give at most {MOST_BIASES} token ids.")
    return {id_key(key): bias for key, bias in value.items()}


def id_key(key: Any) -> int:
    text = str(key)
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(INT64))):
        raise problem("invalid_token_id", "The keys are token ids.")
    return int(text)


def one_of(*values: str) -> BeforeValidator:
    return BeforeValidator(chooser(values))


def chooser(values: tuple[str, ...]) -> Callable[[Any], Any]:
    def choose(value: Any) -> Any:
        if isinstance(value, str) and value not in values:
            raise problem("invalid_value", f"Use one of {', '.join(values)}.")
        return value

    return choose


def within(name: str) -> Any:
    least, most = BOUNDS[name]
    return Field(ge=least, le=most)


TokenId = Annotated[
    int, BeforeValidator(token_id), WithJsonSchema({"type": "integer", "minimum": 0})
]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True)]
StopText = Annotated[str, Field(min_length=1, max_length=MOST_STOP_CHARS)]
Stops = Annotated[
    list[StopText],
    Field(max_length=MOST_STOPS, fail_fast=True),
    BeforeValidator(stop_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MOST_STOP_CHARS},
                {
                    "type": "array",
                    "maxItems": MOST_STOPS,
                    "items": {"type": "string", "minLength": 1, "maxLength": MOST_STOP_CHARS},
                },
            ]
        }
    ),
]
Bias = Annotated[float, Field(ge=-MOST_BIAS, le=MOST_BIAS)]
LogitBias = Annotated[dict[int, Bias], BeforeValidator(id_keys)]
Seed = Annotated[int, Field(ge=-INT64, lt=INT64)]
Count = Annotated[int, Field(ge=1, lt=1 << 31)]
Temperature = Annotated[float, within("temperature")]
TopP = Annotated[float, within("top_p"), Field(gt=0)]
TopK = Annotated[int, within("top_k")]
MinP = Annotated[float, within("min_p")]
Penalty = Annotated[float, Field(ge=-2, le=2)]
RepetitionPenalty = Annotated[float, within("repetition_penalty")]
UserId = Annotated[str, Field(max_length=512)]
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]
