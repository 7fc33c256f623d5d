"""What Pydantic found wrong, as the error that a client gets."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from r3mes.errors import InvalidRequest, UnsupportedParameter
from r3mes.protocol import problems
from r3mes.protocol.chat import ChatBody
from r3mes.protocol.problems import OURS, problem, to_error


def error_of(body: object) -> InvalidRequest:
    with pytest.raises(ValidationError) as caught:
        ChatBody.model_validate(body)
    return to_error(caught.value.errors())


def test_the_path_is_the_client_s_own() -> None:
    errors = [{"type": "string_type", "loc": ("body", "messages", 3, "name"), "msg": "A string."}]

    assert "messages.3.name" == to_error(errors).param


def test_the_whole_body_has_no_path() -> None:
    errors = [{"type": "model_type", "loc": ("body",), "msg": "An object."}]

    assert (None, "invalid_type") == (to_error(errors).param, to_error(errors).code)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unsupported_parameter", UnsupportedParameter),
        ("empty_prompt", InvalidRequest),
    ],
)
def test_a_problem_of_ours_keeps_its_code(code: str, kind: type[InvalidRequest]) -> None:
    found = to_error([{"type": code, "loc": ("body",), "msg": "No.", "ctx": {"at": "a.b"}}])

    assert (kind, code, "a.b") == (type(found), found.code, found.param)


def test_braces_in_a_message_are_no_template() -> None:
    assert "{x} {0} 100 %" == problem("invalid_value", "{x} {0} 100 %").message()


def test_a_huge_mistake_gets_a_short_answer() -> None:
    kwargs = {"chat_template_kwargs": {"k" * 9000: 1, "-" * 9000: 2}}
    bodies = [{"messages": [{"role": "x" * 9000}] * 9000}, {"messages": [], **kwargs}]

    assert [True] * 2 == [len(error_of(body).message) < 1000 for body in bodies]
    assert [True] * 2 == [len(error_of(body).param or "") < 500 for body in bodies]


def test_further_problems_are_counted_not_told() -> None:
    error = error_of({"messages": [], "n": 0, "stream": "yes"})

    assert error.message.endswith("(2 more problems)")


HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "messages: This is required."),
        ([], "Give an object."),
        ({"messages": []}, "messages: Give at least 1 item."),
        ({"messages": "x"}, "messages: Give a list."),
        ({"messages": [1]}, "messages.0: Give an object."),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content: Give a string."),
        ({**HELLO, "n": 0}, "n: Give 1 or more."),
        ({**HELLO, "n": "one"}, "n: Give a whole number."),
        ({**HELLO, "n": 1 << 31}, "n: Give less than 2147483648."),
        ({**HELLO, "temperature": 3}, "temperature: Give 2 or less."),
        ({**HELLO, "temperature": "hot"}, "temperature: Give a number."),
        ({**HELLO, "temperature": float("nan")}, "temperature: Give a number."),
        ({**HELLO, "top_p": 0}, "top_p: Give more than 0."),
        ({**HELLO, "repetition_penalty": 0}, "repetition_penalty: Give 0.01 or more."),
        ({**HELLO, "stream": "yes"}, "stream: Give true or false."),
        ({**HELLO, "stop": ["x"] * 17}, "stop: Give at most 16 items."),
        ({**HELLO, "stop": [""]}, "stop.0: Give at least 1 character."),
        ({**HELLO, "user": "x" * 513}, "user: Give at most 512 characters."),
        ({**HELLO, "logit_bias": 3}, "logit_bias: Give an object."),
    ],
    ids=str,
)
def test_what_pydantic_finds_is_told_in_plain_words(body: object, said: str) -> None:
    assert said == error_of(body).message


def test_every_code_is_that_of_some_problem() -> None:
    rooms = Path(problems.__file__).parent.glob("*.py")
    source = "".join(room.read_text() for room in rooms)

    assert set(re.findall(r'problem\(\s*"(\w+)"', source)) == OURS
