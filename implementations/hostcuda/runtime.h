// What the scheduler and the checker of hostcuda share.
#pragma once
#include "include/hostcuda.h"
#include <string>

namespace hostcuda {

constexpr unsigned MOST_THREADS = 1024, WARP = 32, MOST_FINDINGS = 8, MOST_FIBERS = 16384, SCRATCH = 32 << 10;
constexpr size_t STACK = 1 << 20;            // of a thread; a GPU gives 512 KiB of local memory

enum Kind : int {
    OUT_OF_BOUNDS, RACE, UNINITIALISED, DIVERGENT, MISALIGNED, OVERFLOW_, UNDEFINED, DEADLOCK, LAUNCH, LANE, FAILED, MISSING, UNFINISHED,
};

// One thing that a kernel did wrong; read by Python, which has the same struct.
struct Finding {
    int kind, line;                 // the line 0: `address` says where
    unsigned block[3], thread[3];
    uintptr_t address;              // of the code, relative to its library
    uintptr_t other;                // of the code that another thread ran before, in a race; or 0
    char file[64], text[200];
};

struct Options { int order; uint64_t seed; int check; };
enum Order { FORWARD, REVERSE, SHUFFLE };

struct Running {                    // the launch that is on
    Kernel kernel;
    void **arguments;
    unsigned threads;
    uintptr_t held, held_end;       // what a launch of the host code passes
    uintptr_t library, library_end; // where the kernel's code and constants lie
    uintptr_t call;                 // the code that made the access that is looked at
    uint32_t clock;                 // counts barriers: what came before the last one is ordered
    uint32_t block_since, warp_since[MOST_THREADS / WARP];
    uint32_t grid_since;            // likewise of the whole grid
    uint32_t serial;                // of the block
    bool cooperative;               // whether blocks can wait for each other
};
extern Running running;
extern Options options;

// What is no fault, but explains a wrong result; kept where notes are asked for.  Told once for a line.
enum NoteKind : int { ABSENT_LANE, UNWRITTEN, AROSE };
void note(int kind, uintptr_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));
extern bool noting;
void notes_start();                 // floating-point traps on, and off again
void notes_end();
void checker_unwritten();

// What accesses of a warp cost, counted where it is asked for; `at` is from the start of the array.
extern bool counting;
void pattern(uintptr_t at, unsigned bytes, bool write, bool shared, int argument, const std::string &name);
void patterns_meet(unsigned warp);
void patterns_block_meets();

Finding *report(Kind, Site, const char *format, ...) __attribute__((format(printf, 3, 4)));     // null: it was reported before
unsigned findings();
[[noreturn]] void abandon();        // end the launch here: the thread does not go on
bool on_my_stack(uintptr_t);
bool in_slots(uintptr_t);

void checker_starts(char *shared, char *shared_end, size_t dynamic);
void checker_next_block();
void checker_block_ends();
void *checker_parks();              // gives what is known of a block's shared memory, which waits
void checker_resumes(void *);
void checker_drops(void *);
void checker_settles();             // what is decided once a write has happened

// Memory that a kernel may use; `name` is a string of its own, argument -1.
void checker_region(uintptr_t start, size_t bytes, int argument, const char *name, bool constant, bool filled);
void checker_forgets(uintptr_t start);
void checker_filled(uintptr_t start);
bool checker_fits(const void *start, size_t bytes, bool write, const char *what, Site);
extern bool hosting;                // a function of the host's code runs

}  // namespace hostcuda
