// Normalisations and their gradients: a block takes a set of numbers with one mean and one variance.

// Where the numbers of a set lie, and which channel each has: runs of neighbours, `jump` apart.  A
// set's channels come after one another, `pixels` numbers of each.
struct Sets {
    int length, run, jump, step;  // step: from the first number of a set to that of the next
    int groups, depth, pixels;    // set i has the channels of group i % groups, `depth` of them

    template <typename I> __device__ I address(I set, int k) const
    {
        return set * step + (I)(k / run) * jump + k % run;
    }
    __device__ int channel(unsigned set, int k) const
    {
        return (int)(set % groups) * depth + k / pixels;
    }
};

// The moments of a block's set, in two passes: the difference of large squares loses the variance.
template <typename T, typename A, typename I>
struct Moments {
    const T* x;
    const Sets& sets;
    A mean, squares;  // the sum of the squared distances from the mean

    // Every thread of the block takes part; if not `centred`, the mean is taken to be 0.
    __device__ Moments(const T* from, const Sets& of, int centred) : x(from), sets(of), mean(0)
    {
        if (centred) {
            A sum = A(0);
            for (int k = threadIdx.x; k < sets.length; k += blockDim.x) sum += number(k);
            mean = sum_for_all(sum) / A(sets.length);
        }
        A sum = A(0);
        for (int k = threadIdx.x; k < sets.length; k += blockDim.x)
            sum += (number(k) - mean) * (number(k) - mean);
        squares = sum_for_all(sum);
    }
    __device__ A number(int k) const { return (A)x[sets.address<I>(blockIdx.x, k)]; }
    __device__ A root(A eps) const { return square_root(squares / A(sets.length) + eps); }
};

template <typename T, typename A>
__device__ A scaled(A value, const T* weight, const T* bias, int channel)
{
    if (weight) value *= (A)weight[channel];
    return bias ? value + (A)bias[channel] : value;
}

// y = (x - mean) / sqrt(variance + eps) * weight + bias
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
normalise(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias,
          T* __restrict__ y, Sets sets, int centred, A eps)
{
    const Moments<T, A, I> of(x, sets, centred);
    const A root = of.root(eps);
    for (int k = threadIdx.x; k < sets.length; k += blockDim.x) {
        const A xhat = (of.number(k) - of.mean) / root;
        y[sets.address<I>(blockIdx.x, k)] =
            (T)scaled(xhat, weight, bias, sets.channel(blockIdx.x, k));
    }
}

// dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(variance + eps), g = dy weight
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
normalise_grad_x(const T* __restrict__ dy, const T* __restrict__ x, const T* __restrict__ weight,
                 T* __restrict__ dx, Sets sets, int centred, A eps)
{
    const Moments<T, A, I> of(x, sets, centred);
    const A root = of.root(eps), inverse = A(1) / root;
    const T* none = nullptr;
    A sum = A(0), along = A(0);
    for (int k = threadIdx.x; k < sets.length; k += blockDim.x) {
        const A g = scaled((A)dy[sets.address<I>(blockIdx.x, k)], weight, none,
                           sets.channel(blockIdx.x, k));
        sum += g;
        along += g * ((of.number(k) - of.mean) * inverse);  // g times x alone may overflow
    }
    const A mean = centred ? sum_for_all(sum) / A(sets.length) : A(0);
    along = sum_for_all(along) / A(sets.length);
    for (int k = threadIdx.x; k < sets.length; k += blockDim.x) {
        const I at = sets.address<I>(blockIdx.x, k);
        const A g = scaled((A)dy[at], weight, none, sets.channel(blockIdx.x, k));
        dx[at] = (T)((g - mean - (of.number(k) - of.mean) / root * along) / root);
    }
}

// The mean of each set, and sqrt(variance + eps)
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
set_moments(const T* __restrict__ x, A* __restrict__ means, A* __restrict__ roots, Sets sets,
            int centred, A eps)
{
    const Moments<T, A, I> of(x, sets, centred);
    if (threadIdx.x) return;
    means[blockIdx.x] = of.mean;
    roots[blockIdx.x] = of.root(eps);
}

// dw[c] = sum of dy (x - mean) / root over images and pixels of x [N, C, pixels], a block per
// channel; the moments are those of set n * sets_per_image + c / depth.
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
normalise_grad_weight(const T* __restrict__ dy, const T* __restrict__ x,
                      const A* __restrict__ means, const A* __restrict__ roots,
                      T* __restrict__ dw, I images, I channels, I pixels, I sets_per_image,
                      I depth)
{
    const I c = blockIdx.x;
    A sum = A(0);
    for (I term = threadIdx.x; term < images * pixels; term += blockDim.x) {
        const I n = term / pixels, set = n * sets_per_image + c / depth;
        const I at = (n * channels + c) * pixels + term % pixels;
        sum += (A)dy[at] * (((A)x[at] - means[set]) / roots[set]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dw[c] = (T)sum;
}

// With given moments of channels: y of x [N, C, pixels], or dx of dy, whose mean is no function of x
template <typename T, typename A, typename I>
__global__ void normalise_given(const T* __restrict__ x, const T* __restrict__ running_mean,
                                const T* __restrict__ running_var, const T* __restrict__ weight,
                                const T* __restrict__ bias, T* __restrict__ y, I count,
                                I channels, I pixels, A eps)
{
    for (I at = first<I>(); at < count; at += step<I>()) {
        const I c = at / pixels % channels;
        const A root = square_root((A)running_var[c] + eps);
        y[at] = (T)scaled(((A)x[at] - (A)running_mean[c]) / root, weight, bias, (int)c);
    }
}

template <typename T, typename A, typename I>
__global__ void normalise_given_grad_x(const T* __restrict__ dy, const T* __restrict__ running_var,
                                       const T* __restrict__ weight, T* __restrict__ dx, I count,
                                       I channels, I pixels, A eps)
{
    const T* none = nullptr;
    for (I at = first<I>(); at < count; at += step<I>()) {
        const I c = at / pixels % channels;
        const A g = scaled((A)dy[at], weight, none, (int)c);
        dx[at] = (T)(g / square_root((A)running_var[c] + eps));
    }
}

template <typename T, typename A, typename I>
__global__ void given_moments(const T* __restrict__ running_mean,
                              const T* __restrict__ running_var, A* __restrict__ means,
                              A* __restrict__ roots, I channels, A eps)
{
    for (I c = first<I>(); c < channels; c += step<I>()) {
        means[c] = (A)running_mean[c];
        roots[c] = square_root((A)running_var[c] + eps);
    }
}

// new = (1 - momentum) old + momentum of the batch, whose variance is unbiased
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
running_moments(const T* __restrict__ x, const T* __restrict__ old_mean,
                const T* __restrict__ old_var, T* __restrict__ new_mean, T* __restrict__ new_var,
                Sets sets, A momentum)
{
    const Moments<T, A, I> of(x, sets, 1);
    const int c = blockIdx.x;
    if (threadIdx.x) return;
    new_mean[c] = (T)((A(1) - momentum) * (A)old_mean[c] + momentum * of.mean);
    new_var[c] = (T)((A(1) - momentum) * (A)old_var[c] +
                     momentum * (of.squares / A(sets.length - 1)));
}
