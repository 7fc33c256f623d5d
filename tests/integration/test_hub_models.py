"""Models by hub id, through HF_ENDPOINT, against a stand-in hub on loopback.

The hub's library reads its environment once, so it runs in processes of their own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from support.hub import StandInHub, stand_in_hub
from support.models import make_checkpoint

ID = "someone/small"
GATED = "someone/gated"
OPEN = "sesame"
PROGRAM = """
import json, os, sys
from r3mes.engine.source import locate
from r3mes.errors import StartError
from r3mes.settings import ModelSettings
for line in sys.stdin:
    model, environ = json.loads(line)
    os.environ.update(environ)
    seen = []
    try:
        folder = locate(ModelSettings(**model), progress=lambda *p: seen.append(p))
        print(json.dumps({"folder": str(folder), "progress": seen}), flush=True)
    except StartError as error:
        print(json.dumps({"error": error.message}), flush=True)
"""


class Locator:
    """Asks a process that has its own environment, since the hub's library reads it only once."""

    def __init__(self, home: Path, endpoint: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "HF_HOME": str(home),
                "HF_ENDPOINT": endpoint,
                **environ,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=30)

    def ask(self, source: str = ID, *, environ: dict[str, str] | None = None, **more: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([{"source": source, **more}, environ or {}]), file=self.process.stdin)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_checkpoint(tmp_path_factory.mktemp("hub") / "small", "llama")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "consolidated.safetensors").write_bytes(b"never fetched either")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.safetensors").write_bytes(b"nor this")
    (folder / "modeling_own.py").write_text("raise SystemExit('never run')")
    return folder


@pytest.fixture(scope="module")
def shared_hub(checkpoint: Path) -> Iterator[StandInHub]:
    with stand_in_hub() as hub:
        hub.repositories = {ID: checkpoint, GATED: checkpoint}
        hub.gated = {GATED}
        yield hub


@pytest.fixture
def hub(shared_hub: StandInHub) -> StandInHub:
    shared_hub.token = shared_hub.failing = None
    shared_hub.asked.clear()
    return shared_hub


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def locator(shared_hub: StandInHub, home: Path) -> Iterator[Locator]:
    with Locator(home, shared_hub.url) as locator:
        yield locator


def test_a_hub_id_is_downloaded_once_without_pickles_or_code(
    hub: StandInHub, locator: Locator, checkpoint: Path, home: Path
) -> None:
    answer = locator.ask()

    found = {path.name for path in Path(answer["folder"]).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= found
    assert not found & {"pytorch_model.bin", "modeling_own.py", "consolidated.safetensors", "onnx"}
    weights = (checkpoint / "model.safetensors").read_bytes()
    assert weights == (Path(answer["folder"]) / "model.safetensors").read_bytes()
    assert [1.0, f"downloading {ID}: 100 %"] == answer["progress"][-1]

    hub.asked.clear()
    assert answer["folder"] == locator.ask()["folder"]
    assert not [path for path in hub.asked if "/resolve/" in path]
    with Locator(home, hub.url, HF_HUB_OFFLINE="1") as offline:
        assert answer["folder"] == offline.ask()["folder"]


@pytest.mark.parametrize("known", [True, False])
def test_an_id_that_the_hub_lacks_is_one_clear_line(
    hub: StandInHub, locator: Locator, known: bool
) -> None:
    hub.token = "t" if known else None  # the hub says 401 to strangers for what it lacks

    answer = locator.ask("nobody/nothing")

    expected = "nobody/nothing is neither a folder here nor a model on the hub"
    assert f"{expected} (a private one needs HF_TOKEN)" == answer["error"]


def test_a_revision_that_the_hub_lacks_is_named(hub: StandInHub, locator: Locator) -> None:
    assert f"{ID} has no revision v9 on the hub" == locator.ask(revision="v9")["error"]


def test_a_gated_model_asks_for_a_token_and_takes_it(hub: StandInHub, locator: Locator) -> None:
    hub.token = OPEN

    refused = locator.ask(GATED)["error"]
    assert f"{GATED} is gated: accept its terms on the hub and set HF_TOKEN" == refused
    assert "folder" in locator.ask(GATED, environ={"HF_TOKEN": OPEN})


def test_a_hub_that_cannot_be_reached_is_one_clear_line(tmp_path: Path) -> None:
    with Locator(tmp_path, "http://127.0.0.1:9") as locator:
        answer = locator.ask()

    assert f"{ID} is not in the local cache and the hub cannot be reached" == answer["error"]


def test_a_hub_that_fails_is_one_clear_line(hub: StandInHub, locator: Locator) -> None:
    hub.failing = 500

    assert "the hub answered 500 for someone/else" == locator.ask("someone/else")["error"]


@pytest.mark.parametrize("source", ["bundled", "{here}"])
def test_a_revision_of_what_is_not_on_the_hub_is_refused(
    hub: StandInHub, locator: Locator, checkpoint: Path, source: str
) -> None:
    source = source.format(here=checkpoint)

    answer = locator.ask(source, revision="v1")

    assert f"a revision is for a model of the hub, and {source} is here" == answer["error"]


def test_the_home_of_nobody_is_one_clear_line(hub: StandInHub, locator: Locator) -> None:
    answer = locator.ask("~nobody-at-all/model")

    assert "there is no folder ~nobody-at-all/model" == answer["error"]


def test_a_missing_folder_is_not_looked_for_on_the_hub(hub: StandInHub, locator: Locator) -> None:
    answer = locator.ask("./models/none")

    assert "there is no folder ./models/none" == answer["error"]
    assert [] == hub.asked
