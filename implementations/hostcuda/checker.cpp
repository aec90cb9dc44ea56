// Looks at every access of a kernel that was compiled with -fsanitize=thread: gcc calls these
// functions before each, in place of its own run-time library.
//
// For every byte it keeps who wrote and who read it last, and when on the clock of barriers.  Two
// accesses of different threads, one of them a write, with no barrier between them are a race,
// whether or not this schedule shows it.
#include "runtime.h"
#include <algorithm>
#include <climits>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace hostcuda {

struct Cell {
    uint32_t write_block, write_time;           // block 0: never written in this launch
    uint32_t read_block, read_time;
    uint32_t write_call, read_call;             // by which code, relative to its library
    uint16_t writer, reader, other_reader;      // the readers since the last barrier: one, and any other
    uint8_t atomic;                             // how it was written: PLAIN, ATOMIC or SWAP
    bool many_blocks;                           // read by several blocks
    bool pending;                               // an asynchronous copy of the writer is not waited for
};

// A loop around atomicCAS begins with a plain read of what the others swap; CUDA's guide has it so.
enum : uint8_t { PLAIN, ATOMIC, SWAP };

struct Region {
    uintptr_t start, end;
    int argument;                               // SHARED: of the block; NAMED: `name` says what it is
    std::vector<Cell> cells;
    std::string name;
    bool constant = false, filled = true;       // constant memory, and whether somebody gave it a value
    bool holds(uintptr_t a) const { return a - start < end - start; }
};
enum { SHARED = -2, NAMED = -1 };

static std::vector<Region> regions;             // arguments, variables, what the host's code allocated
static Region fixed, dynamic;
static std::unordered_set<uintptr_t> guards;     // what g++ keeps beside shared variables of a class
// A block that passes a fence and then an atomic shows all that it wrote to whoever comes to that
// atomic later: so the last block may add up what the others left (CUDA's threadFenceReduction).
static std::unordered_map<uintptr_t, std::vector<uint32_t>> shown;
static std::unordered_set<uint32_t> seen;
static bool fenced[MOST_THREADS];            // by whom, since its own last write to an argument
static bool any_fence() { return std::find(fenced, fenced + running.threads, true) != fenced + running.threads; }
static const Site BY_ADDRESS = {nullptr, 0};

void checker_starts(char *shared, char *shared_end, size_t bytes) {
    fixed = {(uintptr_t)shared, (uintptr_t)shared_end, SHARED, {}, {}};
    dynamic = {(uintptr_t)self.dynamic, (uintptr_t)self.dynamic + bytes, SHARED, {}, {}};
    for (Region &region : regions) region.cells.clear();        // one launch ends before the next begins
    shown.clear();
}

// The bytes that a thread's asynchronous copies write, and how many of its groups they are in.
struct Copy { uintptr_t start; unsigned bytes, group; };
static std::vector<Copy> copies[MOST_THREADS];
static unsigned groups[MOST_THREADS];

static Region *shared_at(uintptr_t address) {
    return dynamic.holds(address) ? &dynamic : fixed.holds(address) ? &fixed : nullptr;
}

void async_copied(const void *to, unsigned bytes, void *) {
    Region *region = shared_at((uintptr_t)to);
    if (!region || !options.check || region->cells.empty()) return;
    for (unsigned i = 0; i < bytes; ++i) region->cells[(uintptr_t)to + i - region->start].pending = true;
    copies[self.number].push_back({(uintptr_t)to, bytes, groups[self.number]});
}

void async_committed() { ++groups[self.number]; }

// All but the last `left` of the groups that this thread has committed are complete.
void async_waited(unsigned left) {
    std::vector<Copy> &mine = copies[self.number];
    const unsigned complete = groups[self.number] > left ? groups[self.number] - left : 0;
    for (const Copy &one : mine) {
        Region *region = one.group < complete ? shared_at(one.start) : nullptr;
        for (unsigned i = 0; region && i < one.bytes; ++i) {
            Cell &cell = region->cells[one.start + i - region->start];
            if (cell.pending) cell.pending = false, cell.write_time = running.clock;
        }
    }
    mine.erase(std::remove_if(mine.begin(), mine.end(), [=](const Copy &one) { return one.group < complete; }), mine.end());
}

