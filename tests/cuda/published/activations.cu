// Activations and a loss: launches in comments and through a macro, variables of the device, warps.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cudnn.h>
#include <cuda_runtime.h>
#include <stdio.h>

namespace cg = cooperative_groups;
#define BLOCK 32
#define BLOCKS(n) (((n) + BLOCK - 1) / BLOCK)
#define LAUNCH(kernel, n, ...) \
    kernel<<<BLOCKS(n), BLOCK>>>(__VA_ARGS__)

__constant__ float slopes[2];  // of the positive side and of the negative one
__device__ int calls = 0;

// gradoracle: relu = rectify<<<ceil_div(z.size, BLOCK), BLOCK>>>(copy(z), z.size)
__global__ void rectify(float *z, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) atomicAdd(&calls, 1);
    if (i < n) z[i] = z[i] <= 0 ? 0 : z[i];
}
// Another of that name.
__global__ void rectify(const float *dy, const float *z, float *dz, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) dz[i] = z[i] > 0 ? dy[i] : 0;
}
// gradoracle: relu_grad = rectify<<<ceil_div(z.size, BLOCK), BLOCK>>>(grad_output, z, dz, z.size)

template <int N> __global__ void leaky(const float *z, float *y, int n) {
    int i = blockIdx.x * N + threadIdx.x;
    if (i < n) y[i] = z[i] * slopes[z[i] > 0 ? 0 : 1];
}
// gradoracle: leaky_relu = leaky_on_device(z, *, z.size, negative_slope)
void leaky_on_device(const float *z, float *y, int n, float slope) {
    float both[2] = {1.0f, slope};
    cudaMemcpyToSymbol(slopes, both, sizeof both);
    leaky<BLOCK> <<<BLOCKS(n), BLOCK>>> (z, y, n);
}

// A row is a block; labels are int.
__global__ void losses(const float *z, const int *label, float *loss, int classes) {
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    float most = -INFINITY, total = 0;
    for (int k = warp.thread_rank(); k < classes; k += 32) most = fmaxf(most, z[blockIdx.x * classes + k]);
    most = cg::reduce(warp, most, cg::greater<float>());
    for (int k = warp.thread_rank(); k < classes; k += 32) total += expf(z[blockIdx.x * classes + k] - most);
    total = cg::reduce(warp, total, cg::plus<float>());
    if (warp.thread_rank() == 0) loss[blockIdx.x] = logf(total) + (most - z[blockIdx.x * classes + label[blockIdx.x]]);
}
// gradoracle: domain cross_entropy: reduction = mean, n = 1..
// gradoracle: cross_entropy: workspace = float[N]
// gradoracle: cross_entropy = losses<<<N, BLOCK>>>(logits, target, workspace, C)
// gradoracle: cross_entropy = mean(workspace)

__global__ void logistic(const float *z, float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float e = expf(-fabsf(z[i]));
    y[i] = (z[i] < 0 ? e : 1) / (1 + e);
}
// gradoracle: sigmoid = logistic_on_device(z, *, z.size)
extern "C" void logistic_on_device(const float *z, float *y, int n) { LAUNCH(logistic, n, z, y, n); }

// gradoracle: tanh = tanh_by_library(z, *, z.size)
void tanh_by_library(const float *z, float *y, int n) {
    cudnnHandle_t handle;
    cudnnCreate(&handle);
}

__global__ void updated(const float *w, const float *g, float *to, const float *rate, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = w[i] - *rate * g[i];
}
// gradoracle: sgd_step = step(parameter, gradient, *, learning_rate, out.size)
int step(const float *w, const float *g, float *to, float rate, int n) {
    static float *kept = nullptr;
    if (!kept) cudaMalloc(&kept, sizeof(float));
    cudaMemcpy(kept, &rate, sizeof(float), cudaMemcpyHostToDevice);
    int count = BLOCKS(n);
    void *given[] = {&w, &g, &to, &kept, &n};
    cudaLaunchKernel((void *)updated, dim3(count), dim3(BLOCK), given, 0, 0);
    return cudaDeviceSynchronize() == cudaSuccess ? 1 : 0;
}

int main() { printf("%d\n", rectify == nullptr); }
