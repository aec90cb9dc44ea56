"""What may be moved or spread in the arguments, and where it is found in the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from gradoracle.oracle import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
)
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.expected.truth import data_dtype
from gradoracle.oracle.shapes import Array

Pick: TypeAlias = Callable[[Array], Array]
Axes: TypeAlias = Mapping[str, tuple[int, ...]]  # of a call's arrays, what lies along them

IMAGES: Axes = {"x": (0,), "grad_output": (0,), "indices": (0,)}
PLANES: Axes = {"x": (1,), "grad_output": (1,), "indices": (1,)}
# What can be put in the opposite order, with one group and with several.
ONE_GROUP: Mapping[str, Mapping[str, Axes]] = {
    "conv2d": {
        "filters": {"weight": (0,), "bias": (0,), "grad_output": (1,)},
        "channels": {"x": (1,), "weight": (1,)},
    },
    "conv_transpose2d": {
        "filters": {"weight": (1,), "bias": (0,), "grad_output": (1,)},
        "channels": {"x": (1,), "weight": (0,)},
    },
    "linear": {
        "outputs": {"weight": (0,), "bias": (0,), "grad_output": (1,)},
        "inputs": {"x": (1,), "weight": (1,)},
    },
    "max_pool2d": {"channels": PLANES},
    "avg_pool2d": {"channels": PLANES},
}
MANY_GROUPS: Mapping[str, Axes] = {
    "groups, filters and channels": {
        "x": (1,), "weight": (0, 1), "bias": (0,), "grad_output": (1,),
    }
}  # fmt: skip
AS_LINEAR: Mapping[Formula, Formula] = {
    conv2d: linear, conv2d_grad_input: linear_grad_input, conv2d_grad_weight: linear_grad_weight,
    conv2d_grad_bias: linear_grad_bias,
}  # fmt: skip
MOST_SPREAD = 16  # times as many pixels as with the stride that is taken away


class Related(NamedTuple):
    """Another call that owes the same: `there` of its answer is `here` of the plain one."""

    words: str
    call: Call
    there: Pick
    here: Pick
    formula: Formula | None = None  # None: the same


def _has_symmetries(operator: Operator, formula: Formula) -> bool:
    return is_function(formula) and operator.name in ONE_GROUP


@holds(where=_has_symmetries, share=0.15, asks="")
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
    """Return another operator's answer, or None where it is not right: its own checks judge it."""
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
    groups = call.get("groups", 1)
    moves = ONE_GROUP[operator.name] if groups == 1 else MANY_GROUPS
    for what, axes in {"images": IMAGES, **moves}.items():
        if any(call[n].shape[a] > 1 for n in axes if _is_array(call, n) for a in axes[n]):
            yield _reversed(call, what, axes, which)
    if operator.name not in ("conv2d", "conv_transpose2d"):
        return
    forwards = operator.name == "conv2d"
    yield _shifted(call, which, forwards=forwards)
    if groups > 1:
        yield from (_group(call, at, which) for at in (0, groups - 1))
    if _can_be_spread(call):
        yield _spread(call, which)
    if forwards and 1 < prod(call["stride"]) <= MOST_SPREAD:
        yield _stride_1(call, which)
    one_tap = call["weight"].shape[2:] == (1, 1) and not any(call["padding"])
    if forwards and one_tap and call["stride"] == (1, 1) and groups == 1:
        yield _product(formula, call)


def _can_be_spread(call: Call) -> bool:
    """Return whether there are taps apart, and the call is legal without its dilation."""
    apart = zip(call["dilation"], call["weight"].shape[2:], strict=True)
    over = zip(call.get("output_padding", (0, 0)), call["stride"], strict=True)
    return any(d > 1 < k for d, k in apart) and all(extra < s for extra, s in over)


def _is_array(call: Call, name: str) -> bool:
    return isinstance(call.get(name), np.ndarray)


def _shaped(call: Call, **arrays: Any) -> dict[str, Any]:
    """Return the call with other arrays or options, and the shapes that go with them."""
    changed = {**call, **{n: np.ascontiguousarray(a) for n, a in arrays.items() if _is(a)}}
    changed |= {name: value for name, value in arrays.items() if not _is(value)}
    shapes = {"input_shape": "x", "weight_shape": "weight"}
    return changed | {s: changed[n].shape for s, n in shapes.items() if s in call}


