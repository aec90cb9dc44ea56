// What a CUDA C++ kernel finds around it when g++ compiles it for the CPU: the device-side names.
//
// The threads of a block are fibers of one operating system thread; `hostcuda::self` is the one that
// runs.  Whatever makes a thread wait (barriers, votes, shuffles) is a call into the runtime.
#pragma once
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <link.h>
#include <type_traits>
#include <utility>

struct uint3 { unsigned x, y, z; };
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace hostcuda {

struct Self {
    uint3 thread, block;
    dim3 threads, blocks;
    unsigned number;      // of the thread in its block, x fastest
    void *dynamic;        // shared memory whose size the launch gives
    char *shared, *shared_end, *dynamic_end;      // static shared memory, and where the other ends
    bool rounds;          // an atomic sum of floating-point numbers: its last bits depend on the order
};
struct Site { const char *file; int line; };
enum Vote { ANY, ALL, COUNT };

#pragma GCC visibility push(default)      // these are the runtime's
extern Self self;
void barrier(Site);
int vote(int predicate, Vote, Site);
void warp_barrier(unsigned mask, bool orders_memory, Site);
unsigned ballot(unsigned mask, int predicate, Site);
unsigned live_lanes();
void *slot(unsigned lane);                               // where a lane of my warp leaves a value
void absent_lane(unsigned lane, Site);                   // it is not there to give its value
bool takes_part(unsigned mask, unsigned lane);           // whether there is something in its slot
void atomic_access(const void *address, unsigned bytes, void *caller, bool swap);
void fence();
void *scratch();                                         // memory of my warp, which is not checked
void event_wait(const void *event, Site);                // until somebody says that it happens
void event_happens(const void *event);
void take_turns();                                       // let the others go on
void grid_barrier(Site);
long long ticks();
void async_copied(const void *to, unsigned bytes, void *caller);     // by this thread, which must wait for it
void async_committed();
void async_waited(unsigned groups_left);
void launch_bounds(unsigned threads, Site);
void misaligned(const char *what, Site);
void failed(const char *expression, Site);              // returns to host code only
#pragma GCC visibility pop

struct Stopped {};                                       // thrown by host code after a fault
[[noreturn]] inline void fails(const char *expression, Site site) { failed(expression, site); throw Stopped{}; }
inline unsigned lane() { return self.number & 31; }

template <class T> __attribute__((always_inline)) inline T exchange(unsigned mask, T value, unsigned from, Site site) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable<T>::value, "shuffles move up to 16 bytes");
    memcpy(slot(lane()), &value, sizeof value);
    warp_barrier(mask, false, site);
    T got = value;
    if (takes_part(mask, from)) memcpy(&got, slot(from), sizeof got);
    else absent_lane(from, site), memset(&got, 0xFF, sizeof got);     // undefined: who uses it gets NaN or -1
    warp_barrier(mask, false, site);
    return got;
}
template <class T> __attribute__((always_inline)) inline T shuffle(unsigned mask, T value, int from, int width, Site site) {
    return exchange(mask, value, (lane() & ~(width - 1)) + (from & (width - 1)), site);
}
template <class T> __attribute__((always_inline)) inline T shuffle_xor(unsigned mask, T value, int bits, int width, Site site) {
    unsigned from = lane() ^ bits, end = (lane() & ~(width - 1)) + width;
    return exchange(mask, value, from < end ? from : lane(), site);
}
template <class T> __attribute__((always_inline)) inline T shuffle_down(unsigned mask, T value, unsigned by, int width, Site site) {
    return exchange(mask, value, (lane() & (width - 1)) + by < unsigned(width) ? lane() + by : lane(), site);
}
template <class T> __attribute__((always_inline)) inline T shuffle_up(unsigned mask, T value, unsigned by, int width, Site site) {
    return exchange(mask, value, (lane() & (width - 1)) >= by ? lane() - by : lane(), site);
}

