// cuRAND on the host's side: Philox 4x32-10 for every kind of generator.
#pragma once
#include "curand_kernel.h"

typedef hostcuda::Philox *curandGenerator_t;
typedef enum { CURAND_STATUS_SUCCESS = 0, CURAND_STATUS_NOT_INITIALIZED = 101, CURAND_STATUS_TYPE_ERROR = 103 } curandStatus_t;
typedef curandStatus_t curandStatus;
typedef enum { CURAND_RNG_PSEUDO_DEFAULT = 100, CURAND_RNG_PSEUDO_XORWOW = 101, CURAND_RNG_PSEUDO_MRG32K3A = 121, CURAND_RNG_PSEUDO_MTGP32 = 141, CURAND_RNG_PSEUDO_MT19937 = 142, CURAND_RNG_PSEUDO_PHILOX4_32_10 = 161 } curandRngType_t;
typedef enum { CURAND_ORDERING_PSEUDO_BEST = 100, CURAND_ORDERING_PSEUDO_DEFAULT = 101, CURAND_ORDERING_PSEUDO_SEEDED = 102 } curandOrdering_t;

static inline curandStatus_t curandCreateGenerator(curandGenerator_t *g, curandRngType_t) { *g = new hostcuda::Philox; (*g)->start(0, 0, 0); return CURAND_STATUS_SUCCESS; }
static inline curandStatus_t curandCreateGeneratorHost(curandGenerator_t *g, curandRngType_t t) { return curandCreateGenerator(g, t); }
static inline curandStatus_t curandDestroyGenerator(curandGenerator_t g) { delete g; return CURAND_STATUS_SUCCESS; }
static inline curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t g, unsigned long long seed) { g->start(seed, 0, 0); return CURAND_STATUS_SUCCESS; }
static inline curandStatus_t curandSetGeneratorOffset(curandGenerator_t g, unsigned long long n) { g->start((uint64_t)g->key[1] << 32 | g->key[0], 0, n); return CURAND_STATUS_SUCCESS; }
static inline curandStatus_t curandSetStream(curandGenerator_t, cudaStream_t) { return CURAND_STATUS_SUCCESS; }
static inline curandStatus_t curandSetGeneratorOrdering(curandGenerator_t, curandOrdering_t) { return CURAND_STATUS_SUCCESS; }
template <class T, class F> static inline curandStatus_t hostcuda_drawn(T *to, size_t n, const char *name, hostcuda::Site site, F draw) {
    hostcuda::or_stop(!hostcuda::fits(to, n * sizeof(T), true, name, site));
    for (size_t i = 0; i < n; ++i) to[i] = draw();
    return CURAND_STATUS_SUCCESS;
}
static inline curandStatus_t curandGenerate(curandGenerator_t g, unsigned *to, size_t n, HOSTCUDA_LINE) { return hostcuda_drawn(to, n, "curandGenerate", {file, line}, [&] { return g->next(); }); }
static inline curandStatus_t curandGenerateUniform(curandGenerator_t g, float *to, size_t n, HOSTCUDA_LINE) { return hostcuda_drawn(to, n, "curandGenerateUniform", {file, line}, [&] { return g->uniform(); }); }
static inline curandStatus_t curandGenerateUniformDouble(curandGenerator_t g, double *to, size_t n, HOSTCUDA_LINE) { return hostcuda_drawn(to, n, "curandGenerateUniformDouble", {file, line}, [&] { return g->uniform_double(); }); }
static inline curandStatus_t curandGenerateNormal(curandGenerator_t g, float *to, size_t n, float mean, float deviation, HOSTCUDA_LINE) { return hostcuda_drawn(to, n, "curandGenerateNormal", {file, line}, [&] { return mean + deviation * g->normal(); }); }
static inline curandStatus_t curandGenerateNormalDouble(curandGenerator_t g, double *to, size_t n, double mean, double deviation, HOSTCUDA_LINE) { return hostcuda_drawn(to, n, "curandGenerateNormalDouble", {file, line}, [&] { return mean + deviation * g->normal(); }); }
