// What instructions of inline PTX become (ptx.py): a register holds bits, and each instruction says of what type they are.
#pragma once

namespace hostcuda {
namespace ptx {

typedef unsigned long long R;
using hostcuda::async_committed; using hostcuda::async_waited; using hostcuda::fence; using hostcuda::lane; using hostcuda::Narrow;
using hostcuda::self; using hostcuda::take_turns; using hostcuda::ticks; using hostcuda::warp_barrier;
[[noreturn]] inline void stop(Site site) { fails("trap", site); }
template <class T> inline T as(R r) { T t; __builtin_memcpy(&t, &r, sizeof t); return t; }
template <class T> inline R bits(T t) { R r = 0; __builtin_memcpy(&r, &t, sizeof t); return r; }
template <class T> inline R in(const T &x) {
    static_assert(sizeof(T) <= 8, "a register has at most 64 bits");
    R r = 0;
    __builtin_memcpy(&r, &x, sizeof x);
    return r;
}
template <class T> inline void out(T &x, R r) { __builtin_memcpy(&x, &r, sizeof x); }
template <class T> struct Wide { typedef T type; };
template <> struct Wide<int> { typedef long long type; };
template <> struct Wide<unsigned> { typedef unsigned long long type; };
template <> struct Wide<short> { typedef int type; };
template <> struct Wide<unsigned short> { typedef unsigned type; };

// Integers wrap: they are computed without a sign.
template <class T, bool I = std::is_integral<T>::value> struct Ring { typedef T type; };
template <class T> struct Ring<T, true> { typedef std::make_unsigned_t<T> type; };
template <> struct Ring<unsigned short, true> { typedef unsigned type; };
template <> struct Ring<short, true> { typedef unsigned type; };
#define HOSTCUDA_PTX(name, of) \
    template <class T> inline R name(R x, R y) { typedef typename Ring<T>::type U; const T a = as<T>(x), b = as<T>(y); (void)sizeof(U); return bits<T>(T(of)); }
HOSTCUDA_PTX(add, U(a) + U(b)) HOSTCUDA_PTX(sub, U(a) - U(b)) HOSTCUDA_PTX(mul, U(a) * U(b)) HOSTCUDA_PTX(div, a / b)
HOSTCUDA_PTX(min_, b < a || a != a ? b : a) HOSTCUDA_PTX(max_, a < b || a != a ? b : a)
HOSTCUDA_PTX(and_, a & b) HOSTCUDA_PTX(or_, a | b) HOSTCUDA_PTX(xor_, a ^ b) HOSTCUDA_PTX(rem, a % b)
template <class T> inline R shl(R x, R by) { typedef typename Ring<T>::type U; return unsigned(by) >= 8 * sizeof(T) ? 0 : bits<T>(T(U(as<T>(x)) << unsigned(by))); }
template <class T> inline R shr(R x, R by) {
    const unsigned n = unsigned(by), most = 8 * sizeof(T) - 1;
    if (n > most) return std::is_signed<T>::value ? bits<T>(T(as<T>(x) >> most)) : 0;
    return bits<T>(T(as<T>(x) >> n));
}
template <class T> inline R mul_hi(R x, R y) {
    typedef std::conditional_t<std::is_signed<T>::value, __int128, unsigned __int128> L;
    return bits<T>(T(L(as<T>(x)) * L(as<T>(y)) >> 8 * sizeof(T)));
}
template <class T> inline R mul_wide(R x, R y) { typedef typename Wide<T>::type L; return bits<L>(L(as<T>(x)) * L(as<T>(y))); }
template <class T> inline R mad_wide(R x, R y, R z) { typedef typename Wide<T>::type L; return add<L>(mul_wide<T>(x, y), z); }
template <class T> inline R fma_(R x, R y, R z) { return bits<T>(T(std::fma(as<T>(x), as<T>(y), as<T>(z)))); }
#define HOSTCUDA_PTX1(name, of) template <class T> inline R name(R x) { const T a = as<T>(x); return bits<T>(T(of)); }
HOSTCUDA_PTX1(neg, std::is_integral<T>::value ? T(as<T>(sub<T>(0, x))) : T(-a)) HOSTCUDA_PTX1(not_, ~a) HOSTCUDA_PTX1(abs_, a < 0 ? -a : a)
HOSTCUDA_PTX1(sqrt_, std::sqrt(a)) HOSTCUDA_PTX1(rsqrt_, T(1) / std::sqrt(a)) HOSTCUDA_PTX1(rcp, T(1) / a) HOSTCUDA_PTX1(ex2, std::exp2(a))
HOSTCUDA_PTX1(lg2, std::log2(a)) HOSTCUDA_PTX1(sin_, std::sin(a)) HOSTCUDA_PTX1(cos_, std::cos(a)) HOSTCUDA_PTX1(tanh_, std::tanh(a))
template <class T> inline R popc(R x) { return R(__builtin_popcountll(bits<T>(as<T>(x)))); }
template <class T> inline R clz(R x) { const R v = bits<T>(as<T>(x)); return v ? R(__builtin_clzll(v)) - (64 - 8 * sizeof(T)) : 8 * sizeof(T); }
inline R lop3(R a, R b, R c, R table) {
    unsigned r = 0;
    for (unsigned i = 0; i < 8; ++i)
        if (table >> i & 1) r |= (i & 4 ? unsigned(a) : ~unsigned(a)) & (i & 2 ? unsigned(b) : ~unsigned(b)) & (i & 1 ? unsigned(c) : ~unsigned(c));
    return r;
}
inline R prmt(R a, R b, R s) {
    const R both = R(unsigned(b)) << 32 | unsigned(a);
    unsigned r = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned pick = unsigned(s >> 4 * i) & 15u, byte = unsigned(both >> 8 * (pick & 7)) & 255u;
        r |= (pick & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return r;
}
template <class D, class S> inline R cvt(R x, int mode) {       // mode: n nearest, z to zero, m down, p up
    const S s = as<S>(x);
    if constexpr (std::is_integral<D>::value && !std::is_integral<S>::value) {
        const double v = mode == 'n' ? std::nearbyint(double(s)) : mode == 'm' ? std::floor(double(s)) : mode == 'p' ? std::ceil(double(s)) : std::trunc(double(s));
        return bits<D>(hostcuda_to<D>(v));
    } else return bits<D>(D(s));
}

inline void *at(R address, bool shared) { return shared ? __cvta_shared_to_generic(address & 0xffffffffu) : (void *)address; }
template <class T> __attribute__((always_inline)) inline R ld(const void *p) { return bits<T>(*(const T *)p); }
template <class T> __attribute__((always_inline)) inline void st(void *p, R r) { *(T *)p = as<T>(r); }
// A vector is one access, which must be aligned.
template <class T, int N> struct alignas(N * sizeof(T)) Vector { T of[N]; };
template <class T, int N> __attribute__((always_inline)) inline Vector<T, N> ld_vector(const void *p) { return *(const Vector<T, N> *)p; }
template <class T, int N> __attribute__((always_inline)) inline void st_vector(void *p, Vector<T, N> v) { *(Vector<T, N> *)p = v; }

#define HOSTCUDA_PTX_ATOM(name, of) template <class T> __attribute__((always_inline)) inline R name(void *p, R v) { return bits<T>(of((T *)p, as<T>(v))); }
HOSTCUDA_PTX_ATOM(atom_add, atomicAdd) HOSTCUDA_PTX_ATOM(atom_min, atomicMin) HOSTCUDA_PTX_ATOM(atom_max, atomicMax)
HOSTCUDA_PTX_ATOM(atom_exch, atomicExch) HOSTCUDA_PTX_ATOM(atom_and, atomicAnd) HOSTCUDA_PTX_ATOM(atom_or, atomicOr)
HOSTCUDA_PTX_ATOM(atom_xor, atomicXor) HOSTCUDA_PTX_ATOM(atom_inc, atomicInc) HOSTCUDA_PTX_ATOM(atom_dec, atomicDec)
template <class T> __attribute__((always_inline)) inline R atom_cas(void *p, R e, R v) { return bits<T>(atomicCAS((T *)p, as<T>(e), as<T>(v))); }

__attribute__((always_inline)) inline R shfl(char how, R value, R b, R c, R mask, R *inside, Site site) {
    const unsigned lane_ = lane(), segments = unsigned(c) >> 8 & 31u, clamp = unsigned(c) & 31u, by = unsigned(b) & 31u;
    const unsigned most = (lane_ & segments) | (clamp & ~segments), least = lane_ & segments;
    unsigned from = how == 'u' ? lane_ - by : how == 'd' ? lane_ + by : how == 'b' ? lane_ ^ by : (least | (by & ~segments));
    const bool good = how == 'u' ? int(lane_) - int(by) >= int(most) : from <= most;
    if (!good) from = lane_;
    if (inside) *inside = good;
    return exchange<unsigned>(unsigned(mask), unsigned(value), from, site);
}
__attribute__((always_inline)) inline R vote(const char how, R p, R mask, Site site) {
    if (how == 'b') return ballot(unsigned(mask), p != 0, site);
    return how == 'a' ? ballot(unsigned(mask), !p, site) == 0 : ballot(unsigned(mask), p != 0, site) != 0;
}
inline void named_barrier(R id, R threads, Site site) {
    const unsigned all = self.threads.x * self.threads.y * self.threads.z, n = threads ? unsigned(threads) : all;
    if (!id && n == all) { barrier(site); return; }
    missing("a barrier of a part of the block (bar.sync)", site);
}

// Copies of 4, 8 or 16 bytes.
__attribute__((always_inline)) inline void cp_async(void *to, const void *from, R bytes, R given, Site site) { copy_async(to, from, bytes, given, site); }

// Eight rows of 16 bytes, at the addresses that lanes 8 j to 8 j + 7 give, as a matrix whose pairs the lanes share.
__attribute__((always_inline)) inline char *row_of(unsigned matrix, unsigned row) { return *(char **)slot(8 * matrix + row); }
template <int N, bool TRANS> __attribute__((always_inline)) inline void ldmatrix(void *mine, R (&to)[N], Site site) {
    *(void **)slot(lane()) = mine;
    warp_barrier(~0u, false, site);
    if (lane() < 8 * N && hostcuda_place(mine) % 16) misaligned("a row of ldmatrix is not at a multiple of 16 bytes", site);
    for (int m = 0; m < N; ++m) {
        const unsigned r = lane() / 4, c = 2 * (lane() % 4);
        if (TRANS) to[m] = *(const uint16_t *)(row_of(m, c) + 2 * r) | R(*(const uint16_t *)(row_of(m, c + 1) + 2 * r)) << 16;
        else to[m] = *(const uint32_t *)(row_of(m, r) + 2 * c);
    }
    warp_barrier(~0u, false, site);
}
template <int N, bool TRANS> __attribute__((always_inline)) inline void stmatrix(void *mine, const R (&from)[N], Site site) {
    *(void **)slot(lane()) = mine;
    warp_barrier(~0u, false, site);
    if (lane() < 8 * N && hostcuda_place(mine) % 16) misaligned("a row of stmatrix is not at a multiple of 16 bytes", site);
    for (int m = 0; m < N; ++m) {
        const unsigned r = lane() / 4, c = 2 * (lane() % 4);
        if (TRANS) *(uint16_t *)(row_of(m, c) + 2 * r) = uint16_t(from[m]), *(uint16_t *)(row_of(m, c + 1) + 2 * r) = uint16_t(from[m] >> 16);
        else *(uint32_t *)(row_of(m, r) + 2 * c) = uint32_t(from[m]);
    }
    warp_barrier(~0u, false, site);
}

struct Tf32 { float value; operator float() const { uint32_t u; __builtin_memcpy(&u, &value, 4); u &= 0xffffe000u; float f; __builtin_memcpy(&f, &u, 4); return f; } };
// Element i of a lane's part of a matrix of mma.sync: its row and column (PTX ISA, "matrix fragments for mma").
struct Place { int row, column; };
template <int M, int K, int BYTES> inline Place place_a(int lane_, int i) {
    constexpr int PER = BYTES == 8 || BYTES == 4 ? 1 : 4 / BYTES;
    const int group = lane_ / 4, in_group = lane_ % 4, r = i / PER;
    return {group + (M == 16 && r % 2 ? 8 : 0), in_group * PER + i % PER + r / 2 * 4 * PER};
}
template <int K, int BYTES> inline Place place_b(int lane_, int i) {
    constexpr int PER = BYTES == 8 || BYTES == 4 ? 1 : 4 / BYTES;
    return {lane_ % 4 * PER + i % PER + i / PER * 4 * PER, lane_ / 4};
}
template <class T> inline T element(const R *registers, int i) {
    constexpr int PER = sizeof(T) >= 4 ? 1 : 4 / sizeof(T);
    return as<T>(registers[i / PER] >> 8 * sizeof(T) * (i % PER));
}
template <class T> inline void set_element(R *registers, int i, T value) {
    constexpr int PER = sizeof(T) >= 4 ? 1 : 4 / sizeof(T);
    const R mask = sizeof(T) == 8 ? ~R(0) : (R(1) << 8 * sizeof(T)) - 1;
    R &r = registers[i / PER];
    r = (r & ~(mask << 8 * sizeof(T) * (i % PER))) | bits(value) << 8 * sizeof(T) * (i % PER);
}
// D = A B + C over the lanes of a warp, every product and sum in the type of C, in float where that is a half.
template <int M, int N, int K, class A, class B, class C, int RA, int RB, int RC>
inline void mma(R (&d)[RC], const R (&a)[RA], const R (&b)[RB], const R (&c)[RC], Site site) {
    typedef std::conditional_t<std::is_same<C, double>::value, double, std::conditional_t<std::is_integral<C>::value, int, float>> Sum;
    typedef std::conditional_t<std::is_same<C, double>::value, double, std::conditional_t<std::is_integral<C>::value, int, float>> Term;
    Term *as_ = (Term *)scratch(), *bs = as_ + M * K;
    const int me = int(lane());
    for (int i = 0; i < M * K / 32; ++i) { const Place p = place_a<M, K, sizeof(A)>(me, i); as_[p.row * K + p.column] = Term(element<A>(a, i)); }
    for (int i = 0; i < K * N / 32; ++i) { const Place p = place_b<K, sizeof(B)>(me, i); bs[p.row * N + p.column] = Term(element<B>(b, i)); }
    warp_barrier(~0u, false, site);
    for (int i = 0; i < M * N / 32; ++i) {
        const int row = me / 4 + (i / 2 ? 8 : 0), column = me % 4 * 2 + i % 2;
        Sum sum = Sum(element<C>(c, i));
        for (int k = 0; k < K; ++k) sum = Sum(sum + as_[row * K + k] * bs[k * N + column]);
        set_element<C>(d, i, C(sum));
    }
    warp_barrier(~0u, false, site);
}

}  // namespace ptx
}  // namespace hostcuda
