// Groups of threads, atomic references and places of memory: a kernel leaves the line of a wrong answer, or 0.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda/atomic>
#include <cuda/barrier>
namespace cg = cooperative_groups;
#define MUST(so) do { if (!(so)) atomicMax(wrong, __LINE__); } while (0)

// launch: <<<(2, 3), (8, 4, 2)>>>
__global__ void places(int *wrong) {
    const cg::grid_group grid = cg::this_grid();
    const cg::thread_block block = cg::this_thread_block();
    const unsigned in_block = (threadIdx.z * 4 + threadIdx.y) * 8 + threadIdx.x, in_grid = blockIdx.y * 2 + blockIdx.x;
    MUST(grid.is_valid() && grid.num_blocks() == 6 && grid.block_rank() == in_grid && grid.size() == 384);
    MUST(grid.thread_rank() == in_grid * 64 + in_block);
    MUST(grid.block_index().x == blockIdx.x && grid.block_index().y == blockIdx.y);
    MUST(grid.dim_blocks().x == 2 && grid.dim_blocks().y == 3 && grid.group_dim().z == 1);
    MUST(block.thread_rank() == in_block && block.size() == 64 && block.dim_threads().x == 8);
    MUST(block.group_dim().y == 4 && block.group_index().y == blockIdx.y);
    MUST(block.thread_index().x == threadIdx.x && block.thread_index().z == threadIdx.z);
    cg::invoke_one(block, [&] { MUST(in_block == 0); });
}

// launch: <<<1, 64>>>
__global__ void tiles(int *wrong) {
    const int t = threadIdx.x, lane = t % 16;
    const auto tile = cg::tiled_partition<16>(cg::this_thread_block());
    MUST(tile.meta_group_rank() == t / 16 && tile.meta_group_size() == 4);
    MUST(cg::inclusive_scan(tile, t) == (lane + 1) * (t - lane) + lane * (lane + 1) / 2);
    MUST(cg::exclusive_scan(tile, t) == lane * (t - lane) + lane * (lane - 1) / 2);
    MUST(cg::inclusive_scan(tile, t ^ 1, cg::greater<int>()) == (t | 1));
    const cg::coalesced_group same = cg::labeled_partition(tile, t % 3);
    MUST(same.size() == (16 - (t % 3 - (t - lane) % 3 + 3) % 3 + 2) / 3);
    MUST(cg::reduce(same, 1, cg::plus<int>()) == int(same.size()));
    const cg::coalesced_group side = cg::binary_partition(tile, lane < 5);
    MUST(side.size() == (lane < 5 ? 5 : 11) && side.thread_rank() == (lane < 5 ? lane : lane - 5));
    cg::thread_group any = cg::tiled_partition(cg::this_thread_block(), 8);
    MUST(any.size() == 8 && any.thread_rank() == t % 8);
    cg::thread_group whole = cg::this_thread_block();
    MUST(whole.size() == 64 && whole.thread_rank() == t);
    whole.sync();
    MUST(cg::coalesced_threads().size() == 1);       // here every thread runs alone
}

// launch: <<<1, 64>>>
__global__ void references(int *wrong) {
    __shared__ int sum, least, most, bits;
    if (threadIdx.x == 0) sum = 0, least = 99, most = -1, bits = 0;
    __syncthreads();
    cuda::atomic_ref<int, cuda::thread_scope_block> of_sum(sum), of_bits(bits), of_least(least), of_most(most);
    of_sum.fetch_add(3), of_sum.fetch_sub(1);
    of_least.fetch_min(int(threadIdx.x) + 7), of_most.fetch_max(int(threadIdx.x));
    of_bits.fetch_or(1 << threadIdx.x % 8);
    __syncthreads();
    MUST(of_sum.load() == 128 && of_least.load() == 7 && of_most.load() == 63 && of_bits.load() == 255);
    __syncthreads();
    of_bits.fetch_and(~(1 << threadIdx.x % 4));
    __syncthreads();
    MUST(of_bits.load() == 240);
    __syncthreads();
    for (int old = of_sum.load(); !of_sum.compare_exchange_weak(old, old + 1);) {}
    __syncthreads();
    int other = -7;
    MUST(!of_sum.compare_exchange_strong(other, 5) && other == 192 && of_sum.load() == 192);
}

// launch: <<<1, 64>>>
__global__ void phases(int *wrong) {
    __shared__ cuda::barrier<cuda::thread_scope_block> all;
    __shared__ int at[64];
    const int t = threadIdx.x;
    if (t == 0) init(&all, 64);
    __syncthreads();
    at[t] = t;
    all.arrive_and_wait();
    MUST(at[63 - t] == 63 - t);
    if (t >= 32) { all.arrive_and_drop(); return; }
    all.arrive_and_wait();                           // with the other half's last arrival
    at[t] = -t;
    all.arrive_and_wait();                           // without them
    MUST(at[31 - t] == t - 31);
}

// launch: <<<1, 32>>>
__global__ void addresses(int *wrong) {
    __shared__ int mine[32];
    extern __shared__ int dynamic[];
    MUST(__isShared(mine) && __isShared(dynamic) && !__isShared(wrong) && __isGlobal(wrong) && !__isGlobal(mine));
    MUST(__cvta_shared_to_generic(__cvta_generic_to_shared(&mine[3])) == &mine[3]);
    MUST(__cvta_shared_to_generic(__cvta_generic_to_shared(&dynamic[5])) == &dynamic[5]);
    MUST(__cvta_generic_to_shared(&mine[3]) - __cvta_generic_to_shared(mine) == 12);
    MUST(__cvta_generic_to_global(wrong) == (size_t)wrong);
    if (*wrong == 12345) __trap();
}
