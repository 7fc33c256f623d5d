"""A real Prometheus that scrapes a replica and evaluates the alerts, on loopback.

with running_prometheus(tmp_path, binary, replica.url, rules=ALERTS) as prometheus:
    prometheus.query("up")
"""

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.replica import PLAIN, wait_for

JOB = "r3mes-fake"
LABELS = {"job": JOB, "namespace": "ml", "pod": f"{JOB}-0"}


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series it returns; one query is an error only where Prometheus says so."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and the time of its last evaluation."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def get(self, path: str, **params: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=30, verify=PLAIN)
        said = answer.json()
        assert said["status"] == "success", (params, said)
        return said["data"]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", verify=PLAIN).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running_prometheus(
    folder: Path, binary: str, target: str, *, rules: Path, labels: Mapping[str, str] = LABELS
) -> Iterator[Prometheus]:
    """Scrapes the target each second, with the labels that the chart's monitors would give it."""
    folder.mkdir(parents=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(target, rules, labels)))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    prometheus = Prometheus(f"http://{address}")
    try:
        wait_for(lambda: prometheus.is_ready() or process.poll(), "Prometheus")
        assert process.poll() is None, (folder / "log").read_text()
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)


def configuration(target: str, rules: Path, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "r3mes",
                "static_configs": [
                    {"targets": [target.removeprefix("http://")], "labels": dict(labels)}
                ],
            }
        ],
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
