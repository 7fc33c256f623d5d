"""Reads server-sent events as the raw text of a response."""

import json
from typing import Any

DONE = "data: [DONE]"


def data_of(text: str) -> list[dict[str, Any]]:
    """The objects of a whole stream, which must end as it should."""
    *events, done, nothing = text.split("\n\n")
    assert (DONE, "") == (done, nothing)
    assert all(event.startswith("data: {") for event in events), text
    return [json.loads(event.removeprefix("data: ")) for event in events]


def text_of(chunks: list[dict[str, Any]], *, index: int = 0) -> str:
    """What one choice of a chat said."""
    parts = [part for chunk in chunks for part in chunk["choices"] if part["index"] == index]
    return "".join(part["delta"].get("content", "") for part in parts)
