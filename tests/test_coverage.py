"""Covering arrays, and that a run meets what its certificate says: counted from the calls alone."""

import json
from collections import defaultdict
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.drawing import coverage, covering
from gradoracle.conformance.drawing.choices import spread
from gradoracle.conformance.drawing.coverage import CHANGED, DTYPE, Cover, excluding, with_dtype
from gradoracle.conformance.drawing.covering import (
    Factors,
    count,
    covering_rows,
    key_of,
    make,
    neutral_pairs,
)
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.covering_rows import kept_rows
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col as good
from gradoracle.oracle.shapes import SIDES

OPERATOR = {operator.name: operator for operator in OPERATORS}
KEPT = json.loads(Path(covering.__file__).with_name(covering.ROWS_FILE).read_text("ascii"))
ALL = [(o.name, at, cover) for o in OPERATORS for at, cover in enumerate(o.covers)]


# -- the rows -------------------------------------------------------------------------------------


def strengths_of(at, cover):
    """Return the strengths at which an operator's covering array is used."""
    return {cover.strength, *(() if at else (coverage.PAIRS, coverage.EACH))} - {0}


def seen_in(rows, factors, strength):
    """The combinations in rows, by plain sets: nothing of `covering.count`."""
    return {
        (names, tuple(values[name] for name in names))
        for values in map(factors.chosen, rows)
        for names in combinations(factors.names, strength)
    }


def wanted_of(factors, strength):
    return {
        (names, values)
        for names in combinations(factors.names, strength)
        for values in product(*(factors.classes[name] for name in names))
        if factors.allows(dict(zip(names, values, strict=True)))
    }


@pytest.mark.parametrize("strength", [1, 2, 3, 4])
def test_every_allowed_combination_is_in_a_row(strength):
    def allows(chosen):
        return not (chosen.get("a") == 0 and chosen.get("b") == 1 and chosen.get("d") == 2)

    classes = {"a": range(3), "b": range(2), "c": range(2), "d": range(3), "e": range(4)}
    factors = Factors(classes, allows)
    rows = make(factors, strength)
    assert seen_in(rows, factors, strength) == wanted_of(factors, strength)
    assert count(factors, strength, rows) == (len(wanted_of(factors, strength)),) * 2
    assert all(factors.allows(factors.chosen(row)) for row in rows)
    assert len(rows) < 3 * 2 * 2 * 3 * 4 / (5 - strength)


def test_what_is_left_out_is_not_counted():
    factors = Factors({"a": range(3), "b": range(3)})
    rows = [row for row in make(factors, 2) if row != (2, 1)]
    assert count(factors, 2, rows) == (8, 9)
    cover = Cover("two", factors, dict, 2)
    assert cover.covered(cover.rows()[:4]).text == "4 of 9 pairs of option classes (two)"


def test_what_cannot_be_filled_is_an_error():
    def allows(chosen):
        return "c" not in chosen or "a" not in chosen or chosen["a"] != 0

    with pytest.raises(ValueError, match="no row has a 0"):
        make(Factors({"a": range(2), "b": range(2), "c": range(2)}, allows), 2)


def test_pairs_with_all_else_neutral():
    factors = Factors({"a": range(3), "b": range(2), "c": range(2)})
    rows = neutral_pairs(factors, {"a": 1, "b": 0, "c": 0})
    assert sorted(rows) == sorted({r for r in product(range(3), range(2), range(2))
                                   if sum(map(int.__ne__, r, (1, 0, 0))) <= 2})  # fmt: skip


@pytest.mark.parametrize(("name", "at", "cover"), ALL)
def test_kept_rows_hold_every_combination(name, at, cover):
    del name
    for strength in strengths_of(at, cover):
        assert key_of(cover.factors, strength) in KEPT, (
            "run python -m gradoracle.conformance.operators.covering_rows"
        )
        rows, possible = covering_rows(cover.factors, strength)
        assert count(cover.factors, strength, rows) == (possible, possible)
        if strength == coverage.PAIRS:
            assert seen_in(rows, cover.factors, 2) == wanted_of(cover.factors, 2)


def test_the_file_keeps_no_other_rows():
    keys = {
        key_of(cover.factors, strength)
        for _, at, cover in ALL
        for strength in strengths_of(at, cover)
    }
    assert set(KEPT) == keys


@pytest.mark.slow
def test_the_file_is_what_the_command_writes():
    assert kept_rows({}) == KEPT


@pytest.mark.parametrize(("name", "at", "cover"), ALL)
def test_every_row_is_a_legal_call_whatever_the_seed(name, at, cover):
    del at
    for seed in range(2):
        for place, row in enumerate(cover.rows()):
            sizes = cover.sizes(cover.factors.chosen(row), spread(seed, place))
            assert OPERATOR[name].arguments(sizes).shapes


