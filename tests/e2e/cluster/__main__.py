"""Commands of the cluster: `python -m e2e.cluster up`, with `tests` on PYTHONPATH."""

import argparse
import os
import subprocess
import sys

from e2e.cluster import binaries, gpus, images, lifecycle, packages
from e2e.cluster.locks import alone
from e2e.cluster.unfit import EXIT_CODE, Unfit


def main() -> None:
    asked = _arguments()
    packages.extend_path()
    try:
        _do(asked)
    except Unfit as reason:
        sys.stderr.write(f"{reason}\n")
        sys.exit(EXIT_CODE)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f"{error}")


def _do(asked: argparse.Namespace) -> None:
    match asked.command:
        case "up":
            lifecycle.up(by_tests=asked.by_tests)
        case "down":
            lifecycle.down()
        case "build":
            _build()
        case "base":
            lifecycle.say(images.base())
        case "load":
            with alone("cluster"):
                images.load(*asked.images)
        case "gpu":
            gpus.claim(asked.node, asked.count, resource=asked.resource)


def _build() -> None:
    for name, took in binaries.build(binaries.BUILDS + binaries.EXTRAS).items():
        lifecycle.say(f"{took:7.1f} s  {name}")
    if os.geteuid() == 0:
        packages.install()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="Start it, unless it is up; print its KUBECONFIG.")
    up.add_argument("--by-tests", action="store_true", help="which end what they made")
    commands.add_parser("down", help="End it and remove what it made, images excepted.")
    commands.add_parser("build", help="Build all programs; as root install packages.")
    commands.add_parser("base", help="Make the base of images, without a registry.")
    load = commands.add_parser("load", help="Bring podman's images into both nodes.")
    load.add_argument("images", nargs="+")
    gpu = commands.add_parser("gpu", help="Let a node claim GPUs.")
    gpu.add_argument("node")
    gpu.add_argument("count", type=int)
    gpu.add_argument("--resource", default=gpus.RESOURCE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
