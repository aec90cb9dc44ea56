"""Functions of C and CUDA whose results have sizes that no array has, or that are several."""

import inspect

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.drawing.choices import spread
from gradoracle.conformance.operators import OPERATORS
from gradoracle.implementations import im2col
from gradoracle.implementations.c_source import backend
from gradoracle.implementations.cuda_source import by_example
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.results import RESULTS
from gradoracle.oracle.declaration import argument_names, output_of, parts_of
from gradoracle.oracle.expected.truth import answer_shape

HOW_MANY = 6  # drawn calls of each formula
FORMULAS = {
    f.__name__: (operator, f)
    for operator in OPERATORS for f in operator.formulas
    if output_of(f).function in by_example.FUNCTIONS
}  # fmt: skip


def calls_of(operator, formula):
    """Yield drawn calls of a formula that have an answer."""
    style = operator.styles.of("any")[0]
    for number in range(60):
        draw = spread("further functions", operator.name, number)
        drawn = operator.geometry(draw, "small")
        call = operator.call(drawn.sizes, style, drawn.seed, "float32")
        if operator.has_answer(formula, call):
            names = [n for of in argument_names(formula) for n in of]
            yield {n: call[n] for n in names if n in call}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMULAS)
def test_results_have_the_shapes_of_the_formulas(name):
    operator, formula = FORMULAS[name]
    of, met = output_of(formula), 0
    for call in calls_of(operator, formula):
        sizes = RESULTS[of.function].of({**call, "policies": {}})
        parts = [*parts_of(formula)] or [formula]
        shapes = [answer_shape(one, call) for one in parts]
        first = of.place or 0
        assert sizes["shapes"][first : first + len(parts)] == shapes, call
        met += 1
        if met == HOW_MANY:
            break
    assert met == HOW_MANY


@pytest.mark.parametrize("name", by_example.FUNCTIONS)
def test_arguments_are_those_of_im2col(name):
    kinds = inspect.signature(getattr(im2col, name)).parameters.values()
    arrays = [one.name for one in kinds if one.kind is not one.KEYWORD_ONLY]
    assert [*by_example.FUNCTIONS[name][0]] == arrays
    operator = name.partition("_grad")[0].removesuffix("_vjp")
    absent = {one.name for one in kinds if one.default is None}
    assert absent <= {"bias", *by_example.OPTIONAL.get(operator, ())}


