"""A domain restricts what is drawn, nothing else: what is right inside is certified."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance import DOMAIN
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.contract import read_contract
from gradoracle.conformance.backends.registry import UnusableBackend, wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.domain import (
    conditions_in,
    facts_of_call,
    holds,
    names_of,
    read,
)
from gradoracle.conformance.operators.inside import Inside, restricted
from gradoracle.conformance.operators.variations import drawn
from gradoracle.conformance.reports.screen import not_checked
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import argument_names, axes_of, output_of, parts_of
from gradoracle.oracle.expected.truth import answer_shape

BY_FUNCTION = {output_of(f).function: (o, f) for o in OPERATORS for f in o.formulas}
# What published kernels are made for.
DOMAINS = {
    "plain": ("conv2d", "stride = 1, padding = 0, dilation = 1, groups = 1"),
    "square windows": ("conv2d", "p == q"),
    "square images": ("conv2d", "h == w"),
    "channels in fours": ("conv2d", "c % 4 == 0, m % 4 == 0"),
    "3x3": ("conv2d", "p = 3, q = 3"),
    "one image": ("conv2d", "n = 1"),
    "even images": ("conv2d", "h % 2 == 0, w % 2 == 0"),
    "stride 1 or 2": ("conv2d", "stride = 1 or 2"),
    "a pair": ("conv2d", "stride = (1, 2)"),
    "without bias": ("conv2d", "bias absent"),
    "with bias": ("conv2d", "bias required"),
    "tiles": (
        "conv2d",
        "h = 8..32, w = 8..32, stride = 1, padding = 1, p = 3, q = 3, c % 8 == 0, groups = 1",
    ),
    "halving": ("max_pool2d", "kernel_size = 2, stride = 2, padding = 0, ceil_mode = False"),
    "windows beside each other": ("max_pool2d", "stride == kernel_size"),
    "average of all": ("avg_pool2d", "count_include_pad = True, padding = 0"),
    "short windows": ("conv1d", "p = 1..3, stride = 1"),
    "doubling": ("conv_transpose2d", "output_padding = 0, groups = 1, stride = 2"),
    "volumes": ("conv3d", "dilation = 1, groups = 1"),
    "the last axis": ("softmax", "axis last"),
    "rows": ("softmax", "axes = 2, axis last"),
    "vectors": ("relu", "axes = 1"),
    "one slope": ("leaky_relu", "negative_slope = 0.2"),
    "sums": ("cross_entropy", "reduction = sum"),
    "four at a time": ("relu", "size % 4 == 0"),
    "rows of fours": ("softmax", "length % 4 == 0"),
    "few rows": ("linear", "n = 1..8, bias required"),
}


class AskedOutside(Exception):
    """A function was given a call that it says it is not made for."""


def strict(name, text, wrong=None):
    """Return a function that raises outside of its domain, and may be `wrong` inside."""
    operator, formula = BY_FUNCTION[name]
    conditions = read(text, names_of(operator.formulas), name)
    names = argument_names(formula)[0]
    function = wrong or getattr(im2col, name)

    def call(*arrays, **options):
        given = dict(zip(names, arrays, strict=False)) | options
        facts = facts_of_call(axes_of(formula), given)
        if not holds(conditions, facts):
            raise AskedOutside(text)
        return function(*arrays, **options)

    return call


def backend(name, text, wrong=None, *, declared=True):
    functions = {name: strict(name, text, wrong)}
    contract = {"dtypes": ["float32"]} | ({"domain": {name: text}} if declared else {})
    return SimpleNamespace(contract=contract, **functions)


def plain_check(candidate, name, examples=300):
    operator, formula, property_ = next(
        (o, f, p)
        for o, f, p in checks()
        if output_of(f).function == name and p.name in ("matches_oracle", "within_rounding_bound")
    )
    return examine(wrap(candidate), operator, formula, property_, examples=examples, seed=1)


# -- what a domain says ---------------------------------------------------------------------------


def test_texts_and_dicts_say_the_same():
    names = names_of(BY_FUNCTION["conv2d"][0].formulas)
    text = (
        "stride = 1, padding = 0 or 1, dilation = (1, 2), p == q, c % 4 == 0, h = 1..64, "
        "bias required"
    )
    entry = {
        "stride": 1, "padding": [0, 1], "dilation": "(1, 2)", "p": "== q", "c": "% 4 == 0",
        "h": "1..64", "bias": "required",
    }  # fmt: skip
    read_entry = read(entry, names, "conv2d")
    assert read(text, names, "conv2d") == read_entry
    assert ", ".join(one.text for one in read_entry) == text


@pytest.mark.parametrize("text", [text for _, text in DOMAINS.values()])
def test_a_printed_domain_is_read_again(text):
    assert conditions_in(text, "conv2d")
    name = next(name for name, other in DOMAINS.values() if other == text)
    conditions = read(text, names_of(BY_FUNCTION[name][0].formulas), name)
    again = ", ".join(one.text for one in conditions)
    assert read(again, names_of(BY_FUNCTION[name][0].formulas), name) == conditions


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ({"conv9d": {"stride": 1}}, "operator or function with a domain 'conv9d' is unknown"),
        ({"conv2d": 3}, "domain of conv2d must be a dict such as"),
        (
            {"conv2d": {"strides": 1}},
            "'strides' is no option, axis or optional argument of it; pick",
        ),
        ({"conv2d": {"stride": "% 4 == 7"}}, "stride cannot be '% 4 == 7'; write one like"),
        ({"conv2d": {"stride": "3..1"}}, "stride cannot be '3..1'"),
        ({"conv2d": {"stride": None}}, "stride cannot be None"),
        ({"conv2d": {"p": "== r"}}, "p == r: there is no 'r'; pick from"),
        ({"conv2d": "stride"}, "'stride' is no condition; write one like"),
        ({"conv2d": "stride = 1, >"}, "'>' is no condition; write one like"),
        ({"conv2d": "stride == 1"}, "stride == 1 is no condition; write stride = 1"),
        ({"conv2d": {"stride": "== 1"}}, "stride == 1 is no condition; write stride = 1"),
        ({"conv2d": "stride >= 2"}, "'stride >= 2' is no condition; write stride = 2.."),
        ({"conv2d": {"stride": "> 1"}}, "stride > 1 is no condition; write stride = 2.."),
        ({"conv2d": "p = 3, h<64"}, "'h<64' is no condition; write h = 1..63"),
        ({"conv2d": "padding <= 0"}, "'padding <= 0' is no condition; write padding = 0..0"),
        (
            {"conv2d": "stride = 1; padding = 0"},
            "separate conditions by commas, as in  stride = 1, padding = 0",
        ),
        (
            {"conv2d": "kernel_size = 3"},
            "the sides of the filter are p and q, write p = 3, q = 3; pick from stride",
        ),
        ({"conv1d": {"kernel_size": 5}}, "the side of the filter is p, write p = 5; pick"),
        ({"conv2d": "q = p"}, "q = p is no condition; write q == p"),
        ({"mse_loss": "reduction == mean"}, "for that text write reduction = mean"),
    ],
)
def test_a_wrong_domain_says_what_would_be_valid(domain, said):
    with pytest.raises(ValueError, match="domain") as error:
        read_contract({"domain": domain}, FUNCTIONS)
    assert said in str(error.value)


def test_the_conditions_of_a_run_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv(DOMAIN, "relu: n = 1; conv2d: stride = 1; padding = 0; sigmoid: n = 1")
    said = "'padding = 0' is no domain: separate .* commas, as in  conv2d: stride = 1, padding = 0$"
    with pytest.raises(ValueError, match=said):
        read_contract({}, FUNCTIONS)
    monkeypatch.setenv(DOMAIN, "conv2d: stride = 1; relu: n = 1")
    assert read_contract({}, FUNCTIONS).domain == {"conv2d": "stride = 1", "relu": "n = 1"}


def test_a_domain_without_a_call_is_told_before_anything_is_checked():
    empty = backend("conv2d", "n = 7..7, n % 2 == 0")
    with pytest.raises(UnusableBackend, match="no call has n = 7..7, n % 2 == 0"):
        gradoracle.check(empty, operators=["conv2d"], seed=1)


# -- what is drawn --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOMAINS)
def test_what_is_drawn_is_moved_inside(kind):
    """Nothing is thrown away: where there is a call at all, the nearest one inside is made."""
    name, text = DOMAINS[kind]
    operator, _ = BY_FUNCTION[name]
    conditions = read(text, names_of(operator.formulas), name)
    inside = Inside(operator, conditions)
    found = [inside(drawn(operator, number).sizes) for number in range(60)]
    assert sum(one is None for one in found) <= 6
    for sizes in filter(None, found):
        assert holds(conditions, inside.facts(sizes))
        assert inside(sizes) == sizes
    part = restricted(operator, conditions)
    for corner in part.corners:
        assert holds(conditions, inside.facts(corner.sizes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOMAINS)
def test_a_kernel_for_a_part_is_certified_for_it(kind):
    name, text = DOMAINS[kind]
    certificate = gradoracle.check(
        backend(name, text), operators=[BY_FUNCTION[name][0].name], examples=6, seed=1
    )
    assert certificate.passed, certificate.text()
    assert certificate.verdict.startswith(f"CERTIFIED for {name}: ")
    assert "declined" not in certificate.text()


def off_by_one(right, fails):
    def wrong(*arrays, **options):
        y = right(*arrays, **options)
        if fails(arrays, options):
            y = np.array(y)
            y.ravel()[-1:] += 1
        return y

    return wrong


# Inside the domain, and only where several things come together.
FAULTS = {
    "square windows": lambda arrays, o: o["stride"] == (2, 2) and arrays[1].shape[2] == 3,
    "channels in fours": lambda arrays, o: arrays[0].shape[1] == 8 and o["padding"][0] == 1,
    "3x3": lambda arrays, o: o["dilation"][1] == 2 and o["groups"] > 1,
    "one image": lambda arrays, o: o["groups"] == arrays[0].shape[1] > 1 and o["stride"][0] > 1,
    "stride 1 or 2": lambda arrays, o: o["stride"] == (2, 1),
    "plain": lambda arrays, o: arrays[1].shape[2:] == (5, 5) and arrays[0].shape[0] > 2,
    "volumes": lambda arrays, o: o["stride"][0] == 2 and o["padding"][2] == 1,
    "short windows": lambda arrays, o: o["groups"] == 2 and o["dilation"] == (2,),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_inside_is_caught(kind):
    name, text = DOMAINS[kind]
    wrong = off_by_one(getattr(im2col, name), FAULTS[kind])
    outcome = plain_check(backend(name, text, wrong), name)
    assert outcome.status == "mismatch", outcome.reason
    assert "AskedOutside" not in outcome.reason


def for_allocated_memory(z):
    """A relu that reads four numbers at once, as kernels with float4 do."""
    if z.flags.c_contiguous and z.ctypes.data % 16:
        raise RuntimeError("misaligned address")
    return im2col.relu(z)


@pytest.mark.slow
def test_what_needs_aligned_memory_can_claim_it():
    plain = SimpleNamespace(relu=for_allocated_memory, contract={"dtypes": ["float32"]})
    (found,) = gradoracle.check(plain, operators=["relu"], examples=12, seed=1).mismatches
    assert found.property_name == "ignores_memory_layout"
    claim = {"policies": {"alignment": 16}}
    assert f"claims {json.dumps(claim)}" in found.headline
    plain.contract |= claim
    assert gradoracle.check(plain, operators=["relu"], examples=12, seed=1).passed


# -- what a signature says ------------------------------------------------------------------------


def course_conv2d(x, weight, bias):
    """Stride 1, no padding, square windows, one image: as a course has it."""
    (_, _, h, w), (m, _, k, _) = x.shape, weight.shape
    y = np.zeros((1, m, h - k + 1, w - k + 1), x.dtype)
    for i in range(h - k + 1):
        for j in range(w - k + 1):
            window = x[0, :, i : i + k, j : j + k]
            y[0, :, i, j] = (weight * window).sum(axis=(1, 2, 3)) + bias
    return y


COURSE = "bias required, n = 1, p == q"


@pytest.mark.slow
def leaky_relu_of_a_hundredth(z):
    return np.where(z > 0, z, z * z.dtype.type(0.01))


def layer_norm_of_the_usual_eps(x, weight=None, bias=None):
    return im2col.layer_norm(x, weight, bias, eps=1e-5)


@pytest.mark.parametrize("function", [leaky_relu_of_a_hundredth, layer_norm_of_the_usual_eps])
def test_a_factor_is_that_of_the_call_s_dtype(function):
    """0.01 as float32 has it is another number in float64, which such a function does not take."""
    name = function.__name__.partition("_of_")[0]
    operator, formula, property_ = next(
        (o, f, p) for o, f, p in checks() if f.__name__ == name and p.name == "is_stateless"
    )
    backend = wrap(SimpleNamespace(**{name: function}))
    outcome = examine(backend, operator, formula, property_, examples=100, seed=1)
    assert outcome.status == "passed", outcome.text
    assert {*outcome.calls} == {"float32", "float64"}


def test_options_that_a_signature_lacks_have_their_neutral_value():
    course = SimpleNamespace(
        contract={"dtypes": ["float64"], "domain": {"conv2d": COURSE}}, conv2d=course_conv2d
    )
    outcome = plain_check(course, "conv2d", examples=25)
    assert outcome.status == "passed"
    assert outcome.judged > 40
    words = wrap(course).domain_words(BY_FUNCTION["conv2d"][1])
    assert words == f"{COURSE}, stride = 1, padding = 0, dilation = 1, groups = 1"


@pytest.mark.slow
def test_the_domain_of_an_undeclared_kernel_is_found():
    course = SimpleNamespace(contract={"dtypes": ["float64"]}, conv2d=course_conv2d)
    outcome = plain_check(course, "conv2d", examples=25)
    assert outcome.status == "mismatch"
    assert f'contract["domain"] = {{"conv2d": "{COURSE}"}}' in outcome.domain_hint
    assert f'--domain "conv2d: {COURSE}" declares that' in outcome.domain_hint


WRITTEN = """
import numpy as np

