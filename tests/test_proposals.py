"""`gradoracle new --from FILE.cu` guesses comments, and says what it could not guess."""

import subprocess
import sys

import pytest

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
