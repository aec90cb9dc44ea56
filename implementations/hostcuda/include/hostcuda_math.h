// Arithmetic and conversions that CUDA names and C++ does not.  Every operation rounds to nearest unless it says otherwise.
#pragma once
#include <cfenv>

// Fused where CUDA's are; "fast" functions are as accurate here as the plain ones.
#define HOSTCUDA_SAME(name, of) static inline float name(float x) { return of; }
// sin and cos of pi x, exact where they are 0, 1/2 a turn and so on: x is a quarter turn's multiple and a rest below an eighth.
static inline double hostcuda_turned(double x, int quarters) {
    if (!std::isfinite(x)) return x - x;
    const double turned = std::fmod(x, 2.0), quarter = std::nearbyint(2 * turned), rest = M_PI * (turned - quarter / 2);
    const int which = (int(quarter) + quarters) & 3;
    const double value = which & 1 ? std::cos(rest) : std::sin(rest);
    return which & 2 ? -value : value;
}
static inline double sinpi(double x) { return x == std::trunc(x) ? std::copysign(x - x, x) : hostcuda_turned(x, 0); }
static inline double cospi(double x) { return hostcuda_turned(x, 1) + 0.0; }
// exp(x * x) * erfc(x): for large x by its asymptotic series, whose next term is below 2e-10.
static inline double hostcuda_erfcx(double x) {
    if (!(x > 10)) return std::exp(x * x) * std::erfc(x);
    const double t = 1 / (2 * x * x);
    return (1 - t * (1 - 3 * t * (1 - 5 * t * (1 - 7 * t * (1 - 9 * t))))) / (x * std::sqrt(M_PI));
}
HOSTCUDA_SAME(rcbrtf, float(1.0 / std::cbrt(double(x)))) HOSTCUDA_SAME(sinpif, float(sinpi(double(x)))) HOSTCUDA_SAME(cospif, float(cospi(double(x))))
HOSTCUDA_SAME(normcdff, float(0.5 * std::erfc(-double(x) * M_SQRT1_2))) HOSTCUDA_SAME(erfcxf, float(hostcuda_erfcx(double(x))))
HOSTCUDA_SAME(__frsqrt_rn, float(1.0 / std::sqrt(double(x))))
// Macros, because the C library has functions of these names.
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __tanf(x) tanf(x)
#define __exp10f(x) exp10f(x)
#define __sincosf(x, s, c) hostcuda_sincos(x, s, c)
static inline double normcdf(double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); }
static inline double rcbrt(double x) { return double(1.0L / std::cbrt((long double)x)); }
static inline float rhypotf(float a, float b) { return float(1.0 / std::hypot(double(a), double(b))); }
static inline double rhypot(double a, double b) { return 1.0 / std::hypot(a, b); }
// As of hypot, an infinite side makes the length infinite, whatever the others are.
static inline double hostcuda_length(double a, double b, double c, double d = 0) {
    if (std::isinf(a) || std::isinf(b) || std::isinf(c) || std::isinf(d)) return HUGE_VAL;
    return std::sqrt(a * a + b * b + c * c + d * d);
}
static inline float norm3df(float a, float b, float c) { return float(hostcuda_length(a, b, c)); }
static inline float norm4df(float a, float b, float c, float d) { return float(hostcuda_length(a, b, c, d)); }
static inline float rnorm3df(float a, float b, float c) { return float(1.0 / hostcuda_length(a, b, c)); }
static inline float fdividef(float a, float b) { return a / b; }
static inline void hostcuda_sincos(float x, float *s, float *c) { *s = std::sin(x), *c = std::cos(x); }
static inline void sincospif(float x, float *s, float *c) { *s = sinpif(x), *c = cospif(x); }

// The other three roundings: the rounding mode of the processor, for one operation that is not folded.
template <class T, class F> __attribute__((noinline)) static T hostcuda_rounded(int mode, F f) {
    const int before = fegetround();
    fesetround(mode);
    volatile T result = f();
    fesetround(before);
    return result;
}
#define HOSTCUDA_ROUNDED(T, end, mode, p) \
    static inline T p##add_##end(T a, T b) { volatile T x = a, y = b; return hostcuda_rounded<T>(mode, [&] { return x + y; }); } \
    static inline T p##sub_##end(T a, T b) { volatile T x = a, y = b; return hostcuda_rounded<T>(mode, [&] { return x - y; }); } \
    static inline T p##mul_##end(T a, T b) { volatile T x = a, y = b; return hostcuda_rounded<T>(mode, [&] { return x * y; }); } \
    static inline T p##div_##end(T a, T b) { volatile T x = a, y = b; return hostcuda_rounded<T>(mode, [&] { return x / y; }); }
HOSTCUDA_ROUNDED(float, rd, FE_DOWNWARD, __f) HOSTCUDA_ROUNDED(float, ru, FE_UPWARD, __f) HOSTCUDA_ROUNDED(float, rz, FE_TOWARDZERO, __f)
HOSTCUDA_ROUNDED(double, rd, FE_DOWNWARD, __d) HOSTCUDA_ROUNDED(double, ru, FE_UPWARD, __d) HOSTCUDA_ROUNDED(double, rz, FE_TOWARDZERO, __d)
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double x) { return std::sqrt(x); }
static inline double __drcp_rn(double x) { return 1.0 / x; }
static inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

