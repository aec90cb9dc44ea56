"""The smallest calls of every operator are found from its sizes, and met by every check."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.textbook import REGION, smallest, textbook, with_ones
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import Chained, algebra

BY_NAME = {operator.name: operator for operator in OPERATORS}
PLAIN = [o for o in OPERATORS if not isinstance(algebra(o.formula), Chained)]


def shapes(operator, geometries):
    return [dict(BY_NAME[operator].arguments(g.sizes).shapes) for g in geometries]


@pytest.mark.parametrize("operator", PLAIN, ids=lambda o: o.name)
def test_the_first_is_one_element_and_all_are_small(operator):
    first, *others = textbook(operator)
    # glu halves its columns, an unbiased variance is of two numbers, a pair is turned, and cat and
    # split have two arrays beside each other in one.
    doubled = ("glu", "batch_norm_update", "rotary_embedding", "cat", "split")
    least = 2 if operator.name in doubled else 1
    assert all(np.prod(s) <= least for s in operator.arguments(first.sizes).shapes.values() if s)
    assert min(3, len(first.sizes)) <= len(others) <= 14
    assert first.sizes == smallest(operator)
    for geometry in (first, *others):
        assert (geometry.stratum, geometry.region) == ("boundary", REGION)
        given = operator.arguments(geometry.sizes).shapes.values()
        most = 25 if operator.axes.rank < 3 else 125
        assert all(np.prod(shape) <= most for shape in given if shape)


def test_the_textbooks_convolutions_are_among_them():
    sizes = [(s["x"], s["weight"]) for s in shapes("conv2d", textbook(BY_NAME["conv2d"]))]
    assert {
        ((1, 1, 1, 1), (1, 1, 1, 1)),  # one element
        ((1, 1, 2, 2), (1, 1, 1, 1)),  # a 1x1 kernel on 2x2
        ((1, 1, 2, 2), (1, 1, 2, 2)),  # one window
        ((1, 1, 3, 3), (1, 1, 2, 2)),  # a 2x2 kernel on 3x3
        ((1, 2, 1, 1), (1, 2, 1, 1)),  # two channels
        ((1, 1, 1, 1), (2, 1, 1, 1)),  # two filters
        ((2, 1, 1, 1), (1, 1, 1, 1)),  # two images
    } <= {*sizes}


def test_an_average_of_one_element_and_padding_is_among_them():
    found = [BY_NAME["avg_pool2d"].arguments(g.sizes) for g in textbook(BY_NAME["avg_pool2d"])]
    assert any(
        a.shapes["x"] == (1, 1, 1, 1)
        and a.options["count_include_pad"]
        and any(a.options["padding"])
        for a in found
    )


def test_rows_of_one_class_and_of_two_are_among_them():
    rows = {s["z"] for s in shapes("softmax", textbook(BY_NAME["softmax"]))}
    assert {(1,), (2,), (1, 1), (1, 2)} <= rows
    assert {(1, 1), (1, 2)} <= {
        s["logits"] for s in shapes("cross_entropy", textbook(BY_NAME["cross_entropy"]))
    }


@pytest.mark.slow
@pytest.mark.parametrize("examples", [2, 25])
def test_every_check_meets_them_whatever_the_profile(examples):
    met = Counter()
    wanted = {g.sizes["outputs"] * 9 + g.sizes["inputs"] for g in textbook(BY_NAME["linear"])}
    for operator, formula, property_ in checks():
        if operator.name != "linear" or property_.on_layers or not property_.at_smallest:
            continue
        seen = set()

        def check(backend, operator, formula, call, seen=seen, of=property_):
            seen.add(len(call["weight"]) * 9 + call["weight"].shape[1])
            return of.check(backend, operator, formula, call)

        backend = SimpleNamespace(
            **{name: getattr(good, name) for name in good.__all__ if name.startswith("linear")}
        )
        backend.contract = {"policies": {"repeats": "bitwise", "subnormals": "kept"}}
        outcome = examine(
            wrap(backend), operator, formula, replace(property_, check=check),
            examples=examples, seed=3,
        )  # fmt: skip
        if outcome.status in ("passed", "blind"):
            assert wanted <= seen, (formula.__name__, property_.name)
            met[property_.name] += 1
    assert met["matches_oracle"] == 4
    assert len(met) >= 10


def test_one_axis_after_the_other_has_one_entry_beside_others_of_several():
    found = shapes("linear", with_ones(BY_NAME["linear"], BY_NAME["linear"].formula))
    several = [s for s in found if max(s["x"] + s["weight"]) <= 3]
    assert {(s["x"], s["weight"]) for s in several} >= {
        ((2, 2), (2, 2)), ((1, 2), (2, 2)), ((2, 1), (2, 1)), ((2, 2), (1, 2)),
    }  # fmt: skip
    full = [s for s in found if 1 in s["grad_output"] and np.prod(s["x"]) > 4096]
    assert any(s["grad_output"][1] == 1 for s in full)


def test_convolutions_of_one_pixel_and_padded_channels_are_laid_otherwise():
    operator = BY_NAME["conv2d"]
    found = [operator.arguments(g.sizes) for g in with_ones(operator, operator.formula)]
    assert any(
        a.shapes["grad_output"][2:] == (1, 1) and a.shapes["weight"][1] > 1
        and np.prod(a.shapes["weight"][2:]) > 1
        for a in found
    )  # fmt: skip
    assert any(any(a.options["padding"]) and a.shapes["x"][1] > 1 for a in found)
    assert any(a.shapes["weight"][2:] == (1, 1) and a.shapes["x"][1] > 1 for a in found)
    assert any(a.options["groups"] > 1 for a in found)
