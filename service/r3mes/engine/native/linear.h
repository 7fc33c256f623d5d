// Products of a few to many rows with a weight that was packed beforehand.
//
// Layout of a packed weight [n, k] (n outputs, k inputs): panels of 32 outputs, the last one padded
// with zeros. A panel is [k][32]: for each input its 32 weights lie side by side, so that one pass
// over a panel reads memory in order and no sum crosses lanes. 8-bit weights keep four neighbouring
// inputs together, [k / 4][32][4], as the product of small integers wants them.
//
// 8 bits: w ~ scale[group][output] x q with q in -127..127, symmetric; a row of x likewise, with a
// scale for each group of inputs, made anew for each product. y = sum over groups of
// (x scale x w scale x integer sum). A group is a stretch of inputs; one group is "per channel".
#pragma once
#include <algorithm>
#include <cmath>

#include "threads.h"
#include "vector.h"

constexpr int PANEL = 2 * LANES;

enum Kind : int32_t { F32 = 0, BF16 = 1, INT8 = 2 };

struct Weight {
    const void* data;     // the panels
    const float* scales;  // 8 bits: [groups][padded n]
    const int32_t* sums;  // 8 bits: [groups][padded n], of each output's q; undoes x's offset
    const float* bias;    // [n] or null
    int32_t n, k, kind, group;

    int panels() const { return (n + PANEL - 1) / PANEL; }
    int groups() const { return kind == INT8 ? k / group : 1; }
};

// What becomes of a row's 32 outputs.
enum Ending : int32_t {
    STORE = 0,  // y = Wx + b
    ADD = 1,    // y += Wx + b
    GATE_SILU = 2,  // outputs are 16 gates and 16 ups in turn: y = silu(gate) x up, half as wide
    GATE_GELU = 3,  // the same with the tanh form of GELU
};

struct Rows {
    const float* x;
    int count, stride;  // floats from one row to the next
    int8_t* small;      // 8 bits: [count][k] as quantized here
    float* scales;      // 8 bits: [count][groups]
};

static inline Floats gate(Floats g, Floats up, int ending) {
    if (ending == GATE_SILU) return g / (exponential(-g) + 1.f) * up;
    Floats inner = (g + g * g * g * 0.044715f) * 0.79788456f;
    return g * 0.5f * (hyperbolic_tangent(inner) + 1.f) * up;
}

// Writes one row's share of a panel; columns past the last output are left alone.
static inline void finish(Floats a, Floats b, const Weight& w, int panel, float* y, int ending) {
    int first = panel * PANEL, left = std::min(w.n - first, PANEL);
    if (w.bias) {
        float bias[PANEL] = {};
        std::memcpy(bias, w.bias + first, left * sizeof(float));
        a += load(bias);
        b += load(bias + LANES);
    }
    if (ending >= GATE_SILU) {
        store(y + panel * LANES, gate(a, b, ending));
        return;
    }
    float* to = y + first;
    if (left == PANEL) {
        if (ending == ADD) a += load(to), b += load(to + LANES);
        store(to, a);
        store(to + LANES, b);
        return;
    }
    float both[PANEL];
    store(both, a);
    store(both + LANES, b);
    for (int i = 0; i < left; i++) to[i] = ending == ADD ? to[i] + both[i] : both[i];
}

// What is read next, asked for meanwhile: each block of rows asks for its share of the next panel, so
// that memory is never idle while registers are busy. `step` bytes for each input; with 0 the same
// place again, which has to be mapped: a search for an address that is none takes time.
struct Ahead {
    const char* from;
    int step;

    void ask(long input) const {
        __builtin_prefetch(from + input * step, 0, 2);
        __builtin_prefetch(from + input * step + 64, 0, 2);
    }
};

// R rows times one panel of floats.
template <int R, typename T>
static void block(const Weight& w, int panel, const Rows& rows, int row, const T* data,
                  Ahead ahead, float* y, int width, int ending) {
    Floats a[R][2] = {};
    const float* x = rows.x + (size_t)row * rows.stride;
    for (int i = 0; i < w.k; i++) {
        Floats w0 = load(data + i * PANEL), w1 = load(data + i * PANEL + LANES);
        ahead.ask(i);
        for (int r = 0; r < R; r++) {
            Floats b = splat(x[r * rows.stride + i]);
            a[r][0] += b * w0;
            a[r][1] += b * w1;
        }
    }
    for (int r = 0; r < R; r++)
        finish(a[r][0], a[r][1], w, panel, y + (size_t)(row + r) * width, ending);
}

template <int R>
static void block(const Weight& w, int panel, const Rows& rows, int row, const int8_t* data,
                  Ahead ahead, float* y, int width, int ending) {
    Floats total[R][2] = {};
    int padded = w.panels() * PANEL, groups = w.groups(), quads = w.group / 4;
    for (int g = 0; g < groups; g++) {
        Ints a[R][2] = {};
        const int8_t* x = rows.small + (size_t)row * w.k + g * w.group;
        const int8_t* from = data + (size_t)g * quads * PANEL * 4;
        for (int q = 0; q < quads; q++) {
            Ints w0 = load<Ints>(from + q * PANEL * 4), w1 = load<Ints>(from + q * PANEL * 4 + 64);
            ahead.ask(g * quads + q);
            for (int r = 0; r < R; r++) {
                int32_t four;
                std::memcpy(&four, x + (size_t)r * w.k + 4 * q, 4);
                a[r][0] = dot(a[r][0], splat(four), w0);
                a[r][1] = dot(a[r][1], splat(four), w1);
            }
        }
        Ints sums[R][2];  // a copy: what is indexed by a variable does not stay in registers
        for (int r = 0; r < R; r++) sums[r][0] = a[r][0], sums[r][1] = a[r][1];
        size_t column = (size_t)g * padded + panel * PANEL;
        for (int half = 0; half < 2; half++) {
            Floats scale = load(w.scales + column + half * LANES);
            Ints offset = load<Ints>(w.sums + column + half * LANES) * OFFSET;
            for (int r = 0; r < R; r++) {
                Floats exact = __builtin_convertvector(sums[r][half] - offset, Floats);
                total[r][half] += exact * scale * rows.scales[(size_t)(row + r) * groups + g];
            }
        }
    }
    for (int r = 0; r < R; r++)
        finish(total[r][0], total[r][1], w, panel, y + (size_t)(row + r) * width, ending);
}

