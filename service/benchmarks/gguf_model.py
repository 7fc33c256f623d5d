"""Writes a checkpoint of Llama, Qwen2 or Qwen3 as GGUF, in f32 or q8_0: some read only that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

Kind = Literal["f32", "q8_0"]
NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.q_proj.bias": "attn_q.bias",
    "self_attn.k_proj.bias": "attn_k.bias",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}
HEADS = {"attn_q.weight": "num_attention_heads", "attn_k.weight": "num_key_value_heads"}


def gguf_of(model: Path, kind: Kind = "f32") -> Path:
    """The GGUF file beside the checkpoint; made on the first call, whole or not at all."""
    file = model / f"model-{kind}.gguf"
    if not file.exists():
        unfinished = file.with_suffix(".unfinished")
        write(model, unfinished, kind)
        unfinished.rename(file)
    return file


def write(model: Path, file: Path, kind: Kind) -> None:
    import gguf

    small = gguf.GGMLQuantizationType.Q8_0
    types = {"f32": gguf.LlamaFileType.ALL_F32, "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}

    config = json.loads((model / "config.json").read_text())
    writer = gguf.GGUFWriter(file, config["model_type"])
    describe(writer, config)
    describe_tokenizer(writer, config, json.loads((model / "tokenizer.json").read_text()))
    writer.add_file_type(types[kind])
    for name, tensor in tensors(model, config):
        if kind == "q8_0" and tensor.ndim > 1:
            writer.add_tensor(name, gguf.quants.quantize(tensor, small), raw_dtype=small)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or config
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_name("random")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(width)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_freq_base(rope.get("rope_theta", 10000.0))
    writer.add_vocab_size(config["vocab_size"])


def describe_tokenizer(writer: Any, config: dict[str, Any], spec: dict[str, Any]) -> None:
    from gguf import TokenType

    text = {number: piece for piece, number in spec["model"]["vocab"].items()}
    special = {added["id"]: added["content"] for added in spec["added_tokens"]}
    text |= special
    numbers = range(config["vocab_size"])
    merges = (m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([text[number] for number in numbers])
    writer.add_token_types(
        [TokenType.CONTROL if number in special else TokenType.NORMAL for number in numbers]
    )
    writer.add_token_merges(list(merges))
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


def tensors(model: Path, config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and arrays; the output layer is absent where it is tied to the embedding."""
    from safetensors.numpy import load_file

    weights = load_file(model / "model.safetensors")
    yield "token_embd.weight", weights["model.embed_tokens.weight"]
    yield "output_norm.weight", weights["model.norm.weight"]
    if "lm_head.weight" in weights:
        yield "output.weight", weights["lm_head.weight"]
    for layer in range(config["num_hidden_layers"]):
        for source, name in NAMES.items():
            tensor = weights.get(f"model.layers.{layer}.{source}")
            if tensor is None:
                continue
            if name in HEADS and config["model_type"] == "llama":
                tensor = interleave(tensor, config[HEADS[name]])
            yield f"blk.{layer}.{name}", tensor


def interleave(weight: Any, heads: int) -> Any:
    """Rotary pairs: a half apart in safetensors, neighbours in the GGUF of a Llama."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)
