"""Checkpoints that cannot be served are refused at the start, each in one line with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from r3mes.engine.checkpoint import read_checkpoint
from r3mes.engine.load import LoadedModel, load_model
from r3mes.errors import StartError
from r3mes.settings import EngineSettings, ModelSettings
from support.models import edit_json, make_checkpoint, save_tokenizer

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_checkpoint(tmp_path_factory.mktemp("sound") / "small", "llama")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(copytree(sound, tmp_path / "small"))


def load(folder: Path, *, engine: dict[str, Any] | None = None, **model: Any) -> LoadedModel:
    return load_model(
        ModelSettings(source=str(folder), device="cpu", **model),
        EngineSettings(**{"kv_blocks": 16, **(engine or {})}),
        checkpoint=read_checkpoint(folder),
        progress=lambda share, detail: None,
        accepted=lambda path: None,
    )


def reason(folder: Path, **options: Any) -> str:
    with pytest.raises(StartError) as caught:
        load(folder, **options)
    assert "\n" not in caught.value.message
    return caught.value.message


def spoil_header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the header of the weights, leaving the data as it is."""
    path = folder / WEIGHTS
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[end:])


def test_a_sound_checkpoint_is_served(folder: Path) -> None:
    loaded = load(folder)

    assert "small" == loaded.info.name
    assert (2,) == loaded.info.eos_token_ids
    assert 256 == loaded.info.max_len == loaded.runner.num_blocks * 16
    assert 300 == loaded.info.vocab_size
    assert ("float32", "cpu") == (loaded.info.dtype, loaded.info.device)


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")

    expected = "small has only pickled weights, which can run code; convert them to safetensors"
    assert expected == reason(folder)


def test_a_type_that_only_its_own_code_knows_is_refused(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('remote code ran')")
    own = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    edit_json(folder / "config.json", model_type="own", auto_map=own)

    expected = "transformers has no model type own; its own code is never run"
    assert expected == reason(folder)


def test_auto_map_of_a_known_type_is_ignored(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('remote code ran')")
    edit_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "own.Model"})

    assert 300 == load(folder).info.vocab_size


def test_a_config_cannot_choose_kernels_or_other_files(folder: Path) -> None:
    edit_json(
        folder / "config.json",
        _attn_implementation="someone/kernel",
        attn_implementation="someone/kernel",
        transformers_weights="../elsewhere.safetensors",
    )

    assert 300 == load(folder).info.vocab_size


def test_truncated_weights(folder: Path) -> None:
    raw = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(raw[:-100])

    assert "lies outside the file; truncated?" in reason(folder)
    (folder / WEIGHTS).write_bytes(raw[:100])
    assert f"{WEIGHTS} is truncated" == reason(folder)


def test_a_header_of_impossible_length(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((1 << 63).to_bytes(8, "little") + b"{}")

    assert "its header claims 9223372036854775808 bytes" in reason(folder)


def test_overlapping_tensors(folder: Path) -> None:
    def overlap(header: dict[str, Any]) -> None:
        norms = [entry for name, entry in header.items() if "layernorm" in name]
        norms[0]["data_offsets"] = norms[1]["data_offsets"]

    spoil_header(folder, overlap)

    assert f"{WEIGHTS}: its tensors overlap or leave holes" == reason(folder)


def test_a_shape_that_does_not_fit_its_bytes(folder: Path) -> None:
    spoil_header(folder, lambda header: header["lm_head.weight"].update(shape=[1 << 40, 64]))

    assert "tensor lm_head.weight has the wrong size for its shape" in reason(folder)


def test_huge_metadata(folder: Path) -> None:
    spoil_header(folder, lambda header: header.update(__metadata__={"a": "b" * (2 << 20)}))

    assert f"{WEIGHTS}: its metadata is too large" == reason(folder)


def test_weights_of_an_unknown_type(folder: Path) -> None:
    spoil_header(folder, lambda header: header["lm_head.weight"].update(dtype="F8_E4M3"))

    assert "tensor lm_head.weight is of type F8_E4M3, not supported" in reason(folder)


def test_an_index_that_points_elsewhere(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))

    assert "names a file that is not a safetensors file beside it" in reason(folder)
    index.write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    assert "small lacks gone.safetensors, which its index names" == reason(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = value
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    expected = "the weights hold numbers that are not finite, in model.layers.1.mlp.up_proj.weight"
    assert expected == reason(folder)


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    expected = "1 weights are missing, the first is model.layers.1.mlp.up_proj.weight"
    assert expected == reason(folder)


def test_weights_of_another_shape_than_the_config_says(folder: Path) -> None:
    edit_json(folder / "config.json", intermediate_size=128)

    assert "weights" in reason(folder)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised checkpoints"),
        ({"is_encoder_decoder": True}, "encoder-decoder models are not supported"),
        ({"vision_config": {"hidden_size": 1}}, "multimodal models are not supported"),
        ({"model_type": None}, "config.json names no model_type"),
        ({"model_type": "nonesuch"}, "transformers has no model type nonesuch"),
        ({"model_type": "vit"}, "models of type vit do not generate text"),
        ({"model_type": "bloom"}, "bloom does not use transformers' attention registry"),
        ({"model_type": "rwkv"}, "rwkv keeps a recurrent state, which is not supported"),
        ({"model_type": "mamba"}, "layers of type linear_attention are not supported"),
        ({"model_type": "llama4_text"}, "layers of type chunked_attention are not supported"),
        ({"layer_types": ["linear_attention"] * 4}, "layers of type linear_attention are not"),
        ({"attention_chunk_size": 8}, "chunked attention is not supported"),
        ({"hidden_size": "many"}, "config.json does not fit model type llama"),
    ],
    ids=str,
)
def test_configs_that_cannot_be_served(
    folder: Path, changes: dict[str, Any], expected: str
) -> None:
    edit_json(folder / "config.json", **changes)

    with pytest.raises(StartError, match=expected):
        load(folder)


