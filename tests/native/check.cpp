// The operators against naive loops, to be built with sanitizers: products of all kinds, attention
// and a whole step of a made-up model, on three threads with random shapes. Prints what differs.
#define SOURCES ""
#include "../../service/r3mes/engine/native/step.cpp"

#include <cstdio>
#include <cstdlib>
#include <random>

typedef std::vector<float> Numbers;

static std::mt19937 dice(1);
static constexpr int THREADS = 3;

static int between(int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(dice);
}

static Numbers numbers(size_t count, float size = 1.f) {
    std::normal_distribution<float> normal(0.f, size);
    Numbers made(count);
    for (float& x : made) x = normal(dice);
    return made;
}

static void compare(const char* what, const Numbers& expected, const Numbers& got,
                    float tolerance) {
    float most = 0.f;
    for (float x : expected) most = std::max(most, std::fabs(x));
    for (size_t i = 0; i < expected.size(); i++) {
        if (std::fabs(expected[i] - got[i]) <= tolerance * most) continue;
        std::printf("%s: number %zu of %zu is %g, not %g\n", what, i, expected.size(), got[i],
                    expected[i]);
        std::exit(1);
    }
}

// Weights in panels, as packing.py lays them.
static void pack_floats(const float* w, int n, int k, Kind kind, void* to) {
    int panels = (n + PANEL - 1) / PANEL;
    for (int p = 0; p < panels; p++)
        for (int c = 0; c < PANEL; c++) {
            int out = p * PANEL + c;
            for (int i = 0; i < k; i++) {
                float x = out < n ? w[(size_t)out * k + i] : 0.f;
                size_t at = ((size_t)p * k + i) * PANEL + c;
                if (kind == F32) {
                    ((float*)to)[at] = x;
                } else {  // to the nearest, ties to even: exact for what was bfloat16 before
                    uint32_t bits;
                    std::memcpy(&bits, &x, 4);
                    at += c % STRIPE * 2 + c / STRIPE - c;
                    ((uint16_t*)to)[at] = uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
                }
            }
        }
}

static void pack_small(const float* w, int n, int k, int group, int8_t* to, float* scales,
                       int32_t* sums) {
    int panels = (n + PANEL - 1) / PANEL, padded = panels * PANEL;
    for (int out = 0; out < padded; out++)
        for (int g = 0; g < k / group; g++) {
            const float* from = w + (size_t)out * k + g * group;
            float high = 0;
            for (int i = 0; i < group && out < n; i++) high = std::max(high, std::fabs(from[i]));
            int32_t total = 0;
            for (int i = 0; i < group; i++) {
                int q = high > 0 ? (int)std::lrint(from[i] * (127.f / high)) : 0;
                int at = g * group + i, p = out / PANEL, c = out % PANEL;
                to[((size_t)p * k + at / 4 * 4) * PANEL + c * 4 + at % 4] = (int8_t)q;
                total += q;
            }
            scales[(size_t)g * padded + out] = high / 127.f;
            sums[(size_t)g * padded + out] = total;
        }
}

// A weight with all that it points to; `plain` is what it stands for.
struct Packed {
    Numbers plain, bias, scales;
    std::vector<int32_t> sums;
    std::vector<char> data;
    Weight weight;

    Packed(int n, int k, Kind kind, int group, bool biased) : plain(numbers((size_t)n * k, .2f)) {
        int panels = (n + PANEL - 1) / PANEL, bytes = kind == F32 ? 4 : kind == BF16 ? 2 : 1;
        bias.resize(panels * PANEL);
        for (int i = 0; biased && i < n; i++) bias[i] = numbers(1)[0];
        data.resize((size_t)panels * PANEL * k * bytes);
        if (kind == BF16)
            for (float& x : plain) cut(x);
        if (kind == INT8) {
            scales.resize((size_t)k / group * panels * PANEL);
            sums.resize(scales.size());
        }
        weight = {data.data(), scales.data(), sums.data(), bias.data(), n, k, kind, group};
        if (kind == INT8)
            pack_small(plain.data(), n, k, group, (int8_t*)data.data(), scales.data(), sums.data());
        else
            pack_floats(plain.data(), n, k, kind, data.data());
    }