// A 16-bit floating-point number with that many bits of exponent; arithmetic rounds every result.
template <int EXPONENT> struct Narrow {
    static constexpr int FRACTION = 15 - EXPONENT, DROPPED = 23 - FRACTION, BIAS = (1 << (EXPONENT - 1)) - 1;
    uint16_t bits;
    Narrow() = default;
    Narrow(float value) {
        uint32_t u;
        memcpy(&u, &value, 4);
        const uint32_t sign = u >> 16 & 0x8000u;
        u &= 0x7fffffffu;
        if (u > 0x7f800000u) { bits = sign | ((1u << 15) - (1u << (FRACTION - 1))); return; }      // a quiet NaN
        const int exponent = int(u >> 23 ? u >> 23 : 1) - 127 + BIAS;
        uint64_t significand = (u & 0x7fffffu) | (u >> 23 ? 0x800000u : 0u);
        const int drop = DROPPED + (exponent < 1 ? 1 - exponent : 0);
        if (drop > 40) { bits = sign; return; }
        const uint64_t half = uint64_t(1) << (drop - 1), rest = significand & (2 * half - 1);
        significand >>= drop;
        significand += rest > half || (rest == half && (significand & 1));
        uint64_t result = exponent < 1 ? significand : (uint64_t(exponent - 1) << FRACTION) + significand;
        const uint64_t infinity = ((uint64_t(1) << EXPONENT) - 1) << FRACTION;
        bits = sign | (result < infinity && u < 0x7f800000u ? result : infinity);
    }
    template <class N, class = std::enable_if_t<std::is_arithmetic<N>::value && !std::is_same<N, float>::value>>
    Narrow(N value) : Narrow(nearest_odd(value)) {}
    operator float() const {
        const uint32_t sign = uint32_t(bits & 0x8000u) << 16, exponent = bits >> FRACTION & ((1u << EXPONENT) - 1);
        const uint32_t fraction = bits & ((1u << FRACTION) - 1);
        uint32_t u;
        float value;
        if (exponent == (1u << EXPONENT) - 1) u = sign | 0x7f800000u | fraction << DROPPED;
        else if (exponent) u = sign | (exponent + 127 - BIAS) << 23 | fraction << DROPPED;
        else {
            value = std::ldexp(float(fraction), 1 - BIAS - FRACTION);
            return sign ? -value : value;
        }
        memcpy(&value, &u, 4);
        return value;
    }
    // The float beside `value` whose last bit is odd: rounding it again gives what rounding once does.
    static float nearest_odd(double value) {
        float near = float(value);
        uint32_t u;
        if (double(near) == value || near != near || std::isinf(near)) return near;
        memcpy(&u, &near, 4);
        if (std::fabs(double(near)) > std::fabs(value)) --u;
        u |= 1;
        memcpy(&near, &u, 4);
        return near;
    }
};
template <int E> Narrow<E> operator+(Narrow<E> a, Narrow<E> b) { return float(a) + float(b); }
template <int E> Narrow<E> operator-(Narrow<E> a, Narrow<E> b) { return float(a) - float(b); }
template <int E> Narrow<E> operator*(Narrow<E> a, Narrow<E> b) { return float(a) * float(b); }
template <int E> Narrow<E> operator/(Narrow<E> a, Narrow<E> b) { return float(a) / float(b); }
template <int E> Narrow<E> operator-(Narrow<E> a) { a.bits ^= 0x8000u; return a; }
template <int E> Narrow<E> &operator+=(Narrow<E> &a, Narrow<E> b) { return a = a + b; }
template <int E> Narrow<E> &operator-=(Narrow<E> &a, Narrow<E> b) { return a = a - b; }
template <int E> Narrow<E> &operator*=(Narrow<E> &a, Narrow<E> b) { return a = a * b; }
template <int E> bool operator<(Narrow<E> a, Narrow<E> b) { return float(a) < float(b); }
template <int E> bool operator>(Narrow<E> a, Narrow<E> b) { return float(a) > float(b); }
template <int E> bool operator<=(Narrow<E> a, Narrow<E> b) { return float(a) <= float(b); }
template <int E> bool operator>=(Narrow<E> a, Narrow<E> b) { return float(a) >= float(b); }
template <int E> bool operator==(Narrow<E> a, Narrow<E> b) { return float(a) == float(b); }
template <int E> bool operator!=(Narrow<E> a, Narrow<E> b) { return float(a) != float(b); }

}  // namespace hostcuda

