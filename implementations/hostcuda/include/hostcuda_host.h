// What the host code of a CUDA file finds when it runs on the CPU: launches, memory, and the runtime's functions.
//
// Device memory is guarded memory of this process.  A fault ends the host function by an exception, which the
// exported wrapper (HOSTCUDA_HOST_EXPORT) catches; Python reads what was found.
#pragma once
#include <cstdlib>
#include <tuple>

namespace hostcuda {

#pragma GCC visibility push(default)
bool launched(Kernel, void *arguments, size_t bytes, const dim3 &grid, const dim3 &block, size_t dynamic, const char *name,
              Site, Image);
void *allocate(size_t bytes, Site);
bool release(void *, Site);
bool copied(void *to, const void *from, size_t bytes, const char *what, Site);
bool fits(const void *, size_t bytes, bool write, const char *what, Site);     // what a library reads or writes
bool launched_together(const dim3 &grid, const dim3 &block, size_t dynamic, Site);
bool filled(void *to, int value, size_t bytes, Site);
bool assigned(const void *symbol, size_t offset, size_t bytes, Site);      // the host fills a variable of the device
void variable(const char *name, void *start, size_t bytes, bool constant, bool initialised);
void allow_shared(size_t bytes);
void host_fault(int kind, Site, const char *text);
extern "C" void hostcuda_host_begins();
extern "C" unsigned hostcuda_host_ends();
#pragma GCC visibility pop

struct Variable {
    Variable(const char *name, const void *start, size_t bytes, bool constant, bool initialised) {
        variable(name, const_cast<void *>(start), bytes, constant, initialised);
    }
};

struct Sizes {
    dim3 grid, block;
    size_t dynamic;
    template <class S = int> Sizes(dim3 grid, dim3 block, size_t dynamic = 0, S = S()) : grid(grid), block(block), dynamic(dynamic) {}
};

struct Null {           // a literal 0 or NULL, which may be meant for a pointer
    template <class T> operator T *() const { return nullptr; }
    template <class T, class = std::enable_if_t<std::is_arithmetic<T>::value>> operator T() const { return T(); }
};

// The arguments are kept as a launch passes them, and every thread gets copies.
template <class F, class... A> struct Launch {
    F run;
    std::tuple<A...> held;
    template <size_t... I> __attribute__((no_sanitize_thread)) void spread(std::index_sequence<I...>) { run(std::get<I>(held)...); }
    __attribute__((no_sanitize_thread)) static void thread(void **launch) {
        ((Launch *)launch)->spread(std::index_sequence_for<A...>{});
    }
};
template <class F, class... A>
void launch(Site site, const char *name, F run, Sizes sizes, A &&...given) {
    Launch<F, std::decay_t<A>...> one{run, std::tuple<std::decay_t<A>...>(std::forward<A>(given)...)};
    if (launched(&decltype(one)::thread, &one, sizeof one, sizes.grid, sizes.block, sizes.dynamic, name, site, image()))
        throw Stopped{};
}
[[noreturn]] inline void missing(const char *text, Site site) { host_fault(11, site, text); throw Stopped{}; }
[[noreturn]] inline void leaves(const char *how, int code, Site site) {
    char text[100];
    snprintf(text, sizeof text, "the host code calls %s(%d)", how, code);
    host_fault(10, site, text);
    throw Stopped{};
}
inline void or_stop(bool fault) { if (fault) throw Stopped{}; }

}  // namespace hostcuda

#define HOSTCUDA_STARTED(...) {__FILE__, __LINE__}, #__VA_ARGS__, \
    [&](auto &...hostcuda_a) __attribute__((no_sanitize_thread)) { __VA_ARGS__(hostcuda_a...); }

typedef enum cudaError {
    cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorInitializationError = 3,
    cudaErrorInvalidConfiguration = 9, cudaErrorInvalidSymbol = 13, cudaErrorNoDevice = 100, cudaErrorInvalidDevice = 101,
    cudaErrorNotReady = 600, cudaErrorIllegalAddress = 700, cudaErrorLaunchFailure = 719, cudaErrorUnknown = 999
} cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
enum { cudaMemAttachGlobal = 1, cudaMemAttachHost = 2, cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaHostAllocMapped = 2,
       cudaHostRegisterDefault = 0, cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventBlockingSync = 1,
       cudaEventDisableTiming = 2, cudaCpuDeviceId = -1, cudaOccupancyDefault = 0, cudaDeviceScheduleAuto = 0 };
