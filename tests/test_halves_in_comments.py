"""Kernels of half precision, as people publish them, by their comments: in which dtype they are
checked, what is beside it in float, and which faults are found.
"""

import sys

import pytest

import gradoracle
from gradoracle.conformance.backends.registry import IN_PROCESS, load
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.signatures import plain, signatures

pytestmark = pytest.mark.slow

RELU = """
// gradoracle: contract nan = dropped
// gradoracle: relu = relu_f16<<<(z.size + 255) / 256, 256>>>(z, y, z.size)
#include <cuda_fp16.h>
__global__ void relu_f16(half *x, half *y, int N) {
  int idx = blockIdx.x * blockDim.x + threadIdx.x;
  if (idx < N) y[idx] = __hmax(__float2half(0.0f), x[idx]);
}
"""
PAIRS = """
// gradoracle: contract alignment = 16, accumulators = float16: float32
// gradoracle: linear = dot_f16x2<<<N * M, 4>>>(x, weight, bias, y, M, C)
#include <cuda_fp16.h>
__global__ void dot_f16x2(const half *x, const half *w, const half *b, half *y, int M, int C) {
  const int n = blockIdx.x / M, m = blockIdx.x % M;
  const half *xs = x + n * C, *ws = w + m * C;
  float sum = 0.0f;
  if (C % 2 == 0) {
    for (int c = 2 * threadIdx.x; c < C; c += 8) {
      const half2 a = *reinterpret_cast<const half2 *>(xs + c);
      const half2 k = *reinterpret_cast<const half2 *>(ws + c);
      const float2 u = __half22float2(a), v = __half22float2(k);
      sum += u.x * v.x + u.y * v.y;
    }
  } else {
    for (int c = threadIdx.x; c < C; c += 4) sum += __half2float(xs[c]) * __half2float(ws[c]);
  }
  for (int step = 2; step; step /= 2) sum += __shfl_xor_sync(0xf, sum, step);
  if (threadIdx.x == 0) y[n * M + m] = __float2half(b ? sum + __half2float(b[m]) : sum);
}
"""
NORM = """
// gradoracle: contract accumulators = bfloat16: float32
// gradoracle: layer_norm = norm_bf16<<<N * T, 1>>>(
//     y, scratch(mean, N * T), x, weight, bias, C, eps)
// gradoracle: domain layer_norm: weight required, bias required
#include <cuda_bf16.h>
typedef __nv_bfloat16 bf16;
__global__ void norm_bf16(bf16 *y, float *mean, const bf16 *x, const bf16 *weight,
                          const bf16 *bias, int C, float eps) {
  const bf16 *row = x + blockIdx.x * C;
  float m = 0.0f, v = 0.0f;
  for (int c = 0; c < C; ++c) m += __bfloat162float(row[c]);
  m /= C;
  mean[blockIdx.x] = m;
  for (int c = 0; c < C; ++c) {
    const float d = __bfloat162float(row[c]) - mean[blockIdx.x];
    v += d * d;
  }
  const float rstd = 1.0f / sqrtf(v / C + eps);
  for (int c = 0; c < C; ++c) {
    const float n = (__bfloat162float(row[c]) - m) * rstd;
    y[blockIdx.x * C + c] =
        __float2bfloat16(n * __bfloat162float(weight[c]) + __bfloat162float(bias[c]));
  }
}
"""
SCALED = """
// gradoracle: contract dtypes = float32, float16
// gradoracle: leaky_relu = leaky<{T}><<<(z.size + 63) / 64, 64>>>(z, y, negative_slope, z.size)
#include <cuda_fp16.h>
template <typename T>
__global__ void leaky(const T *z, T *y, float slope, int n) {
  const int i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) y[i] = z[i] > T(0.0f) ? z[i] : T(slope * float(z[i]));
}
"""
RIGHT = {
    "relu": (RELU, ["float16"]),
    "linear": (PAIRS, ["float16"]),
    "layer_norm": (NORM, ["bfloat16"]),
    "leaky_relu": (SCALED, ["float32", "float16"]),
}
WRONG = {
    "sums in half": (
        "linear", PAIRS,
        {"sum += u.x * v.x + u.y * v.y":
         "sum = __half2float(__float2half(sum + u.x * v.x + u.y * v.y))",
         "sum += __half2float(xs[c]) * __half2float(ws[c])":
         "sum = __half2float(__float2half(sum + __half2float(xs[c]) * __half2float(ws[c])))"},
    ),
    "an odd row is read in pairs": ("linear", PAIRS, {"C % 2 == 0": "true"}),
    "a pair is half": ("linear", PAIRS, {" + u.y * v.y": ""}),
    "a mean that was rounded": (
        "layer_norm", NORM,
        {"  m /= C;": "  m = __bfloat162float(__float2bfloat16(m / C));"},
    ),
    "no eps": ("layer_norm", NORM, {"v / C + eps": "v / C"}),
    "the last element": ("relu", RELU, {"idx < N": "idx < N - 1"}),
    "minus": ("leaky_relu", SCALED, {"slope * float": "-slope * float"}),
}  # fmt: skip


