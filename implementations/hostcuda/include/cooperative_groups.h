// Cooperative groups: the grid, the block, tiles of a warp, the lanes that run together.
#pragma once
#include "hostcuda.h"

namespace cooperative_groups {

struct thread_block {
    static void sync(HOSTCUDA_LINE) { hostcuda::barrier({file, line}); }
    static unsigned thread_rank() { return hostcuda::self.number; }
    static unsigned size() { return hostcuda::self.threads.x * hostcuda::self.threads.y * hostcuda::self.threads.z; }
    static unsigned num_threads() { return size(); }
    static dim3 group_index() { return {hostcuda::self.block.x, hostcuda::self.block.y, hostcuda::self.block.z}; }
    static dim3 thread_index() { return {hostcuda::self.thread.x, hostcuda::self.thread.y, hostcuda::self.thread.z}; }
    static dim3 group_dim() { return hostcuda::self.threads; }
    static dim3 dim_threads() { return hostcuda::self.threads; }
};
static inline thread_block this_thread_block() { return {}; }

struct grid_group {
    static unsigned long long thread_rank() {
        const auto &s = hostcuda::self;
        return ((unsigned long long)(s.block.z * s.blocks.y + s.block.y) * s.blocks.x + s.block.x) * thread_block::size() + s.number;
    }
    static unsigned long long size() {
        return (unsigned long long)hostcuda::self.blocks.x * hostcuda::self.blocks.y * hostcuda::self.blocks.z * thread_block::size();
    }
    static unsigned long long num_threads() { return size(); }
    static bool is_valid() { return true; }
    static unsigned long long block_rank() {
        const auto &s = hostcuda::self;
        return (unsigned long long)(s.block.z * s.blocks.y + s.block.y) * s.blocks.x + s.block.x;
    }
    static unsigned long long num_blocks() { return size() / thread_block::size(); }
    static dim3 group_dim() { return hostcuda::self.blocks; }
    static dim3 dim_blocks() { return hostcuda::self.blocks; }
    static dim3 block_index() { return thread_block::group_index(); }
    static void sync(HOSTCUDA_LINE) {
        if (size() == thread_block::size()) hostcuda::barrier({file, line});
        else hostcuda::grid_barrier({file, line});
    }
};
static inline grid_group this_grid() { return {}; }

// Lanes of one warp, by their mask.
struct hostcuda_lanes {
    unsigned mask, width;
    unsigned thread_rank() const { return __popc(mask & ((1u << hostcuda::lane()) - 1)); }
    unsigned size() const { return width; }
    unsigned num_threads() const { return width; }
    unsigned meta_group_rank() const { return hostcuda::self.number / width; }
    unsigned meta_group_size() const { return (thread_block::size() + width - 1) / width; }
    void sync(HOSTCUDA_LINE) const { hostcuda::warp_barrier(mask, true, {file, line}); }
    unsigned from(unsigned rank) const {        // the lane that has a rank
        unsigned lane = 0;
        for (unsigned m = mask; lane < 32 && (!(m >> lane & 1) || rank--); ++lane) {}
        return lane & 31;
    }
    template <class T> T shfl(T v, int rank, HOSTCUDA_LINE) const { return hostcuda::exchange(mask, v, from(rank), {file, line}); }
    template <class T> T shfl_down(T v, unsigned by, HOSTCUDA_LINE) const {
        return hostcuda::exchange(mask, v, thread_rank() + by < width ? from(thread_rank() + by) : hostcuda::lane(), {file, line});
    }
    template <class T> T shfl_up(T v, unsigned by, HOSTCUDA_LINE) const {
        return hostcuda::exchange(mask, v, thread_rank() >= by ? from(thread_rank() - by) : hostcuda::lane(), {file, line});
    }
    template <class T> T shfl_xor(T v, unsigned bits, HOSTCUDA_LINE) const {
        const unsigned rank = thread_rank() ^ bits;
        return hostcuda::exchange(mask, v, rank < width ? from(rank) : hostcuda::lane(), {file, line});
    }
    unsigned ballot(int p, HOSTCUDA_LINE) const {
        const unsigned lanes = hostcuda::ballot(mask, p, {file, line});
        unsigned packed = 0;
        for (unsigned rank = 0; rank < width; ++rank) packed |= (lanes >> from(rank) & 1u) << rank;
        return packed;
    }
    int any(int p, HOSTCUDA_LINE) const { return hostcuda::ballot(mask, p, {file, line}) != 0; }
    int all(int p, HOSTCUDA_LINE) const { return hostcuda::ballot(mask, !p, {file, line}) == 0; }
};
template <unsigned N, class Parent = void> struct thread_block_tile : hostcuda_lanes {
    static_assert(N && N <= 32 && !(N & (N - 1)), "tiles of more than a warp are not modelled");
    thread_block_tile() : hostcuda_lanes{(N == 32 ? ~0u : (1u << (N & 31)) - 1) << (hostcuda::lane() & ~(N - 1)), N} {}
    // A tile that knows its parent is also one that does not.
    template <class Known, class = std::enable_if_t<std::is_void<Parent>::value && !std::is_void<Known>::value>>
    thread_block_tile(const thread_block_tile<N, Known> &tile) : hostcuda_lanes(tile) {}
};
struct coalesced_group : hostcuda_lanes {};
// Which lanes run together is the machine's choice; here every thread runs alone.
static inline coalesced_group coalesced_threads() { return {{1u << hostcuda::lane(), 1}}; }
template <unsigned N, class G> thread_block_tile<N, G> tiled_partition(const G &) { return {}; }
// Any group: lanes of a warp, or (of width 0) the block.
struct thread_group : hostcuda_lanes {
    thread_group(const hostcuda_lanes &lanes) : hostcuda_lanes(lanes) {}
    thread_group(const thread_block &) : hostcuda_lanes{0, 0} {}
    unsigned thread_rank() const { return width ? hostcuda_lanes::thread_rank() : thread_block::thread_rank(); }
    unsigned size() const { return width ? width : thread_block::size(); }
    unsigned num_threads() const { return size(); }
    void sync(HOSTCUDA_LINE) const { if (width) hostcuda_lanes::sync(file, line); else hostcuda::barrier({file, line}); }
};
template <class G> thread_group tiled_partition(const G &, unsigned n) {
    return hostcuda_lanes{(n == 32 ? ~0u : (1u << (n & 31)) - 1) << (hostcuda::lane() & ~(n - 1)), n};
}
template <class G> coalesced_group labeled_partition(const G &group, int label, HOSTCUDA_LINE) {
    const unsigned mask = __match_any_sync(group.mask, label, file, line);
    return {{mask, unsigned(__popc(mask))}};
}
template <class G> coalesced_group binary_partition(const G &group, bool side, HOSTCUDA_LINE) { return labeled_partition(group, side, file, line); }
template <class G, class F> void invoke_one(const G &group, F f) { if (group.thread_rank() == 0) f(); }

// Copies that the threads of a group share; each waits for its own.
template <class G, class T> __attribute__((always_inline)) inline void memcpy_async(const G &group, T *to, const T *from, size_t bytes, HOSTCUDA_LINE) {
    cuda::hostcuda_shared_copy(group, to, from, bytes, {file, line});
    hostcuda::async_committed();
}
template <class G, class T, class S> __attribute__((always_inline)) inline void memcpy_async(const G &group, T *to, const S &, const T *from, const S &elements, HOSTCUDA_LINE) {
    memcpy_async(group, to, from, size_t(elements) * sizeof(T), file, line);
}
template <class G> void wait(const G &group, HOSTCUDA_LINE) { hostcuda::async_waited(0); group.sync(file, line); }
template <unsigned N, class G> void wait_prior(const G &group, HOSTCUDA_LINE) { hostcuda::async_waited(N); group.sync(file, line); }
template <class G> static inline void sync(const G &group, HOSTCUDA_LINE) { group.sync(file, line); }

template <class T = void> struct plus { T operator()(T a, T b) const { return a + b; } };
template <class T = void> struct less { T operator()(T a, T b) const { return b < a ? b : a; } };
template <class T = void> struct greater { T operator()(T a, T b) const { return a < b ? b : a; } };
template <class T = void> struct bit_and { T operator()(T a, T b) const { return a & b; } };
template <class T = void> struct bit_or { T operator()(T a, T b) const { return a | b; } };
template <class T = void> struct bit_xor { T operator()(T a, T b) const { return a ^ b; } };

template <class G, class T, class F> T reduce(const G &group, T value, F f, HOSTCUDA_LINE) {
    if (!(group.size() & (group.size() - 1))) {
        for (unsigned by = group.size() / 2; by; by /= 2) value = f(value, group.shfl_xor(value, by, file, line));
        return value;
    }
    T sum = group.shfl(value, 0, file, line);
    for (unsigned i = 1; i < group.size(); ++i) sum = f(sum, group.shfl(value, int(i), file, line));
    return sum;
}
template <class G, class T> T inclusive_scan(const G &group, T value, HOSTCUDA_LINE) {
    for (unsigned by = 1; by < group.size(); by *= 2) {
        const T other = group.shfl_up(value, by, file, line);
        if (group.thread_rank() >= by) value = other + value;
    }
    return value;
}
template <class G, class T> T exclusive_scan(const G &group, T value, HOSTCUDA_LINE) {
    const T sum = group.shfl_up(inclusive_scan(group, value, file, line), 1, file, line);
    return group.thread_rank() ? sum : T{};
}
template <class G, class T, class F> T inclusive_scan(const G &group, T value, F f, HOSTCUDA_LINE) {
    for (unsigned by = 1; by < group.size(); by *= 2) {
        const T other = group.shfl_up(value, by, file, line);
        if (group.thread_rank() >= by) value = f(other, value);
    }
    return value;
}

}  // namespace cooperative_groups