enum cudaFuncCache { cudaFuncCachePreferNone, cudaFuncCachePreferShared, cudaFuncCachePreferL1, cudaFuncCachePreferEqual };
enum cudaSharedMemConfig { cudaSharedMemBankSizeDefault, cudaSharedMemBankSizeFourByte, cudaSharedMemBankSizeEightByte };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout = 9 };
enum cudaMemoryAdvise { cudaMemAdviseSetReadMostly = 1, cudaMemAdviseSetPreferredLocation = 3, cudaMemAdviseSetAccessedBy = 5 };
enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1, cudaDevAttrMaxSharedMemoryPerBlock = 8, cudaDevAttrWarpSize = 10, cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrMaxThreadsPerMultiProcessor = 39, cudaDevAttrComputeCapabilityMajor = 75, cudaDevAttrComputeCapabilityMinor = 76, cudaDevAttrClockRate = 13, cudaDevAttrCooperativeLaunch = 95, cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor, totalConstMem, memPitch, textureAlignment;
    int regsPerBlock, warpSize, maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3], clockRate, major, minor, multiProcessorCount;
    int maxThreadsPerMultiProcessor, maxBlocksPerMultiProcessor, memoryClockRate, memoryBusWidth, l2CacheSize, concurrentKernels;
    int unifiedAddressing, managedMemory, concurrentManagedAccess, canMapHostMemory, asyncEngineCount, integrated, cooperativeLaunch, deviceOverlap;
    int regsPerMultiprocessor, ECCEnabled, pciBusID, pciDeviceID;
};
struct cudaFuncAttributes { size_t sharedSizeBytes, constSizeBytes, localSizeBytes; int maxThreadsPerBlock, numRegs, maxDynamicSharedSizeBytes; };