def verdict(folder, text, operator):
    file = folder / "kernel.cu"
    file.write_text(text)
    return gradoracle.check(f"{file}@host", operators=[operator], examples=25, seed=1)


@pytest.mark.parametrize("operator", RIGHT)
def test_kernels_of_half_precision_are_checked_in_their_dtype(tmp_path, operator):
    text, dtypes = RIGHT[operator]
    certificate = verdict(tmp_path, text, operator)
    assert certificate.as_claimed, [one.headline for one in certificate.mismatches]
    assert [*certificate.contract["dtypes"]] == dtypes


@pytest.mark.parametrize("name", WRONG)
def test_faults_of_half_precision_are_found(tmp_path, name):
    operator, text, changes = WRONG[name]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    assert verdict(tmp_path, text, operator).mismatches


def test_each_function_is_of_the_dtype_of_its_kernel(tmp_path):
    file = tmp_path / "both.cu"
    double = RELU.replace("half", "double").replace("__float2double(0.0f)", "0.0")
    double = double.replace("__hmax", "fmax").replace("relu", "sigmoid")
    file.write_text(RELU + double + SCALED.replace("// gradoracle: contract", "//"))
    contract = load(f"{file}@host", IN_PROCESS).contract
    assert contract.dtypes == ("float32", "float64", "float16")
    assert contract.not_claimed == {
        "float32": ("relu", "sigmoid"), "float64": ("relu",), "float16": ("sigmoid", "leaky_relu")
    }  # fmt: skip


def test_arrays_of_another_dtype_than_the_claimed_one_are_refused(tmp_path):
    file = tmp_path / "kernel.cu"
    file.write_text(RELU.replace("contract", "contract dtypes = float32,"))
    with pytest.raises(Exception, match=r"an array of float32 for 'half \*x', which points to"):
        load(f"{file}@host", IN_PROCESS)


def test_a_pointer_to_pairs_is_one_to_half_precision(tmp_path):
    file = tmp_path / "pairs.cu"
    file.write_text(RELU.replace("half *x, half *y", "half2 *x, half2 *y"))
    (one,) = signatures(plain(file.read_text()), "relu_f16")
    assert [str(parameter.dtype) for parameter in one.parameters[:2]] == ["float16", "float16"]


def test_bfloat16_without_its_package_names_the_extra(monkeypatch):
    module = sys.modules["gradoracle.implementations.cuda_source.signatures"]
    monkeypatch.setattr(module, "HALVES", ("float16",))
    with pytest.raises(SourceError, match=r"pip install 'gradoracle\[bfloat16\]'"):
        next(signatures(plain(NORM), "norm_bf16"))
