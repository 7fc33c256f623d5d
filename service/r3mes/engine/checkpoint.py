"""The files of a checkpoint folder: which there are, whether they are sound, what identifies them.

Reads bytes and JSON only; nothing in the folder is ever executed or unpickled. Needs no torch, so
that a folder that cannot be served is refused before torch's slow import.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3mes.errors import StartError

MOST_HEADER = 100 << 20
MOST_METADATA = 1 << 20
MOST_JSON = 64 << 20
EDGE = 1 << 20
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("BOOL", "U8", "I8"), 1),
}
OTHER_SENSES = ("vision_config", "audio_config", "text_config", "speech_config")
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight files, the count of their elements and their most frequent float type."""

    files: tuple[Path, ...]
    elements: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder whose files are sound, and its config.json."""

    folder: Path
    weights: Weights
    config: dict[str, Any]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Raises StartError for whatever can be told without torch."""
    weights = check_files(folder)
    config = read_config(folder)
    refuse_config(config)
    return Checkpoint(folder, weights, config)


def read_json(path: Path) -> dict[str, Any]:
    """An object out of a JSON file, or a refusal in one line."""
    if path.stat().st_size > MOST_JSON:
        raise StartError(f"{path.name} is larger than {MOST_JSON >> 20} MiB")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise StartError(f"{path.name} is not valid JSON") from error
    if not isinstance(value, dict):
        raise StartError(f"{path.name} is not a JSON object")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise StartError(f"{folder.name} has no config.json")
    return read_json(path)


def refuse_config(config: dict[str, Any]) -> None:
    if not isinstance(config.get("model_type"), str):
        raise StartError("config.json names no model_type")
    if config.get("quantization_config"):
        raise StartError("quantised checkpoints are not supported")
    if config.get("is_encoder_decoder"):
        raise StartError("encoder-decoder models are not supported")
    senses = [name for name in OTHER_SENSES if config.get(name)]
    if senses:
        raise StartError(f"multimodal models are not supported (config.json has {senses[0]})")


def check_files(folder: Path) -> Weights:
    """Refuse a folder that is not a whole checkpoint with sound safetensors files."""
    if (folder / "adapter_config.json").exists():
        raise StartError(f"{folder.name} holds an adapter, not a whole model")
    files = weight_files(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise StartError(f"{folder.name} has no tokenizer")
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(check_safetensors(file))
    floats = {name: counts[name] for name in FLOATS if counts[name]}
    if not floats:
        raise StartError(f"{folder.name} has no floating-point weights")
    return Weights(files, counts.total(), max(floats, key=lambda name: floats[name]))


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The one file, or all that the index names."""
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if (folder / INDEX).is_file():
        named = read_json(folder / INDEX).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise StartError(f"{INDEX} has no weight_map")
        return tuple(_part(folder, name) for name in sorted(set(map(str, named.values()))))
    if any(next(folder.glob(pattern), None) for pattern in PICKLES):
        raise StartError(
            f"{folder.name} has only pickled weights, which can run code; "
            "convert them to safetensors"
        )
    raise StartError(f"{folder.name} has no {WEIGHTS}")


def _part(folder: Path, name: str) -> Path:
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise StartError(f"{INDEX} names a file that is not a safetensors file beside it")
    if not (folder / name).is_file():
        raise StartError(f"{folder.name} lacks {name}, which its index names")
    return folder / name


def check_safetensors(path: Path) -> Counter[str]:
    """Elements by type; refuses a header or offsets that do not describe the file exactly."""
    header, room = _header(path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or len(json.dumps(metadata)) > MOST_METADATA:
        raise StartError(f"{path.name}: its metadata is too large")
    counts: Counter[str] = Counter()
    spans = []
    for name, entry in header.items():
        dtype, elements, begin, end = _entry(path, name, entry)
        if not 0 <= begin <= end <= room:
            raise StartError(f"{path.name}: tensor {name[:80]} lies outside the file; truncated?")
        if end - begin != elements * ITEM_BYTES[dtype]:
            raise StartError(f"{path.name}: tensor {name[:80]} has the wrong size for its shape")
        counts[dtype] += elements
        spans.append((begin, end))
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise StartError(f"{path.name}: its tensors overlap or leave holes")
        reached = end
    if reached != room:
        raise StartError(f"{path.name}: it is longer than its tensors")
    return counts


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The parsed header and how many bytes of data follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise StartError(
                f"{path.name}: its header claims {length} bytes, not a safetensors file"
            )
        if 8 + length > size:
            raise StartError(f"{path.name} is truncated")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise StartError(f"{path.name}: its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise StartError(f"{path.name}: its header is not a JSON object")
    return header, size - 8 - length


def _entry(path: Path, name: str, entry: object) -> tuple[str, int, int, int]:
    """(type, elements, begin, end) of one tensor."""
    if not isinstance(entry, Mapping):
        raise StartError(f"{path.name}: tensor {name[:80]} is not described")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if dtype not in ITEM_BYTES:
        raise StartError(f"{path.name}: tensor {name[:80]} is of type {dtype}, not supported")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise StartError(f"{path.name}: tensor {name[:80]} has no shape or no offsets")
    if any(type(one) is not int or one < 0 for one in [*shape, *offsets]):
        raise StartError(f"{path.name}: tensor {name[:80]} has a bad shape or bad offsets")
    return dtype, math.prod(shape), offsets[0], offsets[1]


def fingerprint(folder: Path, weights: Weights, *, dtype: str, template: Path | None) -> str:
    """SHA-256 over what decides the tokens: equal means that a stream can be resumed.

    Hashing gigabytes would delay each start, so of a weight file it takes name, size, header and
    the first and last MiB of data; of configuration, tokenizer and template every byte.
    """
    digest = hashlib.sha256(dtype.encode())
    for file in weights.files:
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            digest.update(opened.read(length + EDGE))
            opened.seek(max(0, file.stat().st_size - EDGE))
            digest.update(opened.read(EDGE))
    small = [*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob("*.txt")]
    small += folder.glob("*.model")
    for file in [*sorted(small), *([template] if template else [])]:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}".encode())
        digest.update(content)
    return digest.hexdigest()
