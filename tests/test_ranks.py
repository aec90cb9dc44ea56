"""Operators of one and of three spatial axes: made of those of two, and checked as they are."""

import inspect
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.shrinking import smallest_sizes
from gradoracle.conformance.drawing.choices import spread
from gradoracle.conformance.operators import OPERATORS, ranks
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import axes_of, displayed, evaluate, output_of
from gradoracle.oracle.ranks import RANKS, text_of_rank
from gradoracle.oracle.shapes import SIDES
from gradoracle.oracle.windows import meetings
from tests.by_axes import DRAWN_BY_AXES
from tests.test_registry import ONE_BY_ONE

OTHER = [o for o in OPERATORS if o.name.endswith(("1d", "3d"))]
WINDOWED = [o for o in OTHER if o.name not in DRAWN_BY_AXES]
BY_NAME = {o.name: o for o in OPERATORS}
NAMED = {"ids": lambda o: o.name}


def rank_of(operator):
    return int(operator.name[-2])


def of_two(name):
    """The name of what has two axes, of a function of one or of three."""
    name = re.sub(r"_(tri)?linear[13]d", "_bilinear2d", name)
    return re.sub(r"[13]d", "2d", name)


def planar(operator):
    return BY_NAME[of_two(operator.name)]


def test_every_kind_of_one_axis_is_there_of_two_and_of_three():
    kinds = Counter(of_two(o.name) for o in OTHER)
    assert len(kinds) == 14
    assert {*kinds.values()} == {2}
    assert {o.axes.rank for o in OTHER} == {0, 1, 3}  # 0 of max unpooling, whose places are numbers


# -- the record -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OTHER, **NAMED)
def test_every_property_of_two_axes_is_checked_but_for_the_documents_forms(operator):
    for formula, other in zip(operator.formulas, planar(operator).formulas, strict=True):
        assert other.__name__ == of_two(formula.__name__)
        here, there = (
            {p.name for p in PROPERTIES.values() if f in p.formulas(o)}
            for o, f in ((operator, formula), (planar(operator), other))
        )
        assert there - here <= {"forms_agree", "holds_at_scale"}
        assert not here - there
        if operator.layers:
            assert there - here <= {"forms_agree"}


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("name", oracle.__all__)
def test_every_backend_has_the_signature_of_the_formula_with_each_option_by_its_name(name):
    torch_reference = pytest.importorskip("gradoracle.implementations.torch_reference")
    want = parameters(getattr(oracle, name))
    assert inspect.Parameter.VAR_KEYWORD not in {kind for _, kind, _ in want}
    backends = [one for one in (good, torch_reference) if hasattr(one, name)]
    assert bool(backends) != (name in ONE_BY_ONE)  # gradients that are given one by one
    for backend in backends:
        assert parameters(getattr(backend, name)) == want


@pytest.mark.parametrize("backend", [oracle, good], ids=["oracle", "im2col"])
def test_an_option_that_is_missing_or_unknown_is_an_error(backend):
    x, w = np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1))
    options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    assert (backend.conv2d(x, w, **options) == x).all()
    with pytest.raises(TypeError, match="ceil_mode"):
        backend.conv2d(x, w, **options, ceil_mode=True)
    del options["padding"]
    with pytest.raises(TypeError, match="padding"):
        backend.conv2d(x, w, **options)


@pytest.mark.parametrize("operator", OTHER, **NAMED)
def test_formulas_say_what_they_are_of(operator):
    rank = rank_of(operator)
    for formula in operator.formulas:
        assert formula.__name__.startswith(operator.name)
        signature = inspect.signature(formula)
        twin = next(f for f in planar(operator).formulas if f.__name__ == of_two(formula.__name__))
        assert signature == inspect.signature(twin)
        equation, source = displayed(formula)
        assert source == text_of_rank(rank, displayed(twin)[1])
        if formula.__name__ == "lp_pool1d_grad":  # in which i and k count all elements
            equation = equation.partition("for")[2]
        indices = {*re.findall(r"\b[ijkhtwpql]\b", equation)}
        assert indices <= {1: {*"ihp"}, 3: {*"kijthwlpq"}}[rank], equation
        if rank == 3:  # each index beside those of its kind
            assert all({*kind} <= indices for kind in ("kij", "thw", "lpq") if {*kind} & indices)
        assert "2d" not in formula.__doc__
        assert "Erratum" not in formula.__doc__
        assert output_of(formula).function in oracle.__all__
        assert axes_of(formula).rank == (rank if axes_of(twin).rank else 0)


def test_texts_of_two_axes_become_those_of_one_and_three():
    text = (
        "x [N, C, H, W], weight [M, KH, KW] with i*S + p*D - P = h and j*S + q*D - P = w, h*W + w"
    )
    one, three = (text_of_rank(rank, text) for rank in (1, 3))
    assert one == "x [N, C, W], weight [M, KW] with i*S + p*D - P = h, h"
    assert three == (
        "x [N, C, T, H, W], weight [M, KT, KH, KW] with k*S + l*D - P = t, i*S + p*D - P = h and "
        "j*S + q*D - P = w, (t*H + h)*W + w"
    )
    assert text_of_rank(2, text) == text


# -- where windows meet an image ------------------------------------------------------------------


