"""Operators of operators, `gradoracle.compose`: blocks, axes, right kernels and wrong ones."""

import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends import backend as backends
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.drawing.choices import ROW, Choices
from gradoracle.conformance.operators import SHIPPED
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.reports.explain import loops
from gradoracle.implementations import im2col
from gradoracle.oracle.composition.blocks import BLOCKS
from gradoracle.oracle.declaration import argument_names, displayed, evaluate, output_of
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.numbers.branches import each_element
from gradoracle.oracle.numbers.reverse import TracedArray, gradient
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.numbers.running_error_arrays import Lanes

SEEDS = (1, 2, 3, 4, 5)
FINE = ("passed", "not claimed", "not run")  # what a certificate may have
BOUND = "within_rounding_bound"
RECORDS = {one.name: one for one in SHIPPED}

CONV = gradoracle.compose("conv_relu_add", "relu(conv2d(x, weight, bias) + residual)")
GATE = gradoracle.compose("gate", "relu(x * scale)")
GATED = gradoracle.compose("swiglu", "silu(linear(x, w)) * linear(x, v)")
NORM = gradoracle.compose("add_norm", "layer_norm(x + residual, weight, bias)")
HEAD = gradoracle.compose(
    "head", "cross_entropy_loss(linear(x, weight, bias), target, label_smoothing=0.0)"
)
POOL = gradoracle.compose(
    "conv_pool",
    "max_pool2d(conv2d(x, weight, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1))",
)

# -- blocks beside the formulas that they stand for ------------------------------------------------


def calls_of(record, count=12):
    """Return calls of whole numbers, by the record's own generator."""
    random = np.random.default_rng(7)
    style = (record.styles.exact or record.styles.slopes)[0]
    found = []
    while len(found) < count:
        drawn = record.geometry(Choices(random.bytes(ROW)), "small")
        found.append(record.call(drawn.sizes, style, drawn.seed, "float64"))
    return found


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_its_loops_forward_and_back(name):
    record = RECORDS[name]
    arrays, options = argument_names(record.formula)
    for call in calls_of(record):
        given = {n: None if call[n] is None else TracedArray(call[n]) for n in arrays}
        chosen = {n: call[n] for n in options}
        with np.errstate(all="ignore"):
            found = BLOCKS[name](*given.values(), **chosen)
        want = evaluate(record.formula, call)
        np.testing.assert_allclose(found.held, want, rtol=1e-13, atol=1e-13)
        for formula, argument in record.gradients.items():
            if argument not in given or given[argument] is None or "indices" in call:
                continue
            back = gradient(found, call["grad_output"], given[argument])
            np.testing.assert_allclose(back, evaluate(formula, call), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_gradient_of_a_max_pooling_goes_to_the_first_maximum(rank):
    record = RECORDS[f"max_pool{rank}d"]
    vjp = next(f for f in record.gradients if f.__name__.endswith("_vjp"))
    for call in calls_of(record):
        x = TracedArray(call["x"])
        options = {n: call[n] for n in argument_names(record.formula)[1]}
        back = gradient(BLOCKS[record.name](x, **options), call["grad_output"], x)
        assert np.array_equal(back, evaluate(vjp, call))


# -- functions with branches, element by element ---------------------------------------------------


def test_elements_part_at_a_branch_and_come_back_in_their_places():
    def steps(z):
        if z > 1:
            return z * z
        return 3 * z if z > 0 else 0 * z - 1

    z = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
    given = TracedArray(z)
    found = each_element(steps, given)
    assert np.array_equal(found.held, [[4, -1, 1.5], [-1, 3, 9]])
    slope = gradient(found, np.full(z.shape, 2.0), given)
    assert np.array_equal(slope, [[8, 0, 6], [0, 6, 12]])


def test_where_rounding_decides_the_branch_both_slopes_are_allowed():
    unit = 2.0**-24
    arithmetic = Arithmetic(unit, 2.0**-149)
    z = Lanes(np.array([1e-9, 1.0]), np.array([1e-7, 1e-7]), arithmetic)
    given = TracedArray(z)
    found = each_element(lambda v: v if v > 0 else 0 * v, given)
    slope = gradient(found, z.constants(np.ones(2)), given)
    assert slope.value[0] + slope.error[0] >= 1
    assert slope.value[0] - slope.error[0] <= 0
    assert slope.error[1] < 1e-6


# -- axes and signatures ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "axes"),
    [
        (CONV, "x: n c (h w); weight: m c/g (p q); residual: n m i j; bias?: m; "
               "grad_output: n m i j"),
        (GATED, "x: n k; w: m k; v: m k; grad_output: n m"),
        (NORM, "x: n t c; residual: n t c; weight?: c; bias?: c; grad_output: n t c"),
        (HEAD, "x: n k; weight: m k; target: n; bias?: m; grad_output: n"),
        (POOL, "x: n c (h w); weight: m c/g (p q); grad_output: n m a b"),
    ],
)  # fmt: skip
def test_axes_follow_from_the_operators(record, axes):
    assert record.axes.text == axes


