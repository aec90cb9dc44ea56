// What the scheduler and the checker of hostcuda share.
#pragma once
#include "include/hostcuda.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace hostcuda {

constexpr unsigned MOST_THREADS = 1024, WARP = 32, MOST_FINDINGS = 8;
constexpr size_t STACK = 1 << 20;            // of a thread; a GPU gives 512 KiB of local memory

enum Kind : int {
    OUT_OF_BOUNDS, RACE, UNINITIALISED, DIVERGENT, MISALIGNED, OVERFLOW_, UNDEFINED, DEADLOCK, LAUNCH, LANE, FAILED,
};

// One thing that a kernel did wrong; read by Python, which has the same struct.
struct Finding {
    int kind, line;                 // the line 0: `address` says where
    unsigned block[3], thread[3];
    uintptr_t address;              // of the code, relative to its library
    char file[64], text[200];
};

struct Options { int order; uint64_t seed; int check; };
enum Order { FORWARD, REVERSE, SHUFFLE };

struct Running {                    // the launch that is on
    Kernel kernel;
    void **arguments;
    unsigned threads;
    uintptr_t library, library_end; // where the kernel's code and constants lie
    uintptr_t call;                 // the code that made the access that is looked at
    uint32_t clock;                 // counts barriers: what came before the last one is ordered
    uint32_t block_since, warp_since[MOST_THREADS / WARP];
    uint32_t serial;                // of the block
};
extern Running running;
extern Options options;

void report(Kind, Site, const char *format, ...) __attribute__((format(printf, 3, 4)));
unsigned findings();
[[noreturn]] void abandon();        // end the launch here: the thread does not go on
bool on_my_stack(uintptr_t);
bool in_slots(uintptr_t);

void checker_starts(char *shared, char *shared_end, size_t dynamic);
void checker_next_block();
void checker_block_ends();

}  // namespace hostcuda
