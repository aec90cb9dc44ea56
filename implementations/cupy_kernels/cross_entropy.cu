// Cross-entropy of logits [rows, classes]: one thread takes a row, and one block adds the rows up.

template <typename T, typename A, typename I>
__device__ A largest(const T* z, I classes)
{
    A top = (A)z[0];
    for (I c = 1; c < classes; ++c)
        if ((A)z[c] > top) top = (A)z[c];
    return top;
}

template <typename T, typename A, typename I>
__device__ A normalizer(const T* z, I classes, A top)
{
    A sum = A(0);
    for (I c = 0; c < classes; ++c) sum += exponential((A)z[c] - top);
    return sum;
}

// losses[n] = log sum_c e^(z[n,c] - top) - (z[n,target[n]] - top)
template <typename T, typename A, typename I>
__global__ void row_losses(const T* __restrict__ logits, const long long* __restrict__ target,
                           A* __restrict__ losses, I rows, I classes)
{
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const T* z = logits + n * classes;
        const A top = largest<T, A, I>(z, classes);
        losses[n] = logarithm(normalizer<T, A, I>(z, classes, top)) - ((A)z[target[n]] - top);
    }
}

// loss = sum_n losses[n] / divisor, in one block
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
total_loss(const A* __restrict__ losses, T* __restrict__ loss, A divisor, I rows)
{
    A sum = A(0);
    for (I n = threadIdx.x; n < rows; n += blockDim.x) sum += losses[n];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *loss = (T)(sum / divisor);
}

// dz[n,c] = (softmax(z[n])[c] - 1[c = target[n]]) / divisor
template <typename T, typename A, typename I>
__global__ void cross_entropy_grad(const T* __restrict__ logits,
                                   const long long* __restrict__ target, T* __restrict__ dz,
                                   A divisor, I rows, I classes)
{
    for (I n = first<I>(); n < rows; n += step<I>()) {
        const T* z = logits + n * classes;
        const A top = largest<T, A, I>(z, classes);
        const A sum = normalizer<T, A, I>(z, classes, top);
        for (I c = 0; c < classes; ++c) {
            const A p = exponential((A)z[c] - top) / sum;
            dz[n * classes + c] = (T)((c == target[n] ? p - A(1) : p) / divisor);
        }
    }
}
