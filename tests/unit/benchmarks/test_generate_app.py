"""The peer that anybody would write: it streams, and says how much."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from fastapi.testclient import TestClient

import r3mes
from benchmarks.generate_app import make_app


def test_an_answer_comes_in_pieces_with_its_count() -> None:
    client = TestClient(make_app(str(Path(r3mes.__file__).parent / "tiny")))

    with client.stream(
        "POST", "/v1/completions", json={"prompt": "two words", "max_tokens": 5, "model": "m"}
    ) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]

    assert "[DONE]" == events.pop()
    chunks = [json.loads(event) for event in events]
    assert len(chunks) > 3
    assert 1 <= chunks[-1]["usage"]["completion_tokens"] <= 5
    assert "length" == chunks[-1]["choices"][0]["finish_reason"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_answer_that_fails_ends_and_the_next_one_comes() -> None:
    app = make_app(str(Path(r3mes.__file__).parent / "tiny"))
    client = TestClient(app, raise_server_exceptions=False)

    bad = client.post("/v1/completions", json={"prompt": "two words", "max_tokens": 0})
    good = client.post("/v1/completions", json={"prompt": "two words", "max_tokens": 2})

    assert "[DONE]" not in bad.text
    assert "[DONE]" in good.text
