"""A file of CUDA C++ is certified as it is: a stranger's kernel, what is said, and the comments."""

import json
import os
import re
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.registry import (
    IN_PROCESS,
    Confinement,
    UnknownBackend,
    UnusableBackend,
    load,
)
from gradoracle.implementations.cuda_source import SourceError, backend
from gradoracle.implementations.cuda_source.results import RESULTS
from gradoracle.implementations.hostcuda import KernelFault

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
FOREIGN = ROOT / "tests" / "cuda" / "foreign.cu"
WRONG = FOREIGN.read_text()
BARRIER = "        for (int i = 0; i < TILE; ++i) sum += xs[threadIdx.y][i] * ws[threadIdx.x][i];\n"
NO_TAIL = WRONG.replace("bias ? bias[column]", "bias && column < M ? bias[column]")
RIGHT = NO_TAIL.replace(BARRIER, f"{BARRIER}        __syncthreads();\n")


@pytest.fixture
def source(tmp_path):
    def write(text, name="kernel.cu"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def judged(file, **more):
    return gradoracle.check(
        file, operators=["linear", "relu"], examples=60, seed=1, confinement=IN_PROCESS, **more
    )


def test_the_right_kernel_is_certified_and_says_where_it_ran(source):
    certificate = judged(source(RIGHT))
    assert certificate.passed
    assert set(certificate.contract["functions"]) == {"linear", "relu"}
    assert "runs, as it says, on the CPU: CUDA C++ compiled by g++ (hostcuda)" in certificate.text()
    assert certificate.files.keys() == {"kernel.cu"}


@pytest.mark.parametrize(
    ("text", "message", "minimal"),
    [
        (NO_TAIL, r"kernel.cu:17: data race: read after write at byte \d+ of shared memory",
         {"x": (1, 17), "weight": (1, 17)}),
        (WRONG.replace(BARRIER, f"{BARRIER}        __syncthreads();\n"),
         "kernel.cu:11: out of bounds: read of 4 bytes, 0 bytes past the end of argument 2",
         {"x": (1, 1), "weight": (1, 1), "bias": (1,)}),
        (RIGHT.replace("here < C ? weight", "here <= C ? weight"),
         "kernel.cu:15: out of bounds: read of 4 bytes, 0 bytes past the end of argument 1",
         {"x": (1, 1), "weight": (1, 1)}),
        (RIGHT.replace("weight[filter * C + here]", "weight[here * M + filter]"),
         "(got|data race|out of bounds)", {}),
    ],
    ids=["race", "tail", "one too many", "transposed"],
)  # fmt: skip
def test_a_wrong_kernel_gets_its_line_and_the_smallest_call(source, text, message, minimal):
    assert text != RIGHT
    found = judged(source(text), stop_at_first_mismatch=True).mismatches[0]
    assert found.formula == "linear"
    assert re.search(message, found.headline)
    shapes = dict(re.findall(r"(\w+) float32\[([\d, ]+)\]", found.text))
    for name, shape in minimal.items():
        assert shapes[name] == ", ".join(map(str, shape)), found.text


def test_the_command_certifies_a_file_and_its_script_shows_the_fault(tmp_path):
    (tmp_path / "foreign.cu").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "gradoracle", "certify", "foreign.cu", "--profile", "quick",
         "--operators", "linear,relu", "--seed", "1", "--certificate", "out.json", "-v",
         "--fail-fast"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**environment(), "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "foreign.cu:17: data race: read after write" in done.stdout
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["backend"] == "foreign.cu"
    assert [*told["files"]] == ["foreign.cu"]
    after = done.stdout.split("needs NumPy and the backend only:\n")[1].split("\n")
    script = takewhile(lambda line: not line or line.startswith("    "), after)
    (tmp_path / "shows.py").write_text("\n".join(line[4:] for line in script))
    again = subprocess.run(
        [sys.executable, "shows.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert again.returncode == 1
    assert "data race" in again.stderr


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT)}


TEMPLATE = """
// gradoracle: leaky_relu = leaky<{T}><<<min(ceil_div(z.size, 64), 8), 64>>>(
//     z, y, T(negative_slope), z.size)
template <typename T> __global__ void leaky(const T *z, T *y, T slope, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = z[i] > 0 ? z[i] : slope * z[i];
}
// gradoracle: conv2d_grad_bias: workspace = T[M * N]
// gradoracle: conv2d_grad_bias = planes<{T}><<<M * N, 1>>>(grad_output, workspace, OH * OW)
// gradoracle: conv2d_grad_bias = images<{T}><<<dim3(M), 1>>>(workspace, db, N, M)
template <typename T> __global__ void planes(const T *dy, T *sums, int pixels) {
    T sum = 0;
    for (int i = 0; i < pixels; ++i) sum += dy[blockIdx.x * pixels + i];
    sums[blockIdx.x] = sum;
}
template <typename T> __global__ void images(const T *sums, T *db, int N, int M) {
    T sum = 0;
    for (int n = 0; n < N; ++n) sum += sums[n * M + blockIdx.x];
    db[blockIdx.x] = sum;
}
"""


def test_templates_are_judged_in_both_dtypes_and_launches_follow_each_other(source):
    file = source(TEMPLATE)
    certificate = gradoracle.check(
        file, operators=["leaky_relu", "conv2d"], examples=60, seed=2, confinement=IN_PROCESS
    )
    assert certificate.passed, certificate.text()
    assert certificate.contract["dtypes"] == ("float32", "float64")
    of = backend(file)
    assert sorted(of.contract["functions"]) == ["conv2d_grad_bias", "leaky_relu"]
    dy = np.ones((2, 3, 4, 5))
    assert of.conv2d_grad_bias(dy).tolist() == [40, 40, 40]
    assert of.conv2d_grad_bias(dy[:0]).tolist() == [0, 0, 0]


def test_what_a_file_includes_is_judged_and_named_as_it_is_now(source, tmp_path):
    (tmp_path / "parts").mkdir()
    source("#pragma once\n#define SCALE 1\n", "parts/scale.cuh")
    source('#include "scale.cuh"\n__device__ float scaled(float v) { return SCALE * v; }\n',
           "parts/scaled.cuh")  # fmt: skip
    file = source(
        '#include "parts/scale.cuh"\n#include "parts/scaled.cuh"\n'
        "// gradoracle: relu = k<<<ceil_div(z.size, 32), 32>>>(z, y, z.size)\n"
        "__global__ void k(const float *z, float *y, int n) {\n"
        "    const int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
        "    if (i < n) y[i] = z[i] <= 0 ? 0 : scaled(z[i]);\n}\n"
    )
    more = {"operators": ["relu"], "examples": 20, "seed": 1, "confinement": IN_PROCESS}
    right = gradoracle.check(file, **more)
    assert right.passed, right.text()
    source("#pragma once\n#define SCALE 2\n", "parts/scale.cuh")
    wrong = gradoracle.check(file, **more)
    assert wrong.mismatches
    changed = {name for name in right.files if right.files[name] != wrong.files[name]}
    assert right.files.keys() == {"kernel.cu", "parts/scale.cuh", "parts/scaled.cuh"}
    assert changed == {"parts/scale.cuh"}


def test_a_line_of_what_is_included_keeps_its_name(source):
    source("__device__ void one_more(float *y, int n) {\n    y[n] = 1;\n}\n", "part.cuh")
    text = LINE.format("relu = k<<<1, 1>>>(z, y, z.size)")
    file = source('#include "part.cuh"' + text.replace("y[0] = z[0];", "one_more(y, n);"))
    with pytest.raises(KernelFault, match=r"part.cuh:2: out of bounds"):
        backend(file).relu(np.ones(3, np.float32))
    source((ROOT / file).read_text().replace("one_more(y, n)", "y[n] = 1"))
    with pytest.raises(KernelFault, match=r"kernel.cu:3: out of bounds"):
        backend(file).relu(np.ones(3, np.float32))


def test_every_function_of_the_protocol_can_be_launched():
    from gradoracle.conformance.backends.backend import FUNCTIONS

    of_one = [n for n in FUNCTIONS if "max_pool" in n]  # those others return several arrays
    left = {n for n in FUNCTIONS if n.endswith("_vjp")} - {*of_one}
    assert {*RESULTS} == {*FUNCTIONS} - left


LINE = (
    "\n// gradoracle: {}\n__global__ void k(const float *z, float *y, int n) {{ y[0] = z[0]; }}\n"
)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("relu = k<<<1>>>(z, y, 1)", "kernel.cu:2: <<<blocks, threads, shared memory>>>, got 1"),
        ("rleu = k<<<1, 1>>>(z, y, 1)", "kernel.cu:2: no function 'rleu'; there are"),
        ("relu: k(z, y)", "kernel.cu:2: 'relu: k(z, y)' is no launch such as"),
        ("relu = k<<<1, 1>>>(z, y; 1)", "kernel.cu:2: cannot read 'z, y; 1'"),
        ("relu = j<<<1, 1>>>(z, y, 1)", "no kernel 'j'; there are: k"),
        (
            "dtypes = float8",
            "kernel.cu:2: dtypes are of float32, float64, float16, bfloat16, got float8",
        ),
        ("relu: workspace = half[3]", "kernel.cu:2: a workspace holds T, float, double, int, long"),
    ],
)
def test_a_comment_that_cannot_be_understood_is_told_with_its_line(source, said, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        backend(source(LINE.format(said)))


def test_a_name_that_means_nothing_is_answered_with_those_that_do(source):
    file = source(LINE.format("relu = k<<<1, 1>>>(zz, y, 1)"))
    with pytest.raises(SourceError, match="'zz' means nothing in a call of relu; there are y, z"):
        backend(file)


def test_a_file_without_comments_says_what_to_write(source):
    file = source("__global__ void k(float *x) {}\n")
    with pytest.raises(
        UnusableBackend, match="no comment says how its kernels are launched; write"
    ):
        load(file, IN_PROCESS)


@pytest.mark.parametrize(("given", "seconds"), [(Limits().call, 60), (3.0, 3)])
def test_a_call_has_more_time_unless_somebody_says_how_much(source, given, seconds):
    loaded = load(source(RIGHT), Confinement(limits=Limits(call=given)))
    assert loaded.asked.limits.call == seconds
    loaded.asked.close()


def test_a_file_that_is_not_there_is_told_so(source):
    missing = source("", "other.cu").replace("other", "missing")
    with pytest.raises(UnknownBackend, match=r"there is no file '.*missing.cu'"):
        load(missing)


def test_what_does_not_compile_is_told_before_any_call(source):
    file = source(LINE.format("relu = k<<<1, 1>>>(z, y, 1)").replace("y[0]", "w[0]"))
    with pytest.raises(UnusableBackend, match=r"kernel.cu:3:\d+: error: .*w.* was not declared"):
        load(file, IN_PROCESS)
    with pytest.raises(UnusableBackend, match=r"kernel.cu:3:\d+: error: .*w.* was not declared"):
        load(file)


def test_bad_arguments_are_refused_before_a_launch(source):
    of = backend(source(RIGHT))
    with pytest.raises(ValueError, match="must share their second axis"):
        of.linear(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    with pytest.raises(KernelFault, match=r"kernel.cu:11: out of bounds"):
        backend(source(WRONG)).linear(*[np.ones(s, np.float32) for s in ((2, 3), (4, 3), (4,))])


def test_where_it_runs_can_be_chosen(source):
    file = source(RIGHT)
    assert backend(f"{file}@host").contract["runs_on"].startswith("the CPU")
    with pytest.raises(SourceError, match="a kernel runs @host or @device, not @gpu"):
        backend(f"{file}@gpu")


def test_arithmetic_is_that_of_c():
    from gradoracle.implementations.cuda_source.expressions import parsed, value

    for text, want in (("-7 / 2", -3), ("-7 % 3", -1), ("7 / -2", -3), ("int(7) / 2", 3)):
        assert value(parsed(text, "f:1")[0], {}, np.dtype(np.float32)) == want


def test_comments_in_other_dress_are_heard_or_refused():
    from gradoracle.implementations.cuda_source.comments import read

    for text in (
        "// Gradoracle : relu = k<<<1, 2>>>(z, y)",
        "// gradoracle: relu = k<<<1,\n//   2>>>(z, y)",
    ):
        assert len(read(text, "f.cu")[0]["relu"].launches) == 1
    with pytest.raises(ValueError, match="f.cu:1: a gradoracle: comment begins with //"):
        read("/* gradoracle: relu = k<<<1, 2>>>(z, y) */", "f.cu")
