import os
from pathlib import Path
from typing import Literal, get_args, get_origin

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


def choices() -> list[tuple[str, object]]:
    """Every value of every setting that is a choice."""
    return [
        (f"R3MES_{section}__{name}".upper(), value)
        for section, group in settings.Settings.model_fields.items()
        for name, field in getattr(group.annotation, "model_fields", {}).items()
        if get_origin(field.annotation) is Literal
        for value in get_args(field.annotation)
    ]


@pytest.mark.parametrize(("variable", "value"), choices())
def test_a_variable_takes_each_value_of_a_choice(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: object
) -> None:
    monkeypatch.setenv(variable, str(value))
    section, name = variable.removeprefix("R3MES_").lower().split("__")

    assert value == getattr(getattr(settings.load(), section), name)


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


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("server.port", "many", "R3MES_SERVER__PORT: Give a whole number."),
        ("server.port", "70000", "R3MES_SERVER__PORT: Give 65535 or less."),
        ("model.device", "tpu", "R3MES_MODEL__DEVICE: Give 'auto', 'cpu' or 'cuda'."),
        ("server.strict_fields", "x", "R3MES_SERVER__STRICT_FIELDS: Give true or false."),
        ("drain.linger_s", "x", "R3MES_DRAIN__LINGER_S: Give a number."),
        ("engine.kv_memory_fraction", "0", "R3MES_ENGINE__KV_MEMORY_FRACTION: Give more than 0."),
    ],
)
def test_a_refused_value_is_told_in_plain_words(name: str, value: str, said: str) -> None:
    with pytest.raises(StartError) as refused:
        settings.load({name: value})

    assert said == str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "R3MES_MODEL__NAME",
        "R3MES_MODEL__SOURCE",
        "R3MES_SERVER__HOST",
        "R3MES_SERVER__PORT",
        "R3MES_TELEMETRY__OTLP_ENDPOINT",
        "R3MES_TERMINATION_LOG",
        "R3MES_API_KEYS",
        "R3MES_API_KEYS_FILE",
    ],
)
@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_variable_is_no_value(
    monkeypatch: pytest.MonkeyPatch, name: str, nothing: str
) -> None:
    monkeypatch.setenv(name, nothing)

    with pytest.raises(StartError) as refused:
        settings.load()
    assert f"{name}: This is empty; leave it out to get the default." == str(refused.value)


def test_an_empty_flag_is_no_value() -> None:
    with pytest.raises(StartError, match="R3MES_MODEL__NAME: This is empty"):
        settings.load({"model.name": ""})


@pytest.mark.parametrize(
    "address", ["collector:4318", "//collector:4318", "http://", "http://c:port", "grpc://c:4317"]
)
def test_a_collector_is_named_by_an_address_of_http(address: str) -> None:
    with pytest.raises(StartError) as refused:
        settings.load({"telemetry.otlp_endpoint": address})

    expected = "R3MES_TELEMETRY__OTLP_ENDPOINT: This is no address like http://host:4318."
    assert expected == str(refused.value)


@pytest.mark.parametrize("address", ["http://collector:4318", "https://[fd00::1]/otlp"])
def test_addresses_of_a_collector(address: str) -> None:
    chosen = settings.load({"telemetry.otlp_endpoint": address})

    assert address == chosen.telemetry.otlp_endpoint


def test_the_termination_log_is_no_file_when_its_variable_is_empty() -> None:
    assert settings.termination_log({"R3MES_TERMINATION_LOG": ""}) is None


def service_links(service: str, host: str, in_url: str) -> dict[str, str]:
    """What Kubernetes makes of a Service with two ports."""
    return {
        f"{service}_SERVICE_HOST": host,
        f"{service}_SERVICE_PORT": "8000",
        f"{service}_SERVICE_PORT_HTTP": "8000",
        f"{service}_PORT": f"tcp://{in_url}:8000",
        f"{service}_PORT_8000_TCP": f"tcp://{in_url}:8000",
        f"{service}_PORT_8000_TCP_PROTO": "tcp",
        f"{service}_PORT_8000_TCP_PORT": "8000",
        f"{service}_PORT_8000_TCP_ADDR": host,
        f"{service}_PORT_53_UDP": f"udp://{in_url}:53",
    }


@pytest.mark.parametrize("service", ["R3MES", "R3MES_GATEWAY", "R3MES_SERVICE"])
@pytest.mark.parametrize(("host", "in_url"), [("10.0.0.9", "10.0.0.9"), ("fd00::9", "[fd00::9]")])
def test_variables_that_kubernetes_makes_of_a_service_are_passed_over(
    service: str, host: str, in_url: str
) -> None:
    settings.refuse_unknown(service_links(service, host, in_url))


@pytest.mark.parametrize(
    "lone",
    [
        {"R3MES_PORT": "tcp://10.0.0.9:8000"},
        {"R3MES_SERVICE_HOST": "10.0.0.9", "R3MES_SERVICE_PORT": "8000"},
        {**service_links("R3MES", "10.0.0.9", "10.0.0.9"), "R3MES_SERVICE_HOST": "here"},
    ],
)
def test_what_only_looks_like_it_is_refused_with_what_to_do(lone: dict[str, str]) -> None:
    with pytest.raises(StartError, match=r"Did you mean R3MES_.*enableServiceLinks: false"):
        settings.refuse_unknown(lone)


def test_a_setting_beside_service_links_is_still_checked() -> None:
    links = service_links("R3MES", "10.0.0.9", "10.0.0.9")

    with pytest.raises(StartError) as refused:
        settings.refuse_unknown({**links, "R3MES_SERVER_PORT": "1"})
    expected = "R3MES_SERVER_PORT is not a setting of R3MES. Did you mean R3MES_SERVER__PORT?"
    assert expected == str(refused.value)


def test_every_setting_has_a_documented_line() -> None:
    assert [] == [name for name, field in settings.variables() if not field.description]


def test_every_setting_is_in_the_generated_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()

    assert [] == [name for name, _ in settings.variables() if f"`{name}`" not in page]
