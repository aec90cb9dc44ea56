// Asynchronous copies and barriers in memory: the copy happens at once, and the checker reports a read before
// the wait.  `cuda::barrier`, `cuda::pipeline` and `__pipeline_memcpy_async`.
#pragma once
#include <utility>

namespace hostcuda {

// Copies as one access of `bytes`, where those are 4, 8 or 16, so that its alignment is checked; `given` are copied, the rest is 0.
template <class V> __attribute__((always_inline)) inline void copy_as(void *to, const void *from, size_t given) {
    if (given >= sizeof(V)) { *(V *)to = *(const V *)from; return; }
    V value = {};
    for (size_t i = 0; i < given; ++i) ((char *)&value)[i] = ((const char *)from)[i];
    *(V *)to = value;
}
__attribute__((always_inline)) inline void copy_async(void *to, const void *from, size_t bytes, size_t given, Site site) {
    if (bytes == 16) copy_as<uint4>(to, from, given);
    else if (bytes == 8) copy_as<uint2>(to, from, given);
    else if (bytes == 4) copy_as<unsigned>(to, from, given);
    else
        for (size_t i = 0; i < bytes; ++i) ((char *)to)[i] = i < given ? ((const char *)from)[i] : 0;
    async_copied(to, unsigned(bytes), nullptr);
}

// Counts arrivals; a thread that waits for a phase goes on when it is complete.
struct Phases {
    unsigned expected, left, phase;
    __attribute__((no_sanitize_thread)) void arrive(unsigned n) {
        left -= n;
        if (left) return;
        left = expected, ++phase;
        event_happens(this);
    }
    __attribute__((no_sanitize_thread)) void wait(unsigned of, Site site) { while (phase == of) event_wait(this, site); }
};

}  // namespace hostcuda

__attribute__((always_inline)) static inline void __pipeline_memcpy_async(void *to, const void *from, size_t bytes, size_t zeros = 0, HOSTCUDA_LINE) {
    if (bytes != 4 && bytes != 8 && bytes != 16) hostcuda::fails("__pipeline_memcpy_async copies 4, 8 or 16 bytes", {file, line});
    hostcuda::copy_async(to, from, bytes, bytes - zeros, {file, line});
}
static inline void __pipeline_commit() { hostcuda::async_committed(); }
static inline void __pipeline_wait_prior(size_t left) { hostcuda::async_waited(unsigned(left)); }

