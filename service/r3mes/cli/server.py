"""A running server, as commands see it: a connection, its failures in one sentence, its model."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec

from r3mes.client.answers import refusal
from r3mes.errors import CallFailed


class ModelCard(msgspec.Struct):
    id: str


class ModelList(msgspec.Struct):
    data: list[ModelCard]


def connect(url: str, *, api_key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx.Timeout(300, connect=5)
    return httpx.Client(base_url=url, headers=headers, timeout=timeout)


@contextmanager
def failures_in_one_sentence(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise CallFailed(f"No server answers at {url}. Is `r3mes serve` running?") from error
    except httpx.TimeoutException as error:
        raise CallFailed(f"The server at {url} took too long.") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CallFailed(f"The call to {url} failed: {error}") from error


def served_model(client: httpx.Client) -> str:
    """The first model of the server's list."""
    with failures_in_one_sentence(str(client.base_url)):
        response = client.get("/v1/models")
    if response.status_code != httpx.codes.OK:
        raise refusal(response.status_code, response.content)
    try:
        return msgspec.json.decode(response.content, type=ModelList).data[0].id
    except (msgspec.DecodeError, IndexError) as error:
        raise CallFailed(f"{client.base_url} does not list a model.") from error