#define __HOSTCUDA__ 1
#define __global__ __attribute__((unused))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __constant__
#define __managed__
#define __shared__ static __thread      // thread-local storage holds nothing else: the runtime takes it for shared memory
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#ifndef __restrict__
#define __restrict__ __restrict
#endif
static constexpr uint3 &threadIdx = ::hostcuda::self.thread, &blockIdx = ::hostcuda::self.block;
static constexpr dim3 &blockDim = ::hostcuda::self.threads, &gridDim = ::hostcuda::self.blocks;
static constexpr int warpSize = 32;
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __CUDACC__ 1
#define __CUDA_ARCH__ 900

// Where a thread waits is told by the line of the call.
#define HOSTCUDA_LINE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define HOSTCUDA_FULL 0xffffffffu
static inline void __syncthreads(HOSTCUDA_LINE) { hostcuda::barrier({file, line}); }
static inline int __syncthreads_or(int p, HOSTCUDA_LINE) { return hostcuda::vote(p, hostcuda::ANY, {file, line}); }
static inline int __syncthreads_and(int p, HOSTCUDA_LINE) { return hostcuda::vote(p, hostcuda::ALL, {file, line}); }
static inline int __syncthreads_count(int p, HOSTCUDA_LINE) { return hostcuda::vote(p, hostcuda::COUNT, {file, line}); }
static inline void __syncwarp(unsigned mask = HOSTCUDA_FULL, HOSTCUDA_LINE) { hostcuda::warp_barrier(mask, true, {file, line}); }
static inline unsigned __ballot_sync(unsigned mask, int p, HOSTCUDA_LINE) { return hostcuda::ballot(mask, p, {file, line}); }
static inline int __any_sync(unsigned mask, int p, HOSTCUDA_LINE) { return hostcuda::ballot(mask, p, {file, line}) != 0; }
static inline int __all_sync(unsigned mask, int p, HOSTCUDA_LINE) { return hostcuda::ballot(mask, !p, {file, line}) == 0; }
#define HOSTCUDA_SHUFFLE(name, how, From) \
    template <class T> __attribute__((always_inline)) static inline T name(unsigned mask, T value, From from, int width = 32, HOSTCUDA_LINE) { \
        return hostcuda::how(mask, value, from, width, {file, line}); \
    }
HOSTCUDA_SHUFFLE(__shfl_sync, shuffle, int)
HOSTCUDA_SHUFFLE(__shfl_xor_sync, shuffle_xor, int)
HOSTCUDA_SHUFFLE(__shfl_down_sync, shuffle_down, unsigned)
HOSTCUDA_SHUFFLE(__shfl_up_sync, shuffle_up, unsigned)
// Which lanes run together is the machine's choice; here every thread runs alone.
static inline unsigned __activemask() { return 1u << hostcuda::lane(); }
static inline void __threadfence() { hostcuda::fence(); }
static inline void __threadfence_block() {}

namespace hostcuda { template <class T> struct Exact : std::is_integral<T> {}; }      // sums in any order are the same
#define HOSTCUDA_RAW static __attribute__((noinline, no_sanitize_thread))
#define HOSTCUDA_ATOMIC(name, result) \
    template <class T, class U> HOSTCUDA_RAW T name(T *address, U given) { \
        hostcuda::atomic_access(address, sizeof(T), __builtin_return_address(0), false); \
        T old, value = T(given); \
        __builtin_memcpy((void *)&old, (const void *)address, sizeof(T)); \
        const T next = result; \
        __builtin_memcpy((void *)address, (const void *)&next, sizeof(T)); \
        return old; \
    }
HOSTCUDA_ATOMIC(atomicAdd, (hostcuda::self.rounds |= !hostcuda::Exact<T>::value, T(old + value)))
HOSTCUDA_ATOMIC(atomicSub, (hostcuda::self.rounds |= !hostcuda::Exact<T>::value, T(old - value)))
HOSTCUDA_ATOMIC(atomicExch, value)
HOSTCUDA_ATOMIC(atomicMin, value < old ? value : old)
HOSTCUDA_ATOMIC(atomicMax, value > old ? value : old)
HOSTCUDA_ATOMIC(atomicAnd, T(old & value))
HOSTCUDA_ATOMIC(atomicOr, T(old | value))
HOSTCUDA_ATOMIC(atomicXor, T(old ^ value))
HOSTCUDA_ATOMIC(atomicInc, old >= value ? T(0) : T(old + 1))
HOSTCUDA_ATOMIC(atomicDec, old == 0 || old > value ? value : T(old - 1))
template <class T> struct hostcuda_same { typedef T type; };
template <class T> HOSTCUDA_RAW T atomicCAS(T *address, typename hostcuda_same<T>::type expected, typename hostcuda_same<T>::type value) {
    hostcuda::atomic_access(address, sizeof(T), __builtin_return_address(0), true);
    hostcuda::self.rounds |= sizeof(T) >= 2;       // the loop that CUDA's guide has for sums of other types
    T old;
    __builtin_memcpy((void *)&old, (const void *)address, sizeof(T));
    if (!__builtin_memcmp((const void *)&old, (const void *)&expected, sizeof(T)))
        __builtin_memcpy((void *)address, (const void *)&value, sizeof(T));
    return old;
}

