"""CUDA files as people publish them, with their host code: right ones, and one fault each."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.registry import IN_PROCESS
from gradoracle.implementations.cuda_source import SourceError, backend
from gradoracle.implementations.cuda_source.comments import read
from gradoracle.implementations.cuda_source.includes import whole
from gradoracle.implementations.hostcuda import KernelFault, NotModelled, Settings, using
from gradoracle.implementations.hostcuda.host_code import as_cpp, with_launches
from gradoracle.implementations.hostcuda.module import RawModule
from gradoracle.implementations.hostcuda.parts import left_out, parts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("g++"), reason="no g++"),
]

PUBLISHED = Path(__file__).parent / "cuda" / "published"
X, W = np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((2, 4), np.float32)
LARGE = np.ones((9, 4), np.float32)
DY = np.ones((3, 2), np.float32)


def checked(name, operators, **more):
    chosen = {"examples": 4, "seed": 1, "confinement": IN_PROCESS} | more
    return gradoracle.check(str(PUBLISHED / name), operators=operators, **chosen)


@pytest.mark.slow
def test_a_layer_with_its_host_code_is_certified():
    certificate = checked("dense.cu", ["linear", "batch_mean"])
    assert certificate.passed, certificate.text()
    assert certificate.files.keys() == {"dense.cu", "helpers/check.h"}


@pytest.mark.slow
def test_activations_and_a_loss_are_certified_and_a_library_declined():
    operators = ["relu", "leaky_relu", "sigmoid", "cross_entropy", "sgd_step"]
    certificate = checked("activations.cu", operators)
    assert certificate.passed, certificate.text()
    with pytest.raises(NotModelled, match=r"activations.cu:\d+.*handle.*cudnn.h"):
        backend(str(PUBLISHED / "activations.cu")).tanh(X)


@pytest.fixture(scope="module")
def wrong():
    return backend(str(PUBLISHED / "wrong.cu"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "arguments", "options", "words"),
    [
        ("relu", (X,), {},
         "no_bytes: wrong.cu:{y[i] = z[i] <= 0}: out of bounds: write of 4 bytes, 0 bytes past the "
         "end of the memory allocated in wrong.cu:{cudaMalloc(&d, n);}, which has 12 bytes [block"),
        ("softmax", (X,), {"axis": 1},
         "of shared memory: thread 0, and no barrier between; the earlier access: wrong.cu:"),
        ("sigmoid", (X,), {},
         "copies_too_much: wrong.cu:{cudaMemcpy(host.data()}: out of bounds: cudaMemcpy of 96 "
         "bytes from byte 0 of argument 0, which has 48 bytes"),
        ("tanh", (X,), {}, "launch: rectified: block.x must be 1 to 1024, got 2048"),
        ("leaky_relu", (X,), {"negative_slope": 0.5},
         "flagged: wrong.cu:{any = 1;}: data race: write after write (of the same value) at byte"),
        ("leaky_relu", (X,), {"negative_slope": 0.5},
         "thread 0, and no barrier between; the earlier access: wrong.cu:{any = 1;} [block 0,0,0"),
        ("batch_mean", (X,), {}, "frees an address that was not allocated, or freed already"),
        ("sgd_step", (X, X), {"learning_rate": 0.5},
         "gives_up: wrong.cu:{if (w) exit}: failed assertion: the host code calls exit(1)"),
    ],
)  # fmt: skip
def test_a_fault_is_reported_with_its_line(wrong, function, arguments, options, words):
    lines = (PUBLISHED / "wrong.cu").read_text().split("\n")

    def line(found):
        return str(next(n for n, text in enumerate(lines, 1) if found[1] in text))

    with pytest.raises(KernelFault) as caught:
        getattr(wrong, function)(*arguments, **options)
    assert re.sub(r"\{(.*?)\}", line, words) in str(caught.value)


def test_what_nobody_wrote_is_nan(wrong):
    few = wrong.linear_grad_input(np.ones((9, 2), np.float32), W)
    assert np.isnan(few.reshape(-1)[32:]).all()
    assert (few.reshape(-1)[:32] == 2).all()
    assert np.isnan(wrong.linear_grad_weight(DY, X)).all()
    assert (wrong.linear_grad_weight(DY[:0], X[:0]) == 0).all()


def test_a_wrong_launch_gets_a_verdict_and_a_small_call():
    found = checked("wrong.cu", ["linear"], stop_at_first_mismatch=True).mismatches[0]
    assert found.formula == "linear_grad_input"
    assert "got nan" in found.headline


SAID = """// gradoracle: {}
__global__ void k(const float *z, double *y, int n) {{}}
void h(float *y);
"""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("relu = k<<<1, 1>>>(z, y, 1)",
         "argument 1, y, is an array of float32 for 'double *y', which points to float64"),
        ("relu = k<<<1, 1>>>(z, 3, 1)", "argument 1, 3, is a number for the pointer 'double *y'"),
        ("relu = k<<<1, 1>>>(z, 0, z)", "2, z, is an array for 'int n', which is no pointer"),
        ("relu = h(*, z.size)", "a.cu:1: h: it takes 1 arguments, 2 are given"),
        ("relu, relu_grad = h(*)", "a.cu:1: 2 results, but 1 arguments marked *"),
        ("relu = g(*)", "g"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_an_error_before_the_first_call(tmp_path, said, words):
    (tmp_path / "a.cu").write_text(SAID.format(said))
    with pytest.raises((SourceError, ValueError)) as caught:
        backend(str(tmp_path / "a.cu"))
    assert words in str(caught.value)


def test_results_in_order_are_arguments_in_order():
    plans, _ = read("// gradoracle: relu, relu_grad = f(z, *, zero(*), 2 * z.size)", "a.cu")
    assert [*plans] == ["relu", "relu_grad"]
    assert plans["relu"].launches == plans["relu_grad"].launches


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("k<<<g, b>>>(x, 0);", "k), hostcuda::Sizes(g, b), x, hostcuda::Null{});"),
        ("ns::k<T, (a > 2)> <<<dim3(1, 2), b, 4 * (n + 1), s>>> ();",
         "ns::k<T, (a > 2)> ), hostcuda::Sizes(dim3(1, 2), b, 4 * (n + 1), s) );"),
        ("#define RUN(k, ...) k<<<1, f(2)>>>(__VA_ARGS__)",
         "(k, ...) hostcuda::launch(HOSTCUDA_STARTED(k), hostcuda::Sizes(1, f(2)), __VA_ARGS__)"),
        ('puts("k<<<1, 1>>>(x)"); // k<<<1, 1>>>(x)', 'puts("k<<<1, 1>>>(x)"); // k<<<1, 1>>>(x)'),
        ("table[i]<<<1,\n  1>>>(x);", "table[i]), hostcuda::Sizes(1,\n  1), x);"),
    ],
)  # fmt: skip
def test_launches_become_calls_on_the_same_lines(text, want):
    assert want in with_launches(text)
    assert with_launches(text).count("\n") == text.count("\n")


def test_what_is_left_out_leaves_macros_and_branches_where_they_are():
    text = "#define ONE 1\nint f() {\n#if ONE\n  return g(;\n#endif\n}\nint h = ONE;\n"
    function = parts(text)[0]
    kept = left_out(text, function)
    assert kept.split("\n")[:5] == ["#define ONE 1", " " * 9, "#if ONE", " " * 12, "#endif"]
    assert kept.endswith("int h = ONE;\n")


def test_a_file_has_parts_and_main_is_left_out():
    text = """namespace a { struct B { int c; B() : c(1) {} int get() const { return c; } }; }
