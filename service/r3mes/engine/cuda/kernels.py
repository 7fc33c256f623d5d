"""The kernels: new keys and values into the paged cache, attention over it, and its splits' sum.

Know no torch and no rows: only numbers in memory. `step` chooses the grids, and `sheet` lays out
what they are told of a batch:

    begins [rows + 1]     row r feeds tokens begins[r] .. begins[r + 1] of the flat batch
    lengths [rows]        its positions when they are fed; 0 means a row that sees and keeps nothing
    table_begins [rows]   where its block numbers begin in `tables`
    tile_rows, tile_firsts [tiles]   a tile is some tokens of one row, from that one on
    slots [tokens]        block x block size + offset of each token; below 0: it is not kept

The cache of a layer is [blocks, heads, block size, width], keys and values apart: what one program
reads of a block, one head of it, is one stretch of memory.

What lies past a row's last token, or before its window, is not even read: it can hold anything.

Numbers that change from step to step are excepted from specialization, so that what is compiled at
the start serves every batch.
"""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
NEVER = tl.constexpr(float("-inf"))


@triton.jit
def read(at, live, WIDTH: tl.constexpr, PAD: tl.constexpr):
    """Vectors of that width from there on, as [lines, PAD]; zeros where a line is not live."""
    along = tl.arange(0, PAD)
    mask = live[:, None] & (along < WIDTH)[None, :]
    return tl.load(at[:, None] + along[None, :], mask=mask, other=0.0)


@triton.jit
def write(at, lines, live, WIDTH: tl.constexpr, PAD: tl.constexpr):
    along = tl.arange(0, PAD)
    tl.store(at[:, None] + along[None, :], lines, mask=live[:, None] & (along < WIDTH)[None, :])


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
    SHAPE: tl.constexpr,
):
    """Grid (tokens,): all heads of one token. `key` and `value` have more strides than one."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, SHAPE.heads_pad)
    slot = tl.load(slots + token).to(tl.int64)
    live = head < tl.where(slot >= 0, SHAPE.heads, 0)
    place = (slot // SHAPE.block * SHAPE.heads + head) * SHAPE.block + slot % SHAPE.block
    new = read(key + token * key_token + head * key_head, live, SHAPE.key_width, SHAPE.key_pad)
    write(keys + place * SHAPE.key_width, new, live, SHAPE.key_width, SHAPE.key_pad)
    at = value + token * value_token + head * value_head
    new = read(at, live, SHAPE.value_width, SHAPE.value_pad)
    write(values + place * SHAPE.value_width, new, live, SHAPE.value_width, SHAPE.value_pad)


@triton.jit
def find(sheet, tile):
    """The tile's first token, how many its row feeds and had before, where both begin."""
    begins, lengths, table_begins, tables, tile_rows, tile_firsts = sheet
    row = tl.load(tile_rows + tile)
    begin = tl.load(begins + row)
    count = tl.load(begins + row + 1) - begin
    before = tl.load(lengths + row) - count
    return tl.load(tile_firsts + tile), count, before, begin, tables + tl.load(table_begins + row)


