"""What a checkpoint's config.json says: which native class serves it, or why none of ours can.

Owns every refusal that takes `transformers` to decide but no weights. No code of a checkpoint is
ever run: keys that name code, kernels or files are dropped before `transformers` sees the config.
"""

from typing import Any

from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

from r3mes.errors import StartError, first_line

DROPPED = {
    "attn_implementation",
    "auto_map",
    "experts_implementation",
    "transformers_weights",
}
ATTENTION_KINDS = {"full_attention", "sliding_attention"}


def build_config(raw: dict[str, Any]) -> Any:
    """The native config object; `raw` is one that `read_checkpoint` let through."""
    kind = raw["model_type"]
    if kind not in CONFIG_MAPPING:
        raise StartError(f"transformers has no model type {str(kind)[:80]}{_own_code(raw)}")
    kept = {k: v for k, v in raw.items() if k not in DROPPED and not k.startswith("_")}
    try:
        config = CONFIG_MAPPING[kind].from_dict(kept)
    except Exception as error:
        raise StartError(
            f"config.json does not fit model type {kind}: {first_line(error)}"
        ) from error
    refuse_layers(config)
    return config


def _own_code(raw: dict[str, Any]) -> str:
    return "; its own code is never run" if "auto_map" in raw else ""


def refuse_layers(config: Any) -> None:
    """Layers whose attention our function would not compute as the model means it."""
    kinds = set(getattr(config, "layer_types", None) or ()) - ATTENTION_KINDS
    if kinds:
        raise StartError(f"layers of type {sorted(map(str, kinds))[0]} are not supported")
    if getattr(config, "attention_chunk_size", None):
        raise StartError("chunked attention is not supported")


def model_class(config: Any) -> Any:
    """The native class that generates text, if its attention goes through the registry."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise StartError(f"models of type {config.model_type} do not generate text")
    found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if getattr(found, "_is_stateful", False):
        raise StartError(f"{config.model_type} keeps a recurrent state, which is not supported")
    if not getattr(found, "_supports_attention_backend", False):
        raise StartError(f"{config.model_type} does not use transformers' attention registry")
    return found


def positions(config: Any) -> int:
    """Longest sequence whose positions mean the same for every row of a batch.

    Longrope changes all frequencies once the longest row passes the original length; a token
    would then depend on its neighbours, so it is served up to there.
    """
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        raise StartError("config.json names no max_position_embeddings")
    for rope in ropes(config):
        if rope.get("rope_type") == "longrope":
            most = min(most, int(rope.get("original_max_position_embeddings") or most))
    return most


def ropes(config: Any) -> list[dict[str, Any]]:
    """The rope parameters, which some models keep for each type of layer."""
    given = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in given:
        return [given]
    return [one for one in given.values() if isinstance(one, dict)]


def windows(config: Any, layers: int) -> list[int | None]:
    """The sliding window that the config declares for each layer."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * layers
    return [window if kind == "sliding_attention" else None for kind in kinds[:layers]]
