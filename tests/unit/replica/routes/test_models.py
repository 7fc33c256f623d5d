"""What is told of the model."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from r3mes.replica.app import build_app
from r3mes.replica.edge import Edge
from r3mes.replica.engine_client import EngineClient
from r3mes.replica.routes.models import root_of
from r3mes.settings import Settings
from support.backstage import state
from support.model_info import info_of


def front(engine: EngineClient) -> TestClient:
    settings = Settings()
    edge = Edge(
        build_app(settings, engine),
        settings=settings.server,
        on_start=lambda exchange, headers: None,
        on_end=lambda exchange: None,
        draining=lambda: False,
    )
    return TestClient(edge)


def test_a_model_is_told_of_once_its_length_is_known(tmp_path: Path) -> None:
    engine = EngineClient(tmp_path, worker="w1", pid=1, probes=Settings().probes)
    client = front(engine)
    seen = []
    for length in (0, 4096):
        engine.state = state(model=info_of(name="mine", max_len=length))
        listed = client.get("/v1/models").json()["data"]
        one = client.get("/v1/models/mine")
        seen.append(([model["max_model_len"] for model in listed], one.status_code))

    assert [([], 503), ([4096], 200)] == seen


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("bundled", "bundled"),
        ("owner/model", "owner/model"),
        ("/srv/secret/models/mine", "mine"),
        ("~/models/mine/", "mine"),
        ("./mine", "mine"),
        ("models/of/mine", "mine"),
        ("/", ""),
    ],
)
def test_a_folder_is_told_by_its_name_alone(source: str, root: str) -> None:
    assert root == root_of(source)
