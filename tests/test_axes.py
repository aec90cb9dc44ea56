"""Named axes say what the properties know of an operator's arrays."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.operators import OPERATORS
from gradoracle.oracle.axes import Axes
from gradoracle.oracle.declaration import Chained, algebra, argument_names, axes_of
from tests.calls import CALLS

CONV2D, TRANSPOSED = axes_of(oracle.conv2d), axes_of(oracle.conv_transpose2d)


@pytest.mark.parametrize(
    ("axes", "letter", "places"),
    [
        (CONV2D, "m", {"weight": (0,), "bias": (0,), "grad_output": (1,)}),
        (CONV2D, "c", {"x": (1,), "weight": (1,)}),
        (TRANSPOSED, "m", {"weight": (1,), "bias": (0,), "grad_output": (1,)}),
        (TRANSPOSED, "c", {"x": (1,), "weight": (0,)}),
        (axes_of(oracle.linear), "k", {"x": (1,), "weight": (1,)}),
        (axes_of(oracle.max_pool2d_vjp), "c", dict.fromkeys(("x", "indices", "grad_output"), (1,))),
        (axes_of(oracle.relu), "n", {"z": (0,), "grad_output": (0,)}),
    ],
)
def test_what_lies_along_an_axis(axes, letter, places):
    assert axes.along(letter) == places


@pytest.mark.parametrize("axes", [CONV2D, TRANSPOSED])
def test_groups_follow_each_other_along_one_axis_of_each_array(axes):
    assert {*axes.grouped} == {"c", "m"}
    assert axes.by_group == {"x": 1, "weight": 0, "bias": 0, "grad_output": 1}
    assert axes.optional == ("bias",)
    assert axes.rank == 2
    assert axes.space["weight"] == axes.space["x"] == (2, 3)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_the_arrays_of_a_call_have_the_axes_that_are_declared(operator):
    for formula in operator.formulas:
        axes = axes_of(formula)
        assert axes is operator.axes
        arrays = {n for n in argument_names(formula)[0] if n in axes.arrays}
        assert isinstance(algebra(formula), Chained) or arrays == {*argument_names(formula)[0]}
        for call in CALLS[formula](10, seed=5) if formula in CALLS else ():
            sizes = {}
            for name in arrays & {n for n, v in call.items() if isinstance(v, np.ndarray)}:
                letters = axes.arrays[name]
                assert "*" in letters or len(letters) == call[name].ndim
                if "*" not in letters:
                    for letter, size in zip(letters, call[name].shape, strict=True):
                        assert sizes.setdefault(letter, size) == size, (name, letter)


def test_a_call_on_some_of_its_images():
    call = {"x": np.arange(12).reshape(3, 1, 2, 2), "weight": np.ones((1, 1, 1, 1)), "bias": None,
            "input_shape": (3, 1, 2, 2), "stride": (1, 1)}  # fmt: skip
    part = CONV2D.images(call, slice(1, 3))
    assert part["x"].tolist() == call["x"][1:].tolist()
    assert part["input_shape"] == (2, 1, 2, 2)
    assert part["weight"] is call["weight"]


def test_options_have_neutral_values():
    call = {"stride": (2, 3), "padding": (1, 0), "groups": 2, "x": 1}
    assert CONV2D.with_neutral(call) == {"stride": (1, 1), "padding": (0, 0), "groups": 1, "x": 1}


@pytest.mark.parametrize("text", ["x n c", "x: n c; ", "x: n (h", "x: n-c", ""])
def test_what_does_not_say_axes_is_refused(text):
    with pytest.raises(ValueError, match="does not say axes, such as"):
        Axes(text)
