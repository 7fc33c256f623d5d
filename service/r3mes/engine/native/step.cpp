// One forward pass of a Llama-shaped model in one call, and its operators one by one for others.
//
// Owns the order of operations. Everything is handed in as plain pointers by `library.py`, whose
// structures mirror those here; memory for activations is handed in too.
#include <sys/mman.h>

#include "attention.h"

struct Norm {
    const float* weight;  // null: no such norm
    float epsilon;
};

// One decoder layer. `qkv` holds the outputs of queries, keys and values one after the other;
// `gate_up` holds 16 gates and 16 ups in turn.
struct Layer {
    Weight qkv, out, gate_up, down;
    Norm before_attention, after_attention, before_mlp, after_mlp, query, key;
    const float *cosines, *sines;  // [positions][rotary / 2], or null: no positions are turned in
    Attention attention;
    int32_t rotary;         // how many numbers of a head are turned
    int32_t norm_whole;     // the norms of queries and keys go over all heads, not over each
};

struct Model {
    const Layer* layers;
    const void* embedding;  // [vocabulary][hidden], float32 or bfloat16
    Weight head;
    Norm last;
    int32_t count, hidden, inner, embedding_kind, gate;
    float embedding_scale, residual_scale, logits_scale, logits_cap;
};

// The flat batch. `tables` has a row of `table_width` block numbers for each sequence.
struct Batch {
    const int32_t *tokens, *positions, *begins, *tables, *wanted;
    int32_t count, sequences, table_width, wanted_count;
    float* logits;  // [wanted_count][vocabulary]
    int64_t* best;  // [wanted_count]: the most likely token, or -1 where a logit is NaN
};

// Room for the activations of as many tokens as a batch may have.
struct Room {
    float *hidden, *normed, *qkv, *attended, *inner, *product, *scratch, *scales;
    int8_t* small;
    int32_t stride;  // of the widest row, for all but `qkv` and the logits
};

static float inverse_rms(const float* x, int width, float epsilon) {
    Floats squares = {};
    for (int i = 0; i < width; i += LANES) squares += load(x + i) * load(x + i);
    return 1.f / std::sqrt(sum(squares) / width + epsilon);
}

// RMSNorm (Zhang and Sennrich, 2019): x / rms(x) x weight. `to` may be `x`.
static void normalize(const Norm& norm, const float* x, int width, float* to) {
    Floats scale = splat(inverse_rms(x, width, norm.epsilon));
    for (int i = 0; i < width; i += LANES)
        store(to + i, load(x + i) * scale * load(norm.weight + i));
}

static void norm_heads(const Norm& norm, float* x, int heads, int width, bool whole) {
    if (!norm.weight) return;
    int parts = whole ? 1 : heads, size = whole ? heads * width : width;
    for (int h = 0; h < parts; h++) normalize(norm, x + h * size, size, x + h * size);
}

// Rotary positions (Su et al., 2021) in the halved form: number i turns with number i + rotary / 2.
static void turn(float* x, int heads, int width, int rotary, const float* cosine,
                 const float* sine) {
    int half = rotary / 2;
    for (int h = 0; h < heads; h++, x += width)
        for (int i = 0; i < half; i++) {
            float a = x[i], b = x[i + half];
            x[i] = a * cosine[i] - b * sine[i];
            x[i + half] = b * cosine[i] + a * sine[i];
        }
}

// The first of the largest; -1 where one is NaN or the largest is infinite.
static int64_t most_likely(const float* line, int count) {
    Floats high = splat(-INFINITY);
    Ints at = {}, place = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, odd = {};
    int i = 0;
    for (; i + LANES <= count; i += LANES, place += LANES) {
        Floats v = load(line + i);
        Ints more = v > high;
        high = more ? v : high;
        at = more ? place : at;
        odd |= v != v;
    }
    float most = -INFINITY;
    int64_t best = -1, any = 0;
    for (int l = 0; l < LANES; l++) {
        any |= odd[l];
        if (high[l] > most || (high[l] == most && at[l] < best)) most = high[l], best = at[l];
    }
    for (; i < count; i++) {
        any |= line[i] != line[i];
        if (line[i] > most) most = line[i], best = i;
    }
    return any || std::isinf(most) ? -1 : best;
}

static const int32_t* table_of(const Batch& batch, int sequence) {
    return batch.tables + (size_t)sequence * batch.table_width;
}

static std::vector<Tile> tiles_of(const Batch& batch, int together) {
    std::vector<Tile> tiles;
    for (int s = 0; s < batch.sequences; s++)
        for (int t = batch.begins[s]; t < batch.begins[s + 1]; t += together)
            tiles.push_back({t, std::min(t + together, batch.begins[s + 1]), batch.positions[t],
                             table_of(batch, s)});
    return tiles;
}

static std::vector<int> sequences_of(const Batch& batch) {
    std::vector<int> of(batch.count);
    for (int s = 0; s < batch.sequences; s++)
        std::fill(of.begin() + batch.begins[s], of.begin() + batch.begins[s + 1], s);
    return of;
}

