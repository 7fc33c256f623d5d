"""Chat templates: the sandbox, its bounds, and what templates rely on."""

import pytest

from r3mes.errors import InvalidRequest, StartError
from r3mes.replica.text import template as module
from r3mes.replica.text.template import ChatTemplate

HELLO = [{"role": "user", "content": "Hi"}]


def render(source: str, **variables: object) -> str:
    return ChatTemplate(source, constants={"bos_token": "<s>"}).render(HELLO, variables)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}{{ messages[0].content }}", "<s>Hi"),
        ("{% for m in messages %}{% continue %}x{% endfor %}", ""),
        ("{{ {'a': 'é<'} | tojson }}", '{"a": "é<"}'),
        ("{% generation %}{{ messages[0]['content'] }}{% endgeneration %}", "Hi"),
        ("{% if tools is not none %}tools{% endif %}.", "."),
        ("{{ strftime_now('%%') }}", "%"),
        ("  {% if true %}\n  x\n  {% endif %}\n", "  x\n"),
        ("{{ flag }}", "on"),
    ],
)
def test_a_template_finds_what_checkpoints_rely_on(source: str, text: str) -> None:
    assert text == render(source, flag="on")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for %}", "line 1"),
        ("{{ ''.__class__.__mro__ }}", "sandbox"),
        ("{{ messages.append(1) }}", "sandbox"),
    ],
)
def test_a_template_that_is_wrong_or_breaks_out_is_refused_at_the_start(
    source: str, reason: str
) -> None:
    with pytest.raises(StartError, match=reason):
        render(source)


def test_an_endless_template_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SECONDS", 0.05)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"

    with pytest.raises(StartError, match="end"):
        render(loop)


def test_too_long_a_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate("{% for a in range(n) %}xxxxxxxxxx{% endfor %}", constants={})
    monkeypatch.setattr(module, "MOST_CHARS", 1000)

    with pytest.raises(InvalidRequest) as caught:
        template.render(HELLO, {"n": 1000})

    assert "template_error" == caught.value.code


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('Only tools.') if late }}",
        "{{ messages[0].content + 1 if late }}",
        "{{ nothing.at.all if late }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() if late }}",
    ],
)
def test_a_chat_that_a_template_refuses_is_the_clients_error(source: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        render(source, late=True)

    assert ("template_error", "messages") == (caught.value.code, caught.value.param)
    assert "Traceback" not in caught.value.message


def test_the_reason_that_a_template_gives_reaches_the_client() -> None:
    with pytest.raises(InvalidRequest, match=r"Only tools\."):
        render("{{ raise_exception('Only tools.') if late }}", late=True)