struct SharedCells { std::vector<Cell> fixed, dynamic; };
void *checker_parks() {
    patterns_block_meets();
    return new SharedCells{std::move(fixed.cells), std::move(dynamic.cells)};
}
void checker_resumes(void *cells) {
    fixed.cells = std::move(((SharedCells *)cells)->fixed), dynamic.cells = std::move(((SharedCells *)cells)->dynamic);
    checker_drops(cells);
}
void checker_drops(void *cells) { delete (SharedCells *)cells; }

void checker_next_block() {
    for (unsigned i = 0; i < running.threads; ++i) copies[i].clear(), groups[i] = 0;
    seen.clear();
    std::fill(fenced, fenced + MOST_THREADS, false);
}

void fence() { fenced[self.number] = true; }

// The library's static shared memory is that of all its kernels: what counts is what this one touched.
void checker_block_ends() {
    constexpr size_t MOST_STATIC = 48 << 10, MOST = 227 << 10;
    const size_t extra = dynamic.end - dynamic.start;
    patterns_block_meets();
    if (fixed.end - fixed.start <= MOST_STATIC && fixed.end - fixed.start + extra <= MOST) return;
    size_t bytes = 0;
    for (const Cell &cell : fixed.cells) bytes += cell.write_block == running.serial || cell.read_block == running.serial;
    running.call = running.library;
    if (bytes > MOST_STATIC)
        report(LAUNCH, BY_ADDRESS, "%zu bytes of static shared memory, a kernel has at most %zu", bytes, MOST_STATIC);
    else if (bytes + extra > MOST)
        report(LAUNCH, BY_ADDRESS, "%zu bytes of shared memory, a block has at most %zu", bytes + extra, MOST);
}

// Whether what a block did may meet with this one, which runs at the same time on a GPU.
static bool apart(uint32_t block, uint32_t time) {
    return block && block != running.serial && time >= running.grid_since && !seen.count(block);
}

// Whether an access of `thread` at `time` in this block is ordered before the one that happens now.
static bool ordered(uint32_t time, unsigned thread) {
    if (time < running.block_since) return true;
    return thread / WARP == self.number / WARP && time < running.warp_since[self.number / WARP];
}

static std::string named(const Region &region) {
    return region.argument == SHARED ? "shared memory" : region.argument == NAMED ? region.name
                                                       : "argument " + std::to_string(region.argument);
}

// \x01 becomes the source line of the other access.
static void race(const char *what, const Region &region, uintptr_t address, unsigned other, bool other_block, uint32_t code) {
    Finding *one = report(RACE, BY_ADDRESS, "%s at byte %zu of %s: %s %u%s\x01", what, size_t(address - region.start),
                          named(region).c_str(), other_block ? "another block's thread" : "thread", other,
                          other_block ? "" : ", and no barrier between");
    if (one) one->other = code;
}

// Two writes are told once the second has happened: then it shows whether both wrote the same.
static struct {
    const Region *region;               // null: nothing is to be told
    uintptr_t address, call;
    unsigned other, bytes;
    bool other_block;
    uint32_t code;
    char before[16];
    Self who;
} late;

void checker_settles() {
    if (!late.region) return;
    const uintptr_t call = running.call;
    const Self now = self;
    bool same = true;
    for (unsigned i = 0; i < late.bytes; ++i) same = same && ((char *)late.address)[i] == late.before[i];
    running.call = late.call, self = late.who;
    race(same ? "write after write (of the same value)" : "write after write", *late.region, late.address, late.other,
         late.other_block, late.code);
    running.call = call, self = now;
    late.region = nullptr;
}

static void write_race(const Region &region, uintptr_t address, const Cell &cell, bool other_block) {
    if (!late.region) late = {&region, address, running.call, cell.writer, 0, other_block, cell.write_call, {}, self};
    if (address == late.address + late.bytes && late.bytes < 16) late.before[late.bytes++] = *(char *)address;
}

