// Runs the blocks of a launch one after the other and the threads of a block as fibers.
//
// A thread runs until it waits or ends.  Fibers are reused: a kernel without barriers needs one.
#include "runtime.h"
#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <dlfcn.h>
#include <numeric>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace hostcuda {

Self self;
Running running;
Options options = {FORWARD, 1, 0};

// ---------------------------------------------------------------- fibers
#if defined(__x86_64__)
extern "C" void hostcuda_switch(void **from, void *to);
asm(R"(
.text
.type hostcuda_switch,@function
.globl hostcuda_switch
.hidden hostcuda_switch
hostcuda_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size hostcuda_switch,.-hostcuda_switch
)");
struct Fiber { void *top; char *stack; };
static void prepare(Fiber &fiber, void (*entry)()) {
    void **top = (void **)(fiber.stack + STACK);
    *--top = nullptr;                     // the entry never returns; this keeps its stack aligned
    *--top = (void *)entry;
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    fiber.top = top;
}
static void go(Fiber &from, Fiber &to) { hostcuda_switch(&from.top, to.top); }
#else
struct Fiber { ucontext_t context; char *stack; };
static void prepare(Fiber &fiber, void (*entry)()) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
}
static void go(Fiber &from, Fiber &to) { swapcontext(&from.context, &to.context); }
#endif

// ---------------------------------------------------------------- findings
static Finding found[MOST_FINDINGS];
static unsigned count;

unsigned findings() { return count; }

void report(Kind kind, Site site, const char *format, ...) {
    const uintptr_t address = site.line ? 0 : running.call - running.library;
    for (unsigned i = 0; i < count; ++i)
        if (found[i].kind == kind && found[i].line == site.line && found[i].address == address) return;
    if (count == MOST_FINDINGS) return;
    Finding &one = found[count++];
    one = {kind, site.line, {self.block.x, self.block.y, self.block.z}, {self.thread.x, self.thread.y, self.thread.z},
           address, {}, {}};
    snprintf(one.file, sizeof one.file, "%s", site.file ? site.file : "");
    va_list values;
    va_start(values, format);
    vsnprintf(one.text, sizeof one.text, format, values);
    va_end(values);
}

// ---------------------------------------------------------------- threads
enum State : unsigned char { NEW, READY, AT_BARRIER, AT_WARP, DONE };
struct Thread {
    State state;
    short fiber;        // -1: none yet, or no longer
    uint3 index;
    Site site;          // where it waits
    unsigned mask;      // and with which lanes
    bool orders;
};
static Thread threads[MOST_THREADS];
static Fiber host, fibers[MOST_THREADS];
static unsigned made, idle[MOST_THREADS], idle_count;
static unsigned queue[2 * MOST_THREADS], head, tail;    // the threads that can run
static unsigned turn[MOST_THREADS];                     // in which order they are woken
static unsigned live, waiting, current;                 // `current` is a fiber
static bool abandoned;
static int votes[3], outcome[3];
static char slots[MOST_THREADS][16] __attribute__((aligned(16)));

static uint64_t state;                                  // of the random numbers of a launch

