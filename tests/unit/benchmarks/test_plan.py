from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks import compare, engine
from benchmarks.compare import Contest
from benchmarks.plan import COURSES, QUICK, WEIGHT, Course, Requests
from benchmarks.servers import Missing, Server, fastapi_generate, ours
from r3mes.bench.prompts import WORDS

RANDOM = Course("qwen3-0.6b", 3, (16,), prompt=(16, 128), output=(8, 64))


def server(name: str = "peer", **about: float) -> Server:
    return Server(name, version="1", command=(), ready="/", **about)  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tokenizer that has a token for each word of the prompts, and weights of half a gigabyte."""
    words = {word: number for number, word in enumerate(sorted(set(WORDS)))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=WORDS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with (tmp_path / "model.safetensors").open("wb") as weights:
        weights.truncate(538_000_000)
    return tmp_path


def lengths(requests: Requests, wanted: int) -> list[tuple[int, int]]:
    taken = requests.take(RANDOM.level(wanted))
    return [(len(requests.ids(one.prompt)), one.output_tokens) for one in taken]


def test_every_server_of_a_round_gets_the_same_texts_and_lengths(model: Path) -> None:
    mine, peers = (Requests(model, RANDOM, number=1) for _ in range(2))
    mine.take(RANDOM.warm())  # whatever one was asked before
    mine.take(RANDOM.level(64))

    assert peers.take(RANDOM.level(16)) == mine.take(RANDOM.level(16))


def test_a_slow_server_gets_the_first_of_the_requests(model: Path) -> None:
    requests = Requests(model, RANDOM, number=0)

    first = requests.take(RANDOM.level(16, slower=3))

    assert 16 == len(first)
    assert first == requests.take(RANDOM.level(16))[:16]


def test_lengths_are_drawn_for_each_request_and_within_the_bounds(model: Path) -> None:
    drawn = lengths(Requests(model, RANDOM, number=0), 16)

    assert len(set(drawn)) > 10
    assert all(16 <= prompt <= 128 and 8 <= output <= 64 for prompt, output in drawn)


def test_rounds_differ(model: Path) -> None:
    first, second = (lengths(Requests(model, RANDOM, number=n), 16) for n in (0, 1))

    assert first != second


def contests(courses: tuple[Course, ...], model: Path) -> list[Contest]:
    """As if every peer were found."""
    made = []
    for course in courses:
        streams = max(course.levels)
        with (model / "model.safetensors").open("wb") as weights:
            weights.truncate(int(538_000_000 * WEIGHT[course.size]))
        servers = [
            ours(model, threads=2, most=course.highest or streams),
            server("llama-server", most=streams, start_s=2, bursts=True),
        ]
        if course.all_servers:
            servers += [
                ours(model, threads=2, weights="int8"),
                server("llama-server q8_0", most=16, slower=0.8),
                server("vLLM", most=streams, start_s=150, bursts=True),
                server("transformers serve", most=16, slower=2.5, start_s=12),
                fastapi_generate(model, threads=2),
            ]
        if not course.patient:
            found = (compare.without_patience(it, streams) for it in servers)
            servers = [it for it in found if isinstance(it, Server)]
        made.append(Contest(course, model, servers, [], in_process=course.all_servers))
    return made


def test_the_whole_is_planned_to_take_less_than_forty_minutes(model: Path) -> None:
    planned = engine.planned_s(engine.ROUNDS) + compare.planned_s(contests(COURSES, model))

    assert 20 < planned / 60 < 36


def test_the_quick_one_is_planned_to_take_less_than_six_minutes(model: Path) -> None:
    planned = engine.planned_s(1) + compare.planned_s(contests(QUICK, model))

    assert 3 < planned / 60 < 5.7


def test_the_highest_level_is_for_us_alone_and_for_one_round() -> None:
    course = Course("135m", 3, (1, 16), highest=256)
    mine, peer = server(most=256), server(most=16)

    assert [1, 16, 256] == [cell.streams for cell in course.levels_of(mine, 0)]
    assert [1, 16] == [cell.streams for cell in course.levels_of(mine, 1)]
    assert [1, 16] == [cell.streams for cell in course.levels_of(peer, 0)]


def test_a_start_that_takes_minutes_is_planned_once() -> None:
    course = Course("135m", 3, (1,))
    slow, quick = server(start_s=150), server(start_s=5)

    assert 145 == course.turn_s(slow, 0) - course.turn_s(quick, 0)
    assert 5 == course.turn_s(quick, 1) - course.turn_s(slow, 1)


def test_who_has_no_patience_hears_why_a_server_is_missing() -> None:
    quick = server()

    slow = compare.without_patience(server("vLLM", start_s=150), 16)
    narrow = compare.without_patience(server("FastAPI + generate", most=1), 16)

    assert isinstance(slow, Missing)
    assert "150 s to start" in slow.reason
    assert isinstance(narrow, Missing)
    assert "no more than 1 at a time" in narrow.reason
    assert quick is compare.without_patience(quick, 16)
    assert Missing("a", "b") == compare.without_patience(Missing("a", "b"), 16)


def test_a_peer_that_is_not_there_is_told_of(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLAMA_SERVER", "/nowhere/llama-server")

    found, missing = compare.find_servers(model, Course("135m", 1, (16,)))

    assert ["R3MES"] == [it.name for it in found]
    assert ["llama-server"] == [it.name for it in missing]
    assert "llama-server is left out: no such program" in capfd.readouterr().err