def test_a_composition_has_a_gradient_by_each_array_that_its_operators_have_one_by():
    assert [*HEAD.gradients.values()] == ["x", "weight", "bias"]
    assert HEAD.vjp.__name__ == "head_vjp"
    assert [*CONV.values] == ["stride", "padding", "dilation", "groups"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("relu(conv2d(x)", "is no expression"),
        ("relu(conv9d(x, w))", "there is no operator 'conv9d'; there are "),
        ("x / y", "take names of arrays, numbers, [+], -, [*] and operators"),
        ("x + y", "names no operator"),
        ("relu(conv2d(x))", r"conv2d takes x, weight, bias, and is given 1 arrays"),
        ("relu(x, slope=2)", "relu has no option 'slope'; it takes none"),
        ("elu(elu(x))", "several operators of 'elu.*' take alpha: give each one a value or a name"),
        ("linear(relu(conv2d(x, w)), v)", "linear's x has the axes .n, k., and is given 4 axes"),
        ("batch_norm_update(x, m, v)", "batch_norm_update cannot be composed: take one of relu"),
        ("relu(alpha) + elu(x, alpha=alpha)", "'alpha' is an array and an option"),
    ],
)  # fmt: skip
def test_what_cannot_be_composed_is_refused_with_what_can(expression, said):
    with pytest.raises(ValueError, match=said):
        gradoracle.compose("f", expression)


def test_options_and_sizes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="f has no option 'stride'"):
        gradoracle.compose("f", "relu(linear(x, w))", options={"stride": (1,)})
    with pytest.raises(ValueError, match="no array has an axis 'q'; there are n, k, m"):
        gradoracle.compose("f", "relu(linear(x, w))", sizes={"q": 3})


def test_lengths_can_be_fixed_and_an_image_is_as_large_as_windows_need():
    down = gradoracle.compose(
        "down", "relu(conv2d(x, w, padding=(1, 1), dilation=(1, 1), groups=1, stride=stride)"
        " + conv2d(x, v, padding=(0, 0), dilation=(1, 1), groups=1, stride=stride))",
        sizes={"p": 3, "q": 3, "a": 1, "b": 1},
    )  # fmt: skip
    for call in calls_of(down, 20):
        assert call["w"].shape[2:] == (3, 3)
        assert call["v"].shape[2:] == (1, 1)
    shape = POOL.arguments(POOL.corners[0].sizes | {"p": 9, "h": 1, "w": 1}).shapes["x"]
    assert shape[2] >= 8


def test_explain_has_the_expression_and_the_loops_of_its_parts():
    equation, source = displayed(CONV.formula)
    assert equation.startswith("y = relu(conv2d(x, weight, bias) + residual), with\n")
    assert "conv2d: y[n,m,i,j] = bias[m]" in equation
    assert source == "the formulas of conv2d, relu, composed"
    assert "_sum_by_window" in "\n".join(loops(CONV.formula))


