"""The README's commands, run as they stand; only address and folder are put in."""

import re
import subprocess
import sys
from pathlib import Path

from support.command_line import clean_environment
from support.replica import Replica

README = (Path(__file__).parents[2] / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str, *, containing: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return [block for block in found if containing in block]


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=clean_environment({}), capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_the_curl_line_gets_an_answer(tiny_replica: Replica, tmp_path: Path) -> None:
    [command] = blocks("sh", containing="curl")

    answer = run("sh", "-c", command.replace(ADDRESS, tiny_replica.url), folder=tmp_path)

    assert '"role":"assistant"' in answer.replace(" ", "")


def test_the_openai_clients_example_gets_an_answer(tiny_replica: Replica, tmp_path: Path) -> None:
    [program] = blocks("python", containing="OpenAI")

    said = run(sys.executable, "-c", program.replace(ADDRESS, tiny_replica.url), folder=tmp_path)

    assert len(said.split()) > 3


def test_the_bench_example_writes_what_it_says(fake_replica: Replica, tmp_path: Path) -> None:
    [command] = blocks("sh", containing="r3mes bench")
    ours = command.replace(".venv/bin/r3mes bench", f"{sys.executable} -m r3mes bench --requests 2")

    run("sh", "-c", f"{ours.strip()} --url {fake_replica.url}", folder=tmp_path)

    assert {"bench.json", "bench.png"} == {file.name for file in tmp_path.iterdir()}


def test_every_make_target_that_the_pages_name_exists() -> None:
    root = Path(__file__).parents[2]
    makefile = (root / "Makefile").read_text()
    pages = README + (root / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"make ([a-z0-9]+(?:-[a-z0-9]+)*)", pages)) - {"them", "a"}

    assert named <= set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))


def test_every_link_to_a_page_leads_somewhere() -> None:
    root = Path(__file__).parents[2]
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page}: {link}"
