"""Which calls a check makes: drawn ones, corners, covering arrays, layers of networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradoracle.conformance.backends.contract import EXPENSIVE
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.failures import Drawn
from gradoracle.conformance.drawing.choices import FAR, Choices, spread
from gradoracle.conformance.drawing.coverage import CHANGED, DTYPE, DTYPES, Cover, Covered
from gradoracle.conformance.drawing.covering import Row
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.drawing.values import Style, all_negative
from gradoracle.conformance.operators.arrays import answerable
from gradoracle.conformance.operators.few_shapes import POOL
from gradoracle.conformance.operators.record import Geometry, Operator, Variant
from gradoracle.conformance.operators.textbook import (
    BESIDE_TILES,
    elements,
    textbook,
    with_ones,
)
from gradoracle.conformance.properties.property import FEWEST
from gradoracle.conformance.scale import workloads
from gradoracle.conformance.scale.data import NUMBERS, layer_call
from gradoracle.oracle.declaration import (
    argument_names,
    is_data,
    parts_of,
    same_part,
    whole_of,
)
from gradoracle.oracle.expected.exact import NARROW
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.float_formats import FORMATS, HALVES
from gradoracle.oracle.shapes import SIDES, Array

LITTLE = 5_000  # products of a call that Python's loops may take
TOGETHER = 16  # rows of a covering array that are performed at once
MOST_SEEDS = 20  # that a style gets to put NaN or infinities into every array
AGAIN = 2  # times as many draws as shapes, where these are few and the values matter little
SMALL = 512  # elements of a call
ATTEMPTS = 4  # to draw calls that a property says something about
ATTEMPTS_OF_SOME = 10  # where the backend's `supports` leaves some out


def judge_drawn(exam: Examination) -> None:
    """Check what Hypothesis draws, and then the operator's corners."""
    from gradoracle.conformance.checking.strategies import draw  # noqa: PLC0415 - Hypothesis is slow

    few = exam.backend.contract.shapes == EXPENSIVE
    once = few and not exam.property.at_corners  # other values of a shape show little more
    beside = textbook(exam.operator) if exam.property.at_smallest and not once else ()
    count = exam.property.examples(exam.operator, exam.examples)
    count = max(FEWEST, min(count, AGAIN * POOL if once else count) - len(beside))
    use = partial(judge, exam)
    asked = 0  # calls that one drawing makes, and those it would
    for attempt in range(ATTEMPTS_OF_SOME if exam.filters else ATTEMPTS):
        draw(exam.operator, exam.property.size, count, own_seed(exam) + attempt, use)
        made = exam.calls.total() + exam.declined + exam.not_judged
        asked = asked or made + exam.outside
        if exam.filters and made < asked:
            continue
        if exam.calls or exam.declined or not exam.not_judged:
            break  # else the few that were drawn happened to be not applicable
    if exam.alone:
        return
    judge_textbook(exam, beside, own_seed(exam))
    if exam.property.at_corners:
        judge_styles(exam)
    check_not_finite(exam, own_seed(exam))
    if few:
        return  # what else is listed has a shape each
    whole = exam.examples >= PROFILES["certify"]  # fewer are a quick look
    judge_listed(exam, whole=whole)
    if whole:
        check_covers(exam, own_seed(exam))
        check_variants(exam, own_seed(exam))
        judge_corners(exam, own_seed(exam))
    judge_unmet_dtypes(exam, beside)


def judge(exam: Examination, geometries: Sequence[Geometry]) -> None:
    """Check the calls that drawn geometries stand for.

    Every dtype of `dtypes_for` gets the style that the seed picks and, where the property wants
    more of a geometry, the simplest one before it.
    """
    simplest, *_ = styles = exam.operator.styles.of(exam.property.kind)
    drawn: list[Drawn] = []
    for geometry in _answerable(exam, geometries):
        one = styles[geometry.seed % len(styles)]
        more = exam.property.styles(exam.examples) > 1 and one is not simplest
        drawn += _in_dtypes(exam, geometry, (simplest, one) if more else (one,))
    _judge_in(exam, drawn)


def _answerable(exam: Examination, geometries: Sequence[Geometry]) -> list[Geometry]:
    """Return geometries with the array that a gradient is by given, where it may be None."""
    operator, formula = exam.operator, exam.formula
    return [replace(g, sizes=answerable(operator, formula, g.sizes)) for g in geometries]


