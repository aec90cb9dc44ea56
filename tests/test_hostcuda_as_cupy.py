"""Modules written for CuPy run on the CPU: elementwise and reduction kernels, streams, options."""

import shutil

import numpy as np
import pytest

import gradoracle.implementations.hostcuda as cupy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]
X = np.arange(-6, 6, dtype=np.float32).reshape(3, 4)


def test_an_elementwise_kernel_broadcasts_and_keeps_the_type():
    squared = cupy.ElementwiseKernel("T x, T y", "T z", "z = (x - y) * (x - y)", "squared")
    for dtype in ("float32", "float64", "int32"):
        x, row = X.astype(dtype), np.arange(4, dtype=dtype)
        got = squared(x, row)
        assert got.dtype == dtype
        assert (got == (x - row) ** 2).all()
    into = np.zeros((3, 4), np.float32)
    assert squared(X, 2, into) is into
    assert (into == (X - 2) ** 2).all()
    assert squared(X[:0], 1).shape == (0, 4)


def test_raw_arguments_two_outputs_and_a_preamble():
    turned = cupy.ElementwiseKernel(
        "raw T x, int32 n", "T y, int64 j", "y = twice(x[n - 1 - i]); j = _ind.size()", "turned",
        preamble="template <class T> __device__ T twice(T a) { return 2 * a; }",
    )  # fmt: skip
    y, j = turned(X[0], 4, np.empty(4, np.float32), np.empty(4, np.int64))
    assert y.tolist() == (2 * X[0, ::-1]).tolist()
    assert j.tolist() == [4] * 4


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_reduction_kernel_reduces_over_axes(axis, keepdims):
    norm = cupy.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "norm")
    got = norm(X, axis=axis, keepdims=keepdims)
    want = np.sqrt((X * X).sum(axis=axis, keepdims=keepdims))
    assert got.shape == want.shape
    assert np.allclose(got, want, rtol=1e-6, atol=0)


def test_an_access_past_the_end_is_found_in_these_kernels_too():
    wrong = cupy.ElementwiseKernel("raw T x", "T y", "y = x[i + 1]", "shifted")
    with cupy.checking(), pytest.raises(cupy.KernelFault, match="out of bounds: read of 4 bytes"):
        wrong(X[0], np.empty(4, np.float32))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((X,), TypeError, "squared takes 2 inputs and 1 outputs, got 1 arguments"),
        ((X, X.astype(np.float64)), TypeError, "T is float32, but y is float64"),
        ((X, X[:, :3]), ValueError, "shape mismatch"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, error, words):
    squared = cupy.ElementwiseKernel("T x, T y", "T z", "z = x - y", "squared")
    with pytest.raises(error, match=words):
        squared(*arguments)
    with pytest.raises(ValueError, match="'TYPE NAME' or 'raw TYPE NAME', got 'const T x'"):
        cupy.ElementwiseKernel("const T x", "T y", "y = x")


def test_fused_functions_streams_events_and_devices():
    @cupy.fuse(kernel_name="relu")
    def relu(x):
        return cupy.maximum(x, 0)

    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record(stream)
        assert (relu(X) == np.maximum(X, 0)).all()
        end.record()
        end.synchronize()
        stream.synchronize()
    assert cupy.cuda.get_elapsed_time(start, end) > 0
    assert cupy.cuda.runtime.getDeviceCount() == 1
    with pytest.raises(ValueError, match="one device on the CPU, number 0, got 3"):
        cupy.cuda.Device(3)


def test_options_define_and_a_module_has_a_path(tmp_path):
    text = 'extern "C" __global__ void f(float *x) { x[threadIdx.x] = VALUE; }'
    (tmp_path / "f.cu").write_text(text)
    x = cupy.zeros(4, cupy.float32)
    kernel = cupy.RawKernel(text, "f", options=("-DVALUE=3", "--use_fast_math"))
    kernel((1,), (4,), (x,), stream=cupy.cuda.Stream.null)
    assert x.tolist() == [3] * 4
    module = cupy.RawModule(path=str(tmp_path / "f.cu"), options=("-DVALUE=5",))
    module.get_function("f")((1,), (4,), (x,))
    assert x.tolist() == [5] * 4