// A token's key and value into its slot.
static void keep_token(const Cache& c, const Batch& batch, int sequence, int t, const float* k,
                       const float* v) {
    int position = batch.positions[t], offset = position % c.block_size;
    int block = table_of(batch, sequence)[position / c.block_size];
    if (c.half)
        keep<Half>(c, block, offset, k, v);
    else
        keep<float>(c, block, offset, k, v);
}

// One pass, run by every thread of the team; the phases between barriers are the lines of `layer`.
struct Pass {
    Team& team;
    const Model& model;
    const Batch& batch;
    const Room& room;
    const std::vector<Tile>& tiles;
    const std::vector<int>& sequences;
    float* scratch;

    void run() {
        each_token([&](int t) { embed(t); });
        for (int i = 0; i < model.count; i++) layer(model.layers[i]);
        team.share(batch.wanted_count, 1, [&](int i) {
            float* to = room.normed + (size_t)i * room.stride;
            normalize(model.last, hidden(batch.wanted[i]), model.hidden, to);
            for (int d = 0; d < model.hidden; d++) to[d] *= model.logits_scale;
        });
        int vocabulary = model.head.n;
        product(model.head, room.normed, room.stride, batch.wanted_count, batch.logits, vocabulary,
                STORE);
        team.share(batch.wanted_count, 1, [&](int i) {
            float* line = batch.logits + (size_t)i * vocabulary;
            for (int v = 0; model.logits_cap && v < vocabulary; v++)
                line[v] = std::tanh(line[v] / model.logits_cap) * model.logits_cap;
            batch.best[i] = most_likely(line, vocabulary);
        });
    }

    void layer(const Layer& it) {
        const Attention& a = it.attention;
        int width = it.qkv.n;
        const float* normed = norm(it.before_attention);
        product(it.qkv, normed, room.stride, batch.count, room.qkv, width, STORE);
        each_token([&](int t) { place(it, t); });
        attend(team, a, tiles, room.qkv, width, room.attended, room.stride);
        add(it.out, room.attended, it.after_attention);
        normed = norm(it.before_mlp);
        product(it.gate_up, normed, room.stride, batch.count, room.inner, room.stride, model.gate);
        add(it.down, room.inner, it.after_mlp);
    }

    // The residual stream, or its norm where there is one.
    const float* norm(const Norm& norm) {
        if (!norm.weight) return room.hidden;
        each_token([&](int t) {
            normalize(norm, hidden(t), model.hidden, room.normed + (size_t)t * room.stride);
        });
        return room.normed;
    }

    // Adds a product to the residual stream, through a norm or a factor where there is one.
    void add(const Weight& w, const float* x, const Norm& after) {
        if (!after.weight && model.residual_scale == 1.f) {
            product(w, x, room.stride, batch.count, room.hidden, room.stride, ADD);
            return;
        }
        product(w, x, room.stride, batch.count, room.product, room.stride, STORE);
        each_token([&](int t) {
            float *from = room.product + (size_t)t * room.stride, *to = hidden(t);
            if (after.weight) normalize(after, from, model.hidden, from);
            for (int i = 0; i < model.hidden; i += LANES)
                store(to + i, load(to + i) + load(from + i) * model.residual_scale);
        });
    }

    void product(const Weight& w, const float* x, int stride, int count, float* y, int width,
                 int ending) {
        linear(team, w, {x, count, stride, room.small, room.scales}, y, width, ending, scratch);
    }

    void embed(int t) {
        float* to = hidden(t);
        size_t from = (size_t)batch.tokens[t] * model.hidden;
        for (int i = 0; i < model.hidden; i++) {
            float x = model.embedding_kind == BF16
                          ? widen(((const uint16_t*)model.embedding)[from + i])
                          : ((const float*)model.embedding)[from + i];
            to[i] = x * model.embedding_scale;
        }
    }

    // Norms and turns one token's queries and keys, and puts its key and value into the cache.
    void place(const Layer& it, int t) {
        const Attention& a = it.attention;
        const Cache& c = a.cache;
        float* q = room.qkv + (size_t)t * it.qkv.n;
        float *k = q + a.query_heads * c.key_width, *v = k + c.heads * c.key_width;
        norm_heads(it.query, q, a.query_heads, c.key_width, it.norm_whole);
        norm_heads(it.key, k, c.heads, c.key_width, it.norm_whole);
        if (it.cosines) {
            size_t line = (size_t)batch.positions[t] * (it.rotary / 2);
            turn(q, a.query_heads, c.key_width, it.rotary, it.cosines + line, it.sines + line);
            turn(k, c.heads, c.key_width, it.rotary, it.cosines + line, it.sines + line);
        }
        keep_token(c, batch, sequences[t], t, k, v);
    }

    float* hidden(int t) { return room.hidden + (size_t)t * room.stride; }

