"""What the cases ask of a replica they reach. Knows no cluster."""

import time
from typing import Any

import httpx

QUESTION = "What does the readiness probe wait for?"
PATH = "/v1/chat/completions"
TIMEOUT_S = 60


def body(question: str = QUESTION, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], **more}


def chat(url: str, *, key: str = "") -> str:
    """The text of an answer."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = httpx.post(f"{url}{PATH}", json=body(), headers=headers, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


def wait_for_a_token(url: str) -> float:
    """When the first one of a stream had come; the stream is read to its end."""
    came = 0.0
    with httpx.stream("POST", f"{url}{PATH}", json=body(stream=True), timeout=TIMEOUT_S) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if '"content":"' in line.replace(" ", "") and not came:
                came = time.monotonic()
    assert came, "the stream had no text"
    return came


def served(url: str) -> list[str]:
    """The models it has."""
    answer = httpx.get(f"{url}/v1/models", timeout=TIMEOUT_S)
    answer.raise_for_status()
    return [model["id"] for model in answer.json()["data"]]
