"""Holds docs/troubleshooting.md to what is really told: each of its symptoms is made by a case.

A block of `text` below a symptom's heading quotes what is seen. `…` stands for what differs from
one time to the next; a line of it alone, for lines left out.
"""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
SYMPTOM = re.compile(r"^### (?P<heading>.+)\n(?P<text>(?:(?!^#).*\n)*)", re.MULTILINE)
BLOCK = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def symptoms() -> dict[str, list[str]]:
    """What is quoted below each heading."""
    found = SYMPTOM.finditer(PAGE.read_text())
    return {it["heading"]: list(BLOCK.findall(it["text"])) for it in found}


def assert_told(heading: str, said: str) -> None:
    """The page quotes what was said now."""
    plain = in_one_line(said)
    for block in symptoms()[heading]:
        for line in block.splitlines():
            words = [re.escape(in_one_line(part)) for part in line.split("…")]
            assert re.search(".*?".join(words), plain), f"{line!r} was not said:\n{said}"


def in_one_line(text: str) -> str:
    return " ".join(text.split())
