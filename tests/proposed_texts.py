"""Texts as people publish them, each for a kind: its ending, the text, and a fault to plant."""

from typing import NamedTuple


class Text(NamedTuple):
    """A right text without comments, what is proposed of it, and how to make it wrong."""

    ending: str
    text: str
    said: tuple[str, ...]  # comments that are proposed, among others
    right: str
    wrong: str
    function: str  # whose result is wrong then

    @property
    def broken(self) -> str:
        """The text with the fault."""
        return self.text.replace(self.right, self.wrong, 1)


TEMPLATE = """#include <cmath>
#include <cstddef>
namespace nn {
template <typename T>
inline T squashed(T v) { return T(1) / (T(1) + std::exp(-v)); }
template <typename T>
void sigmoid_forward(const T *in, T *out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = squashed(in[i]);
}
}
"""
OF_TWO = """
template <typename T, int BLOCK>
__global__ void softmax_rows(const T *input, T *output, int rows, int cols) {
    __shared__ T part[BLOCK];
    const T *x = input + (size_t)blockIdx.x * cols;
    T *y = output + (size_t)blockIdx.x * cols;
    T top = x[0], sum = 0;
    for (int i = threadIdx.x; i < cols; i += BLOCK) top = x[i] > top ? x[i] : top;
    part[threadIdx.x] = top;
    __syncthreads();
    for (int i = 0; i < BLOCK; ++i) top = part[i] > top ? part[i] : top;
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += BLOCK) sum += exp(x[i] - top);
    part[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < BLOCK; ++i) sum += part[i];
    for (int i = threadIdx.x; i < cols; i += BLOCK) y[i] = exp(x[i] - top) / sum;
}
void run(float *a, float *b, int rows, int cols) {
    constexpr int threads = 32;
    softmax_rows<float, threads><<<rows, threads>>>(a, b, rows, cols);
}
"""
DOUBLE = """#include <math.h>
typedef double real;
void layernorm(real *out, const real *in, const real *gamma, const real *beta, int rows, int cols,
               real eps) {
    for (int r = 0; r < rows; r++, in += cols, out += cols) {
        real mean = 0, var = 0;
        for (int i = 0; i < cols; i++) mean += in[i] / cols;
        for (int i = 0; i < cols; i++) var += (in[i] - mean) * (in[i] - mean) / cols;
        for (int i = 0; i < cols; i++)
            out[i] = (in[i] - mean) / sqrt(var + eps) * gamma[i] + beta[i];
    }
}
void double_relu(double *x, int n) { for (int i = 0; i < n; i++) x[i] = x[i] < 0 ? 0 : x[i]; }
"""
HEADER = """#pragma once
#define DTYPE float
static inline void leaky_relu(const DTYPE *src, DTYPE *dst, int count, DTYPE slope) {
    for (int i = 0; i < count; ++i) dst[i] = src[i] > 0 ? src[i] : slope * src[i];
}
"""
MIXED = """
void relu(const float *x, float *y, int n) {
    for (int i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}
void leaky_relu(const double *x, double *y, int n, double slope) {
    for (int i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}
"""
INFERENCE = """#include <math.h>
void rmsnorm(float *o, float *x, float *weight, int size) {
    double total = 0;
    for (int j = 0; j < size; j++) total += (double)x[j] * x[j];
    float factor = (float)(1 / sqrt(total / size + 1e-5));
    for (int j = 0; j < size; j++) o[j] = weight[j] * (factor * x[j]);
}
void softmax(float *input, int n, float temp, int stride, float *output) {
    float top = input[0], sum = 0;
    for (int i = 1; i < n; i++) top = input[i * stride] > top ? input[i * stride] : top;
    for (int i = 0; i < n; i++) sum += output[i * stride] = expf((input[i * stride] - top) / temp);
    for (int i = 0; i < n; i++) output[i * stride] /= sum;
}
void matmul(float *xout, float *x, float *w, int n, int d) {
    for (int i = 0; i < d; i++) {
        float sum = 0;
        for (int j = 0; j < n; j++) sum += w[i * n + j] * x[j];
        xout[i] = sum;
    }
}
"""
GEMM = """
void gemm_nn(int M, int N, int K, float ALPHA, float *A, int lda, float *B, int ldb, float *C,
             int ldc) {
    for (int i = 0; i < M; i++)
        for (int k = 0; k < K; k++) {
            float part = ALPHA * A[i * lda + k];
            for (int j = 0; j < N; j++) C[i * ldc + j] += part * B[k * ldb + j];
        }
}
void gemm_nt(int M, int N, int K, float ALPHA, float *A, int lda, float *B, int ldb, float *C,
             int ldc) {
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            float sum = 0;
            for (int k = 0; k < K; k++) sum += ALPHA * A[i * lda + k] * B[j * ldb + k];
            C[i * ldc + j] += sum;
        }
}
void gemm_tn(int M, int N, int K, float ALPHA, float *A, int lda, float *B, int ldb, float *C,
             int ldc) {
    for (int i = 0; i < M; i++)
        for (int k = 0; k < K; k++)
            for (int j = 0; j < N; j++) C[i * ldc + j] += ALPHA * A[k * lda + i] * B[k * ldb + j];
}
"""
SCALED = """
__global__ void sgemm(int m, int n, int k, float alpha, const float *A, const float *B, float beta,
                      float *C) {
    int row = blockIdx.y * blockDim.y + threadIdx.y, col = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= m || col >= n) return;
    float sum = 0;
    for (int i = 0; i < k; ++i) sum += A[row * k + i] * B[i * n + col];
    C[row * n + col] = alpha * sum + beta * C[row * n + col];
}
void run(float *a, float *b, float *c, int m, int n, int k) {
    const int TILE = 8;
    dim3 block(TILE, TILE), grid((n + TILE - 1) / TILE, (m + TILE - 1) / TILE);
    sgemm<<<grid, block>>>(m, n, k, 1.0f, a, b, 0.0f, c);
}
"""
SQUARE = """#define TILE_WIDTH 4
__global__ void MatrixMulKernel(float *d_M, float *d_N, float *d_P, int Width) {
    __shared__ float Mds[TILE_WIDTH][TILE_WIDTH], Nds[TILE_WIDTH][TILE_WIDTH];
    int tx = threadIdx.x, ty = threadIdx.y;
    int Row = blockIdx.y * TILE_WIDTH + ty, Col = blockIdx.x * TILE_WIDTH + tx;
    float Pvalue = 0;
    for (int ph = 0; ph < (Width + TILE_WIDTH - 1) / TILE_WIDTH; ++ph) {
        int c = ph * TILE_WIDTH + tx, r = ph * TILE_WIDTH + ty;
        Mds[ty][tx] = Row < Width && c < Width ? d_M[Row * Width + c] : 0;
        Nds[ty][tx] = r < Width && Col < Width ? d_N[r * Width + Col] : 0;
        __syncthreads();
        for (int k = 0; k < TILE_WIDTH; ++k) Pvalue += Mds[ty][k] * Nds[k][tx];
        __syncthreads();
    }
    if (Row < Width && Col < Width) d_P[Row * Width + Col] = Pvalue;
}
void launch(float *h_M, float *h_N, float *h_P, int Width) {
    dim3 dimBlock(TILE_WIDTH, TILE_WIDTH);
    dim3 dimGrid((Width + TILE_WIDTH - 1) / TILE_WIDTH, (Width + TILE_WIDTH - 1) / TILE_WIDTH);
    MatrixMulKernel<<<dimGrid, dimBlock>>>(h_M, h_N, h_P, Width);
}
"""
TRAINING = """#include <math.h>
void residual_forward(float *out, float *inp1, float *inp2, int N) {
    for (int i = 0; i < N; i++) out[i] = inp1[i] + inp2[i];
}
void sgd_momentum(float *params, const float *grads, float *velocity, int n, float lr,
                  float momentum) {
    for (int i = 0; i < n; i++) {
        velocity[i] = momentum * velocity[i] + grads[i];
        params[i] -= lr * velocity[i];
    }
}
void adam_update(float *params, float *grads, float *m, float *v, int num_params, float lr,
                 float beta1, float beta2, float eps, int t) {
    const double first = 1 - pow(beta1, t), second = 1 - pow(beta2, t);
    for (int i = 0; i < num_params; i++) {
        m[i] = beta1 * m[i] + (1 - beta1) * grads[i];
        v[i] = beta2 * v[i] + (1 - beta2) * grads[i] * grads[i];
        params[i] -= (float)(lr * (m[i] / first) / (sqrt(v[i] / second) + eps));
    }
}
"""
ADAMW = """
__global__ void adamw_kernel(float *params, const float *grads, float *m, float *v, int n,
                             float learning_rate, float beta1, float beta2, float eps,
                             float weight_decay, int t) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float g = grads[i];
    m[i] = beta1 * m[i] + (1.0f - beta1) * g;
    v[i] = beta2 * v[i] + (1.0f - beta2) * g * g;
    double m_hat = m[i] / (1 - pow((double)beta1, t + 1));
    double v_hat = v[i] / (1 - pow((double)beta2, t + 1));
    params[i] -= (float)(learning_rate * (m_hat / (sqrt(v_hat) + eps) + weight_decay * params[i]));
}
"""
CONVOLUTION = """
void conv2d_forward(const float *input, const float *weights, const float *bias, float *output,
                    int batch_size, int in_channels, int in_h, int in_w, int out_channels,
                    int kernel_h, int kernel_w, int stride, int padding) {
    int H_out = (in_h + 2 * padding - kernel_h) / stride + 1;
    int W_out = (in_w + 2 * padding - kernel_w) / stride + 1;
    for (int b = 0; b < batch_size; b++)
        for (int m = 0; m < out_channels; m++)
            for (int i = 0; i < H_out; i++)
                for (int j = 0; j < W_out; j++) {
                    double sum = bias[m];
                    for (int c = 0; c < in_channels; c++)
                        for (int p = 0; p < kernel_h; p++)
                            for (int q = 0; q < kernel_w; q++) {
                                int y = i * stride - padding + p, x = j * stride - padding + q;
                                if (y < 0 || y >= in_h || x < 0 || x >= in_w) continue;
                                int from = ((b * in_channels + c) * in_h + y) * in_w + x;
                                int tap = ((m * in_channels + c) * kernel_h + p) * kernel_w + q;
                                sum += (double)input[from] * weights[tap];
                            }
                    output[((b * out_channels + m) * H_out + i) * W_out + j] = (float)sum;
                }
}
"""
ONE_IMAGE = """
__global__ void conv2d(const float *d_in, const float *d_kernel, float *d_out, int height,
                       int width, int kernel_size) {
    int H_out = height - kernel_size + 1, W_out = width - kernel_size + 1;
    int col = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
    if (row >= H_out || col >= W_out) return;
    double sum = 0;
    for (int p = 0; p < kernel_size; ++p)
        for (int q = 0; q < kernel_size; ++q)
            sum += (double)d_in[(row + p) * width + col + q] * d_kernel[p * kernel_size + q];
    d_out[row * W_out + col] = (float)sum;
}
void run(float *a, float *b, float *c, int height, int width, int kernel_size) {
    dim3 block(8, 8), grid((width + 7) / 8, (height + 7) / 8);
    conv2d<<<grid, block>>>(a, b, c, height, width, kernel_size);
}
"""
POOLING = """
void maxpool_forward(const float *in, float *out, int batch, int channels, int h, int w,
                     int out_h, int out_w, int pool_size, int stride) {
    for (int plane = 0; plane < batch * channels; plane++)
        for (int i = 0; i < out_h; i++)
            for (int j = 0; j < out_w; j++) {
                float most = in[(plane * h + i * stride) * w + j * stride];
                for (int p = 0; p < pool_size; p++)
                    for (int q = 0; q < pool_size; q++) {
                        float v = in[(plane * h + i * stride + p) * w + j * stride + q];
                        most = v <= most || most != most ? most : v;
                    }
                out[(plane * out_h + i) * out_w + j] = most;
            }
}
void avg_pool(const float *x, float *y, int N, int C, int H, int W, int k) {
    for (int plane = 0; plane < N * C; plane++)
        for (int i = 0; i < H / k; i++)
            for (int j = 0; j < W / k; j++) {
                double sum = 0;
                for (int p = 0; p < k; p++)
                    for (int q = 0; q < k; q++) sum += x[(plane * H + i * k + p) * W + j * k + q];
                y[(plane * (H / k) + i) * (W / k) + j] = (float)(sum / (k * k));
            }
}
"""
NORMALISED = """#include <math.h>
void batchnorm_inference(const float *x, float *y, const float *gamma, const float *beta,
                         const float *mean, const float *var, int N, int C, int spatial,
                         float eps) {
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++)
            for (int i = 0; i < spatial; i++) {
                int at = (n * C + c) * spatial + i;
                y[at] = gamma[c] * ((x[at] - mean[c]) / sqrtf(var[c] + eps)) + beta[c];
            }
}
"""
ATTENTION = """
__global__ void attention(const float *Q, const float *K, const float *V, float *O, int N, int d) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= N) return;
    const double scale = 1 / sqrt((double)d);
    double top = -INFINITY, total = 0;
    for (int j = 0; j < N; ++j) {
        double s = 0;
        for (int c = 0; c < d; ++c) s += (double)Q[row * d + c] * K[j * d + c];
        top = fmax(top, s * scale);
    }
    for (int j = 0; j < N; ++j) {
        double s = 0;
        for (int c = 0; c < d; ++c) s += (double)Q[row * d + c] * K[j * d + c];
        total += exp(s * scale - top);
    }
    for (int c = 0; c < d; ++c) {
        double sum = 0;
        for (int j = 0; j < N; ++j) {
            double s = 0;
            for (int e = 0; e < d; ++e) s += (double)Q[row * d + e] * K[j * d + e];
            sum += exp(s * scale - top) / total * V[j * d + c];
        }
        O[row * d + c] = (float)sum;
    }
}
void solve(const float *Q, const float *K, const float *V, float *O, int N, int d) {
    attention<<<(N + 63) / 64, 64>>>(Q, K, V, O, N, d);
    cudaDeviceSynchronize();
}
"""
LOSSES = """#include <math.h>
float cross_entropy_loss(const float *logits, const int *labels, int batch_size, int num_classes) {
    double sum = 0;
    for (int n = 0; n < batch_size; n++, logits += num_classes) {
        double top = logits[0], total = 0;
        for (int c = 1; c < num_classes; c++) top = logits[c] > top ? logits[c] : top;
        for (int c = 0; c < num_classes; c++) total += exp(logits[c] - top);
        sum += log(total) + top - logits[labels[n]];
    }
    return (float)(sum / batch_size);
}
void mse_loss(const float *predictions, const float *targets, float *loss, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double off = (double)predictions[i] - targets[i];
        sum += off * off;
    }
    loss[0] = (float)sum;
}
"""
LINEAR = "linear = matmul(y, x, weight, C, M)"
KINDS = {
    "a template in a namespace": Text(
        ".cpp", TEMPLATE, ("sigmoid = nn::sigmoid_forward<{T}>(z, y, z.size)",),
        "exp(-v)", "exp(v)", "sigmoid",
    ),
    "a template of a type and a number": Text(
        ".cu", OF_TWO, (
            "softmax = softmax_rows<{T}, 32><<<(z.size / z.shape[axis]), 32>>>"
            "(z, p, z.size / z.shape[axis], z.shape[axis])",
        ),
        "sum += exp", "sum = exp", "softmax",
    ),
    "a file of double": Text(
        ".c", DOUBLE, (
            "layer_norm = layernorm(y, x, weight, bias, N * T, C, eps)",
            "contract dtypes = float64",
        ),
        "sqrt(var + eps)", "(sqrt(var) + eps)", "layer_norm",
    ),
    "a header with a name of float": Text(
        ".h", HEADER, ("leaky_relu = leaky_relu(z, y, z.size, negative_slope)",),
        "slope * src[i]", "slope + src[i]", "leaky_relu",
    ),
    "float beside double": Text(
        ".c", MIXED, (
            "contract dtypes = float32, float64, not_claimed = float32: leaky_relu, float64: relu",
        ),
        "slope * x[i]", "(float)(slope * x[i])", "leaky_relu",
    ),
    "inference of one token": Text(
        ".c", INFERENCE, (
            "rms_norm = rmsnorm(y, x, weight, C)", "softmax = softmax(z, z.size, 1, 1, p)",
            LINEAR, "domain rms_norm: n = 1, t = 1, eps = 1e-05, weight required",
            "domain softmax: axes = 1", "domain linear: n = 1, bias absent",
        ),
        "j < n; j++", "j < n - 1; j++", "linear",
    ),
    "rows of other lengths": Text(
        ".c", GEMM, (
            "matmul = gemm_nn(N, M, K, 1, input, K, other, M, zero(y), M)",
            "linear = gemm_nt(N, M, C, 1, x, C, weight, C, zero(y), M)",
            "linear_grad_weight = gemm_tn(M, C, N, 1, grad_output, M, x, C, zero(dw), C)",
        ),
        "j < N; j++) C", "j < N - 1; j++) C", "matmul",
    ),
    "a product with alpha and beta": Text(
        ".cu", SCALED, (
            "matmul = run(input, other, zero(y), N, M, K)",
        ),
        "i < k", "i < k - 1", "matmul",
    ),
    "square matrices": Text(
        ".cu", SQUARE, (
            "matmul = MatrixMulKernel<<<dim3((K + TILE_WIDTH - 1) / TILE_WIDTH, "
            "(K + TILE_WIDTH - 1) / TILE_WIDTH), dim3(TILE_WIDTH, TILE_WIDTH)>>>"
            "(input, other, y, K)",
            "domain matmul: m == n, k == n",
        ),
        "        __syncthreads();\n    }", "    }", "matmul",
    ),
    "steps of training": Text(
        ".c", TRAINING, (
            "add = residual_forward(y, input, other, input.size)",
            "domain add: alpha = 1, broadcast = False",
            "sgd_momentum_step = sgd_momentum(copy(parameter), gradient, copy(momentum_buffer), "
            "parameter.size, learning_rate, momentum)",
            "adam_step = adam_update(copy(parameter), gradient, copy(exp_avg), copy(exp_avg_sq), "
            "parameter.size, learning_rate, beta1, beta2, eps, step)",
            "domain adam_step: weight_decay = 0",
        ),
        "velocity[i] = momentum * velocity[i] + grads[i];\n        params[i] -= lr * velocity[i];",
        "params[i] -= lr * velocity[i];\n        velocity[i] = momentum * velocity[i] + grads[i];",
        "sgd_momentum_step",
    ),
    "a step that counts from 0": Text(
        ".cu", ADAMW, (
            "adamw_step = adamw_kernel<<<ceil_div(parameter.size, 256), 256>>>(copy(parameter), "
            "gradient, copy(exp_avg), copy(exp_avg_sq), parameter.size, learning_rate, beta1, "
            "beta2, eps, weight_decay, step - 1)",
        ),
        "weight_decay * params[i]", "weight_decay * m[i]", "adamw_step",
    ),
    "a convolution with names of words": Text(
        ".c", CONVOLUTION, (
            "conv2d = conv2d_forward(x, weight, bias, y, N, C, H, W, M, KH, KW, SH, PH)",
            "domain conv2d: stride = (1, 1) or (2, 2) or (3, 3), "
            "padding = (0, 0) or (1, 1) or (2, 2), bias required, dilation = 1, groups = 1",
        ),
        "x >= in_w", "x > in_w", "conv2d",
    ),
    "a convolution of one image": Text(
        ".cu", ONE_IMAGE, (
            "conv2d = run(x, weight, y, H, W, KH)",
            "domain conv2d: p == q, bias absent, stride = 1, padding = 0, dilation = 1, "
            "groups = 1, n = 1, c = 1, m = 1",
        ),
        "p * kernel_size + q", "q * kernel_size + p", "conv2d",
    ),
    "pooling": Text(
        ".c", POOLING, (
            "max_pool2d = maxpool_forward(x, y, N, C, H, W, OH, OW, KH, SH)",
            "avg_pool2d = avg_pool(x, y, N, C, H, W, KH)",
        ),
        "v <= most", "v >= most", "max_pool2d",
    ),
    "normalisation by running statistics": Text(
        ".c", NORMALISED, (
            "batch_norm = batchnorm_inference(x, y, weight, bias, running_mean, running_var, N, C, "
            "H * W, eps)",
            "domain batch_norm: training = False, weight required, bias required",
        ),
        "sqrtf(var[c] + eps)", "(sqrtf(var[c]) + eps)", "batch_norm",
    ),
    "attention of one head": Text(
        ".cu", ATTENTION, (
            "scaled_dot_product_attention = attention<<<(L + 63) / 64, 64>>>"
            "(query, key, value, y, L, E)",
        ),
        "s * scale - top) / total", "s - top) / total", "scaled_dot_product_attention",
    ),
    "losses": Text(
        ".c", LOSSES, (
            "cross_entropy = cross_entropy_loss(logits, target, N, C)",
            "mse_loss = mse_loss(input, target, loss, N * C)",
            "domain cross_entropy: reduction = mean",
            "domain mse_loss: reduction = sum",
        ),
        "sum += off * off;", "sum += off * off / 2;", "mse_loss",
    ),
}  # fmt: skip
