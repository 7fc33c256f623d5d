"""Rules of the code that no tool in the lint has."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
EMPTY_NAMES = re.compile(
    r"(^|_)(utils?|helpers?|common|misc)(_|$)|(Manager|Handler|Helper|Utils?)$"
)


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [ROOT / name for name in listed.stdout.split()]
    if not found:  # an unpacked archive has no git
        found = [path for pattern in patterns for path in ROOT.glob(pattern.replace("*", "**/*"))]
    return [path for path in found if path.is_file()]


def definitions(
    path: Path,
) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    assert [] == [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in tracked("service/*.py", "tests/*.py", "docs/*.py", "requirements/*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    ]


def test_no_function_is_longer_than_a_screen() -> None:
    assert [] == [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}"
        for path in tracked("service/*.py")
        for node in definitions(path)
        if not isinstance(node, ast.ClassDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]


def test_things_are_named_by_what_they_are() -> None:
    named = [(path, path.stem) for path in tracked("service/*.py")]
    named += [
        (path, node.name)
        for path in tracked("service/*.py")
        for node in definitions(path)
        if isinstance(node, ast.ClassDef)
    ]

    assert [] == [
        f"{path.relative_to(ROOT)}: {name}" for path, name in named if EMPTY_NAMES.search(name)
    ]


def test_every_module_says_what_it_owns() -> None:
    assert [] == [
        str(path.relative_to(ROOT))
        for path in tracked("service/*.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]


def test_a_lock_names_versions_and_hashes_and_never_an_index() -> None:
    locks = tracked("requirements/*.txt")
    assert locks != []
    for lock in locks:
        text = lock.read_text()

        assert [] == re.findall(r"https?://\S+|--(?:extra-)?index-url\b|--find-links\b", text)
        pinned = re.findall(r"^[\w.-]+==\S+.*\n {4}--hash=sha256:", text, re.MULTILINE)
        assert re.findall(r"^[\w.-]+.*", text, re.MULTILINE) != []
        assert len(re.findall(r"^[\w.-]+", text, re.MULTILINE)) == len(pinned)
