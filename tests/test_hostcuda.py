"""CUDA kernels on the CPU: right ones are left alone, wrong ones are told with their line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradoracle.implementations import hostcuda
from gradoracle.implementations.hostcuda import build
from gradoracle.implementations.hostcuda.module import RawModule
from gradoracle.implementations.hostcuda.translation import plain_kernels, translated
from tests import faults
from tests.faults import FAULTS

ROOT = Path(__file__).parent.parent
MODES = ("fast", "check")

RIGHT = (faults.CUDA / "right.cu").read_text()
SHAPE = np.dtype([("n", np.int32), ("scale", np.float32)])


@pytest.fixture(scope="module")
def right():
    code = re.sub(
        r"template <int N> __global__ void __launch_bounds__\(N, 2\) filled.*\n", "", RIGHT
    )
    return RawModule(code=code, name_expressions=["scaled<double, 64>", "scaled<float, 64>"])


@pytest.fixture(params=MODES)
def mode(request):
    with hostcuda.using(hostcuda.Settings(request.param)):
        yield request.param


@pytest.mark.usefixtures("mode")
def test_right_kernels_run_and_are_left_alone(right):
    kernel = right.get_function
    x = np.arange(1000, dtype=np.float32) - 500
    out = np.zeros(1, np.float32)
    kernel("block_sum")((3,), (128,), (x, out, np.int32(1000)), shared_mem=4 * 4)
    assert out[0] == x.sum()
    bins = np.random.default_rng(0).integers(0, 5, 300).astype(np.int32)
    counts = np.zeros(5, np.float32)
    kernel("count")((5,), (64,), (bins, counts, 300))
    assert (counts == np.bincount(bins)).all()
    y = hostcuda.empty(1000, np.float32)
    kernel("fours")((4,), (64,), (x, y, 250))
    assert (y == 2 * x).all()
    told = np.zeros(4, np.int32)
    kernel("negatives")((1,), (64,), (x[490:554], told))
    assert told.tolist() == [1, 0, 10, 10]
    row = np.zeros(32, np.float32)
    kernel("across_a_warp")((1,), (32,), (row,))
    assert row.tolist() == [31 - t + 2 * ((t + 1) % 32) for t in range(32)]
    kernel("half_a_warp")((1,), (32,), (row,))
    assert row.tolist() == [t ^ 1 for t in range(16)] + [max(t - 1, 16) for t in range(16, 32)]
    row[:] = 0
    kernel("two_buffers")((1,), (32,), (row,))
    assert row.tolist() == [6 + 4 * (31 - t) for t in range(32)]
    part, done = hostcuda.empty(40, np.float32), np.zeros(1, np.uint32)
    kernel("last_adds")((40,), (32,), (x, part, done, out))
    assert out[0] == x[:40].sum()


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_struct_goes_by_value_and_a_template_by_its_expression(right, dtype):
    x = np.arange(100, dtype=dtype)
    name = {"float32": "scaled<float, 64>", "float64": "scaled<double, 64>"}[dtype]
    right.get_function(name)((2,), (64,), (x, np.array((90, 3.0), SHAPE)))
    assert x.tolist() == [3 * i if i < 90 else i for i in range(100)]


@pytest.fixture(scope="module")
def wrong():
    return RawModule(code=faults.CODE)


def launch_of(fault):
    x = np.ones(faults.NUMBERS, np.float32)
    return (fault.blocks,), (fault.threads,), (x, np.int32(fault.n))


def source_line(number):
    return faults.TEXT.split("\n")[number - 1].strip()


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_kernel_does_wrong_is_told_with_its_line(wrong, name):
    fault = FAULTS[name]
    with hostcuda.checking(), pytest.raises(hostcuda.KernelFault) as caught:
        wrong.get_function(name)(*launch_of(fault))
    found = {(one.kind, one.line): one for one in caught.value.findings}
    assert (fault.kind, fault.line) in found, caught.value
    assert fault.words in found[fault.kind, fault.line].text
    if fault.line:
        told = str(found[fault.kind, fault.line])
        assert told.startswith(f"faults.cu:{fault.line}: {fault.kind}: ")
        assert "[block " in told
        assert told.endswith(f"]: `{source_line(fault.line)}`")
    first, *others = map(str, caught.value.findings)
    more = f", and {len(others)} more" if others else ""
    assert str(caught.value) == f"{name}: {first}{more}"
    assert getattr(caught.value, "__notes__", []) == others


def test_a_race_quotes_both_lines(wrong):
    name = "reads_what_other_blocks_write"
    with hostcuda.checking(), pytest.raises(hostcuda.KernelFault) as caught:
        wrong.get_function(name)(*launch_of(FAULTS[name]))
    earlier, later = FAULTS[name].line - 1, FAULTS[name].line
    assert f"the earlier access: faults.cu:{earlier}: `{source_line(earlier)}` [block" in str(
        caught.value
    )
    assert caught.value.findings[0].source == source_line(later)


def test_a_fault_in_a_header_quotes_its_line(tmp_path):
    (tmp_path / "add.h").write_text(
        "// one more\n__device__ inline void add(float *x, int i) {\n    x[i] += 1;\n}\n"
    )
    text = '#include "add.h"\nextern "C" __global__ void f(float *x, int n) { add(x, n); }'
    kernel = hostcuda.RawKernel(text, "f", options=(f"-I{tmp_path}",))
    with hostcuda.checking(), pytest.raises(hostcuda.KernelFault) as caught:
        kernel((1,), (1,), (np.zeros(2, np.float32), np.int32(2)))
    assert str(caught.value).startswith("f: add.h:3: out of bounds: read of 4 bytes")
    assert str(caught.value).endswith("thread 0,0,0]: `x[i] += 1;`")


def test_what_comes_from_an_absent_lane_is_poison_and_may_be_dropped():
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(float *x) {\n'
        "    float v = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 4);\n"
        "    x[threadIdx.x] += threadIdx.x < 4 || x[threadIdx.x] < 0 ? v : 0;\n}",
        "f",
    )
    x = np.ones(8, np.float32)
    with hostcuda.checking():
        kernel((1,), (8,), (x,))
        assert x.tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
        x[:] = -1
        kernel((1,), (8,), (x,))
    assert x[:4].tolist() == [-2] * 4
    assert np.isnan(x[4:]).all()


def test_arithmetic_of_unsigned_numbers_wraps_and_is_no_fault():
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(float *x, int n) { x[(threadIdx.x + 1) * n * n % 64] = 1; }',
        "f",
    )
    with hostcuda.checking():
        kernel((1,), (1,), (np.ones(64, np.float32), 1 << 20))


def test_after_a_fault_the_next_launch_is_judged_alone(right, wrong):
    kernel, (grid, block, (x, _)) = (
        wrong.get_function("one_past_the_end"),
        launch_of(FAULTS["one_past_the_end"]),
    )
    with hostcuda.checking():
        for _ in range(3):
            with pytest.raises(hostcuda.KernelFault) as caught:
                kernel(grid, block, (x, 64))
            assert len(caught.value.findings) == 1
        kernel(grid, block, (x, 63))
        row = np.zeros(32, np.float32)
        right.get_function("across_a_warp")((1,), (32,), (row,))


@pytest.mark.parametrize(
    ("grid", "block", "shared", "words"),
    [
        ((0,), (1,), 0, "grid.x must be 1 to 2147483647, got 0"),
        ((1, 70000), (1,), 0, "grid.y must be 1 to 65535, got 70000"),
        ((1,), (1, 1, 65), 0, "block.z must be 1 to 64, got 65"),
        ((1,), (64, 32), 0, "a block has at most 1024 threads, got 64 x 32 x 1"),
        ((1,), (32,), 50000, "shared_mem must be 0 to 49152 bytes, got 50000"),
    ],
)
def test_a_launch_that_no_gpu_would_start(right, mode, grid, block, shared, words):
    with pytest.raises(hostcuda.KernelFault, match=re.escape(words)):
        right.get_function("two_buffers")(
            grid, block, (np.zeros(32, np.float32),), shared_mem=shared
        )
    assert mode in MODES


def test_more_shared_memory_on_request(right):
    kernel = right.get_function("block_sum")
    x, out = np.ones(64, np.float32), np.zeros(1, np.float32)
    kernel.max_dynamic_shared_size_bytes = 100_000
    kernel((1,), (64,), (x, out, 64), shared_mem=100_000)
    assert out[0] == 64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones(4, np.float32),), "it takes 2 arguments, 1 are given"),
        ((3.5, np.array((1, 1.0), SHAPE)), "argument 0 is a pointer, got float"),
        ((np.ones(4, np.float32), 7), "argument 1 has 8 bytes"),
    ],
)
def test_arguments_that_do_not_fit(right, arguments, words):
    if words.startswith("argument 1"):
        kernel = hostcuda.RawKernel(
            'extern "C" __global__ void f(float *x, float a) { x[0] = a; }', "f"
        )
        arguments, words = (arguments[0], 2.5), "argument 1 has 4 bytes, 8 are given"
    else:
        kernel = right.get_function("scaled<float, 64>")
    with pytest.raises(hostcuda.KernelFault, match=words):
        kernel((1,), (1,), arguments)


def test_integers_go_as_cupy_sends_them():
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(long long *x, int a, long long b, unsigned char c) '
        "{ x[0] = a; x[1] = b; x[2] = c; }", "f",
    )  # fmt: skip
    x = np.zeros(3, np.int64)
    kernel((1,), (1,), (x, -5, -(2**40), np.uint8(200)))
    assert x.tolist() == [-5, -(2**40), 200]
    with pytest.raises(
        hostcuda.KernelFault, match="argument 1 has 4 bytes, 8589934592 does not fit"
    ):
        kernel((1,), (1,), (x, 2**33, 0, 0))


HALVES = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
template <typename T> __global__ void widen(const T *x, float *y, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = float(x[i]);
}
template <typename T, typename F> __global__ void narrow(const F *x, T *y, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = T(x[i]);
}
"""