    static void cut(float& x) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        bits &= 0xffff0000;
        std::memcpy(&x, &bits, 4);
    }

    // y = Wx + b of one row, in the number of steps that the kind has.
    Numbers times(const float* x) const {
        Numbers y(weight.n);
        for (int out = 0; out < weight.n; out++) {
            const float* row = &plain[(size_t)out * weight.k];
            double total = bias[out];
            for (int from = 0; from < weight.k; from += stretch())
                total += product(row + from, x + from);
            y[out] = (float)total;
        }
        return y;
    }

  private:
    int stretch() const { return weight.kind == INT8 ? weight.group : weight.k; }

    double product(const float* w, const float* x) const {
        double total = 0.;
        if (weight.kind != INT8) {
            for (int i = 0; i < stretch(); i++) total += (double)w[i] * x[i];
            return total;
        }
        double a = step(w), b = step(x);
        for (int i = 0; i < stretch(); i++)
            total += std::nearbyint(w[i] / a) * std::nearbyint(x[i] / b);
        return total * a * b;
    }

    double step(const float* x) const {
        float most = 0.f;
        for (int i = 0; i < stretch(); i++) most = std::max(most, std::fabs(x[i]));
        return most > 0.f ? most / 127. : 1.;
    }
};

// As large as a call needs it and not one number larger, so that a sanitizer sees what is beyond.
struct Desk {
    Numbers scales;
    std::vector<int8_t> small;
    Room room{};

    Desk(int count, const Weight& w)
        : scales((size_t)count * w.groups()), small((size_t)count * w.k) {
        room.scales = scales.data();
        room.small = small.data();
    }
};

static void check_linear(Team& team, Kind kind, int group, int n, int k, int count) {
    Packed packed(n, k, kind, group, between(0, 1));
    Numbers x = numbers((size_t)count * k), got((size_t)count * n), expected;
    Desk desk(count, packed.weight);
    r3mes_linear(&team, &packed.weight, &desk.room, x.data(), count, got.data(), STORE);
    for (int row = 0; row < count; row++)
        for (float y : packed.times(&x[(size_t)row * k])) expected.push_back(y);
    // a number halfway between two of 127 steps may become either
    compare("linear", expected, got, kind == INT8 ? 1e-3f : 1e-5f);
}

static void check_linears(Team& team) {
    for (int count : {0, 1, 2, ROWS, ROWS + 1, 3 * ROWS, 3 * ROWS + 1, between(40, 70)})
        for (int n : {1, PANEL, between(33, 200)}) {
            int k = STRIPE * between(1, 8);
            check_linear(team, F32, 0, n, between(1, 150), count);
            check_linear(team, BF16, 0, n, between(1, 150), count);
            check_linear(team, INT8, k, n, k, count);
            check_linear(team, INT8, STRIPE, n, k, count);
        }
}

// A gated MLP: two products, the first of which ends in gates.
static void check_gated(Team& team, Kind kind, int group, int count) {
    constexpr int K = 48, INNER = 80, N = 37;
    Packed gate_up(2 * INNER, K, kind, group, true), down(N, INNER, kind, group, false);
    Numbers x = numbers(count * K), inner(count * INNER), got(count * N), expected;
    for (int row = 0; row < count; row++) {
        Numbers both = gate_up.times(&x[row * K]), middle(INNER);
        for (int i = 0; i < INNER; i++) {
            int at = i / STRIPE * PANEL + i % STRIPE;
            middle[i] = both[at] / (1.f + std::exp(-both[at])) * both[at + STRIPE];
        }
        Numbers part = down.times(middle.data());
        expected.insert(expected.end(), part.begin(), part.end());
    }
    Desk wide(count, gate_up.weight), narrow(count, down.weight);
    r3mes_linear(&team, &gate_up.weight, &wide.room, x.data(), count, inner.data(), GATE_SILU);
    r3mes_linear(&team, &down.weight, &narrow.room, inner.data(), count, got.data(), STORE);
    // of a gate that is nearly halfway between two steps either may come
    compare("gated", expected, got, kind == INT8 ? 2e-2f : 1e-5f);
}

static void check_gated(Team& team) {
    for (int count : {1, ROWS + 1, between(40, 70)}) {
        check_gated(team, F32, 0, count);
        check_gated(team, BF16, 0, count);
        check_gated(team, INT8, STRIPE, count);
    }
}

