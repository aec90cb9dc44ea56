// Runs the blocks of a launch one after the other and the threads of a block as fibers.
//
// A thread runs until it waits or ends.  Fibers are reused: a kernel without barriers needs one.
#include "runtime.h"
#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cfenv>
#include <csignal>
#include <dlfcn.h>
#include <numeric>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

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

Finding *report(Kind kind, Site site, const char *format, ...) {
    const uintptr_t address = site.line ? 0 : running.call - running.library;
    for (unsigned i = 0; i < count; ++i)
        if (found[i].kind == kind && found[i].line == site.line && found[i].address == address) return nullptr;
    if (count == MOST_FINDINGS) return nullptr;
    Finding &one = found[count++];
    one = {kind, site.line, {self.block.x, self.block.y, self.block.z}, {self.thread.x, self.thread.y, self.thread.z},
           running.kernel ? address : 0, 0, {}, {}};
    if (!running.kernel) one.block[0] = ~0u;            // nobody's: the host's code did it
    snprintf(one.file, sizeof one.file, "%s", site.file ? site.file : "");
    va_list values;
    va_start(values, format);
    vsnprintf(one.text, sizeof one.text, format, values);
    va_end(values);
    return &one;
}

// ---------------------------------------------------------------- notes
bool noting;
static Finding noted[64];
static unsigned noted_count;

static Finding *new_note(int kind, uintptr_t code, Site site) {
    for (unsigned i = 0; i < noted_count; ++i)
        if (noted[i].kind == kind && noted[i].address == code && noted[i].line == site.line) return nullptr;
    if (!noting || noted_count == 64) return nullptr;
    Finding &one = noted[noted_count++];
    one = {kind, site.line, {self.block.x, self.block.y, self.block.z}, {self.thread.x, self.thread.y, self.thread.z}, code, 0, {}, {}};
    snprintf(one.file, sizeof one.file, "%s", site.file ? site.file : "");
    return &one;
}

void note(int kind, uintptr_t code, const char *format, ...) {
    Finding *one = new_note(kind, code, {nullptr, 0});
    if (!one) return;
    va_list values;
    va_start(values, format);
    vsnprintf(one->text, sizeof one->text, format, values);
    va_end(values);
}

void absent_lane(unsigned from, Site site) {
    Finding *one = new_note(ABSENT_LANE, 0, site);
    if (one) snprintf(one->text, sizeof one->text, "a shuffle reads from lane %u, which takes no part: its value is anything (here NaN or -1)", from);
}

// Where NaN and infinity arise: the processor traps, the trap is noted, and the instruction is run again without.
#if defined(__x86_64__)
static struct sigaction before_fpe, before_trap;
constexpr unsigned MASKS = 0x1f80, TRAPPED = 0x0680;           // of MXCSR: without invalid, division by zero, overflow
enum : uintptr_t { STEP = 0x100 };                              // of the flags: trap after the next instruction

static const unsigned char *past_prefixes(const unsigned char *p, bool &wide, bool &scalar) {
    for (;; ++p) {
        if (*p == 0xF2) wide = scalar = true;
        else if (*p == 0xF3) scalar = true;
        else if (*p == 0x66) wide = true;
        else if ((*p & 0xF0) != 0x40) return p;
    }
}

