"""`r3mes doctor`: what decides the speed of a model on this machine, and how to get a faster one.

Knows what to look at and what to advise; computes nothing itself and needs no torch.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which

import typer

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
NVIDIA = Path("/proc/driver/nvidia/version")  # of the driver, which a container shows too
NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    cores: int
    operators: str  # the instruction set of those that are used; empty where there are none
    missing: str  # why there are none
    remedy: str  # what helps then; empty where nothing does
    best: str  # the instruction set that this kind of processor may have at most
    torch: str
    triton: str
    c_compiler: str  # where it is; empty where there is none
    nvidia: bool  # a GPU's driver is loaded
    huge_pages: str  # as the kernel writes it, with the choice in brackets; empty where unknown


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    seen: str
    advice: str = ""  # empty where nothing can be gained


def doctor() -> None:
    """Print what decides the speed of a model here, and what would make it faster."""
    for found in examine(look()):
        typer.echo(f"{found.what:14}{found.seen}")
        if found.advice:
            typer.echo(f"{'':14}→ {found.advice}")


def look() -> Machine:
    from r3mes.engine.cores import usable_cores
    from r3mes.engine.native import build
    from r3mes.engine.native.library import Operators, operators

    found = operators()
    return Machine(
        cores=usable_cores(),
        operators=found.variant if isinstance(found, Operators) else "",
        missing="" if isinstance(found, Operators) else found.reason,
        remedy="" if isinstance(found, Operators) else found.remedy,
        best=next(iter(build.variants()), ""),
        torch=installed("torch"),
        triton=installed("triton"),
        c_compiler=which("gcc") or which("clang") or "",
        nvidia=NVIDIA.is_file(),
        huge_pages=HUGE_PAGES.read_text().strip() if HUGE_PAGES.is_file() else "",
    )


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED


def examine(machine: Machine) -> list[Finding]:
    return [
        Finding("processor", f"{machine.cores} cores for this process"),
        of_operators(machine),
        of_torch(machine.torch),
        *([of_kernels(machine)] if machine.nvidia else []),
        of_huge_pages(machine.huge_pages),
    ]


def of_operators(machine: Machine) -> Finding:
    if not machine.best:
        return Finding("operators", "there are none in C++ for this kind of processor")
    if machine.missing:
        slow = "on a CPU torch alone is several times slower"
        advice = f"{machine.remedy}: {slow}" if machine.remedy else ""
        return Finding("operators", machine.missing, advice)
    if machine.operators != machine.best:
        seen = f"C++, built for {machine.operators}; this processor has no {machine.best}"
        return Finding("operators", seen)
    return Finding("operators", f"C++, built for {machine.operators}")


def of_torch(found: str) -> Finding:
    if found == NOT_INSTALLED:
        return Finding("torch", found, "a model needs `pip install 'r3mes[engine]'`")
    return Finding("torch", found)


def of_kernels(machine: Machine) -> Finding:
    if machine.triton == NOT_INSTALLED:
        return Finding("kernels", "no Triton", "`pip install triton`: torch alone is slower")
    if not machine.c_compiler:
        advice = "install gcc, libc6-dev and Python's headers: torch alone is slower"
        return Finding("kernels", "no C compiler, which Triton needs", advice)
    return Finding("kernels", f"compiled by Triton {machine.triton}")


def of_huge_pages(enabled: str) -> Finding:
    if "[never]" in enabled:
        advice = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, as root of the node"
        return Finding("huge pages", "off", advice)
    return Finding("huge pages", "on" if enabled else "not known here")
