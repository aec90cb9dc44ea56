// Fragments of a warp's matrices (nvcuda::wmma): every lane holds its part of the elements, and products are plain loops.
// Sums are in the type of the accumulator, in float where that is a half, term by term; a tensor core's order differs.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a {}; struct matrix_b {}; struct accumulator {};
struct row_major {}; struct col_major {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision { struct tf32 {}; struct s4 {}; struct u4 {}; struct b1 {}; }
template <class T> struct hostcuda_storage { typedef T type; };
template <> struct hostcuda_storage<precision::tf32> { typedef float type; };

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    static constexpr int ROWS = std::is_same<Use, matrix_b>::value ? K : M, COLUMNS = std::is_same<Use, matrix_a>::value ? K : N;
    static constexpr int num_elements = ROWS * COLUMNS / 32, num_storage_elements = num_elements;
    typedef typename hostcuda_storage<T>::type element_type;
    typedef element_type storage_element_type;
    element_type x[num_elements];
};

template <class F, class V> inline void fill_fragment(F &f, V value) {
    for (auto &x : f.x) x = typename F::element_type(value);
}
namespace hostcuda_wmma {
// The element that lane `lane` holds as its i-th.
template <class F> struct Place { int row, column; };
template <class F> inline Place<F> place(int i) {
    const int e = int(hostcuda::lane()) * F::num_elements + i;
    return {e / F::COLUMNS, e % F::COLUMNS};
}
template <class F> inline size_t offset(int i, unsigned step, bool rows) {
    const Place<F> p = place<F>(i);
    return rows ? size_t(p.row) * step + p.column : size_t(p.column) * step + p.row;
}
inline void check(const void *p, unsigned step, size_t bytes, hostcuda::Site site) {
    // 32 bytes; NumPy's arrays, which stand for those of a GPU, begin at multiples of 16 only.
    if (hostcuda_place(p) % (hostcuda_is_shared(p) ? 32 : 16)) hostcuda::misaligned("a matrix of wmma is not at a multiple of 32 bytes", site);
    if (step * bytes % 16) hostcuda::misaligned("the leading dimension of a matrix of wmma is no multiple of 16 bytes", site);
    hostcuda::warp_barrier(~0u, false, site);
}
}  // namespace hostcuda_wmma

template <class U, int M, int N, int K, class T, class L, class P>
__attribute__((always_inline)) inline void load_matrix_sync(fragment<U, M, N, K, T, L> &f, const P *from, unsigned step, HOSTCUDA_LINE) {
    typedef fragment<U, M, N, K, T, L> F;
    hostcuda_wmma::check(from, step, sizeof(P), {file, line});
    for (int i = 0; i < F::num_elements; ++i) f.x[i] = from[hostcuda_wmma::offset<F>(i, step, std::is_same<L, row_major>::value)];
}
template <int M, int N, int K, class T, class P>
__attribute__((always_inline)) inline void load_matrix_sync(fragment<accumulator, M, N, K, T> &f, const P *from, unsigned step, layout_t layout, HOSTCUDA_LINE) {
    typedef fragment<accumulator, M, N, K, T> F;
    hostcuda_wmma::check(from, step, sizeof(P), {file, line});
    for (int i = 0; i < F::num_elements; ++i) f.x[i] = from[hostcuda_wmma::offset<F>(i, step, layout == mem_row_major)];
}
template <int M, int N, int K, class T, class P>
__attribute__((always_inline)) inline void store_matrix_sync(P *to, const fragment<accumulator, M, N, K, T> &f, unsigned step, layout_t layout, HOSTCUDA_LINE) {
    typedef fragment<accumulator, M, N, K, T> F;
    hostcuda_wmma::check(to, step, sizeof(P), {file, line});
    for (int i = 0; i < F::num_elements; ++i) to[hostcuda_wmma::offset<F>(i, step, layout == mem_row_major)] = f.x[i];
}
static inline float __float_to_tf32(float x) {
    uint32_t u;
    __builtin_memcpy(&u, &x, 4);
    if ((u & 0x7f800000u) != 0x7f800000u) u += 0x1000u;       // to nearest, ties away from zero
    u &= 0xffffe000u;
    __builtin_memcpy(&x, &u, 4);
    return x;
}
template <int M, int N, int K, class T, class A, class B, class C, class LA, class LB>
inline void mma_sync(fragment<accumulator, M, N, K, T> &d, const fragment<matrix_a, M, N, K, A, LA> &a, const fragment<matrix_b, M, N, K, B, LB> &b,
                     const fragment<accumulator, M, N, K, C> &c, HOSTCUDA_LINE) {
    typedef std::conditional_t<std::is_same<C, double>::value, double, std::conditional_t<std::is_integral<C>::value, int, float>> Sum;
    typedef fragment<matrix_a, M, N, K, A, LA> FA;
    typedef fragment<matrix_b, M, N, K, B, LB> FB;
    typedef fragment<accumulator, M, N, K, T> FD;
    Sum *as = (Sum *)hostcuda::scratch(), *bs = as + M * K;
    for (int i = 0; i < FA::num_elements; ++i) { const auto p = hostcuda_wmma::place<FA>(i); as[p.row * K + p.column] = Sum(a.x[i]); }
    for (int i = 0; i < FB::num_elements; ++i) { const auto p = hostcuda_wmma::place<FB>(i); bs[p.row * N + p.column] = Sum(b.x[i]); }
    hostcuda::warp_barrier(~0u, false, {file, line});
    for (int i = 0; i < FD::num_elements; ++i) {
        const auto p = hostcuda_wmma::place<FD>(i);
        Sum sum = Sum(c.x[i]);
        for (int k = 0; k < K; ++k) sum = Sum(sum + as[p.row * K + k] * bs[k * N + p.column]);
        d.x[i] = T(sum);
    }
    hostcuda::warp_barrier(~0u, false, {file, line});
}

}  // namespace wmma
}  // namespace nvcuda