// The two operands of an instruction on registers; of one with memory, only the first.
static void operands(const unsigned char *at, const ucontext_t *c, char *to, size_t room) {
    bool wide = false, scalar = false;
    int more = 0, of = 0;
    for (const unsigned char *q = at; (*q & 0xF0) == 0x40 || *q == 0xF2 || *q == 0xF3 || *q == 0x66; ++q)
        if ((*q & 0xF0) == 0x40) more = *q & 4 ? 8 : 0, of = *q & 1 ? 8 : 0;
    const unsigned char *p = past_prefixes(at, wide, scalar);
    const int mode = p[2] >> 6, first = (p[2] >> 3 & 7) + more, second = (p[2] & 7) + of;
    const auto value = [&](int r) {
        float f;
        double d;
        memcpy(&f, &c->uc_mcontext.fpregs->_xmm[r], 4), memcpy(&d, &c->uc_mcontext.fpregs->_xmm[r], 8);
        return wide ? d : double(f);
    };
    const char *sign = p[1] == 0x58 ? "+" : p[1] == 0x59 ? "*" : p[1] == 0x5C ? "-" : p[1] == 0x5E ? "/" : "";
    if (p[1] == 0x51) snprintf(to, room, mode == 3 ? "sqrt(%g)" : "sqrt(a value in memory)", value(second));
    else if (mode == 3) snprintf(to, room, "%g %s %g", value(first), sign, value(second));
    else snprintf(to, room, "%g %s a value in memory", value(first), sign);
}

static bool arithmetic(const unsigned char *at) {
    bool wide = false, scalar = false;
    const unsigned char *p = past_prefixes(at, wide, scalar);
    return p[0] == 0x0F && (p[1] == 0x51 || p[1] == 0x58 || p[1] == 0x59 || p[1] == 0x5C || p[1] == 0x5E);
}

static void on_fpe(int, siginfo_t *info, void *context) {
    ucontext_t *c = (ucontext_t *)context;
    const uintptr_t code = (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
    const bool ours = running.kernel && code - running.library < running.library_end - running.library;
    if (ours && arithmetic((const unsigned char *)code)) {
        char of[100];
        operands((const unsigned char *)code, c, of, sizeof of);
        note(AROSE, code - running.library, "%s: %s", info->si_code == FPE_FLTINV ? "NaN arises" : "infinity arises", of);
    }
    c->uc_mcontext.fpregs->mxcsr = (c->uc_mcontext.fpregs->mxcsr & ~0x3fu) | MASKS;
    c->uc_mcontext.gregs[REG_EFL] |= STEP;
}

static void on_step(int, siginfo_t *, void *context) {
    ucontext_t *c = (ucontext_t *)context;
    c->uc_mcontext.fpregs->mxcsr = (c->uc_mcontext.fpregs->mxcsr & ~(TRAPPED | 0x3fu));
    c->uc_mcontext.gregs[REG_EFL] &= ~STEP;
}

void notes_start() {
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = on_fpe;
    sigaction(SIGFPE, &action, &before_fpe);
    action.sa_sigaction = on_step;
    sigaction(SIGTRAP, &action, &before_trap);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
}

void notes_end() {
    feclearexcept(FE_ALL_EXCEPT);
    fedisableexcept(FE_ALL_EXCEPT);
    sigaction(SIGFPE, &before_fpe, nullptr);
    sigaction(SIGTRAP, &before_trap, nullptr);
}
#else
void notes_start() {}
void notes_end() {}
#endif

// ---------------------------------------------------------------- threads
enum State : unsigned char { NEW, READY, AT_BARRIER, AT_WARP, AT_EVENT, AT_GRID, DONE };
struct Thread {
    State state;
    int fiber;          // -1: none yet, or no longer
    uint3 index;
    Site site;          // where it waits
    unsigned mask;      // and with which lanes
    bool orders;
    const void *event;  // what it waits for, at AT_EVENT
};
static Thread threads[MOST_THREADS];
static Fiber host, fibers[MOST_FIBERS];
static unsigned made, idle[MOST_FIBERS], idle_count;
static unsigned queue[2 * MOST_THREADS], head, tail;    // the threads that can run
static unsigned turn[MOST_THREADS];                     // in which order they are woken
static unsigned live, waiting, current;                 // `current` is a fiber
static bool abandoned;
static int votes[3], outcome[3];
static unsigned at_grid;                                // threads that wait for the other blocks
static char slots[MOST_THREADS][16] __attribute__((aligned(16)));
static char scratches[MOST_THREADS / WARP][SCRATCH] __attribute__((aligned(16)));

static long long passed;                                // ticks of the clock that kernels read
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
    if (!idle_count && made == MOST_FIBERS) {
        report(MISSING, {"", 1}, "a barrier of a grid of more than %u threads", MOST_FIBERS);
        abandon();
    }
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
    if (threads[number].fiber < 0) threads[number].fiber = (int)free_fiber();
    become(number);
    current = (unsigned)threads[number].fiber;
    if (&fibers[current] != &from) go(from, fibers[current]);
}

