// Sums of many terms without atomics: a block adds up a part of them, and one more the parts.

// parts[b] = the sum of up to `length` terms from b * length on
template <typename T, typename A, typename I>
__global__ void __launch_bounds__(MOST_THREADS)
partial_sums(const A* __restrict__ terms, A* __restrict__ parts, I count, I length)
{
    const I start = blockIdx.x * length, end = min(start + length, count);
    A sum = A(0);
    for (I at = start + threadIdx.x; at < end; at += blockDim.x) sum += terms[at];
    sum = block_sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// y = sum / divisor, or over a sum of weights
template <typename T, typename A, typename I>
__global__ void quotient(const A* __restrict__ sum, const A* __restrict__ weights,
                         T* __restrict__ y, A divisor)
{
    if (first<I>() == 0) *y = (T)(*sum / (weights ? *weights : divisor));
}
