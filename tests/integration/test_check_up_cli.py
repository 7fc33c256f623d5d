"""`r3mes check-up` against a real server."""

from collections.abc import Callable

from support.command_line import r3mes
from support.replica import Replica

CHECKS = ["ready", "chat", "stream", "trace header", "metrics"]


def results(printed: str) -> dict[str, str]:
    """Of each check its result, read from the table."""
    lines = [line for line in printed.splitlines() if " passed " in line or " FAILED " in line]
    return {
        line.partition(word)[0].strip(): word
        for line in lines
        for word in ("passed", "FAILED")
        if f" {word} " in line
    }


def test_a_server_that_works_passes_every_check(fake_replica: Replica) -> None:
    done = r3mes("check-up", "--url", fake_replica.url)

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert dict.fromkeys(CHECKS, "passed") == results(done.stdout)


def test_it_waits_for_a_server_that_still_starts(start_replica: Callable[..., Replica]) -> None:
    starting = start_replica()

    done = r3mes("check-up", "--url", starting.url)

    assert 0 == done.returncode, done.stdout


def test_a_server_that_is_not_there_fails_the_first_check_and_ends_it() -> None:
    done = r3mes("check-up", "--url", "http://127.0.0.1:1", "--wait", "0")

    assert (1, {"ready": "FAILED"}) == (done.returncode, results(done.stdout))
    assert "No server answers at http://127.0.0.1:1." in done.stdout


def test_without_the_key_the_report_says_what_is_missing(guarded_replica: Replica) -> None:
    done = r3mes("check-up", "--url", guarded_replica.url)

    assert 1 == done.returncode
    expected = {"ready": "passed", "metrics": "passed"}
    assert dict.fromkeys(CHECKS, "FAILED") | expected == results(done.stdout)
    assert "401: Give a valid API key" in done.stdout


def test_the_key_comes_from_the_environment_that_other_clients_use(
    start_replica: Callable[..., Replica],
) -> None:
    guarded = start_replica({"engine.runner": "fake", "api_keys": "sk-one"}).wait_ready()

    done = r3mes("check-up", "--url", guarded.url, variables={"OPENAI_API_KEY": "sk-one"})

    assert 0 == done.returncode, done.stdout
