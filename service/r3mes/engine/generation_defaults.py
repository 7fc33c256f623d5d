"""What a checkpoint says of generating: ids that end it, and sampling defaults. Reads JSON only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r3mes.bounds import BOUNDS
from r3mes.engine.checkpoint import read_json
from r3mes.errors import StartError


def sampling(folder: Path) -> dict[str, float]:
    """Defaults of requests that name none: those that generation_config.json sets."""
    given = _optional(folder / "generation_config.json")
    found = {name: given[name] for name in BOUNDS if given.get(name) is not None}
    for name, value in found.items():
        least, most = BOUNDS[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise StartError(f"generation_config.json: {name} is not a number")
        if not least <= value <= most:
            raise StartError(f"generation_config.json: {name} of {value} is out of bounds")
    if found.get("top_p") == 0:
        raise StartError("generation_config.json: top_p of 0 is out of bounds")
    return {name: float(value) for name, value in found.items()}


def eos_ids(folder: Path, config: Any, *, vocab_size: int) -> tuple[int, ...]:
    """All ids that may end an answer: of generation config, config and tokenizer."""
    named = _optional(folder / "generation_config.json").get("eos_token_id")
    ids = {*_ids(named), *_ids(config.eos_token_id), *_tokenizer_eos(folder)}
    return tuple(sorted(one for one in ids if 0 <= one < vocab_size))


def _ids(value: object) -> Iterator[int]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int) and not isinstance(one, bool):
            yield one


def _tokenizer_eos(folder: Path) -> Iterator[int]:
    """The id of the tokenizer's end token, where its files name it."""
    named = _optional(folder / "tokenizer_config.json").get("eos_token")
    text = named.get("content") if isinstance(named, dict) else named
    tokens = _optional(folder / "tokenizer.json").get("added_tokens") or ()
    for one in tokens:
        if isinstance(one, dict) and text is not None and one.get("content") == text:
            yield from _ids(one.get("id"))


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
