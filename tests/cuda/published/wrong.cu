// Kernels and host code with one fault each, in the style of the two files beside this one.
#include <cuda_runtime.h>
#include <iostream>
#include <vector>

#define THREADS 32

// The last threads have no block: the quotient is rounded down.
__global__ void square(const float *dy, const float *w, float *dx, int rows, int in, int out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * in) return;
    dx[i] = 0;
    for (int o = 0; o < out; ++o) dx[i] += dy[i / in * out + o] * w[o * in + i % in];
}
// gradoracle: linear_grad_input = too_few_blocks(grad_output, weight, *, N, C, M)
void too_few_blocks(const float *dy, const float *w, float *dx, int rows, int in, int out) {
    square<<<1 + rows * in / THREADS - (rows * in > THREADS), THREADS>>>(dy, w, dx, rows, in, out);
}

// Nobody sets dw to 0.
__global__ void summed(const float *dy, const float *x, float *dw, int in, int out) {
    for (int i = threadIdx.x; i < in * out; i += blockDim.x)
        atomicAdd(dw + i, dy[blockIdx.x * out + i / in] * x[blockIdx.x * in + i % in]);
}
// gradoracle: linear_grad_weight = not_zeroed(grad_output, x, *, N, C, M)
void not_zeroed(const float *dy, const float *x, float *dw, int rows, int in, int out) {
    summed<<<rows, THREADS>>>(dy, x, dw, in, out);
}

__global__ void rectified(const float *z, float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = z[i] <= 0 ? 0 : z[i];
}
// gradoracle: relu = no_bytes(z, *, z.size)
void no_bytes(const float *z, float *y, int n) {
    float *d;
    cudaMalloc(&d, n);
    rectified<<<(n + THREADS - 1) / THREADS, THREADS>>>(z, d, n);
    cudaMemcpy(y, d, n * sizeof(float), cudaMemcpyDeviceToDevice);
    cudaFree(d);
}

// One thread reads the sum while others write the next.
__global__ void normalised(const float *z, float *p, int classes) {
    __shared__ float best, total;
    if (threadIdx.x == 0) {
        best = z[blockIdx.x * classes];
        for (int k = 1; k < classes; ++k) best = fmaxf(best, z[blockIdx.x * classes + k]);
        total = 0;
        for (int k = 0; k < classes; ++k) total += expf(z[blockIdx.x * classes + k] - best);
    }
    for (int k = threadIdx.x; k < classes; k += blockDim.x) p[blockIdx.x * classes + k] = expf(z[blockIdx.x * classes + k] - best) / total;
}
// gradoracle: domain softmax: axes = 2, axis = last
// gradoracle: softmax = no_barrier(z, *, z.shape[0], z.shape[1])
void no_barrier(const float *z, float *p, int rows, int classes) { normalised<<<rows, THREADS>>>(z, p, classes); }

// gradoracle: sigmoid = copies_too_much(z, *, z.size)
void copies_too_much(const float *z, float *y, int n) {
    std::vector<float> host(2 * n);
    cudaMemcpy(host.data(), z, 2 * n * sizeof(float), cudaMemcpyDeviceToHost);
}

// gradoracle: tanh = too_many_threads(z, *, z.size)
void too_many_threads(const float *z, float *y, int n) { rectified<<<1, 2048>>>(z, y, n); }

// Every thread says the same, and none waits.
__global__ void flagged(const float *z, float *y, float slope, int n) {
    __shared__ int any;
    any = 1;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = any && z[i] > 0 ? z[i] : slope * z[i];
}
// gradoracle: leaky_relu = flagged<<<1, THREADS>>>(z, y, negative_slope, z.size)

// gradoracle: batch_mean = frees_twice(gradient_per_image, *)
void frees_twice(const float *all, float *mean) {
    float *d;
    cudaMalloc(&d, 4);
    cudaFree(d);
    cudaFree(d);
}

// gradoracle: sgd_step = gives_up(parameter)
void gives_up(const float *w) {
    if (w) exit(EXIT_FAILURE);
}

int main() { std::cout << "no test\n"; }
