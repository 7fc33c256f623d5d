"""The kernels: new keys and values into the paged cache, attention over it, and its splits' sum.

Know no torch and no rows: only numbers in memory. `attention` chooses grids and tile sizes, and
`batch` lays out what is called the sheet here:

    begins [rows + 1]     row r feeds tokens begins[r] .. begins[r + 1] of the flat batch
    lengths [rows]        its positions when they are fed; 0 means a row that sees and keeps nothing
    table_begins [rows]   where its block numbers begin in `tables`
    tile_rows, tile_firsts [tiles]   a tile is some tokens of one row, from that one on
    slots [tokens]        block x block size + offset of each token; below 0: it is not kept

The cache of a layer is [blocks, heads, block size, width], keys and values apart: what one program
reads of a block, one head of it, is one stretch of memory.

Numbers that change from step to step are excepted from specialization, so that what is compiled at
the start serves every batch.
"""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit(do_not_specialize=["key_token", "key_head", "value_token", "value_head"])
def store(
    key,
    value,
    keys,
    values,
    slots,
    key_token,  # elements from one token to the next
    key_head,
    value_token,
    value_head,
    HEADS: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    KEY_PAD: tl.constexpr,  # the next power of two
    VALUE_PAD: tl.constexpr,
    BLOCK: tl.constexpr,  # tokens
):
    """Grid (tokens, heads): one head of one token."""
    token, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    slot = tl.load(slots + token).to(tl.int64)
    if slot >= 0:
        place = (slot // BLOCK * HEADS + head) * BLOCK + slot % BLOCK
        at = tl.arange(0, KEY_PAD)
        new = tl.load(key + token * key_token + head * key_head + at, mask=at < KEY_WIDTH)
        tl.store(keys + place * KEY_WIDTH + at, new, mask=at < KEY_WIDTH)
        at = tl.arange(0, VALUE_PAD)
        new = tl.load(value + token * value_token + head * value_head + at, mask=at < VALUE_WIDTH)
        tl.store(values + place * VALUE_WIDTH + at, new, mask=at < VALUE_WIDTH)


@triton.jit
def sink(peak, total, at, live, split):
    """The first split begins with a score that has no value: it takes a share of the weights."""
    if split == 0:
        peak = tl.load(at, mask=live, other=0.0).to(tl.float32) * LOG2E
        total += 1.0
    return peak, total


@triton.jit
def shown(scores, softcap, position, place, inside, WINDOW: tl.constexpr, CAPPED: tl.constexpr):
    """Scores [rows, keys] times log2(e), and -inf where a row may not look."""
    if CAPPED:  # softcap * tanh(scores / softcap), and tanh(x) = 1 - 2 / (exp(2x) + 1)
        scores = softcap - 2.0 * softcap / (tl.exp(2.0 * scores / softcap) + 1.0)
    seen = inside[None, :] & (place[None, :] <= position[:, None])
    if WINDOW:
        seen &= place[None, :] > position[:, None] - WINDOW
    return tl.where(seen, scores * LOG2E, float("-inf"))


@triton.jit(do_not_specialize=["first_tile", "first_token", "query_token", "query_head"])
def attend(
    query,
    keys,
    values,
    sinks,
    out,  # [tokens, query heads, VALUE_WIDTH], or with splits [tokens, query heads, SPLITS, ...]
    sums,  # [tokens, query heads, SPLITS]: the logarithm to base 2 of each split's sum of weights
    begins,
    lengths,
    table_begins,
    tables,
    tile_rows,
    tile_firsts,
    first_tile,
    first_token,  # of the flat batch, the first in `out` and `sums`
    query_token,
    query_head,
    scale,
    softcap,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,  # query heads of one head of keys
    KEY_WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    KEY_PAD: tl.constexpr,
    VALUE_PAD: tl.constexpr,
    BLOCK: tl.constexpr,
    WINDOW: tl.constexpr,  # 0 is none
    CAPPED: tl.constexpr,
    SINKS: tl.constexpr,
    SPLITS: tl.constexpr,
    TOKENS: tl.constexpr,  # most of a tile
    ROWS: tl.constexpr,  # of the tile: TOKENS x GROUP, filled up to a power of two
    KEYS: tl.constexpr,  # positions that are looked at together
    PRECISION: tl.constexpr,
):
    """Grid (tiles, heads, SPLITS): a tile's tokens over a part of what they may see.

    The softmax is computed as keys come, by a running maximum and sum (Milakov and Gimelshein,
    "Online normalizer calculation for softmax", 2018; over tiles as in Dao, "FlashAttention-2",
    2023), with scores times log2(e) and powers of two. What lies past a row's last token, or
    before its window, is not even read, so that it can hold anything.
    """
    tile, head, split = first_tile + tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row = tl.load(tile_rows + tile)
    first = tl.load(tile_firsts + tile)
    begin = tl.load(begins + row)
    count = tl.load(begins + row + 1) - begin
    before = tl.load(lengths + row) - count  # positions that the row had
    table = tables + tl.load(table_begins + row)

    line = tl.arange(0, ROWS)
    token = first + line // GROUP
    live = (line < TOKENS * GROUP) & (token < count)
    asker = head * GROUP + line % GROUP
    position = before + token
    flat = (begin + token).to(tl.int64)
    key_at, value_at = tl.arange(0, KEY_PAD), tl.arange(0, VALUE_PAD)

    asked = tl.load(
        query + (flat * query_token + asker * query_head)[:, None] + key_at[None, :],
        mask=live[:, None] & (key_at < KEY_WIDTH)[None, :],
        other=0.0,
    )
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    if SINKS:
        peak, total = sink(peak, total, sinks + asker, live, split)
    mixed = tl.zeros([ROWS, VALUE_PAD], tl.float32)

    end = before + tl.minimum(first + TOKENS, count)
    low = 0
    if WINDOW:
        low = tl.maximum(0, before + first - WINDOW + 1)
    part = (end - low + SPLITS * KEYS - 1) // (SPLITS * KEYS) * KEYS
    low += split * part
    end = tl.minimum(low + part, end)
    for at in range(low, end, KEYS):
        place = at + tl.arange(0, KEYS)
        inside = place < end
        block = tl.load(table + place // BLOCK, mask=inside, other=0)
        slot = (block.to(tl.int64) * HEADS + head) * BLOCK + place % BLOCK
        key = tl.load(
            keys + slot[None, :] * KEY_WIDTH + key_at[:, None],
            mask=inside[None, :] & (key_at < KEY_WIDTH)[:, None],
            other=0.0,
        )
        scores = tl.dot(asked, key, input_precision=PRECISION) * scale
        scores = shown(scores, softcap, position, place, inside, WINDOW=WINDOW, CAPPED=CAPPED)
        higher = tl.maximum(peak, tl.max(scores, 1))
        base = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen yet: no inf - inf
        weights = tl.exp2(scores - base[:, None])
        shrink = tl.exp2(peak - base)
        value = tl.load(
            values + slot[:, None] * VALUE_WIDTH + value_at[None, :],
            mask=inside[:, None] & (value_at < VALUE_WIDTH)[None, :],
            other=0.0,
        )
        mixed *= shrink[:, None]
        mixed += tl.dot(weights.to(value.dtype), value, input_precision=PRECISION)
        total = total * shrink + tl.sum(weights, 1)
        peak = higher

    total = tl.where(total == 0.0, 1.0, total)  # nothing seen: a result of 0, and a peak of -inf
    mixed /= total[:, None]
    line_out = ((flat - first_token) * (HEADS * GROUP) + asker) * SPLITS + split
    tl.store(
        out + line_out[:, None] * VALUE_WIDTH + value_at[None, :],
        mixed,
        mask=live[:, None] & (value_at < VALUE_WIDTH)[None, :],
    )
    if SPLITS > 1:
        tl.store(sums + line_out, peak + tl.log2(total), mask=live)


@triton.jit(do_not_specialize=["first_line"])
def combine(
    parts,
    sums,
    out,
    first_line,  # of `out`; parts and sums have no others
    VALUE_WIDTH: tl.constexpr,
    VALUE_PAD: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """Grid (tokens x query heads): the splits' results, each by its share of all weights.

    As in Dao et al., "Flash-Decoding for long-context inference", 2023. A split that saw nothing
    has a sum of 0, whose logarithm is -inf.
    """
    line = tl.program_id(0).to(tl.int64)
    split, at = tl.arange(0, SPLITS), tl.arange(0, VALUE_PAD)
    logs = tl.load(sums + line * SPLITS + split)
    peak = tl.max(logs, 0)
    weights = tl.exp2(logs - tl.where(peak == float("-inf"), 0.0, peak))
    total = tl.sum(weights, 0)
    weights /= tl.where(total == 0.0, 1.0, total)
    part = tl.load(
        parts + (line * SPLITS + split)[:, None] * VALUE_WIDTH + at[None, :],
        mask=(at < VALUE_WIDTH)[None, :],
        other=0.0,
    )
    mixed = tl.sum(part * weights[:, None], 0)
    tl.store(out + (first_line + line) * VALUE_WIDTH + at, mixed, mask=at < VALUE_WIDTH)