// Rows that one thread norms, and so many that all do.
static void check_norms(Team& team) {
    constexpr int WIDTH = 48;
    for (int count : {3, 700}) {
        Numbers x = numbers(count * WIDTH), weight = numbers(WIDTH), got(x.size()), expected(x);
        Norm norm{weight.data(), 1e-5f, WIDTH};
        for (int row = 0; row < count; row++) {
            double squares = 0.;
            for (int i = 0; i < WIDTH; i++) squares += (double)x[row * WIDTH + i] * x[row * WIDTH + i];
            for (int i = 0; i < WIDTH; i++)
                expected[row * WIDTH + i] *= (float)(weight[i] / std::sqrt(squares / WIDTH + 1e-5));
        }
        r3mes_normalize(&team, &norm, x.data(), count, got.data());
        compare("norm", expected, got, 1e-5f);
    }
}

// Sequences with shuffled blocks of a cache that holds nothing finite at first.
struct Sequences {
    std::vector<int32_t> lengths, tables;
    int width = 0, block_size, blocks = 0;

    Sequences(std::vector<int32_t> lengths, int block_size)
        : lengths(lengths), block_size(block_size) {
        for (int length : lengths) width = std::max(width, count(length));
        tables.resize(lengths.size() * width);
        for (int length : lengths) blocks += count(length);
        std::vector<int32_t> shuffled(blocks);
        for (int i = 0; i < blocks; i++) shuffled[i] = i;
        std::shuffle(shuffled.begin(), shuffled.end(), dice);
        for (size_t s = 0; s < lengths.size(); s++)
            for (int i = 0; i < count(lengths[s]); i++) {
                tables[s * width + i] = shuffled.back();
                shuffled.pop_back();
            }
    }

    int count(int length) const { return (length + block_size - 1) / block_size; }
};

// What is fed of each sequence in one call.
struct Fed {
    std::vector<int32_t> tokens, positions, begins{0}, wanted;
    Batch batch;

    Fed(const Sequences& all, const std::vector<int>& from, const std::vector<int>& to,
        const std::vector<int32_t>& ids) {
        for (size_t s = 0; s < from.size(); s++) {
            for (int at = from[s]; at < to[s]; at++) {
                positions.push_back(at);
                tokens.push_back(ids[at]);
                wanted.push_back((int32_t)wanted.size());
            }
            begins.push_back((int32_t)positions.size());
        }
        int count = (int)positions.size(), sequences = (int)from.size();
        batch = {positions.data(), begins.data(), all.tables.data(), wanted.data(),
                 count,         sequences,        all.width,     count,             nullptr,
                 nullptr};
    }
};

// One layer's share of a cache, with numbers of other layers before and after it in each block.
struct Store {
    static constexpr int OTHERS = 48;
    int size, share;  // bytes of a number, numbers of a block that are this layer's
    std::vector<char> memory;
    Cache cache;

    Store(const Sequences& all, int heads, int key_width, int value_width, bool half)
        : size(half ? 2 : 4), share(all.block_size * heads * (key_width + value_width)) {
        int stride = OTHERS + share + OTHERS;
        memory.assign((size_t)all.blocks * stride * size, (char)0xff);
        char* keys = memory.data() + OTHERS * size;
        char* values = keys + (size_t)all.block_size * heads * key_width * size;
        cache = {keys, values, stride, heads, key_width, value_width, all.block_size, half};
    }

    void check_others() const {
        size_t block = cache.stride * size, first = OTHERS * size, last = first + share * size;
        for (size_t i = 0; i < memory.size(); i++) {
            if ((i % block >= first && i % block < last) || memory[i] == (char)0xff) continue;
            std::printf("attention wrote byte %zu of a block, which is another layer's\n", i % block);
            std::exit(1);
        }
    }
};

