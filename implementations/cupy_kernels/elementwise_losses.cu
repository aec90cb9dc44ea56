// Losses of every element of input and target [N, C], and their gradients.

// Each loss is rounded to y, or, where there is no y, kept in `terms` for a sum.
template <typename A, typename T, typename I, typename F>
__device__ void each_loss(const T* x, const T* t, T* y, A* terms, I count, F loss)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const A found = loss((A)x[at], (A)t[at], at);
        if (y)
            y[at] = (T)found;
        else
            terms[at] = found;
    }
}

// dx = share slope(x, t), where the share is dy / divisor: `each` element has one, or all have one.
template <typename A, typename T, typename I, typename F>
__device__ void each_grad(const T* dy, const T* x, const T* t, T* dx, A divisor, int each, I count,
                          F gradient)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const A share = (A)dy[each ? at : 0] / divisor;
        dx[at] = (T)gradient(share, (A)x[at], (A)t[at], at);
    }
}

// (x - t)^2
template <typename T, typename A, typename I>
__global__ void mse_loss(const T* __restrict__ x, const T* __restrict__ t, T* __restrict__ y,
                         A* __restrict__ terms, I count)
{
    each_loss(x, t, y, terms, count, [](A x, A t, I) { return (x - t) * (x - t); });
}

// The gradient by the input has factor 1, that by the target -1; so below.
template <typename T, typename A, typename I>
__global__ void mse_loss_grad(const T* __restrict__ dy, const T* __restrict__ x,
                              const T* __restrict__ t, T* __restrict__ dx, A factor, A divisor,
                              int each, I count)
{
    each_grad(dy, x, t, dx, divisor, each, count,
              [=](A share, A x, A t, I) { return factor * (A(2) * share * (x - t)); });
}

// |x - t|
template <typename T, typename A, typename I>
__global__ void l1_loss(const T* __restrict__ x, const T* __restrict__ t, T* __restrict__ y,
                        A* __restrict__ terms, I count)
{
    each_loss(x, t, y, terms, count, [](A x, A t, I) { return x < t ? t - x : x - t; });
}

// The sign of 0 is 0, and that of what is no number none.
template <typename T, typename A, typename I>
__global__ void l1_loss_grad(const T* __restrict__ dy, const T* __restrict__ x,
                             const T* __restrict__ t, T* __restrict__ dx, A factor, A divisor,
                             int each, I count)
{
    each_grad(dy, x, t, dx, divisor, each, count, [=](A share, A x, A t, I) {
        const A apart = x - t;
        return factor * share * (apart > A(0) ? A(1) : apart < A(0) ? A(-1) : A(0) * apart);
    });
}

// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = x - t
template <typename T, typename A, typename I>
__global__ void huber_loss(const T* __restrict__ x, const T* __restrict__ t, T* __restrict__ y,
                           A* __restrict__ terms, A delta, I count)
{
    each_loss(x, t, y, terms, count, [=](A x, A t, I) {
        const A size = x < t ? t - x : x - t;
        return size <= delta ? size * size / A(2) : delta * (size - delta / A(2));
    });
}

template <typename T, typename A, typename I>
__global__ void huber_loss_grad(const T* __restrict__ dy, const T* __restrict__ x,
                                const T* __restrict__ t, T* __restrict__ dx, A delta, A factor,
                                A divisor, int each, I count)
{
    each_grad(dy, x, t, dx, divisor, each, count, [=](A share, A x, A t, I) {
        const A apart = x - t;
        return factor * share * (apart > delta ? delta : apart < -delta ? -delta : apart);
    });
}

// (1 - t) x + (1 + (p - 1) t) log(1 + e^-x), p the weight of the element's class
template <typename T, typename A, typename I>
__global__ void bce_with_logits(const T* __restrict__ x, const T* __restrict__ t,
                                const T* __restrict__ weight, T* __restrict__ y,
                                A* __restrict__ terms, I classes, I count)
{
    each_loss(x, t, y, terms, count, [=](A x, A t, I at) {
        const A factor = weight ? A(1) + ((A)weight[at % classes] - A(1)) * t : A(1);
        return (A(1) - t) * x + factor * log_of_one_plus_exp(-x);
    });
}

// s (1 - t) - p t (1 - s), s = 1 / (1 + e^-x)
template <typename T, typename A, typename I>
__global__ void bce_with_logits_grad(const T* __restrict__ dy, const T* __restrict__ x,
                                     const T* __restrict__ t, const T* __restrict__ weight,
                                     T* __restrict__ dx, A divisor, int each, I classes, I count)
{
    each_grad(dy, x, t, dx, divisor, each, count, [=](A share, A x, A t, I at) {
        const A on = weight ? (A)weight[at % classes] * t : t;
        return share * (logistic(x) * (A(1) - t) - on * logistic(-x));
    });
}

// t (log t - x), 0 where t = 0; of targets that are logarithms, e^t (t - x)
template <typename T, typename A, typename I>
__global__ void kl_div(const T* __restrict__ x, const T* __restrict__ t, T* __restrict__ y,
                       A* __restrict__ terms, int logarithms, I count)
{
    each_loss(x, t, y, terms, count, [=](A x, A t, I) {
        if (logarithms) return exponential(t) * (t - x);
        return t > A(0) ? t * (logarithm(t) - x) : A(0) * t;
    });
}

template <typename T, typename A, typename I>
__global__ void kl_div_grad(const T* __restrict__ dy, const T* __restrict__ x,
                            const T* __restrict__ t, T* __restrict__ dx, int logarithms,
                            A divisor, int each, I count)
{
    each_grad(dy, x, t, dx, divisor, each, count, [=](A share, A, A t, I) {
        if (logarithms) return -(share * exponential(t));
        return t > A(0) ? -(share * t) : A(0);
    });
}
