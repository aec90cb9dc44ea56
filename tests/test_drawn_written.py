"""What is drawn for formulas that are written out, and drawn by their axes as derived ones are.

`tests/test_drawn_by_axes.py` has the derived ones.
"""

from collections import Counter
from functools import cache

import pytest

from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators import OPERATORS
from gradoracle.oracle.declaration import evaluate
from gradoracle.oracle.ranks import RANKS
from tests.by_axes import WRITTEN

DRAWS = 400
PADS = tuple(f"_pad{rank}d" for rank in RANKS)
SIZED = ("adaptive_", "interpolate_")
LEAST_OF_EACH = DRAWS // 40  # of every value of a size that is drawn beside the lengths


@cache
def drawn(name):
    found = []
    draw(WRITTEN[name], "medium", DRAWS, 3, found.extend)
    return found


def calls_of(name):
    """Return the `Calls` that the record is made of."""
    return WRITTEN[name].geometry.func.__self__


def test_what_moves_pixels_pools_to_a_size_and_interpolates_is_here():
    moved = {o.name for o in OPERATORS if o.name.endswith((*PADS, "shuffle", "fold"))}
    sized = {o.name for o in OPERATORS if o.name.startswith((*SIZED, "max_unpool"))}
    assert {*WRITTEN} == moved | sized
    assert len(moved) == 16
    assert len(sized) == 15


@pytest.mark.parametrize("name", WRITTEN)
def test_every_draw_and_every_corner_is_a_call(name):
    operator = WRITTEN[name]
    assert len(drawn(name)) == DRAWS
    for geometry in (*drawn(name), *operator.corners):
        assert operator.arguments(geometry.sizes).shapes["grad_output"] is not None
    style = operator.styles.of("exact")[0]
    for geometry in drawn(name)[:40]:
        call = operator.call(geometry.sizes, style, geometry.seed, "float32")
        for formula in operator.formulas:
            shape = call["x" if formula in operator.gradients else "grad_output"].shape
            assert evaluate(formula, call).shape == shape


@pytest.mark.parametrize("name", WRITTEN)
def test_every_side_is_short_long_and_past_a_limit(name):
    for letter in calls_of(name).letters:
        lengths = {g.sizes[letter] for g in drawn(name)}
        assert 1 in lengths, letter
        assert max(lengths) >= (33 if letter == "n" else 63), letter
        assert max(c.sizes[letter] for c in WRITTEN[name].corners) > 2**16, letter
    assert any(g.sizes["n"] == 0 for g in drawn(name))


@pytest.mark.parametrize("name", WRITTEN)
def test_every_value_of_every_further_size_is_drawn(name):
    for size, (least, most, _) in calls_of(name).further.more.items():
        values = Counter(g.sizes[size] for g in drawn(name))
        assert {*values} == {*range(least, most + 1)}, size
        assert min(values.values()) >= LEAST_OF_EACH, (size, values)


def in_calls(name, option):
    """Return the values that an option has in the calls that are drawn, of each side one."""
    made = (WRITTEN[name].arguments(g.sizes).options[option] for g in drawn(name))
    return Counter(value for values in made for value in values)


@pytest.mark.parametrize("name", [n for n in WRITTEN if n.endswith(PADS)])
def test_padding_is_drawn_up_to_what_a_call_may_have(name):
    counts, most = in_calls(name, "padding"), Counter()
    drawn_up_to = 2 if "3d" in name else 5
    assert min(counts[pad] for pad in range(drawn_up_to + 1)) >= LEAST_OF_EACH
    for geometry in drawn(name):
        made = WRITTEN[name].arguments(geometry.sizes)
        twice = [side for side in made.shapes["x"][:1:-1] for _ in range(2)]
        sides = zip(made.options["padding"], twice, strict=True)
        most.update(pad - side for pad, side in sides)
    far = {"reflection_pad": -1, "circular_pad": 0}.get(name[:-2])
    assert far is None or max(most) == far
    assert most[far if far is not None else 1] >= LEAST_OF_EACH


@pytest.mark.parametrize("name", [n for n in WRITTEN if n.startswith(SIZED)])
def test_results_of_a_given_size_are_smaller_larger_multiples_and_fractions(name):
    seen = Counter()
    for geometry in drawn(name):
        pixels, windows = (geometry.sizes[n] for n in ("h", "i"))
        seen["fit"] += windows < pixels and not pixels % windows
        seen["overlap"] += windows < pixels and pixels % windows > 0
        seen["repeat"] += windows > pixels
        seen["same"] += windows == pixels > 1
    assert min(seen.values()) >= LEAST_OF_EACH, seen


@pytest.mark.parametrize("name", [n for n in WRITTEN if n.startswith("interpolate")])
def test_every_option_of_an_interpolation_is_drawn(name):
    made = [WRITTEN[name].arguments(g.sizes).options for g in drawn(name)]
    (option,) = made[0].keys() - {"output_size", "input_shape"}
    assert min(Counter(one[option] for one in made).values()) > DRAWS / 4


@pytest.mark.parametrize("rank", RANKS)
def test_coordinates_of_nearest_pixels_are_settled_in_every_call(rank):
    operator = WRITTEN[f"interpolate_nearest{rank}d"]
    for geometry in (*drawn(operator.name), *operator.corners):
        call = operator.arguments(geometry.sizes).options
        assert not operator.unsettled({}, operator.formula, call)
    ones = (1,) * (rank - 1)
    open_one = {"input_shape": (1, 1, 2, *ones), "output_size": (82, *ones), "mode": "nearest"}
    assert operator.unsettled({}, operator.formula, open_one)
