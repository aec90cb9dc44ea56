"""Notes of bank conflicts and uncoalesced access, against the same counts made with NumPy."""

import shutil

import numpy as np
import pytest

from gradoracle.implementations import hostcuda

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]
TYPES = {"unsigned char": 1, "__half": 2, "float": 4, "double": 8, "float4": 16}
SHARED = """#include <cuda_fp16.h>
#line 1 "mine.cu"
template <typename T> __global__ void shared(const int *at, T *y, int n) {
    __shared__ T s[1024];
    for (int i = threadIdx.x; i < n; i += blockDim.x) s[i] = T{};
    __syncthreads();
    y[threadIdx.x] = s[at[threadIdx.x]];
}
template <typename T> __global__ void global(const int *at, const T *x, T *y) {
    T v = x[at[threadIdx.x]];
    y[threadIdx.x] = v;
}
extern "C" __global__ void transposed(const float *x, float *y) {
    __shared__ float tile[32][32 + PAD];
    tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * 32 + threadIdx.x];
    __syncthreads();
    y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
}
extern "C" __global__ void each_in_turn(float *y) {
    __shared__ float s[1024];
    for (int round = 0; round < 32; ++round) {
        if (threadIdx.x == round) s[32 * round] = round;
        __syncthreads();
    }
    y[threadIdx.x] = s[32 * threadIdx.x];
}
extern "C" __global__ void sums(const float *x, float *y, int n) {
    float sum = 0;
    for (int i = 0; i < n; ++i) sum += x[threadIdx.x * n + i];
    y[threadIdx.x] = sum;
}
"""
LANES = np.arange(32)
DRAWN = np.random.default_rng(2).integers(0, 1024, (4, 32))
WHERE = {
    "in order": LANES, "one word": 0 * LANES + 5, "every second": 2 * LANES, "columns": 32 * LANES,
    "padded": 33 * LANES - 33 * (LANES > 30), "backwards": 31 - LANES, "shifted": LANES + 1,
    **{f"drawn {i}": where for i, where in enumerate(DRAWN)},
}  # fmt: skip


@pytest.fixture(scope="module")
def module():
    names = [f"{kernel}<{kind}>" for kernel in ("shared", "global") for kind in TYPES]
    return hostcuda.RawModule(code=SHARED, options=("-DPAD=0",), name_expressions=names)


def noted(kernel, block, arguments):
    with hostcuda.noting(accesses=True) as notes:
        kernel((1,), block, arguments)
    return [note for note in notes if note.kind != "unwritten elements"]


def passes(at, width):
    """Return the passes over 32 banks of 4 bytes, and those without conflicts."""
    parts = max(1, width // 4)
    used = 0
    for lanes in at.reshape(parts, -1):
        words = np.unique(lanes[:, None] * width // 4 + np.arange(max(1, width // 4)))
        used += np.bincount(words % 32).max()
    return used, parts


def sectors(at, width):
    """Return the sectors of 32 bytes that are touched, and those that would hold the bytes."""
    bytes_ = np.unique(at[:, None] * width + np.arange(width))
    return len(np.unique(bytes_ // 32)), -(-len(bytes_) // 32)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", TYPES)
def test_passes_are_those_of_the_banks(module, kind, where):
    at, width = WHERE[where].astype(np.int32), TYPES[kind]
    y = np.zeros(32 * width, np.uint8)
    notes = noted(module.get_function(f"shared<{kind}>"), (32,), (at, y, np.int32(1024)))
    used, least = passes(at, width)
    want = [
        f"bank conflicts: 1 reads of shared memory by a warp take {used} passes, up to {used} for "
        f"one; without conflicts {least}"
    ]
    assert [note.text for note in notes if note.line == 5] == (want if used > least else [])
    assert {note.line for note in notes} <= {5}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", TYPES)
def test_sectors_are_those_of_the_addresses(module, kind, where):
    at, width = WHERE[where].astype(np.int32), TYPES[kind]
    x, y = np.zeros(1024 * width, np.uint8), np.zeros(32 * width, np.uint8)
    notes = noted(module.get_function(f"global<{kind}>"), (32,), (at, x, y))
    used, least = sectors(at, width)
    want = [
        f"uncoalesced access: 1 reads of argument 1 by a warp touch {used} sectors of 32 bytes, up "
        f"to {used} for one; their bytes fit into {least}"
    ]
    assert [note.text for note in notes] == (want if used > least else [])


def test_a_transposition_has_conflicts_in_one_line_and_none_with_padding(module):
    x, y = np.arange(1024, dtype=np.float32), np.zeros(1024, np.float32)
    (note,) = noted(module.get_function("transposed"), (32, 32), (x, y))
    assert (note.kind, note.file, note.line) == ("bank conflicts", "mine.cu", 15)
    assert str(note) == (
        "mine.cu:15: bank conflicts: 32 reads of shared memory by a warp take 1024 passes, up to "
        "32 for one; without conflicts 32 [block 0,0,0, thread 0,0,0]\n"
        "    y[threadIdx.y * 32 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];"
    )
    padded = hostcuda.RawModule(code=SHARED, options=("-DPAD=1",)).get_function("transposed")
    assert not noted(padded, (32, 32), (x, y))
    assert (y.reshape(32, 32) == x.reshape(32, 32).T).all()


def test_lanes_that_a_barrier_parts_are_no_access_of_one_warp(module):
    y = np.zeros(32, np.float32)
    (note,) = noted(module.get_function("each_in_turn"), (32,), (y,))
    assert (note.line, note.text.split()[2:5]) == (23, ["1", "reads", "of"])
    assert y.tolist() == [*range(32)]


def test_a_loop_is_counted_round_by_round(module):
    x, y = np.ones(64 * 8, np.float32), np.zeros(64, np.float32)
    (note,) = noted(module.get_function("sums"), (64,), (x, y, np.int32(8)))
    assert note.text == (
        "uncoalesced access: 16 reads of argument 0 by a warp touch 512 sectors of 32 bytes, up to "
        "32 for one; their bytes fit into 64"
    )
    assert note.thread == (0, 0, 0)


FOURS = """#line 1 "fours.cu"
extern "C" __global__ void fours(const float *x, float *y) {
    float4 v = reinterpret_cast<const float4 *>(x)[threadIdx.x];
    v.y *= 2;
    reinterpret_cast<float4 *>(y)[threadIdx.x] = make_float4(v.x + 1, v.y, v.z, v.w);
    y[4 * threadIdx.x] += 1;
}
"""


def test_four_floats_are_read_and_written_at_once():
    x, y = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    kernel = hostcuda.RawKernel(FOURS, "fours")
    notes = noted(kernel, (32,), (x, y))
    assert [(note.line, *note.text.split()[2:4]) for note in notes] == [
        (5, "1", "reads"), (5, "1", "writes"),
    ]  # fmt: skip
    assert (y.reshape(-1, 4) == x.reshape(-1, 4) * [1, 2, 1, 1] + [2, 0, 0, 0]).all()


def test_without_asking_accesses_are_not_counted(module):
    x, y = np.arange(1024, dtype=np.float32), np.zeros(1024, np.float32)
    with hostcuda.noting() as notes:
        module.get_function("transposed")((1,), (32, 32), (x, y))
    assert not notes


def test_accesses_are_never_a_fault(module):
    x, y = np.ones(64 * 8, np.float32), np.zeros(64, np.float32)
    with hostcuda.checking():
        module.get_function("sums")((1,), (64,), (x, y, np.int32(8)))
    assert (y == 8).all()
