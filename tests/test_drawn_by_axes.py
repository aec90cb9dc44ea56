"""What is drawn for derived formulas follows from their axes and options."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.arrays import GIVEN, PICKED
from gradoracle.oracle.declaration import Composed, algebra, axes_of, evaluate

DERIVED = {of.formulas[0].__name__ for of in oracle.DERIVED}
BY_NAME = {o.name: o for o in OPERATORS if o.name in DERIVED}
OF_ARRAYS = [n for n, o in BY_NAME.items() if algebra(o.formula).of_arrays and n != "log_softmax"]
DRAWS = 400


@cache
def drawn(name):
    found = []
    draw(BY_NAME[name], "medium", DRAWS, 3, found.extend)
    return found


def test_every_derived_formula_has_a_record():
    assert set(BY_NAME) == DERIVED
    assert all(isinstance(algebra(f), Composed) for o in BY_NAME.values() for f in o.formulas)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_draw_and_every_corner_is_a_call(name):
    operator = BY_NAME[name]
    assert len(drawn(name)) == DRAWS
    for geometry in (*drawn(name), *operator.corners):
        shapes = operator.arguments(geometry.sizes).shapes
        assert shapes["grad_output"] is not None
    style = operator.styles.of("floats")[0]
    for geometry in drawn(name)[:40]:
        call = operator.call(geometry.sizes, style, geometry.seed, "float32")
        assert evaluate(operator.formula, call).shape == call["grad_output"].shape
        again = operator.complete(dict(call), geometry.seed)
        arrays = {n: v for n, v in call.items() if isinstance(v, np.ndarray)}
        assert all(np.array_equal(again[n], v, equal_nan=True) for n, v in arrays.items())


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_every_axis_is_long_short_and_past_a_limit(name):
    axes = axes_of(BY_NAME[name].formula)
    letters = {one for n, of in axes.arrays.items() if n != "grad_output" for one in of}
    for letter in letters - {"*"}:
        lengths = {g.sizes[letter] for g in drawn(name)}
        least = 2 if (name, letter) == ("batch_norm_update", "n") else 1  # an unbiased variance
        assert least in lengths, letter
        assert max(lengths) >= (33 if letter == "n" else 63), letter
        corners = {c.sizes[letter] for c in BY_NAME[name].corners}
        assert max(corners) > 2**16, letter


@pytest.mark.parametrize("name", BY_NAME)
def test_every_value_of_every_option_is_drawn(name):
    operator = BY_NAME[name]
    picked = [n for n in drawn(name)[0].sizes if n.startswith(PICKED)]
    for size in picked:
        option = size.removeprefix(PICKED)
        values = Counter(operator.arguments(g.sizes).options[option] for g in drawn(name))
        assert len(values) > 1, option
        assert min(values.values()) >= DRAWS / 40 or option == "num_groups", values
    for size in (n for n in drawn(name)[0].sizes if n.startswith(GIVEN)):
        assert {g.sizes[size] for g in drawn(name)} == {0, 1}, size


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_an_empty_batch_is_drawn_where_there_is_a_call(name):
    empty = any(g.sizes["n"] == 0 for g in drawn(name))
    assert empty is (
        name
        not in (
            "batch_norm",
            "batch_norm_update",
            "soft_target_cross_entropy",
            *(n for n in DERIVED if n.endswith(("loss", "div", "logits"))),
        )
    )
