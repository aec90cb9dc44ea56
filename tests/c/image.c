// Kernels of C in float32: labels and indices are int, and a NaN is never a maximum.
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

// gradoracle: contract nan = dropped, bad_arguments = raise
// gradoracle: domain conv2d: groups = 1, dilation = 1

// gradoracle: relu = rectified(z, y, z.size)
static void rectified(const float *restrict z, float y[], size_t n) {
    for (size_t i = 0; i < n; ++i) y[i] = z[i] <= 0 ? 0 : z[i];
}

// gradoracle: conv2d = convolved(x, weight, bias, y, N, C, H, W, M, KH, KW, OH, OW, SH, SW, PH, PW)
void convolved(const float *x, const float *weight, const float *bias, float *y, int N, int C,
               int H, int W, int M, int KH, int KW, int OH, int OW, int SH, int SW, int PH, int PW) {
    for (int at = 0; at < N * M * OH * OW; ++at) {
        int j = at % OW, i = at / OW % OH, m = at / (OW * OH) % M, n = at / (OW * OH * M);
        float sum = bias ? bias[m] : 0;
        for (int c = 0; c < C; ++c)
            for (int p = 0; p < KH; ++p)
                for (int q = 0; q < KW; ++q) {
                    int h = i * SH + p - PH, w = j * SW + q - PW;
                    if (h < 0 || h >= H || w < 0 || w >= W) continue;
                    sum += x[((n * C + c) * H + h) * W + w] * weight[((m * C + c) * KH + p) * KW + q];
                }
        y[at] = sum;
    }
}

// gradoracle: max_pool2d = pooled(x, y, indices, N * C, H, W, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW)
int pooled(const float *x, float *y, int *indices, int planes, int H, int W, int OH, int OW,
           int KH, int KW, int SH, int SW, int PH, int PW, int DH, int DW) {
    for (int at = 0; at < planes * OH * OW; ++at) {
        int j = at % OW, i = at / OW % OH, plane = at / (OW * OH), best = -1;
        float most = -INFINITY;
        for (int p = 0; p < KH; ++p)
            for (int q = 0; q < KW; ++q) {
                int h = i * SH + p * DH - PH, w = j * SW + q * DW - PW;
                if (h < 0 || h >= H || w < 0 || w >= W) continue;
                float v = x[(plane * H + h) * W + w];
                if (best < 0 || v > most) best = h * W + w;
                if (v > most) most = v;
            }
        y[at] = most;
        indices[at] = best;
    }
    return 0;
}

// gradoracle: max_pool2d_grad_input = scattered(grad_output, indices, dx, N * C, H * W, OH * OW)
void scattered(const float *dy, const int *indices, float *dx, int planes, int pixels, int windows) {
    memset(dx, 0, sizeof(float) * planes * pixels);
    for (int at = 0; at < planes * windows; ++at) dx[at / windows * pixels + indices[at]] += dy[at];
}

// gradoracle: cross_entropy = loss(logits, target, N, C, mean)
float loss(const float *logits, const int *target, int N, int C, bool mean) {
    float sum = 0;
    for (int n = 0; n < N; ++n) {
        const float *z = logits + n * C;
        float top = z[0], total = 0;
        for (int c = 1; c < C; ++c) top = fmaxf(top, z[c]);
        for (int c = 0; c < C; ++c) total += expf(z[c] - top);
        sum += logf(total) - (z[target[n]] - top);
    }
    return mean ? sum / N : sum;
}