SEQUENCES = """
// gradoracle: domain conv1d: dilation = 1, groups = 1
// gradoracle: conv1d = conv(x, weight, bias, y, N, C, L, M, KW, OL, SW, PW)
void conv(const float *x, const float *w, const float *b, float *y, int n, int c, int l, int m,
          int k, int ol, int s, int p) {
    for (int i = 0; i < n * m * ol; i++) {
        int f = i / ol % m, start = i % ol * s - p;
        y[i] = b ? b[f] : 0;
        for (int j = 0; j < c * k; j++) {
            int at = start + j % k;
            if (at >= 0 && at < l)
                y[i] += x[(i / ol / m * c + j / k) * l + at] * w[f * c * k + j];
        }
    }
}
// gradoracle: conv1d_grad_input, conv1d_grad_weight =
//     back(grad_output, x, weight, zero(*), zero(*), N, C, L, M, KW, OL, SW, PW)
void back(const float *dy, const float *x, const float *w, float *dx, float *dw, int n, int c,
          int l, int m, int k, int ol, int s, int p) {
    for (int i = 0; i < n * m * ol; i++)
        for (int j = 0; j < c * k; j++) {
            int at = i % ol * s - p + j % k;
            long pixel = (i / ol / m * c + j / k) * l + at, tap = (i / ol % m) * c * k + j;
            if (at < 0 || at >= l) continue;
            dx[pixel] += dy[i] * w[tap];
            dw[tap] += dy[i] * x[pixel];
        }
}
// gradoracle: max_pool1d = pool(x, y, indices, N * C, L, OL, KW, SW, PW, DW)
void pool(const float *x, float *y, long *places, int rows, int l, int ol, int k, int s, int p,
          int d) {
    for (int i = 0; i < rows * ol; i++) {
        const float *row = x + i / ol * l;
        long best = -1;
        for (int t = 0; t < k; t++) {
            int at = i % ol * s - p + t * d;
            if (at < 0 || at >= l) continue;
            if (best < 0 || !(row[at] <= row[best] || row[best] != row[best])) best = at;
        }
        y[i] = row[best];
        places[i] = best;
    }
}
"""
LOOKUPS = """
#include <stdbool.h>
// gradoracle: domain embedding: padding_idx = None
// gradoracle: embedding = lookup(input, weight, y, N, E)
void lookup(const int *ids, const float *w, float *y, int n, int e) {
    for (int i = 0; i < n * e; i++) y[i] = w[ids[i / e] * e + i % e];
}
// gradoracle: embedding_grad = scatter(grad_output, input, zero(dweight), N, E)
void scatter(const float *dy, int *ids, float *dw, int n, int e) {
    for (int i = 0; i < n * e; i++) dw[ids[i / e] * e + i % e] += dy[i];
}
// gradoracle: dropout_with_mask = drop(z, mask, y, z.size, p)
void drop(const float *z, const bool *mask, float *y, int n, float p) {
    for (int i = 0; i < n; i++) y[i] = mask[i] ? z[i] / (1 - p) : 0;
}
// gradoracle: domain dropout_with_mask: p = 0.5 or 0.1
// gradoracle: dropout_with_mask_grad = drop_back(grad_output, mask, dz, dz.size, p)
void drop_back(const float *dy, const unsigned char *mask, float *dz, int n, float p) {
    for (int i = 0; i < n; i++) dz[i] = dy[i] * mask[i] * (1 / (1 - p));
}
// gradoracle: domain add: alpha = 1, broadcast = False
// gradoracle: add = residual(y, input, other, y.size)
void residual(float *out, const float *a, const float *b, int n) {
    for (int i = 0; i < n; i++) out[i] = a[i] + b[i];
}
"""
STEPS = """
#include <math.h>
// gradoracle: adamw_step = adamw(copy(parameter), gradient, copy(exp_avg), copy(exp_avg_sq),
//     parameter.size, learning_rate, beta1, beta2, eps, weight_decay, 1 - pow(beta1, step),
//     1 - pow(beta2, step))
void adamw(float *p, const float *g, float *m, float *v, long n, float lr, float b1, float b2,
           float eps, float decay, double c1, double c2) {
    for (long i = 0; i < n; i++) {
        m[i] = b1 * m[i] + (1 - b1) * g[i];
        v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
        p[i] -= lr * ((m[i] / c1) / (sqrt(v[i] / c2) + eps) + decay * p[i]);
    }
}
// gradoracle: domain sgd_momentum_step: momentum_buffer required, nesterov = False,
//     dampening = 0, weight_decay = 0
// gradoracle: sgd_momentum_step = sgd(copy(parameter), gradient, copy(momentum_buffer),
//     gradient.size, learning_rate, momentum)
void sgd(float *p, const float *g, float *buffer, int n, float lr, float momentum) {
    for (int i = 0; i < n; i++) {
        buffer[i] = momentum * buffer[i] + g[i];
        p[i] -= lr * buffer[i];
    }
}
// gradoracle: split = cut(input, first, second, sections[0], sections[1], input.size, axis)
// gradoracle: domain split: axes = 1
void cut(const float *x, float *a, float *b, int p, int q, int n, int axis) {
    for (int i = 0; i < p; i++) a[i] = x[i];
    for (int i = 0; i < q; i++) b[i] = x[p + i];
}
"""
JOINED = """
#include <math.h>
// gradoracle: domain cat: axes = 1, third absent
// gradoracle: cat = join(first, second, y, first.size, second.size)
void join(const float *a, const float *b, float *y, long n, long m) {
    for (long i = 0; i < n; i++) y[i] = a[i];
    for (long i = 0; i < m; i++) y[n + i] = b[i];
}
// gradoracle: domain scatter_add: axes = 1
// gradoracle: scatter_add = add_at(copy(input), index, src, index.size)
void add_at(float *y, const long *at, const float *src, long n) {
    for (long i = 0; i < n; i++) y[at[i]] += src[i];
}
// gradoracle: clip_grad_norm = clip(first, second, clipped_first, clipped_second, total_norm,
//     first.size, second.size, max_norm)
void clip(const float *a, const float *b, float *ca, float *cb, float *norm, long n, long m,
          float most) {
    double s = 0;
    for (long i = 0; i < n; i++) s += (double)a[i] * a[i];
    for (long i = 0; i < m; i++) s += (double)b[i] * b[i];
    double share = most / (sqrt(s) + 1e-6);
    if (share > 1) share = 1;
    for (long i = 0; i < n; i++) ca[i] = a[i] * share;
    for (long i = 0; i < m; i++) cb[i] = b[i] * share;
    *norm = sqrt(s);
}
"""
TEXTS = {"joined": JOINED, "sequences": SEQUENCES, "lookups": LOOKUPS, "steps": STEPS}
# A text, what is changed in it, and the functions that are wrong then.
FAULTS = {
    "the second part of a norm": (
        "joined", "s += (double)b[i] * b[i]", "s += (double)b[i]", {"clip_grad_norm"},
    ),
    "what was there is lost": ("joined", "y[at[i]] += src", "y[at[i]] = src", {"scatter_add"}),
    "no padding": ("sequences", "% ol * s - p;", "% ol * s;", {"conv1d"}),
    "the gradient of the input goes to the next pixel": (
        "sequences", "dx[pixel] += dy[i] * w[tap]", "dx[pixel] += dy[i] * w[(tap + 1) % k]",
        {"conv1d_grad_input"},
    ),
    "the weight's gradient is of one image": (
        "sequences", "dw[tap] += dy[i] * x[pixel]", "dw[tap] = dy[i] * x[pixel]",
        {"conv1d_grad_weight"},
    ),
    "the last maximum": ("sequences", "!(row[at] <= ", "!(row[at] < ", {"max_pool1d_indices"}),
    "rows found once only": ("lookups", "% e] += dy[i]", "% e] = dy[i]", {"embedding_grad"}),
    "no scale": ("lookups", "z[i] / (1 - p)", "z[i]", {"dropout_with_mask"}),
    "a gradient without its mask": ("lookups", "dy[i] * mask[i] *", "dy[i] *",
                                    {"dropout_with_mask_grad"}),
    "decay of the gradient": ("steps", "+ decay * p[i])", "+ decay * g[i])",
                              {"adamw_step"}),
    "the second moment as the first": (
        "steps", "(1 - b2) * g[i] * g[i]", "(1 - b2) * g[i]",
        {"adamw_step"},
    ),
    "a buffer that is not kept": ("steps", "buffer[i] = momentum * buffer[i] + g[i]",
                                  "buffer[i] = momentum + g[i]",
                                  {"sgd_momentum_step"}),
    "the second part begins early": ("steps", "x[p + i]", "x[p + i - 1]", {"split"}),
}  # fmt: skip