@pytest.fixture(scope="module")
def halves():
    names = [
        f"{kernel}<{half}{wide}>"
        for half in ("__half", "__nv_bfloat16")
        for kernel, wide in (("widen", ""), ("narrow", ",float"), ("narrow", ",double"))
    ]
    return RawModule(code=HALVES, name_expressions=names)


def test_every_half_is_numpys(halves):
    bits = np.arange(1 << 16, dtype=np.uint16)
    wide = np.empty(len(bits), np.float32)
    halves.get_function("widen<__half>")((1,), (64,), (bits, wide, len(bits)))
    assert np.array_equal(wide, bits.view(np.float16).astype(np.float32), equal_nan=True)
    halves.get_function("widen<__nv_bfloat16>")((1,), (64,), (bits, wide, len(bits)))
    want = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(wide, want, equal_nan=True)


@pytest.mark.parametrize("wide", ["float32", "float64"])
def test_rounding_to_a_half_is_numpys(halves, wide):
    rng = np.random.default_rng(3)
    exponents = rng.integers(-28, 18, 200_000)
    x = np.concatenate([
        rng.integers(0, 0x7F800000, 200_000, dtype=np.uint32).view(np.float32).astype(wide),
        (rng.standard_normal(200_000) * 2.0**exponents).astype(wide),
        np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(wide) * (1 + 2.0**-11),
        np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65519.99, 65520, 2.0**-25, 3.1e-8], wide),
    ])  # fmt: skip
    c = {"float32": "float", "float64": "double"}[wide]
    got = np.empty(len(x), np.uint16)
    halves.get_function(f"narrow<__half,{c}>")((1,), (64,), (x, got, len(x)))
    with np.errstate(over="ignore", invalid="ignore"):
        want = x.astype(np.float16)
    assert np.array_equal(got.view(np.float16), want, equal_nan=True)
    torch = pytest.importorskip("torch", reason="the witness of bfloat16")
    halves.get_function(f"narrow<__nv_bfloat16,{c}>")((1,), (64,), (x, got, len(x)))
    want = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    wide_again = (got.astype(np.uint32) << 16).view(np.float32)
    different = ~((wide_again == want) | (np.isnan(wide_again) & np.isnan(want)))
    if wide == "float64":  # PyTorch rounds to float first: twice
        different &= x == x.astype(np.float32)
    assert not different.any(), (x[different][:3], wide_again[different][:3], want[different][:3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('\n__global__ void f() { asm volatile("wgmma.fence.sync.aligned;"); }',
         r"kernel.cu:2: inline PTX: wgmma.fence.sync.aligned"),
        ('\n__global__ void f(int x) { asm("L: add.s32 %0, %0, 1;" : "+r"(x)); }', "PTX: L:"),
        ("__global__ void f() { cuda::std::x(); cuda::semaphore s; }", r"1: libcu\+\+"),
        ('__device__ void g(int) { asm("bra there;"); }\n__global__ void f() { g(1); }',
         "1: inline PTX: bra"),
        ("__global__ void f(cudaTextureObject_t t) { texCubemap<float>(t, 0, 0, 0); }",
         "1: these textures"),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_refused_in_words_and_the_other_kernels_run(text, words):
    module = RawModule(code=f"{text}\n__global__ void two(float *x) {{ x[0] = 2; }}\n")
    with pytest.raises(hostcuda.NotModelled, match=words):
        module.get_function("f")
    x = np.zeros(1, np.float32)
    module.get_function("two")((1,), (1,), (x,))
    assert x == 2


def test_a_macro_of_ptx_is_refused_where_it_is_used():
    text = """#line 1 "mine.cu"
#define STOP asm volatile("exit;")
__global__ void f() { STOP; }
__global__ void two(float *x) { x[0] = 2; }
"""
    module, x = RawModule(code=text), np.zeros(1, np.float32)
    with pytest.raises(hostcuda.NotModelled, match=r"mine.cu:[12].*inline_PTX"):
        module.get_function("f")((1,), (1,), ())
    module.get_function("two")((1,), (1,), (x,))
    assert x == 2


def test_what_only_looks_like_it_is_not_refused():
    module = RawModule(
        code="// asm volatile, wmma\n__constant__ float one = 1;\n__device__ float f(int i);\n"
        'extern "C" __global__ void set(float *x) { x[0] = one; }\n'
    )
    x = np.zeros(1, np.float32)
    module.get_function("set")((1,), (1,), (x,))
    assert x == 1


def test_a_text_that_does_not_compile_says_where():
    kernel = hostcuda.RawKernel('\nextern "C" __global__ void f(float *x) { x[0] = y; }', "f")
    with pytest.raises(ValueError, match=r"kernel.cu:2:\d+: error: .*y.* was not declared"):
        kernel((1,), (1,), (np.zeros(1, np.float32),))


def test_an_unknown_kernel_is_answered_with_the_known(right):
    with pytest.raises(
        ValueError, match=r"no kernel 'sum'; there are: scaled<double, 64>.*block_sum"
    ):
        right.get_function("sum")


def test_kernels_are_found_and_templates_are_not():
    text = (
        'extern "C" __global__ void __launch_bounds__(32, 2) a(int *) {}\n'
        "template <int N> __global__ void b() {}\n__global__ void\nc(int) {}\n"
        'extern "C" {\n__global__ __launch_bounds__((1 + 1) * 16) void d() {}\n}\n'
        "// __global__ void e()\n"
    )
    assert plain_kernels(text) == ["a", "c", "d"]


def test_translation_keeps_every_line_where_it_is():
    text = RIGHT + "".join(f"\n// {i}" for i in range(3))
    assert translated(text).count("\n") == text.count("\n")
    for before, after in zip(text.split("\n"), translated(text).split("\n"), strict=True):
        assert before[:12] == after[:12] or "extern" in before


def test_without_a_compiler_one_sentence_says_so(tmp_path):
    code = """if True:
        import numpy
        from gradoracle.implementations import hostcuda
        kernel = hostcuda.RawKernel('extern "C" __global__ void f(int *x) {}', "f")
        kernel((1,), (1,), (numpy.zeros(1, int),))"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "CUDA kernels run on the CPU only where there is a C++ compiler, and g++ is not installed "
        "(Debian: apt install g++; or name a GNU compiler in CXX)"
    )


@pytest.mark.slow
def test_a_header_that_changes_is_compiled_again(tmp_path):
    header, x = tmp_path / "value.h", np.zeros(1, np.float32)
    text = '#include "value.h"\nextern "C" __global__ void f(float *x) { x[0] = VALUE; }'
    for value in (1, 2):
        header.write_text(f"#define VALUE {value}\n")
        hostcuda.RawKernel(text, "f", options=(f"-I{tmp_path}",))((1,), (1,), (x,))
        assert x[0] == value


def test_a_mode_that_there_is_not_is_told():
    done = subprocess.run(
        [sys.executable, "-c", "import gradoracle.implementations.hostcuda"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"HOSTCUDA_MODE": "chekc"},
    )  # fmt: skip
    assert done.returncode == 1
    told = "ImportError: HOSTCUDA_MODE must be one of fast, check, got 'chekc'"
    assert done.stderr.splitlines()[-1] == told


@pytest.mark.slow
def test_what_was_compiled_once_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "_folder", lambda: tmp_path)
    build.runtime.cache_clear()
    ran = []
    run = build._run
    monkeypatch.setattr(build, "_run", lambda command: (ran.append(command), run(command)))
    text = '#include "hostcuda.h"\nstatic void f(int *x) { x[0] = 1; }\nHOSTCUDA_EXPORT(0, f)\n'
    first = build.kernels("kept", text, "fast", ())
    compiled = len(ran)
    assert compiled == 4  # the runtime and the kernels, each compiled and linked
    assert build.kernels("kept", text, "fast", ()) == first
    assert len(ran) == compiled
    assert build.kernels("kept", text, "fast", ("-DX",)) != first
    build.runtime.cache_clear()


def test_it_stands_in_for_cupy():
    code = """if True:
        import gradoracle.implementations.hostcuda as cupy
        text = 'extern "C" __global__ void f(float *x) { x[threadIdx.x] += 1; }'
        kernel = cupy.RawKernel(text, "f")
        x = cupy.zeros(4, cupy.float32)
        kernel((1,), (4,), (x,))
        assert cupy.asnumpy(x).tolist() == [1, 1, 1, 1]
        assert cupy.isnan(cupy.empty(3, "float32")).all()"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


INC = RawModule(
    code='extern "C" __global__ void inc(float *x, int n) {\n'
    "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n    if (i < n) x[i] += 1;\n}\n"
)


def test_leaving_a_setting_puts_back_the_one_around_it():
    with hostcuda.checking():
        with hostcuda.using(hostcuda.Settings()):
            with hostcuda.checking():
                pass
            assert hostcuda.settings().mode == "fast"
        assert hostcuda.settings().mode == "check"
    assert hostcuda.settings().mode == "fast"


def test_an_access_that_lands_in_another_argument_is_told():
    both = np.zeros(128, np.float32)
    x, y = both[:64], both[64:]
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(float *x, const float *y, int i) { x[i] = y[0]; }', "f"
    )
    with hostcuda.checking(), pytest.raises(hostcuda.KernelFault, match="past the end of argument"):
        kernel((1,), (1,), (x, y, 70))
    assert not both.any()


def test_views_and_read_only_arrays():
    kernel, base = INC.get_function("inc"), np.zeros(64, np.float32)
    for wrong in (base[::-1], np.broadcast_to(np.float32(1), (64,))):
        with hostcuda.checking(), pytest.raises(hostcuda.KernelFault, match="out of bounds"):
            kernel((1,), (64,), (wrong, 64))
    with hostcuda.checking():
        base[:] = 0
        kernel((1,), (32,), (base[::2], 32))
        assert base.tolist() == [1] * 32 + [0] * 32
        fixed = np.ones(4, np.float32)
        fixed.flags.writeable = False
        kernel((1,), (4,), (fixed, 0))
        with pytest.raises(hostcuda.KernelFault, match="argument 0 is a read-only array"):
            kernel((1,), (4,), (fixed, 4))
    assert fixed.tolist() == [1] * 4


@pytest.mark.parametrize(
    ("args", "words"),
    [((np.zeros(4), 4), "points to float"), ((np.zeros(4, np.float32), np.float32(4)), "integer")],
)
def test_numbers_of_another_kind(args, words):
    with pytest.raises(hostcuda.KernelFault, match=words):
        INC.get_function("inc")((1,), (4,), args)


def test_blocks_are_whole():
    with pytest.raises(TypeError):
        INC.get_function("inc")((1.5,), (4,), (np.zeros(4, np.float32), 4))


B = "(float *x) { x[threadIdx.x] = 1; }\n"


@pytest.mark.slow
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((c, f'extern "C" __global__ void {c}{B}') for c in "abdg"),
        ("k", "static __global__ void k" + B),
        ("k", "__global__ static void k" + B),
        ("k", 'extern "C" void __global__ k' + B),
        ("k", "#if 0\n__global__ void gone(int *) {}\n#endif\n__global__ void k" + B),
        ("k", "namespace ns {\n__global__ void other" + B + "}\n__global__ void k" + B),
        ("ns::k", "namespace ns {\n__global__ void k" + B + "}\n"),
        ("k", "// no __launch_bounds__(2) here\n__global__ void k" + B),
        ("k", "#define LB __launch_bounds__(64)\n__global__ void LB k" + B),
        ("k", "// a \\\n__global__ void gone(int *) {}\n__global__ void k" + B),
        ("add_float", '#define DEF(T) extern "C" __global__ void add_##T' + B + "DEF(float)\n"),
        ("k<float>", "template <class T> __global__ void k(T *x) {}\n"
         "template <> __global__ void k<float>" + B),
        ("k", "constexpr __device__ float T = 1;\n__constant__ const float U[1] = {1};\n"
         "struct V { float a; __device__ V operator=(float x) { a = x; return *this; } };\n"
         "__global__ void k" + B),
        ("k", "#ifdef __CUDACC__\n__global__ void k" + B + "#endif\n"),
        *(("k", f"__global__ void k(float *x) {{\n{s}\n"
                "s[threadIdx.x] = 1; x[threadIdx.x] = s[threadIdx.x]; }")
          for s in ("static __shared__ float s[4];", "extern volatile __shared__ float s[];",
                    "__shared__ extern float s[];",
                    "extern __shared__ __align__(sizeof(double)) float s[];",
                    "extern __align__(16) __shared__ float s[];", "const int warpSize = 32;"
                    " extern __shared__ float s[] /* x */ ;")),
        ("k", "extern __shared__ float s[];\n__global__ void k(float *x)"
         " { s[threadIdx.x] = 1; x[threadIdx.x] = s[threadIdx.x]; }"),
    ],
)  # fmt: skip
def test_legal_text_is_understood(name, text):
    x = np.zeros(4, np.float32)
    plain = name.isidentifier()
    module = RawModule(code=text, name_expressions=None if plain else [name])
    module.get_function(name)((1,), (4,), (x,), shared_mem=16)
    assert x.tolist() == [1] * 4


