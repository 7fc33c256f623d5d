import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from r3mes import settings
from r3mes.errors import StartError


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith(settings.PREFIX):
            monkeypatch.delenv(name)


def test_overrides_by_dotted_name_land_in_their_sections() -> None:
    chosen = settings.load({"server.port": 1234, "model.source": "here"})

    assert (1234, "here") == (chosen.server.port, chosen.model.source)


def test_an_override_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R3MES_SERVER__PORT", "1")

    assert 2 == settings.load({"server.port": 2}).server.port


def test_a_variable_wins_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R3MES_DRAIN__LINGER_S", "1.5")

    assert 1.5 == settings.load().drain.linger_s


def test_settings_do_not_change_once_they_are_built() -> None:
    chosen = settings.load()

    with pytest.raises(ValidationError):
        chosen.server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("R3MES_SERVER__PROT", "R3MES_SERVER__PORT"),
        ("R3MES_SERVER_PORT", "R3MES_SERVER__PORT"),
        ("r3mes_api_key", "R3MES_API_KEYS"),
        ("R3MES_MODEL", "R3MES_MODEL__NAME"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, wrong: str, nearest: str
) -> None:
    monkeypatch.setenv(wrong, "x")

    with pytest.raises(StartError, match=f"{wrong} is not a setting.*{nearest}"):
        settings.load()


def test_variables_of_others_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("R3MESS", "x")

    assert 8000 == settings.load().server.port


def test_a_refused_value_is_named_by_its_variable_and_never_shown() -> None:
    with pytest.raises(StartError) as refused:
        settings.load({"server.port": "hunter2"})

    assert str(refused.value).startswith("R3MES_SERVER__PORT: ")
    assert "hunter2" not in str(refused.value)


def test_every_setting_has_a_documented_line() -> None:
    assert [] == [name for name, field in settings.variables() if not field.description]


def test_every_setting_is_in_the_generated_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()

    assert [] == [name for name, _ in settings.variables() if f"`{name}`" not in page]
