"""What libraries do otherwise than the protocol: claimed it is right, unclaimed it is wrong."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.contract import POLICIES, read_contract
from gradoracle.conformance.backends.registry import IN_PROCESS, load
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.certificate_json import scheme
from gradoracle.conformance.runs.loading import wrap
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import output_of
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.formulas.conventions import VARIANTS
from tests.claimed_ways import log_of_sum, one_pass, unshifted_log_softmax
from tests.planted.max_pool2d import scan
from tests.planted.max_pool2d_back import to_all_maxima

pytestmark = pytest.mark.slow

NARROW = {"dtypes": ["float32"]}
ORACLES = ("matches_oracle", "within_rounding_bound")
OF_VALUES = (*ORACLES, "propagates_non_finite")


# -- right backends of every convention -----------------------------------------------------------


def relu_grad_of(share):
    return lambda grad_output, z: (
        good.relu_grad(grad_output, z)
        + np.where(z == 0, grad_output * grad_output.dtype.type(share), 0)
    )


def leaky_relu_grad_of(share):
    def leaky_relu_grad(grad_output, z, *, negative_slope):
        dz = good.leaky_relu_grad(grad_output, z, negative_slope=negative_slope)
        kind = grad_output.dtype.type
        at_zero = kind(share) + kind(1 - share) * kind(negative_slope)
        return np.where(z == 0, grad_output * at_zero, dz)

    return leaky_relu_grad


def comparing(x, **options):
    """As CUDA kernels find maxima: by >, from minus infinity on, which drops NaN."""
    return good.max_pool2d(np.where(np.isnan(x), x.dtype.type(-np.inf), x), **options)


def comparing_back(grad_output, x, **options):
    return good.max_pool2d_vjp(
        grad_output, np.where(np.isnan(x), x.dtype.type(-np.inf), x), **options
    )


def split(grad_output, x, **options):
    return to_all_maxima(grad_output, x, options, shared=True)


def pooling(dtype, origin=0):
    """A max pooling whose indices are of this dtype, and count in the whole array or not."""

    def offsets(shape, size):
        planes = np.arange(shape[0] * shape[1]).reshape(shape[0], shape[1], 1, 1)
        return origin * planes * size

    def max_pool2d(x, **options):
        y, indices = good.max_pool2d(x, **options)
        return y, (indices + offsets(y.shape, x.shape[2] * x.shape[3])).astype(dtype)

    def max_pool2d_grad_input(grad_output, indices, *, input_shape):
        if indices.dtype != dtype:
            raise TypeError(f"indices must be {np.dtype(dtype)}, got {indices.dtype}")
        if indices.ndim != 4:
            raise ValueError("indices need four axes")
        own = indices - offsets(indices.shape, input_shape[2] * input_shape[3])
        return good.max_pool2d_grad_input(
            grad_output, own.astype(np.int64), input_shape=input_shape
        )

    return {"max_pool2d": max_pool2d, "max_pool2d_grad_input": max_pool2d_grad_input}


def taking_int32(name):
    def function(logits, target, *, reduction):
        if target.dtype != np.int32:
            raise TypeError(f"target must be int32, got {target.dtype}")
        return getattr(good, name)(logits, target.astype(np.int64), reduction=reduction)

    return function


def taking_one_hot(name):
    def function(logits, target, *, reduction):
        if target.dtype != logits.dtype or target.shape != logits.shape:
            raise ValueError("target must be one-hot, of the logits' shape and dtype")
        return getattr(good, name)(logits, target.argmax(axis=1), reduction=reduction)

    return function


def fmax_relu(z):
    return np.fmax(z, z.dtype.type(0))


def fmin_first_relu6(z):  # a NaN becomes 6
    return np.fmax(np.fmin(z, z.dtype.type(6)), z.dtype.type(0))


def fmax_hardtanh(z, *, min_val, max_val):
    low, high = z.dtype.type(min_val), z.dtype.type(max_val)
    return np.fmin(np.fmax(z, low), high)


def fmax_hardsigmoid(z):
    of = z.dtype.type
    return np.fmin(np.fmax(z + of(3), of(0)), of(6)) / of(6)


def unshifted_loss(logits, target, *, reduction):
    rows = log_of_sum(logits)[:, 0] - logits[np.arange(len(target)), target]
    if reduction == "mean" and not len(target):
        raise ValueError("the mean over nothing")
    return np.asarray(rows.mean() if reduction == "mean" else rows.sum(), logits.dtype)


def unshifted_loss_grad(logits, target, *, reduction):
    p = np.exp(logits - log_of_sum(logits))
    p[np.arange(len(target)), target] -= 1
    return p / p.dtype.type(len(target)) if reduction == "mean" else p


LOSS = ("cross_entropy", "cross_entropy_grad")
# The policies, and the functions that follow them.
RIGHT = {
    "relu'(0) = 1": ({"relu_at_zero": 1}, {"relu_grad": relu_grad_of(1)}),
    "relu'(0) = 1/2": ({"relu_at_zero": 0.5}, {"relu_grad": relu_grad_of(0.5)}),
    "leaky_relu'(0) = 1": ({"leaky_relu_at_zero": 1}, {"leaky_relu_grad": leaky_relu_grad_of(1)}),
    "leaky_relu'(0) between": (
        {"leaky_relu_at_zero": 0.5}, {"leaky_relu_grad": leaky_relu_grad_of(0.5)},
    ),
    "NaN is dropped": (
        {"nan": "dropped"}, {"max_pool2d": comparing, "max_pool2d_vjp": comparing_back},
    ),
    "relu drops NaN": ({"nan": "dropped"}, {"relu": fmax_relu}),
    "relu6 drops NaN": ({"nan": "dropped"}, {"relu6": fmin_first_relu6}),
    "hardtanh drops NaN": ({"nan": "dropped"}, {"hardtanh": fmax_hardtanh}),
    "hardsigmoid drops NaN": ({"nan": "dropped"}, {"hardsigmoid": fmax_hardsigmoid}),
    "variance in one pass": ({"variance": "one-pass"}, {"layer_norm": one_pass}),
    "log-softmax of a rounded sum": (
        {"log_sum_exp": "unshifted"}, {"log_softmax": unshifted_log_softmax},
    ),
    "loss of a rounded sum": (
        {"log_sum_exp": "unshifted"},
        {"cross_entropy": unshifted_loss, "cross_entropy_grad": unshifted_loss_grad},
    ),
    "maxima share": ({"ties": "split"}, {"max_pool2d_vjp": split}),
    "int32 indices": ({"indices": "int32"}, pooling(np.int32)),
    "global indices": ({"index_origin": "global"}, pooling(np.int64, 1)),
    "global int32 indices": ({"indices": "int32", "index_origin": "global"}, pooling(np.int32, 1)),
    "int32 labels": ({"labels": "int32"}, {n: taking_int32(n) for n in LOSS}),
    "one-hot labels": ({"labels": "one-hot"}, {n: taking_one_hot(n) for n in LOSS}),
}  # fmt: skip


# Under these the protocol's own convention is right, too: a NaN may stay, labels are both taken.
ALLOW_BOTH = {
    "int32 labels", "variance in one pass",
    *(name for name in RIGHT if name.endswith((" drops NaN", " of a rounded sum"))),
}  # fmt: skip


def relu_grad_of_one(grad_output, z):
    return relu_grad_of(1)(grad_output, z)


def leaky_of_slope(grad_output, z, *, negative_slope):
    return leaky_relu_grad_of(0.75)(grad_output, z, negative_slope=negative_slope)


def nan_wins_if_last(x, **options):
    """By `not v <= best`: a NaN wins over what comes before it."""
    return scan(x, lambda seen, best, place: (place < 0) | ~(seen <= best), **options)


def minus_one_for_nan(z):
    return np.where(np.isnan(z), z.dtype.type(-1), good.relu(z))


def three_for_nan(z):
    return np.where(np.isnan(z), z.dtype.type(3), good.relu6(z))


def upper_limit_below_0(z):
    return np.where(z < 0, z.dtype.type(6), good.relu6(z))


def biased_variance(x, weight=None, bias=None, *, eps):
    return one_pass(x, weight, bias, eps=2 * eps)


def of_float16(z, *, axis):
    return (z - log_of_sum(z, axis).astype(np.float16)).astype(z.dtype)


def unshifted_without_target(logits, target, *, reduction):
    p = np.exp(logits - log_of_sum(logits))
    return p / p.dtype.type(len(target)) if reduction == "mean" else p


def zero_for_nan_alone(x, **options):
    y, indices = comparing(x, **options)
    return np.where(np.isneginf(y), y.dtype.type(0), y), indices


def split_by_taps(grad_output, x, **options):
    return split(grad_output, x, **options) / grad_output.dtype.type(
        1 + np.prod(options["kernel_size"]) // 5
    )


def whole_to_every_maximum(grad_output, x, **options):
    return to_all_maxima(grad_output, x, options, shared=False)


def transposed_indices(x, **options):
    y, indices = good.max_pool2d(x, **options)
    rows, columns = np.divmod(indices, x.shape[3])
    return y, (columns * x.shape[2] + rows).astype(np.int32)


def without_images(x, **options):
    y, indices = pooling(np.int64, 1)["max_pool2d"](x, **options)
    return y, indices - (np.arange(len(x)) * x[0].size).reshape(-1, 1, 1, 1)


def next_class(logits, target, *, reduction):
    other = (target.astype(np.int64) + 1) % logits.shape[1]
    return good.cross_entropy_grad(logits, other, reduction=reduction)


def one_hot_not_subtracted(logits, target, *, reduction):
    return taking_one_hot("cross_entropy_grad")(logits, target, reduction=reduction) + target


# The policies, the function and what is wrong with it under the policies.
FAULTS = {
    "relu'(0) is 1, not 1/2": ({"relu_at_zero": 0.5}, "relu_grad", relu_grad_of_one),
    "leaky_relu'(0) is too large": ({"leaky_relu_at_zero": 0.5}, "leaky_relu_grad", leaky_of_slope),
    "a NaN wins if it comes last": ({"nan": "dropped"}, "max_pool2d", nan_wins_if_last),
    "0 for minus infinity": ({"nan": "dropped"}, "max_pool2d", zero_for_nan_alone),
    "relu of a NaN is -1": ({"nan": "dropped"}, "relu", minus_one_for_nan),
    "relu6 of a NaN is within": ({"nan": "dropped"}, "relu6", three_for_nan),
    "relu6 of what is below is 6": ({"nan": "dropped"}, "relu6", upper_limit_below_0),
    "eps counts twice": ({"variance": "one-pass"}, "layer_norm", biased_variance),
    "a sum rounded to float16": ({"log_sum_exp": "unshifted"}, "log_softmax", of_float16),
    "the target is not subtracted": (
        {"log_sum_exp": "unshifted"},
        "cross_entropy_grad",
        unshifted_without_target,
    ),
    "the NaN takes the gradient": ({"nan": "dropped"}, "max_pool2d_vjp", good.max_pool2d_vjp),
    "shares by taps": ({"ties": "split"}, "max_pool2d_vjp", split_by_taps),
    "goes whole to every maximum": ({"ties": "split"}, "max_pool2d_vjp", whole_to_every_maximum),
    "columns before rows": ({"indices": "int32"}, "max_pool2d", transposed_indices),
    "counts within the image": ({"index_origin": "global"}, "max_pool2d", without_images),
    "the next class": ({"labels": "int32"}, "cross_entropy_grad", next_class),
    "adds a one-hot": ({"labels": "one-hot"}, "cross_entropy_grad", one_hot_not_subtracted),
}


def operator_named(function):
    return next(o for o in OPERATORS if function in {output_of(f).function for f in o.formulas})


def mismatches(functions, policies, *, seed=1, examples=150, among=ORACLES):
    """The mismatches of the checks of values, with few calls."""
    contract = {**NARROW, "policies": policies}
    backend = wrap(SimpleNamespace(**functions, contract=contract))
    operator = operator_named(next(iter(functions)))
    found = [
        examine(backend, operator, formula, PROPERTIES[name], examples=examples, seed=seed)
        for formula in operator.formulas
        for name in among
        if formula in PROPERTIES[name].formulas(operator) and backend.has(formula)
    ]
    assert found
    return [one for one in found if one.status == "mismatch"]


@pytest.mark.parametrize("name", RIGHT)
def test_a_convention_that_is_claimed_is_right(name):
    policies, functions = RIGHT[name]
    backend = SimpleNamespace(**functions, contract={**NARROW, "policies": policies})
    operator = operator_named(next(iter(functions)))
    certificate = gradoracle.check(backend, operators=[operator.name], seed=1, examples=2)
    assert certificate.passed, (certificate.why_not, certificate.text())
    assert not sum(one.disputed for one in certificate.outcomes)
    told = " ".join(certificate.text().split())
    assert all(f"{policy} {rule}" in told for policy, rule in policies.items())
    assert Certificate.from_json(certificate.to_json()).text() == certificate.text()


@pytest.mark.usefixtures("verdicts_only")
@pytest.mark.parametrize("name", RIGHT)
def test_a_convention_that_is_not_claimed_is_wrong(name):
    assert mismatches(RIGHT[name][1], {}, among=OF_VALUES)


@pytest.mark.usefixtures("verdicts_only")
@pytest.mark.parametrize("name", [n for n in RIGHT if n not in ALLOW_BOTH])
def test_the_protocols_own_convention_is_wrong_where_another_is_claimed(name):
    policies, functions = RIGHT[name]
    assert mismatches({one: getattr(good, one) for one in functions}, policies)


@pytest.mark.usefixtures("verdicts_only")
@pytest.mark.parametrize(
    ("name", "seed"),
    [(n, s) for n in FAULTS for s in (1, 2, 3, 4, 5) if s == 1 or n in list(FAULTS)[::5]],
)
def test_a_fault_under_a_convention_is_caught(name, seed):
    policies, function, wrong = FAULTS[name]
    assert mismatches({function: wrong}, policies, seed=seed, among=OF_VALUES)


def test_a_report_shows_the_call_as_the_backend_has_it():
    policies = {"labels": "int32"}
    (found,) = mismatches({"cross_entropy_grad": next_class}, policies, among=ORACLES[1:])
    assert "target = np.array([" in found.text
    assert '"int32")' in found.text
    (found, *_) = mismatches({"max_pool2d_vjp": whole_to_every_maximum}, {"ties": "split"})
    assert "dy[n,c,i,j] / k" in found.text


def test_the_gradients_of_every_convention_are_what_the_forward_pass_gives_nearby():
    """Halves add up: at 0 the slopes of both sides, weighed by the share."""
    dy, z = np.array([3.0, 5.0, 7.0]), np.array([-1.0, 0.0, 2.0])
    for share in (0.5, 1):
        relu = VARIANTS[oracle.relu_grad, "relu_at_zero", share](dy, z)
        assert relu.tolist() == [0, share * 5, 7]
        leaky = VARIANTS[oracle.leaky_relu_grad, "leaky_relu_at_zero", share]
        got = leaky(dy, z, negative_slope=0.25).tolist()
        assert got == [0.75, 5 * (share + (1 - share) * 0.25), 7]
    split_of_oracle = VARIANTS[oracle.max_pool2d_vjp, "ties", "split"]
    options = {"kernel_size": (1, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    x, one = np.array([[[[2.0, 2, 1, 2]]]]), np.array([[[[6.0, 8]]]])
    dx = split_of_oracle(one, x, **options, ceil_mode=False)
    assert dx.tolist() == [[[[3, 3 + 4, 0, 4]]]]
    x[0, 0, 0, 1] = np.nan
    dx = split_of_oracle(one, x, **options, ceil_mode=False)
    assert dx.tolist() == [[[[0, 6 + 8, 0, 0]]]]


def test_the_shares_of_many_maxima_are_exact():
    """The numbers of equal maxima have a common multiple beyond what a float holds."""
    options = {"kernel_size": (9, 9), "stride": (2, 2), "padding": (4, 4), "dilation": (1, 1)}
    random = np.random.default_rng(1)
    x = random.integers(0, 3, (1, 4, 40, 40)).astype(float)
    call = {"x": x, **options, "ceil_mode": False, "grad_output": random.random((1, 4, 20, 20))}
    split_of_oracle = VARIANTS[oracle.max_pool2d_vjp, "ties", "split"]
    right = truth(split_of_oracle, call)
    assert right.odd > 2**52
    want = right.as_float(np.dtype(float))
    np.testing.assert_allclose(split(call["grad_output"], x, **options, ceil_mode=False), want)


DROPPING = """
import numpy as np