@triton.jit
def locate(table, place, inside, head, SHAPE: tl.constexpr):
    """Where the cache has positions of a row, in vectors from its beginning."""
    block = tl.load(table + place // SHAPE.block, mask=inside, other=0).to(tl.int64)
    return (block * SHAPE.heads + head) * SHAPE.block + place % SHAPE.block


@triton.jit
def share(first, end, split, SHAPE: tl.constexpr, SPLITS: tl.constexpr):
    """This split's part of the positions below `end`, the first query being at `first`."""
    low = tl.maximum(0, first - SHAPE.window + 1) if SHAPE.window else 0
    part = (end - low + SPLITS * SHAPE.keys - 1) // (SPLITS * SHAPE.keys) * SHAPE.keys
    low += split * part
    return low, tl.minimum(low + part, end)


@triton.jit
def begin_sum(sinks, live, split, SHAPE: tl.constexpr, ROWS: tl.constexpr):
    """A sink is a score without a value: it takes a share of the weights, of the first split's."""
    peak = tl.full([ROWS], NEVER, tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    if SHAPE.sinks:
        here = live & (tl.arange(0, ROWS) < tl.where(split == 0, ROWS, 0))
        peak = tl.load(sinks, mask=here, other=NEVER).to(tl.float32) * LOG2E
        total = tl.where(here, 1.0, 0.0)
    return peak, total


@triton.jit
def shown(scores, softcap, position, place, inside, SHAPE: tl.constexpr):
    """Scores [rows, keys] times log2(e), and -inf where a row may not look."""
    if SHAPE.capped:  # softcap * tanh(scores / softcap), and tanh(x) = 1 - 2 / (exp(2x) + 1)
        scores = softcap - 2.0 * softcap / (tl.exp(2.0 * scores / softcap) + 1.0)
    seen = inside[None, :] & (place[None, :] <= position[:, None])
    if SHAPE.window:
        seen &= place[None, :] > position[:, None] - SHAPE.window
    return tl.where(seen, scores * LOG2E, NEVER)


@triton.jit
def blend(scores, value, peak, total, mixed):
    """One step of the softmax: what was mixed so far shrinks where a score is higher than all."""
    higher = tl.maximum(peak, tl.max(scores, 1))
    base = tl.where(higher == NEVER, 0.0, higher)  # nothing seen yet: no inf - inf
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(peak - base)
    mixed *= shrink[:, None]
    mixed += tl.dot(weights.to(value.dtype), value, input_precision="ieee")
    return higher, total * shrink + tl.sum(weights, 1), mixed


@triton.jit(do_not_specialize=["first_tile", "first_token", "query_token", "query_head"])
def attend(
    query,
    keys,
    values,
    sinks,
    out,  # [tokens, query heads, SPLITS, value width]
    sums,  # [tokens, query heads, SPLITS]: log2 of the sum of weights; unused if there is one split
    sheet,
    first_tile,
    first_token,  # of the flat batch, the first in `out` and `sums`
    query_token,
    query_head,
    scale,
    softcap,
    SHAPE: tl.constexpr,
    SPLITS: tl.constexpr,
    TOKENS: tl.constexpr,  # most of a tile
    ROWS: tl.constexpr,  # tokens x query heads of a head of keys, filled up to a power of two
):
    """Grid (tiles, heads, SPLITS): a tile's tokens over a part of what they may see.

    By a running maximum and sum (Milakov and Gimelshein, 2018; Dao, "FlashAttention-2", 2023).
    """
    head, split = tl.program_id(1), tl.program_id(2)
    first, count, before, begin, table = find(sheet, first_tile + tl.program_id(0))
    line = tl.arange(0, ROWS)
    token, asker = first + line // SHAPE.group, head * SHAPE.group + line % SHAPE.group
    live = (line < TOKENS * SHAPE.group) & (token < count)
    flat = (begin + token).to(tl.int64)
    at = query + flat * query_token + asker * query_head
    asked = read(at, live, SHAPE.key_width, SHAPE.key_pad)
    end = before + tl.minimum(first + TOKENS, count)
    low, end = share(before + first, end, split, SHAPE, SPLITS)
    peak, total = begin_sum(sinks + asker, live, split, SHAPE, ROWS)
    mixed = tl.zeros([ROWS, SHAPE.value_pad], tl.float32)
    for looked in range(low, end, SHAPE.keys):
        place = looked + tl.arange(0, SHAPE.keys)
        inside = place < end
        slot = locate(table, place, inside, head, SHAPE)
        key = read(keys + slot * SHAPE.key_width, inside, SHAPE.key_width, SHAPE.key_pad)
        scores = tl.dot(asked, tl.trans(key), input_precision="ieee") * scale
        scores = shown(scores, softcap, before + token, place, inside, SHAPE)
        value = read(values + slot * SHAPE.value_width, inside, SHAPE.value_width, SHAPE.value_pad)
        peak, total, mixed = blend(scores, value, peak, total, mixed)
    to = ((flat - first_token) * (SHAPE.heads * SHAPE.group) + asker) * SPLITS + split
    total = tl.where(total == 0.0, 1.0, total)  # nothing seen: a result of 0, and a peak of -inf
    out += to * SHAPE.value_width
    write(out, mixed / total[:, None], live, SHAPE.value_width, SHAPE.value_pad)
    if SPLITS > 1:
        tl.store(sums + to, peak + tl.log2(total), mask=live)


@triton.jit(do_not_specialize=["first_line"])
def combine(
    parts,
    sums,
    out,
    first_line,  # of `out`; parts and sums have no others
    SHAPE: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """Grid (tokens x query heads,): the splits' results, each by its share of all weights.

    As in Dao et al., "Flash-Decoding for long-context inference", 2023. A split that saw nothing
    has a sum of 0, whose logarithm is -inf.
    """
    line = tl.program_id(0).to(tl.int64)
    split = line * SPLITS + tl.arange(0, SPLITS)
    logs = tl.load(sums + split)
    peak = tl.max(logs, 0)
    weights = tl.exp2(logs - tl.where(peak == NEVER, 0.0, peak))
    total = tl.sum(weights, 0)
    weights /= tl.where(total == 0.0, 1.0, total)
    at = parts + split * SHAPE.value_width
    part = read(at, split >= 0, SHAPE.value_width, SHAPE.value_pad)
    mixed = tl.sum(part * weights[:, None], 0)
    along = tl.arange(0, SHAPE.value_pad)
    to = out + (first_line + line) * SHAPE.value_width
    tl.store(to + along, mixed, mask=along < SHAPE.value_width)
