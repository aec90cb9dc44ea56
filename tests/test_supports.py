"""A backend's `supports` says call by call what it is made for; no other calls are made."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.implementations import im2col

KERNEL = """
import numpy as np


def supports(function, sizes, options):
    return sizes["n"] * sizes["k"] % 2 == 0 and options["bias"]


def linear(x, weight, bias):
    if x.shape[0] * x.shape[1] % 2:
        raise RuntimeError("an odd number of elements")
    return (x @ weight.T + bias){change}
"""


def even(function, sizes, options):
    """Take arrays of an even number of elements."""
    return (function, options["bias"]) == ("linear", True) and sizes["n"] * sizes["k"] % 2 == 0


def linear(x, weight, bias=None):
    assert x.size % 2 == 0, "a call that supports does not take"
    assert bias is not None, "a call that supports does not take"
    return im2col.linear(x, weight, bias)


def checked(seed=1, **parts):
    backend = SimpleNamespace(**({"supports": even, "linear": linear} | parts))
    return gradoracle.check(backend, operators=["linear"], examples=100, seed=seed)


@pytest.mark.slow
def test_what_it_takes_is_certified_and_the_share_told():
    certificate = checked()
    took, asked = certificate.supported["linear"]
    assert not certificate.mismatches
    assert 0.1 * asked < took < 0.9 * asked
    assert certificate.passed
    words = f"CERTIFIED for linear: calls that supports() accepts ({took} of {asked})"
    assert certificate.verdict == words
    free = checked(supports=None, linear=im2col.linear)
    drawn, all_drawn = (
        {o.property_name: o.judged for o in c.outcomes} for c in (certificate, free)
    )
    for name in ("matches_oracle", "linear", "leaves_inputs_unchanged"):
        assert drawn[name] >= all_drawn[name], "others are drawn in place of those not taken"
    assert gradoracle.Certificate.from_json(certificate.to_json()).verdict == words


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_fault_among_what_it_takes_is_caught(seed):
    def wrong(x, weight, bias=None):
        y = linear(x, weight, bias)
        return y + np.asarray(x.shape[0] == 6, y.dtype)

    (first, *_) = checked(seed, linear=wrong).mismatches
    assert first.arguments["x"]["shape"][0] == 6
    assert "does not take" not in first.text


@pytest.mark.slow
def test_one_that_takes_nothing_is_not_certified():
    certificate = checked(supports=lambda function, sizes, options: False)
    assert certificate.why_not == "supports() accepts no call of any function"


@pytest.mark.slow
def test_few_calls_certify_nothing():
    def rarely(function, sizes, options):
        return even(function, sizes, options) and (sizes["n"], sizes["k"]) == (2, 1)

    certificate = checked(supports=rarely)
    assert not certificate.passed
    assert "supports() accepts few calls of linear" in certificate.text()


def test_one_that_raises_is_a_mismatch():
    def broken(function, sizes, options):
        return sizes["height"] > 3

    certificate = checked(supports=broken)
    assert certificate.mismatches[0].headline.startswith(
        "linear: its supports() raised KeyError: 'height', given sizes {'n': "
    )
    assert not sum(o.disputed for o in certificate.outcomes)


@pytest.mark.slow
def test_bad_arguments_that_it_leaves_out_are_not_counted_as_refused():
    """Else who accepts no bad arguments would be said to refuse them, and was never called."""

    def legal_only(function, sizes, options):
        return even(function, sizes, options) and sizes["m"] < 3

    certificate = checked(
        supports=legal_only, contract={"policies": {"bad_arguments": "raise"}},
        linear=lambda x, weight, bias=None: linear(x, np.resize(weight, (2, x.shape[1])), bias),
    )  # fmt: skip
    made = next(o for o in certificate.outcomes if o.property_name == "rejects_bad_arguments")
    assert made.status == "mismatch"

    def shapes_fit(function, sizes, options):
        return False

    none = checked(supports=shapes_fit, contract={"policies": {"bad_arguments": "raise"}})
    made = next(o for o in none.outcomes if o.property_name == "rejects_bad_arguments")
    assert made.status == "not run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "certified"), [("", True), (" * (1 + (x.shape[1] == 4))", False)]
)
def test_it_is_asked_in_a_process_of_its_own(tmp_path, change, certified):
    file = tmp_path / "kernels.py"
    file.write_text(KERNEL.replace("{change}", change))
    certificate = gradoracle.check(file, operators=["linear"], examples=50, seed=1)
    assert bool(certificate.mismatches) is not certified
    assert certificate.supported["linear"][0] > 100 or not certified
