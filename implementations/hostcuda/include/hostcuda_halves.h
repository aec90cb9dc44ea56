// What float16 and bfloat16 have in common on the CPU: every operation in float, every result rounded to nearest even.
#pragma once
#include "hostcuda.h"

// a * b + c in one rounding: the double that it is taken from has an odd last bit where it is not exact.
template <class T> static inline T hostcuda_fused(double a, double b, double c) {
    const double product = a * b, sum = product + c;            // the product is exact
    const double part = sum - product, left = (product - (sum - part)) + (c - part);
    if (left == 0 || !std::isfinite(sum)) return sum;
    const bool odd = hostcuda_bits<unsigned long long>(sum) & 1;
    return odd ? sum : std::nextafter(sum, left > 0 ? HUGE_VAL : -HUGE_VAL);
}
// Of numbers; -0 is below 0.
template <class T> static inline T hostcuda_hmax(T a, T b) { return a > b || (a == b && !(a.bits & 0x8000u)) ? a : b; }
template <class T> static inline T hostcuda_hmin(T a, T b) { return a < b || (a == b && (a.bits & 0x8000u)) ? a : b; }

// T the number, T2 the pair of it, S the word for it in the names of functions ("half", "bfloat16").
#define HOSTCUDA_HALVES(T, T2, S) \
    struct alignas(4) T2 { \
        T x, y; \
        T2() = default; \
        T2(T x, T y) : x(x), y(y) {} \
    }; \
    static inline float __##S##2float(T h) { return h; } \
    static inline T __float2##S(float f) { return f; } \
    static inline T __float2##S##_rn(float f) { return f; } \
    static inline T __double2##S(double d) { return d; } \
    static inline T __int2##S##_rn(int i) { return double(i); } \
    static inline T __uint2##S##_rn(unsigned i) { return double(i); } \
    static inline T __short2##S##_rn(short i) { return float(i); } \
    static inline T __ushort2##S##_rn(unsigned short i) { return float(i); } \
    static inline int __##S##2int_rn(T h) { return hostcuda_to<int>(std::nearbyint(float(h))); } \
    static inline int __##S##2int_rz(T h) { return hostcuda_to<int>(std::trunc(float(h))); } \
    static inline int __##S##2int_rd(T h) { return hostcuda_to<int>(std::floor(float(h))); } \
    static inline int __##S##2int_ru(T h) { return hostcuda_to<int>(std::ceil(float(h))); } \
    static inline unsigned __##S##2uint_rn(T h) { return hostcuda_to<unsigned>(std::nearbyint(float(h))); } \
    static inline unsigned short __##S##_as_ushort(T h) { return h.bits; } \
    static inline short __##S##_as_short(T h) { return short(h.bits); } \
    static inline T __ushort_as_##S(unsigned short bits) { T h; h.bits = bits; return h; } \
    static inline T __short_as_##S(short bits) { T h; h.bits = uint16_t(bits); return h; } \
    static inline T __low2##S(T2 h) { return h.x; } \
    static inline T __high2##S(T2 h) { return h.y; } \
    static inline float __low2float(T2 h) { return h.x; } \
    static inline float __high2float(T2 h) { return h.y; } \
    static inline T2 __lows2##S##2(T2 a, T2 b) { return {a.x, b.x}; } \
    static inline T2 __highs2##S##2(T2 a, T2 b) { return {a.y, b.y}; } \
    static inline T2 __low2##S##2(T2 h) { return {h.x, h.x}; } \
    static inline T2 __high2##S##2(T2 h) { return {h.y, h.y}; } \
    static inline T2 __lowhigh2highlow(T2 h) { return {h.y, h.x}; } \
    static inline T __hadd(T a, T b) { return a + b; } \
    static inline T __hsub(T a, T b) { return a - b; } \
    static inline T __hmul(T a, T b) { return a * b; } \
    static inline T __hdiv(T a, T b) { return a / b; } \
    static inline T __hadd_rn(T a, T b) { return a + b; } \
    static inline T __hmul_rn(T a, T b) { return a * b; } \
    static inline T __hfma(T a, T b, T c) { return hostcuda_fused<T>(float(a), float(b), float(c)); } \
    static inline T __hfma_relu(T a, T b, T c) { const T r = __hfma(a, b, c); return float(r) < 0 ? T(0.0f) : r; } \
    static inline T __hadd_sat(T a, T b) { return __saturatef(float(a + b)); } \
    static inline T __hmul_sat(T a, T b) { return __saturatef(float(a * b)); } \
    static inline T __hneg(T a) { return -a; } \
    static inline T __habs(T a) { a.bits &= 0x7fffu; return a; } \
    static inline T __hmax(T a, T b) { return float(a) != float(a) ? b : float(b) != float(b) ? a : hostcuda_hmax(a, b); } \
    static inline T __hmin(T a, T b) { return float(a) != float(a) ? b : float(b) != float(b) ? a : hostcuda_hmin(a, b); } \
    static inline T __hmax_nan(T a, T b) { return float(a) != float(a) ? a : float(b) != float(b) ? b : hostcuda_hmax(a, b); } \
    static inline T __hmin_nan(T a, T b) { return float(a) != float(a) ? a : float(b) != float(b) ? b : hostcuda_hmin(a, b); } \
    static inline bool __heq(T a, T b) { return a == b; } \
    static inline bool __hne(T a, T b) { return a != b && a == a && b == b; } \
    static inline bool __hneu(T a, T b) { return a != b; } \
    static inline bool __hgt(T a, T b) { return a > b; } \
    static inline bool __hge(T a, T b) { return a >= b; } \
    static inline bool __hlt(T a, T b) { return a < b; } \
    static inline bool __hle(T a, T b) { return a <= b; } \
    static inline bool __hisnan(T h) { return float(h) != float(h); } \
    static inline int __hisinf(T h) { return std::isinf(float(h)) ? (float(h) < 0 ? -1 : 1) : 0; } \
    HOSTCUDA_OF_HALF(T, T2, exp, std::exp) HOSTCUDA_OF_HALF(T, T2, exp2, std::exp2) HOSTCUDA_OF_HALF(T, T2, log, std::log) \
    HOSTCUDA_OF_HALF(T, T2, log2, std::log2) HOSTCUDA_OF_HALF(T, T2, log10, std::log10) HOSTCUDA_OF_HALF(T, T2, sqrt, std::sqrt) \
    HOSTCUDA_OF_HALF(T, T2, rsqrt, 1.0 / std::sqrt) HOSTCUDA_OF_HALF(T, T2, sin, std::sin) HOSTCUDA_OF_HALF(T, T2, cos, std::cos) \
    HOSTCUDA_OF_HALF(T, T2, tanh, std::tanh) HOSTCUDA_OF_HALF(T, T2, rcp, 1.0 / ) HOSTCUDA_OF_HALF(T, T2, floor, std::floor) \
    HOSTCUDA_OF_HALF(T, T2, ceil, std::ceil) HOSTCUDA_OF_HALF(T, T2, trunc, std::trunc) HOSTCUDA_OF_HALF(T, T2, rint, std::nearbyint) \
    HOSTCUDA_OF_PAIRS(T2, __hadd2, __hadd) HOSTCUDA_OF_PAIRS(T2, __hsub2, __hsub) HOSTCUDA_OF_PAIRS(T2, __hmul2, __hmul) HOSTCUDA_OF_PAIRS(T2, __hmax2, __hmax) \
    HOSTCUDA_OF_PAIRS(T2, __hmin2, __hmin) HOSTCUDA_OF_PAIRS(T2, __hmax2_nan, __hmax_nan) HOSTCUDA_OF_PAIRS(T2, __hmin2_nan, __hmin_nan) \
    HOSTCUDA_OF_PAIRS(T2, __hadd2_rn, __hadd) HOSTCUDA_OF_PAIRS(T2, __hmul2_rn, __hmul) HOSTCUDA_OF_PAIRS(T2, __hadd2_sat, __hadd_sat) \
    static inline T2 __h2div(T2 a, T2 b) { return {a.x / b.x, a.y / b.y}; } \
    static inline T2 __hneg2(T2 a) { return {-a.x, -a.y}; } \
    static inline T2 __habs2(T2 a) { return {__habs(a.x), __habs(a.y)}; } \
    static inline T2 __hfma2(T2 a, T2 b, T2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; } \
    static inline T2 __hfma2_relu(T2 a, T2 b, T2 c) { return {__hfma_relu(a.x, b.x, c.x), __hfma_relu(a.y, b.y, c.y)}; } \
    static inline T2 __heq2(T2 a, T2 b) { return {T(float(a.x == b.x)), T(float(a.y == b.y))}; } \
    static inline T2 __hgt2(T2 a, T2 b) { return {T(float(a.x > b.x)), T(float(a.y > b.y))}; } \
    static inline T2 __hlt2(T2 a, T2 b) { return {T(float(a.x < b.x)), T(float(a.y < b.y))}; } \
    static inline bool __hbeq2(T2 a, T2 b) { return a.x == b.x && a.y == b.y; } \
    static inline bool __hbgt2(T2 a, T2 b) { return a.x > b.x && a.y > b.y; } \
    static inline bool __hblt2(T2 a, T2 b) { return a.x < b.x && a.y < b.y; } \
    static inline T2 __floats2##S##2_rn(float a, float b) { return {a, b}; } \
    static inline T2 __float22##S##2_rn(float2 f) { return {f.x, f.y}; } \
    static inline T2 __float2##S##2_rn(float f) { return {T(f), T(f)}; } \
    static inline float2 __##S##22float2(T2 h) { return {h.x, h.y}; } \
    static inline T2 make_##S##2(T a, T b) { return {a, b}; } \
    static inline T2 operator+(T2 a, T2 b) { return __hadd2(a, b); } \
    static inline T2 operator-(T2 a, T2 b) { return __hsub2(a, b); } \
    static inline T2 operator*(T2 a, T2 b) { return __hmul2(a, b); } \
    static inline T2 operator/(T2 a, T2 b) { return __h2div(a, b); } \
    static inline T2 operator-(T2 a) { return __hneg2(a); } \
    static inline T2 &operator+=(T2 &a, T2 b) { return a = a + b; } \
    static inline T2 &operator-=(T2 &a, T2 b) { return a = a - b; } \
    static inline T2 &operator*=(T2 &a, T2 b) { return a = a * b; } \
    static inline bool operator==(T2 a, T2 b) { return a.x == b.x && a.y == b.y; } \
    static_assert(sizeof(T2) == 4, "a pair has 32 bits");
#define HOSTCUDA_OF_HALF(T, T2, name, of) \
    static inline T h##name(T a) { return of(double(float(a))); } \
    static inline T2 h2##name(T2 a) { return {h##name(a.x), h##name(a.y)}; }
#define HOSTCUDA_OF_PAIRS(T2, name, of) static inline T2 name(T2 a, T2 b) { return {of(a.x, b.x), of(a.y, b.y)}; }