template <class T> __attribute__((always_inline)) static inline T __ldg(const T *p) { return *p; }
template <class T> __attribute__((always_inline)) static inline T __ldcg(const T *p) { return *p; }
template <class T> __attribute__((always_inline)) static inline T __ldcs(const T *p) { return *p; }
// Of floating-point numbers, CUDA's are fmin and fmax: a NaN counts for nothing, and -0 is below 0.
template <class T, class U> static inline auto min(T a, U b) {
    using R = std::common_type_t<T, U>;
    if constexpr (std::is_floating_point<R>::value) return R(a) == R(b) ? (std::signbit(R(a)) ? R(a) : R(b)) : std::fmin(R(a), R(b));
    else return R(b) < R(a) ? R(b) : R(a);
}
template <class T, class U> static inline auto max(T a, U b) {
    using R = std::common_type_t<T, U>;
    if constexpr (std::is_floating_point<R>::value) return R(a) == R(b) ? (std::signbit(R(a)) ? R(b) : R(a)) : std::fmax(R(a), R(b));
    else return R(a) < R(b) ? R(b) : R(a);
}
using std::abs; using std::ceil; using std::exp; using std::expm1; using std::floor; using std::fma; using std::isfinite;
using std::isinf; using std::isnan; using std::log; using std::log1p; using std::pow; using std::sqrt; using std::tanh;
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
// Macros, because the C library has functions of these names.
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanhf(x) tanhf(x)
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
template <class To, class From> static inline To hostcuda_bits(From value) { To to; static_assert(sizeof to == sizeof value, ""); memcpy(&to, &value, sizeof to); return to; }
static inline int __float_as_int(float x) { return hostcuda_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return hostcuda_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return hostcuda_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return hostcuda_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return hostcuda_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return hostcuda_bits<double>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x) { unsigned r = 0; for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i); return r; }
static inline int __mul24(int a, int b) { return int(unsigned(int(unsigned(a) << 8) >> 8) * unsigned(int(unsigned(b) << 8) >> 8)); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float x) { return std::sqrt(x); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __int2float_rn(int x) { return float(x); }
static inline float __uint2float_rn(unsigned x) { return float(x); }
static inline void __threadfence_system() { hostcuda::fence(); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
#include "hostcuda_math.h"

#define HOSTCUDA_VECTOR(T, N) \
    struct alignas(2 * sizeof(T)) N##2 { T x, y; }; \
    struct N##3 { T x, y, z; }; \
    struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; }; \
    static inline N##2 make_##N##2(T x, T y) { return {x, y}; } \
    static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; } \
    static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
HOSTCUDA_VECTOR(float, float) HOSTCUDA_VECTOR(double, double) HOSTCUDA_VECTOR(int, int) HOSTCUDA_VECTOR(short, short)
HOSTCUDA_VECTOR(signed char, char) HOSTCUDA_VECTOR(unsigned char, uchar) HOSTCUDA_VECTOR(long long, longlong)
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
HOSTCUDA_VECTOR(unsigned short, ushort) HOSTCUDA_VECTOR(unsigned long long, ulonglong)