def relu(z):
    if z.ndim and z.shape[0] > 1:
        raise NotImplementedError("one image")
    return np.maximum(z, 0)
"""


@pytest.mark.slow
def test_a_domain_is_told_and_given_on_the_command_line(tmp_path):
    (tmp_path / "one.py").write_text(WRITTEN)

    def certify(*more):
        return subprocess.run(
            [sys.executable, "-m", "gradoracle", "certify", "./one.py", "--operators", "relu",
             "--profile", "quick", "--seed", "1", "--certificate", "c.json", *more],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip

    told = " ".join(certify().stdout.split())
    assert '--domain "relu: n = 1" declares that' in told
    inside = certify("--domain", "relu: n = 1")
    assert inside.returncode == 0, inside.stdout + inside.stderr
    assert re.search(r"CERTIFIED \(quick: [^)]*\) for relu: n = 1", " ".join(inside.stdout.split()))
    same = subprocess.run(
        [sys.executable, "-m", "gradoracle", "verify", "c.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert same.returncode == 0, same.stdout + same.stderr
    (tmp_path / "one.py").write_text(WRITTEN.replace("maximum(z, 0)", "maximum(z, 1)"))
    fails = " ".join(certify("--domain", "relu: n = 1").stdout.split())
    assert "gradoracle certify ./one.py --domain 'relu: n = 1' --operators relu" in fails


@pytest.mark.slow
def test_the_script_gives_a_function_what_it_takes():
    def one_too_many(x, weight):
        options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        y = np.array(im2col.conv2d(x, weight, None, **options))
        return y + (y.shape[1] == 2)

    candidate = SimpleNamespace(contract={"dtypes": ["float32"]}, conv2d=one_too_many)
    outcome = plain_check(candidate, "conv2d", examples=25)
    script = outcome.mismatch.script.replace("backend = ...  #", "#", 1)
    assert "got = backend.conv2d(x, weight)\n" in script
    right = SimpleNamespace(conv2d=lambda x, weight: one_too_many(x, weight) - 1)
    for functions, fails in ((candidate, True), (right, False)):
        try:
            exec(compile(script, "script", "exec"), {"backend": functions})  # noqa: S102
        except AssertionError:
            assert fails
        else:
            assert not fails


@pytest.mark.slow
def test_what_has_no_place_inside_is_left_out():
    """Many sizes cannot be moved where conditions depend on each other."""
    text = "h == w, c == m, i == j"
    outcome = plain_check(backend("conv2d", text), "conv2d")
    assert outcome.status == "passed", outcome.text
    assert outcome.judged > 300


@pytest.mark.slow
def test_what_is_not_claimed_is_not_missed_where_pytorch_is_absent(monkeypatch):
    monkeypatch.setattr(
        "gradoracle.conformance.runs.certify._why_no_torch", lambda: "PyTorch is not installed"
    )
    first = SimpleNamespace(conv2d_grad_bias=im2col.conv2d_grad_bias, contract={
        "dtypes": ["float32"], "domain": {"conv2d_grad_bias": "n = 1"},
    })  # fmt: skip
    certificate = gradoracle.check(first, operators=["conv2d"], examples=25, seed=1)
    assert certificate.passed, certificate.text()
    monkeypatch.setattr("gradoracle.conformance.reports.certificate.ENOUGH", 10**6)
    assert certificate.why_not.startswith("conv2d_grad_bias was checked on ")
    assert certificate.why_not.endswith(" calls only: widen its domain, or leave out the function")


def pooled(x, kernel_size):
    return im2col.max_pool2d(
        x, kernel_size=kernel_size, stride=kernel_size, padding=(0, 0), dilation=(1, 1),
        ceil_mode=False,
    )[0]  # fmt: skip


def test_a_pooling_without_stride_has_windows_beside_each_other():
    words = wrap(SimpleNamespace(max_pool2d=pooled)).domain_words(BY_FUNCTION["max_pool2d"][1])
    assert "stride == kernel_size" in words
    assert "padding = 0" in words


def test_a_softmax_without_axis_is_along_the_last():
    last = SimpleNamespace(softmax=lambda z: im2col.softmax(z, axis=-1))
    outcome = plain_check(last, "softmax", examples=25)
    assert outcome.status == "passed"
    assert wrap(last).domain_words(BY_FUNCTION["softmax"][1]) == "axis last"


# -- which domain it is ---------------------------------------------------------------------------

FOUND = {
    kind: text
    for kind, (_, text) in DOMAINS.items()
    if kind
    not in (
        "a pair",
        "tiles",
        "one slope",
        "halving",
        "square images",
        "few rows",
        "rows",
        "vectors",
    )
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOUND)
def test_the_domain_that_explains_all_failures_is_told(kind):
    name, text = DOMAINS[kind]
    outcome = plain_check(backend(name, text, declared=False), name, examples=25)
    assert outcome.status == "mismatch"
    told = outcome.domain_hint.partition(f'"{name}": "')[2].partition('"')[0]
    known = names_of(BY_FUNCTION[name][0].formulas)
    assert {*read(told, known, name)} == {*read(text, known, name)}, outcome.domain_hint


def _matrices_only(z, *, axis):
    return im2col.softmax(z, axis=axis) * (1 if z.ndim == 2 else 2)


def _up_to_three_axes(z, *, axis):
    right = z.ndim <= 3 and axis in (-1, z.ndim - 1)
    return im2col.softmax(z, axis=axis) * (1 if right else 2)


def _usual_eps(x, weight=None, bias=None, *, eps):
    del eps
    return im2col.layer_norm(x, weight, bias, eps=1e-5)


def _by_tanh(z, *, approximate):
    del approximate
    return im2col.gelu(z, approximate="tanh")


def _one_group(x, weight=None, bias=None, *, num_groups, eps):
    del num_groups
    return im2col.group_norm(x, weight, bias, num_groups=1, eps=eps)


def _delta_of_one(input, target, *, reduction, delta):  # noqa: A002 - PyTorch's name
    del delta
    return im2col.huber_loss(input, target, reduction=reduction, delta=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "text"),
    [
        ("softmax", _matrices_only, "axes = 2"),
        ("softmax", _up_to_three_axes, "axis last, axes = 1..3"),
        ("layer_norm", _usual_eps, "eps = 1e-05"),
        ("gelu", _by_tanh, "approximate = tanh"),
        ("group_norm", _one_group, "num_groups = 1"),
        ("huber_loss", _delta_of_one, "delta = 1.0"),
    ],
)
def test_the_numbers_of_axes_and_the_values_of_options_are_told(name, function, text):
    found = gradoracle.check(
        SimpleNamespace(**{name: function}), operators=[name], seed=1, examples=20
    )
    assert f'"{name}": "{text}"' in " ".join(m.domain_hint for m in found.mismatches)


SCATTERED = {
    "conv2d": (
        lambda arrays, o: arrays[0].size % 3 == 0,
        lambda arrays, o: float(arrays[0].ravel()[0]) > 0,
        lambda arrays, o: o["stride"] == (2, 2) and o["padding"] == (1, 1),
        lambda arrays, o: arrays[1].shape[0] == 7,
        lambda arrays, o: True,
    ),
    "max_pool2d": (
        lambda arrays, o: arrays[0].size % 2 == 1,
        lambda arrays, o: o["padding"][0] == 1 and o["stride"][0] == 1,
    ),
    "linear": (
        lambda arrays, o: arrays[0].shape[1] > 3 and arrays[0].shape[0] == 2,
        lambda arrays, o: arrays[0].size % 2 == 0,
    ),
    "conv1d": (lambda arrays, o: o["groups"] == 2 and o["dilation"] == (2,),),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"), [(n, k) for n, of in SCATTERED.items() for k in range(len(of))]
)
def test_of_a_fault_that_no_domain_explains_none_is_told(name, number):
    def wrong(*arrays, **options):
        result = getattr(im2col, name)(*arrays, **options)
        if not SCATTERED[name][number](arrays, options):
            return result
        return (result[0] + 1, result[1]) if isinstance(result, tuple) else result + 1

    candidate = SimpleNamespace(contract={"dtypes": ["float32"]}, **{name: wrong})
    outcome = plain_check(candidate, name)
    assert outcome.status == "mismatch"
    assert outcome.domain_hint == ""


def test_slopes_need_no_bias_where_it_must_be_absent():
    names = ("conv2d", "conv2d_grad_input", "conv2d_grad_bias")
    contract = {"dtypes": ["float32"], "domain": {"conv2d": "bias absent"}}
    candidate = wrap(SimpleNamespace(contract=contract, **{n: getattr(im2col, n) for n in names}))
    ended = {
        formula.__name__: examine(candidate, *case, examples=25, seed=1).status
        for case in checks()
        if (formula := case[1]).__name__ in names[1:] and case[2].name == "gradient_is_the_slope"
    }
    assert ended == {"conv2d_grad_input": "passed", "conv2d_grad_bias": "not run"}


def test_no_mean_of_an_empty_batch_is_asked_for_where_sums_are_outside():
    outcome = plain_check(backend("cross_entropy", "reduction = mean"), "cross_entropy")
    assert (outcome.status, outcome.declined) == ("passed", 0), outcome.reason
    assert outcome.judged > 30


def test_the_run_can_restrict_every_backend(monkeypatch):
    monkeypatch.setenv(DOMAIN, "relu: n = 1; conv2d: stride = 1")
    contract = read_contract(None, FUNCTIONS)
    assert contract.domain == {"relu": "n = 1", "conv2d": "stride = 1"}
    monkeypatch.setenv(DOMAIN, "stride = 1")
    with pytest.raises(ValueError, match="is no domain; write one like"):
        read_contract(None, FUNCTIONS)


def test_an_illegal_call_outside_a_domain_costs_no_call_of_is_stateless():
    def softmax(z):
        return im2col.softmax(z, axis=-1)

    def softmax_grad(grad_output, z):
        return im2col.softmax_grad(grad_output, z, axis=-1)

    made = SimpleNamespace(softmax=softmax, softmax_grad=softmax_grad)
    named = {(f.__name__, p.name): (o, f, p) for o, f, p in checks(OPERATORS)}
    found = examine(wrap(made), *named["softmax_grad", "is_stateless"], examples=25, seed=1)
    assert found.status == "passed", found.text
    assert {*found.calls} == {"float32", "float64"}


def test_shapes_among_options_are_lengths_of_a_domain():
    call = {
        "grad_output": np.ones((1, 1, 2, 2), np.float32), "x": np.ones((1, 1, 4, 3), np.float32),
        "weight": np.ones((1, 1, 2, 2), np.float32), "bias": None, "weight_shape": (1, 1, 3, 2),
        "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1,
    }  # fmt: skip
    square = {"dtypes": ["float32"], "domain": {"conv2d": {"p": "== q"}}}
    given = wrap(SimpleNamespace(
        conv2d=im2col.conv2d, conv2d_grad_weight=im2col.conv2d_grad_weight, contract=square
    ))  # fmt: skip
    assert given.is_inside(oracle.conv2d, call)
    assert not given.is_inside(oracle.conv2d_grad_weight, call)
    call["weight_shape"] = (1, 1, 2, 2)
    assert given.is_inside(oracle.conv2d_grad_weight, call)


def test_no_check_leaves_a_domain_of_kernels_with_equal_sides():
    def square(grad_output, x, *, weight_shape, **options):
        assert weight_shape[2] == weight_shape[3]
        return im2col.conv2d_grad_weight(grad_output, x, weight_shape=weight_shape, **options)

    domain = {"p": "== q", "stride": [(1, 1), (2, 2)], "padding": 0, "dilation": 1, "groups": 1}
    contract = {"dtypes": ["float32"], "domain": {"conv2d": domain}}
    backend = SimpleNamespace(conv2d_grad_weight=square, contract=contract)
    found = gradoracle.check(backend, operators=["conv2d"], profile="quick", seed=1)
    assert not found.mismatches, found.mismatches[0].text


REDUCED = [
    operator for operator in OPERATORS
    if "none" in operator.values.get("reduction", ()) or operator.name.endswith("_loss")
]  # fmt: skip


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("operator", REDUCED, ids=lambda operator: operator.name)
def test_dy_has_the_shape_of_a_loss_whose_reduction_is_fixed(operator, reduction):
    part = restricted(operator, read(f"reduction = {reduction}", names_of(operator.formulas), "it"))
    for number in range(20):
        sizes = part.inside(drawn(operator, number).sizes)
        if sizes is None:
            continue
        call = part.call(sizes, part.styles.of("any")[0], 1, "float64")
        assert call["reduction"] == reduction
        for formula in part.formulas:
            if part.has_answer(formula, call):
                answer_shape(parts_of(formula)[0], call)  # ValueError: the dy of another one


def test_losses_of_one_reduction_are_checked_with_their_gradients():
    def mse_loss(x, target):
        return ((x - target) ** 2).mean()

    def mse_loss_grad_input(grad_output, x, target):
        return grad_output * 2 * (x - target) / x.size

    def twice(grad_output, x, target):
        return grad_output * 4 * (x - target) / x.size

    losses = SimpleNamespace(mse_loss=mse_loss, mse_loss_grad_input=mse_loss_grad_input)
    right = gradoracle.check(losses, operators=["mse_loss"], examples=10, seed=1)
    assert right.passed
    losses.mse_loss_grad_input = twice
    assert gradoracle.check(losses, operators=["mse_loss"], examples=10, seed=1).mismatches


def test_a_gradient_may_have_a_domain_that_contradicts_the_forward_one():
    def cross_entropy(logits, target):
        return im2col.cross_entropy(logits, target, reduction="mean")

    def cross_entropy_grad(logits, target):
        return im2col.cross_entropy_grad(logits, target, reduction="sum")

    functions = SimpleNamespace(cross_entropy=cross_entropy, cross_entropy_grad=cross_entropy_grad)
    told = gradoracle.check(functions, operators=["cross_entropy"], examples=10, seed=1)
    line = '--domain "cross_entropy_grad: reduction = sum" declares that'
    assert [line in one.headline or line in one.text for one in told.mismatches] == [True]
    functions.contract = {"domain": {"cross_entropy_grad": "reduction = sum"}}
    told = gradoracle.check(functions, operators=["cross_entropy"], examples=10, seed=1)
    assert told.passed
    reasons = {o.reason for o in told.outcomes if o.property_name == "gradient_is_the_slope"}
    assert any("no call has reduction = sum, reduction = mean" in one for one in reasons)


def test_other_calls_of_a_check_are_inside_whatever_dy_is_left_beside_them():
    def interpolate_nearest2d(x, *, output_size):
        return x.copy()

    same = SimpleNamespace(
        interpolate_nearest2d=interpolate_nearest2d,
        contract={"domain": {"interpolate_nearest2d": "mode = nearest, i == h, j == w"}},
    )
    told = gradoracle.check(same, operators=["interpolate_nearest2d"], examples=25, seed=1)
    assert told.passed, [one.text for one in told.mismatches]


def test_a_loss_that_ignores_no_target_is_given_none_to_ignore():
    def nll_loss(x, target):
        return -x[np.arange(len(target)), target].mean()

    told = gradoracle.check(
        SimpleNamespace(nll_loss=nll_loss), operators=["nll_loss"], examples=25, seed=1
    )
    assert told.passed, [one.text for one in told.mismatches]


def _no_images_fail(x, weight, bias=None, *, stride, padding, dilation, groups):
    x.reshape(len(x), -1)  # ValueError of no images
    return im2col.conv2d(
        x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def _rows_of_fours(x, weight, bias=None):
    assert x.shape[1] % 4 == 0
    return im2col.linear(x, weight, bias)


def _when_trained(x, running_mean, running_var, weight, bias, *, training, eps):
    if training:
        raise NotImplementedError("it only evaluates")
    return im2col.batch_norm(
        x, running_mean, running_var, weight + 0, bias + 0, training=False, eps=eps
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "text"),
    [
        ("conv2d", _no_images_fail, "n = 1.."),
        ("linear", _rows_of_fours, "k % 4 == 0"),
        ("batch_norm", _when_trained, "training = False, weight required, bias required"),
    ],
)
def test_domains_of_further_kinds_are_found(name, function, text):
    functions = SimpleNamespace(**{name: function})
    told = gradoracle.check(functions, operators=[name], examples=25, seed=1)
    hints = {one.domain_hint for one in told.outcomes}
    assert any(f'"{name}: {text}" declares that' in hint for hint in hints), hints


@pytest.mark.slow
def test_a_domain_that_is_declined_outside_is_told_first():
    def conv2d(x, weight, bias=None):
        if x.shape[1] % 4:
            raise NotImplementedError("channels in fours")
        neutral = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        return im2col.conv2d(x, weight, bias, **neutral)

    told = gradoracle.check(
        SimpleNamespace(conv2d=conv2d), operators=["conv2d"], examples=25, seed=1
    )
    assert not told.mismatches
    first, second, *_ = not_checked(told)
    assert '--domain "conv2d: c % 4 == 0" declares that' in first
    assert "declares that" not in second
