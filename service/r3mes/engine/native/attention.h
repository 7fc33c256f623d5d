// Attention of ragged rows over a paged cache, prompts and single tokens alike.
//
// Layout of the cache: a block holds of each layer keys [head][block size / 16][width][16], so that
// the products of a query with 16 neighbouring keys fill vectors, and values [head][block size]
// [width]. A sequence's positions lead to blocks through its block table.
//
// The softmax is made in one pass over stretches of keys (Milakov and Gimelshein, 2018): a running
// maximum m, the sum l of e^(s - m), and the weighted values, which are scaled down when m grows.
#pragma once
#include "linear.h"

struct Cache {
    void *keys, *values;  // of this layer, in block 0
    int64_t stride;       // numbers from one block to the next
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

constexpr int KEYS = 256;    // keys of one stretch
constexpr int WIDEST = 512;  // numbers of a head

// `ahead` are the keys, or values, that are read next: blocks lie anywhere in memory, so that only
// who reads the block table can ask for them in time. Asked for into the second cache: the first has
// room for too few requests at once.
template <int R, typename T>
static inline void score16(const T* keys, int width, const float* q, float* to, const T* ahead) {
    constexpr int V = STRIPE / LANES;
    Floats even[R][V] = {}, odd[R][V] = {};  // two chains hide the latency of the sums
    for (int d = 0; d < width; d += 2) {
        __builtin_prefetch(ahead + d * STRIPE, 0, 2);
        __builtin_prefetch(ahead + (d + 1) * STRIPE, 0, 2);
        for (int v = 0; v < V; v++) {
            const T* at = keys + d * STRIPE + v * LANES;
            Floats k0 = load(at), k1 = load(at + STRIPE);
            for (int r = 0; r < R; r++) {
                even[r][v] += k0 * q[r * width + d];
                odd[r][v] += k1 * q[r * width + d + 1];
            }
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(to + r * KEYS + v * LANES, even[r][v] + odd[r][v]);
}

// C vectors of each value row at a time: with few queries more sums are under way at once.
template <int R, int C, typename T>
static inline void add_columns(const T* values, int width, int count, const float* weights,
                               float* out, const T* ahead) {
    Floats sums[R][C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) sums[r][c] = load(out + r * width + c * LANES);
    for (int t = 0; t < count; t++)
        for (int c = 0; c < C; c++) {
            Floats v = load(values + t * width + c * LANES);
            if (c * LANES % STRIPE == 0) __builtin_prefetch(ahead + t * width + c * LANES, 0, 2);
            for (int r = 0; r < R; r++) sums[r][c] += v * weights[r * KEYS + t];
        }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) store(out + r * width + c * LANES, sums[r][c]);
}

template <int R, typename T>
static inline void add_values(const T* values, int width, int count, const float* weights,
                              float* out, const T* ahead) {
    constexpr int V = STRIPE / LANES, C = R * 4 <= 2 * ROWS ? 4 * V : 2 * V;
    int d = 0;
    for (; d + C * LANES <= width; d += C * LANES)
        add_columns<R, C>(values + d, width, count, weights, out + d, ahead + d);
    for (; d < width; d += STRIPE)
        add_columns<R, V>(values + d, width, count, weights, out + d, ahead + d);
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

static inline void scale(float* row, int width, float by) {
    for (int d = 0; d < width; d += LANES) store(row + d, load(row + d) * by);
}

// Hides from a row what lies after its position or before its window: keys from..from + count.
static inline void hide(float* scores, int from, int count, int position, int window) {
    int after = std::max(0, position + 1 - from), before = window ? position - window + 1 - from : 0;
    for (int i = after; i < count; i++) scores[i] = -INFINITY;
    for (int i = 0; i < std::min(before, count); i++) scores[i] = -INFINITY;
}

// Query heads first..last of a tile's tokens, which share key head `kv`: a row for each token and head.
struct Asked {
    const Tile& tile;
    int kv, first, last;

    int heads() const { return last - first; }
    int rows() const { return (tile.last - tile.first) * heads(); }
    int head(int row) const { return first + row % heads(); }
    int token(int row) const { return tile.first + row / heads(); }
    int position(int row) const { return tile.position + row / heads(); }
};

// `queries` [R][key width] are scaled, `out` [R][value width] is zeroed.
template <int R, typename T>
static void attend_rows(const Attention& a, const Asked& asked, const float* queries, float* out) {
    const Cache& c = a.cache;
    float scores[R][KEYS], most[R], total[R];
    for (int r = 0; r < R; r++) {
        most[r] = a.sinks ? a.sinks[asked.head(r)] : -INFINITY;
        total[r] = a.sinks ? 1.f : 0.f;
    }
    int low = asked.position(0), high = asked.position(R - 1);
    // Stretches begin at the same places whoever asks: a row's sums do not depend on its neighbours.
    int begin = a.window ? std::max(0, low - a.window + 1) / KEYS * KEYS : 0;
    auto place = [&](const void* first, int at, int width) {
        int inside = asked.kv * c.block_size + at % c.block_size;
        return (const T*)first + asked.tile.table[at / c.block_size] * c.stride + inside * width;
    };
    auto keys_at = [&](int at) { return place(c.keys, at, c.key_width); };
    auto values_at = [&](int at) { return place(c.values, at, c.value_width); };
    for (int from = begin; from <= high; from += KEYS) {
        int count = std::min(KEYS, (high + STRIPE - from) / STRIPE * STRIPE);
        for (int i = 0; i < count; i += STRIPE) {
            const T* next = i + STRIPE < count ? keys_at(from + i + STRIPE) : values_at(from);
            score16<R>(keys_at(from + i), c.key_width, queries, &scores[0][i], next);
        }
        for (int r = 0; r < R; r++) {
            for (int i = 0; a.softcap && i < count; i += LANES)
                store(&scores[r][i], hyperbolic_tangent(load(&scores[r][i]) / a.softcap) * a.softcap);
            hide(scores[r], from, count, asked.position(r), a.window);
            float shrink = soften(scores[r], count, most[r], total[r]);
            if (shrink != 1.f) scale(out + r * c.value_width, c.value_width, shrink);
        }
        for (int i = 0; i < count; i += STRIPE) {
            int live = std::min(STRIPE, high + 1 - from - i);
            const T* values = values_at(from + i);
            const T* next = i + STRIPE < count ? values_at(from + i + STRIPE) : values;
            add_values<R>(values, c.value_width, live, &scores[0][i], out, next);
        }
    }
    for (int r = 0; r < R; r++) scale(out + r * c.value_width, c.value_width, 1 / total[r]);
}

// q [T][query heads][key width], out [T][query heads][value width], strides in floats.
static void attend_tile(const Attention& a, const Asked& asked, const float* q, int q_stride,
                        float* out, int out_stride) {
    int rows = asked.rows(), key_width = a.cache.key_width, width = a.cache.value_width;
    alignas(64) float queries[ROWS * WIDEST], results[ROWS * WIDEST];
    for (int r = 0; r < rows; r++) {
        const float* from = q + (size_t)asked.token(r) * q_stride + asked.head(r) * key_width;
        for (int d = 0; d < key_width; d++) queries[r * key_width + d] = from[d] * a.scale;
    }
    std::memset(results, 0, sizeof(float) * rows * width);
    pick(rows, [&](auto r) {
        if (a.cache.half)
            attend_rows<r, Half>(a, asked, queries, results);
        else
            attend_rows<r, float>(a, asked, queries, results);
    });
    for (int r = 0; r < rows; r++)
        std::memcpy(out + (size_t)asked.token(r) * out_stride + asked.head(r) * width,
                    results + r * width, width * sizeof(float));
}

static void attend(Team& team, const Attention& a, const std::vector<Tile>& tiles, const float* q,
                   int q_stride, float* out, int out_stride) {
    int group = a.query_heads / a.cache.heads;
    int parts = (group + ROWS - 1) / ROWS, per_tile = a.cache.heads * parts;
    auto work = [&](int item) {  // the longest first: a late long one would keep the others waiting
        const Tile& tile = tiles[tiles.size() - 1 - item / per_tile];
        int kv = item % per_tile / parts, part = item % parts;
        int first = kv * group + part * group / parts, last = kv * group + (part + 1) * group / parts;
        attend_tile(a, {tile, kv, first, last}, q, q_stride, out, out_stride);
    };
    team.share((int)tiles.size() * per_tile, work, 1);
}

// A token's key and value into its slot.
template <typename T>
static void keep(const Cache& c, const Tile& tile, int t, const float* key, const float* value) {
    int position = tile.position + t - tile.first, offset = position % c.block_size;
    int64_t block = tile.table[position / c.block_size] * c.stride;
    for (int h = 0; h < c.heads; h++) {
        int place = h * c.block_size + offset, stripe = place / STRIPE * STRIPE;
        T* keys = (T*)c.keys + block + stripe * c.key_width + offset % STRIPE;
        for (int d = 0; d < c.key_width; d++) keys[d * STRIPE] = T(key[h * c.key_width + d]);
        T* values = (T*)c.values + block + place * c.value_width;
        for (int d = 0; d < c.value_width; d++) values[d] = T(value[h * c.value_width + d]);
    }
}