// To integers: what lies outside gives the nearest, NaN gives 0, as the hardware has it.
template <class I, class F> static inline I hostcuda_to(F x) {
    const F high = std::ldexp(F(1), std::numeric_limits<I>::digits), low = std::numeric_limits<I>::is_signed ? -high : F(0);
    if (x != x) return 0;
    return x >= high ? std::numeric_limits<I>::max() : x <= low ? std::numeric_limits<I>::min() : I(x);
}
#define HOSTCUDA_TO(from, F, to, I) \
    static inline I __##from##2##to##_rn(F x) { return hostcuda_to<I>(std::nearbyint(x)); } \
    static inline I __##from##2##to##_rz(F x) { return hostcuda_to<I>(std::trunc(x)); } \
    static inline I __##from##2##to##_rd(F x) { return hostcuda_to<I>(std::floor(x)); } \
    static inline I __##from##2##to##_ru(F x) { return hostcuda_to<I>(std::ceil(x)); }
HOSTCUDA_TO(float, float, int, int) HOSTCUDA_TO(float, float, uint, unsigned) HOSTCUDA_TO(float, float, ll, long long) HOSTCUDA_TO(float, float, ull, unsigned long long)
HOSTCUDA_TO(double, double, int, int) HOSTCUDA_TO(double, double, uint, unsigned) HOSTCUDA_TO(double, double, ll, long long) HOSTCUDA_TO(double, double, ull, unsigned long long)
static inline float __ll2float_rn(long long x) { return float(x); }
static inline float __ull2float_rn(unsigned long long x) { return float(x); }
static inline double __int2double_rn(int x) { return x; }
static inline double __uint2double_rn(unsigned x) { return x; }
static inline double __ll2double_rn(long long x) { return double(x); }
static inline float __double2float_rn(double x) { return float(x); }
static inline int __double2hiint(double x) { return int(hostcuda_bits<long long>(x) >> 32); }
static inline int __double2loint(double x) { return int(hostcuda_bits<long long>(x)); }
static inline double __hiloint2double(int high, int low) { return hostcuda_bits<double>((unsigned long long)(unsigned)high << 32 | (unsigned)low); }

static inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
static inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
static inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffffu) * (b & 0xffffffu); }
static inline unsigned long long __brevll(unsigned long long x) { return (unsigned long long)__brev(unsigned(x)) << 32 | __brev(unsigned(x >> 32)); }
static inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned s) { return unsigned((((unsigned long long)hi << 32 | lo) << (s & 31)) >> 32); }
static inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned s) { return unsigned(((unsigned long long)hi << 32 | lo) >> (s & 31)); }
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned s) {
    const unsigned long long both = (unsigned long long)b << 32 | a;
    unsigned r = 0;
    for (int i = 0; i < 4; ++i) r |= unsigned(both >> 8 * (s >> 4 * i & 7) & 255u) << 8 * i;
    return r;
}
static inline unsigned __sad(int a, int b, unsigned c) { return (a > b ? unsigned(a) - unsigned(b) : unsigned(b) - unsigned(a)) + c; }
static inline int __hadd(int a, int b) { return int(((long long)a + b) >> 1); }
static inline int __rhadd(int a, int b) { return int(((long long)a + b + 1) >> 1); }
static inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) c = int(unsigned(c) + unsigned(int((signed char)(a >> 8 * i)) * int((signed char)(b >> 8 * i))));
    return c;
}
static inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 4; ++i) c += (a >> 8 * i & 255u) * (b >> 8 * i & 255u);
    return c;
}

// Clocks tick; what they say of time means nothing.
static inline long long clock64() { return hostcuda::ticks(); }
static inline long long hostcuda_clock() { return hostcuda::ticks(); }
static inline void __nanosleep(unsigned) { hostcuda::take_turns(); }
static inline unsigned long long __globaltimer() { return (unsigned long long)hostcuda::ticks(); }

// Loads and stores with a hint for the caches.
#define HOSTCUDA_LOAD(name) template <class T> __attribute__((always_inline)) static inline T name(const T *p) { return *p; }
HOSTCUDA_LOAD(__ldca) HOSTCUDA_LOAD(__ldlu) HOSTCUDA_LOAD(__ldcv)
#define HOSTCUDA_STORE(name) template <class T> __attribute__((always_inline)) static inline void name(T *p, typename hostcuda_same<T>::type value) { *p = value; }
HOSTCUDA_STORE(__stcg) HOSTCUDA_STORE(__stcs) HOSTCUDA_STORE(__stwb) HOSTCUDA_STORE(__stwt)