@pytest.fixture
def source(tmp_path):
    def write(text, name="kernel.c"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_kernels_of_further_functions_are_certified(source, name):
    certificate = gradoracle.check(source(TEXTS[name]), examples=8, seed=1)
    assert not certificate.mismatches, certificate.text()
    called = {o.formula for o in certificate.outcomes if o.judged}
    assert {output_of(FORMULAS[one][1]).function for one in called} >= {
        line.split(" = ")[0].split(": ")[1].split(", ")[0]
        for line in TEXTS[name].splitlines() if line.startswith("// gradoracle: ")
        and ": domain" not in line
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_further_function_is_found(source, fault):
    name, old, new, wrong = FAULTS[fault]
    assert old in TEXTS[name]
    operators = {FORMULAS[one][0].name for one in wrong}
    certificate = gradoracle.check(
        source(TEXTS[name].replace(old, new)), operators=[*operators], examples=10, seed=1
    )
    assert {one.formula for one in certificate.mismatches} & wrong, certificate.text()


KERNEL = """
// gradoracle: pixel_shuffle = shuffle<<<ceil_div(y.size, 64), 64>>>(
//     x, y, C, OH, OW, upscale_factor, y.size)
__global__ void shuffle(const float *x, float *y, int c, int oh, int ow, int r, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int w = i % ow, h = i / ow % oh, k = i / ow / oh;
    y[i] = x[((k * r + h % r) * r + w % r) * (oh / r) * (ow / r) + h / r * (ow / r) + w / r];
}
"""


def test_a_kernel_of_cuda_may_be_of_a_further_function(source):
    found = gradoracle.check(source(KERNEL, "k.cu"), operators=["pixel_shuffle"], examples=3)
    assert not found.mismatches, found.text()
    assert sum(one.judged for one in found.outcomes)
    wrong = source(KERNEL.replace("(k * r + h % r) * r + w % r", "(k * r + w % r) * r + h % r"),
                   "w.cu")  # fmt: skip
    found = gradoracle.check(wrong, operators=["pixel_shuffle"], examples=3)
    assert found.mismatches


def test_a_parameter_that_does_not_fit_is_told_before_the_first_call(source):
    text = LOOKUPS.replace("const bool *mask", "const double *mask")
    with pytest.raises(gradoracle.UnusableBackend, match="mask"):
        gradoracle.check(source(text), operators=["dropout_with_mask"], examples=2)
    unknown = source(LOOKUPS.replace("embedding = ", "embeding = "))
    with pytest.raises(SourceError, match="no function 'embeding'"):
        backend(unknown)


def test_shapes_are_of_zeros_and_of_the_callers_integers(monkeypatch):
    given = []

    def gather(array, index, *, axis, own=im2col.gather):
        given.append((array, index))
        return own(array, index, axis=axis)

    monkeypatch.setattr(im2col, "gather", gather)
    index = np.array([[1, 0]], np.int64)
    call = {"input": np.full((2, 2), np.nan, np.float32), "index": index, "axis": 0}
    assert RESULTS["gather"].of({**call, "policies": {}})["shape"] == (1, 2)
    ((array, places),) = given
    assert not array.any()
    assert places.tolist() == index.tolist()
    with pytest.raises(ValueError, match="must be 0 to 1"):
        RESULTS["gather"].of({**call, "index": index + 5, "policies": {}})
