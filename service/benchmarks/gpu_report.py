"""Writes what `gpu` measured as a page: every figure, and the goals with their verdicts."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks.comparison_report import commit
from benchmarks.machine import describe_machine

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "gpu-figures.md"
All = Mapping[str, Mapping[str, float]]


def goals(figures: All) -> list[tuple[str, str, float, bool]]:
    """What, the bound in words, the value, and whether it is met."""
    ours = figures["R3MES"]
    step, alone = ours["launches ahead, ms a step"], ours["device alone, ms a step"]
    possible = 1000 * ours["weights, GB"] / ours["bandwidth, GB/s"]
    found = [
        ("one stream: share of weights / bandwidth", "at least 0.65", possible / step, 0.65),
        ("one stream: with host work / without", "at most 1.15", step / alone, -1.15),
    ]
    for peer, least in (("transformers", 1.5), ("vllm", 0.75)):
        if peer in figures:
            value = ours["tokens/s"] / figures[peer]["tokens/s"]
            found.append((f"throughput : {peer}", f"at least {least}", value, least))
    return [
        (what, words, value, value >= bound if bound > 0 else value <= -bound)
        for what, words, value, bound in found
    ]


def write_page(model: str, figures: All) -> None:
    device = torch.cuda.get_device_properties(0)
    lines = [
        "# Figures of the path `cuda`",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {device.name}, {describe_machine()}, "
        f"torch {torch.__version__}, model `{model}` in bfloat16.",
        "Made by `python -m benchmarks.gpu`; what it measures is told in [gpu.md](gpu.md).",
        "",
        "| goal | bound | measured | |",
        "|---|---|---|---|",
        *(
            f"| {what} | {words} | {value:.2f} | {'met' if met else 'MISSED'} |"
            for what, words, value, met in goals(figures)
        ),
        "",
        "| | figure | value |",
        "|---|---|---|",
        *(
            f"| {name} | {figure} | {value:,.2f} |"
            for name, of in figures.items()
            for figure, value in of.items()
        ),
    ]
    PAGE.write_text("\n".join(lines) + "\n")
    sys.stderr.write(f"Written to {PAGE}\n")
