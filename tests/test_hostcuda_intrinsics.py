"""Functions of the device against exact numbers, at edge values."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from gradoracle.implementations import hostcuda
from tests.intrinsics import bits, fast, halves, singles, table, untested

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]
TABLES = {"singles": singles.ROWS, "halves": halves.ROWS, "bits": bits.ROWS,
          "fast": fast.ROWS}  # fmt: skip
CUDA = Path(__file__).parent / "cuda"
AT_ONCE = 40  # kernels of one text
PIECES = [(name, start) for name, rows in TABLES.items() for start in range(0, len(rows), AT_ONCE)]


@pytest.mark.parametrize(("name", "start"), PIECES)
def test_functions_are_right_at_edge_values(name, start):
    rows = TABLES[name][start : start + AT_ONCE]
    kernels = table.module(rows)
    found = [one for i, row in enumerate(rows) for one in table.wrong(kernels, i, row)[:3]]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_functions_of_a_warp(mode):
    kernels = "".join(
        f'extern "C" __global__ void warp{i}(const int *x, int *y) {{ int a = x[threadIdx.x];\n'
        f"    y[threadIdx.x] = {expression.format(m=bits.FULL)}; }}\n"
        for i, expression in enumerate(bits.WARP)
    )
    module = hostcuda.RawModule(code=kernels)
    for i, (expression, want) in enumerate(bits.WARP.items()):
        x, y = np.array(bits.LANES, np.int32), np.zeros(32, np.int32)
        with hostcuda.using(hostcuda.Settings(mode)):
            module.get_function(f"warp{i}")((1,), (32,), (x, y))
        assert y.tolist() == want(bits.LANES), expression


@pytest.mark.parametrize(
    ("file", "count"), [("host_calls.cu", 5), ("library_calls.cu", 4), ("texture_calls.cu", 2)]
)
@pytest.mark.parametrize("mode", ["fast", "check"])
def test_host_code_gets_the_right_answers(mode, file, count):
    text = (CUDA / file).read_text()
    functions = re.findall(r"^int (\w+)\(", text, re.MULTILINE)
    assert len(functions) == count
    module = hostcuda.RawModule(code=text, functions=functions)
    x = np.arange(8, dtype=np.float32)
    for name in functions:
        with hostcuda.using(hostcuda.Settings(mode)):
            line = int(module.get_function(name).call((x,)))
        assert not line, f"{name}: {text.splitlines()[line - 1].strip()}"


GROUPS = (CUDA / "group_calls.cu").read_text()
LAUNCHES = {
    "places": ((2, 3), (8, 4, 2)), "tiles": ((1,), (64,)), "references": ((1,), (64,)),
    "phases": ((1,), (64,)), "addresses": ((1,), (32,)),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_groups_references_and_places_are_right(mode):
    module = hostcuda.RawModule(code=GROUPS)
    for name, (grid, block) in LAUNCHES.items():
        wrong = np.zeros(1, np.int32)
        orders = hostcuda.ORDERS if mode == "check" else ("forward",)
        with hostcuda.using(hostcuda.Settings(mode, orders)):
            module.get_function(name)(grid, block, (wrong,), shared_mem=128)
        assert not wrong[0], f"{name}: {GROUPS.splitlines()[wrong[0] - 1].strip()}"


def test_a_trap_ends_the_launch():
    wrong = np.array([12345], np.int32)
    kernel = hostcuda.RawModule(code=GROUPS).get_function("addresses")
    with hostcuda.checking("forward"), pytest.raises(hostcuda.KernelFault, match=r"__trap\(\)"):
        kernel((1,), (32,), (wrong,), shared_mem=128)


def test_what_no_test_calls_is_explained():
    without = untested.functions() - untested.called()
    assert without - untested.explained() == set(), "no test calls these, and nothing says why"
    assert untested.explained() - without == set(), "a test calls these: they need no reason"