// One query over keys and values of one head, [position][heads][width] each.
static void naive_attend(const Attention& a, int head, int position, const float* q, const float* k,
                         const float* v, float* out) {
    const Cache& c = a.cache;
    int kv = head / (a.query_heads / c.heads), first = a.window ? position - a.window + 1 : 0;
    double total = a.sinks ? std::exp((double)a.sinks[head]) : 0.;
    std::vector<double> sums(c.value_width);
    for (int t = std::max(0, first); t <= position; t++) {
        double score = 0.;
        for (int d = 0; d < c.key_width; d++)
            score += (double)q[d] * k[(t * c.heads + kv) * c.key_width + d];
        score *= a.scale;
        if (a.softcap) score = std::tanh(score / a.softcap) * a.softcap;
        double weight = std::exp(score);
        total += weight;
        for (int d = 0; d < c.value_width; d++)
            sums[d] += weight * v[(t * c.heads + kv) * c.value_width + d];
    }
    for (int d = 0; d < c.value_width; d++) out[d] = (float)(sums[d] / total);
}

// Keys, values and queries of whole sequences, and the rows of them that a batch feeds.
struct Story {
    int width;  // of one token
    std::vector<Numbers> of;

    Story(const Sequences& all, int width) : width(width) {
        for (int length : all.lengths) of.push_back(numbers((size_t)length * width));
    }

    Numbers part(const std::vector<int>& from, const std::vector<int>& to) const {
        Numbers joined;
        for (size_t s = 0; s < of.size(); s++)
            joined.insert(joined.end(), of[s].begin() + from[s] * width,
                          of[s].begin() + to[s] * width);
        return joined;
    }
};

static void check_attention(Team& team, int heads, int group, int key_width, int value_width,
                            int window, float softcap, bool sinks, bool half, int block_size) {
    Sequences all({between(1, 40), between(257, 320), 1}, block_size);
    int query_heads = heads * group;
    Store store(all, heads, key_width, value_width, half);
    Numbers sunk = numbers(query_heads);
    Attention a = {store.cache, sinks ? sunk.data() : nullptr, query_heads, window,
                   1.f / std::sqrt((float)key_width), softcap};
    Story q(all, query_heads * key_width), k(all, heads * key_width), v(all, heads * value_width);
    std::vector<int> from = {0, 0, 0}, to = {between(0, all.lengths[0]), between(1, 256), 1};
    std::vector<int32_t> ids(1000);
    for (int turn = 0; turn < 2; turn++) {
        Fed fed(all, from, to, ids);
        Numbers got((size_t)fed.batch.count * query_heads * value_width), expected(got.size());
        r3mes_attend(&team, &a, &fed.batch, q.part(from, to).data(), k.part(from, to).data(),
                     v.part(from, to).data(), got.data());
        float* out = expected.data();
        for (size_t s = 0; s < from.size(); s++)
            for (int t = from[s]; t < to[s]; t++)
                for (int h = 0; h < query_heads; h++, out += value_width)
                    naive_attend(a, h, t, &q.of[s][(t * query_heads + h) * key_width],
                                 k.of[s].data(), v.of[s].data(), out);
        compare("attention", expected, got, half ? 2e-3f : 1e-5f);
        store.check_others();
        from = to;
        to = all.lengths;
    }
}

static void check_attentions(Team& team) {
    check_attention(team, 2, 1, 16, 16, 0, 0.f, false, false, 16);
    check_attention(team, 1, ROWS + 2, 32, 16, 0, 0.f, true, false, 32);
    check_attention(team, 3, 2, 16, 64, 5, 0.f, false, true, 48);
    check_attention(team, 2, 3, 48, 48, 300, 4.f, true, false, 16);
    check_attention(team, 1, 2, 512, 512, 16, 2.f, false, false, 16);
}

// Two layers with biases, norms of queries and keys, positions, a window and capped logits.

struct Made {
    static constexpr int HIDDEN = 48, INNER = 80, HEADS = 2, QUERY_HEADS = 4, WIDTH = 16;
    static constexpr int VOCABULARY = 75, POSITIONS = 300;
    static constexpr int QKV = (QUERY_HEADS + 2 * HEADS) * WIDTH;

    Kind kind;
    Numbers norms, cosines, sines, embedding;
    std::vector<Packed> weights;  // of each layer four, then the head
    std::vector<Layer> layers;
    std::vector<Store> stores;
    Model model;

    Made(const Sequences& all, Kind kind) : kind(kind), norms(numbers(HIDDEN)),
          cosines(numbers(POSITIONS * WIDTH / 2)), sines(numbers(POSITIONS * WIDTH / 2)),
          embedding(numbers(VOCABULARY * HIDDEN)) {
        weights.reserve(9);  // what they point to must not move
        for (int i = 0; i < 2; i++) layers.push_back(layer(all, i));
        Packed& head = pack(VOCABULARY, HIDDEN);
        model = {layers.data(), head.weight, norm(HIDDEN), 2, HIDDEN, GATE_SILU, 1.f, 20.f};
    }