static void reads(Region &region, uintptr_t address, Cell &cell) {
    if (region.argument == SHARED && cell.write_block != running.serial)
        report(UNINITIALISED, BY_ADDRESS, "reads byte %zu of shared memory, which nobody in this block has written yet",
               size_t(address - region.start));
    const bool global = region.argument != SHARED;
    if (cell.atomic == SWAP) {
    } else if (global && apart(cell.write_block, cell.write_time))
        race("read after write", region, address, cell.writer, true, cell.write_call);
    else if (cell.write_block == running.serial && cell.writer != self.number && !ordered(cell.write_time, cell.writer))
        race("read after write", region, address, cell.writer, false, cell.write_call);
    if (cell.read_time < running.grid_since) cell.many_blocks = false;
    if (apart(cell.read_block, cell.read_time)) cell.many_blocks = true;
    if (cell.read_block != running.serial || ordered(cell.read_time, cell.reader)) cell.reader = cell.other_reader = self.number;
    else if (cell.reader != self.number) cell.other_reader = self.number;
    cell.read_block = running.serial, cell.read_time = running.clock, cell.read_call = uint32_t(running.call - running.library);
}

static void writes(Region &region, uintptr_t address, Cell &cell, uint8_t atomic) {
    const bool global = region.argument != SHARED;
    if (!(atomic && cell.atomic)) {
        if (global && apart(cell.write_block, cell.write_time))
            write_race(region, address, cell, true);
        else if (cell.write_block == running.serial && cell.writer != self.number && !ordered(cell.write_time, cell.writer))
            write_race(region, address, cell, false);
    }
    if (atomic == SWAP) {
    } else if (global && (apart(cell.read_block, cell.read_time) || (cell.many_blocks && cell.read_time >= running.grid_since)))
        race("write after read", region, address, cell.reader, true, cell.read_call);
    else if (cell.read_block == running.serial)
        for (const unsigned reader : {cell.reader, cell.other_reader})
            if (reader != self.number && !ordered(cell.read_time, reader)) {
                race("write after read", region, address, reader, false, cell.read_call);
                break;
            }
    if (global && !atomic) fenced[self.number] = false;
    cell.write_block = running.serial, cell.write_time = running.clock, cell.writer = self.number, cell.atomic = atomic;
    cell.write_call = uint32_t(running.call - running.library);
}

// An asynchronous copy may write at any time until its thread has waited for it.
static void unfinished(const Region &region, uintptr_t address, const Cell &cell, bool write) {
    Finding *one = report(UNFINISHED, BY_ADDRESS, "%s byte %zu of %s, which an asynchronous copy of thread %u is still to write: that thread has not waited for it\x01",
                          write ? "writes" : "reads", size_t(address - region.start), named(region).c_str(), cell.writer);
    if (one) one->other = cell.write_call;
}

static void touch(Region &region, uintptr_t address, unsigned bytes, bool write, uint8_t atomic) {
    if (region.cells.empty()) region.cells.resize(region.end - region.start);
    for (unsigned i = 0; i < bytes; ++i) {
        Cell &cell = region.cells[address + i - region.start];
        if (cell.pending && cell.write_block == running.serial) unfinished(region, address + i, cell, write);
        cell.pending = false;
        if (write) writes(region, address + i, cell, atomic);
        else reads(region, address + i, cell);
    }
}

static void stray(uintptr_t address, unsigned bytes, bool write) {
    const Region *near = nullptr;
    long best = LONG_MAX;
    for (const Region &region : regions) {
        const long away = address < region.start ? long(region.start - address) : long(address - region.end) + 1;
        if (away < best) best = away, near = &region;
    }
    const char *what = write ? "write" : "read";
    if (near && best < 1 << 20)
        report(OUT_OF_BOUNDS, BY_ADDRESS, "%s of %u bytes, %ld bytes %s %s, which has %zu bytes", what, bytes,
               address < near->start ? best : best - 1, address < near->start ? "before the start of" : "past the end of",
               named(*near).c_str(), size_t(near->end - near->start));
    else
        report(OUT_OF_BOUNDS, BY_ADDRESS, "%s of %u bytes at an address that is no argument's (0x%zx)", what, bytes, address);
    abandon();                          // before it happens
}

// A thread runs until it waits: one that only looks, again and again, looks forever.
static void spins(uintptr_t address) {
    static uintptr_t last;
    static unsigned looks, who;
    if (address != last || who != self.number) last = address, who = self.number, looks = 0;
    if (++looks < 1u << 25) return;
    looks = 0;
    report(DEADLOCK, BY_ADDRESS, "waits in a loop for a value that another thread is to give, with no barrier or vote in the loop");
    abandon();
}