contract = {"dtypes": ["float32"]}


def relu(z):
    return np.fmax(z, z.dtype.type(0))
"""


@pytest.mark.slow
def test_a_convention_is_claimed_on_the_command_line(tmp_path):
    (tmp_path / "one.py").write_text(DROPPING)

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True,
            check=False, env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip

    certify = ("gradoracle", "certify", "./one.py", "--operators", "relu", "--profile", "quick",
               "--seed", "1", "--certificate", "c.json")  # fmt: skip
    told = run(*certify)
    assert told.returncode == 1
    assert '--policy "nan = dropped"' in " ".join(told.stdout.split())
    claimed = run(*certify, "--policy", "nan = dropped")
    assert claimed.returncode == 0, claimed.stdout + claimed.stderr
    assert "conventions: nan dropped" in claimed.stdout
    assert "--policy 'nan = dropped'" in " ".join(claimed.stdout.split())
    again = run("gradoracle", "verify", "c.json")
    assert again.returncode == 0, again.stdout + again.stderr
    suite = ("pytest", "--pyargs", "gradoracle.conformance", "--backend", "./one.py",
             "--hypothesis-profile", "quick", "-k", "relu-matches_oracle")  # fmt: skip
    assert run(*suite).returncode == 1
    assert run(*suite, "--policy", "nan = dropped").returncode == 0
    wrong = run(*certify, "--policy", "nan = lost")
    assert wrong.returncode == 2
    assert "rule of nan 'lost' is unknown" in " ".join(wrong.stderr.replace("│", "").split())
    nothing = run(*certify, "--policy", "dropped")
    assert "'dropped' is no policy; write" in " ".join(nothing.stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ({"labels": "int8"}, "rule of labels 'int8' is unknown; pick from"),
        ({"relu_at_zero": 2}, r"rule of relu_at_zero 2 is unknown; pick from \[0, 0.5, 1\]"),
        ({"relu_at_zero": True}, "rule of relu_at_zero True is unknown"),
        ({"sign": 1}, "policy 'sign' is unknown; pick from"),
    ],
)
def test_an_unknown_rule_is_named(policies, said):
    with pytest.raises(ValueError, match=said):
        read_contract({"policies": policies}, FUNCTIONS)


def test_a_rule_is_kept_as_the_schema_has_it():
    contract = read_contract({"policies": {"relu_at_zero": 1.0}}, FUNCTIONS)
    assert repr(contract.policies) == "{'relu_at_zero': 1}"
    for policy, rules in POLICIES.items():
        assert scheme()["$defs"]["contract"]["properties"]["policies"]["properties"][policy][
            "enum"
        ] == [*rules]


# -- bad arguments --------------------------------------------------------------------------------


def permissive(grad_output, z):
    return np.where(z > 0, grad_output, grad_output.dtype.type(0))


def refusals(backend, **options):
    operator = operator_named("relu")
    return examine(
        wrap(backend), operator, oracle.relu_grad, PROPERTIES["rejects_bad_arguments"],
        examples=options.pop("examples", 20), seed=1,
    )  # fmt: skip


def test_what_takes_bad_arguments_is_noted_and_passes():
    outcome = refusals(SimpleNamespace(relu_grad=permissive, contract=NARROW))
    assert (outcome.status, outcome.mismatch) == ("passed", None)
    assert outcome.planted
    took, made = outcome.accepted["z with an axis more"]
    assert 0 < took == made
    assert f"relu_grad accepts grad_output with an axis more ({took} of {made})" in outcome.note


def test_the_certificate_tells_what_takes_bad_arguments():
    backend = SimpleNamespace(relu=lambda z: np.maximum(z, 0), relu_grad=permissive)
    certificate = gradoracle.check(backend, operators=["relu"], seed=1, examples=2)
    assert certificate.passed, certificate.text()
    assert "\n  note: relu_grad accepts " in certificate.text()
    assert 'the policy "bad_arguments": "raise"' in certificate.text()
    again = Certificate.from_json(certificate.to_json())
    assert again.text() == certificate.text()


def test_what_claims_to_refuse_and_does_not_is_wrong():
    claims = {**NARROW, "policies": {"bad_arguments": "raise"}}
    outcome = refusals(SimpleNamespace(relu_grad=permissive, contract=claims))
    assert (outcome.status, outcome.accepted) == ("mismatch", {})
    assert "relu_grad: took grad_output of shape" in outcome.reason


def test_what_refuses_has_no_note():
    outcome = refusals(SimpleNamespace(relu_grad=good.relu_grad, contract=NARROW))
    assert (outcome.status, outcome.accepted, outcome.note) == ("passed", {}, "")


def test_a_crash_on_bad_arguments_is_wrong_though_nothing_is_claimed():
    outcome = refusals("tests.test_conventions:crashing", examples=2)
    assert outcome.status == "mismatch", outcome.reason
    assert "relu_grad: crashed" in outcome.reason or "ended" in outcome.reason, outcome.reason


def _crashes_on_other_shapes(grad_output, z):
    if grad_output.shape != z.shape:
        os.kill(os.getpid(), signal.SIGSEGV)
    return good.relu_grad(grad_output, z)


crashing = SimpleNamespace(relu_grad=_crashes_on_other_shapes, contract=NARROW)


@pytest.mark.parametrize("name", ["im2col", "torch", "oracle"])
def test_the_shipped_backends_claim_to_refuse(name):
    assert load(name, IN_PROCESS).contract.rule("bad_arguments") == "raise"


# -- what is complete by itself -------------------------------------------------------------------


def test_values_of_a_pooling_without_indices_are_complete():
    values = SimpleNamespace(max_pool2d=lambda x, **o: good.max_pool2d(x, **o)[0], contract=NARROW)
    certificate = gradoracle.check(values, operators=["max_pool2d"], seed=1, examples=2)
    assert certificate.passed, certificate.why_not
    assert "not claimed: max_pool2d_grad_input, max_pool2d_indices" in certificate.text()
    Certificate.from_json(certificate.to_json())


def test_indices_that_the_gradient_is_given_are_needed():
    functions = {
        "max_pool2d": lambda x, **o: good.max_pool2d(x, **o)[0],
        "max_pool2d_grad_input": good.max_pool2d_grad_input,
    }
    (found,) = mismatches(functions, {}, among=ORACLES[:1])
    assert "want 2 results" in found.reason


def test_indices_that_come_at_times_only_are_wrong():
    def max_pool2d(x, **options):
        y, indices = good.max_pool2d(x, **options)
        return y if x.size % 2 else (y, indices)

    (found,) = mismatches({"max_pool2d": max_pool2d}, {}, among=ORACLES[:1])
    assert "one result on one call and several on another" in found.reason