def test_variables_of_the_device_are_kept_from_launch_to_launch_not_from_order_to_order():
    text = """__device__ unsigned int n = 4;
    namespace ns { __device__ volatile int last[2], *where; }
    __global__ void count(float *x) { x[threadIdx.x] = atomicAdd(&n, 1u); ns::last[1] = 7; }
    __global__ void past(int i) { ns::last[i] = 1; }
    __constant__ float table[3];
    __global__ void reads(float *x) { x[0] = table[1]; }
    """
    module, x = RawModule(code=text), np.zeros(1, np.float32)
    with hostcuda.checking():
        for want in (4, 5):
            module.get_function("count")((1,), (1,), (x,))
            assert x == want
        with pytest.raises(hostcuda.KernelFault, match="an array index is outside the array"):
            module.get_function("past")((1,), (1,), (np.int32(2),))
        with pytest.raises(hostcuda.NotModelled, match="constant table, which no host code filled"):
            module.get_function("reads")((1,), (1,), (x,))


def test_a_text_without_a_kernel_is_read_in_no_time():
    import time

    for text in ("__global__ " + "f(x) " * 400, "/* __global__ */" + "int f(int a)\n" * 300):
        begun = time.process_time()
        RawModule(code=text)
        assert time.process_time() - begun < 2


