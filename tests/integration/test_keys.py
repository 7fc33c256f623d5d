"""Every route of the real application asks for the key, except the few that must not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from r3mes.replica.app import build_app
from r3mes.replica.engine_client import EngineClient
from r3mes.settings import Settings
from support.replica import Replica

OPEN = {"/version", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"}
PROBES = {"/livez", "/readyz", "/startupz", "/health", "/ready", "/metrics"}
FILED = "the-key-of-the-file"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The application as a worker builds it; it is looked at, not run."""
    settings = Settings()
    folder = tmp_path_factory.mktemp("run")
    return build_app(settings, EngineClient(folder, worker="w1", pid=1, probes=settings.probes))


def every_route(routes: list[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from every_route(included.routes)
        else:
            assert isinstance(route, Route)
            yield route


def calls(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in every_route(list(app.routes)):
        for method in route.methods or ():
            yield method, route.path.replace("{id:path}", "some/model")


def test_every_route_but_the_open_ones_refuses_a_stranger(
    app: FastAPI, guarded_replica: Replica
) -> None:
    with httpx.Client(base_url=guarded_replica.url) as client:
        let_in = {
            path
            for method, path in calls(app)
            if client.request(method, path, content=b"{}").status_code != 401
        }

    assert let_in == OPEN


def test_the_walk_sees_the_routes_that_matter(app: FastAPI) -> None:
    seen = set(calls(app))

    assert {
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/some/model"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("GET", "/load"),
    } <= seen


@pytest.mark.parametrize("path", sorted(PROBES))
def test_probes_and_metrics_need_no_key(guarded_replica: Replica, path: str) -> None:
    assert 200 == guarded_replica.probe(path).status_code


@pytest.mark.parametrize("header", [("Authorization", "Bearer {}"), ("X-Api-Key", "{}")])
def test_the_key_opens_what_is_guarded(
    guarded_replica: Replica, key: str, header: tuple[str, str]
) -> None:
    name, form = header
    answer = httpx.get(f"{guarded_replica.url}/v1/models", headers={name: form.format(key)})

    assert (200, "fake") == (answer.status_code, answer.json()["data"][0]["id"])


def test_keys_of_a_file_open_the_service(
    start_replica: Callable[..., Replica], tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# made in May\n{FILED}\n")
    replica = start_replica({"engine.runner": "fake", "api_keys_file": path}).wait_ready()

    def status(key: str) -> int:
        url = f"{replica.url}/v1/models"
        return httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code

    assert (200, 401) == (status(FILED), status(FILED + "x"))
    assert FILED not in replica.log


def test_a_bad_file_stops_the_start_in_one_sentence(
    start_replica: Callable[..., Replica], tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text("not a key\n")
    replica = start_replica({"engine.runner": "fake", "api_keys_file": path})

    assert 2 == replica.wait_end()
    assert "r3mes: R3MES_API_KEYS_FILE, entry 1: a key is visible ASCII without spaces." == (
        replica.log.strip()
    )