static uint64_t random_bits() {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static void draw_turns() {
    std::iota(turn, turn + running.threads, 0u);
    if (options.order == REVERSE) std::reverse(turn, turn + running.threads);
    if (options.order == SHUFFLE)
        for (unsigned i = running.threads; i > 1; --i) std::swap(turn[i - 1], turn[random_bits() % i]);
}

static void wake(unsigned number) {
    threads[number].state = READY;
    queue[tail++ % (2 * MOST_THREADS)] = number;
}

static void become(unsigned number) {
    self.number = number;
    self.thread = threads[number].index;
}

static void run_fiber();

static unsigned free_fiber() {
    if (!idle_count) {
        Fiber &fiber = fibers[made];
        char *pages = (char *)mmap(nullptr, STACK + 4096, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pages == MAP_FAILED) abort();
        mprotect(pages, 4096, PROT_NONE);               // a kernel that runs out of stack stops here
        fiber.stack = pages + 4096;
        prepare(fiber, run_fiber);
        idle[idle_count++] = made++;
    }
    return idle[--idle_count];
}

static void run_next(Fiber &from) {
    if (head == tail) { go(from, host); return; }
    const unsigned number = queue[head++ % (2 * MOST_THREADS)];
    if (threads[number].fiber < 0) threads[number].fiber = (short)free_fiber();
    become(number);
    current = (unsigned)threads[number].fiber;
    if (&fibers[current] != &from) go(from, fibers[current]);
}

static void release_block() {
    running.block_since = ++running.clock;
    waiting = 0;
    if (options.order == SHUFFLE) draw_turns();
    Site first = {nullptr, 0};
    for (unsigned i = 0; i < running.threads; ++i) {
        Thread &thread = threads[turn[i]];
        if (thread.state != AT_BARRIER) continue;
        if (!first.line) first = thread.site;
        if (first.line != thread.site.line)
            report(DIVERGENT, thread.site, "threads of one block wait at different barriers, this one and that of line %d",
                   first.line);
        wake(turn[i]);
    }
    if (live < running.threads)
        report(DIVERGENT, first, "%u of the block's %u threads are at this barrier, the others have returned", live,
               running.threads);
    outcome[ANY] = votes[ANY], outcome[ALL] = votes[ALL], outcome[COUNT] = votes[COUNT];
    votes[ANY] = 0, votes[ALL] = 1, votes[COUNT] = 0;
}

unsigned live_lanes() {
    unsigned lanes = 0, first = self.number & ~(WARP - 1);
    for (unsigned i = 0; i < WARP && first + i < running.threads; ++i)
        if (threads[first + i].state != DONE) lanes |= 1u << i;
    return lanes;
}

// Wake the lanes that wait for each other, if the last of them has come.
static void release_lanes(unsigned first, unsigned mask) {
    bool orders = true;
    for (unsigned i = 0; i < WARP && first + i < running.threads; ++i) {
        const Thread &thread = threads[first + i];
        if (!(mask >> i & 1) || thread.state == DONE) continue;
        if (thread.state != AT_WARP || thread.mask != mask) return;
        orders = orders && thread.orders;
    }
    if (orders) running.warp_since[first / WARP] = ++running.clock;
    for (unsigned i = 0; i < WARP && first + i < running.threads; ++i)
        if ((mask >> i & 1) && threads[first + i].state == AT_WARP) wake(first + i);
}

static void leave(unsigned number) {
    threads[number].state = DONE;
    --live;
    const unsigned first = number & ~(WARP - 1);
    for (unsigned i = 0; i < WARP && first + i < running.threads; ++i)
        if (threads[first + i].state == AT_WARP) release_lanes(first, threads[first + i].mask);
    if (live && waiting == live) release_block();
}

static void run_fiber() {
    for (;;) {
        const unsigned me = current;
        unsigned number = self.number;
        for (;;) {                       // threads that have not begun need no switch
            running.kernel(running.arguments);
            leave(number);
            threads[number].fiber = -1;
            if (head == tail || threads[queue[head % (2 * MOST_THREADS)]].fiber >= 0) break;
            number = queue[head++ % (2 * MOST_THREADS)];
            threads[number].fiber = (short)me;
            become(number);
        }
        idle[idle_count++] = me;
        run_next(fibers[me]);
    }
}

static void wait_here() { run_next(fibers[threads[self.number].fiber]); }

void abandon() {
    abandoned = true;
    Fiber nowhere = fibers[current];
    go(nowhere, host);
    __builtin_unreachable();
}

// ---------------------------------------------------------------- what makes a thread wait
void barrier(Site site) {
    Thread &me = threads[self.number];
    me.state = AT_BARRIER, me.site = site;
    if (++waiting == live) release_block();
    wait_here();
}

int vote(int predicate, Vote how, Site site) {
    votes[ANY] |= predicate != 0, votes[ALL] &= predicate != 0, votes[COUNT] += predicate != 0;
    barrier(site);
    return outcome[how];
}

void warp_barrier(unsigned mask, bool orders_memory, Site site) {
    if (!(mask >> lane() & 1)) {
        report(LANE, site, "the mask 0x%08x does not name the calling lane %u", mask, lane());
        abandon();
    }
    Thread &me = threads[self.number];
    me.state = AT_WARP, me.site = site, me.mask = mask, me.orders = orders_memory;
    release_lanes(self.number & ~(WARP - 1), mask);
    wait_here();
}

void *slot(unsigned lane) { return slots[(self.number & ~(WARP - 1)) + lane]; }

bool takes_part(unsigned mask, unsigned from) {
    const unsigned number = (self.number & ~(WARP - 1)) + from;
    return number < running.threads && (mask >> from & 1) && threads[number].state != DONE;
}

unsigned ballot(unsigned mask, int predicate, Site site) {
    *(int *)slot(lane()) = predicate != 0;
    warp_barrier(mask, false, site);
    unsigned result = 0;
    const unsigned lanes = live_lanes() & mask;
    for (unsigned i = 0; i < WARP; ++i)
        if (lanes >> i & 1) result |= unsigned(*(int *)slot(i)) << i;
    warp_barrier(mask, false, site);
    return result;
}

void launch_bounds(unsigned most, Site site) {
    if (running.threads <= most) return;
    report(LAUNCH, site, "%u threads in a block, but __launch_bounds__ allows %u", running.threads, most);
    abandon();
}

void failed(const char *expression, Site site) {
    report(FAILED, site, "%s", expression);
    abandon();
}

bool on_my_stack(uintptr_t address) { return address - (uintptr_t)fibers[current].stack < STACK; }
bool in_slots(uintptr_t address) { return address - (uintptr_t)slots < sizeof slots; }

// ---------------------------------------------------------------- a launch
static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

static void run_block(uint64_t which, char *shared, size_t bytes, char *dynamic, size_t dynamic_bytes) {
    const dim3 grid = self.blocks;
    self.block = {unsigned(which % grid.x), unsigned(which / grid.x % grid.y), unsigned(which / grid.x / grid.y)};
    ++running.serial;
    running.block_since = ++running.clock;
    // Whatever a block finds in shared memory is another's; not memset, which sanitizers intercept.
    for (volatile char *p = shared; p != shared + bytes; ++p) *p = char(0xFF);
    for (volatile char *p = dynamic; p != dynamic + dynamic_bytes; ++p) *p = char(0xFF);
    checker_next_block();
    if (options.order == SHUFFLE) draw_turns();
    live = running.threads, waiting = head = tail = 0;
    votes[ANY] = 0, votes[ALL] = 1, votes[COUNT] = 0;
    for (unsigned i = 0; i < running.threads; ++i) threads[i].state = NEW, threads[i].fiber = -1;
    for (unsigned i = 0; i < running.threads; ++i) queue[tail++ % (2 * MOST_THREADS)] = turn[i];
    run_next(host);
    if (!abandoned && live) {
        unsigned stuck = 0;
        while (threads[stuck].state != AT_BARRIER && threads[stuck].state != AT_WARP) ++stuck;
        become(stuck);
        report(DEADLOCK, threads[stuck].site,
               "deadlock: %u threads wait at a block's barrier, %u at a warp's, and nobody can go on", waiting, live - waiting);
        abandoned = true;
    }
    if (!abandoned) checker_block_ends();
    if (abandoned) {                    // what the fibers had begun is given up
        for (unsigned i = 0; i < made; ++i) prepare(fibers[i], run_fiber), idle[i] = i;
        idle_count = made;
    }
}

extern "C" {

__attribute__((visibility("default"))) void hostcuda_options(int order, uint64_t seed, int check) {
    options = {order, seed, check};
}

__attribute__((visibility("default"))) const Finding *hostcuda_findings(unsigned *n) {
    *n = count;
    return found;
}

// Returns the number of findings; a launch that has some may have stopped early.
int hostcuda_launch(Kernel kernel, void **arguments, const unsigned *blocks, const unsigned *block, size_t dynamic,
                    char *shared, char *shared_end) {
    static std::vector<char> buffer;
    buffer.assign(dynamic + 256, 0);
    char *aligned = (char *)(((uintptr_t)buffer.data() + 127) & ~uintptr_t(127));
    self.dynamic = aligned;
    self.blocks = dim3(blocks[0], blocks[1], blocks[2]);
    self.threads = dim3(block[0], block[1], block[2]);
    running = {};
    running.kernel = kernel, running.arguments = arguments, running.threads = block[0] * block[1] * block[2];
    Dl_info where;
    if (dladdr(shared, &where)) running.library = (uintptr_t)where.dli_fbase, running.library_end = (uintptr_t)shared_end;
    for (unsigned i = 0; i < running.threads; ++i)
        threads[i].index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
    count = 0, abandoned = false, state = options.seed | 1;
    if (idle_count != made) {           // a process forked within a launch has fibers that nobody will end
        for (unsigned i = 0; i < made; ++i) prepare(fibers[i], run_fiber), idle[i] = i;
        idle_count = made;
    }
    checker_starts(shared, shared_end, dynamic);
    draw_turns();
    const uint64_t total = uint64_t(blocks[0]) * blocks[1] * blocks[2];
    uint64_t step = 1;                  // blocks are shuffled by steps that reach every one
    if (options.order == SHUFFLE)
        do step = random_bits() % total + 1; while (common_divisor(step, total) != 1);
    for (uint64_t i = 0; i < total && !abandoned && count < MOST_FINDINGS; ++i) {
        const uint64_t which = options.order == REVERSE ? total - 1 - i
                               : options.order == SHUFFLE ? uint64_t((unsigned __int128)i * step % total) : i;
        run_block(which, shared, size_t(shared_end - shared), aligned, dynamic);
    }
    running.kernel = nullptr;
    return int(count);
}
}

#ifndef HOSTCUDA_CHECKER
void atomic_access(const void *, unsigned, void *, bool) {}
void fence() {}
void checker_starts(char *, char *, size_t) {}
void checker_next_block() {}
void checker_block_ends() {}
#endif

}  // namespace hostcuda
