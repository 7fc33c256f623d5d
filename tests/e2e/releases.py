"""Releases of the chart as the cases install and reach them. Knows no case."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.clients import Kubectl, Program, Refused
from e2e.image import Image

CHART = Path(__file__).parents[2] / "charts" / "r3mes"
PORT = 8000
MODEL = "tiny"  # of the chart's default values
READY_S = 300
Values = dict[str, Any]


def with_image(image: Image, **values: Any) -> Values:
    """The chart's defaults, but for the image and what is given."""
    own = {"repository": image.repository, "tag": image.tag, "pullPolicy": "IfNotPresent"}
    return merged({"image": own}, values)


def small(image: Image, **values: Any) -> Values:
    """Pods of which two cores carry several. What is given goes over it."""
    resources = {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"memory": "1536Mi"},
    }
    config = {"engine": {"threads": 1}}
    few = {"modelDefaults": {"resources": resources, "config": config}}
    return merged(with_image(image), merged(few, values))


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    result = deepcopy(dict(values))
    for key, value in over.items():
        there = result.get(key)
        inner = isinstance(there, dict) and isinstance(value, Mapping)
        result[key] = merged(there, value) if inner else deepcopy(value)
    return result


@dataclass(frozen=True)
class Release:
    name: str
    helm: Program
    kubectl: Kubectl

    @property
    def fullname(self) -> str:
        return self.name if "r3mes" in self.name else f"{self.name}-r3mes"

    def deploy(self, values: Mapping[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
        """Install or upgrade; what Helm said. Warnings of the API server are on its stderr."""
        done = self.attempt(values, *flags)
        if done.returncode:
            raise Refused(done.stderr)
        return done

    def attempt(self, values: Mapping[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
        command = ("upgrade", "--install", self.name, str(CHART), "--values", "-", *flags)
        return self.helm.attempt(*command, given=json.dumps(values))

    def wait_ready(self, model: str = MODEL, *, within_s: float = READY_S) -> None:
        """Until the newest version of the model serves with all its pods."""
        deployment = f"deployment/{self.fullname}-{model}"
        limit = f"--timeout={within_s:.0f}s"
        self.kubectl("rollout", "status", deployment, limit, timeout_s=within_s + 30)

    def pods(self, model: str = MODEL) -> list[Any]:
        """Those of the model that are not on their way out."""
        labels = f"app.kubernetes.io/instance={self.name},r3mes.io/model={model}"
        found = self.kubectl.items("pods", f"--selector={labels}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, model: str = MODEL) -> Any:
        [pod] = self.pods(model)
        return pod

    def service(self, model: str = "") -> str:
        """The model's own, or the release's, which leads to its only model."""
        return f"{self.fullname}-{model}" if model else self.fullname

    @contextmanager
    def reached(self, model: str = "") -> Iterator[str]:
        """The address on this machine that leads to the Service."""
        with self.kubectl.forwarded(f"service/{self.service(model)}", PORT) as url:
            yield url
