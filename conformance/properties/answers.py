"""Answers with what they may be off by, for the properties that compare answers with each other."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import require_form, truth_of
from gradoracle.conformance.properties.property import NotJudged
from gradoracle.oracle.declaration import Call, Formula, is_data, is_place, operands
from gradoracle.oracle.derive import ANY_MORE
from gradoracle.oracle.expected.truth import ROOM, answer_dtype, answer_shape, data_dtype, format_of
from gradoracle.oracle.shapes import Array


class Answered(NamedTuple):
    """A backend's answer, of the right form, and the largest error of a right one."""

    value: Array
    bound: Array  # float64; 0 where rounding provably never acts

    def __add__(self, other: Any) -> Answered:
        """Return the sum of two answers in float64, with what that sum may be off by."""
        total = self.value.astype(np.float64) + other.value
        bound = (self.bound + other.bound) * ROOM
        inexact = (self.bound > 0) | (other.bound > 0)
        return Answered(total, bound + np.where(inexact, 2.0**-53 * abs(total), 0))


def answer(
    backend: Backend, operator: Operator, formula: Formula, call: Call, *, is_exact: bool = False
) -> Answered:
    """Return the backend's answer and its bound, which is known to be 0 where it `is_exact`.

    Raises:
        Mismatch: the answer has another shape or dtype than the protocol says.
        NotJudged: the contract leaves the answer to this call open, or rounding does.
    """
    value = backend.ask(formula, call)
    if operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    require_form(formula.__name__, value, answer_shape(formula, call), answer_dtype(formula, call))
    bound = np.zeros(value.shape) if is_exact else bound_of(backend, formula, call)
    given = operands(formula, call).values()
    if not is_place(formula) and all(np.isfinite(a).all() for a in given):
        wrong = ~np.isfinite(value)
        if wrong.any():  # it would agree with another answer that is just as wrong
            at = tuple(np.argwhere(wrong)[0].tolist())
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {value[at]} from finite data"
            )
    return Answered(value, bound)


def bound_of(backend: Backend, formula: Formula, call: Call) -> Array:
    """Return the largest error of the backend's right answer, per element.

    Raises:
        NotJudged: there is none, for it may overflow or has too many terms.
    """
    name = format_of(call)
    bound = truth_of(backend, formula, call).bound(name, backend.contract.accumulator(name))
    if not np.isfinite(bound).all():
        raise NotJudged(f"nothing bounds what rounding in {name} leaves")
    return bound


def require_close(what: str, got: Answered, want: Answered) -> None:
    """Raise Mismatch, naming the first wrong element, unless two answers agree within bounds."""
    a, b = got.value.astype(np.float64), want.value.astype(np.float64)
    with np.errstate(all="ignore"):
        room = (got.bound + want.bound) * ROOM
        near = (abs(a - b) <= room) | np.isinf(room)
    wrong = ~(near | (a == b) | (np.isnan(a) & np.isnan(b)))
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        room = (got.bound + want.bound)[at]
        reason = f"rounding explains {room:.3g}" if room else "the data are exact"
        raise Mismatch(
            f"{what}[{', '.join(map(str, at))}]: got {got.value[at]}, want {want.value[at]} "
            f"({reason}); {int(wrong.sum())} of {wrong.size} elements wrong"
        )


def exact(value: Array) -> Answered:
    """Return numbers that are not off by anything."""
    return Answered(value, np.zeros(value.shape))


def with_optional(operator: Operator, call: Call, only: str = "") -> dict[str, Any]:
    """Return the call with arrays to be moved where it has None, such as a bias of zeros.

    With `only`, that array alone: the others may have to be absent.  One of any further axes is
    left out, for no sizes say its shape.
    """
    axes, dtype = operator.axes, data_dtype(call)
    sizes = axes.sizes(call)
    given = {
        name: np.full([sizes[one] for one in axes.arrays[name]], axes.absent.get(name, 0), dtype)
        for name in axes.optional
        if call[name] is None and name == (only or name) and ANY_MORE not in axes.arrays[name]
    }
    return {**call, **given} if given else dict(call)


def direction(array: Array, salt: str, values: tuple[int, ...] = (-1, 0, 1)) -> Array:
    """Return integers among `values`, not all zero, that depend on shape and salt only."""
    random = np.random.default_rng(zlib.crc32(f"{salt}{array.shape}".encode()))
    v = random.choice(values, array.shape)
    if v.size and not v.any():
        v.flat[random.integers(v.size)] = 1
    return v.astype(array.dtype)


def moved_by(array: Array, step: Array) -> Array:
    """Return the sum of an array and a step of its dtype.

    Raises:
        NotJudged: rounding acts on it, so that it is another step.
    """
    moved: Array = array + step
    if not (moved.astype(np.float64) - array == step).all():
        raise NotJudged(f"the step is not exact in {array.dtype}")
    return moved


def two_images(operator: Operator, call: Call) -> dict[str, Any]:
    """Return the call with at least two images: one alone would say nothing."""
    count = len(call["grad_output"])
    if count == 0:
        raise NotJudged("an empty batch has no images")
    if count > 1:
        return dict(call)
    axes = operator.axes
    doubled = {
        name: np.concatenate([call[name], _another(call[name])])
        for name in axes.batched
        if is_data(call.get(name)) or _is_mask(call.get(name))
    }
    return operator.complete(axes.shaped({**call, **doubled}), 0)


def _another(images: Array) -> Array:
    """Return images unlike these: in reverse order, and numbers negative."""
    other: Array = images[..., ::-1]
    return other if _is_mask(other) else -other


def _is_mask(value: Any) -> bool:
    """Return whether an argument is an array of True and False."""
    return isinstance(value, np.ndarray) and value.dtype == np.bool_