def told(body, *args, block=(1,), head=""):
    kernel = hostcuda.RawKernel(f'{head}extern "C" __global__ void f{body}', "f")
    with hostcuda.checking(), pytest.raises(hostcuda.KernelFault) as caught:
        kernel((1,), block, args)
    return caught.value.findings


def test_the_loop_around_atomic_cas_of_cudas_guide(mode):
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(double *y) { auto *p = (unsigned long long *)y;\n'
        "unsigned long long old = *p, as; do { as = old;\n"
        "old = atomicCAS(p, as, __double_as_longlong(1.0 + __longlong_as_double(as))); }"
        " while (as != old); }", "f",
    )  # fmt: skip
    y = np.zeros(1)
    kernel((3,), (64,), (y,))
    assert y[0] == 192, mode


def test_an_atomic_is_told_with_the_kernels_line():
    found = told("(int *x) {\n  atomicAdd(x + 5, 1); }", np.zeros(4, np.int32))
    assert (found[0].file, found[0].line) == ("kernel.cu", 2)


def test_memcpy_and_memset_are_looked_at():
    x = np.zeros(64, np.float32)
    assert (
        told("(float *x) { float a[64]; memcpy(a, x + 32, 256); x[0] = a[1]; }", x)[0].kind
        == "out of bounds"
    )
    assert told("(float *x, int n) { memset(x, 0, n); }", x, 257)[0].kind == "out of bounds"


