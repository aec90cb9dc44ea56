"""What a thousand draws reach: every stratum and every forced region, often."""

from collections import Counter

import numpy as np
import pytest

from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.drawing.values import EXACT, FLOATS
from gradoracle.conformance.operators.convolution import CONV2D, arguments
from gradoracle.conformance.operators.convolution_geometry import BOUNDARIES, REGIONS
from gradoracle.conformance.operators.convolution_layers import LAYERS
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import remainder

DRAWS = 1000


@pytest.fixture(scope="module")
def drawn():
    found = []
    draw(CONV2D, "large", DRAWS, 1, found.extend)
    return found


def sides(sizes, name):
    return sizes[f"{name}_height"], sizes[f"{name}_width"]


def test_no_draw_is_wasted_and_every_draw_is_legal(drawn):
    assert len(drawn) == DRAWS
    for geometry in drawn:
        arguments(geometry.sizes)


def test_strata(drawn):
    counts = Counter(g.stratum for g in drawn)
    assert counts["free"] >= 330
    assert counts["idiomatic"] >= 150
    assert counts["boundary"] >= 330


def test_every_region_layer_and_limit_is_drawn(drawn):
    regions = Counter(g.region for g in drawn)
    for region in REGIONS:
        assert regions[region] >= 8, region
    for layer in LAYERS:
        assert regions[layer.name] >= 1, layer
    aims = Counter(g.region.split()[0] for g in drawn if g.stratum == "boundary")
    for aim in BOUNDARIES:
        assert aims[aim] >= 5, aim


REACHED = {
    "1x1 kernel with padding": (
        60, lambda s: sides(s, "kernel") == (1, 1) and max(sides(s, "padding")) > 0,
    ),
    "padding beyond the kernel": (
        80,
        lambda s: any(
            s[f"padding_{a}"] > s[f"dilation_{a}"] * (s[f"kernel_{a}"] - 1)
            for a in ("height", "width")
        ),
    ),
    "remainder": (
        150,
        lambda s: any(
            remainder(s[a], *(s[f"{n}_{a}"] for n in ("kernel", "stride", "padding", "dilation")))
            for a in ("height", "width")
        ),
    ),
    "stride beyond the kernel": (
        100,
        lambda s: any(s[f"stride_{a}"] > s[f"kernel_{a}"] for a in ("height", "width")),
    ),
    "groups unlike multiplier": (
        100, lambda s: s["groups"] > 1 and s["group_channels"] != s["multiplier"],
    ),
    "odd depth in groups": (50, lambda s: s["groups"] > 1 and s["group_channels"] in (3, 5, 7)),
    "groups with stride and dilation": (
        30,
        lambda s: s["groups"] > 1
        and max(sides(s, "stride")) > 1
        and any(
            s[f"dilation_{a}"] > 1 and s[f"kernel_{a}"] > 1 for a in ("height", "width")
        ),
    ),
    "height unlike width everywhere": (
        15,
        lambda s: s["height"] != s["width"]
        and all(
            sides(s, n)[0] != sides(s, n)[1] for n in ("kernel", "stride", "padding", "dilation")
        ),
    ),
    "one pixel": (30, lambda s: s["height"] == s["width"] == 1),
    "one row or column": (80, lambda s: 1 in (s["height"], s["width"])),
    "empty batch": (8, lambda s: s["images"] == 0),
    "three images or more": (100, lambda s: s["images"] >= 3),
    "no bias": (300, lambda s: s["bias"] == 0),
    "depthwise with stride": (
        20,
        lambda s: s["groups"] > 1 and s["group_channels"] == 1 and max(sides(s, "stride")) > 1,
    ),
    "channels past a warp": (15, lambda s: s["group_channels"] > 32),
    "filters past a warp": (15, lambda s: s["multiplier"] * s["groups"] > 32),
    "batch past 16": (5, lambda s: s["images"] > 16),
    "even kernel": (100, lambda s: any(k % 2 == 0 for k in sides(s, "kernel"))),
    "kernel of five and more": (50, lambda s: max(sides(s, "kernel")) >= 5),
}  # fmt: skip


@pytest.mark.parametrize("region", REACHED)
def test_region_is_reached_often(region, drawn):
    least, inside = REACHED[region]
    assert sum(inside(g.sizes) for g in drawn) >= least


def test_more_outputs_than_a_grid_has_blocks(drawn):
    outputs = [arguments(g.sizes).shapes["grad_output"] for g in drawn]
    counts = [n * m * i * j for n, m, i, j in outputs]
    assert sum(count > 65_535 for count in counts) >= 3


SHAPES = {"x": (2, 3, 40, 5), "weight": (4, 3, 2, 2), "bias": (4,), "grad_output": (2, 4, 39, 4)}


@pytest.mark.parametrize("style", EXACT + FLOATS, ids=lambda style: style.name)
def test_styles_that_say_so_give_the_same_numbers_in_every_format_and_no_others(style):
    made = [
        [style.fill(np.random.default_rng(seed), SHAPES, FORMATS[name]) for seed in range(8)]
        for name in FORMATS
    ]
    same = all(
        np.array_equal(one[name], first[name])
        for other in made[1:]
        for one, first in zip(other, made[0], strict=True)
        for name in SHAPES
    )
    assert same is style.same


def test_a_call_s_numbers_are_its_own_though_they_are_made_once():
    style, sizes = CONV2D.styles.exact[0], CONV2D.corners[0].sizes
    assert style.same
    first = CONV2D.call(sizes, style, 3, "float64")
    kept = first["x"].copy()
    first["x"][...] = 7
    assert (CONV2D.call(sizes, style, 3, "float64")["x"] == kept).all()
    assert (CONV2D.call(sizes, style, 3, "float16")["x"] == kept).all()
    assert not (CONV2D.call(sizes, style, 4, "float64")["x"] == kept).all()