def _in_dtypes(exam: Examination, geometry: Geometry, styles: Sequence[Style]) -> list[Drawn]:
    """Return a geometry in these styles and every dtype of `dtypes_for`."""
    return [(geometry, one, d) for d in exam.dtypes_for(geometry.seed) for one in styles]


def judge_corners(exam: Examination, seed: int) -> None:
    """Check the operator's corners, each in one style and every dtype of `dtypes_for`."""
    simplest = exam.operator.styles.of(exam.property.kind)[0]
    for at, corner in enumerate(exam.property.corners(exam.operator)):
        geometry = Geometry("boundary", corner.region, corner.sizes, (seed + at) % 2**32)
        drawn = _in_dtypes(exam, geometry, [corner.style or simplest])
        if corner.in_turn:
            some = _of_far(exam, drawn) if FAR in corner.sizes.values() else drawn
            drawn = [some[(at + seed) % len(some)]]
        _judge_in(exam, drawn)


def _of_far(exam: Examination, drawn: Sequence[Drawn]) -> Sequence[Drawn]:
    """Return those of some calls with a very long axis, alike but for their dtypes, to choose from.

    Where it is summed over, those in most digits: in few, a number more or less is within the
    bound.  Elsewhere it is about indices, and those in few digits take a third of the time.
    """
    bits = {d: FORMATS[exam.backend.contract.accumulator(d)].bits for *_, d in drawn}
    if _is_summed(exam, drawn[0]):
        return [one for one in drawn if bits[one[2]] == max(bits.values())]
    return [one for one in drawn if bits[one[2]] <= NARROW] or drawn


def _is_summed(exam: Examination, drawn: Drawn) -> bool:
    """Return whether a result of a call has no axis that is so long."""
    geometry, style, dtype = drawn
    sizes = exam.operator.inside(geometry.sizes)
    if sizes is None:
        return False
    call = exam.operator.call(sizes, style, geometry.seed, dtype)
    given = [f for f in parts_of(exam.formula) if exam.operator.has_answer(f, call)]
    return any(max((0, *answer_shape(f, call))) < FAR for f in given)


def judge_textbook(exam: Examination, smallest: Sequence[Geometry], seed: int) -> None:
    """Check the operator's smallest calls, on the seed's numbers.

    In every dtype of `dtypes_for` where the numbers are what is checked, else in one in turn.
    """
    geometries = [
        replace(geometry, seed=(seed + at) % 2**32) for at, geometry in enumerate(smallest)
    ]
    if exam.property.at_corners:
        judge(exam, geometries)
    else:
        _judge_in_turn(exam, geometries, seed)


def judge_styles(exam: Examination) -> None:
    """Check one small call in every style of the property's numbers."""
    _judge_in(exam, in_every_style(exam))


def in_every_style(exam: Examination) -> list[Drawn]:
    """Return one small call, all of its axes longer than 1, in every style of numbers.

    A first look makes the same calls, before the checks: what it finds is in the verdict.
    """
    geometry = replace(with_ones(exam.operator, exam.formula)[0], seed=own_seed(exam) % 2**32)
    styles = exam.operator.styles.of(exam.property.kind)
    return [(geometry, style, exam.judged_dtypes()[0]) for style in styles]


def judge_listed(exam: Examination, *, whole: bool) -> None:
    """Check the property's own geometries; of layers and full tiles, in a whole run only."""
    listed = exam.property.listed(exam.operator, exam.formula)
    _judge_in_turn(exam, [one for one in listed if whole or not _is_large(one)])


def _is_large(geometry: Geometry) -> bool:
    return geometry.stratum == "layers" or geometry.region.endswith(BESIDE_TILES)


def judge_unmet_dtypes(exam: Examination, smallest: Sequence[Geometry]) -> None:
    """Check small calls in each dtype in which none counted yet, until one does.

    Where a property says something about few calls, all that were drawn may be in other dtypes.
    Where plain answers are wrong, none of these calls counts and all of them are tried: so they are
    small.
    """
    if exam.declined or not exam.not_judged:
        return
    simplest, *_ = exam.operator.styles.of(exam.property.kind)
    every = _answerable(exam, (*smallest, *with_ones(exam.operator, exam.formula)))
    small = [one for one in every if elements(one.sizes, exam.operator) <= SMALL]
    for dtype in exam.judged_dtypes():
        for geometry in small:
            if any(met == dtype for met, _ in exam.calls):
                break
            _judge_in(exam, [(geometry, simplest, dtype)])