def test_a_fence_before_the_write_shows_nothing():
    body = ("(float *p, unsigned *c, float *o) { __threadfence(); p[blockIdx.x] = 1;"
            " if (atomicAdd(c, 1u) == 3) { *o = p[0] + p[1] + p[2] + p[3]; } }")  # fmt: skip
    kernel = hostcuda.RawKernel(f'extern "C" __global__ void f{body}', "f")
    args = np.zeros(4, np.float32), np.zeros(1, np.uint32), np.zeros(1, np.float32)
    with hostcuda.checking(), pytest.raises(hostcuda.KernelFault, match="data race"):
        kernel((4,), (1,), args)


def test_a_number_that_no_integer_holds():
    assert (
        "cannot hold"
        in told("(int *x, float a) { x[0] = (int)a; }", np.zeros(1, np.int32), np.float32(1e20))[
            0
        ].text
    )


def test_more_static_shared_memory_than_there_is():
    found = told("(float *x) { __shared__ float s[20000];\n"
                 "for (int i = 0; i < 20000; ++i) s[i] = i; x[0] = s[7]; }",
                 np.zeros(1, np.float32))  # fmt: skip
    assert "80000 bytes of static shared memory" in found[0].text


@pytest.mark.slow
def test_a_thread_that_waits_for_another_in_a_loop_is_told():
    body = "(volatile int *x) { if (threadIdx.x) x[0] = 1; else while (x[0] == 0); }"
    assert told(body, np.zeros(1, np.int32), block=(2,))[0].kind == "deadlock"


