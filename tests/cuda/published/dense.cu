// A fully connected layer with its training step, as one file of a course: checks, streams, a main.
#include <cassert>
#include <cuda_runtime.h>
#include <iostream>
#include <vector>
#include "helpers/check.h"

#define TILE 8
constexpr int THREADS = 64;

// y = x w^T + b
__global__ void forward(const float *x, const float *w, const float *b, float *y, int rows, int in, int out) {
    __shared__ float xs[TILE][TILE], ws[TILE][TILE];
    int row = blockIdx.y * TILE + threadIdx.y, col = blockIdx.x * TILE + threadIdx.x;
    float total = 0;
    for (int k = 0; k < in; k += TILE) {
        xs[threadIdx.y][threadIdx.x] = row < rows && k + threadIdx.x < in ? x[row * in + k + threadIdx.x] : 0;
        ws[threadIdx.y][threadIdx.x] =
            blockIdx.x * TILE + threadIdx.y < out && k + threadIdx.x < in ? w[(blockIdx.x * TILE + threadIdx.y) * in + k + threadIdx.x] : 0;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) total += xs[threadIdx.y][i] * ws[threadIdx.x][i];
        __syncthreads();
    }
    if (row < rows && col < out) y[row * out + col] = total + (b ? b[col] : 0);
}

template <typename T>
__global__ void gradX(const T *dy, const T *w, T *dx, int rows, int in, int out) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * in) return;
    T total = 0;
    for (int o = 0; o < out; ++o) total += dy[i / in * out + o] * w[o * in + i % in];
    dx[i] = total;
}

// Adds to dw: every row is a block of its own.
__global__ void gradW(const float *dy, const float *x, float *dw, int in, int out) {
    for (int i = threadIdx.x; i < in * out; i += blockDim.x)
        atomicAdd(dw + i, dy[blockIdx.x * out + i / in] * x[blockIdx.x * in + i % in]);
}

__global__ void gradB(const float *dy, float *db, int rows, int out) {
    int o = blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= out) return;
    float total = 0;
    for (int r = 0; r < rows; ++r) total += dy[r * out + o];
    db[o] = total;
}

struct Layer {
    int in, out;
    cudaStream_t stream;
    Layer(int in, int out) : in(in), out(out) { CHECK(cudaStreamCreate(&stream)); }
    ~Layer() { cudaStreamDestroy(stream); }
    void backward(const float *dy, const float *x, const float *w, float *dx, float *dw, float *db, int rows) {
        int blocks = (rows * in + THREADS - 1) / THREADS;
        gradX<<<blocks, THREADS, 0, stream>>>(dy, w, dx, rows, in, out);
        CHECK(cudaMemsetAsync(dw, 0, sizeof(float) * in * out, stream));
        gradW<<<rows, THREADS, 0, stream>>>(dy, x, dw, in, out);
        if (db) gradB<<<(out + THREADS - 1) / THREADS, THREADS>>>(dy, db, rows, out);
        CHECK(cudaStreamSynchronize(stream));
        CHECK(cudaGetLastError());
    }
};

// gradoracle: linear = dense_forward(x, weight, bias, *, N, C, M)
void dense_forward(const float *x, const float *w, const float *b, float *y, int rows, int in, int out) {
    dim3 grid((out + TILE - 1) / TILE, (rows + TILE - 1) / TILE);
    forward<<<grid, dim3(TILE, TILE)>>>(x, w, b, y, rows, in, out);
}

// gradoracle: linear_grad_input, linear_grad_weight, linear_grad_bias =
//     dense_backward(grad_output, x, weight, *, *, *, N, C, M)
void dense_backward(const float *dy, const float *x, const float *w, float *dx, float *dw, float *db, int rows, int in, int out) {
    Layer(in, out).backward(dy, x, w, dx, dw, db, rows);
}

// The host's arrays go to the device and back; the mean over the images is the host's.
// gradoracle: batch_mean = average(gradient_per_image, *, N, out.size)
__global__ void add(float *total, const float *one, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) total[i] += one[i];
}
void average(const float *all, float *mean, int images, int size) {
    float *total, *one;
    std::vector<float> host(size, 0.0f);
    CHECK(cudaMalloc(&total, size * sizeof(float)));
    CHECK(cudaMalloc((void **)&one, size * sizeof(float)));
    CHECK(cudaMemcpy(total, host.data(), size * sizeof(float), cudaMemcpyHostToDevice));
    for (int n = 0; n < images; ++n) {
        CHECK(cudaMemcpy(one, all + n * size, size * sizeof(float), cudaMemcpyHostToDevice));
        add<<<2, THREADS>>>(total, one, size);
    }
    CHECK(cudaMemcpy(host.data(), total, size * sizeof(float), cudaMemcpyDeviceToHost));
    for (int i = 0; i < size; ++i) mean[i] = host[i] / images;
    cudaFree(total);
    cudaFree(one);
}

int main(int argc, char **argv) {
    std::vector<float> x(argc * 100, 1.0f);
    float *d;
    CHECK(cudaMalloc(&d, x.size() * sizeof(float)));
    forward<<<dim3(1, 1), dim3(TILE, TILE)>>>(d, d, nullptr, d, 1, 1, 1);
    std::cout << "done" << std::endl;
    return 0;
}
