// Right kernels that use what a block has to offer: none may be flagged.

template <typename T> __device__ T warp_sum(T v) {
    for (int o = 16; o; o >>= 1) v += __shfl_down_sync(0xffffffffu, v, o);
    return v;
}
extern "C" __global__ void block_sum(const float *x, float *out, int n) {
    extern __shared__ float sums[];
    const int t = threadIdx.x;
    float s = 0;
    for (int i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x) s += x[i];
    s = warp_sum(s);
    if ((t & 31) == 0) sums[t >> 5] = s;
    __syncthreads();
    if (t < 32) {
        s = warp_sum(t < (blockDim.x >> 5) ? sums[t] : 0.f);
        if (t == 0) atomicAdd(out, s);
    }
}
extern "C" __global__ void count(const int *bins, float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&out[bins[i]], 1.f);
}
extern "C" __global__ void fours(const float4 *x, float4 *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) { float4 v = x[i]; y[i] = make_float4(2 * v.x, 2 * v.y, 2 * v.z, 2 * v.w); }
}
extern "C" __global__ void negatives(const float *x, int *out) {
    int any = __syncthreads_or(x[threadIdx.x] < 0), all = __syncthreads_and(x[threadIdx.x] < 0);
    int many = __syncthreads_count(x[threadIdx.x] < 0);
    unsigned lanes = __ballot_sync(0xffffffffu, x[threadIdx.x] < 0);
    if (threadIdx.x == 0) out[0] = any, out[1] = all, out[2] = many, out[3] = __popc(lanes);
}
extern "C" __global__ void across_a_warp(float *x) {
    __shared__ float s[32];
    const int t = threadIdx.x;
    s[t] = t;
    __syncwarp();
    x[t] = s[31 - t];
    __syncwarp();
    s[t] = 2 * t;
    __syncwarp();
    x[t] += s[(t + 1) % 32];
}
extern "C" __global__ void half_a_warp(float *x) {
    const int t = threadIdx.x;
    if (t < 16) x[t] = __shfl_xor_sync(0x0000ffffu, float(t), 1);
    else x[t] = __shfl_up_sync(0xffff0000u, float(t), 1, 16);
}
extern "C" __global__ void two_buffers(float *x) {
    __shared__ float s[2][32];
    const int t = threadIdx.x;
    for (int k = 0; k < 4; ++k) { s[k & 1][t] = k + t; __syncthreads(); x[t] += s[k & 1][31 - t]; }
}
extern "C" __global__ void last_adds(const float *x, float *part, unsigned *done, float *out) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        part[blockIdx.x] = x[blockIdx.x];
        __threadfence();
        last = atomicAdd(done, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        __threadfence();
        float s = 0;
        for (int i = 0; i < gridDim.x; ++i) s += part[i];
        *out = s;
    }
}
struct Shape { int n; float scale; };
template <typename T, int N> __global__ void __launch_bounds__(N * (1 + 0)) scaled(T *x, Shape p) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.n) x[i] *= T(p.scale);
}
