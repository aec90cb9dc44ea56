// Host code that calls the CUDA runtime: each function returns the line of the first wrong answer, or 0.
#include <cuda_runtime.h>
#include <cuda_profiler_api.h>
#define MUST(so) do { if (!(so)) return __LINE__; } while (0)
__constant__ float scale[2] = {2, 3};
__device__ int counter[4];
__global__ void scaled(const float *x, float *y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * scale[i % 2];
}
int memory(const float *x) {
    float *a, *b, *managed, *pinned, *mapped, *seen, back[8];
    MUST(cudaMallocAsync(&a, 32, 0) == cudaSuccess && cudaMalloc(&b, 32) == cudaSuccess);
    MUST(cudaMallocManaged(&managed, 32) == cudaSuccess);
    MUST(cudaMallocHost(&pinned, 32) == cudaSuccess && cudaHostAlloc(&mapped, 32, 0) == cudaSuccess);
    MUST(cudaHostGetDevicePointer((void **)&seen, mapped, 0) == cudaSuccess && seen == mapped);
    MUST(cudaMemcpyAsync(a, x, 32, cudaMemcpyHostToDevice, 0) == cudaSuccess);
    scaled<<<2, 4>>>(a, managed, 8);
    MUST(cudaPeekAtLastError() == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess);
    for (int i = 0; i < 8; ++i) MUST(managed[i] == x[i] * (2 + i % 2));
    MUST(cudaMemset(b, 0, 32) == cudaSuccess && cudaMemcpy(back, b, 32, cudaMemcpyDeviceToHost) == cudaSuccess);
    for (int i = 0; i < 8; ++i) { MUST(back[i] == 0); pinned[i] = mapped[i] = i; }
    MUST(cudaHostRegister(back, 32, 0) == cudaSuccess && cudaHostUnregister(back) == cudaSuccess);
    MUST(cudaFreeAsync(a, 0) == cudaSuccess && cudaFree(b) == cudaSuccess && cudaFree(managed) == cudaSuccess);
    MUST(cudaFreeHost(pinned) == cudaSuccess && cudaFreeHost(mapped) == cudaSuccess);
    return 0;
}
int rows(const float *x) {
    float *a, back[6];
    size_t pitch = 0;
    MUST(cudaMallocPitch(&a, &pitch, 12, 2) == cudaSuccess && pitch >= 12 && pitch % 32 == 0);
    MUST(cudaMemcpy2D(a, pitch, x, 16, 12, 2, cudaMemcpyHostToDevice) == cudaSuccess);
    MUST(cudaMemcpy2D(back, 12, a, pitch, 12, 2, cudaMemcpyDeviceToHost) == cudaSuccess);
    for (int i = 0; i < 6; ++i) MUST(back[i] == x[i / 3 * 4 + i % 3]);
    cudaFree(a);
    return 0;
}
int symbols(const float *x) {
    const float other[2] = {5, 7};
    float got[2];
    int *where, four[4] = {1, 2, 3, 4}, two[2];
    MUST(cudaMemcpyFromSymbol(got, scale, 8) == cudaSuccess && got[0] == 2 && got[1] == 3);
    MUST(cudaMemcpyToSymbolAsync(scale, other, 8) == cudaSuccess);
    MUST(cudaMemcpyFromSymbol(got, scale, 4, 4) == cudaSuccess && got[0] == 7);
    MUST(cudaGetSymbolAddress((void **)&where, counter) == cudaSuccess);
    MUST(cudaMemcpy(where, four, 16, cudaMemcpyHostToDevice) == cudaSuccess);
    MUST(cudaMemcpyFromSymbol(two, counter, 8, 8) == cudaSuccess && two[0] == 3 && two[1] == 4);
    return x ? 0 : __LINE__;
}
int streams(const float *x) {
    cudaStream_t plain, flagged, urgent;
    cudaEvent_t begun, ended;
    float ms = -1;
    MUST(cudaStreamCreate(&plain) == cudaSuccess && cudaStreamCreateWithFlags(&flagged, cudaStreamNonBlocking) == cudaSuccess);
    MUST(cudaStreamCreateWithPriority(&urgent, cudaStreamNonBlocking, 0) == cudaSuccess);
    MUST(cudaEventCreate(&begun) == cudaSuccess && cudaEventCreateWithFlags(&ended, cudaEventDisableTiming) == cudaSuccess);
    MUST(cudaEventRecord(begun, plain) == cudaSuccess && cudaStreamWaitEvent(flagged, begun, 0) == cudaSuccess);
    MUST(cudaEventRecord(ended, plain) == cudaSuccess && cudaEventQuery(ended) == cudaSuccess);
    MUST(cudaEventSynchronize(ended) == cudaSuccess && cudaStreamQuery(plain) == cudaSuccess);
    MUST(cudaEventElapsedTime(&ms, begun, ended) == cudaSuccess && ms >= 0);
    MUST(cudaEventDestroy(begun) == cudaSuccess && cudaEventDestroy(ended) == cudaSuccess);
    MUST(cudaStreamSynchronize(plain) == cudaSuccess && cudaStreamDestroy(plain) == cudaSuccess);
    return x ? 0 : __LINE__;
}
int devices(const float *x) {
    int count = 0, which = -1, version = 0, most = 0, blocks = 0, least = 0, size = 0, peer = 1;
    size_t room = 0, all = 0;
    cudaDeviceProp of;
    cudaFuncAttributes has;
    MUST(cudaGetDeviceCount(&count) == cudaSuccess && count == 1 && cudaSetDevice(0) == cudaSuccess);
    MUST(cudaGetDevice(&which) == cudaSuccess && which == 0);
    MUST(cudaGetDeviceProperties(&of, 0) == cudaSuccess && of.warpSize == 32 && of.maxThreadsPerBlock == 1024);
    MUST(cudaDeviceGetAttribute(&most, cudaDevAttrMaxThreadsPerBlock, 0) == cudaSuccess && most == 1024);
    MUST(cudaRuntimeGetVersion(&version) == cudaSuccess && version >= 11000);
    MUST(cudaDriverGetVersion(&version) == cudaSuccess && version >= 11000);
    MUST(cudaMemGetInfo(&room, &all) == cudaSuccess && room <= all && room > 0);
    MUST(cudaDeviceCanAccessPeer(&peer, 0, 0) == cudaSuccess && peer == 0);
    MUST(cudaFuncGetAttributes(&has, scaled) == cudaSuccess && has.maxThreadsPerBlock == 1024);
    MUST(cudaFuncSetAttribute(scaled, cudaFuncAttributeMaxDynamicSharedMemorySize, 65536) == cudaSuccess);
    MUST(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, scaled, 128, 0) == cudaSuccess && blocks >= 1);
    MUST(cudaOccupancyMaxPotentialBlockSize(&least, &size, scaled, 0, 0) == cudaSuccess && size >= 32 && size <= 1024);
    MUST(cudaGetErrorName(cudaSuccess)[0] == 'c' && cudaGetLastError() == cudaSuccess);
    return x ? 0 : __LINE__;
}
