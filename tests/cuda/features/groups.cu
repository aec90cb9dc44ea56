// Groups, grids, votes, halves, textures, random numbers and hints, as samples and courses use them.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <curand_kernel.h>
#include <cublas_v2.h>
#include <vector>
namespace cg = cooperative_groups;
__device__ float partial[64];

// the sum of x by a barrier of the grid
__global__ void grid_sum(const float *x, float *y, int n) {
    cg::grid_group grid = cg::this_grid();
    cg::thread_block block = cg::this_thread_block();
    __shared__ float mine;
    if (threadIdx.x == 0) mine = 0;
    block.sync();
    for (int i = grid.thread_rank(); i < n; i += grid.size()) atomicAdd(&mine, x[i]);
    block.sync();
    if (threadIdx.x == 0) partial[blockIdx.x] = mine;
    grid.sync();  // fault grid_sum_unordered: block.sync();
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0) {  // the last block's shared memory is still its own
        float sum = mine - partial[blockIdx.x];
        for (int b = 0; b < gridDim.x; ++b) sum += partial[b];
        *y = sum;
    }
}
// y = sum of x, of halves in pairs
__global__ void half_pairs(const float *x, float *y, int n) {
    __shared__ half2 sums[32];
    half2 sum = __float2half2_rn(0.0f);
    for (int i = threadIdx.x; 2 * i + 1 < n; i += 32) sum = __hadd2(sum, __floats2half2_rn(x[2 * i], x[2 * i + 1]));
    sums[threadIdx.x] = sum;
    __syncwarp();  // fault half_pairs_unordered: removed
    if (threadIdx.x == 0) {
        half2 total = sums[0];
        for (int i = 1; i < 32; ++i) total += sums[i];  // fault half_pairs_one_short: for (int i = 1; i < 31; ++i) total += sums[i];
        *y = __low2float(total) + __half2float(__high2half(total)) + (n % 2 ? x[n - 1] : 0.0f);
    }
}
// y = sum of x, a bfloat16 that threads add to
__global__ void bf16_atomics(const float *x, float *y, int n) {
    __shared__ __nv_bfloat16 sum[2];
    if (threadIdx.x < 2) sum[threadIdx.x] = __float2bfloat16(0.0f);
    __syncthreads();  // fault bf16_atomics_unordered: removed
    for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&sum[i % 2], __float2bfloat16_rn(x[i]));
    __syncthreads();
    if (threadIdx.x == 0) *y = __bfloat162float(sum[0]) + __bfloat162float(__hadd(sum[1], __float2bfloat16(0.0f)));
}
// y = sum of x, of integers over a warp
__global__ void reduced(const float *x, float *y, int n) {
    int mine = 0;
    for (int i = threadIdx.x; i < n; i += 32) mine += __float2int_rn(__ldcs(x + i));  // fault reduced_rounded: for (int i = threadIdx.x; i < n; i += 32) mine += __float2int_rd(__ldcs(x + i) / 2) * 2;
    int sum = __reduce_add_sync(0xffffffffu, mine);  // fault reduced_half: int sum = __reduce_add_sync(0x0000ffffu, mine);
    if (threadIdx.x == 0) __stcs(y, __int2float_rn(sum));
}
// y = sum of x, over tiles of 8
__global__ void tiles(const float *x, float *y, int n) {
    auto tile = cg::tiled_partition<8>(cg::this_thread_block());
    float mine = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine += x[i];
    float sum = cg::reduce(tile, mine, cg::plus<float>());
    if (tile.thread_rank() == 0) atomicAdd(y, sum);  // fault tiles_all: atomicAdd(y, sum);
}
// y = sum of x by a barrier in shared memory, on which half of the threads wait
__global__ void barriers(const float *x, float *y, int n) {
    __shared__ float parts[64];
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    if (threadIdx.x == 0) init(&bar, blockDim.x);
    __syncthreads();
    float mine = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) mine += x[i];
    parts[threadIdx.x] = mine;
    auto token = bar.arrive();
    if (threadIdx.x >= blockDim.x / 2) return;
    bar.wait(std::move(token));  // fault barriers_no_wait: removed
    if (threadIdx.x == 0) {
        float sum = 0;
        for (int i = 0; i < blockDim.x; ++i) sum += parts[i];
        *y = sum;
    }
}
// y = sum of x by copies in two stages
__global__ void stages(const float *x, float *y, int n) {
    __shared__ float tile[2][32];
    auto pipe = cuda::make_pipeline();
    float sum = 0;
    const int count = n / 32;
    for (int fetched = 0, used = 0; used < count; ++used) {
        for (; fetched < count && fetched < used + 2; ++fetched) {  // fault stages_three: for (; fetched < count && fetched < used + 3; ++fetched) {
            pipe.producer_acquire();
            cuda::memcpy_async(&tile[fetched % 2][threadIdx.x], x + 32 * fetched + threadIdx.x, sizeof(float), pipe);
            pipe.producer_commit();
        }
        pipe.consumer_wait();  // fault stages_no_wait: removed
        __syncwarp();
        sum += tile[used % 2][31 - threadIdx.x];
        __syncwarp();  // fault stages_no_second_barrier: removed
        pipe.consumer_release();
    }
    for (int by = 16; by; by /= 2) sum += __shfl_down_sync(0xffffffffu, sum, by);
    if (threadIdx.x == 0) {
        for (int i = 32 * count; i < n; ++i) sum += x[i];
        *y = sum;
    }
}
// y = sum of x, of a copy that the block shares
__global__ void block_copy(const float *x, float *y, int n) {
    extern __shared__ float copy[];
    cg::thread_block block = cg::this_thread_block();
    cg::memcpy_async(block, copy, x, sizeof(float) * n);
    cg::wait(block);  // fault block_copy_no_wait: block.sync();
    if (block.thread_rank() == 0) {
        float sum = 0;
        for (int i = 0; i < n; ++i) sum += copy[i];
        *y = sum;
    }
}
// y = sum of x by instructions
__global__ void instructions(const float *x, float *y, int n) {
    float sum = 0;
    unsigned lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    for (int i = lane; i < n; i += 32) {
        float v;
        asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(v) : "l"(x + i));  // fault instructions_past: asm volatile("ld.global.nc.f32 %0, [%1 + 4];" : "=f"(v) : "l"(x + i));
        asm("add.f32 %0, %0, %1;" : "+f"(sum) : "f"(v));
    }
    for (int by = 16; by; by /= 2) {
        float other;
        asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(other) : "f"(sum), "r"(by));
        sum += other;
    }
    asm volatile("{ .reg .pred p; setp.eq.u32 p, %2, 0; @p red.global.add.f32 [%0], %1; }" ::"l"(y), "f"(sum), "r"(lane) : "memory");  // fault instructions_all: asm volatile("red.global.add.f32 [%0], %1;" ::"l"(y), "f"(sum) : "memory");
}
__global__ void fetched(cudaTextureObject_t t, float *y, int n) {
    if (threadIdx.x) return;
    float sum = 0;
    for (int i = 0; i < n; ++i) sum += tex1Dfetch<float>(t, i);  // fault fetched_one_off: for (int i = 0; i < n; ++i) sum += tex1Dfetch<float>(t, i + 1);
    *y = sum;
}
__global__ void noise(const float *x, float *y, int n) {
    if (threadIdx.x) return;
    curandState state;
    curand_init(7, blockIdx.x, 0, &state);
    float drawn = curand_uniform(&state), sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i];
    *y = drawn > 0 && drawn <= 1 ? sum : -1.0f;  // fault noise_scaled: *y = drawn > 2 ? sum : -1.0f;
}

