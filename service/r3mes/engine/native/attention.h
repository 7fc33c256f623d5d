// Attention of ragged rows over a paged cache, prompts and single tokens alike.
//
// Layout of the cache of one layer: keys [block][head][block size / 16][width][16], so that the
// products of a query with 16 neighbouring keys fill one vector; values [block][head][block size]
// [width]. A sequence's positions lead to blocks through its block table.
//
// The softmax is made in one pass over stretches of keys (Milakov and Gimelshein, 2018): a running
// maximum m, the sum l of e^(s - m), and the weighted values, which are scaled down when m grows.
#pragma once
#include "linear.h"

struct Cache {
    void *keys, *values;
    int32_t heads, key_width, value_width, block_size, half;  // half: float16, else float32
};

struct Attention {
    Cache cache;
    const float* sinks;  // [query heads] or null: a score that takes up weight and adds no value
    int32_t query_heads, window;  // window: a query sees so many positions, itself included; 0: all
    float scale, softcap;         // softcap: 0 is none
};

// Tokens first..last of the flat batch are neighbours of one sequence, the first at `position`.
struct Tile {
    int32_t first, last, position;
    const int32_t* table;
};

constexpr int KEYS = 256;  // keys of one stretch

// `ahead` are the keys, or values, that are read next: blocks lie anywhere in memory, so that only
// who reads the block table can ask for them in time. Asked for into the second cache: the first has
// room for too few requests at once.
template <int R, typename T>
static inline void score16(const T* keys, int width, const float* q, float* to, const T* ahead) {
    Floats even[R] = {}, odd[R] = {};
    for (int d = 0; d < width; d += 2) {  // two chains hide the latency of the sums
        __builtin_prefetch(ahead + d * LANES, 0, 2);
        __builtin_prefetch(ahead + (d + 1) * LANES, 0, 2);
        Floats k0 = load(keys + d * LANES), k1 = load(keys + (d + 1) * LANES);
        for (int r = 0; r < R; r++) {
            even[r] += k0 * q[r * width + d];
            odd[r] += k1 * q[r * width + d + 1];
        }
    }
    for (int r = 0; r < R; r++) store(to + r * KEYS, even[r] + odd[r]);
}

// C vectors of each value row at a time: with few queries more sums are under way at once.
template <int R, int C, typename T>
static inline void add_columns(const T* values, int width, int count, const float* weights,
                               float* out, const T* ahead) {
    Floats acc[R][C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) acc[r][c] = load(out + r * width + c * LANES);
    for (int t = 0; t < count; t++)
        for (int c = 0; c < C; c++) {
            Floats v = load(values + t * width + c * LANES);
            __builtin_prefetch(ahead + t * width + c * LANES, 0, 2);
            for (int r = 0; r < R; r++) acc[r][c] += v * weights[r * KEYS + t];
        }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) store(out + r * width + c * LANES, acc[r][c]);
}

template <int R, typename T>
static inline void add_values(const T* values, int width, int count, const float* weights,
                              float* out, const T* ahead) {
    constexpr int C = R * 4 <= ROWS ? 4 : R * 2 <= ROWS ? 2 : 1;
    int d = 0;
    for (; d + C * LANES <= width; d += C * LANES)
        add_columns<R, C>(values + d, width, count, weights, out + d, ahead + d);
    for (; d < width; d += LANES)
        add_columns<R, 1>(values + d, width, count, weights, out + d, ahead + d);
}

// A row's scores of one stretch become weights; returns by what earlier sums shrink.
static inline float soften(float* scores, int count, float& most, float& total) {
    Floats high = load(scores);
    for (int i = LANES; i < count; i += LANES) high = greater(high, load(scores + i));
    float before = most;
    most = std::max(most, largest(high));
    if (most == -INFINITY) {  // nothing to be seen yet
        std::memset(scores, 0, count * sizeof(float));
        return 1.f;
    }
    Floats sums = {};
    for (int i = 0; i < count; i += LANES) {
        Floats e = exponential(load(scores + i) - most);
        store(scores + i, e);
        sums += e;
    }
    float shrink = before == -INFINITY ? 0.f : std::exp(before - most);
    total = total * shrink + sum(sums);
    return shrink;
}

// Hides from a row what lies after its position or before its window: keys from..from + count.
static inline void hide(float* scores, int from, int count, int position, int window) {
    int after = std::max(0, position + 1 - from), before = window ? position - window + 1 - from : 0;
    for (int i = after; i < count; i++) scores[i] = -INFINITY;
    for (int i = 0; i < std::min(before, count); i++) scores[i] = -INFINITY;
}