namespace cuda {

enum thread_scope { thread_scope_system, thread_scope_device, thread_scope_block, thread_scope_thread };
template <size_t N> struct aligned_size_t {
    size_t value;
    constexpr explicit aligned_size_t(size_t n) : value(n) {}
    constexpr operator size_t() const { return value; }
};

template <thread_scope S = thread_scope_system, class F = void> class barrier {
    hostcuda::Phases phases;
  public:
    typedef unsigned arrival_token;
    barrier() = default;
    explicit barrier(ptrdiff_t n) : phases{unsigned(n), unsigned(n), 0} {}
    __attribute__((no_sanitize_thread)) friend void init(barrier *b, ptrdiff_t n) { b->phases = {unsigned(n), unsigned(n), 0}; }
    __attribute__((no_sanitize_thread)) arrival_token arrive(ptrdiff_t n = 1) {
        hostcuda::async_committed();
        hostcuda::async_waited(0);          // the copies that a thread's barrier tracks are complete when the phase is
        const unsigned now = phases.phase;
        phases.arrive(unsigned(n));
        return now;
    }
    __attribute__((no_sanitize_thread)) void wait(arrival_token &&of, HOSTCUDA_LINE) { phases.wait(of, {file, line}); }
    __attribute__((no_sanitize_thread)) void wait(const arrival_token &of, HOSTCUDA_LINE) { phases.wait(of, {file, line}); }
    __attribute__((no_sanitize_thread)) void arrive_and_wait(HOSTCUDA_LINE) { wait(arrive(), file, line); }
    __attribute__((no_sanitize_thread)) void arrive_and_drop() { --phases.expected; arrive(); }
};

template <thread_scope S, int STAGES> struct pipeline_shared_state { hostcuda::Phases unused; };
template <thread_scope S = thread_scope_thread> class pipeline {
    unsigned ahead = 0;
    bool whole_block = false;
  public:
    pipeline(bool whole_block = false) : whole_block(whole_block) {}
    void producer_acquire() {}
    void producer_commit() { hostcuda::async_committed(); ++ahead; }
    void consumer_wait(HOSTCUDA_LINE) {
        if (ahead) --ahead;
        hostcuda::async_waited(ahead);
        if (whole_block) hostcuda::barrier({file, line});
    }
    void consumer_release(HOSTCUDA_LINE) { if (whole_block) hostcuda::barrier({file, line}); }
    void quit() {}
};
static inline pipeline<thread_scope_thread> make_pipeline() { return {}; }
template <class G, thread_scope S, int N> pipeline<S> make_pipeline(const G &, pipeline_shared_state<S, N> *) { return {true}; }
template <unsigned N, thread_scope S> void pipeline_consumer_wait_prior(pipeline<S> &) { hostcuda::async_waited(N); }

template <class P> __attribute__((always_inline)) inline void memcpy_async(void *to, const void *from, size_t bytes, P &, HOSTCUDA_LINE) {
    hostcuda::copy_async(to, from, bytes, bytes, {file, line});
}
// A group shares the copy: its threads take 16 bytes in turn, as far as the alignment allows.
template <class G> __attribute__((always_inline)) inline void hostcuda_shared_copy(const G &group, void *to, const void *from, size_t bytes, hostcuda::Site site) {
    const size_t piece = ((uintptr_t)to | (uintptr_t)from | bytes) % 16 == 0 ? 16 : ((uintptr_t)to | (uintptr_t)from | bytes) % 4 == 0 ? 4 : 1;
    for (size_t at = group.thread_rank() * piece; at < bytes; at += group.size() * piece)
        hostcuda::copy_async((char *)to + at, (const char *)from + at, piece, piece, site);
}
template <class G, class P> __attribute__((always_inline)) inline void memcpy_async(const G &group, void *to, const void *from, size_t bytes, P &, HOSTCUDA_LINE) {
    hostcuda_shared_copy(group, to, from, bytes, {file, line});
}

enum memory_order { memory_order_relaxed, memory_order_acquire, memory_order_release, memory_order_acq_rel, memory_order_seq_cst };
static inline void atomic_thread_fence(memory_order, thread_scope = thread_scope_system) { hostcuda::fence(); }
template <class T, thread_scope S = thread_scope_system> struct atomic_ref {
    T *at;
    explicit atomic_ref(T &value) : at(&value) {}
    T fetch_add(T v, memory_order = memory_order_seq_cst) const { return atomicAdd(at, v); }
    T fetch_sub(T v, memory_order = memory_order_seq_cst) const { return atomicSub(at, v); }
    T fetch_max(T v, memory_order = memory_order_seq_cst) const { return atomicMax(at, v); }
    T fetch_min(T v, memory_order = memory_order_seq_cst) const { return atomicMin(at, v); }
    T fetch_or(T v, memory_order = memory_order_seq_cst) const { return atomicOr(at, v); }
    T fetch_and(T v, memory_order = memory_order_seq_cst) const { return atomicAnd(at, v); }
    T exchange(T v, memory_order = memory_order_seq_cst) const { return atomicExch(at, v); }
    T load(memory_order = memory_order_seq_cst) const { return atomicAdd(at, T(0)); }
    void store(T v, memory_order = memory_order_seq_cst) const { atomicExch(at, v); }
    bool compare_exchange_strong(T &expected, T v, memory_order = memory_order_seq_cst, memory_order = memory_order_seq_cst) const {
        const T before = atomicCAS(at, expected, v);
        const bool same = before == expected;
        expected = before;
        return same;
    }
    bool compare_exchange_weak(T &expected, T v, memory_order a = memory_order_seq_cst, memory_order b = memory_order_seq_cst) const {
        return compare_exchange_strong(expected, v, a, b);
    }
};

}  // namespace cuda
