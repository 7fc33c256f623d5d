"""Each alert fires when it should, stays silent when it should, and has an entry in the runbook."""

import re
import shutil
import subprocess

import pytest
import yaml

from support import observability

SEVERITIES = {"critical", "warning", "info"}
PARTS = ("**Meaning.**", "**First look.**", "```sh", "**Fix.**")


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on PATH (Debian: package prometheus): alerts were not tested")
    return found


@pytest.fixture(scope="module")
def entries() -> dict[str, str]:
    """The runbook's text by heading."""
    parts = re.split(r"^## (.+)$", observability.RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_prometheus_takes_the_rules(promtool: str) -> None:
    run(promtool, "check", "rules", "--lint-fatal", observability.ALERTS)


def test_alerts_fire_as_their_cases_say(promtool: str) -> None:
    run(promtool, "test", "rules", observability.ALERT_TESTS)


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load(observability.ALERT_TESTS.read_text())["tests"]
    fire = {
        check["alertname"]
        for case in cases
        for check in case["alert_rule_test"]
        if check["exp_alerts"]
    }

    assert set(observability.alerts()) == fire


def test_every_alert_has_an_entry_in_the_runbook_and_the_other_way_round(
    entries: dict[str, str],
) -> None:
    told = {heading for heading in entries if heading.startswith("R3mes")}

    assert set(observability.alerts()) == told


def test_every_entry_tells_meaning_first_look_and_fix(entries: dict[str, str]) -> None:
    for name in observability.alerts():
        places = [entries[name].find(part) for part in PARTS]

        assert -1 not in places, name
        assert sorted(places) == places, name


def test_the_shell_can_read_the_commands(entries: dict[str, str]) -> None:
    for name, entry in entries.items():
        for commands in re.findall(r"```sh\n(.*?)```", entry, flags=re.DOTALL):
            ended = subprocess.run(["bash", "-n"], input=commands, text=True, check=False)

            assert 0 == ended.returncode, name


def test_every_alert_says_how_bad_it_is_and_where_to_read() -> None:
    for name, rule in observability.alerts().items():
        assert rule["labels"]["severity"] in SEVERITIES
        assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
        assert f"docs/runbook.md#{name.lower()}" == rule["annotations"]["runbook_url"]


def run(*command: object) -> None:
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
