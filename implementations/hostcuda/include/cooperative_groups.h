// Cooperative groups of one block: the block, tiles of a warp, the lanes that run together.  A whole grid cannot wait.
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
    static void sync(HOSTCUDA_LINE) {
        if (size() != thread_block::size()) hostcuda::missing("a barrier of the whole grid (cooperative groups)", {file, line});
        hostcuda::barrier({file, line});
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
template <unsigned N, class Parent = thread_block> struct thread_block_tile : hostcuda_lanes {
    static_assert(N && N <= 32 && !(N & (N - 1)), "tiles of more than a warp are not modelled");
    thread_block_tile() : hostcuda_lanes{(N == 32 ? ~0u : (1u << (N & 31)) - 1) << (hostcuda::lane() & ~(N - 1)), N} {}
};
struct coalesced_group : hostcuda_lanes {};
// Which lanes run together is the machine's choice; here every thread runs alone.
static inline coalesced_group coalesced_threads() { return {{1u << hostcuda::lane(), 1}}; }
template <unsigned N, class G> thread_block_tile<N, G> tiled_partition(const G &) { return {}; }
struct thread_group : hostcuda_lanes {};
template <class G> thread_group tiled_partition(const G &, unsigned n) {
    return {{(n == 32 ? ~0u : (1u << (n & 31)) - 1) << (hostcuda::lane() & ~(n - 1)), n}};
}
template <class G> static inline void sync(const G &group, HOSTCUDA_LINE) { group.sync(file, line); }

template <class T = void> struct plus { T operator()(T a, T b) const { return a + b; } };
template <class T = void> struct less { T operator()(T a, T b) const { return b < a ? b : a; } };
template <class T = void> struct greater { T operator()(T a, T b) const { return a < b ? b : a; } };
template <class T = void> struct bit_and { T operator()(T a, T b) const { return a & b; } };
template <class T = void> struct bit_or { T operator()(T a, T b) const { return a | b; } };
template <class T = void> struct bit_xor { T operator()(T a, T b) const { return a ^ b; } };

template <class G, class T, class F> T reduce(const G &group, T value, F f, HOSTCUDA_LINE) {
    for (unsigned by = group.size() / 2; by; by /= 2) value = f(value, group.shfl_xor(value, by, file, line));
    return value;
}
template <class G, class T, class F> T inclusive_scan(const G &group, T value, F f, HOSTCUDA_LINE) {
    for (unsigned by = 1; by < group.size(); by *= 2) {
        const T other = group.shfl_up(value, by, file, line);
        if (group.thread_rank() >= by) value = f(other, value);
    }
    return value;
}

}  // namespace cooperative_groups