    Packed& pack(int n, int k) {
        weights.emplace_back(n, k, kind, k, n == QKV);
        return weights.back();
    }

    Norm norm(int width) const { return {norms.data(), 1e-5f, width}; }

    Layer layer(const Sequences& all, int index) {
        Layer it{};
        it.qkv = pack(QKV, HIDDEN).weight;
        it.out = pack(HIDDEN, QUERY_HEADS * WIDTH).weight;
        it.gate_up = pack(2 * INNER, HIDDEN).weight;
        it.down = pack(HIDDEN, INNER).weight;
        it.before_attention = it.before_mlp = norm(HIDDEN);
        it.query = it.key = norm(WIDTH);
        if (index) it.after_mlp = norm(HIDDEN);
        it.cosines = cosines.data();
        it.sines = sines.data();
        it.rotary = WIDTH;
        stores.reserve(2);
        stores.emplace_back(all, HEADS, WIDTH, WIDTH, false);
        it.attention = {stores.back().cache, nullptr, QUERY_HEADS, index ? 7 : 0, .25f, 0.f};
        return it;
    }

    static void naive_norm(float* x, int width, const float* weight) {
        double squares = 0.;
        for (int i = 0; i < width; i++) squares += (double)x[i] * x[i];
        double scale = 1. / std::sqrt(squares / width + 1e-5);
        for (int i = 0; i < width; i++) x[i] = (float)(x[i] * scale * weight[i]);
    }

    void naive_turn(float* x, int position) const {
        const int half = WIDTH / 2;
        for (int i = 0; i < half; i++) {
            float a = x[i], b = x[i + half];
            float cosine = cosines[position * half + i], sine = sines[position * half + i];
            x[i] = a * cosine - b * sine;
            x[i + half] = b * cosine + a * sine;
        }
    }

    // All tokens of a sequence through one layer.
    void naive_layer(int index, Numbers& hidden, int count) const {
        const Packed* w = &weights[4 * index];
        Numbers q, k, v;
        for (int t = 0; t < count; t++) {
            Numbers x(&hidden[t * HIDDEN], &hidden[t * HIDDEN] + HIDDEN);
            naive_norm(x.data(), HIDDEN, norms.data());
            Numbers all = w[0].times(x.data());
            for (int h = 0; h < QUERY_HEADS + HEADS; h++) {
                naive_norm(&all[h * WIDTH], WIDTH, norms.data());
                naive_turn(&all[h * WIDTH], t);
            }
            auto queries = all.begin() + QUERY_HEADS * WIDTH, keys = queries + HEADS * WIDTH;
            q.insert(q.end(), all.begin(), queries);
            k.insert(k.end(), queries, keys);
            v.insert(v.end(), keys, all.end());
        }
        for (int t = 0; t < count; t++) {
            Numbers attended(QUERY_HEADS * WIDTH);
            for (int h = 0; h < QUERY_HEADS; h++)
                naive_attend(layers[index].attention, h, t, &q[(t * QUERY_HEADS + h) * WIDTH],
                             k.data(), v.data(), &attended[h * WIDTH]);
            float* x = &hidden[t * HIDDEN];
            Numbers added = w[1].times(attended.data());
            for (int i = 0; i < HIDDEN; i++) x[i] += added[i];
            naive_mlp(index, x);
        }
    }

    void naive_mlp(int index, float* x) const {
        const Packed* w = &weights[4 * index];
        Numbers normed(x, x + HIDDEN), inner(INNER);
        naive_norm(normed.data(), HIDDEN, norms.data());
        Numbers both = w[2].times(normed.data());
        for (int i = 0; i < INNER; i++) {
            int at = i / STRIPE * 2 * STRIPE + i % STRIPE;
            inner[i] = both[at] / (1.f + std::exp(-both[at])) * both[at + STRIPE];
        }
        Numbers added = w[3].times(inner.data());
        if (layers[index].after_mlp.weight) naive_norm(added.data(), HIDDEN, norms.data());
        for (int i = 0; i < HIDDEN; i++) x[i] += added[i];
    }

