"""`gradoracle new --from FILE.cu` guesses comments, and says what it could not guess."""

import subprocess
import sys

import pytest

import gradoracle
from gradoracle.conformance.backends.registry import UnusableBackend
from gradoracle.implementations.cuda_source.comments import read
from gradoracle.implementations.cuda_source.grids import grid_of
from gradoracle.implementations.cuda_source.names import function_of
from gradoracle.implementations.cuda_source.proposals import (
    proposals,
    with_proposals,
)
from tests.proposed_texts import KINDS

TEXT = """#define BLOCK 128
__global__ void relu_kernel(const float *input, float *output, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) output[i] = input[i] <= 0 ? 0 : input[i];
}
template <typename T> __global__ void reluBackward(const T *dout, const T *z, T *dz, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < size) dz[i] = z[i] > T(0) ? dout[i] : T(0);
}
__global__ void matmul_tiled(const float *A, const float *B, float *C, int M, int N, int K) {}
__global__ void mysterious(float *a) {}
__global__ void softmax_rows(const float *x, float *y, int rows, int cols) {}
void host(float *a, float *b, int n) {
    const int threads = BLOCK;
    int blocks = (n + threads - 1) / threads;
    relu_kernel<<<blocks, threads>>>(a, b, n);
}
"""
RELU = "// gradoracle: relu = relu_kernel<<<ceil_div(z.size, 128), 128>>>(z, y, z.size)"


def test_names_types_and_launches_are_read():
    relu, backward, product, other, rows = map(str, proposals(TEXT))
    assert relu == RELU
    assert backward == (
        "// gradoracle: relu_grad = reluBackward<{T}><<<ceil_div(z.size, 256), 256>>>"
        "(grad_output, z, dz, z.size)"
    )
    assert "// to complete: matmul = matmul_tiled<<<?, ?>>>(input, other, y, N, M, K)" in product
    assert "not guessed: how many blocks and threads run it" in product
    assert other.endswith("mysterious: not guessed: no function of the protocol has a name like it")
    assert "how many blocks and threads run it" in rows


def test_what_is_complete_can_be_read_back():
    plans, _ = read(with_proposals(TEXT, proposals(TEXT)), "mine.cu")
    assert [*plans] == ["relu", "relu_grad"]


@pytest.mark.parametrize(
    ("kernel", "function"),
    [
        ("leakyReluKernel", "leaky_relu"), ("LayerNormForward", "layer_norm"),
        ("softmax_backward", "softmax_grad"), ("maxpool2d", "max_pool2d"),
        ("crossEntropyKernel", "cross_entropy"), ("gelu_bwd", "gelu_grad"),
        ("sgemm_naive", "matmul"), ("conv2d_kernel", "conv2d"), ("vectorAdd", "add"),
        ("transpose", None), ("add_bias", None), ("atomicAddX", None), ("adam_update", "adam_step"),
        ("MatrixMulKernel", "matmul"), ("residual_forward", "add"),
    ],
)  # fmt: skip
def test_the_function_is_guessed_by_the_kernels_name(kernel, function):
    assert function_of(kernel) == function


