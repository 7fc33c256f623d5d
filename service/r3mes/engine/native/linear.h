// Products of a few to many rows with a weight that was packed beforehand.
//
// Layout of a packed weight [n, k] (n outputs, k inputs): panels of 32 outputs, the last one padded
// with zeros. A panel is [k][32]: for each input its 32 weights lie side by side, so that one pass
// over a panel reads memory in order and no sum crosses lanes. Of 16-bit weights outputs i and i + 16
// lie side by side, [k][16][2]: a lane holds both, and one shift or mask makes a float of either.
// 8-bit weights keep four neighbouring inputs together, [k / 4][32][4], as the product of small
// integers wants them.
//
// 8 bits: w ~ scale[group][output] x q with q in -127..127, symmetric; a row of x likewise, with a
// scale for each group of inputs, made anew for each product. y = sum over groups of
// (x scale x w scale x integer sum). A group is a stretch of inputs; one group is "per channel".
#pragma once
#include <cmath>

#include "threads.h"
#include "vector.h"

constexpr int PANEL = 2 * STRIPE;
constexpr int VECTORS = PANEL / LANES, HALF = VECTORS / 2;  // of a panel's outputs

enum Kind : int32_t { F32 = 0, BF16 = 1, INT8 = 2 };

struct Weight {
    const void* data;     // the panels
    const float* scales;  // 8 bits: [groups][padded n]
    const int32_t* sums;  // 8 bits: [groups][padded n], of each output's q; undoes x's offset
    const float* bias;    // [padded n]
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

static inline Floats gate(Floats g, Floats up, int ending) {
    if (ending == GATE_SILU) return g / (exponential(-g) + 1.f) * up;
    Floats inner = (g + g * g * g * 0.044715f) * 0.79788456f;
    return g * 0.5f * (hyperbolic_tangent(inner) + 1.f) * up;
}

// Calls with a constant for `count`, 1..ROWS.
template <int R = ROWS, typename Call>
static inline void pick(int count, Call call) {
    if constexpr (R > 0)
        count == R ? call(std::integral_constant<int, R>{}) : pick<R - 1>(count, call);
}

// A row of activations in 8 bits, with a scale for each group. What is not finite makes the scale
// so, and through it the result.
static void quantize(const float* x, int k, int group, int8_t* to, float* scales) {
    for (int g = 0; g < k / group; g++, x += group, to += group) {
        Floats most = {}, odd = {};
        for (int i = 0; i < group; i += LANES) {
            Floats v = load(x + i);
            most = greater(most, greater(v, -v));
            odd += v * 0.f;
        }
        float high = largest(most);
        bool finite = sum(odd) == 0;
        float inverse = high > 0 && finite ? 127.f / high : 0.f;
        scales[g] = finite ? high / 127.f : NAN;
        for (int i = 0; i < group; i += LANES) {
            Ints q = finite ? __builtin_convertvector(round(load(x + i) * inverse), Ints) : Ints{};
            store(to + i, __builtin_convertvector(q + OFFSET, Bytes));
        }
    }
}

constexpr int EARLY = 4;  // from so many rows on the next panel is asked for ahead

// y [count][width] from x [count][stride], as many numbers of each row as the weight has.
struct Product {
    const Weight& w;
    const float* x;
    int count, stride;
    float* y;
    int width, ending;
    int8_t* small;  // 8 bits: [count][k] as quantized here
    float* scales;  // 8 bits: [count][groups]

    // Shared by the team.
    void run(Team& team) const {
        if (!count) return;
        if (w.kind == INT8)
            team.share(count, [&](int row, int) {
                quantize(x + (size_t)row * stride, w.k, w.group, small + (size_t)row * w.k,
                         scales + (size_t)row * w.groups());
            });
        team.share(w.panels(), [&](int panel, int after) {
            w.kind == F32    ? one_panel<float>(panel, after)
            : w.kind == BF16 ? one_panel<uint16_t>(panel, after)
                             : one_panel<int8_t>(panel, after);
        });
    }

