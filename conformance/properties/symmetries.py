"""What may be moved or spread in the arguments, and where it is found in the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Declined, Mismatch
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.answers import Answered, answer, require_close
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.properties.property import NotJudged, holds, is_function
from gradoracle.oracle.axes import IMAGES, Axes, Places
from gradoracle.oracle.declaration import Call, Formula, axes_of
from gradoracle.oracle.expected.truth import data_dtype
from gradoracle.oracle.shapes import Array

Pick: TypeAlias = Callable[[Array], Array]

GROUPS = "groups, filters and channels"  # what is put in the opposite order where there are several
MOST_SPREAD = 16  # times as many pixels as with the stride that is taken away


class Related(NamedTuple):
    """Another call that owes the same: `there` of its answer is `here` of the plain one."""

    words: str
    call: Call
    there: Pick
    here: Pick
    formula: Formula | None = None  # None: the same


def _has_symmetries(operator: Operator, formula: Formula) -> bool:
    return is_function(formula) and bool(operator.axes.words)


@holds(where=_has_symmetries, share=0.15, asks="", in_turn="in whole runs")
def equivariant(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """What is moved in the arguments (images, channels, groups, the image on the plane) moves in
    the answer; groups one by one, taps spread by hand, a stride taken afterwards and a 1x1 kernel
    as a matrix product give the same numbers.
    """  # noqa: D205 - one sentence
    which = operator.argument_of(formula) or "grad_output"
    others = [
        one
        for one in related(operator, formula, call, which)
        if one.formula is None or backend.claims(one.formula, data_dtype(call).name)
    ]
    if not others:
        raise NotJudged("nothing about this call can be moved")
    plain = answer(backend, operator, formula, call)
    backend.foresee(*((one.formula or formula, one.call) for one in others))
    for one in others:
        if one.formula is None:
            moved = answer(backend, operator, formula, one.call)
        elif (found := _as_it_should_be(backend, one.formula, one.call)) is not None:
            moved = found
        else:
            continue
        require_close(
            f"{formula.__name__} {one.words}", _picked(moved, one.there), _picked(plain, one.here)
        )
    return 0.0


def _as_it_should_be(backend: Backend, formula: Formula, call: Call) -> Answered | None:
    """Return another operator's answer, or None where it is wrong: its own checks report that."""
    try:
        got = answer(backend, LINEAR, formula, call)
        require_truth(backend, formula, call, got.value)
    except (Mismatch, Declined):
        return None
    return got


def _picked(answered: Answered, pick: Pick) -> Answered:
    return Answered(pick(answered.value), pick(answered.bound))


def _same(array: Array) -> Array:
    return array


def related(operator: Operator, formula: Formula, call: Call, which: str) -> Iterator[Related]:
    """Yield the calls; the answer's axes are those of the argument `which`."""
    axes, groups = operator.axes, call.get("groups", 1)
    moves: dict[str, tuple[str, ...]] = {words: (one,) for one, words in axes.words.items()}
    if groups > 1:
        moves = {axes.words[IMAGES]: (IMAGES,), GROUPS: axes.grouped}
    for what, letters in moves.items():
        places, answers = axes.along(*letters), axes_of(formula).along(*letters)
        if any(call[n].shape[a] > 1 for n in places if _is_array(call, n) for a in places[n]):
            yield _reversed(axes, call, what, places, answers.get(which, ()))
    if not axes.space.get("weight"):
        return
    forwards = axes.strided == "x"
    yield _shifted(axes, call, which)
    if groups > 1:
        yield from (_group(axes, call, at, which) for at in (0, groups - 1))
    if _can_be_spread(axes, call):
        yield _spread(axes, call, which)
    if forwards and 1 < prod(call["stride"]) <= MOST_SPREAD:
        yield _stride_1(axes, call, which)
    taps = [call["weight"].shape[at] for at in axes.space["weight"]]
    one_tap = prod(taps) == 1 and not any(call["padding"])
    if forwards and one_tap and prod(call["stride"]) == 1 and groups == 1:
        yield _product(operator, formula, call)


def _can_be_spread(axes: Axes, call: Call) -> bool:
    """Return whether there are taps apart, and the call is legal without its dilation."""
    taps = [call["weight"].shape[at] for at in axes.space["weight"]]
    apart = zip(call["dilation"], taps, strict=True)
    over = zip(call.get("output_padding", [0] * len(taps)), call["stride"], strict=True)
    return any(d > 1 < k for d, k in apart) and all(extra < s for extra, s in over)


def _is_array(call: Call, name: str) -> bool:
    return isinstance(call.get(name), np.ndarray)


def _changed(axes: Axes, call: Call, **arguments: Any) -> dict[str, Any]:
    """Return the call with other arrays or options, and the shapes that go with them."""
    changed = {
        n: np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for n, v in arguments.items()
    }
    return axes.shaped({**call, **changed})


