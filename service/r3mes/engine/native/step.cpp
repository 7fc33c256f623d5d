// One forward pass of a Llama-shaped model in one call, and its operators one by one for others.
//
// Owns the order of operations. Everything is handed in as plain pointers by `library.py`, whose
// structures mirror those here; memory for activations is handed in too.
#include "attention.h"

struct Norm {
    const float* weight;  // null: no such norm
    float epsilon;
    int32_t width;  // of what it goes over
};

// One decoder layer. `qkv` holds the outputs of queries, keys and values one after the other;
// `gate_up` holds 16 gates and 16 ups in turn.
struct Layer {
    Weight qkv, out, gate_up, down;
    Norm before_attention, after_attention, before_mlp, after_mlp;
    Norm query, key;               // over each head, or over all together
    const float *cosines, *sines;  // [positions][rotary / 2], or null: no positions are turned in
    Attention attention;
    int32_t rotary;  // how many numbers of a head are turned
};

struct Model {
    const Layer* layers;
    Weight head;
    Norm last;
    int32_t count, hidden, gate;
    float residual_scale, logits_cap;
};

// The flat batch. `tables` has a row of `table_width` block numbers for each sequence.
struct Batch {
    const int32_t *positions, *begins, *tables, *wanted;  // wanted ones ascend
    int32_t count, sequences, table_width, wanted_count;
    float* logits;  // [wanted_count][vocabulary]
    int64_t* best;  // [wanted_count]: the most likely token, or -1 where a logit is NaN
};

// Room for the activations of as many tokens as a batch may have; `hidden` comes with their embeddings.
struct Room {
    float *hidden, *normed, *qkv, *attended, *inner, *scales;
    int8_t* small;
    int32_t stride;  // of the widest row, for all but `qkv` and the logits
};

// RMSNorm (Zhang and Sennrich, 2019): x / rms(x) x weight. `to` may be `x`.
static void normalize(const Norm& norm, const float* x, float* to) {
    Floats squares = {};
    for (int i = 0; i < norm.width; i += LANES) squares += load(x + i) * load(x + i);
    float scale = 1.f / std::sqrt(sum(squares) / norm.width + norm.epsilon);
    for (int i = 0; i < norm.width; i += LANES)
        store(to + i, load(x + i) * scale * load(norm.weight + i));
}

