"""Logits to tokens. Owns the order of the processors and the randomness of a row.

Knows nothing of models or the KV store. Order, as in the reference processors of `transformers`:
logit_bias, repetition penalty, presence and frequency penalty, min_tokens, temperature, top_k,
top_p, min_p. Tokens that tie with the last one kept by top_k or top_p are kept too.

A drawn token is the inverse of the cumulative distribution, in order of ids and in float64, at
one uniform number that depends on (seed, position) alone: neighbours in the batch change nothing.
Temperature 0 takes the most likely token.

Asks no tensor for a value, but for one early exit on a CPU: the host never waits for the device.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from r3mes.engine.forward import NOT_FINITE
from r3mes.engine.messages import SamplingParams
from r3mes.engine.runner import Sample
from r3mes.engine.transfer import Numbers, to_device

BLOCK = 256  # tokens summed together before the search descends to single ones
LOOKS = (128, 4096)  # most nuclei are smaller than the first; sorting more is slow
NEVER = float("-inf")
Bits = npt.NDArray[np.uint64]


def uniform(seeds: Sequence[int], positions: Sequence[int]) -> npt.NDArray[np.float64]:
    """One number in [0, 1) for each (seed, position): splitmix64 over both, 53 bits of it."""
    seed = np.array([s & 0xFFFFFFFFFFFFFFFF for s in seeds], dtype=np.uint64)
    position = np.array(positions, dtype=np.uint64)
    bits: Bits = _mix(_mix(seed) + position * np.uint64(0x9E3779B97F4A7C15))
    return np.asarray(bits >> np.uint64(11), dtype=np.float64) * 2.0**-53


def _mix(value: Bits) -> Bits:
    value = value + np.uint64(0x9E3779B97F4A7C15)  # arrays wrap silently, which is what we want
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def sample(
    logits: Tensor, best: Tensor, wishes: Sequence[Sample | None], eos: Sequence[int]
) -> Tensor:
    """One token a row, and NOT_FINITE for a row that is so.

    `logits` [rows, vocabulary] are changed in place; `best` [rows] are their most likely tokens,
    which are all that a plain greedy row needs. A row without a wish is only looked at.
    """
    live = {i: wish for i, wish in enumerate(wishes) if wish is not None}
    shaped = [i for i, wish in live.items() if shape_line(logits[i], wish, eos)]
    drawn = [i for i, wish in live.items() if wish.params.temperature > 0]
    again = sorted(set(shaped) - set(drawn))
    if not again and not drawn:
        return best
    tokens = best.clone()
    if again:
        rows = _ids(again, logits)
        tokens[rows] = logits[rows].argmax(dim=-1)
    if drawn:
        rows = _ids(drawn, logits)
        tokens[rows] = draw(logits[rows], [live[i] for i in drawn])
    return torch.where(best == NOT_FINITE, NOT_FINITE, tokens)


def shape_line(line: Tensor, wish: Sample, eos: Sequence[int]) -> bool:
    """Bias, penalties, min_tokens: what changes single logits. False if nothing did."""
    params = wish.params
    penalties = params.presence_penalty or params.frequency_penalty
    if params.logit_bias:
        _add(line, list(params.logit_bias), list(params.logit_bias.values()))
    if params.repetition_penalty != 1.0:
        ids = torch.cat([_ids(wish.prompt, line), _ids(wish.output, line)])
        old, factor = line[ids], params.repetition_penalty
        line[ids] = torch.where(old < 0, old * factor, old / factor)
    if wish.output and penalties:
        seen, counts = np.unique(wish.output, return_counts=True)
        _add(line, seen, -(params.presence_penalty + params.frequency_penalty * counts))
    if wish.early:
        line.index_fill_(0, _ids(stop_ids(params, eos), line), NEVER)
    return bool(params.logit_bias or params.counts_output or wish.early)


def _add(line: Tensor, ids: Numbers, values: Numbers) -> None:
    line.index_add_(0, _ids(ids, line), to_device(values, line.dtype, line.device))


def stop_ids(params: SamplingParams, eos: Sequence[int]) -> list[int]:
    """The ids that would end this row."""
    return [*params.stop_token_ids, *(() if params.ignore_eos else eos)]


def _ids(ids: Numbers, like: Tensor) -> Tensor:
    return to_device(ids, torch.int64, like.device)


def draw(logits: Tensor, wishes: Sequence[Sample]) -> Tensor:
    """A token from each row's distribution after temperature, top_k, top_p and min_p."""
    scores = filtered(logits, [wish.params for wish in wishes])
    numbers = uniform([w.params.seed for w in wishes], [w.position for w in wishes])
    return inverse_cdf(scores.exp_(), to_device(numbers, torch.float64, logits.device))


