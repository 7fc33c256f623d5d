"""The OpenAPI document against the running service: what it does not say must not happen."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import one_of
from schemathesis import BaseSchema, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from support.replica import Replica

CHECKED = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.unsupported_method,
    checks.allow_header_conformance,
    checks.ignored_auth,
]
OPERATIONS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{id}"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("GET", "/version"),
    ("GET", "/load"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/startupz"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
]
BOUNDED = settings(
    max_examples=20,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FEW_TOKENS = 3


@pytest.fixture(scope="module")
def document(guarded_replica: Replica) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{guarded_replica.url}/openapi.json")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_undocumented_answer_and_no_server_error(
    document: BaseSchema, key: str, method: str, path: str
) -> None:
    operation = document[path][method]

    @seed(20)
    @settings(BOUNDED)
    @given(case=one_of(operation.as_strategy(mode) for mode in GenerationMode))
    def answers_as_documented(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict):
            steer(case.body)
        case.call_and_validate(
            headers={"Authorization": f"Bearer {key}"}, checks=CHECKED, timeout=30
        )

    answers_as_documented()


def steer(body: dict[str, Any]) -> None:
    """Towards the model that is served, and short answers: most requests should get to work."""
    body.pop("model", None)
    wanted = body.get("max_tokens")
    if wanted is None or (isinstance(wanted, int) and wanted > FEW_TOKENS):
        body["max_tokens"] = FEW_TOKENS


def test_the_document_lists_the_routes_and_no_422(guarded_replica: Replica) -> None:
    document = httpx.get(f"{guarded_replica.url}/openapi.json").json()

    documented = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    assert documented == set(OPERATIONS)
    assert "422" not in str(document)


def test_the_page_works_without_a_network(guarded_replica: Replica) -> None:
    page = httpx.get(f"{guarded_replica.url}/docs")

    assert 200 == page.status_code
    assert "https://" not in page.text
    assert 200 == httpx.get(f"{guarded_replica.url}/docs/swagger-ui-bundle.js").status_code
