"""Makes a checkpoint with random weights and a tokenizer in which every id is text.

Its speed is that of a trained model of its shape, and nothing is downloaded: the tokenizer learns
from the standard library's sources. Its answers mean nothing.
"""

import json
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any, Literal

Size = Literal["135m", "360m", "qwen2.5-0.5b", "qwen3-0.6b", "5m"]
# Of SmolLM2-135M and -360M, Qwen2.5-0.5B, Qwen3-0.6B, and a small one for tries.
SHAPES: dict[Size, dict[str, Any]] = {
    "135m": {
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49152,
    },
    "360m": {
        "hidden_size": 960,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "intermediate_size": 2560,
        "vocab_size": 49152,
    },
    "qwen2.5-0.5b": {
        "model_type": "qwen2",
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "vocab_size": 151936,
    },
    "qwen3-0.6b": {
        "model_type": "qwen3",
        "hidden_size": 1024,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "vocab_size": 151936,
    },
    "5m": {
        "hidden_size": 192,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
        "vocab_size": 8192,
    },
}
SPECIAL = ["<|end|>", "<|im_start|>", "<|im_end|>"]
LEARNED = 8000  # entries of the vocabulary that are learned; the rest is filled up
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "r3mes" / "bench"


def random_model(size: Size) -> Path:
    """The folder of the checkpoint; made on the first call, whole or not at all."""
    folder = cache() / f"random-{size}"
    if not folder.is_dir():
        unfinished = folder.with_suffix(f".{os.getpid()}")
        make(unfinished, SHAPES[size])
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    return folder


def make(folder: Path, shape: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        **{"model_type": "llama", **shape},
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = AutoModelForCausalLM.from_config(config)
    shake_biases(model)
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=make_tokenizer(shape["vocab_size"]),
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def shake_biases(model: Any) -> None:
    """They begin as zeros, which would hide that somebody leaves them out."""
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.data.normal_(std=0.02)


def make_tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = sorted(map(str, Path(sysconfig.get_paths()["stdlib"]).glob("*.py")))
    trainer = trainers.BpeTrainer(
        vocab_size=min(LEARNED, vocabulary),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train(texts, trainer)
    spec = json.loads(tokenizer.to_str())
    known = spec["model"]["vocab"]
    # A random model picks any id; one without text would be an event without text.
    known.update({f"\u0120w{number}": number for number in range(len(known), vocabulary)})
    return Tokenizer.from_str(json.dumps(spec))