def test_a_failed_assertion_ends_the_launch_not_python(mode):
    kernel = hostcuda.RawKernel(
        '#include <assert.h>\nextern "C" __global__ void f(float *x) {\n assert(x[0] == 1); }', "f"
    )
    with pytest.raises(hostcuda.KernelFault, match=r"kernel.cu:3: failed assertion: .*x\[0\] == 1"):
        kernel((1,), (1,), (np.zeros(1, np.float32),))
    assert mode in MODES


@pytest.mark.usefixtures("mode")
def test_a_thread_has_half_a_megabyte_of_its_own():
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(float *x, int n) { float a[100000];\n'
        "for (int i = 0; i < n; ++i) a[i] = i;\n__syncthreads(); x[threadIdx.x] = a[n - 1]; }", "f",
    )  # fmt: skip
    x = np.zeros(4, np.float32)
    kernel((1,), (4,), (x, 2000))
    assert x.tolist() == [1999] * 4


@pytest.mark.usefixtures("mode")
def test_atomics_gathered_by_a_warp():
    kernel = hostcuda.RawKernel(
        'extern "C" __global__ void f(const int *x, int *c) { if (x[threadIdx.x]) {\n'
        "unsigned m = __activemask();\n"
        "if ((threadIdx.x & 31) == __ffs(m) - 1) atomicAdd(c, __popc(m)); } }",
        "f",
    )
    x, c = (np.arange(100) % 7 == 0).astype(np.int32), np.zeros(1, np.int32)
    kernel((1,), (100,), (x, c))
    assert c[0] == x.sum()


def test_many_arguments():
    names = ", ".join(f"int a{i}" for i in range(300))
    kernel = hostcuda.RawKernel(
        f'extern "C" __global__ void f(int *x, {names}) {{ *x = a299; }}', "f"
    )
    x = np.zeros(1, np.int32)
    kernel((1,), (1,), (x, *range(300)))
    assert x[0] == 299