def _is(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _reversed(call: Call, what: str, axes: Axes, which: str) -> Related:
    moved = {n: np.flip(call[n], at) for n, at in axes.items() if _is_array(call, n)}
    back = axes.get(which, ())
    return Related(
        f"with the {what} in the opposite order", _shaped(call, **moved),
        lambda array: np.flip(array, back), _same,
    )  # fmt: skip


def _shifted(call: Call, which: str, *, forwards: bool) -> Related:
    """Put the image further down and right by what moves the answer by whole pixels."""
    steps = {"x": call["stride"], "grad_output": (1, 1)}
    if not forwards:
        steps = {"x": (1, 1), "grad_output": call["stride"]}
    moved = {
        name: np.pad(call[name], ((0, 0), (0, 0), (down, 0), (right, 0)))
        for name, (down, right) in steps.items()
    }
    down, right = steps.get(which, (0, 0))
    four = which in steps
    return Related(
        "of the image moved by a stride", _shaped(call, **moved),
        (lambda array: array[:, :, down:, right:]) if four else _same, _same,
    )  # fmt: skip


def _group(call: Call, at: int, which: str) -> Related:
    """Take one group alone."""

    def part(array: Array, axis: int) -> Array:
        size = array.shape[axis] // call["groups"]
        return array[(slice(None),) * axis + (slice(at * size, (at + 1) * size),)]

    axes = {"x": 1, "grad_output": 1, "weight": 0, "bias": 0}
    alone = {n: part(call[n], axis) for n, axis in axes.items() if _is_array(call, n)}
    return Related(
        f"of group {at} alone", _shaped(call, groups=1, **alone),
        _same, lambda array: part(array, axes[which]),
    )  # fmt: skip


def _spread(call: Call, which: str) -> Related:
    """Put the zeros between the taps that the dilation stands for."""
    weight, (down, right) = call["weight"], call["dilation"]
    sides = ((k - 1) * d + 1 for k, d in zip(weight.shape[2:], (down, right), strict=True))
    spread = np.zeros((*weight.shape[:2], *sides), weight.dtype)
    spread[:, :, ::down, ::right] = weight
    return Related(
        "with the dilation as zeros between the taps",
        _shaped(call, weight=spread, dilation=(1, 1)),
        (lambda array: array[:, :, ::down, ::right]) if which == "weight" else _same, _same,
    )  # fmt: skip


def _stride_1(call: Call, which: str) -> Related:
    """Take every pixel, and of them those that the stride takes."""
    dy, (down, right) = call["grad_output"], call["stride"]
    sides = (
        n + 2 * p - d * (k - 1)
        for n, p, d, k in zip(
            call["x"].shape[2:], call["padding"], call["dilation"], call["weight"].shape[2:],
            strict=True,
        )
    )  # fmt: skip
    spread = np.zeros((*dy.shape[:2], *sides), dy.dtype)
    spread[:, :, ::down, ::right] = dy
    return Related(
        "with the stride taken afterwards", _shaped(call, grad_output=spread, stride=(1, 1)),
        (lambda array: array[:, :, ::down, ::right]) if which == "grad_output" else _same, _same,
    )  # fmt: skip


def _product(formula: Formula, call: Call) -> Related:
    """Take every pixel for an image of a fully connected layer."""
    pixels = {n: np.moveaxis(call[n], 1, 3) for n in ("x", "grad_output")}
    flat = {name: a.reshape(-1, a.shape[3]) for name, a in pixels.items()}
    product = {**flat, "weight": call["weight"][:, :, 0, 0], "bias": call["bias"]}
    same = AS_LINEAR[formula]

    def as_pixels(array: Array) -> Array:
        """Return the plain answer as the layer's."""
        if array.ndim == 1:
            return array
        if formula is conv2d_grad_weight:
            return array[:, :, 0, 0]
        return np.moveaxis(array, 1, 3).reshape(-1, array.shape[1])

    return Related("as a product of matrices", product, _same, as_pixels, same)
