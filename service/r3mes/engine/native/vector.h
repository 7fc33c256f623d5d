// As many floats at a time as a register of the processor holds for which the compiler builds.
//
// Owns loads, the exponential and the one product of small integers; all else is plain arithmetic on
// `Floats`. Nothing is wider than a register: compilers keep the sums of such vectors in memory.
#pragma once
#include <cstdint>
#include <cstring>

// Numbers that lie side by side in every layout, whatever a register holds.
constexpr int STRIPE = 16;

// Floats of a register, and rows of a product that registers have room for: for the sums of 32 outputs
// of each, beside weights and an activation, and for their addresses; from twelve on GCC keeps some
// of those in vector registers, and fetches them for every input.
#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int LANES = 16, ROWS = 10;
#elif defined(__AVX2__)
#include <immintrin.h>
constexpr int LANES = 8, ROWS = 3;
#else
#include <arm_neon.h>
constexpr int LANES = 4, ROWS = 3;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES)));

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

static inline Ints splat(int32_t x) { return Ints{} + x; }
static inline Floats splat(float x) { return x - Floats{}; }  // not +: that would change -0
static inline Floats load(const float* from) { return load<Floats>(from); }

// Of an input's 32 weights those from `at` on of the first sixteen, and of the second.
struct Pair {
    Floats first, second;
};

static inline Pair load_pair(const float* line, int at) {
    return {load(line + at), load(line + STRIPE + at)};
}

// bfloat16 is the upper half of a float32; two share a lane.
static inline Pair load_pair(const uint16_t* line, int at) {
    Ints both = load<Ints>(line + 2 * at);
    return {(Floats)(both << 16), (Floats)(both & -65536)};
}

// float16, the type of a 16-bit KV cache.
struct Half {
    uint16_t bits;

    explicit Half(float x) {
#if defined(__AVX2__)
        bits = (uint16_t)_cvtss_sh(x, 0);
#else
        __fp16 half = (__fp16)x;
        std::memcpy(&bits, &half, 2);
#endif
    }
};

static inline Floats load(const Half* from) {
#if defined(__AVX512F__)
    return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#elif defined(__AVX2__)
    return (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from));
#else
    return (Floats)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&from->bits)));
#endif
}

static inline float sum(Floats v) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

static inline Floats greater(Floats a, Floats b) { return a > b ? a : b; }
static inline Floats lesser(Floats a, Floats b) { return a < b ? a : b; }

static inline float largest(Floats v) {
    float most = v[0];
    for (int i = 1; i < LANES; i++) most = v[i] > most ? v[i] : most;
    return most;
}

// To the nearest integer, of numbers below 2^22: adding 1.5 x 2^23 leaves no bits for a fraction.
static inline Floats round(Floats x) { return (x + 12582912.f) - 12582912.f; }

// e^x to about 1 ulp: 2^n e^r with |r| <= ln 2 / 2 (Cody and Waite's reduction), a polynomial of
// degree 7 for e^r. 0 below -87; NaN stays NaN, so that a broken row is seen.
static inline Floats exponential(Floats x) {
    Floats y = lesser(splat(88.f), x), n = round(y * 1.44269504f);
    Floats r = y - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = splat(1.f / 5040);
    for (float factorial : {720.f, 120.f, 24.f, 6.f, 2.f, 1.f, 1.f}) p = p * r + 1.f / factorial;
    Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return x < splat(-87.f) ? Floats{} : p * load<Floats>(&power);
}

static inline Floats hyperbolic_tangent(Floats x) {
    Floats e = exponential(greater(splat(-15.f), lesser(splat(15.f), x)) * 2.f);
    return (e - 1.f) / (e + 1.f);
}

// What `dot` wants added to its activations.
#if defined(__AVX512VNNI__)
constexpr int OFFSET = 128;
#else
constexpr int OFFSET = 0;
#endif

// Products of four neighbouring 8-bit numbers, summed into each 32-bit lane. `x` holds the same four
// activations in every lane. Neither is -128, so that two products fit 16 bits.
static inline Ints dot(Ints acc, Ints x, Ints w) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif defined(__AVX512F__)  // |x| times w with x's sign
    __mmask64 negative = _mm512_movepi8_mask((__m512i)x);
    __m512i turned = _mm512_mask_sub_epi8((__m512i)w, negative, __m512i{}, (__m512i)w);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8((__m512i)x), turned);
    return acc + (Ints)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif defined(__AVX2__)  // the same
    __m256i turned = _mm256_sign_epi8((__m256i)w, (__m256i)x);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)x), turned);
    return acc + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__ARM_FEATURE_DOTPROD)
    return (Ints)vdotq_s32((int32x4_t)acc, (int8x16_t)x, (int8x16_t)w);
#else
    int8x16_t a = (int8x16_t)x, b = (int8x16_t)w;
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    int32x4_t high = vpaddlq_s16(vmull_high_s8(a, b));
    return acc + (Ints)vpaddq_s32(low, high);
#endif
}
