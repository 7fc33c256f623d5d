"""`r3mes bench` against a real server."""

import json
from pathlib import Path

import pytest

from support.command_line import r3mes
from support.replica import Replica

QUICK = ("--requests", "4", "--prompt-tokens", "80", "--output-tokens", "8")


def test_each_level_is_measured_and_written_as_json(fake_replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    done = r3mes(
        "bench", "--url", fake_replica.url, "--concurrency", "1,2", *QUICK, "--json", str(file)
    )
    levels = json.loads(file.read_text())["levels"]

    assert (0, "") == (done.returncode, done.stderr)
    assert ["1 at a time", "2 at a time"] == [level["load"] for level in levels]
    assert [(4, {}, 8)] * 2 == [
        (level["requests"], level["errors"], level["output_tokens"]) for level in levels
    ]
    assert all(0 < level["first_token"]["p50"] <= level["whole"]["p50"] for level in levels)
    assert "2 at a time" in done.stdout


def test_prompts_have_the_wanted_length_by_the_servers_own_count(
    fake_replica: Replica, tmp_path: Path
) -> None:
    file = tmp_path / "bench.json"
    r3mes("bench", "--url", fake_replica.url, "--concurrency", "1", *QUICK, "--json", str(file))

    assert 80 == pytest.approx(json.loads(file.read_text())["levels"][0]["prompt_tokens"], rel=0.2)


def test_the_servers_counters_equal_the_clients(fake_replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    before = fake_replica.metric("r3mes_tokens_total", kind="generated")
    r3mes("bench", "--url", fake_replica.url, "--concurrency", "2", *QUICK, "--json", str(file))
    generated = fake_replica.metric("r3mes_tokens_total", kind="generated") - before

    probes = 2  # one token each, to learn how long a word is
    assert 4 * 8 + probes == generated


def test_requests_at_a_rate_on_the_other_endpoint(fake_replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    load = ("--rate", "50", "--endpoint", "completions")
    done = r3mes("bench", "--url", fake_replica.url, *load, *QUICK, "--json", str(file))

    assert 0 == done.returncode
    assert ["50 requests/s"] == [one["load"] for one in json.loads(file.read_text())["levels"]]


def test_a_picture_is_drawn(fake_replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "bench.png"
    r3mes("bench", "--url", fake_replica.url, "--concurrency", "1", *QUICK, "--plot", str(file))

    assert file.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_model_is_one_sentence(fake_replica: Replica) -> None:
    done = r3mes("bench", "--url", fake_replica.url, "--model", "nobody")

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith("r3mes: The first request failed: 404: ")
    assert "nobody" in done.stderr


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    done = r3mes("bench", "--url", "http://127.0.0.1:1")

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith("r3mes: No server answers at http://127.0.0.1:1.")


def test_levels_that_are_no_numbers_are_one_sentence() -> None:
    done = r3mes("bench", "--concurrency", "many")

    assert (2, "r3mes: --concurrency takes numbers like 1,4,16, not 'many'.\n") == (
        done.returncode,
        done.stderr,
    )
