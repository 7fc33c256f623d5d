"""`r3mes chat` against a real server, in a terminal and through a pipe."""

from collections.abc import Callable

import pytest

from support.command_line import r3mes
from support.replica import Replica, wait_for
from support.terminal import CTRL_C, CTRL_D, terminal

SHORT = ("--max-tokens", "8")


@pytest.fixture
def slow_replica(start_replica: Callable[..., Replica]) -> Replica:
    """Thinks long enough to be interrupted."""
    return start_replica({"engine.runner": "fake", "engine.fake_step_ms": 20}).wait_ready()


def test_through_a_pipe_each_line_is_answered_in_turn(fake_replica: Replica) -> None:
    done = r3mes("chat", "--url", fake_replica.url, *SHORT, typed="Hello\nAgain\n")

    assert (0, "") == (done.returncode, done.stderr)
    assert 2 * 8 + len("\n\n") == len(done.stdout)  # the fake's tokens are characters


def test_an_address_is_understood_as_other_clients_want_it(fake_replica: Replica) -> None:
    bare = f"{fake_replica.url.removeprefix('http://')}/v1"

    assert "" == r3mes("chat", "--url", bare, *SHORT, typed="Hello\n").stderr


def test_what_is_no_address_is_one_sentence() -> None:
    done = r3mes("chat", "--url", "ftp://here", typed="Hello\n")

    expected = "r3mes: 'ftp://here' is not an address like http://127.0.0.1:8000.\n"
    assert (1, expected) == (done.returncode, done.stderr)


def test_a_conversation_is_remembered_until_reset(fake_replica: Replica) -> None:
    def prompts(*lines: str) -> float:
        before = fake_replica.metric("r3mes_tokens_total", kind="prompt")
        r3mes("chat", "--url", fake_replica.url, *SHORT, typed="\n".join([*lines, ""]))
        return fake_replica.metric("r3mes_tokens_total", kind="prompt") - before

    alone = prompts("Hello")

    assert prompts("Hello", "Hello") > 2 * alone
    assert prompts("Hello", "/reset", "Hello") == 2 * alone


def test_a_system_prompt_goes_first(fake_replica: Replica) -> None:
    before = fake_replica.metric("r3mes_tokens_total", kind="prompt")
    r3mes("chat", "--url", fake_replica.url, "--system", "x" * 500, *SHORT, typed="Hello\n")

    assert fake_replica.metric("r3mes_tokens_total", kind="prompt") - before > 500


def test_a_failure_is_one_sentence_and_the_exit_status_of_a_pipe(fake_replica: Replica) -> None:
    done = r3mes("chat", "--url", fake_replica.url, "--model", "nobody", typed="Hello\n")

    assert (1, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert done.stderr.startswith("r3mes: 404: ")


def test_a_conversation_that_is_too_long_says_how_to_go_on(fake_replica: Replica) -> None:
    done = r3mes("chat", "--url", fake_replica.url, typed=f"{'x' * 5000}\n/reset\nHello\n")

    assert "maximum context length" in done.stderr
    assert done.stderr.endswith("r3mes: /reset forgets the conversation.\n")
    assert len(done.stdout) > 100


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    done = r3mes("chat", "--url", "http://127.0.0.1:1", typed="Hello\n")

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert done.stderr.startswith("r3mes: No server answers at http://127.0.0.1:1.")


def test_the_key_comes_from_the_environment_that_other_clients_use(
    start_replica: Callable[..., Replica],
) -> None:
    guarded = start_replica({"engine.runner": "fake", "api_keys": "sk-one"}).wait_ready()

    def said(**variables: str) -> str:
        done = r3mes("chat", "--url", guarded.url, *SHORT, typed="Hi\n", variables=variables)
        return done.stderr

    assert "" == said(OPENAI_API_KEY="sk-one")
    assert "--api-key or OPENAI_API_KEY" in said()


def test_ctrl_c_stops_the_answer_only_and_at_the_prompt_it_leaves(slow_replica: Replica) -> None:
    with terminal("chat", "--url", slow_replica.url) as user:
        user.wait_for_prompt()
        user.type("Tell me a long story\n")
        wait_for(lambda: slow_replica.metric("r3mes_requests_running") == 1, "an answer to begin")
        user.type(CTRL_C)
        user.wait_for_prompt()
        wait_for(lambda: slow_replica.metric("r3mes_requests_running") == 0, "the place to be free")
        user.type("/help\n")
        user.wait_for("forget the conversation")
        user.wait_for_prompt()
        user.type(CTRL_C)

        assert 0 == user.wait_end()


def test_ctrl_d_and_quit_leave(fake_replica: Replica) -> None:
    for typed in (CTRL_D, "/quit\n"):
        with terminal("chat", "--url", fake_replica.url) as user:
            user.wait_for_prompt()
            user.type(typed)

            assert 0 == user.wait_end()


def test_an_unknown_command_is_not_sent_to_the_model(fake_replica: Replica) -> None:
    done = r3mes("chat", "--url", fake_replica.url, typed="/exit now\n")

    assert done.stdout.startswith("/exit is not a command. /reset")
