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


@pytest.mark.parametrize(("file", "count"), [("host_calls.cu", 5), ("library_calls.cu", 4)])
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


def test_what_no_test_calls_is_explained():
    without = untested.functions() - untested.called()
    assert without - untested.explained() == set(), "no test calls these, and nothing says why"
    assert untested.explained() - without == set(), "a test calls these: they need no reason"
