"""What follows from the chart's values.yaml and the Settings: the schema, the table, the manifests.

A value is documented by the comment above it: `# -- meaning`, and `# @ {…}` for what the schema
cannot tell from the default. Knows nothing of templates.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from r3mes.settings import Settings

CHART = Path(__file__).parents[1] / "charts" / "r3mes"
OLDEST = "1.29.0"  # of Chart.yaml; the plain manifests run from there on
TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- /values -->)", re.DOTALL)
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
OWNED = ("api_keys", "api_keys_file", "termination_log", "model.source", "model.revision")
OWNED += ("server.port",)
ADDRESS = {
    "enum": ["0.0.0.0", "::"],  # noqa: S104 - of a pod, around which policies stand
    "description": "`::` where pods have IPv6 addresses alone.",
}
HOST = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "host": {
            "type": "string",
            "pattern": r"^((\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$",
            "description": "A name, without scheme, port or path.",
        },
        "model": {"type": "string"},
    },
}
NAME = {
    "type": "string",
    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    "maxLength": 57,
    "description": "Name of the model in the cluster's objects.",
}


@dataclass(frozen=True)
class Value:
    """A documented value, or a group of values when `inner` is there."""

    key: str
    default: Any
    meaning: str
    extra: dict[str, Any]
    inner: tuple["Value", ...] | None


def read_values(text: str) -> tuple[Value, ...]:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return tuple(read_mapping(root, text.splitlines(), yaml.safe_load(text)))


def read_mapping(node: Any, lines: list[str], defaults: Any) -> Iterator[Value]:
    for key, value in node.value:
        meaning, extra = comment_above(lines, key.start_mark.line)
        default = defaults[key.value]
        inner = None if meaning else tuple(read_mapping(value, lines, default))
        yield Value(key.value, default, meaning, extra, inner)


def comment_above(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    meaning, extra = "", {}
    while line and (text := lines[line - 1].strip()).startswith("#"):
        line -= 1
        text = text.removeprefix("#").strip()
        if text.startswith("--"):
            meaning = text.removeprefix("--").strip()
        elif text.startswith("@"):
            extra = yaml.safe_load(text.removeprefix("@"))
    return meaning, extra


# The schema.


def schema() -> str:
    values = read_values((CHART / "values.yaml").read_text())
    defaults = next(value for value in values if value.key == "modelDefaults")
    model = closed(defaults.inner or (), with_defaults=False)
    model["properties"] = {"name": NAME, **model["properties"]}
    whole = closed(values)
    whole["properties"]["global"] = {"type": "object", "description": "Of a chart around this one."}
    made = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Made by `make docs` from values.yaml and service/r3mes/settings.py.",
        "title": "Values of R3MES",
        **whole,
        "$defs": {"config": config(), "model": {**model, "required": ["name"]}, "host": HOST},
    }
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def closed(values: tuple[Value, ...], *, with_defaults: bool = True) -> dict[str, Any]:
    properties = {value.key: of_value(value, with_defaults=with_defaults) for value in values}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def of_value(value: Value, *, with_defaults: bool) -> dict[str, Any]:
    if value.inner is not None:
        return closed(value.inner, with_defaults=with_defaults)
    if "$ref" in value.extra:
        return value.extra
    made = {**type_of(value.default), **value.extra, "description": value.meaning}
    if with_defaults:
        made["default"] = value.default
    return made


def type_of(default: Any) -> dict[str, Any]:
    if default is None:
        return {}
    if isinstance(default, dict | list):
        return {"type": "object" if isinstance(default, dict) else "array"}
    return {"type": TYPES[type(default)]}


def config() -> dict[str, Any]:
    """The Settings; what the chart owns may stand here so that a template can say what to use."""
    made = Settings.model_json_schema()
    sections = made.pop("$defs")
    made["description"] = "Settings, as docs/configuration.md lists them."
    for name, field in made["properties"].items():
        if "$ref" in field:
            made["properties"][name] = sections[field["$ref"].rpartition("/")[2]]
    for path in OWNED:
        section, _, name = path.rpartition(".")
        inside = made["properties"][section] if section else made
        inside["properties"][name] = {"description": "Set by the chart: refused here."}
    made["properties"]["server"]["properties"]["host"] = ADDRESS
    return tidy(made)


def tidy(made: Any) -> Any:
    """Without what pydantic adds for other readers: titles, and formats that refuse nothing."""
    if isinstance(made, dict):
        drop = {"title", "format", "writeOnly"}
        return {
            key: {name: tidy(inner) for name, inner in value.items()}
            if key == "properties"
            else tidy(value)
            for key, value in made.items()
            if key not in drop
        }
    return [tidy(item) for item in made] if isinstance(made, list) else made


# The table.


def readme() -> str:
    values = read_values((CHART / "values.yaml").read_text())
    rows = "".join(f"{row}\n" for row in table(values))
    return TABLE.sub(lambda _: rows, (CHART / "README.md").read_text())


def table(values: tuple[Value, ...]) -> Iterator[str]:
    yield "| value | default | meaning |"
    yield "|---|---|---|"
    yield from rows(values)


def rows(values: tuple[Value, ...], *, path: str = "") -> Iterator[str]:
    for value in values:
        here = f"{path}{value.key}"
        if value.inner is not None:
            yield from rows(value.inner, path=f"{here}.")
        else:
            default = json.dumps(value.default, ensure_ascii=False)
            yield f"| `{here}` | `{default}` | {value.meaning} |"


# The manifests.

HELM_ONLY = re.compile(r"^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", re.MULTILINE)
HEAD = """\
# Made by `make docs` from charts/r3mes with its default values; do not edit.
# For clusters without Helm: kubectl apply -f k8s/r3mes.yaml
"""


def manifests(helm: str) -> str:
    """The chart's defaults for people without Helm."""
    done = subprocess.run(  # noqa: S603 - the helm that was found
        [helm, "template", "r3mes", CHART, "--kube-version", OLDEST, "--skip-tests"],
        capture_output=True,
        text=True,
        check=True,
    )
    plain = HELM_ONLY.sub("", done.stdout)
    plain = re.sub(r"^# Source: .*\n", "", plain, flags=re.MULTILINE)
    documents = [part.strip("\n") for part in re.split(r"^---$", plain, flags=re.MULTILINE)]
    return HEAD + "".join(f"---\n{document}\n" for document in documents if document.strip())