static void access(const void *pointer, unsigned bytes, bool write, uint8_t atomic = PLAIN) {
    const uintptr_t address = (uintptr_t)pointer;
    checker_settles();
    if (!running.kernel || !options.check || address - (uintptr_t)&self < sizeof self || on_my_stack(address)) return;
    if (address - running.held < running.held_end - running.held) return;
    spins(address);
    if (bytes == 1 && fixed.holds(address) && guards.count(address - fixed.start)) return;
    Region *region = dynamic.holds(address) ? &dynamic : fixed.holds(address) ? &fixed : nullptr;
    for (size_t i = regions.size(); !region && i-- > 0;)
        if (regions[i].holds(address)) region = &regions[i];
    if (!region) {
        const bool constant = address - running.library < running.library_end - running.library && !write;
        if (!constant && !in_slots(address)) stray(address, bytes, write);
        return;
    }
    if (address + bytes > region->end) {
        report(OUT_OF_BOUNDS, BY_ADDRESS, "%s of %u bytes across the end of %s", write ? "write" : "read", bytes, named(*region).c_str());
        abandon();
    }
    if (region->constant && write) {
        report(OUT_OF_BOUNDS, BY_ADDRESS, "a kernel writes to %s", region->name.c_str());
        abandon();
    }
    if (!region->filled && !write) {
        report(MISSING, BY_ADDRESS, "reads %s, which no host code filled (name the host function that does, in a comment)", region->name.c_str());
        abandon();
    }
    if (bytes <= 16 && !(bytes & (bytes - 1)) && address % bytes)
        report(MISALIGNED, BY_ADDRESS, "%s of %u bytes at an address that is no multiple of it", write ? "write" : "read", bytes);
    if (counting && atomic == PLAIN && !region->constant)
        pattern(address - region->start, bytes, write, region->argument == SHARED, region->argument, region->name);
    touch(*region, address, bytes, write, atomic);
}

// Arrays that a launch writes to in part: what no thread has written is as it was before.
void checker_unwritten() {
    for (const Region &region : regions) {
        size_t written = 0, first = region.cells.size();
        for (size_t i = 0; i < region.cells.size(); ++i) {
            if (region.cells[i].write_block) ++written;
            else if (first == region.cells.size()) first = i;
        }
        if (!written || written == region.cells.size()) continue;
        note(UNWRITTEN, region.start, "no thread writes %zu of the %zu bytes of %s, the first of them byte %zu", region.cells.size() - written,
             region.cells.size(), named(region).c_str(), first);
    }
}

void checker_region(uintptr_t start, size_t bytes, int argument, const char *name, bool constant, bool filled) {
    regions.push_back({start, start + bytes, argument, {}, name, constant, filled});
}

void checker_forgets(uintptr_t start) {
    regions.erase(std::remove_if(regions.begin(), regions.end(), [=](const Region &one) { return one.start == start && one.argument == NAMED; }),
                  regions.end());
}

void checker_filled(uintptr_t start) {
    for (Region &one : regions)
        if (one.start == start && one.argument == NAMED) one.filled = true;
}

// Whether the host may copy to, or from, these bytes: those that begin in memory of the device must end there.
bool checker_fits(const void *pointer, size_t bytes, bool write, const char *what, Site site) {
    const uintptr_t start = (uintptr_t)pointer;
    if (!pointer && bytes) {
        report(OUT_OF_BOUNDS, site, "%s of %zu bytes %s a null pointer", what, bytes, write ? "to" : "from");
        return false;
    }
    for (const Region &one : regions)
        if (one.holds(start) && start + bytes > one.end) {
            report(OUT_OF_BOUNDS, site, "%s of %zu bytes %s byte %zu of %s, which has %zu bytes", what, bytes, write ? "to" : "from",
                   size_t(start - one.start), named(one).c_str(), size_t(one.end - one.start));
            return false;
        }
    return true;
}

void __attribute__((noinline)) atomic_access(const void *address, unsigned bytes, void *caller, bool swap) {
    running.call = (uintptr_t)caller - 1;
    access(address, bytes, true, swap ? SWAP : ATOMIC);
    std::vector<uint32_t> &blocks = shown[(uintptr_t)address];
    seen.insert(blocks.begin(), blocks.end());
    if (any_fence() && (blocks.empty() || blocks.back() != running.serial)) blocks.push_back(running.serial);
}

