// Losses of rows of log-probabilities or logits [rows, classes]: one thread takes a row.

// A row of logits; its largest is taken off before any exponential.
template <typename T, typename A, typename I>
struct Logits {
    const T* z;
    A top, normalizer;  // the largest logit, and sum_c e^(z_c - top)

    __device__ Logits(const T* row, I classes) : z(row), top((A)row[0]), normalizer(0)
    {
        for (I c = 1; c < classes; ++c)
            if ((A)z[c] > top) top = (A)z[c];
        for (I c = 0; c < classes; ++c) normalizer += exponential((A)z[c] - top);
    }
    __device__ A probability(I c) const { return exponential((A)z[c] - top) / normalizer; }
    __device__ A loss(I c) const { return logarithm(normalizer) - ((A)z[c] - top); }
};

template <typename A, typename T> __device__ A weight_of(const T* weight, long long c)
{
    return weight ? (A)weight[c] : A(1);
}

// A row's loss: rounded to y, or, where there is no y, kept with its weight for a sum.
template <typename T, typename A, typename I>
struct Losses {
    T* y;
    A *terms, *weights;

    __device__ void store(I n, A loss, A weight) const
    {
        if (y) {
            y[n] = (T)loss;
        } else {
            terms[n] = loss;
            weights[n] = weight;
        }
    }
};

// -w[t] x[n,t], 0 of what is ignored
template <typename T, typename A, typename I>
__global__ void nll_loss(const T* __restrict__ x, const long long* __restrict__ target,
                         const T* __restrict__ weight, T* __restrict__ y, A* __restrict__ terms,
                         A* __restrict__ weights, long long ignored, I rows, I classes)
{
    const Losses<T, A, I> losses{y, terms, weights};
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const bool counts = target[n] != ignored;
        const A w = counts ? weight_of<A>(weight, target[n]) : A(0);
        losses.store(n, counts ? -(A)x[n * classes + target[n]] * w : A(0), w);
    }
}

// dE/d(loss) of a row: dy, or that over the sum of all rows' weights
template <typename A, typename T, typename I>
__device__ A share_of(const T* dy, const A* total, int each, I n)
{
    const A share = (A)dy[each ? n : 0];
    return total ? share / *total : share;
}

template <typename T, typename A, typename I>
__global__ void nll_loss_grad(const T* __restrict__ dy, const long long* __restrict__ target,
                              const T* __restrict__ weight, const A* __restrict__ total,
                              T* __restrict__ dx, int each, long long ignored, I rows, I classes)
{
    for (I at = first<I>(); at < rows * classes; at += step<I>()) {
        const I n = at / classes;
        const bool here = target[n] == at % classes && target[n] != ignored;
        dx[at] = (T)(here ? -(share_of(dy, total, each, n) * weight_of<A>(weight, target[n]))
                          : A(0));
    }
}

// (1 - s) w[t] q[t] + s / classes sum_c w[c] q[c], q the losses of the classes; 0 of what is ignored
template <typename T, typename A, typename I>
__global__ void cross_entropy_loss(const T* __restrict__ z, const long long* __restrict__ target,
                                   const T* __restrict__ weight, T* __restrict__ y,
                                   A* __restrict__ terms, A* __restrict__ weights, A smoothing,
                                   long long ignored, I rows, I classes)
{
    const Losses<T, A, I> losses{y, terms, weights};
    for (I n = first<I>(); n < rows; n += step<I>()) {
        if (target[n] == ignored) {
            losses.store(n, A(0), A(0));
            continue;
        }
        const Logits<T, A, I> row(z + n * classes, classes);
        const A w = weight_of<A>(weight, target[n]);
        A loss = row.loss((I)target[n]) * w;
        if (smoothing > A(0)) {
            A every = A(0);
            for (I c = 0; c < classes; ++c) every += row.loss(c) * weight_of<A>(weight, c);
            loss = (A(1) - smoothing) * loss + smoothing / A(classes) * every;
        }
        losses.store(n, loss, w);
    }
}

// dz = share (p sum_c v[c] - v), v the labels with their weights
template <typename T, typename A, typename I>
__global__ void cross_entropy_loss_grad(const T* __restrict__ dy, const T* __restrict__ z,
                                        const long long* __restrict__ target,
                                        const T* __restrict__ weight, const A* __restrict__ total,
                                        T* __restrict__ dz, A smoothing, int each,
                                        long long ignored, I rows, I classes)
{
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const bool counts = target[n] != ignored;
        const Logits<T, A, I> row(z + n * classes, classes);
        const auto label = [&](I c) {
            const A own = c == target[n] ? A(1) - smoothing : A(0);
            const A part = own + smoothing / A(classes);
            return part == A(0) ? A(0) : part * weight_of<A>(weight, c);  // a weight may be NaN
        };
        const A share = share_of(dy, total, each, n);
        A sum = A(0);
        for (I c = 0; c < classes; ++c) sum += label(c);
        for (I c = 0; c < classes; ++c) {
            const A slope = row.probability(c) * sum - label(c);
            dz[n * classes + c] = (T)(counts ? share * slope : A(0));
        }
    }
}
