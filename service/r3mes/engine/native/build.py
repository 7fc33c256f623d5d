"""Compiles the operators, once for each instruction set that a processor of this kind may have.

Runs when the package is installed, never while serving, on the standard library alone: it is also
loaded by the build of the package, before that is installed.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "step.cpp"
# The best first. x86-64-v4 is AVX-512 (F, BW, CD, DQ, VL), v3 is AVX2 with FMA and F16C.
FLAGS = {
    "x86_64": {
        "avx512vnni": ["-march=x86-64-v4", "-mavx512vnni"],
        "avx512": ["-march=x86-64-v4"],
        "avx2": ["-march=x86-64-v3"],
    },
    "aarch64": {
        "neon-dotprod": ["-march=armv8.2-a+dotprod+fp16"],
        "neon": ["-march=armv8-a"],
    },
}
COMMON = ["-std=c++20", "-O3", "-fno-math-errno", "-fPIC", "-shared", "-pthread", "-Wno-psabi"]
COMPILERS = ("c++", "g++", "clang++")


def machine() -> str:
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())


def variants() -> dict[str, list[str]]:
    """The instruction sets of this kind of processor and the compiler's flags for each."""
    return FLAGS.get(machine(), {})


def place(variant: str, folder: Path = FOLDER) -> Path:
    return folder / f"operators-{variant}.so"


def sources() -> str:
    """Changes with every file that a build is made of."""
    seen = hashlib.sha256()
    for file in sorted([SOURCE, *FOLDER.glob("*.h")]):
        seen.update(file.read_bytes())
    return seen.hexdigest()[:16]


def built(folder: Path = FOLDER) -> list[str]:
    """The best first."""
    return [variant for variant in variants() if place(variant, folder).is_file()]


def compiler() -> str | None:
    chosen = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    return chosen if chosen and shutil.which(chosen) else None


def compile_all(folder: Path = FOLDER) -> str:
    """What was built, in a line for people; without a compiler, or if it fails, what that means."""
    if not variants():
        return f"no operators in C++ for {machine()}: plain torch serves"
    command = compiler()
    if not command:
        return "no C++ compiler: the operators are not built, plain torch serves (slower)"
    said = [_compile(command, variant, flags, folder) for variant, flags in variants().items()]
    return "; ".join(
        [f"operators built by {command}: {', '.join(built(folder)) or 'none'}", *filter(None, said)]
    )


def _compile(command: str, variant: str, flags: list[str], folder: Path) -> str:
    """What went wrong; an earlier build does not stay then."""
    target = place(variant, folder)
    aside = target.with_suffix(".new")
    done = subprocess.run(  # noqa: S603 - a compiler, of our own file
        [command, *COMMON, *flags, f'-DSOURCES="{sources()}"', "-o", str(aside), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        aside.replace(target)
        return ""
    aside.unlink(missing_ok=True)
    target.unlink(missing_ok=True)
    reason = next(iter(done.stderr.strip().splitlines()), "no reason given")
    return f"not for {variant}: {reason}"


if __name__ == "__main__":
    sys.stderr.write(f"{compile_all()}\n")