def check_not_finite(exam: Examination, seed: int) -> None:
    """Check each array with NaN or infinities in it, where the property is about any numbers.

    Which array a style puts them into is drawn: seeds are tried until each has been met.  An
    array that none of the styles for that reaches is met by any other style that does.
    """
    if exam.property.kind != "every":
        return
    styles, dtypes = exam.operator.styles, exam.dtypes_in_turn()
    geometry = with_ones(exam.operator, exam.formula)[0]
    unmet = {n for n in argument_names(exam.formula)[0] if n in exam.operator.axes.arrays}
    for at, style in enumerate((*styles.not_finite, *styles.of("all"))):
        dtype = dtypes[(at + seed) % len(dtypes)][0]
        missing = {*unmet} if at >= len(styles.not_finite) else {*exam.operator.axes.arrays}
        for attempt in range(MOST_SEEDS if missing else 0):
            one = replace(geometry, seed=(seed + attempt) % 2**32)
            call = exam.operator.call(one.sizes, style, one.seed, dtype)
            given = missing.intersection(argument_names(exam.formula)[0])
            found = {n for n in given if is_data(call[n]) and not _is_finite(call[n])}
            if found:
                _judge_in(exam, [(one, style, dtype)])
            missing -= found
            unmet -= found


def _judge_in_turn(exam: Examination, geometries: Sequence[Geometry], seed: int = 0) -> None:
    """Check geometries in the simplest style, each in one of the claimed dtypes in turn.

    Layers are checked on negative numbers: there, zeros that stand beside an image show.
    """
    simplest, *_ = styles = exam.operator.styles.of(exam.property.kind)
    negative = next((one for one in styles if one.fill is all_negative), simplest)
    dtypes = exam.dtypes_in_turn()
    for at, geometry in enumerate(_answerable(exam, geometries)):
        style = negative if geometry.stratum == "layers" else simplest
        of_class = dtypes[(at + seed) % len(dtypes)]
        _judge_in(exam, [(geometry, style, of_class[geometry.seed % len(of_class)])])


def _judge_in(exam: Examination, drawn: Sequence[Drawn]) -> list[bool]:
    """Check calls and return which of them count."""
    moved = [_inside(exam.operator, one) for one in drawn]
    calls = [
        (of, exam.operator.call(of[0].sizes, of[1], of[0].seed, of[2])) if of is not None else None
        for of in moved
    ]
    count: list[bool] = []
    if exam.property.asks is not None:
        asks = [(exam.formula, one[1]) for one in calls if one is not None]
        exam.backend.foresee(*asks, how=[exam.property.asks])
    try:
        for one in calls:
            if one is None:
                count.append(False)
                continue
            drawn_of, call = one
            exam.drawn = geometry, style, dtype = drawn_of
            count.append(exam.judge_call(call))
            if count[-1]:
                exam.calls[dtype, geometry.stratum] += 1
                exam.shapes.add(tuple(geometry.sizes.items()))
                if style.evenly and dtype not in HALVES:
                    exam.even_shapes.add(tuple(geometry.sizes.items()))
    finally:
        exam.backend.forget()
    return count


def _inside(operator: Operator, drawn: Drawn) -> Drawn | None:
    """Return what a call is made of, moved inside the operator's domain; None: it has no place."""
    geometry, style, dtype = drawn
    sizes = operator.inside(geometry.sizes)
    return None if sizes is None else (replace(geometry, sizes=sizes), style, dtype)


def _is_inside(operator: Operator, sizes: Mapping[str, int]) -> bool:
    """Return whether sizes, but those of an image, are inside the domain as they are."""
    inside = operator.inside(sizes)
    return inside is not None and all(inside[n] == sizes[n] for n in sizes if n not in SIDES[3])


