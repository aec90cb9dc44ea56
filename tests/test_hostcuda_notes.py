"""Notes of a launch: where NaN and infinity arise, absent lanes, elements that are not written."""

import platform
import shutil

import numpy as np
import pytest

from gradoracle.implementations import hostcuda

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]
TEXT = """#line 1 "mine.cu"
extern "C" __global__ void divides(const float *x, float *y, int n) {
    int i = threadIdx.x;
    if (i >= n) return;
    float total = x[i] - x[i];
    if (x[i] > 2) y[i] = total / total;
    else y[i] = 1 / x[i];
}
extern "C" __global__ void differs(const float *x, float *y, int n) {
    if (x[threadIdx.x] < 1.0f) y[threadIdx.x] = x[threadIdx.x] - x[0];
    else y[threadIdx.x] = 2 * x[threadIdx.x];
}
extern "C" __global__ void shuffles(const float *x, float *y, int n) {
    float v = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 4);
    y[threadIdx.x] = threadIdx.x + 4 < n ? v : 0;
}
extern "C" __global__ void some(const float *x, float *y, int n) {
    if (threadIdx.x % 2) y[threadIdx.x] = x[threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def module():
    return hostcuda.RawModule(code=TEXT)


def noted(module, name, x):
    y = hostcuda.empty(len(x), np.float32)
    with hostcuda.noting() as notes:
        module.get_function(name)((1,), (len(x),), (x, y, np.int32(len(x))))
    return y, {note.kind: note for note in notes}, [*map(str, notes)]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="floating-point traps are read on x86")
def test_nan_and_infinity_are_noted_where_they_arise(module):
    y, _, said = noted(module, "divides", np.array([1, 0, 3, 4], np.float32))
    assert y[:2].tolist() == [1, np.inf]
    assert np.isnan(y[2:]).all()
    assert said == [
        "mine.cu:6: infinity arises: 1 / 0 [block 0,0,0, thread 1,0,0]\n    else y[i] = 1 / x[i];",
        "mine.cu:5: NaN arises: 0 / 0 [block 0,0,0, thread 2,0,0]\n"
        "    if (x[i] > 2) y[i] = total / total;",
    ]


def test_nan_that_is_read_or_compared_does_not_arise_there(module):
    y, kinds, _ = noted(module, "differs", np.array([1, np.nan, 3, 0], np.float32))
    assert np.isnan(y[1])
    assert y[[0, 2, 3]].tolist() == [2, 6, -1]
    assert not kinds


def test_a_shuffle_from_an_absent_lane_is_noted_and_no_fault(module):
    y, kinds, said = noted(module, "shuffles", np.arange(8, dtype=np.float32))
    assert y.tolist() == [4, 5, 6, 7, 0, 0, 0, 0]
    assert (kinds["absent lane"].file, kinds["absent lane"].line) == ("mine.cu", 13)
    assert "a shuffle reads from lane 8, which takes no part" in said[0]
    assert said[0].endswith("\n    float v = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 4);")


def test_elements_that_no_thread_writes_are_noted(module):
    y, _, said = noted(module, "some", np.arange(8, dtype=np.float32))
    assert y[1::2].tolist() == [1, 3, 5, 7]
    assert said == ["no thread writes 16 of the 32 bytes of argument 1, the first of them byte 0"]


def test_without_asking_nothing_is_noted_and_nothing_traps(module):
    with hostcuda.noting() as notes:
        pass
    x, y = np.zeros(4, np.float32), np.zeros(4, np.float32)
    with hostcuda.checking():
        module.get_function("divides")((1,), (4,), (x, y, np.int32(4)))
    assert not notes
    assert (np.zeros(1) / np.ones(1) == 0).all()
