"""What `make serve` says before it installs anything, each in one sentence."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import install

ROOT = Path(__file__).parents[2]


def refusal(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "requirements" / "install.py"), "engine", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    return done.stderr


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        assert (
            f"Port {port} on 127.0.0.1 is in use. Choose another: make serve PORT=8001\n"
            == refusal("--address", f"127.0.0.1:{port}")
        )


def test_an_address_of_another_machine_is_refused() -> None:
    assert refusal("--address", "192.0.2.1:8000").startswith("R3MES cannot listen on 192.0.2.1")


def test_a_port_that_is_no_number_is_refused() -> None:
    said = "PORT must be a number from 0 to 65535, not {}.\n"

    assert said.format("http") == refusal("--address", "127.0.0.1:http")
    assert said.format("70000") == refusal("--address", "127.0.0.1:70000")


def test_wheels_that_are_no_folder_are_refused() -> None:
    assert refusal("--wheels", "/nowhere/at/all") == "WHEELS=/nowhere/at/all is not a folder.\n"


def test_a_full_disk_is_named_with_what_is_free_and_what_is_needed() -> None:
    with pytest.raises(SystemExit, match=r"has \d+\.\d GB free; the installation needs 999999 GB"):
        install.refuse_a_full_disk(999999)


def test_the_cpu_lock_is_taken_where_the_folder_has_a_wheel_for_this_python(
    tmp_path: Path,
) -> None:
    tag = "cp{}{}".format(*sys.version_info[:2])
    platform = f"many{sys.platform}_2_28_{install.platform.machine()}"
    version = (ROOT / "requirements" / "cpu.in").read_text().split("==")[1].strip()
    (tmp_path / f"torch-{version}-{tag}-{tag}-{platform}.whl").touch()

    assert "dev-cpu" == install.choose_lock("dev", wheels=str(tmp_path))


def test_without_a_wheel_for_this_python_the_index_is_taken_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torch-2.13.0+cpu-cp27-cp27-manylinux_2_28_x86_64.whl").touch()

    assert "engine" == install.choose_lock("engine", wheels=str(tmp_path))
    assert "taking torch from the package index instead" in capsys.readouterr().err


def test_no_folder_of_wheels_means_the_index() -> None:
    assert "engine" == install.choose_lock("engine", wheels="")


def test_a_development_environment_serves_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "STAMP", tmp_path / "installed")
    install.STAMP.write_text(install.stamp("dev-cpu"))

    assert install.is_installed("engine-cpu")
    assert install.is_installed("dev-cpu")
    assert not install.is_installed("engine")


def test_what_a_start_imports_is_compiled_even_where_python_is_told_to_write_no_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "python").symlink_to(sys.executable)
    (tmp_path / "started.py").write_text("")
    monkeypatch.setattr(install, "VENV", tmp_path)
    monkeypatch.setattr(install, "IMPORTED", ("started",))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    install.compile_what_a_start_imports()

    assert list((tmp_path / "__pycache__").glob("started.*.pyc"))


def test_every_module_that_is_compiled_exists() -> None:
    assert [] == [name for name in install.IMPORTED if importlib.util.find_spec(name) is None]


def test_an_environment_is_stale_when_its_lock_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "STAMP", tmp_path / "installed")
    install.STAMP.write_text(install.stamp("dev").replace("dev ", "dev 0"))

    assert not install.is_installed("dev")