// Where memory is.
static inline unsigned hostcuda_is_shared(const void *p) {
    const char *a = (const char *)p;
    return (a >= hostcuda::self.shared && a < hostcuda::self.shared_end) || (a >= (char *)hostcuda::self.dynamic && a < hostcuda::self.dynamic_end);
}
static inline unsigned __isShared(const void *p) { return hostcuda_is_shared(p); }
static inline unsigned __isGlobal(const void *p) { return !hostcuda_is_shared(p); }
// A window of addresses that fit into 32 bits: static shared memory, then from 16 MiB on the dynamic one.
constexpr size_t HOSTCUDA_DYNAMIC = size_t(16) << 20;
static inline size_t __cvta_generic_to_shared(const void *p) {
    const char *a = (const char *)p, *d = (const char *)hostcuda::self.dynamic;
    return a >= hostcuda::self.shared && a < hostcuda::self.shared_end ? size_t(a - hostcuda::self.shared) : HOSTCUDA_DYNAMIC + size_t(a - d);
}
// An address as a GPU would have it, of which the alignment counts: shared memory begins at 0 there, not here.
static inline size_t hostcuda_place(const void *p) { return hostcuda_is_shared(p) ? __cvta_generic_to_shared(p) : (size_t)p; }
static inline void *__cvta_shared_to_generic(size_t a) {
    return a < HOSTCUDA_DYNAMIC / 2 ? hostcuda::self.shared + a : (char *)hostcuda::self.dynamic + ptrdiff_t(a - HOSTCUDA_DYNAMIC);
}
static inline size_t __cvta_generic_to_global(const void *p) { return (size_t)p; }

// Sums, minima and bits over the lanes of a mask.
template <class T, class F> static inline T hostcuda_reduce(unsigned mask, T value, F f, hostcuda::Site site) {
    *(T *)hostcuda::slot(hostcuda::lane()) = value;
    hostcuda::warp_barrier(mask, false, site);
    const unsigned lanes = hostcuda::live_lanes() & mask;
    bool first = true;
    T result = value;
    for (unsigned i = 0; i < 32; ++i)
        if (lanes >> i & 1) {
            const T other = *(T *)hostcuda::slot(i);
            result = first ? other : f(result, other);
            first = false;
        }
    hostcuda::warp_barrier(mask, false, site);
    return result;
}
#define HOSTCUDA_REDUCE(name, T, of) \
    static inline T name(unsigned mask, T v, HOSTCUDA_LINE) { return hostcuda_reduce(mask, v, [](T a, T b) { return T(of); }, {file, line}); }
HOSTCUDA_REDUCE(__reduce_add_sync, int, unsigned(a) + unsigned(b)) HOSTCUDA_REDUCE(__reduce_add_sync, unsigned, a + b)
HOSTCUDA_REDUCE(__reduce_min_sync, int, a < b ? a : b) HOSTCUDA_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
HOSTCUDA_REDUCE(__reduce_max_sync, int, a < b ? b : a) HOSTCUDA_REDUCE(__reduce_max_sync, unsigned, a < b ? b : a)
HOSTCUDA_REDUCE(__reduce_and_sync, unsigned, a & b) HOSTCUDA_REDUCE(__reduce_or_sync, unsigned, a | b) HOSTCUDA_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
template <class T> static inline unsigned __match_any_sync(unsigned mask, T value, HOSTCUDA_LINE) {
    *(T *)hostcuda::slot(hostcuda::lane()) = value;
    hostcuda::warp_barrier(mask, false, {file, line});
    unsigned same = 0;
    const unsigned lanes = hostcuda::live_lanes() & mask;
    for (unsigned i = 0; i < 32; ++i)
        if (lanes >> i & 1) same |= unsigned(!memcmp(hostcuda::slot(i), &value, sizeof value)) << i;
    hostcuda::warp_barrier(mask, false, {file, line});
    return same;
}
template <class T> static inline unsigned __match_all_sync(unsigned mask, T value, int *all, HOSTCUDA_LINE) {
    const unsigned same = __match_any_sync(mask, value, file, line);
    const bool every = hostcuda::ballot(mask, same != (hostcuda::live_lanes() & mask), {file, line}) == 0;
    *all = every;
    return every ? mask : 0;
}

// Atomics of a scope, and those that only old devices lack.
#define HOSTCUDA_SCOPED(name) \
    template <class T, class U> static inline T name##_block(T *p, U v) { return name(p, v); } \
    template <class T, class U> static inline T name##_system(T *p, U v) { return name(p, v); }
HOSTCUDA_SCOPED(atomicAdd) HOSTCUDA_SCOPED(atomicSub) HOSTCUDA_SCOPED(atomicExch) HOSTCUDA_SCOPED(atomicMin) HOSTCUDA_SCOPED(atomicMax)
HOSTCUDA_SCOPED(atomicAnd) HOSTCUDA_SCOPED(atomicOr) HOSTCUDA_SCOPED(atomicXor) HOSTCUDA_SCOPED(atomicInc) HOSTCUDA_SCOPED(atomicDec)
template <class T> static inline T atomicCAS_block(T *p, typename hostcuda_same<T>::type e, typename hostcuda_same<T>::type v) { return atomicCAS(p, e, v); }
template <class T> static inline T atomicCAS_system(T *p, typename hostcuda_same<T>::type e, typename hostcuda_same<T>::type v) { return atomicCAS(p, e, v); }
