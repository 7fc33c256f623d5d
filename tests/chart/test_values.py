"""values.yaml and its schema, read without Helm."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from chart import OWNED
from r3mes import __version__
from r3mes.settings import Section, Settings
from support.chart import CHART, DEFAULTS, LEAVES, with_value

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
FITS = jsonschema_rs.validator_for(SCHEMA)


def test_the_default_values_fit_their_own_schema() -> None:
    assert [] == [error.message for error in FITS.iter_errors(DEFAULTS)]


def test_every_value_has_a_meaning() -> None:
    assert len(LEAVES) > 70
    assert [] == [path for path, value in LEAVES.items() if not value.meaning.endswith(".")]


def groups(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if "properties" in schema:
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from groups(inner, f"{path}{name}.")


def test_no_group_of_values_takes_an_unknown_key() -> None:
    every = [*groups(SCHEMA)]
    for name, definition in SCHEMA["$defs"].items():
        every += groups(definition, f"{name}:")

    assert {"", "ingress.", "config:server.", "model:gpu.", "host:"} <= {path for path, _ in every}
    assert [] == [path for path, group in every if group["additionalProperties"] is not False]


@pytest.mark.parametrize(
    "path",
    [
        "imagee",
        "nameOverride",
        "ingress.enable",
        "modelDefaults.gpu.counts",
        "config.engine.max_bach",
        "config.x",
    ],
)
def test_an_unknown_value_is_refused(path: str) -> None:
    assert FITS.is_valid(DEFAULTS)
    assert not FITS.is_valid(with_value(path, "1"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("models", []),
        ("models", [{"replicas": 1}]),
        ("models", [{"name": "Upper"}]),
        ("models", [{"name": "a", "replica": 1}]),
        ("models", [{"name": "a", "gpu": {"count": -1}}]),
        ("models", [{"name": "a", "config": {"engine": {"max_batch": 0}}}]),
        ("modelDefaults.replicas", "two"),
        ("image.pullPolicy", "Sometimes"),
        ("image.digest", "latest"),
        ("config.drain.timeout_s", -1),
        ("podDisruptionBudget.maxUnavailable", "half"),
        ("podDisruptionBudget.maxUnavailable", "0%"),
        ("ingress.paths", []),
        ("httpRoute.timeout", "never"),
        ("service.annotations", {"a": True}),
        ("ingress.hosts", [{"host": "a.example.org/v1"}]),
        ("httpRoute.hosts", [{"host": "a.example.org:443"}]),
        ("modelDefaults.cache.size", "..."),
        ("modelDefaults.shmSize", "1.2.3Gi"),
        ("modelDefaults.chatTemplate.key", "a/b"),
        ("config.telemetry.otlp_endpoint", "collector:4318"),
    ],
)
def test_a_value_out_of_its_bounds_is_refused(path: str, value: object) -> None:
    assert not FITS.is_valid(with_value(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("models", [{"name": "a", "source": {"hub": {"id": "org/name", "revision": "main"}}}]),
        ("models", [{"name": "a", "gpu": {"count": 1}, "config": {"model": {"max_len": None}}}]),
        ("models", [{"name": "a", "replicas": None}]),
        ("modelDefaults.shutdown.gracePeriodSeconds", 300),
        ("podDisruptionBudget.maxUnavailable", "25%"),
        ("config.limits.overload_status", 429),
        ("config.telemetry.otlp_endpoint", "http://$(NODE):4318"),
        ("config.telemetry.otlp_endpoint", None),
        ("ingress.hosts", [{"host": "*.example.org"}, {"host": ""}, {"host": "a.x"}]),
        ("modelDefaults.cache.size", "1.5Ti"),
        ("modelDefaults.shmSize", ""),
        ("global", {"whatever": "a chart around this one says"}),
    ],
)
def test_a_value_within_its_bounds_is_taken(path: str, value: object) -> None:
    assert [] == [error.message for error in FITS.iter_errors(with_value(path, value))]


def test_a_models_entry_may_set_whatever_has_a_default() -> None:
    own = set(SCHEMA["$defs"]["model"]["properties"]) - {"name"}

    assert set(DEFAULTS["modelDefaults"]) == own


def test_the_examples_of_the_readme_fit() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    assert examples != []
    for example in examples:
        assert [] == [error.message for error in FITS.iter_errors(yaml.safe_load(example))]


def test_the_config_of_the_schema_is_the_settings() -> None:
    branch = SCHEMA["$defs"]["config"]["properties"]

    assert set(Settings.model_fields) == set(branch)
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            assert set(kind.model_fields) == set(branch[name]["properties"])


def test_what_the_chart_decides_itself_is_a_setting() -> None:
    for path in OWNED:
        section, _, name = path.rpartition(".")
        fields = Settings.model_fields
        if section:
            kind: Any = fields[section].annotation
            fields = kind.model_fields
        assert name in fields


def test_the_default_config_is_that_of_the_settings() -> None:
    chosen = Settings(**DEFAULTS["config"])  # also: it parses

    assert Settings() == chosen


def test_the_chart_has_the_version_of_the_package() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (__version__, __version__) == (about["version"], str(about["appVersion"]))


ROOTS = {
    r"\.Values": "",
    r"\$model": "modelDefaults.",
    r"\.model(?=\.[a-z])": "modelDefaults.",
    r"\$policy": "networkPolicy.",
    r"\$monitor": "serviceMonitor.",
    r"\$way": "ingress.",
}


def read_by(template: Path) -> Iterator[str]:
    """Paths of the values that a template names."""
    text = re.sub(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", "", template.read_text(), flags=re.DOTALL)
    for root, prefix in ROOTS.items():
        for path in re.findall(rf"(?<![\w.]){root}((?:\.[A-Za-z]+)+)", text):
            yield prefix + path.removeprefix(".")


def declared(path: str) -> bool:
    inner = DEFAULTS
    for key in path.split("."):
        if not isinstance(inner, dict) or key not in inner:
            return False
        inner = inner[key]
    return True


def test_every_value_that_a_template_reads_is_declared() -> None:
    templates = sorted((CHART / "templates").rglob("*.*"))
    named = {path for template in templates for path in read_by(template)}

    assert len(named) > 60
    assert {"modelDefaults.name"} == {path for path in named if not declared(path)}