def check_covers(exam: Examination, seed: int) -> None:
    """Check the calls of the operator's covering arrays, each in one style and one dtype."""
    for cover, strength in exam.property.covers(exam.operator, exam.formula):
        drawn = [
            (row, _of_row(exam, cover, at, row, seed))
            for at, row in enumerate(cover.rows(strength))
        ]
        if exam.property.size == "small":
            drawn = [one for one in drawn if cover.work(one[1][0].sizes) <= LITTLE]
        counted: list[Row] = []
        for start in range(0, len(drawn), TOGETHER):
            some = drawn[start : start + TOGETHER]
            judged = _judge_in(exam, [one for _, one in some])
            counted += [
                row
                for (row, (of, *_)), counts in zip(some, judged, strict=True)
                if counts and _is_inside(exam.operator, of.sizes)
            ]
        exam.covered.append(cover.covered(counted, strength))


def check_variants(exam: Examination, seed: int) -> None:
    """Check the layers of real networks with one option changed, each in one dtype."""
    variants = exam.property.variants(exam.operator, exam.formula)
    judged = 0
    for start in range(0, len(variants), TOGETHER):
        some = enumerate(variants[start : start + TOGETHER], start)
        judged += sum(_judge_in(exam, [_of_variant(exam, at, one, seed) for at, one in some]))
    if variants:
        exam.covered.append(Covered(CHANGED, 1, judged, judged, len(variants)))


def _of_variant(exam: Examination, at: int, variant: Variant, seed: int) -> Drawn:
    """Return what a layer with one option changed is in this run."""
    own = spread(seed, variant.region)
    geometry = Geometry("layers", variant.region, variant.sizes(own), own.seed())
    return _in_turn(exam, geometry, own, at + seed)


def _in_turn(exam: Examination, geometry: Geometry, own: Choices, turn: int) -> Drawn:
    """Return a geometry in one style, and in the dtype whose turn it is."""
    styles, dtypes = exam.operator.styles.of(exam.property.kind), exam.classes_of_dtypes()
    of_class = dtypes[turn % len(dtypes)]
    dtype = of_class[geometry.seed % len(of_class)]
    return geometry, styles[own.integer(0, len(styles) - 1)], dtype


def _of_row(exam: Examination, cover: Cover, at: int, row: Row, seed: int) -> Drawn:
    """Return what a row of a covering array stands for in this run."""
    own = spread(seed, cover.name, cover.strength, at)
    chosen = cover.factors.chosen(row)
    geometry = Geometry("combinations", cover.name, cover.sizes(chosen, own), own.seed())
    turn = DTYPES.index(chosen[DTYPE]) if DTYPE in chosen else at + seed
    return _in_turn(exam, geometry, own, turn)


def judge_layers(exam: Examination, seed: int) -> None:
    """Check layers of real networks, in whole numbers and in floats and every claimed dtype.

    Which ones is the operator's and `at_scale`'s; a call is made when its turn comes, since
    many together would take much memory.
    """
    chosen, exam.layers_left = workloads.chosen(exam.operator, at_scale=exam.at_scale)
    for at, batch in enumerate(chosen):
        geometry = Geometry("layers", batch.name, batch.sizes, (seed + at) % 2**32)
        judged = [
            _judge_layer(exam, geometry, dtype, numbers)
            for dtype in exam.judged_dtypes()
            for numbers in NUMBERS
        ]
        if all(judged):
            exam.layers.append(batch.name)
        else:
            exam.layers_left += 1


def _judge_layer(exam: Examination, geometry: Geometry, dtype: str, numbers: Any) -> bool:
    call = layer_call(
        exam.operator, exam.formula, geometry.region, geometry.sizes, numbers=numbers,
        seed=geometry.seed, dtype=dtype, accumulator=exam.backend.contract.accumulator(dtype),
    )  # fmt: skip
    exam.layer = geometry
    judged = exam.judge_call(call)
    if judged:
        exam.calls[dtype, geometry.stratum] += 1
        exam.shapes.add(tuple(geometry.sizes.items()))
    return judged


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def own_seed(exam: Examination) -> int:
    """Return the examination's own seed, so that no two draw the same calls.

    Only the gradients of a derived formula share one: they are evaluated together.
    """
    part = same_part(exam.formula)
    of = exam.formula if part is exam.formula else whole_of(part)
    text = f"{exam.seed} {of.__name__} {exam.property.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
