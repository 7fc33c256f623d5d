"""The chart as Helm renders it: objects for values, and the words of a refusal."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart import Value, read_values
from helm import MISSING, find_helm

CHART = Path(__file__).parents[2] / "charts" / "r3mes"
KUBE = "1.34.0"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, where PyYAML has it
KEYED = {"auth": {"existingSecret": "keys"}}
VALUES = (CHART / "values.yaml").read_text()
DEFAULTS = yaml.safe_load(VALUES)
Values = Mapping[str, Any]
Thing = dict[str, Any]  # an object of Kubernetes


def leaves(values: tuple[Value, ...], path: str = "") -> Iterator[tuple[str, Value]]:
    for value in values:
        if value.inner is None:
            yield path + value.key, value
        else:
            yield from leaves(value.inner, f"{path}{value.key}.")


LEAVES = dict(leaves(read_values(VALUES)))


def with_value(path: str, value: object, *, into: Values = DEFAULTS) -> dict[str, Any]:
    """A copy of the values in which the one at the dotted path is another."""
    changed = dict(deepcopy(into))
    *parents, last = path.split(".")
    inner = changed
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return changed


class Chart:
    """`helm template` of one version of Helm."""

    def __init__(self, program: str) -> None:
        self.program = program

    def render(self, values: Values | None = None, **options: str) -> list[Thing]:
        """Every object, in Helm's order. Options: release, kube, folder."""
        done = self._template(values or {}, **options)
        assert 0 == done.returncode, done.stderr
        return deepcopy(read(done.stdout))  # a test may change what it got

    def refusal(self, values: Values, **options: str) -> str:
        done = self._template(values, **options)
        assert 0 != done.returncode, "it rendered"
        return done.stderr

    def _template(
        self, values: Values, *, release: str = "r3mes", kube: str = KUBE, folder: str = str(CHART)
    ) -> "subprocess.CompletedProcess[str]":
        return template(self.program, release, folder, kube, yaml.safe_dump(dict(values)))


@cache
def template(
    program: str, release: str, folder: str, kube: str, values: str
) -> "subprocess.CompletedProcess[str]":
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        return subprocess.run(
            [program, "template", release, folder, "--kube-version", kube, "--values", file.name],
            capture_output=True,
            text=True,
            check=False,
        )


@cache
def read(text: str) -> list[Thing]:
    return [thing for thing in yaml.load_all(text, Loader=LOADER) if thing]


def chart_of(name: str) -> Chart:
    """Skips the test, and says why, where that Helm is missing."""
    program = find_helm(name)
    if program is None:
        pytest.skip(f"{name}: {MISSING}")
    return Chart(program)


def of_kind(things: list[Thing], kind: str) -> list[Thing]:
    return [thing for thing in things if thing["kind"] == kind]


def only(things: list[Thing], kind: str) -> Thing:
    [thing] = of_kind(things, kind)
    return thing


def pod_of(things: list[Thing]) -> Thing:
    """The pod template of the only Deployment."""
    template: Thing = only(things, "Deployment")["spec"]["template"]
    return template


def container_of(things: list[Thing]) -> Thing:
    [container] = pod_of(things)["spec"]["containers"]
    return container  # type: ignore[no-any-return]


def environment_of(things: list[Thing]) -> dict[str, str]:
    """The plain variables of the only replica."""
    env = container_of(things)["env"]
    return {entry["name"]: entry["value"] for entry in env if "value" in entry}


def named(thing: Thing) -> str:
    return str(thing["metadata"]["name"])


def model(**values: Any) -> dict[str, Any]:
    """One model with these values."""
    return {"models": [{"name": "m", **values}]}