def test_the_command_prints_or_writes_a_package(tmp_path):
    (tmp_path / "k.cu").write_text(TEXT)

    def new(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "gradoracle", "new", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    printed = new("--from", "k.cu")
    assert printed.returncode == 0, printed.stderr
    assert RELU in printed.stdout
    assert not (tmp_path / "mine").exists()
    assert new("mine", "--from", "k.cu").returncode == 0
    written = (tmp_path / "mine" / "mine" / "kernels.cu").read_text()
    assert RELU in written
    assert written.endswith(TEXT)
    missing = new("mine2", "--from", "no.cu")
    assert missing.returncode != 0
    assert "no.cu" in missing.stdout + missing.stderr


HOST = """
#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
__global__ void sgemm_naive(int M, int N, int K, const float *A, const float *B, float *C) {}
__global__ void layernorm(float *out, const float *inp, const float *weight, const float *bias,
                          int C, float eps) {}
void run(int M, int N, int K, float *A, float *B, float *C) {
    sgemm_naive<<<dim3(CEIL_DIV(N, 16),
                       CEIL_DIV(M, 16)), dim3(16, 16)>>>(M, N, K, A, B, C);
}
void rows(float *y, float *x, float *w, float *b, int N, int C, int block_size) {
    layernorm<<<N, block_size, C * sizeof(float)>>>(y, x, w, b, C, 1e-5f);
}
int main() { const int N = 128, C = 768; rows(0, 0, 0, 0, N, C, 256); }
"""


def test_a_host_function_is_called_where_its_parameters_are_understood():
    _, rows = map(str, proposals(HOST))  # whose launch has a number that the host is given
    assert rows == "// gradoracle: layer_norm = rows(y, x, weight, bias, N * T, C, 256)"
    assert proposals(HOST)[1].domain == ("eps = 1e-05", "weight required", "bias required")


def test_a_launch_of_host_code_is_in_our_words():
    strange = HOST.replace("int block_size)", "int block_size, float strange)")
    product, rows = map(str, proposals(strange))
    assert (
        "<<<dim3(ceil_div(M, 16), ceil_div(N, 16)), dim3(16, 16)>>>(N, M, K, input, other, y)"
        in (product)
    )
    # Not main's 128, which is given to a function.
    assert "layernorm<<<(N * T), block_size, C * 4>>>(y, x, weight, bias, C, eps)" in rows
    assert "not guessed: what block_size of its launch is" in rows


def test_a_product_whose_blocks_lie_along_k_is_not_blas():
    others = HOST.replace("dim3(CEIL_DIV(N, 16)", "dim3(CEIL_DIV(K, 16)")
    assert "which of its sizes are rows" not in str(proposals(HOST)[0])
    assert "which of its sizes are rows, columns and the common side" in str(proposals(others)[0])


TWICE = """
__global__ void relu_naive(const float *x, float *y, int n) {}
__global__ void relu_fast(const float *x, float *y, int n) {}
__global__ void elu(const float *x, float *y, int n, float alpha) {}
__global__ void linear(const float *x, const float *w, const float *b, float *y, int N) {}
void run(float *x, float *y, int n, const int threads) {
    const int blocks = CEIL_DIV(n, threads), more = 3;
    relu_naive<<<blocks, 256>>>(x, y, n);
    relu_fast<<<blocks, 512>>>(x, y, n);
    linear<<<ceil_div(N, 16), 16>>>(x, x, x, y, N);
}
"""


def test_of_several_kernels_of_a_function_the_first_is_launched():
    said = with_proposals(TWICE, proposals(TWICE)).splitlines()
    assert said[1:][:4] == [
        "// gradoracle: relu = relu_naive<<<ceil_div(z.size, 256), 256>>>(z, y, z.size)",
        "// instead: relu = relu_fast<<<ceil_div(z.size, 512), 512>>>(z, y, z.size)",
        "// gradoracle: elu = elu<<<ceil_div(z.size, 256), 256>>>(z, y, z.size, alpha)",
        "// gradoracle: linear = linear<<<ceil_div(N, 16), 16>>>(x, weight, bias, y, N)",
    ]
    assert "// gradoracle: domain linear: bias required" in said
    assert [*read("\n".join(said), "mine.cu")[0]] == ["relu", "elu", "linear"]


SOFTMAX = """#define BLOCK 64
__global__ void softmax_kernel(const float* inp, float* out, int N, int C) {
    extern __shared__ float buf[];
    const float* x = inp + blockIdx.x * C;
    float m = -INFINITY, sum = 0;
    for (int i = threadIdx.x; i < C; i += blockDim.x) m = fmaxf(m, x[i]);
    buf[threadIdx.x] = m;
    __syncthreads();
    if (threadIdx.x == 0) for (int i = 1; i < blockDim.x; ++i) buf[0] = fmaxf(buf[0], buf[i]);
    __syncthreads();
    m = buf[0];
    __syncthreads();
    for (int i = threadIdx.x; i < C; i += blockDim.x) sum += expf(x[i] - m);
    buf[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) for (int i = 1; i < blockDim.x; ++i) buf[0] += buf[i];
    __syncthreads();
    sum = buf[0];
    for (int i = threadIdx.x; i < C; i += blockDim.x)
        out[blockIdx.x * C + i] = expf(x[i] - m) / sum;
}
"""
LAUNCHED = """
void softmax_forward(float* out, const float* inp, int rows, int cols, cudaStream_t stream) {
    softmax_kernel<<<rows, BLOCK, BLOCK * sizeof(float), stream>>>(inp, out, rows, cols);
    cudaDeviceSynchronize();
}
"""
HOSTED = """
void softmax_forward(float* out, const float* inp, int rows, int cols, int threads) {
    softmax_kernel<<<rows, threads, threads * sizeof(float)>>>(inp, out, rows, cols);
}
"""
MAIN = """
int main() {
    const int N = 8, C = 100;
    float *a, *b;
    cudaMalloc(&a, N * C * sizeof(float));
    cudaMalloc(&b, N * C * sizeof(float));
    softmax_kernel<<<N, BLOCK, BLOCK * sizeof(float)>>>(a, b, N, C);
}
"""
NORM = """
__global__ void layernorm_kernel(float* out, float* mean, const float* inp, const float* weight,
                                 const float* bias, int N, int C) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= N) return;
    const float* x = inp + row * C;
    float m = 0, v = 0;
    for (int i = 0; i < C; i++) m += x[i];
    m /= C;
    for (int i = 0; i < C; i++) v += (x[i] - m) * (x[i] - m);
    float s = 1.0f / sqrtf(v / C + 1e-5f);
    for (int i = 0; i < C; i++) {
        float y = s * (x[i] - m) * weight[i];
        out[row * C + i] = bias != NULL ? y + bias[i] : y;
    }
    if (mean) mean[row] = m;
}
void layernorm_forward(float* out, float* mean, const float* inp, const float* weight,
                       const float* bias, int B, int T, int C, const int block_size) {
    const int N = B * T;
    layernorm_kernel<<<(N + block_size - 1) / block_size, block_size>>>(
        out, mean, inp, weight, bias, N, C);
}
"""
FOURS = """
__global__ void relu_float4(const float* x, float* y, int N) {
    int at = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (at >= N) return;
    float4 v = reinterpret_cast<const float4*>(x + at)[0];
    v.x = v.x <= 0 ? 0 : v.x; v.y = v.y <= 0 ? 0 : v.y;
    v.z = v.z <= 0 ? 0 : v.z; v.w = v.w <= 0 ? 0 : v.w;
    reinterpret_cast<float4*>(y + at)[0] = v;
}
void run(float* x, float* y, int N) {
    dim3 block(256 / 4);
    dim3 grid((N + 256 - 1) / 256);
    relu_float4<<<grid, block>>>(x, y, N);
}
"""
CERTIFIED = {
    "four at a time": (FOURS, [
        "relu = relu_float4<<<dim3((z.size + 256 - 1) / 256), dim3(256 / 4)>>>(z, y, z.size)",
        "domain relu: size % 4 == 0",
        "contract alignment = 16",
    ]),
    "a stream": (SOFTMAX + LAUNCHED, [
        "softmax = softmax_kernel<<<(z.size / z.shape[axis]), 64, BLOCK * 4>>>"
        "(z, p, z.size / z.shape[axis], z.shape[axis])",
        "domain softmax: axis = -1",
    ]),
    "a host function": (SOFTMAX + HOSTED, [
        "softmax = softmax_forward(p, z, z.size / z.shape[axis], z.shape[axis], 256)",
        "domain softmax: axis = -1",
    ]),
    "a launch with shared memory": (SOFTMAX + MAIN, [
        "softmax = softmax_kernel<<<(z.size / z.shape[axis]), 64, BLOCK * 4>>>"
        "(z, p, z.size / z.shape[axis], z.shape[axis])",
        "domain softmax: axis = -1",
    ]),
    "optional results": (NORM, [
        "layer_norm = layernorm_forward(y, scratch(mean, N * T), x, weight, bias, N, T, C, 256)",
        "domain layer_norm: eps = 1e-05, weight required",
    ]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CERTIFIED)
def test_what_is_proposed_certifies_the_file_as_it_is(name, tmp_path):
    text, said = CERTIFIED[name]
    written = with_proposals(text, proposals(text))
    comments = [line for line in written.splitlines() if line.startswith("// gradoracle: ")]
    assert comments == [f"// gradoracle: {one}" for one in said]
    file = tmp_path / "kernels.cu"
    file.write_text(written)
    assert gradoracle.check(file, operators=[said[0].split()[0]], examples=6, seed=1).passed


NEEDS_A_BIAS = """
// gradoracle: linear = plus<<<1, 1>>>(x, weight, bias, y, N, M, C)
__global__ void plus(const float *x, const float *w, const float *b, float *y, int N, int M,
                     int C) {
    for (int n = 0; n < N; ++n)
        for (int m = 0; m < M; ++m) {
            float s = b[m];
            for (int c = 0; c < C; ++c) s += x[n * C + c] * w[m * C + c];
            y[n * M + m] = s;
        }
}
"""


@pytest.mark.slow
def test_a_kernel_that_needs_a_bias_is_told_how_to_say_so(tmp_path):
    file = tmp_path / "plus.cu"
    file.write_text(NEEDS_A_BIAS)
    found = gradoracle.check(file, operators=["linear"], examples=10, seed=1)
    told = " ".join(one.headline for one in found.mismatches)
    said = "// gradoracle: domain linear: bias required"
    assert f"; bias is None: {said}" in told
    file.write_text(f"{said}\n{NEEDS_A_BIAS}")
    assert gradoracle.check(file, operators=["linear"], examples=10, seed=1).passed


# A normalisation that saves its statistics, and a layer that is called a product, in C.
IN_C = """#include <math.h>
static float squared(float v) { return v * v; }
void rows_layernorm_forward(float *out, float *mean, float *rstd, const float *inp,
                            const float *weight, const float *bias, int B, int T, int C) {
    for (int row = 0; row < B * T; row++, inp += C, out += C) {
        double sum = 0, squares = 0;
        for (int i = 0; i < C; i++) sum += inp[i];
        for (int i = 0; i < C; i++) squares += squared(inp[i] - (float)(sum / C));
        mean[row] = (float)(sum / C);
        rstd[row] = 1 / sqrtf((float)(squares / C) + 1e-5f);
        for (int i = 0; i < C; i++) out[i] = (inp[i] - mean[row]) * rstd[row] * weight[i] + bias[i];
    }
}
void rows_layernorm_backward(float *dinp, float *dweight, float *dbias, const float *dout,
                             const float *inp, const float *weight, const float *mean,
                             const float *rstd, int B, int T, int C) {
    for (int row = 0; row < B * T; row++) {
        const float *dy = dout + row * C, *x = inp + row * C;
        float *dx = dinp + row * C;
        double first = 0, second = 0;
        for (int i = 0; i < C; i++) {
            const float unit = (x[i] - mean[row]) * rstd[row];
            first += (double)dy[i] * weight[i];
            second += (double)dy[i] * weight[i] * unit;
            dbias[i] += dy[i];
            dweight[i] += dy[i] * unit;
        }
        for (int i = 0; i < C; i++) {
            const double unit = (x[i] - mean[row]) * rstd[row];
            dx[i] += (float)((dy[i] * weight[i] - first / C - unit * second / C) * rstd[row]);
        }
    }
}
void matmul_forward(float *out, const float *inp, const float *weight, const float *bias,
                    int B, int T, int C, int OC) {
    for (int row = 0; row < B * T; row++)
        for (int o = 0; o < OC; o++) {
            float sum = bias == 0 ? 0 : bias[o];
            for (int i = 0; i < C; i++) sum += inp[row * C + i] * weight[o * C + i];
            out[row * OC + o] = sum;
        }
}
void matmul_backward(float *dinp, float *dweight, float *dbias, const float *dout,
                     const float *inp, const float *weight, int B, int T, int C, int OC) {
    for (int row = 0; row < B * T; row++)
        for (int o = 0; o < OC; o++) {
            const float d = dout[row * OC + o];
            float *dx = dinp + row * C;
            float *dw = dweight + o * C;
            if (dbias) dbias[o] += d;
            for (int i = 0; i < C; i++) { dx[i] += weight[o * C + i] * d; }
            for (int i = 0; i < C; i++) { dw[i] += inp[row * C + i] * d; }
        }
}
void softmax_forward(float *probs, const float *logits, int B, int T, int V) {
    for (int row = 0; row < B * T; row++, logits += V, probs += V) {
        float top = logits[0], sum = 0;
        for (int i = 0; i < V; i++) top = logits[i] > top ? logits[i] : top;
        for (int i = 0; i < V; i++) sum += probs[i] = expf(logits[i] - top);
        for (int i = 0; i < V; i++) probs[i] /= sum;
    }
}
void unknown(float *a, int n) { for (int i = 0; i < n; i++) a[i] = 0; }
int main(void) { return 0; }
"""
OF_C = [
    "// gradoracle: layer_norm = rows_layernorm_forward(y, scratch(mean, N * T), "
    "scratch(rstd, N * T), x, weight, bias, N, T, C)",
    "// gradoracle: layer_norm_grad_x, layer_norm_grad_weight, layer_norm_grad_bias = "
    "rows_layernorm_forward(scratch(y, N * T * C), scratch(mean, N * T), scratch(rstd, N * T), x, "
    "weight, bias, N, T, C)\n"
    "// gradoracle: layer_norm_grad_x, layer_norm_grad_weight, layer_norm_grad_bias = "
    "rows_layernorm_backward(zero(*), zero(*), zero(*), grad_output, x, weight, "
    "scratch(mean, N * T), scratch(rstd, N * T), N, T, C)",
    "// gradoracle: linear = matmul_forward(y, x, weight, bias, N, 1, C, M)",
    "// gradoracle: linear_grad_input, linear_grad_weight, linear_grad_bias = "
    "matmul_backward(zero(*), zero(*), zero(*), grad_output, x, weight, N, 1, C, M)",
    "// gradoracle: softmax = softmax_forward(p, z, z.size / z.shape[axis], 1, z.shape[axis])",
    "// unknown: not guessed: no function of the protocol has a name like it",
]


def test_functions_of_c_are_called():
    assert [str(one) for one in proposals(IN_C, calls=True)] == OF_C
    whole = with_proposals(IN_C, proposals(IN_C, calls=True))
    assert "domain layer_norm: eps = 1e-05, weight required, bias required\n" in whole
    assert "domain linear" not in whole


def test_what_saves_statistics_must_be_there():
    alone = IN_C.replace("rows_layernorm_forward", "of_my_own")
    (backward,) = (str(one) for one in proposals(alone, calls=True) if "layernorm" in one.kernel)
    assert backward.startswith("// to complete: layer_norm_grad_x")
    assert backward.endswith("not guessed: what computes mean, rstd for it")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "functions"),
    [
        ("", "", set()),
        (" - first / C", "", {"layer_norm_grad_x"}),
        ("dbias[o] += d;", "dbias[o] = d;", {"linear_grad_bias"}),
    ],
)
def test_a_file_of_c_goes_from_its_text_to_a_verdict(tmp_path, right, wrong, functions):
    (tmp_path / "mine.c").write_text(IN_C.replace(right, wrong) if right else IN_C)
    written = subprocess.run(
        [sys.executable, "-m", "gradoracle", "new", "--from", "mine.c", "--to", "checked.c"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "Now: read checked.c, and gradoracle certify ./checked.c" in written.stdout
    found = gradoracle.check(str(tmp_path / "checked.c"), profile="quick", seed=1)
    assert {one.function for one in found.mismatches} == functions
    judged = {one.formula for one in found.outcomes if one.judged}
    assert judged >= {"layer_norm_grad_weight", "linear_grad_input", "softmax"}


def test_a_file_is_never_written_over(tmp_path):
    for name in ("mine.c", "checked.c"):
        (tmp_path / name).write_text(IN_C)
    ran = subprocess.run(
        [sys.executable, "-m", "gradoracle", "new", "--from", "mine.c", "--to", "checked.c"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "already; nothing was written" in " ".join(ran.stderr.replace("│", " ").split())
    assert (tmp_path / "checked.c").read_text() == IN_C


def of_c(text):
    return with_proposals(text, proposals(text, calls=True)).partition("\n\n")[0].splitlines()[1:]


RULES_OF_C = {
    "the saved answer is computed first": (
        """void tanh_forward(const float *in, float *out, int n) { out[0] = in[0]; }
        void tanh_backward(float *dinp, float *out, const float *dout, int n) { dinp[0] = 1; }""",
        [
            "tanh = tanh_forward(z, y, z.size)",
            "tanh_grad = tanh_forward(z, scratch(y, z.size), z.size)",
            "tanh_grad = tanh_backward(dz, scratch(y, z.size), grad_output, z.size)",
        ],
    ),
    "what is set before is not zeroed": (
        """void relu_forward(const float *x, float *y, int n) { memset(y, 0, n); y[0] += x[0]; }""",
        ["relu = relu_forward(z, y, z.size)"],
    ),
    "a derivative is a gradient, and relu_6 no relu": (
        """void relu_6(const float *x, float *y, int n) { y[0] = x[0]; }
        void sigmoid_prime(const float *z, const float *dy, float *dz, int n) { dz[0] = 0; }""",
        [
            "relu6 = relu_6(z, y, z.size)",
            "sigmoid_grad = sigmoid_prime(z, grad_output, dz, z.size)",
        ],
    ),
    "one row": (
        """void softmax(float *x, int size) { x[0] = 1; }""",
        ["softmax = softmax(copy(z), z.size)", "domain softmax: axes = 1"],
    ),
    "options that nothing speaks of": (
        """void conv(const float *x, const float *weight, float *y, int N, int C, int H, int W,
                  int M, int KH, int KW) { y[0] = 0; }""",
        [
            "conv2d = conv(x, weight, y, N, C, H, W, M, KH, KW)",
            "domain conv2d: bias absent, stride = 1, padding = 0, dilation = 1, groups = 1",
        ],
    ),
    "a slope of one function only": (
        """void leaky_relu(const float *x, float *y, int n, float slope) { y[0] = 0; }
        void leaky_relu_backward(const float *x, const float *dy, float *dx, int n) {
            dx[0] = x[0] > 0 ? dy[0] : 0.01f * dy[0];
        }""",
        [
            "leaky_relu = leaky_relu(z, y, z.size, negative_slope)",
            "leaky_relu_grad = leaky_relu_backward(z, grad_output, dz, z.size)",
            "domain leaky_relu_grad: negative_slope = 0.01",
        ],
    ),
    "names of floats, namespaces and arrays": (
        """typedef float real;
        namespace mine { namespace kernels {
        void relu(const real *x, real y[], int n) { y[0] = x[0]; }
        } }""",
        ["relu = mine::kernels::relu(z, y, z.size)"],
    ),
}


@pytest.mark.parametrize("rule", RULES_OF_C)
def test_what_is_proposed_of_c(rule):
    text, said = RULES_OF_C[rule]
    assert of_c(text) == [f"// gradoracle: {one}" for one in said]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("void relu(float **x, float *y, int n) { y[0] = 0; }", "the parameter 'float **x'"),
        ("void max_pool(const float *x, float *y, int N, int C, int H, int W) { y[0] = 0; }",
         "how large its windows are"),
        ("void matmul(const float *A, const float *B, float *out, float *out2, int M, int N, int K)"
         " { out[0] = 0; }", "the parameter 'float *out2'"),
    ],
)  # fmt: skip
def test_what_could_only_be_wrong_is_left_open(text, unknown):
    (one,) = proposals(text, calls=True)
    assert unknown in one.unknown


def test_what_may_stand_for_an_unknown_parameter_is_said():
    text = "void softmax(float *y, float *x, float *total, int N, int C) { y[0] = x[0]; }"
    (one,) = proposals(text, calls=True)
    assert str(one) == (
        "// to complete: softmax = softmax(p, z, ?, z.size / z.shape[axis], z.shape[axis])\n"
        "//     not guessed: the parameter 'float *total'\n"
        "//     for an array: z, p, scratch(NAME, COUNT), NULL; for a number: z.size, z.shape[0], "
        "an option of softmax, a constant"
    )
    text = "void conv(float *y, float *x, float *weight, int N, int C, int H, int W, int odd) {}"
    (one,) = proposals(text, calls=True)
    assert "for an array: x, weight, bias, y, scratch" in str(one)
    assert "for a number: N, C, H, W, M, G, KH, KW, OH, OW, SH, SW, PH, PW, DH, DW" in str(one)


def test_a_byte_order_mark_is_removed():
    text = "\ufeffvoid relu(const float *x, float *y, int n) { y[0] = x[0]; }"
    assert "\ufeff" not in with_proposals(text, proposals(text, calls=True))


OF_TWO = """
namespace ops {
template <int BLOCK> __global__ void relu_block(const float *in, float *out, int n) {}
__global__ void tanh_kernel(const float *x, float *y, int rows, int cols) {}
}
void first(float *a, float *b, int n) {
    dim3 grid(n, 2);
    ops::relu_block<256><<<(n + 255) / 256, 256>>>(a, b, n);
}
void softmax_rows_launch(float *x, float *y, int rows, int cols) { dim3 grid(cols); }
__global__ void softmax_rows(const float *x, float *y, int rows, int cols) {}
void second(float *x, float *y, int rows, int cols, float *unknown) {
    dim3 grid(rows);
    softmax_rows<<<grid, 32>>>(x, y, rows, cols);
}
"""


def test_a_launch_has_the_variables_of_its_own_function():
    said = {one.kernel: one.comment for one in proposals(OF_TWO)}
    assert said["relu_block"].startswith(
        "relu = ops::relu_block<256><<<ceil_div(z.size, 256), 256>>>"
    )
    rows = next(one for one in said.values() if one.startswith("softmax"))
    assert rows.startswith("softmax = softmax_rows<<<dim3((z.size / z.shape[axis])), 32>>>")


def test_an_enum_is_an_int_and_a_pointer_to_pointers_is_refused(tmp_path):
    text = """typedef enum { SMALL, LARGE } size_kind;
// gradoracle: relu = positive(z, y, z.size, 1)
void positive(const float *z, float *y, int n, size_kind kind) {
    for (int i = 0; i < n && kind == LARGE; ++i) y[i] = z[i] < 0 ? 0 : z[i];
}
"""
    (tmp_path / "mine.c").write_text(text)
    found = gradoracle.check(str(tmp_path / "mine.c"), examples=5, seed=1)
    assert not found.mismatches, found.mismatches[0].text
    (tmp_path / "mine.c").write_text(
        text.replace("float *y", "float **y").replace("y[i] =", "y[0][i] =")
    )
    with pytest.raises(UnusableBackend, match="is a pointer to pointers, not to numbers"):
        gradoracle.check(str(tmp_path / "mine.c"), examples=5, seed=1)


def proposed(kind, text):
    """Return a text of a kind with its proposals, and the operators that are complete in it."""
    found = proposals(text, calls=kind.ending != ".cu")
    whole = dict.fromkeys(one.operator for one in found if one.comment and not one.unknown)
    return with_proposals(text, found), [*whole]


@pytest.mark.parametrize("name", KINDS)
def test_texts_as_people_publish_them_have_complete_proposals(name):
    said = proposed(KINDS[name], KINDS[name].text)[0].partition("\n\n")[0].splitlines()
    assert {f"// gradoracle: {one}" for one in KINDS[name].said} <= {*said}
    assert not any(line.startswith("// to complete") for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_they_are_right_by_their_proposals_and_a_fault_is_found(name, tmp_path):
    kind = KINDS[name]
    assert kind.right in kind.text
    for text, wrong in ((kind.text, set()), (kind.broken, {kind.function})):
        written, operators = proposed(kind, text)
        file = tmp_path / f"mine{kind.ending}"
        file.write_text(written)
        found = gradoracle.check(str(file), operators=operators, examples=6, seed=1)
        assert {one.function for one in found.mismatches} == wrong
        judged = [one.formula for one in found.outcomes if one.judged]
        assert all(any(one.startswith(of) for one in judged) for of in operators)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        # Values that no comment can give: half precision, quantised weights.
        ("void relu(const half *x, float *y, int n) { y[0] = x[0]; }",
         "whether its arrays hold float or half: pointers to both are among them"),
        ("void relu(const float *x, double *y, int n) { y[0] = x[0]; }",
         "whether its arrays hold float or double: pointers to both are among them"),
        ("template <typename T, int B> void relu(const T *x, T *y, int n) { y[0] = x[0]; }",
         "what B of its template is"),
        # Names alone do not say how a matrix lies: here neither do the indices.
        ("void matmul(float *o, float *a, float *b, int p, int q, int r) { o[i] = a[j] * b[k]; }",
         "which of its sizes are rows, columns and the common side"),
        # Momentum of another kind than PyTorch's, and no count of steps.
        ("""void sgd_momentum(float *w, float *g, float *v, int n, float lr, float momentum) {
            v[0] = momentum * v[0] - lr * g[0]; w[0] += v[0]; }""",
         "whether its buffer holds gradients, as the protocol's, or steps"),
        ("""void sgd_momentum(float *w, float *g, float *v, int n, float lr, float momentum) {
            v[0] = momentum * v[0] + g[0]; w[0] -= lr * (g[0] + momentum * v[0]); }""",
         "whether its momentum is Nesterov's or dampened"),
        ("""void adam(float *w, float *g, float *m, float *v, int n, float lr, float beta1,
                  float beta2, float eps) { m[0] = 1; v[0] = 1; w[0] -= lr; }""", "what step is"),
        ("void vector_add(float *a, float *b, float *c, int n) { c[0] = a[0] + 2 * b[0]; }",
         "whether it is a plain sum of two arrays"),
        # What was computed before is not what a function of the protocol takes.
        ("void crossentropy(float *losses, float *probs, int *targets, int N, int C)"
         " { losses[0] = -log(probs[targets[0]]); }", "the parameter 'float *probs'"),
        ("""void attention(const float *Q, const float *K, const float *V, float *O, int N, int d) {
            O[0] = Q[0] * K[0] * V[0] / sqrt(d); for (int j = 0; j <= i; j++); }""",
         "whether it hides later positions"),
        ("void max_pool(const float *x, float *y, int N, int C, int H, int W, int k) { y[0] = 0; }",
         "how far its windows move: stride"),
        ("void gelu(const float *x, float *y, int n) { y[0] = x[0]; }",
         "whether its approximation is by tanh"),
    ],
)  # fmt: skip
def test_what_a_text_does_not_show_is_not_guessed(text, unknown):
    (one,) = proposals(text, calls=True)
    assert unknown in " ".join(one.unknown), one.unknown


HALVES = """
#include <cuda_fp16.h>
__global__ void relu_f16_kernel(half *x, half *y, int N) {
  int idx = blockIdx.x * blockDim.x + threadIdx.x;
  if (idx < N) y[idx] = __hlt(x[idx], __float2half(0.0f)) ? __float2half(0.0f) : x[idx];
}
__global__ void hgemm_kernel(half *a, half *b, half *c, int M, int N, int K) {
  int n = blockIdx.x * blockDim.x + threadIdx.x;
  int m = threadIdx.y + blockDim.y * blockIdx.y;
  if (m < M && n < N) {
    float psum = 0.0f;
    for (int k = 0; k < K; k++) psum += __half2float(a[m * K + k]) * __half2float(b[k * N + n]);
    c[m * N + n] = __float2half(psum);
  }
}
"""


def test_kernels_of_half_precision_are_proposed_and_certified(tmp_path):
    text = with_proposals(HALVES, proposals(HALVES))
    assert "matmul = hgemm_kernel<<<dim3(ceil_div(M, 16), ceil_div(N, 16)), dim3(16, 16)>>>" in text
    file = tmp_path / "checked.cu"
    file.write_text(text)
    told = gradoracle.check(f"{file}@host", examples=10, seed=1)
    assert told.passed, [one.headline for one in told.mismatches]
    assert [*told.contract["dtypes"]] == ["float16"]


def test_sums_in_float_are_proposed_for_half_precision():
    gemm = (
        HALVES[: HALVES.index("__global__ void relu")]
        + HALVES[HALVES.index("__global__ void hg") :]
    )
    line = "// gradoracle: contract accumulators = float16: float32"
    assert line in with_proposals(gemm, proposals(gemm))
    in_half = gemm.replace("float psum = 0.0f", "half psum = 0").replace("__half2float", "")
    assert line not in with_proposals(in_half, proposals(in_half))


@pytest.mark.parametrize(
    ("places", "guard", "sizes"),
    [
        ("int i = blockIdx.x * blockDim.x + threadIdx.x;", "if (i < M)", "ceil_div(N, 256), 256"),
        ("int i = blockIdx.x * TILE + threadIdx.x;", "if (i < M)", "ceil_div(N, TILE), TILE"),
        ("int i = blockIdx.x * blockDim.x + threadIdx.x, k = blockDim.y * blockIdx.y + 1;",
         "if (i < M)", ""),  # a block along another axis
        ("int i = blockIdx.x * blockDim.x + threadIdx.x;", "if (i < M - 1)", ""),
        ("int i = blockIdx.x * blockDim.x + threadIdx.x;", "for (; i < M; i += 9)", ""),
        ("int i = blockIdx.x * UNKNOWN + threadIdx.x;", "if (i < M)", ""),
    ],
)  # fmt: skip
def test_a_grid_follows_from_guards(places, guard, sizes):
    found = grid_of(f"{places} {guard} y[i] = x[i];", {"x": "z", "M": "N"}, {"TILE": 32})
    assert ", ".join(found) == sizes
