"""The attention function that `transformers` models call in place of their own.

Owns the name in the attention registry, what keywords models may add, and the arithmetic of one
set of queries over one set of keys. Knows nothing of blocks, rows or sampling: where keys and
values are kept is the business of the step that travels with the forward call.

Models look the name up for masks as well; it is not in that registry, so they build none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from r3mes.errors import StartError

NAME = "r3mes_paged"
SCORES_BYTES = 64 << 20  # most memory that the scores of one call may take, or kept masks
MASKED = float("-inf")

# Keywords that reach attention and change nothing of its result in a causal forward pass of ours.
HARMLESS = {
    "cache_position",
    "dropout",
    "logits_to_keep",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "position_embeddings",
    "position_ids",
    "return_dict",
    "use_cache",
}


@dataclass(frozen=True, slots=True)
class Heads:
    """What one layer asks: query [1, Hq, T, D], key and value [1, Hkv, T, D] of the new tokens."""

    query: Tensor
    key: Tensor
    value: Tensor
    scaling: float | None
    window: int | None
    softcap: float | None
    sinks: Tensor | None


Mask = Callable[[slice], Tensor]  # of these query rows, [B, n, S], added to the scores


@dataclass(frozen=True, slots=True)
class Sight:
    """What each query may see: `asks` [B, N] are the queries' positions, `seen` [B, S] the keys'.

    The whole mask can be far larger than all else here, so that it is made part by part.
    """

    asks: Tensor
    seen: Tensor
    window: int | None
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Size of the whole mask."""
        return self.asks.numel() * self.seen.shape[1] * self.dtype.itemsize

    def mask(self, rows: slice) -> Tensor:
        asks, seen = self.asks[:, rows, None], self.seen[:, None]
        hidden = seen > asks
        if self.window is not None:
            hidden |= seen <= asks - self.window
        clear = torch.zeros(hidden.shape, dtype=self.dtype, device=hidden.device)
        return clear.masked_fill_(hidden, MASKED)

    def kept(self) -> Mask:
        """All of it, made now."""
        whole = self.mask(slice(None))
        return lambda rows: whole[:, rows]


class Step(Protocol):
    """One forward pass: stores the new keys and values and attends over all that a row may see."""

    def attend(self, layer: int, heads: Heads) -> Tensor:
        """The result as [1, T, Hq, Dv]."""
        ...


def paged_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    r3mes_step: Step | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Refuse what we do not honour; hand the rest to the step."""
    if r3mes_step is None:
        raise StartError("the architecture does not hand keyword arguments to its attention")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if not causal:
        raise StartError("the architecture attends to later tokens too")
    refuse_keywords({"attention_mask": attention_mask, **others})
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise StartError("the architecture does not number its attention layers")
    heads = Heads(query, key, value, scaling, sliding_window, softcap, s_aux)
    return r3mes_step.attend(layer, heads), None


def refuse_keywords(given: dict[str, Any]) -> None:
    """A keyword that we do not know could change the result: say so rather than drop it."""
    for name, value in given.items():
        if value is not None and name not in HARMLESS:
            raise StartError(f"the architecture's attention uses `{name}`, which is not supported")


def register() -> None:
    AttentionInterface.register(NAME, paged_attention)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: Heads, mask: Mask | None) -> Tensor:
    """Queries [B, Hq, N, D] over keys [B, Hkv, S, D]: [B, N, Hq, Dv].

    No mask means plain causal with N == S.
    """
    groups = query.shape[1] // key.shape[1]
    if mask is None and heads.softcap is None and heads.sinks is None:
        out = F.scaled_dot_product_attention(
            query, key, value, scale=heads.scaling, is_causal=True, enable_gqa=groups > 1
        )
        return out.transpose(1, 2)
    if mask is None:
        mask = causal(query.shape[2], query)
    return grouped(query, key, value, heads, mask)


def causal(length: int, like: Tensor) -> Mask:
    places = torch.arange(length, device=like.device)[None]
    return Sight(places, places, None, like.dtype).mask


def grouped(query: Tensor, key: Tensor, value: Tensor, heads: Heads, mask: Mask) -> Tensor:
    """Masked attention, as many rows of each sequence at once as fit into SCORES_BYTES."""
    batch, count, rows, _ = query.shape
    most = max(1, SCORES_BYTES // (4 * batch * count * key.shape[2]))
    cuts = [slice(at, at + most) for at in range(0, rows, most)]
    parts = [folded(query[:, :, cut], key, value, heads, mask(cut)) for cut in cuts]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def folded(query: Tensor, key: Tensor, value: Tensor, heads: Heads, mask: Tensor) -> Tensor:
    """The query heads that share a key head become more rows of it: no key is copied."""
    batch, count, rows, width = query.shape
    shared, seen = key.shape[1:3]
    groups = count // shared
    query = query.reshape(batch, shared, groups * rows, width)
    wide = mask[:, None, None].expand(batch, 1, groups, rows, seen)
    wide = wide.reshape(batch, 1, groups * rows, seen)
    if heads.softcap is None and heads.sinks is None:
        out = F.scaled_dot_product_attention(query, key, value, wide, scale=heads.scaling)
    else:
        out = capped(query, key, value, wide, heads)
    return out.reshape(batch, count, rows, value.shape[-1]).transpose(1, 2)


def capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: Heads) -> Tensor:
    """Attention step by step, for scores that are capped and for sinks, which take up weight."""
    scale = query.shape[-1] ** -0.5 if heads.scaling is None else heads.scaling
    scores = (query @ key.transpose(2, 3)) * scale
    if heads.softcap is not None:
        scores = torch.tanh(scores / heads.softcap) * heads.softcap
    scores = scores.float() + mask
    if heads.sinks is None:
        return torch.softmax(scores, dim=-1).to(value.dtype) @ value
    batch, shared, folded, _ = scores.shape
    rows = folded * shared // heads.sinks.numel()
    sinks = heads.sinks.float().view(1, shared, -1, 1).repeat_interleave(rows, dim=2)
    scores = torch.cat([scores, sinks.expand(batch, shared, folded, 1)], dim=-1)
    return torch.softmax(scores, dim=-1)[..., :-1].to(value.dtype) @ value