template <int N> __global__ void k(float (&x)[N]) { if (N) { x[0] = 1; } }
float table[3] = {1, 2, 3}; enum E { F, G };
int main(int n, char **v) {
  k<<<1, 1>>>(x);
}
"""
    assert [part.name for part in parts(text)] == ["c", "B", "get", "k", "table", "", "main"]
    assert "main" not in as_cpp(text)
    assert as_cpp(text).count("\n") == text.count("\n")


NEEDED = """#include <bits/stdc++.h>
#include <torch/extension.h>
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
namespace mine {
struct __align__(8) Pair { float a; int b; };
template <const int N = 32, typename T = float> __device__ T halved(T x) { return x / 2; }
template <typename T>
class Layer : public torch::nn::Module {
    T forward(T x) { return x; }
};
#define REGISTER(T) static auto made_##T = torch::registry<T>();
REGISTER(float)
REGISTER(double)
}
void launch(torch::Tensor x, torch::Tensor y) {
    y = torch::empty_like(x);
}
__global__ void rows(const float *x, float *y) {
    extern __shared__ float tile[][4];
    const cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<16> half = cg::tiled_partition<16>(block);
    tile[threadIdx.x / 4][threadIdx.x % 4] = mine::halved(x[threadIdx.x]);
    block.sync();
    y[threadIdx.x] = tile[threadIdx.x % 4][threadIdx.x / 4 % 4] + half.shfl(x[threadIdx.x], 3);
}
PYBIND11_MODULE(name, m) { m.def("launch", &launch); }
"""


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_what_needs_a_library_is_left_out_around_the_kernels(mode):
    kernel = RawModule(code=NEEDED).get_function("rows")
    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    with using(Settings(mode)):
        kernel((1,), (32,), (x, y), shared_mem=8 * 4 * 4)
    halves = (x / 2).reshape(8, 4)
    at = np.arange(32)
    assert (y == halves[at % 4, at // 4 % 4] + np.where(at < 16, 3, 19)).all()


def test_shared_memory_of_rows_at_the_scope_of_the_file():
    code = """extern __shared__ int both[][2][3];
__global__ void f(int *y) {
    both[1][1][2] = 5, both[0][0][1] = 7;
    y[0] = ((int *)both)[11] + ((int *)both)[1];
}
"""
    y = np.zeros(1, np.int32)
    RawModule(code=code).get_function("f")((1,), (1,), (y,), shared_mem=12 * 4)
    assert y[0] == 12


def test_defaults_of_templates_and_macros_do_not_hide_what_follows():
    text = """template <int N = 4, class T = std::pair<int, int>> T a(int n = 3) { return {}; }
auto table = [](int x) { return x; };
REGISTER(a)
} // namespace
int b() { return 1; }
LAST(b)
"""
    assert [part.name for part in parts(text)] == ["a", "", "REGISTER", "b", "LAST"]


def test_a_header_of_the_system_is_not_looked_for_in_a_project(tmp_path):
    (tmp_path / "unistd.h").write_text("int of_another_system;\n")
    (tmp_path / "own.h").write_text("int own;\n")
    (tmp_path / "a.cu").write_text('#include <unistd.h>\n#include <own.h>\n#include "unistd.h"\n')
    text = whole(tmp_path / "a.cu", [tmp_path])
    assert text.startswith('#line 1 "a.cu"\n#include <unistd.h>\n#line 1 "own.h"\nint own;')
    assert text.count("of_another_system") == 1