#define HOSTCUDA_API static inline cudaError_t
#define HOSTCUDA_NOTHING(name) template <class... A> HOSTCUDA_API name(A &&...) { return cudaSuccess; }
HOSTCUDA_NOTHING(cudaDeviceSynchronize) HOSTCUDA_NOTHING(cudaThreadSynchronize) HOSTCUDA_NOTHING(cudaGetLastError)
HOSTCUDA_NOTHING(cudaPeekAtLastError) HOSTCUDA_NOTHING(cudaStreamSynchronize) HOSTCUDA_NOTHING(cudaStreamDestroy)
HOSTCUDA_NOTHING(cudaStreamWaitEvent) HOSTCUDA_NOTHING(cudaStreamQuery) HOSTCUDA_NOTHING(cudaEventRecord) HOSTCUDA_NOTHING(cudaEventSynchronize)
HOSTCUDA_NOTHING(cudaEventDestroy) HOSTCUDA_NOTHING(cudaEventQuery) HOSTCUDA_NOTHING(cudaSetDevice) HOSTCUDA_NOTHING(cudaDeviceReset)
HOSTCUDA_NOTHING(cudaThreadExit) HOSTCUDA_NOTHING(cudaSetDeviceFlags) HOSTCUDA_NOTHING(cudaDeviceSetCacheConfig)
HOSTCUDA_NOTHING(cudaFuncSetCacheConfig) HOSTCUDA_NOTHING(cudaDeviceSetSharedMemConfig) HOSTCUDA_NOTHING(cudaFuncSetSharedMemConfig)
HOSTCUDA_NOTHING(cudaDeviceSetLimit) HOSTCUDA_NOTHING(cudaMemPrefetchAsync) HOSTCUDA_NOTHING(cudaMemAdvise)
HOSTCUDA_NOTHING(cudaHostRegister) HOSTCUDA_NOTHING(cudaHostUnregister) HOSTCUDA_NOTHING(cudaProfilerStart) HOSTCUDA_NOTHING(cudaProfilerStop)
static inline const char *cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "an error of the CUDA runtime"; }
static inline const char *cudaGetErrorName(cudaError_t e) { return e == cudaSuccess ? "cudaSuccess" : "cudaErrorUnknown"; }
template <class... A> HOSTCUDA_API cudaStreamCreate(cudaStream_t *s, A...) { *s = (cudaStream_t)1; return cudaSuccess; }
template <class... A> HOSTCUDA_API cudaStreamCreateWithFlags(cudaStream_t *s, A...) { return cudaStreamCreate(s); }
template <class... A> HOSTCUDA_API cudaStreamCreateWithPriority(cudaStream_t *s, A...) { return cudaStreamCreate(s); }
template <class... A> HOSTCUDA_API cudaEventCreate(cudaEvent_t *e, A...) { *e = (cudaEvent_t)1; return cudaSuccess; }
template <class... A> HOSTCUDA_API cudaEventCreateWithFlags(cudaEvent_t *e, A...) { return cudaEventCreate(e); }
HOSTCUDA_API cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t) { *ms = 1; return cudaSuccess; }
HOSTCUDA_API cudaGetDevice(int *d) { *d = 0; return cudaSuccess; }
HOSTCUDA_API cudaGetDeviceCount(int *n) { *n = 1; return cudaSuccess; }
HOSTCUDA_API cudaRuntimeGetVersion(int *v) { *v = 12000; return cudaSuccess; }
HOSTCUDA_API cudaDriverGetVersion(int *v) { *v = 12000; return cudaSuccess; }
HOSTCUDA_API cudaMemGetInfo(size_t *free, size_t *total) { *free = *total = size_t(80) << 30; return cudaSuccess; }
// The figures of a device of compute capability 9.0.
HOSTCUDA_API cudaGetDeviceProperties(cudaDeviceProp *p, int) {
    *p = {};
    snprintf(p->name, sizeof p->name, "hostcuda");
    p->totalGlobalMem = size_t(80) << 30, p->sharedMemPerBlock = 48 << 10, p->sharedMemPerBlockOptin = 227 << 10;
    p->sharedMemPerMultiprocessor = 228 << 10, p->totalConstMem = 64 << 10, p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->warpSize = 32;
    p->maxThreadsPerBlock = 1024, p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = 9, p->multiProcessorCount = 132, p->maxThreadsPerMultiProcessor = 2048, p->maxBlocksPerMultiProcessor = 32;
    p->clockRate = 1980000, p->memoryClockRate = 2619000, p->memoryBusWidth = 5120, p->l2CacheSize = 50 << 20;
    p->concurrentKernels = p->cooperativeLaunch = p->unifiedAddressing = p->managedMemory = p->canMapHostMemory = 1, p->asyncEngineCount = 3;
    return cudaSuccess;
}
HOSTCUDA_API cudaDeviceGetAttribute(int *value, cudaDeviceAttr which, int) {
    switch (which) {
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 48 << 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 227 << 10; break;
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrL2CacheSize: *value = 50 << 20; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 228 << 10; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; break;
    default: *value = 0;
    }
    return cudaSuccess;
}
template <class F> HOSTCUDA_API cudaFuncSetAttribute(F, cudaFuncAttribute which, int value) {
    if (which == cudaFuncAttributeMaxDynamicSharedMemorySize) hostcuda::allow_shared(value);
    return cudaSuccess;
}
template <class F> HOSTCUDA_API cudaFuncGetAttributes(cudaFuncAttributes *a, F) {
    *a = {};
    a->maxThreadsPerBlock = 1024, a->numRegs = 32, a->maxDynamicSharedSizeBytes = 48 << 10;
    return cudaSuccess;
}
template <class F> HOSTCUDA_API cudaOccupancyMaxPotentialBlockSize(int *grid, int *block, F, size_t = 0, int most = 0) {
    *block = most ? most : 1024, *grid = 132 * 2;
    return cudaSuccess;
}
template <class F> HOSTCUDA_API cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, F, int block, size_t) {
    *blocks = 2048 / (block < 64 ? 64 : block);
    return cudaSuccess;
}

