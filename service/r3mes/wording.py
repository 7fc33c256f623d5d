"""What Pydantic found wrong with a value, in plain words. Knows no field and who gave the value."""

from collections.abc import Callable, Mapping
from typing import Any

Words = Callable[[Mapping[str, Any]], str]


def plain(error: Mapping[str, Any]) -> str:
    """One of Pydantic's errors as a sentence; a kind that is not known keeps Pydantic's own."""
    words = WORDS.get(str(error["type"]))
    return str(error["msg"]) if words is None else words(error.get("ctx") or {})


def always(sentence: str) -> Words:
    return lambda _: sentence


def bound(sentence: str, name: str) -> Words:
    return lambda found: sentence.format(number(found[name]))


def length(sentence: str, name: str, one: str, many: str) -> Words:
    return lambda found: sentence.format(f"{found[name]} {one if found[name] == 1 else many}")


def number(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


WHOLE = always("Give a whole number.")
NUMBER = always("Give a number.")
BOOLEAN = always("Give true or false.")
OBJECT = always("Give an object.")
WORDS: dict[str, Words] = {
    "missing": always("This is required."),
    "model_type": OBJECT,
    "dict_type": OBJECT,
    "list_type": always("Give a list."),
    "string_type": always("Give a string."),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), BOOLEAN),
    "path_type": always("Give a path."),
    "literal_error": lambda found: f"Give {found['expected']}.",
    "greater_than_equal": bound("Give {} or more.", "ge"),
    "greater_than": bound("Give more than {}.", "gt"),
    "less_than_equal": bound("Give {} or less.", "le"),
    "less_than": bound("Give less than {}.", "lt"),
    "too_short": length("Give at least {}.", "min_length", "item", "items"),
    "too_long": length("Give at most {}.", "max_length", "item", "items"),
    "string_too_short": length("Give at least {}.", "min_length", "character", "characters"),
    "string_too_long": length("Give at most {}.", "max_length", "character", "characters"),
}
