"""Files of C and C++ and shared libraries are certified as they are: calls in their comments."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.contract import POLICIES
from gradoracle.conformance.backends.registry import (
    IN_PROCESS,
    ISOLATED,
    UnknownBackend,
    UnusableBackend,
    load,
    with_header,
)
from gradoracle.conformance.checking import outcomes
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.reports import screen
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.terminal import Look
from gradoracle.implementations.c_source import StrayWrite, backend
from gradoracle.implementations.cuda_source import backend as cuda_backend
from gradoracle.implementations.cuda_source import comments
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.signatures import plain, signature
from tests.planted.killers import no_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("cc") and shutil.which("c++")), reason="no compiler"),
]

ROOT = Path(__file__).parent.parent
IMAGE, DENSE = ((ROOT / "tests" / "c" / name).read_text() for name in ("image.c", "dense.cpp"))
SEEDS = range(1, 6)


@pytest.fixture
def source(tmp_path):
    def write(text, name="kernel.c"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def checked(file, operators, **more):
    chosen = {"examples": 25, "seed": 1, "confinement": IN_PROCESS} | more
    return gradoracle.check(file, operators=operators, **chosen)


DERIVED = """
#include <math.h>
// gradoracle: silu = silu(z, y, z.size)
void silu(const float *z, float *y, int n) {
    for (int i = 0; i < n; i++) y[i] = z[i] / (1 + expf(-z[i]));
}
// gradoracle: rms_norm_grad_weight = rms_dw(grad_output, x, dw, N * T, C, eps)
void rms_dw(const float *dy, const float *x, float *dw, int rows, int columns, float eps) {
    for (int c = 0; c < columns; c++) dw[c] = 0;
    for (int r = 0; r < rows; r++) {
        double squares = 0;
        const float *row = x + r * columns;
        for (int c = 0; c < columns; c++) squares += (double)row[c] * row[c];
        double root = sqrt(squares / columns + eps);
        for (int c = 0; c < columns; c++) dw[c] += (float)(dy[r * columns + c] * (row[c] / root));
    }
}
// gradoracle: mse_loss = mse(input, target, loss, N, C)
// gradoracle: domain mse_loss: reduction = mean
void mse(const float *x, const float *t, float *loss, int rows, int columns) {
    double sum = 0;
    for (int i = 0; i < rows * columns; i++) sum += ((double)x[i] - t[i]) * ((double)x[i] - t[i]);
    loss[0] = (float)(sum / (rows * columns));
}
"""


@pytest.mark.slow
def test_normalisations_activations_and_losses_are_called_by_comments(source):
    operators = ["silu", "rms_norm", "mse_loss"]
    certificate = checked(source(DERIVED), operators, examples=5)
    assert certificate.passed, certificate.text()
    checked_formulas = {o.formula for o in certificate.outcomes if o.judged}
    assert checked_formulas == {"silu", "rms_norm_grad_weight", "mse_loss"}
    wrong = checked(source(DERIVED.replace("squares / columns", "squares / (columns + 1)"), "w.c"),
                    ["rms_norm"], examples=5, stop_at_first_mismatch=True)  # fmt: skip
    assert "rms_norm_grad_weight" in wrong.mismatches[0].headline


UNWRITTEN = "uninitialised memory: never written, or only added to"


@pytest.mark.parametrize(("body", "is_unwritten"), [
    ("if (i < n - 1) y[i] = z[i] > 0 ? z[i] : 0", True),
    ("y[i] += z[i] > 0 ? z[i] : 0", True),
    ("y[i] = z[i] > 0 ? z[i] : 0.0f / 0.0f", False),
    ("y[i] = z[i] > 0 ? z[i] : (z[i] - z[i]) / (z[i] - z[i])", False),
])  # fmt: skip
def test_a_report_says_where_memory_is_uninitialised(source, body, is_unwritten):
    loop = f"for (int i = 0; i < n; i++) {body};"
    text = f"void f(const float *z, float *y, int n) {{ {loop} }}"
    found = checked(source(f"// gradoracle: relu = f(z, y, z.size)\n{text}\n"), ["relu"])
    headline = found.mismatches[0].headline
    assert "got nan, want" in headline
    assert (UNWRITTEN in headline) == is_unwritten


ATTENTION = """
#include <math.h>
#include <stdlib.h>
// gradoracle: matmul = product(input, other, y, N, K, M)
void product(const float *a, const float *b, float *y, int n, int k, int m) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            double sum = 0;
            for (int c = 0; c < k; c++) sum += (double)a[i * k + c] * b[c * m + j];
            y[i * m + j] = (float)sum;
        }
}
// gradoracle: scaled_dot_product_attention = attend(query, key, value, y, N * Q, L, S, E, V, scale)
// gradoracle: domain scaled_dot_product_attention: is_causal = false, enable_gqa = False
// gradoracle: domain scaled_dot_product_attention: attn_mask = absent
void attend(const float *q, const float *k, const float *v, float *y,
            int heads, int rows, int keys, int e, int columns, float scale) {
    double *p = malloc(sizeof(double) * keys);
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < rows; i++) {
            double most = -INFINITY, sum = 0;
            for (int j = 0; j < keys; j++) {
                double s = 0;
                for (int c = 0; c < e; c++)
                    s += (double)q[(h * rows + i) * e + c] * k[(h * keys + j) * e + c];
                p[j] = s * scale;
                most = !(p[j] <= most) ? p[j] : most;
            }
            for (int j = 0; j < keys; j++) sum += p[j] = exp(p[j] - most);
            for (int c = 0; c < columns; c++) {
                double all = 0;
                for (int j = 0; j < keys; j++) all += p[j] / sum * v[(h * keys + j) * columns + c];
                y[(h * rows + i) * columns + c] = (float)all;
            }
        }
    free(p);
}
"""


SHARED = """
// gradoracle: relu = doubled(z, scratch(twice, z.size), z.size)
// gradoracle: relu = halved(scratch(twice, COUNT), y, z.size)
void doubled(const float *z, float *twice, int n) {
    for (int i = 0; i < n; ++i) twice[i] = z[i] > 0 || z[i] != z[i] ? z[i] * 2 : 0;
}
void halved(const float *twice, float *y, int n) {
    for (int i = 0; i < n; ++i) y[i] = twice[i] / 2;
}
"""


MIXED = """
#include <cmath>
// gradoracle: sigmoid = curve<{T}>(z, y, z.size)
// gradoracle: tanh = bent(z, y, z.size)
template <typename T> void curve(const T *z, T *y, int n) {
    for (int i = 0; i < n; ++i) y[i] = T(1) / (T(1) + std::exp(-z[i]));
}
void bent(const float *z, float *y, int n) { for (int i = 0; i < n; ++i) y[i] = std::tanh(z[i]); }
"""


def test_a_function_without_a_template_beside_others_has_float32(source):
    found = gradoracle.check(source(MIXED, "mixed.cpp"), examples=5, seed=1)
    assert not found.mismatches, found.mismatches[0].text
    assert found.contract["not_claimed"] == {"float64": ("tanh",)}
    assert {d for one in found.outcomes if one.formula == "sigmoid" for d in one.calls} == {
        "float32", "float64",
    }  # fmt: skip


SCALED = """
#include <math.h>
#include <stddef.h>
// gradoracle: rms_norm = scaled(x, weight, y, N * T, C, eps)
void scaled(const float *x, const float *g, float *y, int rows, int cols, float eps) {
    for (int r = 0; r < rows; ++r, x += cols, y += cols) {
        double sum = 0;
        for (int c = 0; c < cols; ++c) sum += (double)x[c] * x[c];
        const double root = sqrt(sum / cols + eps);
        for (int c = 0; c < cols; ++c) y[c] = (float)(x[c] / root * (g == NULL ? 1 : g[c]));
    }
}
"""


def test_a_weight_that_is_none_is_a_null_pointer(source):
    found = checked(source(SCALED), ["rms_norm"])
    assert not found.mismatches, found.mismatches[0].text
    of_null = SCALED.replace("g == NULL ? 1", "g == NULL ? 2")
    assert checked(source(of_null, "other.c"), ["rms_norm"]).mismatches


POSITIVE = """
// gradoracle: relu = positive(z, y, z.size)
void positive(const double *z, double *y, int n) {
    for (int i = 0; i < n; ++i) y[i] = z[i] < 0 ? 0 : z[i];
}
"""


def test_an_array_of_float32_is_no_array_of_double(source):
    file = source(f"// gradoracle: contract dtypes = float32\n{POSITIVE}")
    words = r"argument 0, z, is an array of float32 for 'const double \*z', which points to float64"
    with pytest.raises(SourceError, match=words):
        backend(file)


SIGMOID = """
#include <math.h>
// gradoracle: sigmoid = logistic(z, y, z.size)
void logistic(const float *z, float *y, int n) {
    for (int i = 0; i < n; ++i) y[i] = 1 / (1 + expf(-z[i]));
}
"""


def test_functions_are_of_the_dtype_of_their_pointers(source):
    found = checked(source(POSITIVE + SIGMOID), ["relu", "sigmoid"])
    assert not found.mismatches, found.mismatches[0].text
    judged = {(one.formula, dtype) for one in found.outcomes for dtype in one.calls}
    assert judged == {("relu", "float64"), ("sigmoid", "float32")}
    wrong = checked(source(POSITIVE.replace("? 0 :", "? 1e-9 :"), "other.c"), ["relu"])
    assert {one.formula for one in wrong.mismatches} == {"relu"}


def test_calls_share_an_array_of_a_name(source):
    found = checked(source(SHARED.replace("COUNT", "z.size")), ["relu"])
    assert not found.mismatches, found.mismatches[0].text
    assert any(one.judged for one in found.outcomes)


def test_a_shared_array_has_one_size(source):
    relu = backend(source(SHARED.replace("COUNT", "z.size + 1"))).relu
    with pytest.raises(SourceError, match=r"kernel.c:3: scratch\(twice\) has 3 elements, not 4"):
        relu(np.ones(3, np.float32))


def test_several_results_are_marked_unless_a_call_prepares_them(source):
    text = SHARED.replace("relu = doubled", "relu, relu_grad = doubled")
    assert backend(source(text.replace("COUNT", "z.size"))).relu
    with pytest.raises(SourceError, match="2 results, but 0 arguments marked"):
        backend(source(text.replace("scratch(twice, z.size)", "y")))


def test_products_and_attention_are_called_by_comments(source):
    operators = ["matmul", "scaled_dot_product_attention"]
    certificate = checked(source(ATTENTION), operators, examples=5)
    assert not certificate.mismatches, certificate.text()
    assert {o.formula for o in certificate.outcomes if o.judged} == {*operators}
    unscaled = ATTENTION.replace("p[j] = s * scale", "p[j] = s")
    wrong = checked(source(unscaled, "w.c"), operators[1:], examples=5, stop_at_first_mismatch=True)
    assert "scaled_dot_product_attention[" in wrong.mismatches[0].headline


# -- right kernels --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_of_c_is_certified_by_its_own_conventions(source):
    operators = ["relu", "conv2d", "max_pool2d", "cross_entropy"]
    certificate = checked(source(IMAGE), operators, examples=10)
    assert certificate.passed, certificate.text()
    text = " ".join(certificate.text().split())
    assert "CERTIFIED for conv2d: groups = 1, dilation = 1" in text
    assert "nan dropped, " in text
    assert text.count("int32") == 2  # labels and indices, as the parameters have them
    assert "bad_arguments raise, labels int32, indices int32" in text
    assert re.search(r"runs, as it says, on the CPU: .*cc.*, -O2", text)
    assert certificate.files.keys() == {"kernel.c"}


@pytest.mark.slow
def test_a_file_of_cpp_is_certified_in_both_dtypes_with_its_accumulators(source):
    certificate = checked(source(DENSE, "kernel.cpp"), ["softmax", "linear", "leaky_relu"])
    assert certificate.passed, certificate.text()
    assert certificate.contract["dtypes"] == ("float32", "float64")
    assert certificate.contract["accumulators"] == {"float32": "float64"}
    assert certificate.contract["policies"]["repeats"] == "bitwise"


@pytest.mark.slow
def test_the_conventions_of_c_are_wrong_where_they_are_not_claimed(source):
    said = "// gradoracle: contract nan = dropped, bad_arguments = raise\n"
    assert said in IMAGE
    found = checked(source(IMAGE.replace(said, "")), ["max_pool2d"], stop_at_first_mismatch=True)
    assert found.mismatches


VALUES_ALONE = """
#include <math.h>
// gradoracle: contract nan = dropped
// gradoracle: domain max_pool2d: kernel_size = 2, stride = 2, padding = 0, dilation = 1,
//     ceil_mode = False
// gradoracle: max_pool2d = pool(x, y, N * C, H, W)
void pool(const float *x, float *y, int nc, int h, int w) {
    for (int i = 0; i < nc; i++)
        for (int r = 0; r < h / 2; r++)
            for (int c = 0; c < w / 2; c++) {
                const float *at = x + (i * h + 2 * r) * w + 2 * c;
                *y++ = fmaxf(fmaxf(at[0], at[1]), fmaxf(at[w], at[w + 1]));
            }
}
"""


def test_a_pooling_that_is_not_given_indices_returns_values_alone(source):
    certificate = checked(source(VALUES_ALONE), ["max_pool2d"], examples=5)
    assert not certificate.mismatches, certificate.text()
    assert {o.formula for o in certificate.outcomes if o.judged} == {"max_pool2d_values"}
    wrong = source(VALUES_ALONE.replace("at[w + 1]", "at[w]"), "w.c")
    found = checked(wrong, ["max_pool2d"], examples=5).mismatches
    assert {one.formula for one in found} == {"max_pool2d_values"}


def test_a_verdict_says_which_results_a_comment_zeroes(source):
    text = """
    // gradoracle: domain linear: bias absent
    // gradoracle: linear_grad_input, linear_grad_weight =
    //     back(grad_output, x, weight, zero(*), zero(*), N, C, M)
    void back(const float *dy, const float *x, const float *w, float *dx, float *dw, int n, int c,
              int m) {
        for (int i = 0; i < n; i++)
            for (int o = 0; o < m; o++)
                for (int k = 0; k < c; k++) {
                    dx[i * c + k] += dy[i * m + o] * w[o * c + k];
                    dw[o * c + k] += dy[i * m + o] * x[i * c + k];
                }
    }
    """
    certificate = checked(source(text), ["linear"], examples=5)
    assert not certificate.mismatches, certificate.text()
    said = ("dx holds zeros before back runs", "dw holds zeros before back runs")
    assert (*certificate.contract["assumes"],) == said
    assert f"assumed of the caller: {said[1]}" in certificate.text()
    shown = "\n".join(screen.lines(certificate, Look(80)))
    assert "\nassumed of the caller\n  dx holds zeros" in shown
    assert Certificate.from_json(certificate.to_json()).text() == certificate.text()
    plain = checked(source(text.replace("zero(*)", "*"), "p.c"), ["linear"], examples=5)
    assert "assumes" not in plain.contract
    assert plain.mismatches


def test_what_a_file_can_declare_is_told_as_a_comment(source):
    text = """
    #include <math.h>
    // gradoracle: relu = positive(z, y, z.size)
    void positive(const float *z, float *y, int n) {
        for (int i = 0; i < n; i++) y[i] = fmaxf(z[i], 0);
    }
    """
    found, *_ = checked(source(text), ["relu"], examples=5).mismatches
    line = "// gradoracle: contract nan = dropped"
    assert f"if that is intended, declare {line}" in found.headline
    assert not checked(source(line + text, "d.c"), ["relu"], examples=5).mismatches


ONE_HOT = """
#include <math.h>
// gradoracle: contract labels = one-hot, dtypes = float64
// gradoracle: cross_entropy_grad = slopes(logits, target, dlogits, N, C, mean)
void slopes(const double *z, const double *hot, double *dz, int N, int C, int mean) {
    for (int n = 0; n < N; ++n, z += C, hot += C, dz += C) {
        double top = z[0], total = 0;
        for (int c = 1; c < C; ++c) top = fmax(top, z[c]);
        for (int c = 0; c < C; ++c) total += exp(z[c] - top);
        for (int c = 0; c < C; ++c) dz[c] = (exp(z[c] - top) / total - hot[c]) / (mean ? N : 1);
    }
}
// gradoracle: contract relu_at_zero = 0.5
// gradoracle: relu_grad = half(grad_output, z, dz, z.size)
void half(const double *dy, const double *z, double *dz, int n) {
    for (int i = 0; i < n; ++i) dz[i] = z[i] > 0 ? dy[i] : z[i] == 0 ? dy[i] / 2 : 0;
}
// gradoracle: contract indices = int64, index_origin = global, ties = first
// gradoracle: max_pool2d_grad_input = scattered(grad_output, indices, dx, dx.size, indices.size)
void scattered(const double *dy, const long long *indices, double *dx, int size, int count) {
    for (int i = 0; i < size; ++i) dx[i] = 0;
    for (int i = 0; i < count; ++i) dx[indices[i]] += dy[i];
}
"""


@pytest.mark.slow
def test_one_hot_labels_global_indices_and_slopes_at_zero_are_claimed_in_comments(source):
    certificate = checked(source(ONE_HOT), ["relu", "max_pool2d", "cross_entropy"])
    assert certificate.passed, certificate.text()
    plane = checked(source(ONE_HOT.replace("global", "plane")), ["max_pool2d"])
    assert plane.mismatches


@pytest.mark.slow
def test_the_examples_of_the_page_are_certified(source):
    page = (ROOT / "implementations" / "c_source" / "README.md").read_text()
    for language, operator in (("c", "leaky_relu"), ("cpp", "cross_entropy")):
        (text,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
        certificate = checked(source(text, f"kernel.{language}"), [operator])
        assert certificate.passed, certificate.text()


MINE = """
typedef float real;
// gradoracle: relu = my_relu(z, y, z.size)
extern {linkage} void my_relu(const real *z, real *y, int n);
"""
MINE_C = """
#include "mine.h"
void my_relu(const float *z, float *y, int n) {
    for (int i = 0; i < n; ++i) y[i] = z[i] <= 0 ? 0 : z[i];
}
"""


@pytest.fixture
def library(source, tmp_path):
    source(MINE.format(linkage=""), "mine.h")
    (tmp_path / "build").mkdir()
    made = tmp_path / "build" / "libmine.so"
    command = ["cc", "-shared", "-fPIC", "-o", made, source(MINE_C)]
    subprocess.run(command, check=True)
    return made


@pytest.mark.slow
def test_a_library_is_certified_with_a_header_given_or_beside_it(library, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "gradoracle", "certify", "build/libmine.so", "--header", "mine.h",
         "--profile", "quick", "--seed", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "build/libmine.so@../mine.h  CERTIFIED" in done.stdout
    with pytest.raises(UnusableBackend, match=r"libmine.so needs a header with declarations"):
        load(str(library), IN_PROCESS)
    shutil.copy(tmp_path / "mine.h", library.with_name("mine.h"))
    certificate = checked(library, ["relu"])
    assert certificate.passed
    assert certificate.files.keys() == {"libmine.so", "mine.h"}


def test_the_script_of_a_mismatch_names_the_header(library, source, tmp_path, monkeypatch):
    source(MINE_C.replace("<= 0 ? 0", "<= 0 ? 1"), "wrong.c")
    command = ["cc", "-shared", "-fPIC", "-o", library, tmp_path / "wrong.c"]
    subprocess.run(command, check=True)
    shutil.copy(tmp_path / "mine.h", library.with_name("mine.h"))
    monkeypatch.chdir(library.parent)
    (found,) = checked("./libmine.so", ["relu"], stop_at_first_mismatch=True).mismatches
    assert "c_source.backend('./libmine.so@mine.h')" in found.script
    done = subprocess.run(
        [sys.executable, "-c", found.script], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "AssertionError" in done.stderr


def test_a_header_that_is_not_there_or_of_no_library_is_an_error(library):
    with pytest.raises(UnknownBackend, match=r"there is no file '.*absent.h'"):
        load(f"{library}@absent.h", IN_PROCESS)
    with pytest.raises(UnknownBackend, match="a header goes with a library such as ./libmine.so"):
        with_header("kernel.cu", "mine.h")


def test_a_function_that_the_library_lacks_is_an_error(library, source):
    header = MINE.format(linkage="").replace("my_relu", "your_relu")
    source(header, "mine.h")
    with pytest.raises(SourceError, match=r"mine.h:3: libmine.so exports no 'your_relu'"):
        backend(f"{library}@../mine.h")


# -- faults ---------------------------------------------------------------------------------------

FAULTS = {
    "one written too many": ("relu", IMAGE, "i < n; ++i) y", "i <= n; ++i) y"),
    "padding as stride": ("conv2d", IMAGE, "i * SH + p - PH", "i * SH + p - PW"),
    "one channel too many": ("conv2d", IMAGE, "c < C; ++c)\n       ", "c <= C; ++c)\n       "),
    "index by columns": ("max_pool2d", IMAGE, "best = h * W + w", "best = w * H + h"),
    "mean over classes": ("cross_entropy", IMAGE, "sum / N", "sum / C"),
    "overflow": ("softmax", DENSE, "top = z[row], total", "top = 0, total"),
    "float sums": ("linear", DENSE, "double sum", "float sum"),
    "bias of the row": ("linear", DENSE, "bias[at % M]", "bias[at / M]"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_from_every_seed(source, fault, monkeypatch):
    monkeypatch.setattr(outcomes, "reported", no_report)
    operator, text, right, wrong = FAULTS[fault]
    assert text.count(right) == 1
    name = "kernel.c" if text is IMAGE else "kernel.cpp"
    file = source(text.replace(right, wrong), name)
    faulty = load(file, IN_PROCESS)
    asked = [
        case
        for case in checks()
        if (case[0].name, case[2].name) == (operator, "within_rounding_bound")
    ]
    for seed in SEEDS:
        found = [examine(faulty, *case, examples=150, seed=seed).status for case in asked]
        assert "mismatch" in found, seed


@pytest.mark.slow
def test_a_crash_is_a_verdict(source):
    text = IMAGE.replace("y[i] = z[i] <= 0 ? 0 : z[i]", "y[i + (1ul << 40)] = z[i]")
    found = checked(source(text), ["relu"], confinement=ISOLATED, stop_at_first_mismatch=True)
    assert "SIGSEGV" in found.mismatches[0].text


def test_writes_outside_and_to_read_only_arrays_are_named(source):
    z = np.ones(3, np.float32)
    for right, wrong, words in (
        ("i < n", "i <= n", r"a write 0 bytes past the end of argument 1 \(float y\[\]\)"),
        ("y[i] = z[i] <= 0", "y[i - 1] = z[i] <= 0", "a write before argument 1"),
    ):
        with pytest.raises(StrayWrite, match=f"rectified: {words}"):
            backend(source(IMAGE.replace(right, wrong, 1))).relu(z)
    z.setflags(write=False)
    text = IMAGE.replace("y[i] = z[i] <= 0", "((float *)z)[i] = 2, y[i] = z[i] <= 0")
    with pytest.raises(StrayWrite, match=r"a write to the read-only argument 0"):
        backend(source(text)).relu(z)


# -- comments and declarations --------------------------------------------------------------------

LINE = "\n// gradoracle: {}\n{} k(const float *z, float *y, int n) {{ y[0] = z[n - n]; {} }}\n"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("relu = k<<<1, 1>>>(z, y, 1)", "is no call such as  relu = my_relu(z, y, z.size)"),
        ("rleu = k(z, y, 1)", "kernel.c:2: no function 'rleu'; there are"),
        ("relu = j(z, y, 1)", "kernel.c:2:"),
        ("contract label = int32", "kernel.c:2: a contract has no 'label'; there are dtypes, not_"),
        ("contract int32", "kernel.c:2: write  contract labels = int32, ties = split, got int32"),
        ("contract dtypes = float8", "kernel.c:2: dtypes are of float32, float64, got float8"),
        ("contract not_claimed = tanh", "kernel.c:2: write  not_claimed = float64: softmax, got"),
    ],
)  # fmt: skip
def test_a_comment_that_cannot_be_understood_is_named_with_its_line(source, said, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        backend(source(LINE.format(said, "void", "")))


def test_what_a_policy_is_not_is_said_with_what_it_can_be(source):
    text = "// gradoracle: contract ties = last\n" + LINE.format("relu = k(z, y, 1)", "void", "")
    with pytest.raises(
        UnusableBackend, match=r"rule of ties 'last' is unknown; pick from .'first'"
    ):
        load(source(text), IN_PROCESS)


def test_the_policies_of_comments_are_those_of_contracts():
    assert set(comments.POLICIES) == {*POLICIES}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("z, y", "k: it takes 3 arguments, 2 are given"),
        ("z, y, z", "k: argument 2, z, is an array for 'int n', which is no pointer"),
        ("z, 1, 1", "k: argument 1, 1, is a number for the pointer 'float *y'"),
        ("zz, y, 1", "'zz' means nothing in a call of relu; there are y, z, and sizes"),
        ("z, y, z.sise", "'z.sise' means nothing in a call of relu; did you mean 'z.size'?"),
        ("z, y, cell_div(1, 1)", "'cell_div' means nothing in a call of relu; did you mean 'ceil_"),
    ],
)
def test_arguments_that_do_not_fit_the_declaration_are_told_at_once(source, arguments, words):
    file = source(LINE.format(f"relu = k({arguments})", "void", ""))
    with pytest.raises(SourceError, match=f"kernel.c:2: {re.escape(words)}"):
        backend(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("z, y, 0.5", "k: argument 2, 'int n', is an integer, got 0.5"),
        ("z, y, 3000000000", "k: argument 2, 'int n', is of int32, 3000000000 does not fit"),
        ("z, y, N", "'N' means nothing here; there are z, y, out"),
    ],
)
def test_numbers_that_do_not_fit_the_declaration_are_errors(source, arguments, words):
    of = backend(source(LINE.format(f"relu = k({arguments})", "void", "")))
    with pytest.raises(SourceError, match=f"kernel.c:2: {re.escape(words)}"):
        of.relu(np.ones(3, np.float32))


def test_an_array_of_another_dtype_is_an_error_and_so_is_a_status(source):
    said = "contract dtypes = float64\n// gradoracle: relu = k(z, y, 1)"
    with pytest.raises(SourceError, match="an array of float64 for .*, which points"):
        backend(source(LINE.format(said, "void", "")))
    of = backend(source(LINE.format("relu = k(z, y, 1)", "int", "return 7;")))
    with pytest.raises(ValueError, match="k returned 7, and 0 means that all went well"):
        of.relu(np.ones(3, np.float32))


def test_a_number_in_place_of_an_array_is_an_error(source):
    of = backend(source(LINE.format("relu = k(z, y, 1)", "float", "return 7;")))
    with pytest.raises(SourceError, match=r"k returns a number, and the result is an array of sh"):
        of.relu(np.ones(3, np.float32))


def test_labels_of_one_type_and_a_contract_of_another_are_an_error(source):
    text = IMAGE.replace("contract nan", "contract labels = int64, nan")
    with pytest.raises(SourceError, match=r"loss takes target as 'const int \*target', int32, but"):
        backend(source(text))


def test_a_deviation_is_said_in_a_comment(source):
    text = "// gradoracle: deviation relu: NaN becomes 0, as documented\n" + IMAGE.replace(
        "z[i] <= 0 ? 0 : z[i]", "z[i] > 0 ? z[i] : 0"
    ).replace("nan = dropped, ", "")
    certificate = checked(source(text), ["relu"], examples=60)
    assert certificate.deviations
    assert not certificate.mismatches
    assert "NaN becomes 0, as documented" in certificate.text()


def test_what_does_not_compile_is_shown_with_its_line(source):
    file = source(LINE.format("relu = k(z, y, 1)", "void", "w = 1;"))
    with pytest.raises(UnusableBackend, match=r"does not compile it: kernel.c:3:\d+: error: .w. "):
        load(file, IN_PROCESS)


def test_without_a_compiler_one_sentence_says_so(source, monkeypatch):
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(UnusableBackend, match="kernel.c must be compiled, and no-such-cc is not"):
        load(source(IMAGE), IN_PROCESS)


def test_flags_of_the_environment_are_used_and_printed(source, monkeypatch):
    monkeypatch.setenv("CFLAGS", "-DSLOPE=3")
    of = backend(source(IMAGE.replace("0 : z[i];", "0 : z[i] * SLOPE;")))
    assert of.relu(np.ones(2, np.float32)).tolist() == [3, 3]
    assert of.contract["runs_on"].endswith(", -O2 -DSLOPE=3")


@pytest.mark.parametrize(
    ("declaration", "kinds"),
    [
        ("void f(void);", []),
        ("int y = f(1); unsigned long int f(const unsigned char *const a, long long int b);",
         ["uint8*", "int64"]),
        ('#define f(x) x\n// f(int a) {\nextern "C" API void\nf(float, unsigned n = 3) {',
         ["float32", "uint32"]),
        ("template <typename A, class B = int> static inline A f(A *a, const B (*b)[3], B n) {",
         ["float64*", "None*", "int16"]),
        ("typedef long index; using real = float; real *f(std::size_t n, index i, real x[4]);",
         ["uint64", "int64", "float32*"]),
        ("return f(a, b); void f(struct box b, void *p, double **rows) {",
         ["None", "None*", "None*"]),
    ],
)  # fmt: skip
def test_declarations_are_read_as_c_reads_them(declaration, kinds):
    found = signature(plain(declaration), "ns::f<double, short>")
    shown = [f"{p.dtype and p.dtype.name}{'*' * p.pointer}" for p in found.parameters]
    assert shown == kinds


def test_what_is_only_called_is_not_declared():
    assert signature("void g() { h(1); y = h(2); return h(3); }", "h") is None


# -- the same in CUDA -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cuda_kernel_that_takes_int_is_given_int32(source):
    text = """
