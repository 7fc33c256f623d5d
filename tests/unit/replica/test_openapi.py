"""The rules that complete the OpenAPI document, and its page without a network."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from r3mes.replica.openapi import events, install_openapi


class Question(BaseModel):
    text: str


def small_app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/version")
    async def version() -> str:
        return "1"

    @app.get("/v1/models/{name}")
    async def model(name: str) -> str:
        return name

    @app.post("/v1/ask", responses=events("Words, one by one."))
    async def ask(question: Question) -> Question:
        return question

    return app


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = small_app()
    install_openapi(app, guarded=True, overload_status=503)
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


EDGE = {"200", "400", "408", "413", "415", "431", "500"}


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/version", "get", EDGE),
        ("/v1/models/{name}", "get", EDGE | {"401", "404", "503"}),
        ("/v1/ask", "post", EDGE | {"401", "404", "503", "504"}),
        ("/livez", "get", EDGE | {"503"}),
        ("/metrics", "get", EDGE),
    ],
)
def test_an_operation_lists_every_status_it_can_answer(
    document: Any, path: str, method: str, statuses: set[str]
) -> None:
    assert statuses == set(document["paths"][path][method]["responses"])


def test_every_error_has_the_shape_of_our_errors(document: Any) -> None:
    responses = document["paths"]["/v1/ask"]["post"]["responses"]
    schemas = [
        response["content"]["application/json"]["schema"]
        for status, response in responses.items()
        if status != "200"
    ]

    assert 10 == len(schemas)
    assert [{"$ref": "#/components/schemas/ErrorResponse"}] * len(schemas) == schemas
    properties = document["components"]["schemas"]["ErrorDetail"]["properties"]
    assert {"message", "type", "param", "code"} == set(properties)


def test_nothing_is_left_of_the_errors_that_are_never_answered(document: Any) -> None:
    assert "422" not in str(document)
    assert "ValidationError" not in document["components"]["schemas"]


def test_a_stream_is_documented_beside_the_object(document: Any) -> None:
    content = document["paths"]["/v1/ask"]["post"]["responses"]["200"]["content"]

    assert {"application/json", "text/event-stream"} == set(content)


def test_guarded_operations_say_how_to_give_a_key(document: Any) -> None:
    ways = [{"bearer": []}, {"key": []}]

    assert ways == document["paths"]["/v1/ask"]["post"]["security"]
    assert "security" not in document["paths"]["/version"]["get"]


def test_without_keys_a_key_is_a_choice() -> None:
    app = small_app()
    install_openapi(app, guarded=False, overload_status=429)
    ask = app.openapi()["paths"]["/v1/ask"]["post"]

    assert [{}, {"bearer": []}, {"key": []}] == ask["security"]
    assert "Retry-After" in ask["responses"]["429"]["headers"]


def test_the_page_asks_for_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    named = re.findall(r'(?:href|src)="([^"]*)"', page.text)

    assert {"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "data:,"} == set(named)
    assert "connect-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "kind", "start"),
    [
        ("/docs/swagger-ui-bundle.js", "text/javascript", 1_000_000),
        ("/docs/swagger-ui.css", "text/css", 100_000),
    ],
)
def test_the_files_of_the_page_are_local(
    client: TestClient, path: str, kind: str, start: int
) -> None:
    many = "bytes=" + ",".join(f"{first}-{first}" for first in range(10_000))
    answer = client.get(path, headers={"Range": many, "Host": "x/health?y="})

    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith(kind)
    assert len(answer.content) > start


@pytest.mark.parametrize("path", ["/docs/", "/docs/x.js", "/docs/../openapi.py", "/docs/%2e%2e/a"])
def test_no_other_file_is_served(client: TestClient, path: str) -> None:
    assert 404 == client.get(path).status_code
