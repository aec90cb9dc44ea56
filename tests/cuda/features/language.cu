// Scans, lanes that run together, clocks, functions and matches of values: each sums x, with one warp.
#include <cooperative_groups.h>
#include <cooperative_groups/scan.h>
#include <cooperative_groups/reduce.h>
#include <cuda/atomic>
#include <cuda_fp16.h>
namespace cg = cooperative_groups;

static __device__ __forceinline__ float total_of(const float *x, int n) {
    float mine = 0;
    for (int i = threadIdx.x; i < n; i += 32) mine += __ldcg(x + i);
    return mine;
}
__global__ void scans(const float *x, float *y, int n) {
    auto tile = cg::tiled_partition<32>(cg::this_thread_block());
    const float mine = total_of(x, n);
    const float up_to_me = cg::inclusive_scan(tile, mine);  // fault scans_without_me: const float up_to_me = cg::exclusive_scan(tile, mine);
    if (tile.thread_rank() == 31) *y = up_to_me;  // fault scans_first: if (tile.thread_rank() == 0) *y = up_to_me;
}
__global__ void coalesced(const float *x, float *y, int n) {
    for (int i = threadIdx.x; i < n; i += 32) {
        if (x[i] == 0) continue;
        cg::coalesced_group together = cg::coalesced_threads();
        const float sum = cg::reduce(together, x[i], cg::plus<float>());  // fault coalesced_counted: const float sum = together.size();
        if (together.thread_rank() == 0) atomicAdd(y, sum);  // fault coalesced_plain: if (together.thread_rank() == 0) *y += sum;
    }
}
__global__ void timed(const float *x, float *y, int n) {
    const long long begun = clock64();
    const float mine = total_of(x, n);
    __nanosleep(20);
    const bool forward = clock64() >= begun;  // fault timed_backwards: const bool forward = clock64() < begun;
    if (forward) atomicAdd(y, mine);
}
__global__ void functions(const float *x, float *y, int n) {
    float mine = 0;
    for (int i = threadIdx.x; i < n; i += 32) {
        const float size = __fsqrt_rn(__fmul_rn(x[i], x[i]));  // fault functions_root: const float size = __frsqrt_rn(__fmul_rn(x[i], x[i]));
        mine += copysignf(size, x[i]) * cospif(2.0f * size);  // fault functions_half_turn: mine += copysignf(size, x[i]) * cospif(size);
    }
    atomicAdd(y, mine);
}
__global__ void converted(const float *x, float *y, int n) {
    int mine = 0;
    for (int i = threadIdx.x; i < n; i += 32) {
        const __half half_of = __float2half_rn(__ldcs(x + i) * 0.5f);
        mine += __float2int_rd(__half2float(half_of) * 2.0f + 0.5f);  // fault converted_up: mine += __float2int_ru(__half2float(half_of) * 2.0f + 0.5f);
    }
    atomicAdd(y, __int2float_rn(mine));
}
__global__ void matched(const float *x, float *y, int n) {
    const float mine = total_of(x, n);
    const unsigned same = __match_any_sync(0xffffffffu, __float_as_int(mine + 0.0f));
    if ((threadIdx.x & 31) == __ffs(same) - 1) atomicAdd(y, mine * __popc(same));  // fault matched_each: atomicAdd(y, mine * __popc(same));
}
__global__ void referred(const float *x, float *y, int n) {
    __shared__ int sum;
    if (threadIdx.x == 0) sum = 0;
    __syncwarp();  // fault referred_unordered: removed
    cuda::atomic_ref<int, cuda::thread_scope_block>(sum).fetch_add(int(total_of(x, n)));
    __syncwarp();
    if (threadIdx.x == 0) *y = sum;
}
