"""The scrape job for a Prometheus without its operator finds the chart's pods and names their job.

Its rules are followed here as Prometheus documents them: Debian's build knows no Kubernetes.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from support.chart import Chart, of_kind

JOB = yaml.safe_load((Path(__file__).parents[2] / "k8s/prometheus.yaml").read_text())
MODELS = {"models": [{"name": "tiny"}, {"name": "tiny-2"}]}


def discovered(deployment: dict[str, Any]) -> dict[str, str]:
    """What Prometheus knows of one of its pods."""
    name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
    (port,) = template["spec"]["containers"][0]["ports"]
    labels = {
        "__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", key): value
        for key, value in template["metadata"]["labels"].items()
    }
    return labels | {
        "__meta_kubernetes_namespace": "ml",
        "__meta_kubernetes_pod_name": f"{name}-6d4cf56db6-x7k2p",
        "__meta_kubernetes_pod_controller_name": f"{name}-6d4cf56db6",
        "__meta_kubernetes_pod_container_port_name": port["name"],
    }


def relabelled(labels: dict[str, str]) -> dict[str, str] | None:
    """The target's labels; None where it is not scraped."""
    (scrape,) = JOB["scrape_configs"]
    kept = {"job": scrape["job_name"]}
    for rule in scrape["relabel_configs"]:
        value = ";".join(labels.get(name, "") for name in rule["source_labels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        if rule.get("action") == "keep":
            if match is None:
                return None
        elif match is not None:
            kept[rule["target_label"]] = match.group(1)
    return kept


def test_each_pod_is_scraped_as_its_deployment(chart: Chart) -> None:
    deployments = of_kind(chart.render(MODELS, release="chat"), "Deployment")

    found = [relabelled(discovered(deployment)) for deployment in deployments]

    assert [
        {
            "job": f"chat-r3mes-{name}",
            "namespace": "ml",
            "pod": f"chat-r3mes-{name}-6d4cf56db6-x7k2p",
        }
        for name in ("tiny", "tiny-2")
    ] == found


def test_other_pods_are_left_alone(chart: Chart) -> None:
    (deployment,) = of_kind(chart.render(), "Deployment")
    other = discovered(deployment) | {"__meta_kubernetes_pod_label_app_kubernetes_io_name": "x"}

    assert relabelled(other) is None
