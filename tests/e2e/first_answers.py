"""Runs inside a pod from its start on: what /readyz said, and how fast its first answers began.

The first question is asked at the moment it says that it is ready. Prints one line of JSON. The
image has nothing but the standard library for it; so it is handed over as text.
"""

import http.client
import json
import random
import secrets
import statistics
import sys
import time
from typing import Any

POLL_S = 0.05
TIMEOUT_S = 30
STEADY = 15  # answers after the first
WORDS = random.sample(range(2 * STEADY), STEADY + 1)  # that make each question's length its own


def ready(connection: http.client.HTTPConnection) -> tuple[bool, str]:
    try:
        connection.request("GET", "/readyz")
        with connection.getresponse() as answer:
            return answer.status == http.client.OK, json.load(answer)["phase"]
    except (OSError, http.client.HTTPException):
        connection.close()
        return False, "not listening"


def first_token(connection: http.client.HTTPConnection, words: int) -> float:
    """Seconds, after the pause that the first question comes after too: a processor that rested
    takes longer. The question's begin is new each time, so that nothing of it is kept."""
    time.sleep(POLL_S)
    question = f"{secrets.token_hex(8)} What does the readiness probe wait for{' now' * words}?"
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": question}], "stream": True}
    body = json.dumps({**asked, "max_tokens": 8, "ignore_eos": True})
    began = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    with connection.getresponse() as answer:
        while b'"content":"' not in answer.readline().replace(b" ", b""):
            pass
        took = time.monotonic() - began
        answer.read()
    return took


def main() -> None:
    connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=TIMEOUT_S)
    phases: list[str] = []
    while True:
        is_ready, phase = ready(connection)
        phases += [phase] if phase not in phases[-1:] else []
        if is_ready:
            break
        time.sleep(POLL_S)
    since = time.time()
    first, *others = [first_token(connection, words) for words in WORDS]
    steady = statistics.median(others)
    json.dump({"phases": phases, "since": since, "first": first, "steady": steady}, sys.stdout)


main()