def _along(array: Array, axes: Sequence[int], parts: Sequence[slice]) -> Array:
    """Return a part of an array: a slice along each of some axes."""
    chosen = [slice(None)] * array.ndim
    for axis, part in zip(axes, parts, strict=True):
        chosen[axis] = part
    return array[(*chosen,)]


def _every(steps: Sequence[int]) -> list[slice]:
    return [slice(None, None, step) for step in steps]


def _reversed(axes: Axes, call: Call, what: str, places: Places, back: tuple[int, ...]) -> Related:
    moved = {n: np.flip(call[n], at) for n, at in places.items() if _is_array(call, n)}
    return Related(
        f"with the {what} in the opposite order", _changed(axes, call, **moved),
        lambda array: np.flip(array, back), _same,
    )  # fmt: skip


def _shifted(axes: Axes, call: Call, which: str) -> Related:
    """Put the image further down and right by what moves the answer by whole pixels."""
    pixels = ("x", "grad_output")
    steps = {n: call["stride"] if n == axes.strided else [1] * len(axes.space[n]) for n in pixels}
    moved = {}
    for name, distances in steps.items():
        margins = [(0, 0)] * call[name].ndim
        for axis, distance in zip(axes.space[name], distances, strict=True):
            margins[axis] = (distance, 0)
        moved[name] = np.pad(call[name], margins)
    there = [slice(distance, None) for distance in steps.get(which, ())]
    return Related(
        "of the image moved by a stride", _changed(axes, call, **moved),
        (lambda array: _along(array, axes.space[which], there)) if there else _same, _same,
    )  # fmt: skip


def _group(axes: Axes, call: Call, at: int, which: str) -> Related:
    """Take one group alone."""

    def part(array: Array, axis: int) -> Array:
        size = array.shape[axis] // call["groups"]
        return _along(array, [axis], [slice(at * size, (at + 1) * size)])

    alone = {n: part(call[n], axis) for n, axis in axes.by_group.items() if _is_array(call, n)}
    return Related(
        f"of group {at} alone", _changed(axes, call, groups=1, **alone),
        _same, lambda array: part(array, axes.by_group[which]),
    )  # fmt: skip


def _spread(axes: Axes, call: Call, which: str) -> Related:
    """Put the zeros between the taps that the dilation stands for."""
    weight, dilation, space = call["weight"], call["dilation"], axes.space["weight"]
    shape = [*weight.shape]
    for axis, apart in zip(space, dilation, strict=True):
        shape[axis] = (shape[axis] - 1) * apart + 1
    spread = np.zeros(shape, weight.dtype)
    _along(spread, space, _every(dilation))[...] = weight
    return Related(
        "with the dilation as zeros between the taps",
        _changed(axes, call, weight=spread, dilation=(1,) * len(space)),
        (lambda array: _along(array, space, _every(dilation))) if which == "weight" else _same,
        _same,
    )  # fmt: skip


def _stride_1(axes: Axes, call: Call, which: str) -> Related:
    """Take every pixel, and of them those that the stride takes."""
    dy, stride, space = call["grad_output"], call["stride"], axes.space["grad_output"]
    shape = [*dy.shape]
    for at, axis in enumerate(space):
        pixels = call["x"].shape[axes.space["x"][at]] + 2 * call["padding"][at]
        taps = call["weight"].shape[axes.space["weight"][at]]
        shape[axis] = pixels - call["dilation"][at] * (taps - 1)
    spread = np.zeros(shape, dy.dtype)
    _along(spread, space, _every(stride))[...] = dy
    return Related(
        "with the stride taken afterwards",
        _changed(axes, call, grad_output=spread, stride=(1,) * len(space)),
        (lambda array: _along(array, space, _every(stride))) if which == "grad_output" else _same,
        _same,
    )  # fmt: skip


def _product(operator: Operator, formula: Formula, call: Call) -> Related:
    """Take every pixel for an image of a fully connected layer."""
    axes, argument = operator.axes, operator.argument_of(formula)
    taps: tuple[Any, ...] = (..., *[0] * len(axes.space["weight"]))
    rows = {n: np.moveaxis(call[n], 1, -1) for n in ("x", "grad_output")}
    flat = {name: a.reshape(-1, a.shape[-1]) for name, a in rows.items()}
    product = {**flat, "weight": call["weight"][taps], "bias": call["bias"]}
    gradients = {of: one for one, of in LINEAR.gradients.items()}
    same = LINEAR.formula if argument is None else gradients[argument]

    def as_pixels(array: Array) -> Array:
        """Return the plain answer as the layer's."""
        if array.ndim == 1:
            return array
        if argument == "weight":
            one_tap: Array = array[taps]
            return one_tap
        return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])

    return Related("as a product of matrices", product, _same, as_pixels, same)