// R queries, which share one key head: `queries` scaled and `out` zeroed, both [R][width].
template <int R, typename T>
static void attend_rows(const Attention& a, const Tile& tile, int kv, const int* positions,
                        const int* heads, const float* queries, float* out) {
    const Cache& c = a.cache;
    float scores[R][KEYS], most[R], total[R];
    int low = positions[0], high = positions[0];
    for (int r = 0; r < R; r++) {
        most[r] = a.sinks ? a.sinks[heads[r]] : -INFINITY;
        total[r] = a.sinks ? 1.f : 0.f;
        low = std::min(low, positions[r]);
        high = std::max(high, positions[r]);
    }
    // Stretches begin at the same places whoever asks: a row's sums do not depend on its neighbours.
    int begin = a.window ? std::max(0, low - a.window + 1) / KEYS * KEYS : 0;
    auto place = [&](int at) {
        size_t head = (size_t)tile.table[at / c.block_size] * c.heads + kv;
        return head * c.block_size + at % c.block_size;
    };
    auto keys_at = [&](int at) { return (const T*)c.keys + place(at) * c.key_width; };
    auto values_at = [&](int at) { return (const T*)c.values + place(at) * c.value_width; };
    for (int from = begin; from <= high; from += KEYS) {
        int count = std::min(KEYS, (high + LANES - from) / LANES * LANES);
        for (int i = 0; i < count; i += LANES) {
            const T* next = i + LANES < count ? keys_at(from + i + LANES) : values_at(from);
            score16<R>(keys_at(from + i), c.key_width, queries, &scores[0][i], next);
        }
        for (int r = 0; r < R; r++) {
            if (a.softcap)
                for (int i = 0; i < count; i += LANES)
                    store(&scores[r][i], hyperbolic_tangent(load(&scores[r][i]) / a.softcap) * a.softcap);
            if (positions[r] + 1 < from + count || a.window)
                hide(scores[r], from, count, positions[r], a.window);
            float shrink = soften(scores[r], count, most[r], total[r]);
            float* row = out + r * c.value_width;
            if (shrink != 1.f)
                for (int d = 0; d < c.value_width; d += LANES)
                    store(row + d, load(row + d) * shrink);
        }
        for (int i = 0; i < count; i += LANES) {
            int live = std::min(LANES, high + 1 - from - i);
            const T* values = values_at(from + i);
            const T* next = i + LANES < count ? values_at(from + i + LANES) : values;
            add_values<R>(values, c.value_width, live, &scores[0][i], out, next);
        }
    }
    for (int r = 0; r < R; r++)
        for (int d = 0; d < c.value_width; d += LANES) {
            float* at = out + r * c.value_width + d;
            store(at, load(at) / total[r]);
        }
}

constexpr int WIDTH = 512;  // widest head

// Query heads first..last of a tile's tokens, which share key head `kv`.
// q [T][query heads][key width], out [T][query heads][value width], strides in floats.
static void attend_tile(const Attention& a, const Tile& tile, int kv, int first, int last,
                        const float* q, int q_stride, float* out, int out_stride) {
    const Cache& c = a.cache;
    alignas(64) float queries[ROWS * WIDTH], results[ROWS * WIDTH];
    int positions[ROWS], heads[ROWS], rows = 0;
    for (int t = tile.first; t < tile.last; t++)
        for (int h = first; h < last; h++, rows++) {
            positions[rows] = tile.position + t - tile.first;
            heads[rows] = h;
            const float* from = q + (size_t)t * q_stride + h * c.key_width;
            for (int d = 0; d < c.key_width; d++)
                queries[rows * c.key_width + d] = from[d] * a.scale;
        }
    std::memset(results, 0, sizeof(float) * rows * c.value_width);
    pick(rows, [&](auto r) {
        if (c.half)
            attend_rows<r, Half>(a, tile, kv, positions, heads, queries, results);
        else
            attend_rows<r, float>(a, tile, kv, positions, heads, queries, results);
    });
    rows = 0;
    for (int t = tile.first; t < tile.last; t++)
        for (int h = first; h < last; h++, rows++)
            std::memcpy(out + (size_t)t * out_stride + h * c.value_width,
                        results + rows * c.value_width, c.value_width * sizeof(float));
}

// How many tokens of a sequence are answered together, and how many heads of a group.
static inline int tokens_together(int query_heads, int heads) {
    return std::max(1, ROWS / (query_heads / heads));
}

static void attend(Team& team, const Attention& a, const std::vector<Tile>& tiles, const float* q,
                   int q_stride, float* out, int out_stride) {
    int group = a.query_heads / a.cache.heads;
    int parts = (group + ROWS - 1) / ROWS, per_tile = a.cache.heads * parts;
    team.share((int)tiles.size() * per_tile, [&](int item) {
        // The longest first: a late long one would keep the others waiting.
        const Tile& tile = tiles[tiles.size() - 1 - item / per_tile];
        int kv = item % per_tile / parts, part = item % parts;
        int first = kv * group + part * group / parts, last = kv * group + (part + 1) * group / parts;
        attend_tile(a, tile, kv, first, last, q, q_stride, out, out_stride);
    });
}

// Keys and values of one token into its slot.
template <typename T>
static void keep(const Cache& c, int block, int offset, const float* key, const float* value) {
    for (int h = 0; h < c.heads; h++) {
        size_t place = ((size_t)block * c.heads + h) * c.block_size;
        T* keys = (T*)c.keys + (place + offset / LANES * LANES) * c.key_width + offset % LANES;
        for (int d = 0; d < c.key_width; d++) put(keys + d * LANES, key[h * c.key_width + d]);
        T* values = (T*)c.values + (place + offset) * c.value_width;
        for (int d = 0; d < c.value_width; d++) put(values + d, value[h * c.value_width + d]);
    }
}