@pytest.mark.parametrize("rank", RANKS)
def test_what_meets_is_the_definition(rank):
    random = np.random.default_rng(rank)
    for _ in range(40):
        kernel, stride, dilation = (tuple(random.integers(1, 4, rank).tolist()) for _ in range(3))
        padding = tuple(random.integers(0, 3, rank).tolist())
        counts, size = (tuple(random.integers(1, 4, rank).tolist()) for _ in range(2))
        options = (stride, padding, dilation)
        want = set()
        for i, window in enumerate(np.ndindex(counts)):
            for p, tap in enumerate(np.ndindex(kernel)):
                at = [a * s + b * d - pad for a, b, s, d, pad in
                      zip(window, tap, stride, dilation, padding, strict=True)]  # fmt: skip
                if all(0 <= h < n for h, n in zip(at, size, strict=True)):
                    want.add((i, p, int(np.ravel_multi_index(at, size))))
        met = meetings(size, kernel, counts, *options)
        for sorted_, order in (
            (met.by_window, (0, 1, 2)), (met.by_tap, (1, 0, 2)), (met.by_pixel, (2, 1, 0)),
        ):  # fmt: skip
            start, *others = (one.list for one in sorted_)
            found = [
                [(n, *(other[k] for other in others))[at] for at in order]
                for n in range(len(start) - 1)
                for k in range(start[n], start[n + 1])
            ]
            assert len(found) == len(want)
            assert {*map(tuple, found)} == want


@pytest.mark.parametrize("operator", [o for o in OTHER if rank_of(o) == 1], **NAMED)
def test_one_axis_is_the_second_of_two_with_a_height_of_one(operator):
    """The same numbers, whether the loops count one axis or two."""
    twin = planar(operator)
    for number in range(40):
        drawn = operator.geometry(spread("one axis", number), "small")
        style = operator.styles.of("any")[0]
        call = operator.call(drawn.sizes, style, drawn.seed, "float64")
        neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
        lifted = {}
        for name, value in call.items():
            if isinstance(value, np.ndarray) and value.ndim == 3:
                lifted[name] = value[:, :, None]
            elif name.endswith("_shape"):
                lifted[name] = (*value[:2], 1, value[2])
            elif name == "output_size":
                lifted[name] = (1, *value)
            elif "_pad" in operator.name:
                lifted[name] = (*value, 0, 0)
            else:
                lifted[name] = (neutral[name], *value) if name in neutral else value
        for formula, other in zip(operator.formulas, twin.formulas, strict=True):
            got, want = evaluate(formula, call), evaluate(other, lifted)
            assert np.array_equal(got, want.reshape(got.shape), equal_nan=True)


# -- what is drawn --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "medium", "large"])
@pytest.mark.parametrize("operator", WINDOWED, **NAMED)
def test_every_draw_is_legal_and_a_third_axis_has_options_of_its_own(operator, size):
    third, count = Counter(), 300
    for number in range(count):
        drawn = operator.geometry(spread("ranks", number), size)
        operator.arguments(drawn.sizes)
        sides = [side for side in SIDES[3] if side in drawn.sizes]
        assert sides == [*SIDES[rank_of(operator)]]
        if "depth" in sides:
            sizes = drawn.sizes
            third["kernel"] += sizes["kernel_depth"] > 1
            third["stride"] += sizes["stride_depth"] > 1
            third["padding"] += sizes["padding_depth"] > 0
            third["dilation"] += sizes.get("dilation_depth", 1) > 1
            third["unlike the height"] += sizes["kernel_depth"] != sizes["kernel_height"]
            third["longer than the height"] += sizes["depth"] > sizes["height"]
    if rank_of(operator) == 3:
        least = {"padding": 0.03, "dilation": 0 if "avg" in operator.name else 0.05}
        for what, found in third.items():
            assert found >= count * least.get(what, 0.1), (what, found)


def test_what_was_drawn_for_two_axes_keeps_its_width():
    sizes = {"images": 2, "height": 5, "width": 7, "kernel_height": 3, "kernel_width": 2,
             "stride_height": 1, "stride_width": 2}  # fmt: skip
    assert ranks.of_rank(sizes, 2, 5) == sizes
    assert ranks.of_rank(sizes, 1, 5) == {
        "images": 2, "width": 7, "kernel_width": 2, "stride_width": 2,
    }  # fmt: skip
    thin = ranks.of_rank(sizes, 3)
    assert (thin["depth"], thin["kernel_depth"], thin["stride_depth"]) == (1, 1, 1)
    assert {n: thin[n] for n in sizes} == sizes


def test_a_counterexample_of_three_axes_is_shrunk_along_all_of_them():
    sizes = {"images": 2, "depth": 5, "height": 6, "width": 7, "kernel_depth": 3,
             "kernel_height": 3, "kernel_width": 3, "padding_depth": 1}  # fmt: skip
    small = smallest_sizes(sizes, lambda s: s["depth"] >= 2 and s["kernel_depth"] >= 2)
    assert (small["depth"], small["kernel_depth"]) == (2, 2)
    assert max(n for name, n in small.items() if "depth" not in name) == 1


# -- backends -------------------------------------------------------------------------------------


def test_a_right_convolution_of_three_axes_passes_and_a_flipped_one_does_not():
    operator = BY_NAME["conv3d"]
    for wrong in (False, True):

        def conv3d(x, weight, bias=None, wrong=wrong, **options):
            return good.conv3d(x, weight[:, :, ::-1] if wrong else weight, bias, **options)

        backend = wrap(SimpleNamespace(conv3d=conv3d, contract={"dtypes": ["float32"]}))
        outcome = examine(
            backend, operator, oracle.conv3d, PROPERTIES["matches_oracle"], examples=20, seed=1
        )
        assert outcome.status == ("mismatch" if wrong else "passed")
    assert outcome.mismatch is not None
