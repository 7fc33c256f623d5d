"""Renews the locks from pyproject.toml and the `.in` files. Pins that still fit are kept.

Owns which lock is made from what. A lock names versions and hashes, never an index.
"""

import re
import subprocess
import sys

from install import LOCKS, ROOT, own_uv

EVERYWHERE = ("--universal", "--python-version", "3.11")
CPU_WHEEL = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
PROJECT = "pyproject.toml"


def main(wheels: str) -> None:
    compile_lock("uv", "requirements/uv.in", *EVERYWHERE)
    compile_lock("build", "requirements/build.in", *EVERYWHERE)
    compile_lock("sbom", "requirements/sbom.in", *EVERYWHERE)
    # The smaller set follows the larger one, so that both hold the same versions.
    dev = (PROJECT, "--extra", "engine", "--extra", "dev")
    engine = (PROJECT, "--extra", "engine")
    compile_lock("dev", *dev, *EVERYWHERE)
    compile_lock("engine", *engine, *EVERYWHERE, "--constraints", "requirements/dev.txt")
    compile_lock("control", PROJECT, *EVERYWHERE, "--constraints", "requirements/dev.txt")
    compile_lock("bench", *bench_beside_dev(), *EVERYWHERE)
    if not wheels:
        sys.exit("The CPU locks were left as they are: WHEELS names no folder.")
    cpu = ("requirements/cpu.in", *CPU_WHEEL, "--find-links", wheels)
    compile_lock("dev-cpu", *dev, *cpu)
    compile_lock("engine-cpu", *engine, *cpu, "--constraints", "requirements/dev-cpu.txt")


def bench_beside_dev() -> list[str]:
    """Only what `dev` lacks, so that it fits beside either build of torch."""
    sources = ["--group", "bench", "--constraints", "requirements/dev.txt"]
    for name in re.findall(r"^([\w.-]+)==", (LOCKS / "dev.txt").read_text(), re.MULTILINE):
        sources += ["--no-emit-package", name]
    return sources


def compile_lock(name: str, *sources: str) -> None:
    form = ("--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate")
    command = (own_uv(), "pip", "compile", "--quiet", *form, *sources)
    made_by = ("--custom-compile-command", "make lock", "--output-file", LOCKS / f"{name}.txt")
    subprocess.run([*map(str, command), *map(str, made_by)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