template <class T> HOSTCUDA_API cudaMalloc(T **p, size_t bytes, HOSTCUDA_LINE) { *p = (T *)hostcuda::allocate(bytes, {file, line}); return cudaSuccess; }
template <class T> HOSTCUDA_API cudaMallocManaged(T **p, size_t bytes, unsigned = 1, HOSTCUDA_LINE) { return cudaMalloc(p, bytes, file, line); }
template <class T> HOSTCUDA_API cudaMallocHost(T **p, size_t bytes, unsigned = 0, HOSTCUDA_LINE) { return cudaMalloc(p, bytes, file, line); }
template <class T> HOSTCUDA_API cudaHostAlloc(T **p, size_t bytes, unsigned = 0, HOSTCUDA_LINE) { return cudaMalloc(p, bytes, file, line); }
template <class T> HOSTCUDA_API cudaMallocAsync(T **p, size_t bytes, cudaStream_t, HOSTCUDA_LINE) { return cudaMalloc(p, bytes, file, line); }
template <class T> HOSTCUDA_API cudaMallocPitch(T **p, size_t *pitch, size_t width, size_t height, HOSTCUDA_LINE) {
    *pitch = (width + 511) / 512 * 512;
    return cudaMalloc(p, *pitch * height, file, line);
}
HOSTCUDA_API cudaFree(const void *p, HOSTCUDA_LINE) { hostcuda::or_stop(hostcuda::release((void *)p, {file, line})); return cudaSuccess; }
HOSTCUDA_API cudaFreeHost(const void *p, HOSTCUDA_LINE) { return cudaFree(p, file, line); }
HOSTCUDA_API cudaFreeAsync(const void *p, cudaStream_t, HOSTCUDA_LINE) { return cudaFree(p, file, line); }
HOSTCUDA_API cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind, HOSTCUDA_LINE) {
    hostcuda::or_stop(hostcuda::copied(to, from, bytes, "cudaMemcpy", {file, line}));
    return cudaSuccess;
}
HOSTCUDA_API cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t = 0, HOSTCUDA_LINE) {
    return cudaMemcpy(to, from, bytes, kind, file, line);
}
HOSTCUDA_API cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind kind, HOSTCUDA_LINE) {
    for (size_t row = 0; row < height; ++row)
        cudaMemcpy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width, kind, file, line);
    return cudaSuccess;
}
HOSTCUDA_API cudaMemset(void *to, int value, size_t bytes, HOSTCUDA_LINE) {
    hostcuda::or_stop(hostcuda::filled(to, value, bytes, {file, line}));
    return cudaSuccess;
}
HOSTCUDA_API cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t = 0, HOSTCUDA_LINE) { return cudaMemset(to, value, bytes, file, line); }
template <class T> HOSTCUDA_API cudaMemcpyToSymbol(T &symbol, const void *from, size_t bytes, size_t offset = 0,
                                                   cudaMemcpyKind kind = cudaMemcpyHostToDevice, HOSTCUDA_LINE) {
    hostcuda::or_stop(hostcuda::assigned(&symbol, offset, bytes, {file, line}));
    return cudaMemcpy((char *)&symbol + offset, from, bytes, kind, file, line);
}
template <class T> HOSTCUDA_API cudaMemcpyToSymbolAsync(T &symbol, const void *from, size_t bytes, size_t offset = 0,
                                                        cudaMemcpyKind kind = cudaMemcpyHostToDevice, cudaStream_t = 0, HOSTCUDA_LINE) {
    return cudaMemcpyToSymbol(symbol, from, bytes, offset, kind, file, line);
}
template <class T> HOSTCUDA_API cudaMemcpyFromSymbol(void *to, const T &symbol, size_t bytes, size_t offset = 0,
                                                     cudaMemcpyKind kind = cudaMemcpyDeviceToHost, HOSTCUDA_LINE) {
    return cudaMemcpy(to, (const char *)&symbol + offset, bytes, kind, file, line);
}
template <class P, class T> HOSTCUDA_API cudaGetSymbolAddress(P **p, const T &symbol, HOSTCUDA_LINE) {
    hostcuda::or_stop(hostcuda::assigned(&symbol, 0, sizeof symbol, {file, line}));
    *p = (P *)&symbol;
    return cudaSuccess;
}
template <class... P, size_t... I> void hostcuda_spread(void (*kernel)(P...), hostcuda::Sizes sizes, void **given, std::index_sequence<I...>, hostcuda::Site site) {
    hostcuda::launch(site, "the kernel", [kernel](auto &...a) __attribute__((no_sanitize_thread)) { kernel(a...); }, sizes,
                     *(std::remove_cv_t<std::remove_reference_t<P>> *)given[I]...);
}
enum cudaLaunchAttributeID { cudaLaunchAttributeIgnore, cudaLaunchAttributeAccessPolicyWindow, cudaLaunchAttributeCooperative, cudaLaunchAttributeSynchronizationPolicy,
    cudaLaunchAttributeClusterDimension, cudaLaunchAttributeProgrammaticStreamSerialization = 6, cudaLaunchAttributePriority = 8 };
