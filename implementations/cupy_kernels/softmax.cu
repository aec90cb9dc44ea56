// Softmax along any axis: an array [outer, length, inner] has outer * inner lines of `length`
// elements, `inner` apart.  One thread takes a line.  Its largest logit is taken off before any
// exponential, so that none overflows; a logit of minus infinity has probability 0.

template <typename T, typename A, typename I>
struct Line {
    const T* z;
    I length, inner;
    A top, normalizer;  // the largest logit, and sum_k e^(z_k - top)

    __device__ Line(const T* from, I count, I apart) : z(from), length(count), inner(apart)
    {
        top = (A)z[0];
        for (I k = 1; k < length; ++k)
            if ((A)z[k * inner] > top) top = (A)z[k * inner];
        normalizer = A(0);
        for (I k = 0; k < length; ++k) normalizer += power(k);
    }
    __device__ A power(I k) const { return exponential((A)z[k * inner] - top); }
    __device__ A probability(I k) const { return power(k) / normalizer; }
};

template <typename I> __device__ I start_of(I line, I length, I inner)
{
    return line / inner * length * inner + line % inner;
}

// p_k = e^(z_k - top) / normalizer
template <typename T, typename A, typename I>
__global__ void softmax(const T* __restrict__ z, T* __restrict__ p, I lines, I length, I inner)
{
    for (I at = first<I>(); at < lines; at += step<I>()) {
        const I start = start_of(at, length, inner);
        const Line<T, A, I> line(z + start, length, inner);
        for (I k = 0; k < length; ++k) p[start + k * inner] = (T)line.probability(k);
    }
}

// dz_k = p_k (dp_k - sum_l dp_l p_l)
template <typename T, typename A, typename I>
__global__ void softmax_grad(const T* __restrict__ dp, const T* __restrict__ z, T* __restrict__ dz,
                             I lines, I length, I inner)
{
    for (I at = first<I>(); at < lines; at += step<I>()) {
        const I start = start_of(at, length, inner);
        const Line<T, A, I> line(z + start, length, inner);
        A mean = A(0);
        for (I k = 0; k < length; ++k) mean += (A)dp[start + k * inner] * line.probability(k);
        for (I k = 0; k < length; ++k)
            dz[start + k * inner] = (T)(line.probability(k) * ((A)dp[start + k * inner] - mean));
    }
}

// y_k = z_k - top - log normalizer
template <typename T, typename A, typename I>
__global__ void log_softmax(const T* __restrict__ z, T* __restrict__ y, I lines, I length, I inner)
{
    for (I at = first<I>(); at < lines; at += step<I>()) {
        const I start = start_of(at, length, inner);
        const Line<T, A, I> line(z + start, length, inner);
        const A below = logarithm(line.normalizer);
        for (I k = 0; k < length; ++k)
            y[start + k * inner] = (T)((A)z[start + k * inner] - line.top - below);
    }
}

// dz_k = dy_k - p_k sum_l dy_l
template <typename T, typename A, typename I>
__global__ void log_softmax_grad(const T* __restrict__ dy, const T* __restrict__ z,
                                 T* __restrict__ dz, I lines, I length, I inner)
{
    for (I at = first<I>(); at < lines; at += step<I>()) {
        const I start = start_of(at, length, inner);
        const Line<T, A, I> line(z + start, length, inner);
        A sum = A(0);
        for (I k = 0; k < length; ++k) sum += (A)dy[start + k * inner];
        for (I k = 0; k < length; ++k)
            dz[start + k * inner] = (T)((A)dy[start + k * inner] - line.probability(k) * sum);
    }
}
