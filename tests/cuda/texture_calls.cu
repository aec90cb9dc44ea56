// Textures of arrays: each function returns the line of the first wrong answer, or 0.
#include <cuda_runtime.h>
#define MUST(so) do { if (!(so)) return __LINE__; } while (0)

__global__ void line(cudaTextureObject_t t, const float *at, float *y) { y[threadIdx.x] = tex1D<float>(t, at[threadIdx.x]); }
__global__ void plane(cudaTextureObject_t t, float *y) { y[threadIdx.y * 3 + threadIdx.x] = tex2D<float>(t, threadIdx.x + 0.5f, threadIdx.y + 0.5f); }
__global__ void volume(cudaTextureObject_t t, float *y) { y[0] = tex3D<float>(t, 1.5f, 0.5f, 1.5f), y[1] = tex3D<float>(t, 1.0f, 1.0f, 1.0f); }

static cudaTextureObject_t made(cudaArray_t of, cudaTextureAddressMode mode, cudaTextureFilterMode filter, bool normalized) {
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypeArray;
    what.res.array.array = of;
    cudaTextureDesc how = {};
    for (auto &one : how.addressMode) one = mode;
    how.filterMode = filter, how.readMode = cudaReadModeElementType, how.normalizedCoords = normalized;
    cudaTextureObject_t t = 0;
    cudaCreateTextureObject(&t, &what, &how, nullptr);
    return t;
}
// Reads four numbers, 10 20 30 40, at five places, and compares.
static bool reads(cudaTextureAddressMode mode, cudaTextureFilterMode filter, bool normalized, const float *at, const float *want) {
    const float four[] = {10, 20, 30, 40};
    cudaArray_t a;
    const cudaChannelFormatDesc kind = cudaCreateChannelDesc<float>();
    cudaMallocArray(&a, &kind, 4);
    cudaMemcpyToArray(a, 0, 0, four, 16, cudaMemcpyHostToDevice);
    const cudaTextureObject_t t = made(a, mode, filter, normalized);
    float *places, *y, got[5];
    cudaMalloc(&places, 20), cudaMalloc(&y, 20);
    cudaMemcpy(places, at, 20, cudaMemcpyHostToDevice);
    line<<<1, 5>>>(t, places, y);
    cudaMemcpy(got, y, 20, cudaMemcpyDeviceToHost);
    bool same = cudaDestroyTextureObject(t) == cudaSuccess && cudaFreeArray(a) == cudaSuccess;
    for (int i = 0; i < 5; ++i) same = same && got[i] == want[i];
    return same;
}
int lines(const float *x) {
    const float at[] = {-0.5f, 0.0f, 1.99f, 3.5f, 4.5f}, middle[] = {0.5f, 1.0f, 1.25f, 3.75f, 9.0f};
    const float clamped[] = {10, 10, 20, 40, 40}, bordered[] = {0, 10, 20, 40, 0}, linear[] = {10, 15, 17.5f, 40, 40};
    MUST(reads(cudaAddressModeClamp, cudaFilterModePoint, false, at, clamped));
    MUST(reads(cudaAddressModeBorder, cudaFilterModePoint, false, at, bordered));
    MUST(reads(cudaAddressModeWrap, cudaFilterModePoint, false, at, clamped));      // of numbers from 0 to 4, as clamp
    MUST(reads(cudaAddressModeMirror, cudaFilterModePoint, false, at, clamped));
    MUST(reads(cudaAddressModeClamp, cudaFilterModeLinear, false, middle, linear));
    const float part[] = {-0.125f, 0.125f, 0.625f, 1.125f, 1.375f};
    const float wrapped[] = {40, 10, 30, 10, 20}, mirrored[] = {10, 10, 30, 40, 30};
    MUST(reads(cudaAddressModeWrap, cudaFilterModePoint, true, part, wrapped));
    MUST(reads(cudaAddressModeMirror, cudaFilterModePoint, true, part, mirrored));
    return x ? 0 : __LINE__;
}
int planes(const float *x) {
    const float rows[] = {1, 2, 3, -9, 4, 5, 6, -9};         // 3 of every 4
    const cudaChannelFormatDesc kind = cudaCreateChannelDesc<float>();
    cudaArray_t a, deep;
    float *y, got[6];
    cudaMalloc(&y, 24);
    MUST(cudaMallocArray(&a, &kind, 3, 2) == cudaSuccess);
    MUST(cudaMemcpy2DToArray(a, 0, 0, rows, 16, 12, 2, cudaMemcpyHostToDevice) == cudaSuccess);
    plane<<<1, dim3(3, 2)>>>(made(a, cudaAddressModeClamp, cudaFilterModePoint, false), y);
    cudaMemcpy(got, y, 24, cudaMemcpyDeviceToHost);
    for (int i = 0; i < 6; ++i) MUST(got[i] == i + 1);
    MUST(cudaMalloc3DArray(&deep, &kind, make_cudaExtent(2, 2, 2)) == cudaSuccess);
    const float eight[] = {0, 1, 2, 3, 4, 5, 6, 7};
    MUST(cudaMemcpyToArray(deep, 0, 0, eight, 32, cudaMemcpyHostToDevice) == cudaSuccess);
    volume<<<1, 1>>>(made(deep, cudaAddressModeClamp, cudaFilterModeLinear, false), y);
    cudaMemcpy(got, y, 8, cudaMemcpyDeviceToHost);
    MUST(got[0] == 5 && got[1] == 3.5f);                     // an element, and the mean of all eight
    return x ? 0 : __LINE__;
}