// A kernel as a function of pointers to its arguments, as cuLaunchKernel takes them.
namespace hostcuda {
typedef void (*Kernel)(void **arguments);
struct Image { char *shared, *shared_end, *end; };      // of a library: its shared memory, and where it ends
extern "C" __attribute__((visibility("default"))) int hostcuda_launch(Kernel, void **arguments, const unsigned *blocks, const unsigned *threads,
                               size_t dynamic, Image);
extern "C" { extern char _end[] __attribute__((visibility("hidden"))); }
static __thread char anchor __attribute__((aligned(256)));     // as shared memory is on a GPU
// Where this library's shared memory begins and ends: its thread-local storage, which exists once it was touched.
static inline Image image() {
    Image found = {&anchor, &anchor + 1, _end};
    dl_iterate_phdr([](dl_phdr_info *one, size_t, void *to) {
        for (int i = 0; i < one->dlpi_phnum; ++i) {
            char *start = (char *)one->dlpi_tls_data, *end = start + one->dlpi_phdr[i].p_memsz;
            if (one->dlpi_phdr[i].p_type != PT_TLS || &anchor < start || &anchor >= end) continue;
            ((Image *)to)->shared = start, ((Image *)to)->shared_end = end;
            return 1;
        }
        return 0;
    }, &found);
    return found;
}
// 'F' a pointer to float, 'D' to double, 'p' to anything else, 'f' floating-point, 'i' an integer, 's' a struct: what the host may pass.
template <class T> constexpr char kind() {
    typedef std::remove_cv_t<std::remove_pointer_t<T>> To;
    return std::is_pointer<T>::value ? std::is_same<To, float>::value ? 'F' : std::is_same<To, double>::value ? 'D' : 'p' : std::is_floating_point<T>::value ? 'f' : std::is_integral<T>::value ? 'i' : 's';
}
template <class F> struct Signature;
template <class... A> struct Signature<void (*)(A...)> {
    template <void (*F)(A...), size_t... I> __attribute__((no_sanitize_thread)) static void spread(void **a, std::index_sequence<I...>) {
        F(*(std::remove_cv_t<std::remove_reference_t<A>> *)a[I]...);
    }
    template <void (*F)(A...)> __attribute__((no_sanitize_thread)) static void call(void **a) { spread<F>(a, std::index_sequence_for<A...>{}); }
};
template <class R, class... A> int describe(R (*)(A...), int *bytes, char *kinds) {
    const int size[] = {int(sizeof(A))..., 0};
    const char of[] = {kind<std::remove_cv_t<std::remove_reference_t<A>>>()..., 0};
    for (int i = 0; i < int(sizeof...(A)); ++i) bytes[i] = size[i], kinds[i] = of[i];
    return sizeof...(A);
}
}  // namespace hostcuda
#define HOSTCUDA_DESCRIBED(id, ...) \
    extern "C" __attribute__((visibility("default"))) int hostcuda_describe_##id(int *hostcuda_bytes, char *hostcuda_kinds) { \
        return hostcuda::describe(&__VA_ARGS__, hostcuda_bytes, hostcuda_kinds); }
// A kernel can have any name, `a` too: the parameters here have names that none has.
#define HOSTCUDA_EXPORT(id, ...) \
    extern "C" __attribute__((visibility("default"))) int hostcuda_kernel_##id(void **hostcuda_a, const unsigned *hostcuda_g, const unsigned *hostcuda_b, size_t hostcuda_d) { \
        return hostcuda::hostcuda_launch(&hostcuda::Signature<decltype(&__VA_ARGS__)>::call<&__VA_ARGS__>, hostcuda_a, hostcuda_g, hostcuda_b, hostcuda_d, hostcuda::image()); } \
    HOSTCUDA_DESCRIBED(id, __VA_ARGS__)

// One of several kernels of a name: that with these parameters.
#define HOSTCUDA_EXPORT_OF(id, name, ...) \
    typedef void (*hostcuda_type_##id)(__VA_ARGS__); \
    static constexpr hostcuda_type_##id hostcuda_one_##id = &name; \
    HOSTCUDA_EXPORT(id, *hostcuda_one_##id)

// Byte by byte in code that is looked at: the C library's would not be.
__attribute__((always_inline)) static inline void *hostcuda_memcpy(void *to, const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}
__attribute__((always_inline)) static inline void *hostcuda_memset(void *to, int value, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) ((char *)to)[i] = char(value);
    return to;
}
namespace std { using ::hostcuda_memcpy; using ::hostcuda_memset; }
#define memcpy hostcuda_memcpy
#define memset hostcuda_memset
#include "hostcuda_host.h"
#include "hostcuda_async.h"
#include "hostcuda_textures.h"
#include "hostcuda_ptx.h"
static inline void __trap(HOSTCUDA_LINE) { hostcuda::fails("__trap()", {file, line}); }
#include <assert.h>
