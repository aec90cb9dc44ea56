"""`gradoracle new --from FILE.cu` guesses comments, and says what it could not guess."""

import subprocess
import sys

import pytest

import gradoracle
from gradoracle.implementations.cuda_source.comments import read
from gradoracle.implementations.cuda_source.proposals import (
    function_of,
    proposals,
    with_proposals,
)

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
    assert "not guessed: whether M, N and K are rows, columns and the common side" in product
    assert "common side, as in BLAS; how many blocks and threads run it" in product
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
        ("sgemm_naive", "matmul"), ("conv2d_kernel", "conv2d"), ("vectorAdd", None),
        ("transpose", None),
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
    sgemm_naive<<<dim3(CEIL_DIV(N, 16), CEIL_DIV(M, 16)), dim3(16, 16)>>>(M, N, K, A, B, C);
}
void rows(float *y, float *x, float *w, float *b, int N, int C, int block_size) {
    layernorm<<<N, block_size>>>(y, x, w, b, C, 1e-5f);
}
int main() { const int N = 128, C = 768; rows(0, 0, 0, 0, N, C, 256); }
"""


def test_a_launch_of_host_code_is_in_our_words():
    product, rows = map(str, proposals(HOST))
    assert (
        "<<<dim3(ceil_div(M, 16), ceil_div(N, 16)), dim3(16, 16)>>>(N, M, K, input, other, y)"
        in (product)
    )
    assert "<<<N, block_size>>>" in rows  # not main's 128: it is given to a function


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
