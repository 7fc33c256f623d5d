"""Makes the OpenAPI document true and serves its page from local files. Knows no route by name.

FastAPI describes bodies and successes; what Edge, the connection, the keys and the engine can
answer is added here by rule, from what an operation is: guarded, with a body, streaming.
"""

from collections.abc import Iterator
from http import HTTPStatus
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from r3mes.replica.auth import OPEN_PATHS
from r3mes.replica.probe_documents import add_probes
from r3mes.replica.probes import PATHS as PROBES

Node = dict[str, Any]

OPEN = OPEN_PATHS | PROBES
METHODS = frozenset({"get", "put", "post", "delete", "patch"})
ANYWHERE = (400, 408, 413, 415, 431, 500)  # from the connection and from Edge
EVENTS = "text/event-stream"
REF = {"$ref": "#/components/schemas/ErrorResponse"}
REQUEST_ID = {"description": "The id of this exchange.", "schema": {"type": "string"}}
RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
HEADERS: dict[int, Node] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: RETRY,
    500: RETRY,  # of an engine that died
    503: RETRY,
}
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}

PAGE = "/docs"
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; "
    "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
)


class ErrorDetail(BaseModel):
    """What went wrong, for a program (`code`) and for people (`message`)."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    error: ErrorDetail


def install_openapi(app: FastAPI, *, guarded: bool, overload_status: int) -> None:
    """Amend the document that the application makes, and serve its page at /docs.

    `guarded` tells that a key is needed, `overload_status` is what a full engine is answered with.
    """
    describe = app.openapi

    def openapi() -> Node:
        if app.openapi_schema is None:
            amend(describe(), guarded=guarded, overload_status=overload_status)
        return describe()

    app.openapi = openapi  # type: ignore[method-assign] # the documented way to extend it
    app.add_route(PAGE, page, include_in_schema=False)
    for name in ASSETS:
        app.add_route(f"{PAGE}/{name}", asset, include_in_schema=False)


def amend(document: Node, *, guarded: bool, overload_status: int) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's 422, which we never answer
        schemas.pop(name, None)
    schema = ErrorResponse.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs"), ErrorResponse=schema)
    components["securitySchemes"] = SECURITY
    add_probes(document)
    for path, operation in operations(document):
        amend_operation(path, operation, guarded=guarded)
        if "requestBody" in operation:
            add_error(operation, overload_status)
        for response in operation["responses"].values():
            response.setdefault("headers", {})["X-Request-Id"] = REQUEST_ID


def operations(document: Node) -> Iterator[tuple[str, Node]]:
    for path, item in document["paths"].items():
        for method in item.keys() & METHODS:
            yield path, item[method]


def amend_operation(path: str, operation: Node, *, guarded: bool) -> None:
    operation["responses"].pop("422", None)
    for status in sorted(possible(path, operation)):
        add_error(operation, status)
    if path not in OPEN:
        keys: list[Node] = [{name: []} for name in SECURITY]
        operation["security"] = keys if guarded else [{}, *keys]


def add_error(operation: Node, status: int) -> None:
    operation["responses"].setdefault(str(status), error_response(status))


def possible(path: str, operation: Node) -> set[int]:
    """Every status beside success that the operation may answer."""
    statuses = set(ANYWHERE)
    if path not in OPEN:
        statuses |= {401, 503}
    if "requestBody" in operation or "{" in path:
        statuses.add(404)
    if EVENTS in operation["responses"].get("200", {}).get("content", {}):
        statuses.add(504)
    return statuses


def error_response(status: int) -> Node:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": REF}},
        "headers": dict(HEADERS.get(status, {})),
    }


def events(description: str) -> dict[int | str, Node]:
    """For a route's `responses`: its 200 may also be a stream of server-sent events."""
    schema = {"type": "string", "description": description}
    return {200: {"content": {EVENTS: {"schema": schema}}}}


async def page(request: Request) -> Response:
    script, style = (f"{PAGE}/{name}" for name in ASSETS)
    response = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="R3MES",
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url="data:,",
    )
    response.headers["Content-Security-Policy"] = POLICY
    return response


def asset(request: Request) -> Response:
    """One of the two files that the page needs, from the package that carries them.

    Not async: Starlette runs it in a thread, because it reads a file.
    """
    name = request.scope["path"].rpartition("/")[2]  # its URL would be built from the Host header
    folder = resources.files("fastapi_swagger") / "resources"
    return Response(folder.joinpath(name).read_bytes(), media_type=ASSETS[name])
