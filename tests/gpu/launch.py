"""One kernel in a process of its own, for compute-sanitizer to look at.

    python -m tests.gpu.launch SUBJECT [OPTION...]      options of the compiler, such as -lineinfo

A subject is a kernel of tests/cuda/faults.cu by its name, `right:NAME` of tests/cuda/right.cu, or
`own:NAME`, calls of the backend.  Exit code 0: it ran; 1: CUDA refuses it; 2: there is no such
subject; 3: there is no GPU here.
"""

import functools
import sys

import numpy as np

from tests.faults import CODE, CUDA, FAULTS, NUMBERS

SHAPE = np.dtype([("n", np.int32), ("scale", np.float32)])
SCALED = "scaled<float, 64>"
STANDARD = "--std=c++17"
DONE = "{} ran to its end"


def fault(cupy, name, options=()):
    """Launch a planted fault on the data of its test."""
    found = FAULTS[name]
    x = cupy.asarray(np.ones(NUMBERS, np.float32))
    module = cupy.RawModule(code=CODE, options=(STANDARD, *options))
    module.get_function(name)((found.blocks,), (found.threads,), (x, np.int32(found.n)))
    return cupy.asnumpy(x)


def _right(cupy):
    """Return grid, block, arguments and shared memory of every right kernel, by name."""
    x = cupy.asarray(np.arange(1000, dtype=np.float32) - 500)
    bins = np.random.default_rng(0).integers(0, 5, 300).astype(np.int32)

    def zeros(count, dtype=np.float32):
        return cupy.asarray(np.zeros(count, dtype))

    return {
        "block_sum": (3, 128, (x, zeros(1), np.int32(1000)), 16),
        "count": (5, 64, (cupy.asarray(bins), zeros(5), np.int32(300)), 0),
        "fours": (4, 64, (x, cupy.empty(1000, np.float32), np.int32(250)), 0),
        "negatives": (1, 64, (cupy.asarray(np.arange(64, dtype=np.float32) - 9), zeros(4, int)), 0),
        "across_a_warp": (1, 32, (zeros(32),), 0),
        "half_a_warp": (1, 32, (zeros(32),), 0),
        "two_buffers": (1, 32, (zeros(32),), 0),
        "last_adds": (40, 32, (x, cupy.empty(40, np.float32), zeros(1, np.uint32), zeros(1)), 0),
        SCALED: (2, 64, (x, np.array((90, 3.0), SHAPE)), 0),
    }


RIGHT = (
    "block_sum", "count", "fours", "negatives", "across_a_warp", "half_a_warp", "two_buffers",
    "last_adds", SCALED,
)  # fmt: skip


def right(cupy, name, options=()):
    """Launch a right kernel."""
    module = cupy.RawModule(
        code='#line 1 "right.cu"\n' + (CUDA / "right.cu").read_text(encoding="utf-8"),
        options=(STANDARD, *options), name_expressions=(SCALED,),
    )  # fmt: skip
    blocks, threads, arguments, shared = _right(cupy)[name]
    module.get_function(name)((blocks,), (threads,), arguments, shared_mem=shared)
    return [cupy.asnumpy(a) for a in arguments if getattr(a, "ndim", 0)]


def _everything(cupy):
    """Call every function of the backend once."""
    from tests.test_cupy_kernels import CALLS

    for name, (arrays, options) in CALLS.items():
        _compare(cupy, name, arrays, options, rounded=True)


# x [N, C, H, W], weight [M, C/G, KH, KW] and options: several tiles, and their edges.
SHAPES = (
    ((2, 6, 9, 10), (20, 3, 3, 2), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}, 2),
    ((2, 17, 12, 11), (72, 17, 3, 3), {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}, 1),
)


def _convolutions(cupy, algorithm):
    """Compute convolutions and their gradients by one algorithm."""
    from gradoracle.implementations.cupy_kernels import algorithms
    from gradoracle.implementations.shapes import conv_shape

    random = np.random.default_rng(1)
    for x_shape, w_shape, more, groups in SHAPES:
        options = {**more, "groups": groups}
        y_shape = conv_shape(2, x_shape, w_shape, *more.values(), groups)
        x, w, dy = (
            random.integers(-4, 5, s).astype(np.float32) for s in (x_shape, w_shape, y_shape)
        )
        with algorithms.only(algorithm):
            _compare(cupy, "conv2d", [x, w], options)
            _compare(cupy, "conv2d_grad_input", [dy, w], {**options, "input_shape": x_shape})
            _compare(cupy, "conv2d_grad_weight", [dy, x], {**options, "weight_shape": w_shape})


def _compare(cupy, name, arrays, options, *, rounded=False):
    """Call a function of ours and of im2col's; the answers are the same, or nearly so."""
    from gradoracle.implementations import cupy_kernels, im2col

    def single(array):
        return array.astype(np.float32) if array.dtype.kind == "f" else array

    given = [single(a) for a in arrays]
    got = getattr(cupy_kernels, name)(*map(cupy.asarray, given), **options)
    want = getattr(im2col, name)(*given, **options)
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for ours, theirs in pairs:
        # The suite checks rounding; what is looked at here is memory.
        near = 1e-3 if rounded else 0
        np.testing.assert_allclose(cupy.asnumpy(ours), theirs, rtol=near, atol=near, err_msg=name)


OWN = {
    "everything": _everything,
    "direct": functools.partial(_convolutions, algorithm="direct"),
    "implicit": functools.partial(_convolutions, algorithm="implicit"),
}


def subjects():
    """Return the name of every subject."""
    return [*FAULTS, *(f"right:{name}" for name in RIGHT), *(f"own:{name}" for name in OWN)]


def launch(cupy, subject, options=()):
    """Launch a subject on CuPy, or on what stands in for it."""
    kind, _, name = subject.rpartition(":")
    if kind == "right":
        return right(cupy, name, options)
    if kind == "own":
        return OWN[name](cupy)
    return fault(cupy, subject, options)


def main(arguments):
    """Launch one subject on the GPU."""
    subject, *options = arguments or [""]
    if subject not in subjects():
        print(f"no subject {subject!r}; there are {', '.join(subjects())}", file=sys.stderr)
        return 2
    from gradoracle.implementations.cupy_kernels.probe import cupy_with_device

    try:
        cupy = cupy_with_device()
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    # An allocation for each array: the pool's are longer, and are used again.
    cupy.cuda.set_allocator(None)
    if subject.startswith("own:") and options:
        compiled = cupy.RawModule

        def with_options(**given):
            return compiled(**{**given, "options": (*given.get("options", ()), *options)})

        cupy.RawModule = with_options
    try:
        launch(cupy, subject, options)
        cupy.cuda.runtime.deviceSynchronize()
    except Exception as error:  # noqa: BLE001 - CuPy has an exception for each of CUDA's libraries
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return 1
    print(DONE.format(subject))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