// The host's side: each sums x.
void by_grid(const float *x, float *y, int n) {
    int blocks = 4, threads = 32;
    void *given[] = {(void *)&x, &y, &n};
    cudaLaunchCooperativeKernel((void *)grid_sum, blocks, threads, given);  // fault by_grid_plain: cudaLaunchKernel((void *)grid_sum, blocks, threads, given);
}
void by_texture(const float *x, float *y, int n) {
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypeLinear;
    what.res.linear.devPtr = (void *)x;
    what.res.linear.desc = cudaCreateChannelDesc<float>();
    what.res.linear.sizeInBytes = n * sizeof(float);
    cudaTextureDesc how = {};
    cudaTextureObject_t texture;
    cudaCreateTextureObject(&texture, &what, &how, nullptr);
    fetched<<<1, 32>>>(texture, y, n);
    cudaDestroyTextureObject(texture);
}
void by_library(const float *x, float *y, int n) {
    cublasHandle_t handle;
    cublasCreate(&handle);
    std::vector<float> ones(n, 1.0f);
    float *device, one = 1, zero = 0;
    cudaMalloc(&device, n * sizeof(float));
    cudaMemcpy(device, ones.data(), n * sizeof(float), cudaMemcpyHostToDevice);
    cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, n, &one, x, 1, device, n, &zero, y, 1);  // fault by_library_longer: cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, n + 1, &one, x, 1, device, n + 1, &zero, y, 1);
    cudaFree(device);
    cublasDestroy(handle);
}