def test_the_seed_picks_the_members_of_a_class():
    cover = OPERATOR["conv2d"].covers[0]
    varied = large = 0
    for row in cover.rows():
        chosen = cover.factors.chosen(row)
        if len(chosen["kernel"]) > 1:
            large += 1
            varied += (
                len({cover.sizes(chosen, spread(seed))["kernel_height"] for seed in range(9)}) > 1
            )
    assert varied > large / 2 > 50


# -- what a run meets -----------------------------------------------------------------------------


def recorded(name, **changed):
    """A backend of one function of im2col, and the calls that it gets."""
    calls = []

    def function(*arrays, **options):
        calls.append((arrays, options))
        return changed.get("does", getattr(good, name))(*arrays, **options)

    backend = SimpleNamespace(contract={"dtypes": ["float32", "float64", "float16"]})
    setattr(backend, name, function)
    return backend, calls


def run(name, formula, property_="matches_oracle", seed=1, **changed):
    backend, calls = recorded(formula, **changed)
    operator = OPERATOR[name]
    (one,) = [f for f in operator.formulas if f.__name__ == formula]
    backend = wrap(backend)
    return examine(backend, operator, one, PROPERTIES[property_], examples=300, seed=seed), calls


def classes_of(arrays, o):
    """The classes that a conv2d call with equal sides belongs to, from its arrays and options."""
    (n, _, h, w), (m, depth, k, kw) = arrays[0].shape, arrays[1].shape
    s, p, d, groups = o["stride"][0], o["padding"][0], o["dilation"][0], o["groups"]
    if (k, s, p, d) != (kw, o["stride"][1], o["padding"][1], o["dilation"][1]) or n == 0:
        return None
    span, filters = d * (k - 1) + 1, m // groups
    rests = {(side + 2 * p - span) % s > 0 for side in (h, w)}
    rows = {(side + 2 * p - span) // s == 0 for side in (h, w)}
    if len(rests) > 1 or len(rows) > 1:
        return None
    paddings = {"same": (span - 1) // 2, "full": span - 1}
    found = {
        "kernel": {min(k, 6) if k != 7 else 7}, "stride": {min(s, 5)}, "dilation": {min(d, 3)},
        "padding": {str(p)} & {*"0123"} | {n for n, v in paddings.items() if v == p}
        | ({"beyond"} if p >= span else set()),
        "groups": {str(groups)} & {"1", "2", "32"} | ({"3 to 8"} if 3 <= groups <= 8 else set()),
        "group_channels": {min(depth, 3)}, "filters": {min(filters, 3)}, "images": {min(n, 3)},
        "bias": {len(arrays) > 2 and arrays[2] is not None}, "rest": rests,
        "rows": {"one" if rows == {True} else "more"}, "dtype": {arrays[0].dtype.name},
    }  # fmt: skip
    if groups > 1 and depth == 1:
        found["groups"].add("depthwise" if filters == 1 else "depthwise with multiplier")
    return found


@pytest.mark.slow
def test_all_combinations_of_four_classes_are_in_the_calls_of_a_run():
    """Counted from what the backend was given, by the words of the classes alone."""
    outcome, calls = run("conv2d", "conv2d")
    assert outcome.status == "passed"
    of_call = [found for call in calls if (found := classes_of(*call)) is not None]
    factors = OPERATOR["conv2d"].covers[0].factors
    dtypes = {"float32": "float32", "float64": "float64", "half precision": "float16"}

    def word(name, label):
        if name == DTYPE:
            return dtypes[label]
        return label[0] if isinstance(label, tuple) else label

    met = defaultdict(set)
    for found in of_call:
        for names in combinations(factors.names, 4):
            met[names].update(product(*(found[name] for name in names)))
    possible = 0
    for names in combinations(factors.names, 4):
        for labels in product(*(factors.classes[name] for name in names)):
            if factors.allows(dict(zip(names, labels, strict=True))):
                possible += 1
                words = tuple(map(word, names, labels))
                assert words in met[names], (names, labels)
    covered = {one["name"]: one for one in outcome.covered if one["strength"] == 4}
    assert covered["height = width"]["met"] == covered["height = width"]["possible"] == possible
    assert possible > 34_325


@pytest.mark.slow
def test_what_is_declined_is_no_combination_met():
    def does(x, weight, bias=None, **o):
        if o["groups"] > 1:
            raise NotImplementedError
        return good.conv2d(x, weight, bias, **o)

    outcome, _ = run("conv2d", "conv2d", does=does)
    (four,) = [one for one in outcome.covered if one["strength"] == 4]
    cover = OPERATOR["conv2d"].covers[0]
    rows = [row for row in cover.rows() if cover.factors.chosen(row)["groups"] == "1"]
    assert four["met"] == len(seen_in(rows, cover.factors, 4)) < four["possible"]
    assert four["calls"] == len(rows)
    (changed,) = [one for one in outcome.covered if one["name"] == CHANGED]
    assert 0 < changed["met"] < changed["possible"]


def test_other_properties_meet_every_pair():
    outcome, calls = run("avg_pool2d", "avg_pool2d", "batch_independent")
    assert outcome.status == "passed", outcome.reason
    pairs = {(o["kernel_size"], o["ceil_mode"]) for _, o in calls}
    assert pairs >= {((k, k), ceil) for k in range(1, 6) for ceil in (False, True)}
    (met,) = outcome.covered
    assert met["strength"] == 2
    assert met["met"] <= met["possible"]


def test_a_quick_look_meets_none():
    operator = OPERATOR["relu"]
    backend = wrap(SimpleNamespace(relu=good.relu, contract={"dtypes": ["float32"]}))
    outcome = examine(
        backend, operator, oracle.relu, PROPERTIES["matches_oracle"], examples=25, seed=1
    )
    assert outcome.status == "passed"
    assert outcome.covered == []


# -- layers of networks with one option changed ---------------------------------------------------

# What a change may move in the sizes; sides follow from the options.
MOVES = {
    "dilation": {"dilation"}, "stride": {"stride"}, "padding": {"padding"}, "kernel": {"kernel"},
    "rest": {"output_padding", "ceil"}, "window": set(), "image": set(),
    "bias": {"bias"}, "groups": {"groups", "group_channels", "multiplier"}, "images": {"images"},
    "depthwise": {"groups", "group_channels", "multiplier"},
    "channel": {"group_channels", "channels", "multiplier"},
    "filter": {"multiplier", "group_channels"},
    "filters": {"groups", "group_channels", "multiplier"},
    "ceil_mode": {"ceil"}, "count": {"include"},
}  # fmt: skip


@pytest.mark.parametrize("name", [o.name for o in OPERATORS if o.variants()])
def test_every_layer_meets_every_change_and_nothing_else_moves(name):
    operator = OPERATOR[name]
    layers = defaultdict(dict)
    for one in operator.variants():
        layers[one.layer][one.change] = one
    for layer, changes in layers.items():
        for change, variant in changes.items():
            operator.arguments(variant.sizes(spread(layer)))  # legal
            if not change or "" not in changes:  # the same as a layer before it
                continue
            base, moved = (v.sizes(spread(layer)) for v in (changes[""], variant))
            ends = tuple(f"_{side}" for side in SIDES[3])
            names = {
                n.rpartition("_")[0] if n.endswith(ends) else n for n in base if base[n] != moved[n]
            }
            allowed = {*SIDES[3], "images"}.union(
                *(MOVES[word] for word in change.replace(",", "").split() if word in MOVES)
            )
            assert names <= allowed | {"output_padding"}, (layer, change, names)


def test_layers_of_today_are_among_them():
    layers = {one.layer for one in OPERATOR["conv2d"].variants()}
    for part in ("ViT 14", "ViT 32", "SegFormer 7x7", "ConvNeXt 7x7", "ResNeXt 32x4d", "DeepLab",
                 "EfficientNet 5x5"):  # fmt: skip
        assert any(part in layer for layer in layers), part
    ups = {one.layer for one in OPERATOR["conv_transpose2d"].variants()}
    assert any("StyleGAN" in up for up in ups)
    assert sum("bilinear" in up for up in ups) == 3


# -- large sides ----------------------------------------------------------------------------------


def largest(name):
    for corner in OPERATOR[name].corners:
        yield {n: s for n, s in corner.sizes.items() if s > 64}


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "linear", "max_pool2d",
                                  "avg_pool2d", "softmax", "cross_entropy", "relu"])  # fmt: skip
def test_two_sides_are_large_at_once_and_one_passes_16_bits(name):
    sides = [*largest(name)]
    assert sum(len(large) >= 2 and np.prod([*large.values()]) > 2**16 for large in sides) >= 1
    assert any(max(large.values(), default=0) > 2**16 for large in sides)
    for odd in (513, 1021, 2049, 4097):
        assert any(odd in large.values() for large in sides), odd


def test_the_text_of_what_was_met():
    cover = Cover("sides", Factors(with_dtype({"a": (1, 2)}), excluding()), dict, 2)
    assert cover.covered(cover.rows()).text == "all 6 pairs of option classes (sides)"


def test_the_readme_counts_what_is_met():
    readme = Path(__file__).parents[1] / "conformance" / "drawing" / "README.md"
    text = " ".join(readme.read_text("utf-8").split())
    four, three, *_ = OPERATOR["conv2d"].covers
    for cover in (four, three):
        _, possible = covering_rows(cover.factors, cover.strength)
        assert f"all {possible:,} ".replace(",", " ") in text
    for name, what in (("conv2d", "convolutions"), ("conv_transpose2d", "up-convolutions")):
        assert f"{len({one.layer for one in OPERATOR[name].variants()})} {what}" in text