@pytest.mark.slow
def test_a_file_of_compositions_is_named_by_its_path(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    expression = "silu(linear(x, w)) * linear(x, v)"
    text = f'import gradoracle\nGATED = gradoracle.compose("gated", {expression!r})\n'
    (folder / "fused.py").write_text(text)

    def run(*arguments):
        command = [sys.executable, "-m", "gradoracle", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    found = run("explain", "gated_grad_w", "--operators-from", "elsewhere/fused.py", "--all")
    assert found.returncode == 0, found.stderr
    assert expression in found.stdout
    missing = run("explain", "gated", "--operators-from", "./nowhere.py")
    assert missing.returncode == 2
    assert "there is no file" in " ".join(missing.stderr.replace("│", " ").split())
    (folder / "json.py").write_text("")
    shadowed = run("explain", "gated", "--operators-from", "elsewhere/json.py")
    told = " ".join(shadowed.stderr.replace("│", " ").split())  # lines end where a path lets them
    assert "rename the file" in told


# -- right kernels, and wrong ones -----------------------------------------------------------------


def conv_right(x, weight, residual, bias=None, **options):
    return np.maximum(im2col.conv2d(x, weight, bias, **options) + residual, 0)


def conv_back(dy, x, weight, residual, bias=None, *, mask=None, images=slice(None), **options):
    z = im2col.conv2d(x, weight, bias, **options)
    passed = dy * ((z + residual if mask is None else mask(z, residual)) > 0)
    shapes = {"input_shape": x.shape}, {"weight_shape": weight.shape}
    return (
        im2col.conv2d_grad_input(passed, weight, **shapes[0], **options),
        im2col.conv2d_grad_weight(passed, x, **shapes[1], **options),
        passed,
        None if bias is None else passed[images].sum((0, 2, 3)),
    )


def gated_right(x, w, v):
    return im2col.silu(x @ w.T) * (x @ v.T)


def gated_back(dy, x, w, v):
    a, b = x @ w.T, x @ v.T
    da, db = im2col.silu_grad(dy * b, a), dy * im2col.silu(a)
    return da @ w + db @ v, da.T @ x, db.T @ x


def norm_right(x, residual, weight=None, bias=None, *, eps):
    return im2col.layer_norm(x + residual, weight, bias, eps=eps)


def norm_back(dy, x, residual, weight=None, bias=None, *, eps):
    dx, dweight, dbias = im2col.layer_norm_vjp(dy, x + residual, weight, bias, eps=eps)
    return dx, dx, dweight, dbias


def head_right(x, weight, target, bias=None, *, ignore_index, reduction):
    logits = im2col.linear(x, weight, bias)
    return im2col.cross_entropy_loss(
        logits, target, label_smoothing=0.0, ignore_index=ignore_index, reduction=reduction
    )


RIGHT = {
    "conv_relu_add": (CONV, conv_right), "conv_relu_add_vjp": (CONV, conv_back),
    "swiglu": (GATED, gated_right), "swiglu_vjp": (GATED, gated_back),
    "add_norm": (NORM, norm_right), "add_norm_vjp": (NORM, norm_back),
    "head": (HEAD, head_right),
}  # fmt: skip


def narrow(array):
    """Round to half precision on the way."""
    return array.astype(np.float16).astype(array.dtype)


WRONG = {
    "the residual after the rectifier": ("conv_relu_add", lambda x, w, r, b=None, **o:
        np.maximum(im2col.conv2d(x, w, b, **o), 0) + r),
    "an activation in half precision": ("conv_relu_add", lambda x, w, r, b=None, **o:
        np.maximum(narrow(im2col.conv2d(x, w, b, **o)) + r, 0)),
    "no bias": ("conv_relu_add", lambda x, w, r, b=None, **o:
        np.maximum(im2col.conv2d(x, w, None, **o) + r, 0)),
    "the mask without the residual": ("conv_relu_add_vjp",
        partial(conv_back, mask=lambda z, residual: z)),
    "the mask of the result's sign turned": ("conv_relu_add_vjp",
        partial(conv_back, mask=lambda z, residual: -(z + residual))),
    "a bias of the first images": ("conv_relu_add_vjp", partial(conv_back, images=slice(0, 1))),
    "the gate on the other product": ("swiglu", lambda x, w, v: gated_right(x, v, w)),
    "a sigmoid for a gate": ("swiglu", lambda x, w, v: im2col.sigmoid(x @ w.T) * (x @ v.T)),
    "a gate in half precision": ("swiglu", lambda x, w, v:
        narrow(im2col.silu(x @ w.T)) * (x @ v.T)),
    "dx of one branch": ("swiglu_vjp", lambda dy, x, w, v: (
        (dy * im2col.silu(x @ w.T)) @ v, *gated_back(dy, x, w, v)[1:])),
    "gradients exchanged": ("swiglu_vjp", lambda dy, x, w, v: (
        gated_back(dy, x, w, v)[0], *gated_back(dy, x, w, v)[:0:-1])),
    "no residual": ("add_norm", lambda x, r, w=None, b=None, *, eps:
        im2col.layer_norm(x, w, b, eps=eps)),
    "the residual after the normalisation": ("add_norm", lambda x, r, w=None, b=None, *, eps:
        im2col.layer_norm(x, w, b, eps=eps) + r),
    "a residual without a gradient": ("add_norm_vjp", lambda dy, x, r, w=None, b=None, *, eps: (
        norm_back(dy, x, r, w, b, eps=eps)[0], 0 * r, *norm_back(dy, x, r, w, b, eps=eps)[2:])),
    "labels that are not ignored": ("head", lambda x, w, t, b=None, *, ignore_index, reduction:
        head_right(x, w, np.where(t < 0, 0, t), b, ignore_index=-7, reduction=reduction)),
}  # fmt: skip


@pytest.fixture
def known(monkeypatch):
    every = [output_of(f).function for r in (CONV, GATED, NORM, HEAD, GATE) for f in r.formulas]
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", tuple(dict.fromkeys(every)))


def outcome(record, functions, function, name=BOUND, **how):
    formula = next(f for f in record.formulas if output_of(f).function == function)
    given = {"examples": 60, "seed": 1, **how}
    return examine(wrap(SimpleNamespace(**functions)), record, formula, PROPERTIES[name], **given)


@pytest.mark.slow
@pytest.mark.parametrize("function", RIGHT)
@pytest.mark.usefixtures("verdicts_only", "known")
def test_right_fused_kernels_pass_every_check(function):
    record, right = RIGHT[function]
    functions = {function: right, record.name: RIGHT[record.name][1]}
    formula, checked = next(f for f in record.formulas if f.__name__ == function), 0
    for name, of in PROPERTIES.items():
        if formula not in of.formulas(record):
            continue
        found = outcome(record, functions, function, name, examples=4)
        assert found.status in FINE, (name, found.status, found.reason)
        checked += found.status == "passed"
    assert checked > 5


def gated(x, scale):
    product = x * scale
    return np.where(product > 0, product, np.where(np.isnan(product), product, x.dtype.type(0)))


def gated_vjp(dy, x, scale):
    g = np.where(x * scale > 0, dy, x.dtype.type(0))
    return g * scale, g * x


@pytest.mark.slow
@pytest.mark.usefixtures("known")
def test_a_slope_at_nan_that_is_left_open_keeps_no_kernel_from_its_certificate():
    functions = {"gate": gated, "gate_vjp": gated_vjp}
    found = outcome(GATE, functions, "gate_vjp", "propagates_non_finite", examples=25)
    assert (found.status, found.judged) == ("not run", 0)
    assert found.reason == "no answer to NaN is settled on the calls that were drawn"
    wrong = {**functions, "gate_vjp": lambda dy, x, scale: (dy * scale, dy * x)}
    assert outcome(GATE, wrong, "gate_vjp", BOUND, examples=25).status == "mismatch"


@pytest.mark.slow
@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.usefixtures("verdicts_only", "known")
def test_a_wrong_fused_kernel_is_caught_from_every_seed(fault):
    function, wrong = WRONG[fault]
    record, _ = RIGHT[function]
    for seed in SEEDS:
        assert outcome(record, {function: wrong}, function, seed=seed).status == "mismatch", seed


def test_on_integers_a_composition_of_products_and_a_rectifier_is_exact():
    (call, *_) = calls_of(CONV)
    given = {n: call[n] for n in argument_names(CONV.formula)[0]}
    options = {n: call[n] for n in argument_names(CONV.formula)[1]}
    right = truth(CONV.formula, call)
    assert right.is_exact("float32", "float32")
    assert np.array_equal(
        right.as_float(np.dtype(np.float64)), conv_right(*given.values(), **options)
    )
