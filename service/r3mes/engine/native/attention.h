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
constexpr float LEAST = -1e30f;  // of a running maximum: finite, so that hidden keys weigh nothing

// Of two times 16 keys. `ahead` are those, or the values, that are read next: blocks lie anywhere in
// memory, so that only who reads the block table can ask for them in time. Asked for into the second
// cache: the first has room for too few requests at once.
template <int R, typename T>
static inline void score32(const T* const* keys, int width, const float* q, float* to,
                           const T* const* ahead) {
    constexpr int V = STRIPE / LANES;
    Floats sums[R][2 * V] = {};
    for (int d = 0; d < width; d++)
        for (int half = 0; half < 2; half++) {
            __builtin_prefetch(ahead[half] + d * STRIPE, 0, 2);
            for (int v = 0; v < V; v++) {
                Floats k = load(keys[half] + d * STRIPE + v * LANES);
                for (int r = 0; r < R; r++) sums[r][half * V + v] += k * q[r * width + d];
            }
        }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < 2 * V; v++) store(to + r * KEYS + v * LANES, sums[r][v]);
}

// C vectors of each value row from `d` on: with few queries more sums are under way at once.
template <int R, int C, typename T>
static inline void add_columns(const T* const* values, int width, int d, int count,
                               const float* weights, float* out) {
    Floats sums[R][C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) sums[r][c] = load(out + r * width + d + c * LANES);
    for (int from = 0; from < count; from += STRIPE, values++, weights += STRIPE)
        for (int t = 0; t < std::min(STRIPE, count - from); t++)
            for (int c = 0; c < C; c++) {
                int at = t * width + d + c * LANES;
                Floats v = load(values[0] + at);
                if (c * LANES % STRIPE == 0) __builtin_prefetch(values[1] + at, 0, 2);
                for (int r = 0; r < R; r++) sums[r][c] += v * weights[r * KEYS + t];
            }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) store(out + r * width + d + c * LANES, sums[r][c]);
}

// Of a stretch: `values` has a place for each 16 of its keys, and one that is asked for last.
template <int R, typename T>
static inline void add_values(const T* const* values, int width, int count, const float* weights,
                              float* out) {
    constexpr int V = STRIPE / LANES, C = R <= ROWS / 2 ? 4 * V : 2 * V, W = C * LANES;
    int d = 0;
    for (; d + W <= width; d += W) add_columns<R, C>(values, width, d, count, weights, out);
    for (; d < width; d += STRIPE) add_columns<R, V>(values, width, d, count, weights, out);
}

// A row's scores of one stretch become weights; returns by what earlier sums shrink.
static inline float soften(float* scores, int count, float& most, float& total) {
    Floats high = load(scores);
    for (int i = LANES; i < count; i += LANES) high = greater(high, load(scores + i));
    float before = most;
    most = std::max(most, largest(high));
    Floats sums = {};
    for (int i = 0; i < count; i += LANES) {
        Floats e = exponential(load(scores + i) - most);
        store(scores + i, e);
        sums += e;
    }
    float shrink = std::exp(before - most);
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
        most[r] = a.sinks ? std::max(a.sinks[asked.head(r)], LEAST) : LEAST;
        total[r] = a.sinks ? 1.f : 0.f;
    }
    int low = asked.position(0), high = asked.position(R - 1);
    // Stretches begin at the same places whoever asks: a row's sums do not depend on its neighbours.
    int begin = a.window ? std::max(0, low - a.window + 1) / KEYS * KEYS : 0;
    auto place = [&](const void* first, int at, int width) {
        int inside = asked.kv * c.block_size + at % c.block_size;
        return (const T*)first + asked.tile.table[at / c.block_size] * c.stride + inside * width;
    };
    // Of a stretch, by 16 keys; behind the keys stands what is asked for last, the first values.
    const T *keys[KEYS / STRIPE + 3], *values[KEYS / STRIPE + 1];
    for (int from = begin; from <= high; from += KEYS) {
        int live = std::min(KEYS, high + 1 - from), stripes = (live + STRIPE - 1) / STRIPE;
        int count = stripes * STRIPE;
        for (int i = 0; i < stripes; i++) {
            keys[i] = place(c.keys, from + i * STRIPE, c.key_width);
            values[i] = place(c.values, from + i * STRIPE, c.value_width);
        }
        keys[stripes] = keys[stripes - 1], values[stripes] = values[stripes - 1];
        keys[stripes + stripes % 2] = values[0], keys[stripes + stripes % 2 + 1] = values[stripes > 1];
        for (int i = 0; i < stripes; i += 2)
            score32<R>(keys + i, c.key_width, queries, &scores[0][i * STRIPE], keys + i + 2);
        for (int r = 0; r < R; r++) {
            for (int i = 0; a.softcap && i < count; i += LANES)
                store(&scores[r][i], hyperbolic_tangent(load(&scores[r][i]) / a.softcap) * a.softcap);
            hide(scores[r], from, count, asked.position(r), a.window);
            float shrink = soften(scores[r], count, most[r], total[r]);
            if (shrink != 1.f) scale(out + r * c.value_width, c.value_width, shrink);
        }
        add_values<R>(values, c.value_width, live, &scores[0][0], out);
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
        a.cache.half ? attend_rows<r, Half>(a, asked, queries, results)
                     : attend_rows<r, float>(a, asked, queries, results);
    });
    for (int r = 0; r < rows; r++)
        std::memcpy(out + (size_t)asked.token(r) * out_stride + asked.head(r) * width,
                    results + r * width, width * sizeof(float));
}

static void attend(Team& team, const Attention& a, const std::vector<Tile>& tiles, const float* q,
                   int q_stride, float* out, int out_stride) {
    int group = a.query_heads / a.cache.heads;
    int parts = (group + ROWS - 1) / ROWS, per_tile = a.cache.heads * parts;
    auto work = [&](int item, int) {  // the longest first: a late long one would keep others waiting
        const Tile& tile = tiles[tiles.size() - 1 - item / per_tile];
        int kv = item % per_tile / parts, part = item % parts;
        int first = kv * group + part * group / parts, last = kv * group + (part + 1) * group / parts;
        attend_tile(a, {tile, kv, first, last}, q, q_stride, out, out_stride);
    };
    team.share((int)tiles.size() * per_tile, work, per_tile);
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