static void release_block() {
    checker_settles();
    patterns_block_meets();
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

static unsigned live_lanes_of(unsigned first) {
    unsigned lanes = 0;
    for (unsigned i = 0; i < WARP && first + i < running.threads; ++i)
        if (threads[first + i].state != DONE) lanes |= 1u << i;
    return lanes;
}

unsigned live_lanes() { return live_lanes_of(self.number & ~(WARP - 1)); }

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
    if (counting && !(live_lanes_of(first) & ~mask)) patterns_meet(first / WARP);
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
            threads[number].fiber = (int)me;
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

void *scratch() { return scratches[self.number / WARP]; }

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

void misaligned(const char *what, Site site) {
    report(MISALIGNED, site, "%s", what);
    abandon();
}

void failed(const char *expression, Site site) {
    report(FAILED, site, "%s", expression);
    if (running.kernel) abandon();
}

bool on_my_stack(uintptr_t address) { return address - (uintptr_t)fibers[current].stack < STACK; }
bool in_slots(uintptr_t address) {
    return address - (uintptr_t)slots < sizeof slots || address - (uintptr_t)scratches < sizeof scratches;
}

// ---------------------------------------------------------------- barriers in memory, and of the grid
void event_wait(const void *event, Site site) {
    Thread &me = threads[self.number];
    me.state = AT_EVENT, me.site = site, me.event = event;
    wait_here();
}

// What the threads that came to a barrier in memory did is ordered before what follows it.
void event_happens(const void *event) {
    checker_settles();
    running.block_since = ++running.clock;
    for (unsigned i = 0; i < running.threads; ++i)
        if (threads[turn[i]].state == AT_EVENT && threads[turn[i]].event == event) wake(turn[i]);
}

void take_turns() {
    wake(self.number);
    wait_here();
}

static uint64_t resident(const dim3 &block, size_t dynamic);

void grid_barrier(Site site) {
    if (!running.cooperative) {
        report(LAUNCH, site, "a barrier of the grid in a launch that is not cooperative (cudaLaunchCooperativeKernel)");
        abandon();
    }
    const uint64_t total = uint64_t(self.blocks.x) * self.blocks.y * self.blocks.z;
    if (total > resident(self.threads, size_t(self.dynamic_end - (char *)self.dynamic))) {
        report(LAUNCH, site, "a barrier of a grid of %llu blocks, of which a GPU with 132 multiprocessors holds %llu at once",
               (unsigned long long)total, (unsigned long long)resident(self.threads, size_t(self.dynamic_end - (char *)self.dynamic)));
        abandon();
    }
    Thread &me = threads[self.number];
    me.state = AT_GRID, me.site = site;
    ++at_grid;
    wait_here();
}

long long ticks() { return ++passed * 4; }

// ---------------------------------------------------------------- a launch
// A block that waits for the others of its grid: everything that there is once only.
struct Parked {
    uint3 block;
    uint32_t serial;
    unsigned live;
    std::vector<Thread> threads;
    std::vector<char> shared, dynamic;
    void *cells;
};
static std::vector<Parked> parked;

static bool cooperative;                                // whether the next one is
static struct { uintptr_t start, end; } held;           // what the next one passes
static uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

// Run the threads that can run, until the block has ended or waits for the others of its grid.
static void run_on(char *shared, size_t bytes, char *dynamic, size_t dynamic_bytes) {
    run_next(host);
    if (!abandoned && live && at_grid == live) {
        checker_settles();
        parked.push_back({self.block, running.serial, live, {threads, threads + running.threads}, {shared, shared + bytes},
                          {dynamic, dynamic + dynamic_bytes}, checker_parks()});
        return;
    }
    if (!abandoned && live) {
        unsigned stuck = 0, warps = 0, events = 0;
        for (unsigned i = 0; i < running.threads; ++i)
            warps += threads[i].state == AT_WARP, events += threads[i].state == AT_EVENT;
        while (threads[stuck].state < AT_BARRIER || threads[stuck].state > AT_GRID) ++stuck;
        become(stuck);
        report(DEADLOCK, threads[stuck].site,
               events || at_grid ? "%u threads wait at a block's barrier, %u at a warp's, %u at a barrier in memory, %u at the grid's, and nobody can go on"
                                 : "%u threads wait at a block's barrier, %u at a warp's, and nobody can go on",
               waiting, warps, events, at_grid);
        abandoned = true;
    }
    checker_settles();
    if (!abandoned) checker_block_ends();
    if (abandoned) {                    // what the fibers had begun is given up
        for (unsigned i = 0; i < made; ++i) prepare(fibers[i], run_fiber), idle[i] = i;
        idle_count = made;
    }
}

// Not memset, which sanitizers intercept; bytes one by one would cost more than a small block.
static void fill(char *from, const char *end) {
    typedef long long Words __attribute__((vector_size(16), aligned(1), may_alias));
    for (; size_t(end - from) >= sizeof(Words); from += sizeof(Words)) *(volatile Words *)from = ~Words{};
    for (; from != end; ++from) *(volatile char *)from = char(0xFF);
}

static void run_block(uint64_t which, char *shared, size_t bytes, char *dynamic, size_t dynamic_bytes) {
    const dim3 grid = self.blocks;
    self.block = {unsigned(which % grid.x), unsigned(which / grid.x % grid.y), unsigned(which / grid.x / grid.y)};
    ++running.serial;
    running.block_since = ++running.clock;
    fill(shared, shared + bytes);       // whatever a block finds in shared memory is another's
    fill(dynamic, dynamic + dynamic_bytes);
    checker_next_block();
    if (options.order == SHUFFLE) draw_turns();
    live = running.threads, waiting = head = tail = 0;
    votes[ANY] = 0, votes[ALL] = 1, votes[COUNT] = 0;
    for (unsigned i = 0; i < running.threads; ++i) threads[i].state = NEW, threads[i].fiber = -1;
    for (unsigned i = 0; i < running.threads; ++i) queue[tail++ % (2 * MOST_THREADS)] = turn[i];
    at_grid = 0;
    run_on(shared, bytes, dynamic, dynamic_bytes);
}

// The block that was parked first goes on, from the barrier of the grid.
static void resume(Parked &one, char *shared, char *dynamic) {
    self.block = one.block;
    running.serial = one.serial, live = one.live;
    std::copy(one.threads.begin(), one.threads.end(), threads);
    std::copy(one.shared.begin(), one.shared.end(), shared);
    std::copy(one.dynamic.begin(), one.dynamic.end(), dynamic);
    checker_next_block();
    checker_resumes(one.cells);
    running.block_since = running.grid_since;
    waiting = head = tail = at_grid = 0;
    votes[ANY] = 0, votes[ALL] = 1, votes[COUNT] = 0;
    if (options.order == SHUFFLE) draw_turns();
    for (unsigned i = 0; i < running.threads; ++i)
        if (threads[turn[i]].state == AT_GRID) wake(turn[i]);
    run_on(shared, one.shared.size(), dynamic, one.dynamic.size());
}

extern "C" {

__attribute__((visibility("default"))) void hostcuda_note(int on) { noting = on, noted_count = on ? 0 : noted_count; }
__attribute__((visibility("default"))) const Finding *hostcuda_notes(unsigned *n) {
    *n = noted_count;
    return noted;
}

__attribute__((visibility("default"))) void hostcuda_options(int order, uint64_t seed, int check) {
    options = {order, seed, check};
}

__attribute__((visibility("default"))) const Finding *hostcuda_findings(unsigned *n) {
    *n = count;
    return found;
}

// Returns the number of findings; a launch that has some may have stopped early.
int hostcuda_launch(Kernel kernel, void **arguments, const unsigned *blocks, const unsigned *block, size_t dynamic,
                    Image image) {
    char *shared = image.shared, *shared_end = image.shared_end;
    static std::vector<char> buffer;
    buffer.assign(dynamic + 256, 0);
    char *aligned = (char *)(((uintptr_t)buffer.data() + 127) & ~uintptr_t(127));
    self.dynamic = aligned;
    self.blocks = dim3(blocks[0], blocks[1], blocks[2]);
    self.threads = dim3(block[0], block[1], block[2]);
    running = {};
    running.kernel = kernel, running.arguments = arguments, running.threads = block[0] * block[1] * block[2];
    running.cooperative = !hosting || cooperative;
    cooperative = false;
    self.shared = shared, self.shared_end = shared_end, self.dynamic_end = aligned + dynamic;
    running.held = held.start, running.held_end = held.end;
    held = {};
    Dl_info where;
    if (dladdr(image.end - 1, &where)) running.library = (uintptr_t)where.dli_fbase, running.library_end = (uintptr_t)image.end;
    for (unsigned i = 0; i < running.threads; ++i)
        threads[i].index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
    if (!hosting) count = 0;
    abandoned = false, state = options.seed | 1;
    if (idle_count != made) {           // a process forked within a launch has fibers that nobody will end
        for (unsigned i = 0; i < made; ++i) prepare(fibers[i], run_fiber), idle[i] = i;
        idle_count = made;
    }
    checker_starts(shared, shared_end, dynamic);
    draw_turns();
    if (noting) notes_start();
    const uint64_t total = uint64_t(blocks[0]) * blocks[1] * blocks[2];
    uint64_t step = 1;                  // blocks are shuffled by steps that reach every one
    if (options.order == SHUFFLE)
        do step = random_bits() % total + 1; while (common_divisor(step, total) != 1);
    for (uint64_t i = 0; i < total && !abandoned && count < MOST_FINDINGS; ++i) {
        const uint64_t which = options.order == REVERSE ? total - 1 - i
                               : options.order == SHUFFLE ? uint64_t((unsigned __int128)i * step % total) : i;
        run_block(which, shared, size_t(shared_end - shared), aligned, dynamic);
    }
    while (!parked.empty() && !abandoned && count < MOST_FINDINGS) {
        std::vector<Parked> waits = std::move(parked);
        parked.clear();
        if (waits.size() < total) {
            running.call = running.library;
            report(DIVERGENT, waits[0].threads[0].site, "%zu of the grid's %llu blocks are at this barrier of the grid, the others have returned",
                   waits.size(), (unsigned long long)total);
            abandoned = true;
        }
        running.grid_since = ++running.clock;
        for (Parked &one : waits)
            if (abandoned || count >= MOST_FINDINGS) checker_drops(one.cells);
            else resume(one, shared, aligned);
    }
    if (!parked.empty()) {
        for (Parked &one : parked) checker_drops(one.cells);
        parked.clear();
    }
    if (noting) notes_end(), checker_unwritten();
    running.kernel = nullptr;
    return int(count);
}
}

#ifndef HOSTCUDA_CHECKER
void atomic_access(const void *, unsigned, void *, bool) {}
void fence() {}
void async_copied(const void *, unsigned, void *) {}
void async_committed() {}
void async_waited(unsigned) {}
void checker_unwritten() {}
bool counting;
void patterns_meet(unsigned) {}
void patterns_block_meets() {}
void *checker_parks() { return nullptr; }
void checker_resumes(void *) {}
void checker_drops(void *) {}
void checker_starts(char *, char *, size_t) {}
void checker_next_block() {}
void checker_block_ends() {}
void checker_settles() {}
void checker_region(uintptr_t, size_t, int, const char *, bool, bool) {}
void checker_forgets(uintptr_t) {}
void checker_filled(uintptr_t) {}
bool checker_fits(const void *, size_t, bool, const char *, Site) { return true; }
#endif

// ---------------------------------------------------------------- the host's code
bool hosting;
static size_t most_dynamic = 48 << 10;
void allow_shared(size_t bytes) { most_dynamic = std::max(most_dynamic, bytes); }

void host_fault(int kind, Site site, const char *text) {
    report(Kind(kind), site, "%s", text);
    if (running.kernel) abandon();
}

// Returns why no GPU would start such a launch; "" if one would.
static std::string refusal(const dim3 &grid, const dim3 &block, size_t dynamic) {
    const unsigned sides[] = {grid.x, grid.y, grid.z, block.x, block.y, block.z};
    const unsigned most[] = {2147483647u, 65535, 65535, 1024, 1024, 64};
    for (int i = 0; i < 6; ++i)
        if (sides[i] < 1 || sides[i] > most[i])
            return std::string(i < 3 ? "grid." : "block.") + "xyz"[i % 3] + " must be 1 to " + std::to_string(most[i]) + ", got " +
                   std::to_string(int(sides[i]));
    if (uint64_t(block.x) * block.y * block.z > MOST_THREADS)
        return "a block has at most 1024 threads, got " + std::to_string(block.x) + " x " + std::to_string(block.y) + " x " +
               std::to_string(block.z);
    const size_t limit = std::min(most_dynamic, size_t(227) << 10);
    if (dynamic > limit)
        return "shared memory must be 0 to " + std::to_string(limit) + " bytes, got " + std::to_string(dynamic) +
               "; up to 232448 after cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, ...)";
    return "";
}

// Returns how many blocks a GPU of compute capability 9.0 with 132 multiprocessors holds at once.
static uint64_t resident(const dim3 &block, size_t dynamic) {
    const uint64_t lanes = (uint64_t(block.x) * block.y * block.z + WARP - 1) / WARP * WARP;
    return 132 * std::min({uint64_t(32), 2048 / lanes, uint64_t((228 << 10) / (dynamic + 1024))});
}

bool launched_together(const dim3 &grid, const dim3 &block, size_t dynamic, Site site) {
    const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
    cooperative = true;
    if (!refusal(grid, block, dynamic).empty() || blocks <= resident(block, dynamic)) return false;
    report(LAUNCH, site, "a cooperative launch of %llu blocks, of which a GPU with 132 multiprocessors holds %llu at once",
           (unsigned long long)blocks, (unsigned long long)resident(block, dynamic));
    return true;
}

bool launched(Kernel kernel, void *arguments, size_t bytes, const dim3 &grid, const dim3 &block, size_t dynamic, const char *name,
              Site site, Image image) {
    if (running.kernel) {
        report(MISSING, site, "a kernel that launches a kernel");
        abandon();
    }
    const std::string why = refusal(grid, block, dynamic);
    if (!why.empty()) {
        report(LAUNCH, site, "%s: %s", name, why.c_str());
        return true;
    }
    const unsigned blocks[] = {grid.x, grid.y, grid.z}, threads_of[] = {block.x, block.y, block.z};
    held = {(uintptr_t)arguments, (uintptr_t)arguments + bytes};
    return hostcuda_launch(kernel, (void **)arguments, blocks, threads_of, dynamic, image) != 0;
}

constexpr size_t GUARD = 64 << 10, PAGE = 4096, MOST_LEFT = 1024;
struct Block { char *start, *pages; size_t bytes, room; };
static std::vector<Block> allocated;    // the oldest first

static void unmap(size_t i) {
    checker_forgets((uintptr_t)allocated[i].start);
    munmap(allocated[i].pages, allocated[i].room);
    allocated.erase(allocated.begin() + i);
}

// The end lies where a guard begins, as far as the alignment of 256 bytes allows.
void *allocate(size_t bytes, Site site) {
    const size_t inside = (bytes + PAGE - 1) / PAGE * PAGE, room = inside + 2 * GUARD;
    char *pages = (char *)mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + GUARD, inside, PROT_READ | PROT_WRITE)) {
        report(LAUNCH, site, "no memory for %zu bytes", bytes);
        return nullptr;
    }
    char *start = pages + GUARD + (inside - bytes) / 256 * 256;
    for (size_t i = 0; i < bytes; ++i) start[i] = char(0xFF);      // anybody's, here NaN or -1
    char name[120];
    const char *file = site.file && strrchr(site.file, '/') ? strrchr(site.file, '/') + 1 : site.file;
    snprintf(name, sizeof name, "the memory allocated in %s:%d", file ? file : "?", site.line);
    checker_region((uintptr_t)start, bytes, -1, name, false, true);
    allocated.push_back({start, pages, bytes, room});
    if (allocated.size() > MOST_LEFT) unmap(0);         // of a function that frees nothing
    return start;
}

