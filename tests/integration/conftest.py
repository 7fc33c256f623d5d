"""A replica that is guarded by a key, strict about fields and short of patience."""

from collections.abc import Iterator

import pytest

from support.replica import Replica, running_replica

KEY = "test-key-3f9a"
SETTINGS = {
    "engine.runner": "fake",
    "engine.fake_step_ms": 2,
    "api_keys": KEY,
    "server.strict_fields": True,
    "server.header_timeout_s": 1,
    "server.body_timeout_s": 1,
    "server.write_timeout_s": 1,
}


@pytest.fixture(scope="session")
def key() -> str:
    return KEY


@pytest.fixture(scope="session")
def guarded_replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    with running_replica(tmp_path_factory.mktemp("guarded"), SETTINGS) as replica:
        yield replica.wait_ready()
