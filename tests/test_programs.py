"""What programs give `gradoracle.check`, and what they get of a mismatch."""

import json
import math
import types
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.implementations import im2col

pytestmark = pytest.mark.slow

TEXT = """
import numpy as np

def relu(z):
    return np.maximum(z, 0)

def relu_grad(grad_output, z):
    return np.where(z > 0, grad_output, 0){fault}
"""
RELU = {"operators": ["relu"], "examples": 5, "seed": 1}


def test_the_text_of_a_module_is_checked_in_a_process_of_its_own():
    right = gradoracle.check(TEXT.format(fault=""), **RELU)
    assert right.passed, right.text()
    assert right.confinement["process"] == "a process of its own"
    wrong = gradoracle.check(TEXT.format(fault=" * 2"), **RELU)
    assert {one.formula for one in wrong.mismatches} == {"relu_grad"}
    ends = gradoracle.check("import os\n\ndef relu(z):\n    os.abort()\n", **RELU)
    assert "crashed: abort" in ends.mismatches[0].headline


def test_a_path_is_checked(tmp_path):
    file = tmp_path / "kernels.py"
    file.write_text(TEXT.format(fault=""))
    assert gradoracle.check(file, **RELU).passed


def test_a_module_is_isolated_where_that_is_asked_for():
    here = gradoracle.check(im2col, **RELU)
    apart = gradoracle.check(im2col, isolate=True, **RELU)
    assert here.confinement["process"] == "the suite's own process"
    assert apart.confinement["process"] != here.confinement["process"]
    made = types.ModuleType("made")
    made.relu = im2col.relu
    for cannot in (made, SimpleNamespace(relu=im2col.relu)):
        with pytest.raises(ValueError, match="isolate=True needs what another process can import"):
            gradoracle.check(cannot, isolate=True, **RELU)


def test_dtypes_and_profiles_are_chosen():
    some = gradoracle.check(im2col, operators=["relu"], seed=1, profile="quick", dtypes=["float64"])
    assert some.examples == 25
    assert {d for one in some.outcomes for d in one.calls} == {"float64"}


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"profile": "hard"}, ValueError, "no profile 'hard'; there are quick, certify, deep"),
        ({"profile": "quick", "examples": 3}, ValueError, "not both"),
        ({"dtypes": ["int8"]}, ValueError, "does not claim dtype 'int8'; it claims float32"),
        ({"dtypes": "float32"}, TypeError, r"dtypes must be a list of names such as \['float32'\]"),
        ({"time_limit": 0}, ValueError, "time_limit must be above 0 and finite, got 0"),
        ({"time_limit": "1"}, TypeError, "time_limit must be a number of seconds, got '1'"),
    ],
)
def test_what_is_not_there_is_told(options, error, said):
    with pytest.raises(error, match=said):
        gradoracle.check(im2col, operators=["relu"], **options)


def test_a_call_that_takes_longer_than_the_limit_is_ended(tmp_path):
    file = tmp_path / "slow.py"
    file.write_text("import time\n\ndef relu(z):\n    time.sleep(3600)\n")
    limits = gradoracle.check(
        file, time_limit=0.5, confinement=quick_to_start(), **RELU
    ).confinement["limits"]
    assert limits["call"] == 0.5


def quick_to_start():
    from gradoracle.conformance.backends.isolation.limits import Limits

    return gradoracle.Confinement(limits=Limits(first=1))


def test_a_mismatch_has_its_numbers():
    def relu(z):
        y = np.array(im2col.relu(z))
        y[z == 1] += 2
        return y

    found = gradoracle.check(SimpleNamespace(relu=relu), **RELU)
    plain = next(one for one in found.mismatches if one.property_name == "matches_oracle")
    assert (plain.function, plain.got, plain.want, plain.allowed) == ("relu", 3.0, 1.0, 0.0)
    assert plain.index == (0,) * len(plain.index)
    z = plain.arguments["z"]
    assert math.prod(z["shape"]) == 1
    assert z["data"] == [1.0]
    assert plain.script
    again = gradoracle.Certificate.from_json(found.to_json())
    assert again.mismatches == found.mismatches


def test_a_mismatch_in_floats_says_what_is_allowed():
    def sigmoid(z):
        return (im2col.sigmoid(z) * (1 + 1e-4)).astype(z.dtype)

    found = gradoracle.check(SimpleNamespace(sigmoid=sigmoid), operators=["sigmoid"], seed=1)
    one = next(m for m in found.mismatches if m.property_name == "within_rounding_bound")
    assert 0 < one.allowed < abs(one.got - one.want) < 2e-4


def test_of_another_shape_there_are_no_numbers():
    found = gradoracle.check(SimpleNamespace(relu=lambda z: np.zeros(7, z.dtype)), **RELU)
    one = found.mismatches[0]
    assert one.index is None
    assert math.isnan(one.got)
    assert math.isnan(one.allowed)
    element = json.loads(found.to_json())["outcomes"][0]["mismatch"]["element"]
    assert element is None
