"""What the OpenAPI document says of the probes and of /metrics, which are no routes of FastAPI."""

from typing import Any

from r3mes.protocol.answers import Health
from r3mes.replica.probes import PATHS

Node = dict[str, Any]

METRICS = "/metrics"
TEXT = {"schema": {"type": "string"}}
SUMMARIES = {
    "/livez": "Whether the replica works at all; restart it where it does not.",
    "/health": "The same as /livez.",
    "/readyz": "Whether it takes requests now.",
    "/ready": "The same as /readyz.",
    "/startupz": "Whether it has become ready once.",
    METRICS: "Metrics of the replica.",
}
HEALTH = {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}
PAGES = {"text/plain": TEXT, "application/openmetrics-text": TEXT}


def add_probes(document: Node) -> None:
    schema = Health.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"]["Health"] = schema
    for path in sorted(PATHS):
        document["paths"][path] = {"get": operation(path)}


def operation(path: str) -> Node:
    return {
        "tags": ["probes"],
        "summary": SUMMARIES[path],
        "operationId": f"{path[1:]}_get",
        "responses": responses(path),
    }


def responses(path: str) -> Node:
    if path == METRICS:
        return {"200": {"description": "Yes.", "content": dict(PAGES)}}
    return {
        "200": {"description": "It does.", "content": dict(HEALTH)},
        "503": {"description": "It does not.", "content": dict(HEALTH)},
    }