// Returns whether it is a fault.
bool release(void *pointer, Site site) {
    if (!pointer) return false;
    for (size_t i = allocated.size(); i-- > 0;)
        if (allocated[i].start == pointer) return unmap(i), false;
    report(OUT_OF_BOUNDS, site, "frees an address that was not allocated, or freed already");
    return true;
}

bool fits(const void *p, size_t bytes, bool write, const char *what, Site site) { return checker_fits(p, bytes, write, what, site); }

bool copied(void *to, const void *from, size_t bytes, const char *what, Site site) {
    if (!checker_fits(to, bytes, true, what, site) || !checker_fits(from, bytes, false, what, site)) return true;
    memmove(to, from, bytes);
    return false;
}

bool filled(void *to, int value, size_t bytes, Site site) {
    if (!checker_fits(to, bytes, true, "cudaMemset", site)) return true;
    memset(to, value, bytes);
    return false;
}

// ---------------------------------------------------------------- variables of the device
struct Kept { char *start; size_t bytes; std::string name; std::vector<char> before; };
static std::vector<Kept> variables;

void variable(const char *name, void *start, size_t bytes, bool constant, bool initialised) {
    variables.push_back({(char *)start, bytes, name, {}});
    checker_region((uintptr_t)start, bytes, -1, (std::string(constant ? "constant " : "") + name).c_str(), constant, initialised);
}