extern "C" {
#pragma GCC visibility push(default)

void hostcuda_guards(const uintptr_t *offsets, size_t count) { guards = {offsets, offsets + count}; }
void hostcuda_forget_arguments() {
    regions.erase(std::remove_if(regions.begin(), regions.end(), [](const Region &one) { return one.argument != NAMED; }), regions.end());
}
void hostcuda_argument(uintptr_t start, size_t bytes, int number) { checker_region(start, bytes, number, "", false, true); }

#define CALLER (running.call = (uintptr_t)__builtin_return_address(0) - 1)
#define ACCESS(N) \
    void __tsan_read##N(void *p) { CALLER; access(p, N, false); } \
    void __tsan_write##N(void *p) { CALLER; access(p, N, true); } \
    void __tsan_unaligned_read##N(void *p) { CALLER; access(p, N, false); } \
    void __tsan_unaligned_write##N(void *p) { CALLER; access(p, N, true); } \
    void __tsan_volatile_read##N(void *p) { CALLER; access(p, N, false); } \
    void __tsan_volatile_write##N(void *p) { CALLER; access(p, N, true); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
static void range(const char *p, size_t bytes, bool write) {
    const bool was = counting;
    counting = false;                   // a GPU takes more than a byte at once
    for (size_t i = 0; i < bytes; ++i) access(p + i, 1, write);
    counting = was;
}
void __tsan_read_range(void *p, size_t n) { CALLER; range((const char *)p, n, false); }
void __tsan_write_range(void *p, size_t n) { CALLER; range((const char *)p, n, true); }
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void __tsan_vptr_update(void *, void *) {}
void __tsan_vptr_read(void *) {}

// What becomes of std::atomic, and of variables that are made at their first use.
#define ATOMIC(BITS, T) \
    T __tsan_atomic##BITS##_load(const volatile T *p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
    void __tsan_atomic##BITS##_store(volatile T *p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); } \
    T __tsan_atomic##BITS##_exchange(volatile T *p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
    T __tsan_atomic##BITS##_fetch_add(volatile T *p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
    T __tsan_atomic##BITS##_fetch_sub(volatile T *p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
    T __tsan_atomic##BITS##_fetch_and(volatile T *p, T v, int) { return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST); } \
    T __tsan_atomic##BITS##_fetch_or(volatile T *p, T v, int) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); } \
    int __tsan_atomic##BITS##_compare_exchange_strong(volatile T *p, T *e, T v, int, int) { \
        return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    } \
    int __tsan_atomic##BITS##_compare_exchange_weak(volatile T *p, T *e, T v, int, int) { \
        return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    }
ATOMIC(8, uint8_t) ATOMIC(16, uint16_t) ATOMIC(32, uint32_t) ATOMIC(64, uint64_t)
void __tsan_atomic_thread_fence(int) {}

// What -fsanitize=signed-integer-overflow,bounds-strict,... calls, with the source line first.
struct Where { const char *file; unsigned line, column; };
#define UNDEFINED_BEHAVIOUR(NAME, KIND, TEXT) \
    void __ubsan_handle_##NAME(Where *where, ...) { \
        CALLER; \
        report(KIND, {where->file, int(where->line)}, TEXT); \
        if (running.kernel) abandon(); \
    }
UNDEFINED_BEHAVIOUR(out_of_bounds, OUT_OF_BOUNDS, "an array index is outside the array")
UNDEFINED_BEHAVIOUR(add_overflow, OVERFLOW_, "a signed sum overflows")
UNDEFINED_BEHAVIOUR(sub_overflow, OVERFLOW_, "a signed difference overflows")
UNDEFINED_BEHAVIOUR(mul_overflow, OVERFLOW_, "a signed product overflows")
UNDEFINED_BEHAVIOUR(negate_overflow, OVERFLOW_, "a negated number overflows")
UNDEFINED_BEHAVIOUR(divrem_overflow, UNDEFINED, "a division by zero, or one that overflows")
UNDEFINED_BEHAVIOUR(shift_out_of_bounds, UNDEFINED, "a shift by more bits than there are, or of a negative number")
UNDEFINED_BEHAVIOUR(float_cast_overflow, UNDEFINED, "a number that the integer type cannot hold (a GPU gives the nearest, C++ anything)")
UNDEFINED_BEHAVIOUR(type_mismatch_v1, MISALIGNED, "a pointer that is null or not a multiple of what its type needs")
#pragma GCC visibility pop
}

}  // namespace hostcuda
