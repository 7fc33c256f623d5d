"""Small random checkpoints of many architectures, with a byte-level tokenizer, and their oracle.

Weights are scaled up so that the most likely token stands out: ties would make any comparison of
tokens meaningless. Windows are far shorter than the sequences of the tests.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 300
WINDOW = 16
TIE = 1e-4  # two logits closer than this may change places with another order of additions
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
ALTERNATING = ["sliding_attention", "full_attention"] * 2
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
RECIPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {
        "use_sliding_window": True,
        "sliding_window": WINDOW,
        "max_window_layers": 2,
    },
    "qwen3": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma2": {
        "sliding_window": WINDOW,
        "layer_types": ALTERNATING,
        "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 30.0,
    },
    "gemma3_text": {
        "sliding_window": WINDOW,
        "layer_types": ALTERNATING,
        "query_pre_attn_scalar": 16,
    },
    "phi3": {"sliding_window": WINDOW},
    "olmo2": {},
    "smollm3": {"no_rope_layers": [1, 1, 1, 0], "no_rope_layer_interval": 4},
    "gpt_oss": {
        "sliding_window": WINDOW,
        "layer_types": ALTERNATING,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "intermediate_size": 48,
    },
    "qwen3_moe": EXPERTS,
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "cohere2": {"sliding_window": WINDOW, "layer_types": ALTERNATING, "logit_scale": 1.0},
    "gpt_neox": {},
    "deepseek_v3": {
        "q_lora_rank": 32,
        "kv_lora_rank": 32,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 12,
        "head_dim": 8,
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 48,
        "first_k_dense_replace": 2,
    },
}


def make_checkpoint(folder: Path, kind: str, *, seed: int = 0, **changes: Any) -> Path:
    """Save a random model of that type and its tokenizer into `folder`; returns `folder`."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **{**COMMON, **RECIPES[kind], **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=spread(name, weight))
            elif name.endswith("sinks"):
                weight.normal_()
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def spread(name: str, weight: torch.Tensor) -> float:
    """Keeps the size of hidden states through a layer, and makes the last one sharp."""
    if "embed" in name:
        return 1.0
    fan_in = weight.shape[-2] if "experts" in name and weight.dim() == 3 else weight.shape[-1]
    return float(fan_in**-0.5) * (3.0 if "head" in name else 1.5)


def save_tokenizer(folder: Path) -> None:
    """Every byte is a token; three special ones come first."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        additional_special_tokens=[SPECIAL[1]],
    )
    fast.chat_template = CHAT
    fast.save_pretrained(folder)


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None deletes one."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@dataclass(frozen=True)
class Answer:
    """What plain greedy `generate` says; `sure` tokens come before the first near-tie."""

    ids: list[int]
    sure: int


class Oracle:
    """The stock model in float32, one prompt at a time."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", use_safetensors=True
        ).eval()
        self.model.generation_config.eos_token_id = None

    def answer(self, prompt: list[int], count: int) -> Answer:
        out = self.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=count,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = torch.cat(out.logits).topk(2).values
        ties = ((best[:, 0] - best[:, 1]) < TIE).nonzero()
        sure = int(ties[0]) if len(ties) else count
        return Answer(out.sequences[0, len(prompt) :].tolist(), sure)
