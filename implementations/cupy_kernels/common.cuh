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

__device__ inline float exponential(float z) { return expf(z); }
__device__ inline double exponential(double z) { return exp(z); }
__device__ inline float logarithm(float z) { return logf(z); }
__device__ inline double logarithm(double z) { return log(z); }
__device__ inline float hyperbolic_tangent(float z) { return tanhf(z); }
__device__ inline double hyperbolic_tangent(double z) { return tanh(z); }