    template <typename Work>
    void each_token(Work work) {
        team.share(batch.count, std::max(1, batch.count / (team.size * 8)), work);
    }
};

constexpr size_t ALONE = 1 << 15;  // numbers that one thread norms sooner than a second wakes

extern "C" {

// Of which sources this is a build: another's structures could not be trusted.
#ifndef SOURCES
#define SOURCES ""
#endif
const char* r3mes_sources() { return SOURCES; }

Team* r3mes_team(int threads) { return new Team(threads); }
void r3mes_disband(Team* team) { delete team; }

// Zeroed memory on huge pages where the system has them, whole multiples of one and where one may
// begin; pages come when first touched.
constexpr size_t PAGE = 2 << 20;
void* r3mes_memory(size_t bytes) {
    bytes = (bytes + PAGE - 1) / PAGE * PAGE;
    int kind = MAP_PRIVATE | MAP_ANONYMOUS;
    char* at = (char*)mmap(nullptr, bytes + PAGE, PROT_READ | PROT_WRITE, kind, -1, 0);
    if (at == MAP_FAILED) return nullptr;
    size_t before = (PAGE - (uintptr_t)at % PAGE) % PAGE;
    if (before) munmap(at, before);
    munmap(at + before + bytes, PAGE - before);
#if defined(MADV_HUGEPAGE)
    madvise(at + before, bytes, MADV_HUGEPAGE);
#endif
    return at + before;
}
void r3mes_release(void* at, size_t bytes) { munmap(at, (bytes + PAGE - 1) / PAGE * PAGE); }

void r3mes_step(Team* team, const Model* model, const Batch* batch, const Room* room) {
    const Attention& a = model->layers->attention;
    std::vector<Tile> tiles = tiles_of(*batch, tokens_together(a.query_heads, a.cache.heads));
    std::vector<int> sequences = sequences_of(*batch);
    team->run([&](int thread) {
        float* scratch = room->scratch + (size_t)thread * room->stride * PANEL;
        Pass{*team, *model, *batch, *room, tiles, sequences, scratch}.run();
    });
}

// From the same x through each of the weights, every y as wide as its weight.
void r3mes_linears(Team* team, const Product* products, int number, const Room* room, const float* x,
                   int count) {
    int k = products->weight->k;
    team->run([&](int thread) {
        float* scratch = room->scratch + (size_t)thread * k * PANEL;
        linears(*team, products, number, {x, count, k, room->small, room->scales}, 0, STORE, scratch);
    });
}

void r3mes_linear(Team* team, const Weight* w, const Room* room, const float* x, int count,
                  float* y) {
    Product only{w, y};
    r3mes_linears(team, &only, 1, room, x, count);
}

// A gated MLP; `gate_up` as in a layer, and `gate` its ending.
void r3mes_gated(Team* team, const Weight* gate_up, const Weight* down, int gate, const Room* room,
                 const float* x, int count, float* y) {
    int k = gate_up->k, inner = down->k;
    team->run([&](int thread) {
        float* scratch = room->scratch + (size_t)thread * std::max(k, inner) * PANEL;
        Rows rows{x, count, k, room->small, room->scales};
        linear(*team, *gate_up, rows, room->inner, inner, gate, scratch);
        rows = {room->inner, count, inner, room->small, room->scales};
        linear(*team, *down, rows, y, down->n, STORE, scratch);
    });
}

// RMSNorm of each row; few numbers are not worth waking anybody.
void r3mes_normalize(Team* team, const Norm* norm, const float* x, int count, int width, float* y) {
    auto row = [&](int i) { normalize(*norm, x + (size_t)i * width, width, y + (size_t)i * width); };
    if ((size_t)count * width <= ALONE)
        for (int i = 0; i < count; i++) row(i);
    else
        team->run([&](int) { team->share(count, std::max(1, count / (team->size * 8)), row); });
}

// The most likely token of each line of logits.
void r3mes_best(Team* team, const float* lines, int count, int vocabulary, int64_t* best) {
    team->run([&](int) {
        team->share(count, 1, [&](int i) {
            best[i] = most_likely(lines + (size_t)i * vocabulary, vocabulary);
        });
    });
}

// q [T][query heads][width], k and v [T][heads][width] of the new tokens, out like q.
void r3mes_attend(Team* team, const Attention* a, const Batch* batch, const float* q,
                  const float* k, const float* v, float* out) {
    const Cache& c = a->cache;
    std::vector<Tile> tiles = tiles_of(*batch, tokens_together(a->query_heads, c.heads));
    std::vector<int> sequences = sequences_of(*batch);
    team->run([&](int) {
        team->share(batch->count, 8, [&](int t) {
            keep_token(c, *batch, sequences[t], t, k + (size_t)t * c.heads * c.key_width,
                       v + (size_t)t * c.heads * c.value_width);
        });
        attend(*team, *a, tiles, q, a->query_heads * c.key_width, out,
               a->query_heads * c.value_width);
    });
}
}