def filtered(logits: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """Logits over temperature, the largest of each row 0, with what the filters drop at -inf."""
    heat = _column([one.temperature for one in params], logits)
    scores = (logits - logits.amax(dim=-1, keepdim=True)) / heat
    vocabulary = scores.shape[1]
    if few := [i for i, one in enumerate(params) if 0 < one.top_k < vocabulary]:
        rows = _ids(few, scores)
        keep_from(scores, _at(rows, nth(scores[rows], [params[i].top_k for i in few]), scores))
    if nuclei := [i for i, one in enumerate(params) if one.top_p < 1]:
        rows = _ids(nuclei, scores)
        mass = _column([params[i].top_p for i in nuclei], logits).double()
        keep_from(scores, _at(rows, nucleus(scores[rows], mass), scores))
    if any(one.min_p > 0 for one in params):
        keep_from(scores, _column([one.min_p for one in params], logits).log())
    return scores


def keep_from(scores: Tensor, least: Tensor) -> Tensor:
    return scores.masked_fill_(scores < least, NEVER)


def _at(rows: Tensor, least: Tensor, scores: Tensor) -> Tensor:
    """`least` [some, 1] for those rows of the scores, and for all others what keeps everything."""
    return scores.new_full((len(scores), 1), NEVER).index_copy_(0, rows, least)


def nth(scores: Tensor, counts: Sequence[int]) -> Tensor:
    """The n-th largest score of each row: [rows, 1]."""
    places = to_device([count - 1 for count in counts], torch.int64, scores.device)
    return scores.topk(max(counts)).values.gather(1, places[:, None])


def nucleus(scores: Tensor, mass: Tensor) -> Tensor:
    """The least score of the smallest set of tokens whose probability reaches `mass`: [rows, 1]."""
    total = scores.double().logsumexp(dim=-1, keepdim=True)
    if not scores.is_cpu:  # to ask which rows need another look would be to wait
        return reaching(scores, total, mass, scores.shape[1])[0]
    least = torch.empty_like(scores[:, :1])
    open_rows = torch.arange(len(scores))
    for look in (*LOOKS, scores.shape[1]):
        found, reached = reaching(scores[open_rows], total[open_rows], mass[open_rows], look)
        least[open_rows] = found
        open_rows = open_rows[~reached]
        if not len(open_rows):
            break
    return least


def reaching(scores: Tensor, total: Tensor, mass: Tensor, look: int) -> tuple[Tensor, Tensor]:
    """The score with which the `look` largest reach `mass` [rows, 1], and whether they do [rows].

    `total` [rows, 1] is the logarithm of the sum of all weights.
    """
    top = scores.topk(min(look, scores.shape[1])).values
    reached = (top - total).exp().cumsum(dim=-1) >= mass
    if look >= scores.shape[1]:
        reached[:, -1] = True  # rounding may leave the sum short of 1
    return top.gather(1, reached.int().argmax(dim=-1, keepdim=True)), reached.any(dim=-1)


def inverse_cdf(weights: Tensor, numbers: Tensor) -> Tensor:
    """The first id at which the sum of weights passes number x total; never one of weight 0."""
    rows, vocabulary = weights.shape
    blocks = torch.nn.functional.pad(weights, (0, -vocabulary % BLOCK)).view(rows, -1, BLOCK)
    sums = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    target = numbers[:, None] * sums[:, -1:]
    block = (sums > target).int().argmax(dim=-1, keepdim=True)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, BLOCK))[:, 0].double()
    passed = inside.cumsum(dim=-1) > target - before
    # Both sums are of the same numbers; where rounding left none past the target, the last counts.
    last = BLOCK - 1 - (inside > 0).flip(1).int().argmax(dim=-1)
    token = torch.where(passed.any(dim=-1), passed.int().argmax(dim=-1), last)
    return block[:, 0] * BLOCK + token


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return to_device(values, like.dtype, like.device)[:, None]