// gradoracle: contract bad_arguments = raise
// gradoracle: max_pool2d_grad_input = scatter<<<N * C, 1>>>(
//     grad_output, indices, dx, H * W, OH * OW)
__global__ void scatter(const float *dy, const int *__restrict__ at, float *dx, int P, int W) {
    dx += blockIdx.x * P;
    for (int i = 0; i < P; ++i) dx[i] = 0;
    for (int i = blockIdx.x * W; i < (blockIdx.x + 1) * W; ++i) dx[at[i]] += dy[i];
}
"""
    certificate = checked(source(text, "kernel.cu"), ["max_pool2d"], examples=10)
    assert certificate.passed, certificate.text()
    assert certificate.contract["policies"] == {"bad_arguments": "raise", "indices": "int32"}
    claimed = source(text.replace("bad_arguments = raise", "indices = int64"), "kernel.cu")
    with pytest.raises(SourceError, match=r"kernel.cu:3: scatter takes indices as 'const int"):
        cuda_backend(claimed)
    wide = cuda_backend(source(text.replace("const int *", "const long long *"), "kernel.cu"))
    assert wide.contract["policies"]["indices"] == "int64"
    dy, at = np.ones((1, 1, 1, 2), np.float32), np.full((1, 1, 1, 2), 3)
    dx = wide.max_pool2d_grad_input(dy, at, input_shape=(1, 1, 2, 2))
    assert dx.tolist() == [[[[0, 0], [0, 2]]]]
    with pytest.raises(TypeError, match="indices must be int64, got int32"):
        wide.max_pool2d_grad_input(dy, at.astype(np.int32), input_shape=(1, 1, 2, 2))


OUTSIDE = {
    "z[i + 1]": "lies before a page of memory that may be neither read nor written",
    "z[i - 1]": "lies behind a page of memory that may be neither read nor written",
}


@pytest.mark.slow
@pytest.mark.parametrize("read", OUTSIDE)
def test_a_read_outside_that_no_result_shows_names_the_argument_and_the_side(tmp_path, read):
    file = tmp_path / "relu_grad.c"
    file.write_text(
        "// gradoracle: relu_grad = slope(grad_output, z, dz, z.size)\n"
        "void slope(const float *dy, const float *z, float *dz, int n) {\n"
        "    for (int i = 0; i < n; ++i) {\n"
        f"        volatile float beside = {read};\n"
        "        dz[i] = z[i] > 0 || z[i] != z[i] ? dy[i] : 0;\n"
        "    }\n"
        "}\n"
    )
    found = gradoracle.check(str(file), operators=["relu"], examples=20, seed=1)
    (wrong,) = [one for one in found.outcomes if one.mismatch]
    assert wrong.property_name == "ignores_memory_layout"
    assert "crashed: segmentation fault" in wrong.mismatch.headline
    assert f"z {OUTSIDE[read]}" in wrong.mismatch.headline
