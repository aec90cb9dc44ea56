// Counts what accesses of a warp cost on a GPU: passes over the 32 banks of shared memory, and
// sectors of 32 bytes of the other.
//
// Lanes run one after the other, so what a warp does at once is put together afterwards: the n-th
// time that each lane comes to an access after a barrier is one access of the warp.
#include "runtime.h"
#include <algorithm>
#include <unordered_map>
#include <vector>

namespace hostcuda {

constexpr unsigned WARPS = MOST_THREADS / WARP, MOST_TIMES = 256, BANKS = 32, WORD = 4, SECTOR = 32;

// One access of a warp: the lanes that take part, and where each goes from its array's start.
struct Together { uint32_t lanes; uintptr_t at[WARP]; };

struct OfWarp { std::vector<Together> times; uint16_t count[WARP]; };

// One instruction; read by Python, which has the same struct.
struct Pattern {
    uintptr_t address;              // of the code, relative to its library
    uint64_t times, used, least;    // accesses of warps; passes or sectors: used, and needed at least
    unsigned worst, block[3], thread[3];        // the most that one access used; the first that used too many
    unsigned bytes;                 // of a lane
    int shared, write, argument;
    char name[64];                  // of the memory that it went to first
};

static std::vector<Pattern> patterns;
static std::vector<OfWarp> open[WARPS];         // by warp and pattern
static std::vector<unsigned> touched[WARPS];    // the patterns with an access since the warp's last barrier
static std::unordered_map<uintptr_t, unsigned> numbers;
bool counting;

static unsigned numbered(uintptr_t code, unsigned bytes, bool shared, bool write, int argument, const std::string &name) {
    const auto [found, is_new] = numbers.try_emplace(code * 2 + shared, unsigned(patterns.size()));
    if (is_new) {
        patterns.push_back({code, 0, 0, 0, 0, {}, {}, bytes, shared, write, argument, {}});
        snprintf(patterns.back().name, sizeof patterns.back().name, "%s", name.c_str());
    }
    return found->second;
}

// What this thread does now; `at` is the distance from the start of the array.
void pattern(uintptr_t at, unsigned bytes, bool write, bool shared, int argument, const std::string &name) {
    const unsigned warp = self.number / WARP, which = numbered(running.call - running.library, bytes, shared, write, argument, name);
    if (open[warp].size() <= which) open[warp].resize(patterns.size());
    OfWarp &mine = open[warp][which];
    const unsigned time = mine.count[lane()];
    if (time == MOST_TIMES) return;
    if (mine.times.empty()) touched[warp].push_back(which);
    if (mine.times.size() == time) mine.times.push_back({});
    Together &now = mine.times[time];
    now.lanes |= 1u << lane(), now.at[lane()] = at;
    ++mine.count[lane()];
}

// Each bank gives a pass one word, to all lanes that ask for it; of 8 or 16 bytes a lane, half or a
// quarter of the lanes go at once.
static void passes(const Together &all, unsigned bytes, unsigned &used, unsigned &least) {
    const unsigned parts = std::max(1u, bytes / WORD), lanes = WARP / parts;
    for (unsigned part = 0; part < parts; ++part) {
        std::vector<uintptr_t> words;
        for (unsigned i = part * lanes; i < (part + 1) * lanes; ++i)
            for (unsigned byte = 0; (all.lanes >> i & 1) && byte < bytes; byte += WORD) words.push_back((all.at[i] + byte) / WORD);
        std::sort(words.begin(), words.end());
        words.erase(std::unique(words.begin(), words.end()), words.end());
        unsigned of[BANKS] = {};
        for (const uintptr_t word : words) ++of[word % BANKS];
        used += *std::max_element(of, of + BANKS), least += !words.empty();
    }
}

static void sectors(const Together &all, unsigned bytes, unsigned &used, unsigned &least) {
    std::vector<uintptr_t> found, where;
    for (unsigned i = 0; i < WARP; ++i)
        for (unsigned byte = 0; (all.lanes >> i & 1) && byte < bytes; ++byte) where.push_back(all.at[i] + byte);
    std::sort(where.begin(), where.end());
    where.erase(std::unique(where.begin(), where.end()), where.end());
    for (const uintptr_t byte : where)
        if (found.empty() || found.back() != byte / SECTOR) found.push_back(byte / SECTOR);
    used = unsigned(found.size()), least = unsigned((where.size() + SECTOR - 1) / SECTOR);
}

static void counted(Pattern &one, const Together &all, unsigned warp) {
    unsigned used = 0, least = 0;
    (one.shared ? passes : sectors)(all, one.bytes, used, least);
    if (used > least && one.used == one.least) {
        const unsigned number = warp * WARP + unsigned(__builtin_ctz(all.lanes)), x = self.threads.x, y = self.threads.y;
        const unsigned first[] = {number % x, number / x % y, number / x / y}, block[] = {self.block.x, self.block.y, self.block.z};
        std::copy(first, first + 3, one.thread), std::copy(block, block + 3, one.block);
    }
    ++one.times, one.used += used, one.least += least, one.worst = std::max(one.worst, used);
}

// A warp's lanes have met: what they did before is put together.
void patterns_meet(unsigned warp) {
    for (const unsigned which : touched[warp]) {
        OfWarp &mine = open[warp][which];
        for (const Together &all : mine.times) counted(patterns[which], all, warp);
        mine.times.clear();
        std::fill(mine.count, mine.count + WARP, 0);
    }
    touched[warp].clear();
}

void patterns_block_meets() {
    for (unsigned warp = 0; counting && warp * WARP < running.threads; ++warp) patterns_meet(warp);
}

extern "C" {
#pragma GCC visibility push(default)
void hostcuda_count(int on) {
    counting = on;
    if (!on) return;
    patterns.clear(), numbers.clear();
    for (unsigned warp = 0; warp < WARPS; ++warp) open[warp].clear(), touched[warp].clear();
}
const Pattern *hostcuda_patterns(unsigned *n) {
    *n = unsigned(patterns.size());
    return patterns.data();
}
#pragma GCC visibility pop
}

}  // namespace hostcuda
