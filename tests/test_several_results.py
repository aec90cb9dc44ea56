"""Functions of several results: all gradients at once, and outputs of a forward formula."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends import backend as backends
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.call_list import own_seed
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.normalisations import LAYER_NORM
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import output_of, parts_of, same_part, whole_of
from gradoracle.oracle.expected import truth as expected
from gradoracle.oracle.expected import walks

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3, 4, 5)
EXAMPLES = 12
BOUND = "within_rounding_bound"


def outcome(record, functions, formula, name=BOUND, seed=1, examples=EXAMPLES):
    backend = wrap(SimpleNamespace(**functions))
    return examine(
        backend, record, formula, PROPERTIES[name], examples=examples, seed=seed
    )  # fmt: skip


# -- all gradients at once -------------------------------------------------------------------------


def arrays(seed=0):
    random = np.random.default_rng(seed)
    x, dy = random.normal(size=(2, 2, 3, 4))
    return dy, x, *random.normal(size=(2, 4))


def test_all_gradients_are_the_single_ones():
    dy, x, weight, bias = arrays()
    dx, dweight, dbias = oracle.layer_norm_vjp(dy, x, weight, bias, eps=1e-3)
    assert np.array_equal(dx, oracle.layer_norm_grad_x(dy, x, weight, eps=1e-3))
    assert np.array_equal(dweight, oracle.layer_norm_grad_weight(dy, x, eps=1e-3))
    assert np.array_equal(dbias, dy.sum((0, 1)))
    assert oracle.layer_norm_vjp(dy, x, None, bias, eps=1e-3)[1] is None


def test_an_operator_of_one_gradient_has_no_vjp():
    assert not hasattr(oracle, "gelu_vjp")
    assert [output_of(one) for one in parts_of(oracle.layer_norm_vjp)] == [
        ("layer_norm_vjp", at) for at in range(3)
    ]


def test_a_report_names_the_gradient_and_its_script_takes_it_from_the_tuple():
    def wrong(dy, x, weight=None, bias=None, *, eps):
        dx, dweight, dbias = im2col.layer_norm_vjp(dy, x, weight, bias, eps=eps)
        return dx, None if dweight is None else 2 * dweight, dbias

    found = outcome(LAYER_NORM, {"layer_norm_vjp": wrong}, LAYER_NORM.vjp)
    assert (found.formula, found.status) == ("layer_norm_vjp", "mismatch")
    assert found.mismatch.headline.startswith("layer_norm_vjp[1] (dweight)[")
    assert "dweight[k] = sum_i dy[i] (d y[i] / d weight[k])" in found.mismatch.text
    assert "backend.layer_norm_vjp(grad_output, x, weight, bias, eps=" in found.mismatch.script
    assert ")[1]" in found.mismatch.script


def test_a_call_is_made_once_for_all_gradients():
    made = []

    def counted(dy, x, weight=None, bias=None, *, eps):
        made.append(x.shape)
        return im2col.layer_norm_vjp(dy, x, weight, bias, eps=eps)

    found = outcome(LAYER_NORM, {"layer_norm_vjp": counted}, LAYER_NORM.vjp)
    calls = sum(sum(of.values()) for of in found.calls.values())
    again = found.not_judged + found.planted  # those with wrong answers in place of the right ones
    assert (found.status, len(made)) == ("passed", calls + again)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dx, dw, db: (dx, dw), "a tuple of 2 (float"),
        (lambda dx, dw, db: dx, "want 3 results"),
        (lambda dx, dw, db: (dx, None, db), "None as result 1, want an array"),
        (lambda dx, dw, db: (dx, dw, dx if db is None else db), "want None, as its argument is"),
    ],
)
@pytest.mark.usefixtures("verdicts_only")
def test_what_is_no_tuple_of_all_gradients_is_reported(change, said):
    def wrong(*given, eps):
        return change(*im2col.layer_norm_vjp(*given, eps=eps))

    found = outcome(LAYER_NORM, {"layer_norm_vjp": wrong}, LAYER_NORM.vjp)
    assert found.status == "mismatch"
    assert said in found.mismatch.headline


def test_one_answer_is_checked_in_a_test_of_ones_own():
    dy, x, weight, _ = arrays()
    right = im2col.layer_norm_vjp(dy, x, weight, None, eps=1e-3)

    def check(got):
        gradoracle.assert_within_bound(
            got, "layer_norm_vjp", grad_output=dy, x=x, weight=weight, eps=1e-3
        )

    check(right)
    with pytest.raises(AssertionError, match=r"layer_norm_vjp\[1\] \(dweight\)\[0\]: got"):
        check((right[0], right[1] + 1, None))
    with pytest.raises(AssertionError, match="result 2 must be None, as bias is"):
        check((right[0], right[1], right[1]))
    with pytest.raises(AssertionError, match="got 2 results, want 3"):
        check(right[:2])


# -- outputs of a forward formula ------------------------------------------------------------------


@gradoracle.operator(
    "x: n c; weight: c", outputs=("y: n c", "mean: n", "rstd: n"), images="kept",
    options={"eps": (1e-5, 1e-3, 0.5)}, words={"n": "rows"},
)  # fmt: skip
def norm_saved(x, weight, *, eps):
    """Return (y, mean, rstd): y [N, C] and the statistics [N] that a backward pass needs.

        y = (x - mean) rstd weight,  rstd = 1 / sqrt(sum_c (x - mean)^2 / C + eps)

    (a test's own formula).
    """
    mean = x.mean(1, keepdims=True)
    centred = x - mean
    root = np.sqrt((centred * centred).mean(1, keepdims=True) + eps)
    return centred / root * weight, mean.reshape(-1), 1 / root.reshape(-1)


@gradoracle.operator(
    "x: n c; mean: c; var: c", outputs=("new_mean: c", "new_var: c"), by=(),
    options={"momentum": (0.1, 0.5)}, least={"n": 2},
)  # fmt: skip
def running_statistics(x, mean, var, *, momentum):
    """Return (new_mean, new_var) [C], the running statistics after a batch x [N, C].

        new_mean = (1 - m) mean + m sum_n x / N
        new_var = (1 - m) var + m sum_n (x - sum_n x / N)^2 / (N - 1)

    (a test's own formula, as PyTorch's batch norm has them).
    """
    of_batch = x.mean(0, keepdims=True)
    squares = ((x - of_batch) * (x - of_batch)).sum(0)
    new_var = var * (1 - momentum) + squares / (len(x) - 1) * momentum
    return mean * (1 - momentum) + of_batch.reshape(-1) * momentum, new_var


def statistics(x, eps):
    mean = x.mean(1)
    centred = x - mean[:, None]
    return centred, mean, 1 / np.sqrt((centred * centred).mean(1) + x.dtype.type(eps))


def norm_saved_right(x, weight, *, eps):
    centred, mean, rstd = statistics(x, eps)
    return centred * rstd[:, None] * weight, mean, rstd


def norm_saved_grad_x_right(dy, x, weight, *, eps):
    centred, _, rstd = statistics(x, eps)
    g, xhat = dy * weight, centred * rstd[:, None]
    along = (g * xhat).mean(1, keepdims=True)
    return (g - g.mean(1, keepdims=True) - xhat * along) * rstd[:, None]


def norm_saved_vjp_right(dy, x, weight, *, eps):
    centred, _, rstd = statistics(x, eps)
    dweight = (dy * (centred * rstd[:, None])).sum(0)
    return norm_saved_grad_x_right(dy, x, weight, eps=eps), dweight


def running_right(x, mean, var, *, momentum):
    m = x.dtype.type(momentum)
    return (1 - m) * mean + m * x.mean(0), (1 - m) * var + m * x.var(0, ddof=1)


RIGHT = {
    "norm_saved": (norm_saved, norm_saved_right),
    "norm_saved_vjp": (norm_saved, norm_saved_vjp_right),
    "running_statistics": (running_statistics, running_right),
}


@pytest.fixture
def known(monkeypatch):
    every = [output_of(f).function for r in (norm_saved, running_statistics) for f in r.formulas]
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", tuple(dict.fromkeys(every)))


def whole(record, function):
    return next(f for f in record.formulas if f.__name__ == function)


@pytest.mark.parametrize("function", RIGHT)
@pytest.mark.usefixtures("verdicts_only", "known")
def test_right_functions_of_several_results_pass_every_check(function):
    record, right = RIGHT[function]
    functions = {function: right, record.name: RIGHT[record.name][1]}
    formula, found = whole(record, function), {}
    for name, of in PROPERTIES.items():
        if formula in of.formulas(record) and not of.needs_torch:
            found[name] = outcome(record, functions, formula, name, examples=4)
    left = {n: (o.status, o.reason) for n, o in found.items() if o.status == "mismatch"}
    assert left == {}
    passed = {n for n, o in found.items() if o.status == "passed"}
    assert {BOUND, "returns_what_the_protocol_says", "leaves_inputs_unchanged"} <= passed


def swapped(x, weight, *, eps):
    y, mean, rstd = norm_saved_right(x, weight, eps=eps)
    return y, rstd, mean


def of_columns(x, weight, *, eps):
    y, _, rstd = norm_saved_right(x, weight, eps=eps)
    return y, np.resize(x.mean(0), len(x)).astype(x.dtype), rstd


def without_eps(x, weight, *, eps):
    y, mean, _ = norm_saved_right(x, weight, eps=eps)
    with np.errstate(all="ignore"):
        return y, mean, statistics(x, 0)[2]


def deviation(x, weight, *, eps):
    y, mean, rstd = norm_saved_right(x, weight, eps=eps)
    return y, mean, 1 / rstd


def kept_axes(x, weight, *, eps):
    y, mean, rstd = norm_saved_right(x, weight, eps=eps)
    return y, mean[:, None], rstd[:, None]


def short_vjp(dy, x, weight, *, eps):
    dx, dweight = norm_saved_vjp_right(dy, x, weight, eps=eps)
    return dx + dy.mean(1, keepdims=True) / 2, dweight


def biased(x, mean, var, *, momentum):
    m = x.dtype.type(momentum)
    return running_right(x, mean, var, momentum=momentum)[0], (1 - m) * var + m * x.var(0)


def wrong_way(x, mean, var, *, momentum):
    return running_right(x, mean, var, momentum=1 - momentum)


def mean_for_both(x, mean, var, *, momentum):
    new_mean, _ = running_right(x, mean, var, momentum=momentum)
    return new_mean, new_mean


WRONG = {
    swapped: "norm_saved", of_columns: "norm_saved", without_eps: "norm_saved",
    deviation: "norm_saved", kept_axes: "norm_saved", short_vjp: "norm_saved_vjp",
    biased: "running_statistics", wrong_way: "running_statistics",
    mean_for_both: "running_statistics",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda f: f.__name__)
@pytest.mark.usefixtures("verdicts_only", "known")
def test_a_wrong_result_is_caught_from_every_seed(wrong):
    record, _ = RIGHT[WRONG[wrong]]
    formula = whole(record, WRONG[wrong])
    for seed in SEEDS:
        found = outcome(record, {WRONG[wrong]: wrong}, formula, seed=seed)
        assert found.status == "mismatch", seed


def test_outputs_are_declared_with_their_axes():
    y, mean, rstd = parts_of(norm_saved.formulas[0])
    assert (y, mean.__name__, output_of(rstd)) == (
        norm_saved.formula, "norm_saved[1] (mean)", ("norm_saved", 2),
    )  # fmt: skip
    assert [f.__name__ for f in running_statistics.formulas] == ["running_statistics"]
    with pytest.raises(ValueError, match="'mean n' does not say a result's axes, such as"):
        gradoracle.operator("x: n c", outputs=("y: n c", "mean n"))(norm_saved_right)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["rms_norm_grad_x", "prelu_grad_weight", "layer_norm_grad_x", "group_norm_grad_bias"]
)
def test_a_gradient_that_is_walked_with_all_of_them_has_the_same_bound(name, dtype, monkeypatch):
    operator, formula = next((o, f) for o in OPERATORS for f in o.formulas if f.__name__ == name)
    assert whole_of(same_part(formula)).__name__ == f"{operator.name}_vjp"
    geometries = []
    draw(operator, "medium", 5, 3, geometries.extend)
    found = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(expected, "same_part", lambda formula: formula)
        expected._kept.clear()
        for at, geometry in enumerate(geometries):
            styles = operator.styles.of("floats")
            call = operator.call(geometry.sizes, styles[at % len(styles)], at, dtype)
            found.append(expected.truth(formula, call).bound(dtype, dtype))
    for one, other in zip(found[:5], found[5:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_gradient_is_walked_alone_where_what_only_others_take_does_not_fit():
    operator = next(one for one in OPERATORS if one.name == "layer_norm")
    formula = next(f for f in operator.formulas if f.__name__ == "layer_norm_grad_bias")
    call = {
        "grad_output": np.ones((2, 1, 3)), "x": np.ones((2, 1, 3)), "weight": np.ones(3),
        "bias": np.ones(3), "eps": 0.5,
    }  # fmt: skip
    found = [
        expected.truth(formula, {**call, "bias": bias}).bound("float64", "float64")
        for bias in (call["bias"], np.ones(5))
    ]
    np.testing.assert_array_equal(*found)


def test_walks_are_kept_as_far_as_there_is_room_and_the_first_ones_of_a_formula_stay():
    made, kept = [], walks._Kept(room=300)

    def ask(whole, key):
        def make():
            made.append((whole, key))
            return [(np.zeros(8), np.zeros(8))]  # 128 bytes

        return kept.get(whole, key, make)

    for key in (1, 2, 3, 3, 1, 2):
        ask("one", key)
    assert made == [("one", 1), ("one", 2), ("one", 3)]  # the third is known until another comes
    ask("another", 1)  # what was kept of the first formula goes
    ask("another", 1)
    ask("one", 1)
    assert made[3:] == [("another", 1), ("one", 1)]


def test_gradients_that_are_walked_together_are_checked_on_the_same_calls():
    operator = next(o for o in OPERATORS if o.name == "prelu")
    seeds = {
        formula.__name__: own_seed(
            Examination(wrap(im2col), operator, formula, PROPERTIES["within_rounding_bound"], 1, 9)
        )
        for formula in operator.formulas
    }
    assert seeds["prelu_grad_x"] == seeds["prelu_grad_weight"] == seeds["prelu_vjp"]
    assert seeds["prelu"] != seeds["prelu_vjp"]


def test_a_large_call_is_walked_once_for_all_results_and_a_very_large_one_is_not_kept(monkeypatch):
    """Kept, the results of a very large call would fill the memory."""
    walks = []
    lines = expected.running_error_arrays.lines
    monkeypatch.setattr(
        expected.running_error_arrays, "lines", lambda *a, **o: walks.append(1) or lines(*a, **o)
    )
    operator = next(o for o in OPERATORS if o.name == "mse_loss")
    whole = operator.formulas[-1]
    for most, once in ((2**20, 1), (5000, 2)):
        monkeypatch.setattr(expected, "LARGEST", most)
        numbers = np.linspace(-1, 1, 6000 + most % 7, dtype=np.float32)[:, np.newaxis]
        call = {"grad_output": np.float32(1), "input": numbers, "target": -numbers}
        for part in parts_of(whole):
            expected.truth(part, {**call, "reduction": "sum"}).bound("float32", "float32")
        assert len(walks) == once
        walks.clear()
