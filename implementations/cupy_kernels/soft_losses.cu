// The cross-entropy of logits and probabilities [rows, classes]: one thread takes a row.

// A row of logits and of targets, smoothed and weighted.
template <typename T, typename A, typename I>
struct SoftRow {
    const T *z, *target, *weight;
    A smoothing;
    I classes;
    A top, normalizer;  // the largest logit, and sum_c e^(z_c - top)

    __device__ SoftRow(const T* logits, const T* targets, const T* weights, A smooth, I count)
        : z(logits), target(targets), weight(weights), smoothing(smooth), classes(count),
          top((A)logits[0]), normalizer(0)
    {
        for (I c = 1; c < classes; ++c)
            if ((A)z[c] > top) top = (A)z[c];
        for (I c = 0; c < classes; ++c) normalizer += exponential((A)z[c] - top);
    }
    __device__ A weight_of(I c) const { return weight ? (A)weight[c] : A(1); }
    __device__ A label(I c) const
    {
        const A smooth = (A(1) - smoothing) * (A)target[c] + smoothing / A(classes);
        return smooth * weight_of(c);
    }
    __device__ A probability(I c) const { return exponential((A)z[c] - top) / normalizer; }
    __device__ A loss(I c) const { return logarithm(normalizer) - ((A)z[c] - top); }
};

// sum_c v[c] q[c], v the labels and q the losses of the classes: rounded to y, or, where there is
// no y, kept in `terms` for a sum
template <typename T, typename A, typename I>
__global__ void soft_target_loss(const T* __restrict__ z, const T* __restrict__ target,
                                 const T* __restrict__ weight, T* __restrict__ y,
                                 A* __restrict__ terms, A smoothing, I rows, I classes)
{
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const SoftRow<T, A, I> row(z + n * classes, target + n * classes, weight, smoothing,
                                   classes);
        A loss = A(0);
        for (I c = 0; c < classes; ++c) loss += row.label(c) * row.loss(c);
        if (y)
            y[n] = (T)loss;
        else
            terms[n] = loss;
    }
}

// dz = share (p sum_c v[c] - v), share = dy / divisor
template <typename T, typename A, typename I>
__global__ void soft_target_grad_input(const T* __restrict__ dy, const T* __restrict__ z,
                                       const T* __restrict__ target,
                                       const T* __restrict__ weight, T* __restrict__ dz,
                                       A smoothing, A divisor, int each, I rows, I classes)
{
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const SoftRow<T, A, I> row(z + n * classes, target + n * classes, weight, smoothing,
                                   classes);
        const A share = (A)dy[each ? n : 0] / divisor;
        A sum = A(0);
        for (I c = 0; c < classes; ++c) sum += row.label(c);
        for (I c = 0; c < classes; ++c)
            dz[n * classes + c] = (T)(share * (row.probability(c) * sum - row.label(c)));
    }
}

// dt = share (1 - s) w[c] q[c]
template <typename T, typename A, typename I>
__global__ void soft_target_grad_target(const T* __restrict__ dy, const T* __restrict__ z,
                                        const T* __restrict__ target,
                                        const T* __restrict__ weight, T* __restrict__ dt,
                                        A smoothing, A divisor, int each, I rows, I classes)
{
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const SoftRow<T, A, I> row(z + n * classes, target + n * classes, weight, smoothing,
                                   classes);
        const A share = (A)dy[each ? n : 0] / divisor;
        for (I c = 0; c < classes; ++c)
            dt[n * classes + c] =
                (T)(share * row.loss(c) * (A(1) - smoothing) * row.weight_of(c));
    }
}
