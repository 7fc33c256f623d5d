"""The C++ of the operators against naive loops: under sanitizers, and as a processor of Arm has it.

`tests/native/check.cpp` is the program. It is built apart from the package, in this test.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from r3mes.engine.native import build, library

CHECK = Path(__file__).parents[3] / "native" / "check.cpp"
FLAGS = ["-std=c++20", "-O1", "-g", "-pthread", "-Wno-psabi"]
MEMORY = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
THREADS = ["-fsanitize=thread"]
AGREED = "all as the naive loops have it\n"
CROSS = "aarch64-linux-gnu-g++"
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
# Processors with the instructions that a build asks for, and no newer ones.
ARMS = {"neon-dotprod": "cortex-a76", "neon": "cortex-a53"}
NO_SHADOW = "unexpected memory mapping"  # where the kernel puts programs at addresses too random


def runnable() -> list[str]:
    """The instruction sets that this processor has, the best first."""
    flags = library.processor_flags()
    return [it for it in build.variants() if flags is None or library.NEEDS[it] <= flags]


@pytest.fixture(scope="module")
def compiler() -> str:
    command = build.compiler()
    if not command:
        pytest.skip("no C++ compiler")
    if not runnable():
        pytest.skip("this processor lacks the instructions of every build")
    return command


def compiled(command: str, source: Path, chosen: list[str], program: Path) -> str:
    """Empty, or what the compiler has to say."""
    flags = [*FLAGS, *chosen]
    done = subprocess.run(
        [command, *flags, "-o", str(program), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""


def refuse_without(sanitizer: list[str], command: str, folder: Path) -> None:
    """Its library is a package of its own on some systems."""
    empty = folder / "empty.cpp"
    empty.write_text("int main() {}\n")
    if compiled(command, empty, sanitizer, folder / "empty"):
        pytest.skip(f"{command} cannot link {sanitizer[0]}")


def run(program: Path) -> subprocess.CompletedProcess[str]:
    """Without randomized addresses where the sanitizer cannot work with them."""
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    if NO_SHADOW not in done.stderr:
        return done
    if not shutil.which("setarch"):
        pytest.skip("addresses are too random for the sanitizer, and setarch is not installed")
    again = ["setarch", "-R", str(program)]
    return subprocess.run(again, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("sanitizer", "which"),
    [(MEMORY, 0), (MEMORY, -1), (THREADS, -1)],
    ids=["memory, best instructions", "memory, least instructions", "threads"],
)
def test_the_operators_agree_with_naive_loops_under_sanitizers(
    compiler: str, tmp_path: Path, sanitizer: list[str], which: int
) -> None:
    refuse_without(sanitizer, compiler, tmp_path)
    program = tmp_path / "check"
    instructions = build.variants()[runnable()[which]]
    assert "" == compiled(compiler, CHECK, [*instructions, *sanitizer], program)

    done = run(program)

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert AGREED == done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", build.FLAGS["aarch64"])
def test_the_operators_for_arm_agree_with_naive_loops_in_an_emulator(
    tmp_path: Path, variant: str
) -> None:
    emulator = next(filter(None, map(shutil.which, EMULATORS)), None)
    if not shutil.which(CROSS) or not emulator:
        pytest.skip(f"needs {CROSS} and one of {', '.join(EMULATORS)}")
    program = tmp_path / "check"
    chosen = [*build.FLAGS["aarch64"][variant], "-O3", "-static"]
    assert "" == compiled(CROSS, CHECK, chosen, program)

    command = [emulator, "-cpu", ARMS[variant], str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, "", AGREED) == (done.returncode, done.stderr, done.stdout)
