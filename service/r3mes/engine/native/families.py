"""Which modules of `transformers` are Llama-shaped, and where their tensors go in a whole step.

A family is known by its class; that it computes what its module computes is checked on the loaded
weights all the same. Knows nothing of batches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from r3mes.engine.attention import Heads
from r3mes.engine.native.library import (
    GATE_GELU,
    GATE_SILU,
    STRIPE,
    Arena,
    Layer,
    Model,
    Norm,
    Weight,
)
from r3mes.engine.native.packing import in_turn, is_bfloat16, kind_of, pack
from r3mes.engine.native.whole_step import Structure

ROPES = {"default", "linear", "llama3", "yarn"}  # whose tables do not depend on the length
GATES = {"silu": GATE_SILU, "swish": GATE_SILU, "gelu_pytorch_tanh": GATE_GELU}


@dataclass(frozen=True, slots=True)
class Family:
    """Names of a layer's norms, "" for none, and what is added to their weights."""

    before_attention: str = "input_layernorm"
    after_attention: str = ""
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str = ""
    norm_offset: float = 0.0


LLAMA = Family()
OLMO2 = Family("", "post_attention_layernorm", "", "post_feedforward_layernorm")
GEMMA2 = Family(
    after_attention="post_attention_layernorm",
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
    norm_offset=1.0,
)
FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": LLAMA,
    "Qwen2ForCausalLM": LLAMA,
    "Qwen3ForCausalLM": LLAMA,
    "SmolLM3ForCausalLM": LLAMA,
    "GraniteForCausalLM": LLAMA,
    "Olmo2ForCausalLM": OLMO2,
    "GemmaForCausalLM": Family(norm_offset=1.0),
    "Gemma2ForCausalLM": GEMMA2,
}


def family_of(module: Any) -> Family | None:
    """None for what a whole step does not compute."""
    family = FAMILIES.get(type(module).__name__)
    if family is None:
        return None
    config = module.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    gate = getattr(config, "hidden_act", None) or getattr(config, "hidden_activation", None)
    sizes = (config.hidden_size, config.intermediate_size)
    fits = rope in ROPES and gate in GATES and not any(size % STRIPE for size in sizes)
    return family if fits else None


class Builder:
    """Packs a module layer by layer, and lets go of each weight that was packed."""

    def __init__(self, module: Any, family: Family, *, wish: str) -> None:
        self._module, self._family, self._wish = module, family, wish
        self._arena = Arena()
        self._kept: list[object] = []
        self.kinds: set[int] = set()

    def build(self, heads: Mapping[int, Heads], *, positions: int) -> Structure:
        """`heads` are what each layer asked its attention for; tables reach to `positions`."""
        base, config = self._module.model, self._module.config
        layers = (Layer * len(base.layers))()
        tables = self._tables(base, positions)
        for index, block in enumerate(base.layers):
            self._fill(layers[index], block)
            attention = block.self_attn
            if getattr(attention, "use_rope", True):
                layers[index].cosines, layers[index].sines = (it.data_ptr() for it in tables)
                layers[index].rotary = 2 * tables[0].shape[1]
        embedding = self._embedding(base.embed_tokens.weight)
        lm_head = self._module.lm_head
        head = self._packed([lm_head.weight], _only, [lm_head.bias])
        for emptied in (base.embed_tokens, lm_head):
            emptied.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        model = Model(
            layers=layers,
            head=head,
            last=self._norm(base.norm, scale=1.0 / getattr(config, "logits_scaling", 1.0)),
            count=len(base.layers),
            hidden=config.hidden_size,
            gate=GATES[getattr(config, "hidden_act", None) or config.hidden_activation],
            residual_scale=getattr(config, "residual_multiplier", 1.0),
            logits_cap=getattr(config, "final_logit_softcapping", None) or 0.0,
        )
        scale = _embedding_scale(base, config)
        return Structure(model, layers, heads, embedding, scale, self._kept)

    def _fill(self, layer: Layer, block: Any) -> None:
        attention, mlp, family = block.self_attn, block.mlp, self._family
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        layer.qkv = self._linear(projections, torch.cat)
        layer.out = self._linear([attention.o_proj], _only)
        layer.gate_up = self._linear([mlp.gate_proj, mlp.up_proj], lambda it: in_turn(*it))
        layer.down = self._linear([mlp.down_proj], _only)
        for place in ("before_attention", "after_attention", "before_mlp", "after_mlp"):
            setattr(layer, place, self._norm(getattr(block, getattr(family, place) or "-", None)))
        layer.query = self._norm(getattr(attention, "q_norm", None))
        layer.key = self._norm(getattr(attention, "k_norm", None))

    def _linear(self, modules: Any, join: Callable[[list[Tensor]], Tensor]) -> Weight:
        biases = [it.bias for it in modules]
        weight = self._packed([it.weight for it in modules], join, biases)
        for it in modules:
            it.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        return weight

    def _packed(
        self,
        parts: list[Tensor],
        join: Callable[[list[Tensor]], Tensor],
        biases: list[Tensor | None],
    ) -> Weight:
        """Where one part has a bias all have."""
        kind = kind_of(self._wish, parts)
        bias = join(biases) if biases[0] is not None else None  # type: ignore[arg-type]
        packed = pack(self._arena, join(parts), kind=kind, bias=bias)
        self._kept.append(packed)
        self.kinds.add(kind)
        return packed.weight

    def _norm(self, module: Any, *, scale: float = 1.0) -> Norm:
        """`scale` is of what it makes."""
        if module is None:
            return Norm()
        weight = (module.weight.detach().float() + self._family.norm_offset).mul_(scale)
        self._kept.append(weight)
        epsilon = getattr(module, "variance_epsilon", None) or module.eps
        return Norm(weight.data_ptr(), epsilon, len(weight))

    def _embedding(self, weight: Tensor) -> Tensor:
        held = weight.detach()
        held = held.bfloat16() if is_bfloat16(held) else held.float()
        return held.contiguous()

    def _tables(self, base: Any, positions: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of every position, as the module itself makes them."""
        places = torch.arange(positions)[None]
        like = torch.empty(0, dtype=torch.float32)
        both = base.rotary_emb(like, places)
        half = both[0].shape[-1] // 2
        tables = tuple(it[0, :, :half].float().contiguous() for it in both)
        self._kept.append(tables)
        return tables[0], tables[1]


def _only(parts: list[Tensor]) -> Tensor:
    return parts[0]


def _embedding_scale(base: Any, config: Any) -> float:
    scale = getattr(base.embed_tokens, "scalar_embed_scale", None)
    return float(scale if scale is not None else getattr(config, "embedding_multiplier", 1.0))