bool assigned(const void *symbol, size_t offset, size_t bytes, Site site) {
    for (const Kept &one : variables)
        if (one.start == symbol) {
            checker_filled((uintptr_t)symbol);
            if (offset + bytes <= one.bytes) return false;
            report(OUT_OF_BOUNDS, site, "%zu bytes from byte %zu on are past the end of %s, which has %zu bytes", bytes, offset,
                   one.name.c_str(), one.bytes);
            return true;
        }
    report(OUT_OF_BOUNDS, site, "the symbol is no __device__ or __constant__ variable");
    return true;
}

void hostcuda_host_begins() { hosting = true, count = 0, running.kernel = nullptr; }
unsigned hostcuda_host_ends() { hosting = false; return count; }

extern "C" {
#pragma GCC visibility push(default)
// Whether floating-point numbers were added in the order of the threads since the last question.
int hostcuda_order_rounds() {
    const bool rounds = self.rounds;
    self.rounds = false;
    return rounds;
}
// Every order of threads begins with the same variables.
void hostcuda_keep_variables() {
    for (Kept &one : variables) one.before.assign(one.start, one.start + one.bytes);
}
void hostcuda_restore_variables() {
    for (const Kept &one : variables) std::copy(one.before.begin(), one.before.end(), one.start);
}
#pragma GCC visibility pop
}

}  // namespace hostcuda
