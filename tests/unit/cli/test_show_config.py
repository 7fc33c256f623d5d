import json

from typer.testing import CliRunner

from r3mes.cli.app import app


def run(*arguments: str, **variables: str) -> str:
    done = CliRunner(env=variables).invoke(app, ["show-config", *arguments])
    assert 0 == done.exit_code, done.exception
    return done.stdout


def shown(*arguments: str, **variables: str) -> dict[str, tuple[object, str]]:
    said = run("--json", *arguments, **variables)
    return {entry["variable"]: (entry["value"], entry["source"]) for entry in json.loads(said)}


def test_a_setting_that_nobody_gave_shows_its_default() -> None:
    assert (8000, "default") == shown()["R3MES_SERVER__PORT"]


def test_a_variable_is_shown_as_coming_from_the_environment() -> None:
    assert (9000, "env") == shown(R3MES_SERVER__PORT="9000")["R3MES_SERVER__PORT"]


def test_a_flag_wins_over_the_variable_and_is_shown_as_a_flag() -> None:
    seen = shown("--port", "9001", R3MES_SERVER__PORT="9000")

    assert (9001, "flag") == seen["R3MES_SERVER__PORT"]


def test_a_flag_leaves_the_other_settings_of_its_section_to_the_environment() -> None:
    seen = shown("--port", "9001", R3MES_SERVER__WORKERS="3")

    assert (3, "env") == seen["R3MES_SERVER__WORKERS"]


def test_a_variable_in_small_letters_is_shown_as_coming_from_the_environment() -> None:
    assert (9000, "env") == shown(r3mes_server__port="9000")["R3MES_SERVER__PORT"]


def test_keys_are_masked_in_the_table_and_in_json() -> None:
    table = run(R3MES_API_KEYS="sk-do-not-show")
    as_json = run("--json", R3MES_API_KEYS="sk-do-not-show")

    assert "sk-do-not-show" not in table + as_json
    assert "**********" in table
    assert "**********" in as_json


def test_the_table_has_a_line_for_every_setting() -> None:
    lines = run().splitlines()

    assert len(shown()) + 1 == len(lines)