// Calls one of the blocks for `count` rows, 1..ROWS.
template <int R = ROWS, typename Call>
static inline void pick(int count, Call call) {
    if constexpr (R > 0) {
        if (count == R) return call(std::integral_constant<int, R>{});
        pick<R - 1>(count, call);
    }
}

constexpr int WIDE = 3 * ROWS;  // from so many rows on a 16-bit panel is widened once, not each time
constexpr int EARLY = 4;        // from so many rows on the next panel is asked for ahead

// One panel for all rows, which are cut into blocks of nearly equal size, as few as registers allow.
template <typename T>
static void panel_times_rows(const Weight& w, int panel, const Rows& rows, const T* data,
                             const void* next, int bytes, float* y, int width, int ending) {
    int parts = (rows.count + ROWS - 1) / ROWS;
    for (int part = 0, row = 0; part < parts; part++) {
        int count = (rows.count - row + parts - part - 1) / (parts - part);
        int step = next && rows.count >= EARLY ? std::max(1, bytes / parts) : 0;
        size_t inputs = sizeof(T) == 1 ? w.k / 4 : w.k;
        Ahead ahead{(const char*)(step ? next : data) + part * inputs * step, step};
        pick(count, [&](auto r) { block<r>(w, panel, rows, row, data, ahead, y, width, ending); });
        row += count;
    }
}

// `scratch` [k][32] floats is this thread's own.
template <typename T>
static void one_panel(const Weight& w, int panel, const Rows& rows, float* y, int width, int ending,
                      float* scratch) {
    size_t size = (size_t)w.k * PANEL;
    const T* data = (const T*)w.data + panel * size;
    const T* next = panel + 1 < w.panels() ? data + size : nullptr;
    constexpr int BYTES = PANEL * (sizeof(T) == 1 ? 4 : sizeof(T));  // of the weights of an input
    if (sizeof(T) == 2 && rows.count >= WIDE) {
        for (size_t i = 0; i < size; i += LANES) store(scratch + i, load((const uint16_t*)data + i));
        panel_times_rows(w, panel, rows, scratch, next, BYTES, y, width, ending);
    } else {
        panel_times_rows(w, panel, rows, data, next, BYTES, y, width, ending);
    }
}

// A row of activations in 8 bits, with a scale for each group. What is not finite makes the scale
// so, and through it the result.
static void quantize(const float* x, int k, int group, int8_t* to, float* scales) {
    for (int g = 0; g < k / group; g++, x += group, to += group) {
        Floats most = {}, odd = {};
        for (int i = 0; i < group; i += LANES) {
            Floats v = load(x + i);
            most = greater(most, v < splat(0.f) ? -v : v);
            odd += v * 0.f;
        }
        float high = largest(most), bad = sum(odd);
        float inverse = high > 0 && bad == 0 ? 127.f / high : 0.f;
        scales[g] = bad == 0 ? high / 127.f : NAN;
        const float shift = 12582912.f;  // rounds to the nearest integer
        for (int i = 0; i < group; i += LANES) {
            Ints q = __builtin_convertvector((load(x + i) * inverse + shift) - shift, Ints);
            if (bad != 0) q = Ints{};
            typedef int8_t Bytes __attribute__((vector_size(16)));
            store(to + i, (__builtin_convertvector(q + OFFSET, Bytes)));
        }
    }
}

// A weight, and where its products go.
struct Product {
    const Weight* weight;
    float* y;
};

// y [count, width] from x through each weight, shared by the team; all have as many inputs, and 8 bits
// all or none. `scratch` is this thread's own: [k][32].
static void linears(Team& team, const Product* products, int number, const Rows& rows, int width,
                    int ending, float* scratch) {
    const Weight& first = *products->weight;
    if (first.kind == INT8) {
        int groups = first.groups();
        team.share(rows.count, 1, [&](int row) {
            quantize(rows.x + (size_t)row * rows.stride, first.k, first.group,
                     rows.small + (size_t)row * first.k, rows.scales + (size_t)row * groups);
        });
    }
    int panels = 0;
    for (int i = 0; i < number; i++) panels += products[i].weight->panels();
    int grain = std::max(1, panels / (team.size * 8));
    team.share(panels, grain, [&](int panel) {
        const Product* it = products;
        for (; panel >= it->weight->panels(); it++) panel -= it->weight->panels();
        const Weight& w = *it->weight;
        int line = width ? width : w.n;
        if (w.kind == F32)
            one_panel<float>(w, panel, rows, it->y, line, ending, scratch);
        else if (w.kind == BF16)
            one_panel<uint16_t>(w, panel, rows, it->y, line, ending, scratch);
        else
            one_panel<int8_t>(w, panel, rows, it->y, line, ending, scratch);
    });
}

static void linear(Team& team, const Weight& w, const Rows& rows, float* y, int width, int ending,
                   float* scratch) {
    Product only{&w, y};
    linears(team, &only, 1, rows, width, ending, scratch);
}
