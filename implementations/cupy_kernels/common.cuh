// What the kernels share; the loader puts this text before each of them.
//
// Every kernel is a template of the elements T, of A, which sums are held in, and of I, which
// counts elements: int, or long long where the arrays are too long for it.

#ifdef WITH_FLOAT16
#include <cuda_fp16.h>
#endif
#ifdef WITH_BFLOAT16
#include <cuda_bf16.h>
#endif

// The loop of one thread over its elements: for (I at = first<I>(); at < count; at += step<I>())
template <typename I> __device__ I first() { return (I)blockIdx.x * blockDim.x + threadIdx.x; }
template <typename I> __device__ I step() { return (I)gridDim.x * blockDim.x; }

#define MOST_THREADS 256

// Return to thread 0 the sum of all threads' parts, and 0 to the others.  Parts are added in pairs,
// always the same ones, so that the same call gives the same bits.  The block's threads are a power
// of two, at most MOST_THREADS.
template <typename A>
__device__ A block_sum(A part)
{
    __shared__ A parts[MOST_THREADS];
    parts[threadIdx.x] = part;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    return threadIdx.x == 0 ? parts[0] : A(0);
}

#define LANES 32

// The lanes of a warp that a block has: all, or those of a block of fewer threads.
__device__ inline unsigned lanes() { return blockDim.x < LANES ? blockDim.x : LANES; }
__device__ inline unsigned mask() { return 0xffffffffu >> (LANES - lanes()); }

// Return the sum of all threads' parts to every one of them: of a warp by shuffles, then of the
// warps in order, so that the same call gives the same bits.  The block's threads are whole warps,
// at most MOST_THREADS, or a power of two below that of a warp.
template <typename A>
__device__ A sum_for_all(A part)
{
    __shared__ A parts[MOST_THREADS / LANES];
    for (int apart = lanes() / 2; apart > 0; apart /= 2)
        part += __shfl_xor_sync(mask(), part, apart);
    if (threadIdx.x % LANES == 0) parts[threadIdx.x / LANES] = part;
    __syncthreads();
    A sum = parts[0];
    for (unsigned warp = 1; warp < blockDim.x / LANES; ++warp) sum += parts[warp];
    __syncthreads();  // before the next sum's parts take their places
    return sum;
}

__device__ inline float exponential(float z) { return expf(z); }
__device__ inline double exponential(double z) { return exp(z); }
__device__ inline float logarithm(float z) { return logf(z); }
__device__ inline double logarithm(double z) { return log(z); }
__device__ inline float hyperbolic_tangent(float z) { return tanhf(z); }
__device__ inline double hyperbolic_tangent(double z) { return tanh(z); }
__device__ inline float exponential_less_one(float z) { return expm1f(z); }
__device__ inline double exponential_less_one(double z) { return expm1(z); }
__device__ inline float logarithm_of_one_plus(float z) { return log1pf(z); }
__device__ inline double logarithm_of_one_plus(double z) { return log1p(z); }
__device__ inline float error_function(float z) { return erff(z); }
__device__ inline double error_function(double z) { return erf(z); }
__device__ inline float square_root(float z) { return sqrtf(z); }
__device__ inline double square_root(double z) { return sqrt(z); }

// e^-|z|, which never overflows; what is no number stays none.
template <typename A> __device__ A decay(A z) { return exponential(z > A(0) ? -z : z); }

// 1 / (1 + e^-z)
template <typename A> __device__ A logistic(A z)
{
    const A e = decay(z);
    return (z >= A(0) ? A(1) : e) / (A(1) + e);
}

// log(1 + e^z)
template <typename A> __device__ A log_of_one_plus_exp(A z)
{
    return (z < A(0) ? A(0) : z) + logarithm_of_one_plus(decay(z));
}