    // Each block of rows asks for its share of the panel that is read next, so that memory is never idle
    // while registers are busy. With a step of 0 they ask for the same place again, a mapped one: a
    // search for an address that is none takes time.
    template <typename T>
    void one_panel(int panel, int after) const {
        int inputs = sizeof(T) == 1 ? 4 : 1, lines = w.k / inputs;
        size_t line = PANEL * inputs * sizeof(T);
        const char *panels = (const char*)w.data, *next = panels + after * lines * line;
        // Rows are cut into blocks of nearly equal size, as few as registers allow.
        int parts = (count + ROWS - 1) / ROWS;
        size_t step = after == panel || count < EARLY ? 0 : line / parts;
        for (int part = 0, row = 0; part < parts; part++, next += lines * step) {
            int rows = (count - row + parts - part - 1) / (parts - part);
            const T* data = (const T*)(panels + panel * lines * line);
            pick(rows, [&](auto r) { block<r>(panel, row, data, next, step); });
            row += rows;
        }
    }

    // R rows times one panel.
    template <int R, typename T>
    void block(int panel, int row, const T* data, const char* next, size_t step) const {
        Floats sums[R][VECTORS] = {};
        const float* from = x + (size_t)row * stride;
        for (int i = 0; i < w.k; i++) {
            for (int at : {0, 64}) __builtin_prefetch(next + i * step + at, 0, 2);
            for (int v = 0; v < HALF; v++) {
                Pair weights = load_pair(data + i * PANEL, v * LANES);
                for (int r = 0; r < R; r++) {
                    Floats one = splat(from[r * stride + i]);
                    sums[r][v] += weights.first * one;
                    sums[r][v + HALF] += weights.second * one;
                }
            }
        }
        for (int r = 0; r < R; r++) finish(sums[r], panel, row + r);
    }

    template <int R>
    void block(int panel, int row, const int8_t* data, const char* next, size_t step) const {
        Floats total[R][VECTORS] = {};
        int groups = w.groups(), quads = w.group / 4;
        for (int g = 0; g < groups; g++) {
            Ints exact[R][VECTORS] = {};
            const int8_t* from = small + (size_t)row * w.k + g * w.group;
            for (int q = 0; q < quads; q++) {
                const int8_t* line = data + ((size_t)g * quads + q) * PANEL * 4;
                for (int at : {0, 64}) __builtin_prefetch(next + (g * quads + q) * step + at, 0, 2);
                for (int r = 0; r < R; r++) {
                    int32_t four;
                    std::memcpy(&four, from + (size_t)r * w.k + 4 * q, 4);
                    for (int v = 0; v < VECTORS; v++)
                        exact[r][v] = dot(exact[r][v], splat(four), load<Ints>(line + v * LANES * 4));
                }
            }
            Ints sums[R][VECTORS];  // a copy: what is indexed by a variable does not stay in registers
            for (int r = 0; r < R; r++)
                for (int v = 0; v < VECTORS; v++) sums[r][v] = exact[r][v];
            size_t column = ((size_t)g * w.panels() + panel) * PANEL;
            for (int v = 0; v < VECTORS; v++) {
                Floats scale = load(w.scales + column + v * LANES);
                Ints offset = load<Ints>(w.sums + column + v * LANES) * OFFSET;
                for (int r = 0; r < R; r++)
                    total[r][v] += __builtin_convertvector(sums[r][v] - offset, Floats) * scale *
                                   scales[(size_t)(row + r) * groups + g];
            }
        }
        for (int r = 0; r < R; r++) finish(total[r], panel, row + r);
    }

    // Writes one row's share of a panel; columns past the last output are left alone.
    void finish(Floats* sums, int panel, int row) const {
        int first = panel * PANEL, left = w.n - first;
        float *to = y + (size_t)row * width + first, edge[PANEL];
        for (int v = 0; v < VECTORS; v++) sums[v] += load(w.bias + first + v * LANES);
        if (ending >= GATE_SILU) {
            for (int v = 0; v < HALF; v++)
                store(to - first / 2 + v * LANES, gate(sums[v], sums[v + HALF], ending));
            return;
        }
        float* at = left < PANEL ? edge : to;
        if (left < PANEL) std::memcpy(edge, to, left * sizeof(float));
        for (int v = 0; v < VECTORS; v++)
            store(at + v * LANES, ending == ADD ? load(at + v * LANES) + sums[v] : sums[v]);
        if (left < PANEL) std::memcpy(to, edge, left * sizeof(float));
    }
};
