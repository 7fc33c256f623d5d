// Sixteen floats at a time, on whatever the compiler is told to build for.
//
// Owns loads, the exponential and the one product of small integers; all else is plain arithmetic
// on `Floats`, which the compiler splits where registers are narrower.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

constexpr int LANES = 16;

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

// Rows of a product that are held in registers beside two vectors of each: what fits the register
// file, which for AVX-512 is 32 of 64 bytes.
#if defined(__AVX512F__)
constexpr int ROWS = 12;
#else
constexpr int ROWS = 3;
#endif

template <typename V, typename T>
static inline V load(const T* from) {
    V v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

template <typename V, typename T>
static inline void store(T* to, V v) {
    std::memcpy(to, &v, sizeof v);
}

static inline Floats splat(float x) { return Floats{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
static inline Ints splat(int32_t x) { return Ints{} + x; }
static inline Floats load(const float* from) { return load<Floats>(from); }

// Thirty-two weights of an input, as `linear.h` lays them out.
struct Pair {
    Floats first, second;
};

static inline Pair load_pair(const float* from) { return {load(from), load(from + LANES)}; }

// bfloat16 is the upper half of a float32.
static inline Pair load_pair(const uint16_t* from) {
    Ints both = load<Ints>(from);
    return {(Floats)(both << 16), (Floats)(both & -65536)};
}

static inline float widen(uint16_t bf16) {
    uint32_t bits = uint32_t(bf16) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// float16, the type of a 16-bit KV cache.
struct Half {
    uint16_t bits;
};

static inline Floats load(const Half* from) {
#if defined(__AVX512F__)
    return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__)
    __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
    __m256 high = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from + 1));
    Floats v;
    std::memcpy(&v, &low, 32);
    std::memcpy((char*)&v + 32, &high, 32);
    return v;
#else
    Floats v;
    const __fp16* halves = (const __fp16*)from;
    for (int i = 0; i < LANES; i++) v[i] = halves[i];
    return v;
#endif
}

static inline void put(float* to, float x) { *to = x; }
static inline void put(Half* to, float x) {
#if defined(__AVX2__)
    to->bits = (uint16_t)_cvtss_sh(x, 0);
#else
    __fp16 half = (__fp16)x;
    std::memcpy(to, &half, 2);
#endif
}

static inline float sum(Floats v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

static inline float largest(Floats v) {
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
}

static inline Floats greater(Floats a, Floats b) { return a > b ? a : b; }

// e^x to about 1 ulp: 2^n e^r with |r| <= ln 2 / 2 (Cody and Waite's reduction), a polynomial of
// degree 7 for e^r. 0 below -87; NaN stays NaN, so that a broken row is seen.
static inline Floats exponential(Floats x) {
    const float shift = 12582912.f;  // 1.5 x 2^23: adding it rounds to an integer
    Floats y = x > splat(88.f) ? splat(88.f) : x;
    Floats n = (y * 1.44269504f + shift) - shift;
    Floats r = y - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = splat(1.f / 5040);
    p = p * r + 1.f / 720;
    p = p * r + 1.f / 120;
    p = p * r + 1.f / 24;
    p = p * r + 1.f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.f;
    p = p * r + 1.f;
    Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return x < splat(-87.f) ? Floats{} : p * load<Floats>(&power);
}

static inline Floats hyperbolic_tangent(Floats x) {
    Floats clipped = x < splat(-15.f) ? splat(-15.f) : x > splat(15.f) ? splat(15.f) : x;
    Floats e = exponential(clipped * 2.f);
    return (e - 1.f) / (e + 1.f);
}

// Products of four neighbouring 8-bit numbers, summed into each 32-bit lane. `x` holds the same four
// activations in every lane: unsigned with an offset where the instruction wants that.
#if defined(__AVX512VNNI__)
constexpr int OFFSET = 128;
static inline Ints dot(Ints acc, Ints x, Ints w) {
    return (Ints)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
}
#elif defined(__AVX2__)
constexpr int OFFSET = 0;
// |x| times w with x's sign: no pair of products leaves 16 bits, since neither is -128.
static inline __m256i dot_half(__m256i acc, __m256i x, __m256i w) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline Ints dot(Ints acc, Ints x, Ints w) {
    __m256i a[2], b[2], c[2];
    std::memcpy(a, &acc, 64);
    std::memcpy(b, &x, 64);
    std::memcpy(c, &w, 64);
    for (int i = 0; i < 2; i++) a[i] = dot_half(a[i], b[i], c[i]);
    return load<Ints>(a);
}
#else
constexpr int OFFSET = 0;
static inline Ints dot(Ints acc, Ints x, Ints w) {
#if defined(__ARM_FEATURE_DOTPROD)
    int32x4_t a[4];
    int8x16_t b[4], c[4];
    std::memcpy(a, &acc, 64);
    std::memcpy(b, &x, 64);
    std::memcpy(c, &w, 64);
    for (int i = 0; i < 4; i++) a[i] = vdotq_s32(a[i], b[i], c[i]);
    return load<Ints>(a);
#else
    int8_t b[64], c[64];
    std::memcpy(b, &x, 64);
    std::memcpy(c, &w, 64);
    for (int i = 0; i < 64; i++) acc[i / 4] += int(b[i]) * int(c[i]);
    return acc;
#endif
}
#endif