struct cudaLaunchAttributeValue { int cooperative, programmaticStreamSerializationAllowed, priority; struct { unsigned x, y, z; } clusterDim; };
struct cudaLaunchAttribute { cudaLaunchAttributeID id; cudaLaunchAttributeValue val; };
struct cudaLaunchConfig_t { dim3 gridDim, blockDim; size_t dynamicSmemBytes; cudaStream_t stream; cudaLaunchAttribute *attrs; unsigned numAttrs; };
template <class... P, class... A> HOSTCUDA_API cudaLaunchKernelEx(const cudaLaunchConfig_t *c, void (*kernel)(P...), A &&...given) {
    const hostcuda::Site site = {"", 0};
    for (unsigned i = 0; i < c->numAttrs; ++i) {
        const cudaLaunchAttributeValue &v = c->attrs[i].val;
        if (c->attrs[i].id == cudaLaunchAttributeCooperative && v.cooperative)
            hostcuda::or_stop(hostcuda::launched_together(c->gridDim, c->blockDim, c->dynamicSmemBytes, site));
        if (c->attrs[i].id == cudaLaunchAttributeClusterDimension && v.clusterDim.x * v.clusterDim.y * v.clusterDim.z > 1)
            hostcuda::missing("clusters of blocks", site);
    }
    hostcuda::launch(site, "the kernel", [kernel](auto &...a) __attribute__((no_sanitize_thread)) { kernel(a...); },
                     hostcuda::Sizes(c->gridDim, c->blockDim, c->dynamicSmemBytes), P(std::forward<A>(given))...);
    return cudaSuccess;
}
template <class... P> HOSTCUDA_API cudaLaunchKernel(void (*kernel)(P...), dim3 grid, dim3 block, void **given, size_t dynamic = 0,
                                                    cudaStream_t = 0, HOSTCUDA_LINE) {
    hostcuda_spread(kernel, hostcuda::Sizes(grid, block, dynamic), given, std::index_sequence_for<P...>{}, {file, line});
    return cudaSuccess;
}

template <class F> HOSTCUDA_API cudaLaunchCooperativeKernel(F kernel, dim3 grid, dim3 block, void **given, size_t dynamic = 0, cudaStream_t stream = 0, HOSTCUDA_LINE) {
    hostcuda::or_stop(hostcuda::launched_together(grid, block, dynamic, {file, line}));
    return cudaLaunchKernel(kernel, grid, block, given, dynamic, stream, file, line);
}
static inline cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) { *can = 0; return cudaSuccess; }
static inline cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned) { *device = host; return cudaSuccess; }
template <class T> static inline cudaError_t cudaHostGetDevicePointer(T **device, void *host, unsigned) { *device = (T *)host; return cudaSuccess; }

// A host function as a function of pointers to its arguments; what it returns, if a number, lands in `given`.
namespace hostcuda {
typedef double Returned;      // also where a text's own double is another type
template <class F> struct HostSignature;
template <class R, class... A> struct HostSignature<R (*)(A...)> {
    template <size_t... I> static void spread(R (*f)(A...), void **a, double *given, std::index_sequence<I...>) {
        if constexpr (std::is_arithmetic<R>::value) *given = double(f(*(std::remove_cv_t<std::remove_reference_t<A>> *)a[I]...));
        else f(*(std::remove_cv_t<std::remove_reference_t<A>> *)a[I]...);
    }
    static unsigned call(R (*f)(A...), void **a, double *given) {
        hostcuda_host_begins();
        try { spread(f, a, given, std::index_sequence_for<A...>{}); } catch (const Stopped &) {}
        return hostcuda_host_ends();
    }
};
}  // namespace hostcuda
#define HOSTCUDA_HOST_EXPORT(id, ...) \
    extern "C" __attribute__((visibility("default"))) int hostcuda_kernel_##id(void **hostcuda_a, hostcuda::Returned *hostcuda_g) { \
        return hostcuda::HostSignature<decltype(&__VA_ARGS__)>::call(&__VA_ARGS__, hostcuda_a, hostcuda_g); } \
    HOSTCUDA_DESCRIBED(id, __VA_ARGS__)

static inline void hostcuda_exit(int code, HOSTCUDA_LINE) { hostcuda::leaves("exit", code, {file, line}); }
static inline void hostcuda_abort(HOSTCUDA_LINE) { hostcuda::leaves("abort", 0, {file, line}); }
namespace std { using ::hostcuda_exit; using ::hostcuda_abort; }
#define exit(...) hostcuda_exit(__VA_ARGS__)
#define abort() hostcuda_abort()
