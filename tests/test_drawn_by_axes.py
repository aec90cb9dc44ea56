"""What is drawn for derived formulas follows from their axes and options."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.arrays import GIVEN, PICKED
from gradoracle.oracle.declaration import Composed, algebra, axes_of, evaluate, parts_of

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
        if operator.backward:
            assert shapes["grad_output"] is not None
    style = operator.styles.of("floats")[0]
    first, *_ = parts_of(operator.formulas[0])
    for geometry in drawn(name)[:40]:
        call = operator.call(geometry.sizes, style, geometry.seed, "float32")
        answer = evaluate(first, call)
        if operator.backward:
            assert answer.shape == call["grad_output"].shape
        again = operator.complete(dict(call), geometry.seed)
        arrays = {n: v for n, v in call.items() if isinstance(v, np.ndarray)}
        assert all(np.array_equal(again[n], v, equal_nan=True) for n, v in arrays.items())


def lengths(operator, letter, geometries):
    """Return how long an axis is in these: as sizes say it, or as arrays are that follow."""
    arrays = axes_of(operator.formula).arrays.items()
    name, place = next((name, of.index(letter)) for name, of in arrays if letter in of)
    style = operator.styles.of("floats")[0]
    return {
        g.sizes[letter]
        if letter in g.sizes
        else operator.call(g.sizes, style, 1, "float32")[name].shape[place]
        for g in geometries
    }


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_every_axis_is_long_short_and_past_a_limit(name):
    axes = axes_of(BY_NAME[name].formula)
    letters = {one for n, of in axes.arrays.items() if n != "grad_output" for one in of}
    for letter in letters - {"*"}:
        found = lengths(BY_NAME[name], letter, drawn(name))
        least = 2 if (name, letter) == ("batch_norm_update", "n") else 1  # an unbiased variance
        assert least in found, letter
        assert max(found) >= (33 if letter == "n" else 63), letter
        assert max(lengths(BY_NAME[name], letter, BY_NAME[name].corners)) > 2**16, letter


@pytest.mark.parametrize("name", BY_NAME)
def test_every_value_of_every_option_is_drawn(name):
    operator = BY_NAME[name]
    picked = [n for n in drawn(name)[0].sizes if n.startswith(PICKED)]
    for size in picked:
        option = size.removeprefix(PICKED)
        listed = operator.values[option]
        places = Counter(
            g.sizes[size] % len(listed(g.sizes) if callable(listed) else listed)
            for g in drawn(name)
        )
        assert len(places) > 1, option
        # The more groups there are, the fewer shapes have as many channels.
        assert min(places.values()) >= DRAWS / 40 or option == "num_groups", places
    for size in (n for n in drawn(name)[0].sizes if n.startswith(GIVEN)):
        assert {g.sizes[size] for g in drawn(name)} == {0, 1}, size


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_an_empty_batch_is_drawn_where_there_is_a_call(name):
    empty = any(g.sizes["n" if "n" in g.sizes else "images"] == 0 for g in drawn(name))
    assert empty is (
        name
        not in (
            "batch_norm",
            "batch_norm_update",
            "soft_target_cross_entropy",
            *(n for n in DERIVED if n.endswith(("loss", "div", "logits"))),
        )
    )
