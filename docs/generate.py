"""Writes the files that follow from the code: every setting, every error, the chart's values.

`--check` writes nothing and fails when a page is not what the code says.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

import chart
import observability
from helm import MISSING, find_helm
from r3mes import errors, settings

DOCS = Path(__file__).parent
ROOT = DOCS.parent
MADE = "<!-- Made by `make docs` from {source}; do not edit. -->"


def configuration() -> Iterator[str]:
    yield MADE.format(source="service/r3mes/settings.py")
    yield "# Configuration"
    yield (
        "Every setting is an environment variable.\n"
        "`r3mes show-config` prints their values and where each came from.\n"
        "A flag of the command line wins over the variable, the variable over the default.\n"
        "An unknown `R3MES_` variable stops the start, and so does an empty one; "
        "those that Kubernetes makes of a Service named `r3mes` are passed over."
    )
    section = ""
    for name, field in settings.variables():
        this = name.removeprefix(settings.PREFIX).partition(settings.NESTING)[0]
        heading = this.lower() if settings.NESTING in name else "general"
        if heading != section:
            section = heading
            yield f"## {section}"
            yield "| variable | default | values | meaning |\n|---|---|---|---|"
        yield f"| `{name}` | {default(field)} | {values(field)} | {field.description} |"


def default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{str(field.default).lower()}`"


def values(field: FieldInfo) -> str:
    """The type in a user's words, with its bounds."""
    words = " or ".join(f"`{value}`" for value in choices(field.annotation))
    if not words:
        words = kind(field.annotation)
    bounds = [
        f"{sign} {bound:g}"
        for part in field.metadata
        for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if (bound := getattr(part, attribute, None)) is not None
    ]
    return ", ".join([words, *bounds])


def choices(annotation: Any) -> tuple[str, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def kind(annotation: Any) -> str:
    if get_origin(annotation) in (UnionType, Union):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    known = {int: "whole number", float: "number", bool: "`true` or `false`", SecretStr: "secret"}
    return known.get(annotation, "text")


def errors_page() -> Iterator[str]:
    yield MADE.format(source="service/r3mes/errors.py")
    yield "# Errors"
    yield (
        'Every failure is one JSON object: `{"error": {"message", "type", "param", "code"}}`.\n'
        "`param` is the dotted path of the field at fault, or null.\n"
        "In a stream that has begun it is an event, followed by `[DONE]`.\n"
        "Where a new try may help, the answer carries `Retry-After` in seconds.\n"
        "`server_overloaded` is a 429 where `R3MES_LIMITS__OVERLOAD_STATUS` says so."
    )
    yield "| status | type | code | a new try may help |\n|---|---|---|---|"
    for error in sorted(of_the_wire(errors.R3mesError), key=lambda e: (e.status, e.code)):
        again = "yes" if error.retryable else "no"
        yield f"| {error.status} | `{error.type}` | `{error.code}` | {again} |"
    yield (
        "A 400 has a code of its own for what was wrong, such as `invalid_json`, `invalid_type`,\n"
        "`invalid_value`, `invalid_token_id` or `empty_prompt`."
    )


def of_the_wire(error: type[errors.R3mesError]) -> Iterator[type[errors.R3mesError]]:
    """The tree, without what never crosses HTTP."""
    for child in error.__subclasses__():
        if child not in (errors.StartError, errors.CallFailed):
            yield child
            yield from of_the_wire(child)


def page(parts: Iterator[str]) -> str:
    """Paragraphs parted by empty lines, rows of a table not."""
    text = ""
    for part in parts:
        row = part.startswith("|") and text.rstrip().endswith("|")
        text = f"{text.rstrip()}\n{part}\n" if row else f"{text}\n{part}\n"
    return text.lstrip()


def files() -> dict[Path, Callable[[], str]]:
    """How each file is made. Without helm the manifests stay as they are, and that is said."""
    made: dict[Path, Callable[[], str]] = {
        DOCS / "configuration.md": lambda: page(configuration()),
        DOCS / "errors.md": lambda: page(errors_page()),
        chart.CHART / "values.schema.json": chart.schema,
        chart.CHART / "README.md": chart.readme,
        **observability.files(),
    }
    helm = find_helm()
    if helm:
        made[ROOT / "k8s" / "r3mes.yaml"] = lambda: chart.manifests(helm)
    else:
        sys.stderr.write(f"k8s/r3mes.yaml was neither made nor checked: {MISSING}\n")
    return made


def main() -> None:
    stale = []
    for file, make in files().items():
        text = make()
        if file.exists() and file.read_text() == text:
            continue
        stale.append(str(file.relative_to(ROOT)))
        if "--check" not in sys.argv:
            file.write_text(text)
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(stale)}: not what the code says. Run `make docs`.")


if __name__ == "__main__":
    main()
