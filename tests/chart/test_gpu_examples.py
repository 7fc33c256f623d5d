"""The examples for GPU nodes: the chart takes their values and asks for what the plugin offers."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from support.chart import Chart, of_kind

GPU = Path(__file__).parents[2] / "k8s/gpu"
WAYS = ["whole", "mig", "time-slicing", "dra"]


def read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((GPU / path).read_text())
    return found


def offered(way: str) -> str:
    """The resource that the other file of the folder makes a node offer."""
    match way:
        case "dra":
            return str(read("dra/deviceclass.yaml")["spec"]["extendedResourceName"])
        case "time-slicing":
            config = read("time-slicing/device-plugin.values.yaml")["config"]
            sharing = yaml.safe_load(config["map"][config["default"]])["sharing"]["timeSlicing"]
            (resource,) = sharing["resources"]
            return f"{resource['name']}.shared" if sharing["renameByDefault"] else resource["name"]
        case "mig":
            assert "mixed" == read("mig/device-plugin.values.yaml")["migStrategy"]
            return "nvidia.com/mig-1g.10gb"
    return "nvidia.com/gpu"


def test_every_folder_is_tested() -> None:
    assert set(WAYS) == {path.name for path in GPU.iterdir() if path.is_dir()}


@pytest.mark.parametrize("way", WAYS)
def test_pods_ask_for_the_resource_that_is_offered(chart: Chart, way: str) -> None:
    deployments = of_kind(chart.render(read(f"{way}/r3mes.values.yaml")), "Deployment")

    assert deployments
    for deployment in deployments:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}

        assert "1" == container["resources"]["limits"][offered(way)]
        assert "cuda" == variables["R3MES_MODEL__DEVICE"]


def test_every_example_says_that_no_gpu_has_seen_it() -> None:
    for path in GPU.rglob("*.yaml"):
        assert "Unverified on real GPUs." in path.read_text(), path
