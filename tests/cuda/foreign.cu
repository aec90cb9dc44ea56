// A fully connected layer as tutorials write it, with two of the mistakes that they warn of.

#define TILE 16

// gradoracle: linear = tiled_linear<<<dim3((M + 15) / 16, (N + 15) / 16), dim3(16, 16)>>>(
//     x, weight, bias, y, N, M, C)
extern "C" __global__ void tiled_linear(const float *x, const float *weight, const float *bias,
                                        float *y, int N, int M, int C) {
    __shared__ float xs[TILE][TILE], ws[TILE][TILE];
    const int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    float sum = bias ? bias[column] : 0.0f;
    for (int k = 0; k < C; k += TILE) {
        const int filter = blockIdx.x * TILE + threadIdx.y, here = k + threadIdx.x;
        xs[threadIdx.y][threadIdx.x] = row < N && here < C ? x[row * C + here] : 0.0f;
        ws[threadIdx.y][threadIdx.x] = filter < M && here < C ? weight[filter * C + here] : 0.0f;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) sum += xs[threadIdx.y][i] * ws[threadIdx.x][i];
    }
    if (row < N && column < M) y[row * M + column] = sum;
}

// gradoracle: relu = rectified<<<(z.size + 255) / 256, 256>>>(z, y, z.size)
extern "C" __global__ void rectified(const float *z, float *y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = z[i] > 0 || isnan(z[i]) ? z[i] : 0.0f;
}
