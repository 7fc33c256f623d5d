import subprocess
import sys

import pytest
from typer.testing import CliRunner

from r3mes import __version__
from r3mes.cli.app import app
from support.command_line import clean_environment, r3mes


def test_version_is_that_of_the_package() -> None:
    assert f"{__version__}\n" == r3mes("version").stdout


@pytest.mark.parametrize("command", ["serve", "replica", "show-config"])
def test_an_unknown_variable_stops_the_start_and_names_the_nearest(command: str) -> None:
    done = r3mes(command, variables={"R3MES_SERVER_PORT": "1"})

    assert 2 == done.returncode
    assert (
        "r3mes: R3MES_SERVER_PORT is not a setting of R3MES. Did you mean R3MES_SERVER__PORT?\n"
        == done.stderr
    )


@pytest.mark.parametrize("command", ["serve", "replica"])
def test_a_value_out_of_bounds_stops_the_start_in_one_line(command: str) -> None:
    done = r3mes(command, "--port", "70000")

    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "R3MES_SERVER__PORT" in done.stderr


def test_a_model_that_is_not_there_is_refused_without_a_traceback() -> None:
    done = r3mes("replica", "--model", "/nowhere/at/all", "--port", "0")

    assert 0 != done.returncode
    assert "Traceback" not in done.stdout + done.stderr


def test_every_flag_of_a_role_is_explained_by_its_setting() -> None:
    said = CliRunner().invoke(app, ["replica", "--help"], env={"COLUMNS": "200"}).stdout

    assert "Longest prompt plus answer, in tokens; by default the model's." in said


HEAVY = ("torch", "transformers", "tokenizers", "numpy", "matplotlib", "uvicorn", "fastapi")


SLOW = ("httpx", "rich", *HEAVY)  # not for a start that asks and draws nothing


@pytest.mark.parametrize(
    ("command", "names"), [("--help", HEAVY), ("show-config", HEAVY), ("version", SLOW)]
)
def test_a_command_that_computes_nothing_imports_nothing_heavy(
    command: str, names: tuple[str, ...]
) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['r3mes', *{command.split()}]\n"
        "try:\n"
        "    runpy.run_module('r3mes', run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        f"sys.stderr.write(' '.join(name for name in {names} if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stderr
