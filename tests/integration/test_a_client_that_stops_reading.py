"""A client that stops reading loses its stream; the streams of others go on."""

import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from support.replica import Replica, wait_for
from support.streams import data_of

IMPATIENT = {"engine.runner": "fake", "server.write_timeout_s": 0.5, "server.workers": 1}
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "ignore_eos": True, "stream": True}
LONG = {**CHAT, "n": 16, "max_tokens": 4000, "logprobs": True, "top_logprobs": 5}


def ask_and_never_read(url: str, body: dict[str, object]) -> socket.socket:
    parts = urlsplit(url)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((parts.hostname, parts.port))
    text = json.dumps(body)
    client.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
    )
    return client


def test_it_is_cut_off_and_its_slots_are_free(start_replica: Callable[..., Replica]) -> None:
    replica = start_replica(IMPATIENT).wait_ready()

    with ask_and_never_read(replica.url, LONG):
        wait_for(lambda: replica.probe("/load").json()["running"], "its choices to run")
        other = httpx.post(
            f"{replica.url}/v1/chat/completions", json={**CHAT, "max_tokens": 50}, timeout=30
        )
        wait_for(lambda: replica.probe("/load").json()["server_load"] == 0, "its end")

    assert "length" == data_of(other.text)[-1]["choices"][0]["finish_reason"]
    assert 1 == replica.metric("r3mes_requests_total", status="499")
    assert 1 == replica.metric("r3mes_requests_total", status="200", route="/v1/chat/completions")