// Rotary positions (Su et al., 2021) in the halved form: number i turns with number i + rotary / 2.
static void turn(float* x, int rotary, const float* cosine, const float* sine) {
    int half = rotary / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

// The first of the largest; -1 where one is NaN or the largest is infinite.
static int64_t most_likely(const float* line, int count) {
    Floats high = splat(-INFINITY);
    Ints at = {}, place = {}, odd = {};
    for (int l = 0; l < LANES; l++) place[l] = l;
    int i = 0;
    for (; i + LANES <= count; i += LANES, place += LANES) {
        Floats v = load(line + i);
        at = v > high ? place : at;
        high = greater(v, high);
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

// Tokens of a sequence that are answered together: as many as rows have room for all heads of a group.
static std::vector<Tile> tiles_of(const Batch& batch, const Attention& a) {
    int together = std::max(1, ROWS / (a.query_heads / a.cache.heads));
    std::vector<Tile> tiles;
    for (int s = 0; s < batch.sequences; s++)
        for (int t = batch.begins[s]; t < batch.begins[s + 1]; t += together)
            tiles.push_back({t, std::min(t + together, batch.begins[s + 1]), batch.positions[t],
                             batch.tables + (size_t)s * batch.table_width});
    return tiles;
}

// One for each token whose logits are wanted, once those lie side by side.
static std::vector<Tile> wanted_of(const Batch& batch, const std::vector<Tile>& tiles) {
    std::vector<Tile> wanted;
    for (const Tile& it : tiles)
        for (int t = it.first, i; t < it.last; t++)
            if ((i = wanted.size()) < batch.wanted_count && batch.wanted[i] == t)
                wanted.push_back({i, i + 1, batch.positions[t], it.table});
    return wanted;
}

static void keep(const Cache& c, const Tile& tile, int t, const float* key, const float* value) {
    c.half ? keep<Half>(c, tile, t, key, value) : keep<float>(c, tile, t, key, value);
}

// One pass, run by every thread of the team; the phases between barriers are the lines of `layer`.
struct Pass {
    Team& team;
    const Model& model;
    const Batch& batch;
    const Room& room;
    const std::vector<Tile>&tiles, &wanted;
    int count = batch.count;

    void run() {
        for (int i = 0; i < model.count; i++) layer(model.layers[i], i + 1 == model.count);
        int vocabulary = model.head.n;
        multiply(model.head, norm(model.last), count, batch.logits, vocabulary, STORE);
        team.share(batch.wanted_count, [&](int i, int) {
            float* line = batch.logits + (size_t)i * vocabulary;
            for (int v = 0; model.logits_cap && v < vocabulary; v++)
                line[v] = std::tanh(line[v] / model.logits_cap) * model.logits_cap;
            batch.best[i] = most_likely(line, vocabulary);
        });
    }

    // Of the last layer other tokens leave only their keys and values: it goes on with those wanted.
    void layer(const Layer& it, bool last) {
        const Attention& a = it.attention;
        int width = it.qkv.n;
        multiply(it.qkv, norm(it.before_attention), count, room.qkv, width, STORE);
        team.share((int)tiles.size(), [&](int i, int) {
            for (int t = tiles[i].first; t < tiles[i].last; t++) place(it, tiles[i], t);
        });
        if (last && (count = batch.wanted_count) < batch.count)
            team.share(1, [&](int, int) { narrow(width); });
        attend(team, a, count < batch.count ? wanted : tiles, room.qkv, width, room.attended, room.stride);
        add(it.out, room.attended, it.after_attention);
        multiply(it.gate_up, norm(it.before_mlp), count, room.inner, room.stride, model.gate);
        add(it.down, room.inner, it.after_mlp);
    }

    void narrow(int width) {
        for (int i = 0; i < count; i++) {
            const float* from = room.qkv + (size_t)batch.wanted[i] * width;
            std::memmove(room.qkv + (size_t)i * width, from, width * sizeof(float));
            std::memmove(hidden(i), hidden(batch.wanted[i]), model.hidden * sizeof(float));
        }
    }

    // The residual stream, or its norm where there is one.
    const float* norm(const Norm& norm) {
        if (!norm.weight) return room.hidden;
        team.share(count, [&](int t, int) {
            normalize(norm, hidden(t), room.normed + (size_t)t * room.stride);
        });
        return room.normed;
    }

    // Adds a product to the residual stream, through a norm or a factor where there is one.
    void add(const Weight& w, const float* x, const Norm& after) {
        bool plain = !after.weight && model.residual_scale == 1.f;
        multiply(w, x, count, plain ? room.hidden : room.normed, room.stride, plain ? ADD : STORE);
        if (plain) return;
        team.share(count, [&](int t, int) {
            float *from = room.normed + (size_t)t * room.stride, *to = hidden(t);
            if (after.weight) normalize(after, from, from);
            for (int i = 0; i < model.hidden; i += LANES)
                store(to + i, load(to + i) + load(from + i) * model.residual_scale);
        });
    }

    void multiply(const Weight& w, const float* x, int count, float* y, int width, int ending) {
        Product{w, x, count, room.stride, y, width, ending, room.small, room.scales}.run(team);
    }

    // Norms and turns one token's queries and keys, and puts its key and value into the cache.
    void place(const Layer& it, const Tile& tile, int t) {
        const Attention& a = it.attention;
        float* q = room.qkv + (size_t)t * it.qkv.n;
        float *k = q + a.query_heads * a.cache.key_width, *v = k + a.cache.heads * a.cache.key_width;
        for (float* x = q; it.query.weight && x < k; x += it.query.width) normalize(it.query, x, x);
        for (float* x = k; it.key.weight && x < v; x += it.key.width) normalize(it.key, x, x);
        size_t line = (size_t)batch.positions[t] * (it.rotary / 2);
        for (float* x = q; it.cosines && x < v; x += a.cache.key_width)
            turn(x, it.rotary, it.cosines + line, it.sines + line);
        keep(a.cache, tile, t, k, v);
    }

    float* hidden(int t) { return room.hidden + (size_t)t * room.stride; }
};

extern "C" {

// Of which sources this is a build: another's structures could not be trusted.
const char* r3mes_sources() { return SOURCES; }

Team* r3mes_team(int threads) { return new Team(threads); }
void r3mes_disband(Team* team) { delete team; }

void r3mes_step(Team* team, const Model* model, const Batch* batch, const Room* room) {
    std::vector<Tile> tiles = tiles_of(*batch, model->layers->attention);
    std::vector<Tile> wanted = wanted_of(*batch, tiles);
    team->run([&](int) { Pass{*team, *model, *batch, *room, tiles, wanted}.run(); });
}

// `y` is as wide as the weight, or half as wide where gates end it.
void r3mes_linear(Team* team, const Weight* w, const Room* room, const float* x, int count, float* y,
                  int ending) {
    int width = ending >= GATE_SILU ? w->n / 2 : w->n;
    Product product{*w, x, count, w->k, y, width, ending, room->small, room->scales};
    team->run([&](int) { product.run(*team); });
}

// RMSNorm of each row; few numbers are not worth waking anybody.
void r3mes_normalize(Team* team, const Norm* norm, const float* x, int count, float* y) {
    auto row = [&](int i, int) {
        normalize(*norm, x + (size_t)i * norm->width, y + (size_t)i * norm->width);
    };
    if (count * norm->width < 1 << 15)
        for (int i = 0; i < count; i++) row(i, i);
    else
        team->run([&](int) { team->share(count, row); });
}

// q [T][query heads][width], k and v [T][heads][width] of the new tokens, out like q.
void r3mes_attend(Team* team, const Attention* a, const Batch* batch, const float* q,
                  const float* k, const float* v, float* out) {
    const Cache& c = a->cache;
    std::vector<Tile> tiles = tiles_of(*batch, *a);
    team->run([&](int) {
        team->share((int)tiles.size(), [&](int i, int) {
            for (int t = tiles[i].first; t < tiles[i].last; t++)
                keep(c, tiles[i], t, k + (size_t)t * c.heads * c.key_width,
                           v + (size_t)t * c.heads * c.value_width);
        });
        attend(*team, *a, tiles, q, a->query_heads * c.key_width, out,
               a->query_heads * c.value_width);
    });
}
}
