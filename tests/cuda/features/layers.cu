// Layers as published kernels write them: rows of 40 values, one block or one warp a row.
#include <cuda_runtime.h>
#include <float.h>
#define WARP_SUM(v) \
    for (int by = 16; by > 0; by >>= 1) v += __shfl_xor_sync(0xffffffff, v, by)
constexpr int C = 40;

// y = x - its row's mean
__global__ void __launch_bounds__(32) centred(const float *__restrict__ x, float *__restrict__ y, int rows) {
    const float *row = x + blockIdx.x * C;
    float sum = 0.0f;
#pragma unroll
    for (int i = threadIdx.x; i < C; i += 32) sum += __ldg(row + i);
    WARP_SUM(sum);  // fault centred_no_sum: removed
    for (int i = threadIdx.x; i < C; i += 32) y[blockIdx.x * C + i] = row[i] - sum / C;  // fault centred_32: for (int i = threadIdx.x; i < 32; i += 32) y[blockIdx.x * C + i] = row[i] - sum / C;
}
// y = x - its row's largest value
__global__ void less_most(const float *x, float *y, int rows) {
    __shared__ float most[2];
    float mine = -FLT_MAX;
    for (int i = threadIdx.x; i < C; i += blockDim.x) mine = fmaxf(mine, x[blockIdx.x * C + i]);
    for (int by = 16; by > 0; by /= 2) mine = fmaxf(mine, __shfl_down_sync(0xffffffff, mine, by));
    if (threadIdx.x % 32 == 0) most[threadIdx.x / 32] = mine;
    __syncthreads();  // fault less_most_unordered: removed
    mine = fmaxf(most[0], most[1]);
    for (int i = threadIdx.x; i < C; i += blockDim.x) y[blockIdx.x * C + i] = x[blockIdx.x * C + i] - mine;
}
// y = the rows' running sums
__global__ void scanned(const float *x, float *y, int rows) {
    __shared__ float both[2][64];
    int now = 0, i = threadIdx.x;
    both[0][i] = i < C ? x[blockIdx.x * C + i] : 0;
    __syncthreads();
    for (int by = 1; by < 64; by *= 2) {
        both[1 - now][i] = both[now][i] + (i >= by ? both[now][i - by] : 0);
        now = 1 - now;
        __syncthreads();  // fault scanned_unordered: removed
    }
    if (i < C) y[blockIdx.x * C + i] = both[now][i];
}
// y = x turned: C rows of `rows` values
template <int TILE> __global__ void turned(const float *x, float *y, int rows) {
    __shared__ float tile[TILE][TILE + 1];
    int r = blockIdx.y * TILE + threadIdx.y, c = blockIdx.x * TILE + threadIdx.x;
    if (r < rows && c < C) tile[threadIdx.y][threadIdx.x] = x[r * C + c];
    __syncthreads();  // fault turned_unordered: removed
    r = blockIdx.y * TILE + threadIdx.x, c = blockIdx.x * TILE + threadIdx.y;
    if (r < rows && c < C) y[c * rows + r] = tile[threadIdx.x][threadIdx.y];  // fault turned_unguarded: y[c * rows + r] = tile[threadIdx.x][threadIdx.y];
}
void turned_on_device(const float *x, float *y, int rows) {
    dim3 block(8, 8), grid((C + 7) / 8, (rows + 7) / 8);
    turned<8><<<grid, block>>>(x, y, rows);
}
// y = 2 x, four values at a time
__global__ void fours(const float *x, float *y, int rows) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * i + 3 < rows * C) {
        float4 v = reinterpret_cast<const float4 *>(x)[i];  // fault fours_misaligned: float4 v = *reinterpret_cast<const float4 *>(x + 4 * i + (i == 1));
        v.x *= 2, v.y *= 2, v.z *= 2, v.w *= 2;
        reinterpret_cast<float4 *>(y)[i] = v;
    }
}
// how many values of each row are 0, 1, 2 and 3
__global__ void counted(const float *x, float *y, int rows) {
    __shared__ unsigned bins[4];
    if (threadIdx.x < 4) bins[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < C; i += blockDim.x) atomicAdd(&bins[(int)fabsf(x[blockIdx.x * C + i]) & 3], 1u);  // fault counted_plain: for (int i = threadIdx.x; i < C; i += blockDim.x) bins[(int)fabsf(x[blockIdx.x * C + i]) & 3] += 1u;
    __syncthreads();
    if (threadIdx.x < 4) y[blockIdx.x * 4 + threadIdx.x] = bins[threadIdx.x];
}
