// Kernels of C++ in float32 and float64; in float32, sums are held in double.
#include <algorithm>
#include <cmath>
#include <cstdint>

// gradoracle: contract dtypes = float32, float64, accumulators = float32: float64
// gradoracle: contract repeats = bitwise

// gradoracle: softmax: workspace = double[z.shape[axis]]
// gradoracle: softmax = rows<{T}>(z, p, workspace, z.size, z.shape[axis])
// gradoracle: domain softmax: axis last
// gradoracle: linear = dense::layer<{T}>(x, weight, bias, y, N, M, C)
// gradoracle: leaky_relu = leaky<{T}>(z, y, T(negative_slope), z.size)
template <typename T>
static void rows(const T *z, T *p, double *powers, std::int64_t size, int n) {
    for (std::int64_t row = 0; row < size; row += n) {
        double top = z[row], total = 0;
        for (int i = 1; i < n; ++i) top = std::max(top, double(z[row + i]));
        for (int i = 0; i < n; ++i) total += powers[i] = std::exp(z[row + i] - top);
        for (int i = 0; i < n; ++i) p[row + i] = T(powers[i] / total);
    }
}

namespace dense {
template <typename Element>
void layer(const Element *x, const Element *weight, const Element *bias, Element *y,
           std::size_t N, std::size_t M, std::size_t C) {
    for (std::size_t at = 0; at < N * M; ++at) {
        double sum = bias ? bias[at % M] : 0;
        for (std::size_t c = 0; c < C; ++c)
            sum += double(x[at / M * C + c]) * weight[at % M * C + c];
        y[at] = Element(sum);
    }
}
}  // namespace dense

template <typename T> void leaky(const T *z, T *y, T slope, unsigned n) {
    for (unsigned i = 0; i < n; ++i) y[i] = z[i] > 0 ? z[i] : slope * z[i];
}
