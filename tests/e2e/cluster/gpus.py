"""GPUs that a node only claims to have, so that their scheduling is real where there are none."""

import json

from e2e.cluster.kubectl import kubectl

RESOURCE = "nvidia.com/gpu"


def claim(node: str, count: int, *, resource: str = RESOURCE) -> None:
    """Stands in for a device plugin: the scheduler counts them like any other's; 0 takes them."""
    name = resource.replace("~", "~0").replace("/", "~1")
    patch = [
        {"op": "add", "path": f"/status/{where}/{name}", "value": str(count)}
        for where in ("capacity", "allocatable")
    ]
    kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))
