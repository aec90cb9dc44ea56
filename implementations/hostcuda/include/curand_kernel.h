// Random numbers within kernels: Philox 4x32-10 for every kind of state (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", 2011).  Of other kinds a GPU draws other numbers of the same distribution.
#pragma once
#include "hostcuda.h"

namespace hostcuda {
struct Philox {
    uint32_t key[2], counter[4], drawn[4];
    int left;
    float second;
    bool has_second;
    void fill() {
        uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k0 = key[0], k1 = key[1];
        for (int round = 0; round < 10; ++round) {
            const uint64_t a = uint64_t(0xD2511F53u) * c[0], b = uint64_t(0xCD9E8D57u) * c[2];
            const uint32_t next[4] = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
            for (int i = 0; i < 4; ++i) c[i] = next[i];
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        for (int i = 0; i < 4; ++i) drawn[i] = c[i];
        for (int i = 0; i < 4 && !++counter[i]; ++i) {}
        left = 4;
    }
    void start(uint64_t seed, uint64_t sequence, uint64_t offset) {
        key[0] = uint32_t(seed), key[1] = uint32_t(seed >> 32);
        counter[0] = uint32_t(offset / 4), counter[1] = uint32_t(offset / 4 >> 32), counter[2] = uint32_t(sequence), counter[3] = uint32_t(sequence >> 32);
        left = 0, has_second = false, second = 0;
        for (uint64_t i = 0; i < offset % 4; ++i) next();
    }
    uint32_t next() {
        if (left <= 0) fill();
        return drawn[4 - left--];
    }
    float uniform() { return float(next()) * 2.3283064e-10f + 1.1641532e-10f; }      // in (0, 1]
    double uniform_double() {
        const uint64_t low = next(), high = next();
        return double((high << 21 ^ low) & ((uint64_t(1) << 53) - 1)) * 0x1p-53 + 0x1p-54;
    }
    float normal() {                                            // Box and Muller's
        if (has_second) { has_second = false; return second; }
        const double r = std::sqrt(-2.0 * std::log(double(uniform()))), angle = 2.0 * M_PI * double(uniform());
        second = float(r * std::cos(angle)), has_second = true;
        return float(r * std::sin(angle));
    }
};
}  // namespace hostcuda

typedef hostcuda::Philox curandStatePhilox4_32_10_t;
typedef hostcuda::Philox curandState, curandState_t, curandStateXORWOW_t, curandStateXORWOW, curandStateMRG32k3a, curandStateMRG32k3a_t;
static inline void curand_init(unsigned long long seed, unsigned long long sequence, unsigned long long offset, hostcuda::Philox *s) { s->start(seed, sequence, offset); }
static inline unsigned curand(hostcuda::Philox *s) { return s->next(); }
static inline uint4 curand4(hostcuda::Philox *s) { const unsigned a = s->next(), b = s->next(), c = s->next(); return {a, b, c, s->next()}; }
static inline float curand_uniform(hostcuda::Philox *s) { return s->uniform(); }
static inline float4 curand_uniform4(hostcuda::Philox *s) { const float a = s->uniform(), b = s->uniform(), c = s->uniform(); return {a, b, c, s->uniform()}; }
static inline double curand_uniform_double(hostcuda::Philox *s) { return s->uniform_double(); }
static inline float curand_normal(hostcuda::Philox *s) { return s->normal(); }
static inline float2 curand_normal2(hostcuda::Philox *s) { const float a = s->normal(); return {a, s->normal()}; }
static inline float4 curand_normal4(hostcuda::Philox *s) { const float a = s->normal(), b = s->normal(), c = s->normal(); return {a, b, c, s->normal()}; }
static inline double curand_normal_double(hostcuda::Philox *s) { return s->normal(); }
static inline float curand_log_normal(hostcuda::Philox *s, float mean, float deviation) { return std::exp(mean + deviation * s->normal()); }
static inline void skipahead(unsigned long long n, hostcuda::Philox *s) { for (; n; --n) s->next(); }