def test_an_encoder_decoder_checkpoint(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "t5", vocab_size=300, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)

    assert "encoder-decoder models are not supported" == reason(tmp_path)


def test_a_model_that_sees_later_tokens(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "bert", vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)

    assert "the architecture attends to later tokens too" == reason(tmp_path)


def test_a_checkpoint_without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()

    assert "small has no tokenizer" == reason(folder)


def test_an_adapter_is_not_a_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")

    assert "small holds an adapter, not a whole model" == reason(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000])
def test_a_config_that_is_no_json_object(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)

    assert reason(folder).startswith("config.json is not")


def test_a_limit_beyond_the_models_positions(folder: Path) -> None:
    assert "max_len is 300, and the model has 256 positions" == reason(folder, max_len=300)


def test_a_cache_that_does_not_fit_into_memory(folder: Path) -> None:
    assert "1000000000 KV blocks need" in reason(folder, engine={"kv_blocks": 10**9})


def test_a_cache_too_small_for_one_sequence(folder: Path) -> None:
    engine = {"kv_blocks": None, "kv_memory_fraction": 1e-9}

    assert "one sequence of 256 tokens needs" in reason(folder, engine=engine)


@pytest.mark.parametrize("value", [-1, 7.5, "hot", True])
def test_sampling_defaults_out_of_bounds(folder: Path, value: object) -> None:
    edit_json(folder / "generation_config.json", top_p=value)

    assert reason(folder).startswith("generation_config.json: top_p")


def test_sampling_defaults_and_end_ids_are_collected(folder: Path) -> None:
    edit_json(
        folder / "generation_config.json", temperature=0.6, top_k=20, eos_token_id=[1, 2, 4000]
    )

    loaded = load(folder)

    assert {"temperature": 0.6, "top_k": 20.0} == loaded.info.defaults
    assert (1, 2) == loaded.info.eos_token_ids


def test_the_fingerprint_follows_weights_tokenizer_type_and_template(
    folder: Path, tmp_path: Path
) -> None:
    template = tmp_path / "own.jinja"
    template.write_text("{{ messages }}")
    first = load(folder).info.fingerprint
    assert first == load(folder).info.fingerprint
    prints = {first, load(folder, dtype="bfloat16").info.fingerprint}
    prints.add(load(folder, chat_template=template).info.fingerprint)
    edit_json(folder / "tokenizer_config.json", model_max_length=99)
    prints.add(load(folder).info.fingerprint)
    tensors = load_file(folder / WEIGHTS)
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    prints.add(load(folder).info.fingerprint)

    assert 5 == len(prints)


def test_longrope_is_served_up_to_its_original_length(tmp_path: Path) -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
        "original_max_position_embeddings": 128,
    }
    folder = make_checkpoint(
        tmp_path, "phi3", rope_parameters=rope, original_max_position_embeddings=128
    )

    assert 128 == load(folder).info.max_len


def test_half_precision_is_served_too(folder: Path) -> None:
    assert "bfloat16" == load(folder, dtype="bfloat16").info.dtype
