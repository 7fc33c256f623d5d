"""The base install has no torch: what runs without the engine must not ask for it."""

import subprocess
import sys

from support.command_line import clean_environment

WITHOUT_TORCH = [
    "r3mes.cli.app",
    "r3mes.cli.examining",
    "r3mes.bench.measure",
    "r3mes.client.wire",
    "r3mes.protocol",
    "r3mes.telemetry",
    "r3mes.replica.supervisor",
    "r3mes.replica.serve",
    "r3mes.replica.app",
    "r3mes.replica.web",
    "r3mes.engine.fake",
    "r3mes.engine.loop",
    "r3mes.engine.messages",
    "r3mes.engine.scheduler",
]


def test_what_runs_without_the_engine_imports_where_torch_is_not_installed() -> None:
    program = (
        "import importlib, sys\n"
        "for absent in ('torch', 'transformers', 'tokenizers', 'safetensors', 'matplotlib'):\n"
        "    sys.modules[absent] = None\n"  # makes every import of it fail
        f"for module in {WITHOUT_TORCH}:\n"
        "    importlib.import_module(module)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stderr
