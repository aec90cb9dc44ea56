"""Every row of the table of elementary functions is that function, in every kind of number."""

import math

import numpy as np
import pytest

from gradoracle.oracle.numbers.dual import Dual
from gradoracle.oracle.numbers.functions import ARRAYS, CONSTANTS, FLOATS, FUNCTIONS
from gradoracle.oracle.numbers.high_precision import context
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate

DOMAINS = {  # where a function is looked at
    "exp": (-30, 30), "expm1": (-30, 30), "log": (1e-6, 50), "log1p": (-0.99, 50),
    "sqrt": (1e-9, 50), "rsqrt": (1e-6, 50), "tanh": (-20, 20), "sin": (-40, 40), "cos": (-40, 40),
    "erf": (-6, 6), "sigmoid": (-30, 30), "softplus": (-30, 30), "exp2": (-30, 30),
    "log2": (1e-6, 50), "log10": (1e-6, 50), "sinh": (-20, 20), "cosh": (-20, 20),
    "tan": (-1.5, 1.5), "atan": (-30, 30), "asinh": (-30, 30), "atanh": (-0.99, 0.99),
}  # fmt: skip
# Below these, and there, is no value.
SINGULAR = {"log": 0, "log1p": -1, "sqrt": -1e-300, "rsqrt": 0, "log2": 0, "log10": 0, "atanh": -1}
ABOVE = {"atanh": 1}  # and there and above
SINGLE = Arithmetic(2.0**-24, 2.0**-126)


def points(name, count=200):
    low, high = DOMAINS[name]
    return np.random.default_rng(7).uniform(low, high, count)


def right(name, x):
    mp = context()
    own = {
        "rsqrt": lambda v: 1 / mp.sqrt(v),
        "sigmoid": lambda v: 1 / (1 + mp.exp(-v)),
        "softplus": lambda v: mp.log(1 + mp.exp(v)),
        "exp2": lambda v: mp.power(2, v),
        "log2": lambda v: mp.log(v) / mp.log(2),
    }
    return own.get(name, getattr(mp, name, None))(mp.mpf(x))


def test_every_row_is_looked_at():
    assert {*DOMAINS} == {*FUNCTIONS}
    assert len({f.name for f in FUNCTIONS.values()}) == len(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_floats_arrays_and_high_precision_agree(name):
    function, xs = FUNCTIONS[name], points(name)
    arrays = function.of_array(xs)
    for x, from_array in zip(xs.tolist(), arrays.tolist(), strict=True):
        want = float(right(name, x))
        assert function(x) == pytest.approx(want, rel=1e-14)
        assert from_array == pytest.approx(want, rel=1e-14)
        assert float(function(context().mpf(x))) == pytest.approx(want, rel=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_differences_in_high_precision(name):
    mp, step = context(), context().mpf(2) ** -40
    for x in points(name, 30).tolist():
        got = FUNCTIONS[name](Dual(mp.mpf(x), 1))
        slope = (right(name, mp.mpf(x) + step) - right(name, mp.mpf(x) - step)) / (2 * step)
        assert abs(got.slope - slope) <= 1e-9 * abs(slope) + 1e-15
        assert got.value == FUNCTIONS[name](mp.mpf(x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_argument_off_by_its_error_gives_more_than_is_said(name):
    """At both ends and between, for errors from tiny to larger than the number."""
    random, function = np.random.default_rng(8), FUNCTIONS[name]
    for x in points(name, 100).tolist():
        for error in (0.0, 1e-12, 1e-3, 0.2, 3.0):
            moved = function.moved(FLOATS, x, function(x), error)
            with np.errstate(all="ignore"):
                arrays = function.moved(ARRAYS, *map(np.asarray, (x, function(x), error)))
            assert moved == pytest.approx(float(arrays), rel=1e-12)
            for share in (-1.0, 1.0, *random.uniform(-1, 1, 3)):
                at = context().mpf(x) + context().mpf(float(share)) * context().mpf(error)
                if at <= SINGULAR.get(name, -math.inf) or at >= ABOVE.get(name, math.inf):
                    continue
                size = abs(right(name, x))
                room = 1e-15 * float(size)  # that the value itself is off by
                assert abs(right(name, at) - right(name, x)) <= moved * (1 + 1e-12) + room


@pytest.mark.parametrize("name", FUNCTIONS)
def test_single_precision_stays_within_the_accuracy_of_the_table(name):
    """NumPy's float32 function, on numbers that are float32's own."""
    array = FUNCTIONS[name].of_array
    for x in points(name).astype(np.float32):
        got = array(np.float32(x))
        estimate = FUNCTIONS[name](Estimate(float(x), 0.0, SINGLE))
        assert np.asarray(got).dtype == np.float32
        assert abs(float(got) - right(name, float(x))) <= estimate.error


@pytest.mark.parametrize(
    ("name", "x", "want"),
    [
        ("log", 0.0, -math.inf), ("log", -1.0, math.nan), ("exp", 1000.0, math.inf),
        ("exp", -math.inf, 0.0), ("expm1", 1000.0, math.inf), ("log1p", -1.0, -math.inf),
        ("sqrt", -1.0, math.nan), ("rsqrt", 0.0, math.inf), ("sin", math.inf, math.nan),
        ("cos", -math.inf, math.nan), ("tanh", math.inf, 1.0), ("erf", -math.inf, -1.0),
        ("exp2", 2000.0, math.inf), ("exp2", -math.inf, 0.0), ("log2", 0.0, -math.inf),
        ("log10", -1.0, math.nan), ("sinh", -1000.0, -math.inf), ("cosh", -1000.0, math.inf),
        ("atanh", -1.0, -math.inf), ("atanh", 2.0, math.nan), ("atan", -math.inf, -math.pi / 2),
        ("asinh", math.inf, math.inf), ("tan", math.inf, math.nan),
    ],
)  # fmt: skip
def test_ends_are_those_of_ieee_754(name, x, want):
    with np.errstate(all="ignore"):
        for got in (FUNCTIONS[name](x), float(FUNCTIONS[name].of_array(np.float64(x)))):
            assert got == want or (math.isnan(got) and math.isnan(want))


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_are_of_the_kind_of_the_numbers_beside_them(name):
    mp, constant = context(), CONSTANTS[name]
    roots = {"pi": +mp.pi, "sqrt_pi": mp.sqrt(mp.pi), "sqrt_2": mp.sqrt(2)}
    want = {**roots, "log(2)": mp.log(2), "log(10)": mp.log(10)}[name]
    assert abs(constant(mp.mpf(1)) - want) < 1e-33
    assert constant(1.0) == float(want)
    assert constant(Dual(mp.mpf(1), 0)) == constant(mp.mpf(1))
    estimate = constant(Estimate(1.0, 0.0, SINGLE))
    assert abs(float(np.float32(float(want))) - want) <= estimate.error <= 2.0**-22
