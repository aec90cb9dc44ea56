// A convolution and its gradients, each output by one thread; dW by one block a weight, in a tree.
// gradoracle: domain conv2d: groups = 1
// gradoracle: conv2d = forward<<<ceil_div(y.size, 64), 64>>>(x, weight, bias, y, N, C, H, W, M,
//     KH, KW, OH, OW, SH, SW, PH, PW, DH, DW)
__global__ void forward(const float *x, const float *w, const float *b, float *y, int N, int C, int H, int W, int M,
                        int KH, int KW, int OH, int OW, int SH, int SW, int PH, int PW, int DH, int DW) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= N * M * OH * OW) return;
    const int ow = i % OW, oh = i / OW % OH, m = i / OW / OH % M, n = i / OW / OH / M;
    float sum = b ? b[m] : 0.0f;
    for (int c = 0; c < C; ++c)
        for (int p = 0; p < KH; ++p)
            for (int q = 0; q < KW; ++q) {
                const int h = oh * SH + p * DH - PH, v = ow * SW + q * DW - PW;
                if (h >= 0 && h < H && v >= 0 && v < W)
                    sum = fmaf(x[((n * C + c) * H + h) * W + v], w[((m * C + c) * KH + p) * KW + q], sum);
            }
    y[i] = sum;
}

// gradoracle: conv2d_grad_input = input<<<ceil_div(dx.size, 64), 64>>>(grad_output, weight, dx, N, C, H, W, M,
//     KH, KW, OH, OW, SH, SW, PH, PW, DH, DW)
__global__ void input(const float *dy, const float *w, float *dx, int N, int C, int H, int W, int M,
                      int KH, int KW, int OH, int OW, int SH, int SW, int PH, int PW, int DH, int DW) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= N * C * H * W) return;
    const int v = i % W, h = i / W % H, c = i / W / H % C, n = i / W / H / C;
    float sum = 0;
    for (int m = 0; m < M; ++m)
        for (int p = 0; p < KH; ++p)
            for (int q = 0; q < KW; ++q) {
                const int oh = h + PH - p * DH, ow = v + PW - q * DW;
                if (oh < 0 || ow < 0 || oh % SH || ow % SW || oh / SH >= OH || ow / SW >= OW) continue;
                sum += dy[((n * M + m) * OH + oh / SH) * OW + ow / SW] * w[((m * C + c) * KH + p) * KW + q];
            }
    dx[i] = sum;
}

// gradoracle: conv2d_grad_weight = filters<<<dw.size, 32>>>(grad_output, x, dw, N, C, H, W, M,
//     KH, KW, OH, OW, SH, SW, PH, PW, DH, DW)
__global__ void filters(const float *dy, const float *x, float *dw, int N, int C, int H, int W, int M,
                        int KH, int KW, int OH, int OW, int SH, int SW, int PH, int PW, int DH, int DW) {
    __shared__ float part[32];
    const int k = blockIdx.x, q = k % KW, p = k / KW % KH, c = k / KW / KH % C, m = k / KW / KH / C;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < N * OH * OW; i += 32) {
        const int ow = i % OW, oh = i / OW % OH, n = i / OW / OH;
        const int h = oh * SH + p * DH - PH, v = ow * SW + q * DW - PW;
        if (h >= 0 && h < H && v >= 0 && v < W)
            sum += dy[((n * M + m) * OH + oh) * OW + ow] * x[((n * C + c) * H + h) * W + v];
    }
    part[threadIdx.x] = sum;
    for (int half = 16; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    if (threadIdx.x == 0) dw[k] = part[0];
}

// gradoracle: domain avg_pool2d: ceil_mode = false, count_include_pad = true
// gradoracle: avg_pool2d = average<<<ceil_div(y.size, 64), 64>>>(x, y, y.size, H, W, KH, KW, OH, OW, SH, SW, PH, PW)
__global__ void average(const float *x, float *y, int size, int H, int W, int KH, int KW, int OH, int OW,
                        int SH, int SW, int PH, int PW) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const int ow = i % OW, oh = i / OW % OH, plane = i / OW / OH;
    float sum = 0.0f;
    for (int p = 0; p < KH; ++p)
        for (int q = 0; q < KW; ++q) {
            const int h = oh * SH + p - PH, v = ow * SW + q - PW;
            if (h >= 0 && h < H && v >= 0 && v < W) sum += x[(plane * H + h) * W + v];
        }
    y[i] = sum * (1.0f / (KH * KW));
}

// gradoracle: linear_grad_weight = outer<<<ceil_div(dw.size, 32), 32>>>(grad_output, x, zero(dw), N, C, M)
__global__ void outer(const float *dy, const float *x, float *dw, int N, int C, int M) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < M * C)
        for (int n = 0; n < N; ++n) atomicAdd(&dw[i], dy[n * M + i / C] * x[n * C + i % C]);
}

// gradoracle: sgd_step = step<<<ceil_div(out.size, 64), 64>>>(parameter, gradient, out, float(learning_rate), out.size)
__global__ void step(const float *w, const float *g, float *out, float rate, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = w[i] - rate * g[i];
}

// gradoracle: relu = rectified<<<ceil_div(z.size, 64), 64>>>(z, y, z.size)
__global__ void rectified(const float *z, float *y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = z[i] > 0.0f ? z[i] : 0.0f;
}