    // Logits of each of a sequence's positions.
    Numbers naive(const std::vector<int32_t>& ids, int count) const {
        Numbers hidden((size_t)count * HIDDEN), logits;
        for (int t = 0; t < count; t++)
            for (int i = 0; i < HIDDEN; i++)
                hidden[t * HIDDEN + i] = embedding[ids[t] * HIDDEN + i];
        for (int i = 0; i < 2; i++) naive_layer(i, hidden, count);
        for (int t = 0; t < count; t++) {
            naive_norm(&hidden[t * HIDDEN], HIDDEN, norms.data());
            for (float y : weights[8].times(&hidden[t * HIDDEN]))
                logits.push_back(std::tanh(y / 20.f) * 20.f);
        }
        return logits;
    }
};

// Buffers of exactly the size that `whole_step.py` gives them.
struct Buffers {
    static constexpr int STRIDE = Made::INNER + STRIPE;
    Numbers hidden, normed, qkv, attended, inner, scales;
    std::vector<int8_t> small;
    Room room;

    Buffers(const Numbers& embedding, const std::vector<int32_t>& tokens)
        : hidden(tokens.size() * STRIDE), normed(hidden), qkv(tokens.size() * Made::QKV),
          attended(hidden), inner(hidden), scales(hidden), small(hidden.size()) {
        for (size_t t = 0; t < tokens.size(); t++)
            std::copy_n(embedding.begin() + tokens[t] * Made::HIDDEN, Made::HIDDEN,
                        hidden.begin() + t * STRIDE);
        room = {hidden.data(), normed.data(), qkv.data(),   attended.data(),
                inner.data(),  scales.data(), small.data(), STRIDE};
    }
};

// The logits that are wanted of these tokens, beside those of all of them.
static void check_wanted(Team& team, const Made& made, Fed& fed, const Numbers& all,
                         float tolerance) {
    Buffers buffers(made.embedding, fed.tokens);
    Numbers got(fed.wanted.size() * Made::VOCABULARY), expected;
    std::vector<int64_t> best(fed.wanted.size());
    for (int32_t t : fed.wanted)
        std::copy_n(&all[t * Made::VOCABULARY], Made::VOCABULARY, std::back_inserter(expected));
    fed.batch.wanted_count = (int32_t)fed.wanted.size();
    fed.batch.logits = got.data();
    fed.batch.best = best.data();
    r3mes_step(&team, &made.model, &fed.batch, &buffers.room);
    compare("whole step", expected, got, tolerance);
    for (size_t i = 0; i < best.size(); i++) {
        auto line = got.begin() + i * Made::VOCABULARY;
        if (best[i] != std::max_element(line, line + Made::VOCABULARY) - line) {
            std::puts("the most likely token is another");
            std::exit(1);
        }
    }
}

static void check_step(Team& team, Kind kind, float tolerance) {
    Sequences all({between(20, 40), between(60, 80)}, 16);
    Made made(all, kind);
    std::vector<int32_t> ids(100);
    for (int32_t& id : ids) id = between(0, Made::VOCABULARY - 1);
    std::vector<int> from = {0, 0}, to = {between(1, 19), between(1, 59)};
    for (int turn = 0; turn < 2; turn++) {
        Fed fed(all, from, to, ids);
        Numbers expected;
        for (size_t s = 0; s < from.size(); s++) {
            Numbers whole = made.naive(ids, to[s]);
            auto first = whole.begin() + from[s] * Made::VOCABULARY;
            expected.insert(expected.end(), first, whole.end());
        }
        for (int dropped : {0, 2, 3}) {  // of three tokens, so that all are wanted, some, none
            std::erase_if(fed.wanted, [&](int32_t) { return between(0, 2) < dropped; });
            check_wanted(team, made, fed, expected, tolerance);
        }
        from = to;
        to = all.lengths;
    }
}

int main() {
    Team* team = r3mes_team(THREADS);
    check_linears(*team);
    check_gated(*team);
    check_norms(*team);
    check_attentions(*team);
    check_step(*team, F32, 1e-3f);
    check_step(*team, BF16, 1e-3f);
    check_step(*team, INT8, .1f);
    r3mes_disband(team);
    std::puts("all as the naive loops have it");
}
