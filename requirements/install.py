"""Makes .venv: packages from a hash-checked lock, then this checkout itself.

Owns the choice of the lock and every sentence that can be said before an installation fails.
Knows nothing of the service. Runs on the standard library alone; the syntax is old on purpose, so
that an old Python gets to the sentence that refuses it.
"""

import sys

OLDEST, NEWEST = (3, 11), (3, 13)
if not OLDEST <= sys.version_info[:2] <= NEWEST:
    sys.exit(
        "R3MES needs Python 3.11, 3.12 or 3.13, and {} is Python {}.{}. "
        "Name another one: make serve PYTHON=/path/to/python3.12".format(
            sys.executable, *sys.version_info[:2]
        )
    )

import argparse
import errno
import hashlib
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
NATIVE = ROOT / "service" / "r3mes" / "engine" / "native"
VENV = ROOT / ".venv"
UV_VENV = ROOT / ".uv"
STAMP = VENV / "installed"
SPACE_GB = {"engine": 7, "dev": 7, "engine-cpu": 2, "dev-cpu": 2}
NO_OPERATORS = (
    "There is no C++ compiler, so torch alone will compute, several times slower on a CPU. "
    "Install one (on Debian and Ubuntu: apt-get install g++) and run this again."
)
IMPORTED = (
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "r3mes.cli.app",
    "r3mes.engine.load",
    "r3mes.replica.supervisor",
    "r3mes.replica.web",
)


def main() -> None:
    asked = arguments()
    if asked.address:
        refuse_a_taken_port(asked.address)
    wanted = choose_lock(asked.extra, wheels=asked.wheels)
    if not is_installed(wanted):
        install(wanted, wheels=asked.wheels)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make .venv from a lock, unless it is made.")
    parser.add_argument("extra", choices=["engine", "dev"])
    parser.add_argument("--wheels", default="", help="Folder with a CPU build of torch.")
    parser.add_argument("--address", default="", help="HOST:PORT that has to be free first.")
    return parser.parse_args()


def refuse_a_taken_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                sys.exit(f"Port {port} on {host} is in use. Choose another: make serve PORT=8001")
            sys.exit(f"R3MES cannot listen on {address}: {error.strerror}.")
        except (ValueError, OverflowError):
            sys.exit(f"PORT must be a number from 0 to 65535, not {port}.")


def choose_lock(extra: str, *, wheels: str) -> str:
    """The CPU lock where the folder of wheels has a torch for this Python, else the index's."""
    if not wheels:
        return extra
    if not Path(wheels).is_dir():
        sys.exit(f"WHEELS={wheels} is not a folder.")
    version = (LOCKS / "cpu.in").read_text().split("==")[1].strip()
    tag = "cp{}{}".format(*sys.version_info[:2])
    name = f"torch-{version}-{tag}-*{sys.platform}*_{platform.machine()}.whl"
    if list(Path(wheels).glob(name)):
        return f"{extra}-cpu"
    say(f"WHEELS={wheels} has no {name}: taking torch from the package index instead.")
    return extra


def is_installed(lock: str) -> bool:
    """A development environment contains all that serving needs."""
    if not STAMP.is_file():
        return False
    enough = {lock, lock.replace("engine", "dev")}
    return STAMP.read_text() in {stamp(name) for name in enough}


def stamp(lock: str) -> str:
    """Changes with whatever makes an environment stale: the place of the checkout, and a compiler
    that was not there before, included."""
    compilers = [name for name in ("c++", "g++", "clang++") if shutil.which(name)]
    seen = hashlib.sha256(f"{ROOT} {sys.version_info[:2]} {compilers}".encode())
    sources = [LOCKS / f"{lock}.txt", LOCKS / "build.txt", ROOT / "pyproject.toml"]
    sources += [ROOT / "hatch_build.py", NATIVE / "build.py", *sorted(NATIVE.glob("*.[ch]*"))]
    for source in sources:
        seen.update(source.read_bytes())
    return f"{lock} {seen.hexdigest()}"


def install(lock: str, *, wheels: str) -> None:
    refuse_an_intel_mac()
    refuse_a_full_disk(SPACE_GB[lock])
    say(f"Installing requirements/{lock}.txt into .venv; needed once.")
    uv = own_uv()
    run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV)
    find_links = ["--find-links", wheels] if lock.endswith("-cpu") else []
    python = ["--python", VENV / "bin" / "python"]
    run(uv, "pip", "sync", *python, "--require-hashes", *find_links, LOCKS / f"{lock}.txt")
    build = ["--build-constraints", LOCKS / "build.txt", "--require-build-hashes"]
    run(uv, "pip", "install", *python, "--quiet", "--no-deps", *build, "--editable", ROOT)
    if not list(NATIVE.glob("*.so")):
        say(NO_OPERATORS)
    compile_what_a_start_imports()
    STAMP.write_text(stamp(lock))


def compile_what_a_start_imports() -> None:
    """Some environments tell Python to write no bytecode; then every start would compile anew.

    Compiling all that is installed takes a minute, and most of it is never imported.
    """
    environ = {name: it for name, it in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    program = "; ".join(f"import {module}" for module in IMPORTED)
    python = str(VENV / "bin" / "python")
    subprocess.run([python, "-c", program], env=environ, stderr=subprocess.DEVNULL, check=False)


def refuse_an_intel_mac() -> None:
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        sys.exit("R3MES needs torch, which has no builds for Macs with Intel processors any more.")


def refuse_a_full_disk(needed_gb: int) -> None:
    """Packages are unpacked in uv's cache and linked, or across file systems copied, from there."""
    home_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(os.environ.get("UV_CACHE_DIR") or Path(home_cache) / "uv")
    for folder in (ROOT, next(place for place in (cache, *cache.parents) if place.exists())):
        free_gb = shutil.disk_usage(folder).free / 1e9
        if free_gb < needed_gb:
            sys.exit(
                f"The disk of {folder} has {free_gb:.1f} GB free; "
                f"the installation needs {needed_gb} GB."
            )


def own_uv() -> Path:
    """The pinned uv in an environment of its own, so that it never mixes with what it installs."""
    uv = UV_VENV / "bin" / "uv"
    lock = LOCKS / "uv.txt"
    made_from = UV_VENV / "uv.txt"
    if uv.is_file() and made_from.is_file() and made_from.read_text() == lock.read_text():
        return uv
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", UV_VENV], check=False)
    if made.returncode:
        sys.exit(
            f"{sys.executable} cannot make virtual environments with pip. "
            "On Debian and Ubuntu: apt-get install python3-venv"
        )
    pip = [UV_VENV / "bin" / "python", "-m", "pip", "install", "--quiet"]
    run(*pip, "--disable-pip-version-check", "--only-binary=:all:", "--require-hashes", "-r", lock)
    made_from.write_text(lock.read_text())
    return uv


def run(*command: "str | Path") -> None:
    done = subprocess.run([str(part) for part in command], check=False)
    if done.returncode == 0:
        return
    if shutil.disk_usage(ROOT).free < 100e6:
        sys.exit("The installation stopped because the disk is full.")
    sys.exit("The installation failed; the reason stands above.")


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
