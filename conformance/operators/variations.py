"""Calls that differ from a call in one argument: derived from signatures, so that none is missed.

What stands for another value follows from the value's type.  Whether such a call is legal is the
oracle's to say: it raises ValueError on all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import shake_128
from inspect import signature
from itertools import combinations, islice, product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from gradoracle.conformance.drawing.choices import ROW, Choices
from gradoracle.conformance.operators.record import Geometry, Operator, Size, rounded
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    is_data,
    parts_of,
)
from gradoracle.oracle.expected.truth import answer_shape, data_dtype
from gradoracle.oracle.shapes import Array

DRAWN = 128  # geometries that are looked at
TRIED = 3  # other values of an option, until one has another answer
MATRICES = 200  # shapes of the same bytes that are tried


SHAPE, AND = "shape of the same bytes", " and "
STEPS = (1, -1, 2, -2)  # by which two options change at once


@dataclass(frozen=True)
class Place:
    """An option of a formula, or one number of an option that has several."""

    name: str
    entry: int | None = None
    both: bool = False  # numbers of an option that has two, which are exchanged

    def __str__(self) -> str:
        """Return it as Python writes it: stride[1]."""
        if self.both:
            return f"{self.name}[::-1]"
        return self.name if self.entry is None else f"{self.name}[{self.entry}]"

    def of(self, call: Call) -> Any:
        """Return its value in a call."""
        value = call[self.name]
        return value if self.entry is None else value[self.entry]

    def replaced(self, call: Call, value: Any) -> Any:
        """Return the option's value with another one here."""
        if self.entry is None:
            return value
        whole = [*call[self.name]]
        whole[self.entry] = value
        return tuple(whole)


def places(formula: Formula, call: Call) -> list[Place]:
    """Return all options of a formula, and each number of those that are several."""
    found = []
    for name in argument_names(formula)[1]:
        value = call[name]
        entries = range(len(value)) if isinstance(value, tuple) else [None]
        found += [Place(name, entry) for entry in entries]
        if isinstance(value, tuple) and len(value) == 2:
            found.append(Place(name, both=True))
    return found


def optional(formula: Formula) -> list[str]:
    """Return the arrays of a formula that need not be given."""
    parameters = signature(formula).parameters
    return [n for n in argument_names(formula)[0] if parameters[n].default is None]


def variations(
    operator: Operator, formula: Formula, call: Call
) -> dict[str, tuple[Iterator[Call], Iterator[Call]]]:
    """Return the legal calls that differ in one argument, by what that is.

    First those of which everything else is the same, then those in which one more follows.
    """
    found = {
        str(place): (
            alone(operator, formula, call, place), in_company(operator, formula, call, place)
        )
        for place in places(formula, call)
    }  # fmt: skip
    found |= {
        name: (given_or_not(operator, formula, call, name), iter(()))
        for name in optional(formula)
        if name != operator.argument_of(formula)
    }
    found |= {
        f"{one}{AND}{other}": (two_at_once(operator, formula, call, one, other), iter(()))
        for one, other in combinations(_of_the_width(formula, call), 2)
    }
    return {**found, SHAPE: (in_other_shape(operator, formula, call), iter(()))}


def _of_the_width(formula: Formula, call: Call) -> list[Place]:
    """Return the options of windows along the width: pairs, of which shapes follow."""
    return [
        place for place in places(formula, call) if place.entry == 1 and len(call[place.name]) == 2
    ]


def two_at_once(
    operator: Operator, formula: Formula, call: Call, one: Place, other: Place
) -> Iterator[Call]:
    """Yield the legal calls with other values of two options and an answer of the same shape.

    A key in which the two are added up, multiplied, or left to that shape, is the same for both.
    """
    shape = answer_shape(formula, call)
    for by, of_other in product(STEPS, STEPS):
        changed = dict(call)
        for place, step in ((one, by), (other, of_other)):
            changed[place.name] = place.replaced(call, place.of(call) + step)
        if min(changed[one.name][1], changed[other.name][1]) < 0:
            continue
        with suppress(ValueError):
            if answer_shape(formula, changed) != shape:
                continue
        found = legal(operator, formula, changed)
        if found is not None:
            yield found


def alone(operator: Operator, formula: Formula, call: Call, place: Place) -> Iterator[Call]:
    """Yield the legal calls with another value in one place, everything else the same."""
    for value in _others(operator, place, call):
        changed = legal(operator, formula, {**call, place.name: place.replaced(call, value)})
        if changed is not None:
            yield changed


def in_company(operator: Operator, formula: Formula, call: Call, place: Place) -> Iterator[Call]:
    """Yield the legal calls with another value in one place and one other argument that fits it.

    That is dy, as large as the answer becomes, or any one argument of which one side follows.
    """
    for value in _others(operator, place, call):
        changed = {**call, place.name: place.replaced(call, value)}
        found = legal(operator, formula, _with_its_gradient(operator, changed))
        if found is not None:
            yield found
        for others in _with_one_side(formula, call, place, value):
            found = legal(operator, formula, _with_its_arrays(call, {**changed, **others}))
            if found is not None:
                yield found


def given_or_not(operator: Operator, formula: Formula, call: Call, name: str) -> Iterator[Call]:
    """Yield the legal calls without an optional array, or with one where there was none."""
    if call[name] is not None:
        yield operator.complete(without(operator, call, name), 0)
        return
    sides = {n for v in call.values() if is_array(v) for n in v.shape}
    for side in sorted(sides):
        found = legal(operator, formula, {**call, name: np.ones(side, data_dtype(call))})
        if found is not None:
            yield found


def without(operator: Operator, call: Call, name: str) -> dict[str, Any]:
    """Return the call without an optional array, and with the dy of what is then the result."""
    return _with_its_gradient(operator, {**call, name: None})


def in_dtype(operator: Operator, call: Call, dtype: np.dtype[Any]) -> dict[str, Any] | None:
    """Return the call in another dtype, or None where its numbers do not fit."""
    changed: dict[str, Any] = dict(call)
    with np.errstate(all="ignore"):
        for name, value in call.items():
            if is_data(value):
                changed[name] = value.astype(dtype)
                if (np.isfinite(changed[name]) != np.isfinite(value)).any():
                    return None
    return operator.complete(rounded(changed, dtype), 0)


def in_other_shape(operator: Operator, formula: Formula, call: Call) -> Iterator[Call]:
    """Yield the legal calls whose arrays hold the same bytes in another shape.

    Two sides of one array are exchanged, or of all that have its shape; or rows and columns of all;
    or matrices have other sides altogether.
    """
    arrays = {n: call[n] for n in argument_names(formula)[0] if is_array(call[n])}
    calls = [
        _with_its_gradient(operator, {**call, **changed}) for changed in _with_exchanged(arrays)
    ]
    turned = {n: _turned(v) for n, v in call.items()}
    if any(turned[n].shape != a.shape for n, a in arrays.items()):
        calls.append(turned)
    if all(a.ndim <= 2 for a in arrays.values()):
        calls += [{**call, **changed} for changed in islice(_with_other_sides(arrays), MATRICES)]
    for one in calls:
        found = legal(operator, formula, one)
        if found is not None:
            yield found


def _with_exchanged(arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Yield all arrays of a shape with two sides exchanged, the bytes as they are."""
    for shape in dict.fromkeys(a.shape for a in arrays.values()):
        for one, other in combinations(range(len(shape)), 2):
            if shape[one] != shape[other]:
                yield {n: _reshaped(a, one, other) for n, a in arrays.items() if a.shape == shape}


def _with_other_sides(arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Yield matrices of the same bytes with other sides."""
    shapes = [
        [(n, a.size // n) for n in range(1, a.size + 1) if a.size % n == 0] if a.ndim > 1
        else [a.shape]
        for a in arrays.values()
    ]  # fmt: skip
    for chosen in product(*shapes):
        changed = {
            n: a.reshape(shape) for (n, a), shape in zip(arrays.items(), chosen, strict=True)
        }
        if any(changed[n].shape != a.shape for n, a in arrays.items()):
            yield changed


def legal(operator: Operator, formula: Formula, call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a call, complete, or None where the oracle refuses it or it has no answer."""
    try:
        complete = operator.complete(dict(call), 0)
        shape = answer_shape(parts_of(formula)[0], complete)
    except (ValueError, IndexError):
        return None
    return complete if prod(shape) and _is_inside(operator, complete) else None


def _is_inside(operator: Operator, call: Call) -> bool:
    """Return whether a call is inside the operator's domain, whatever dy is left beside it.

    A function that goes forward is not given dy, and lengths of a domain may be those of dy.
    """
    dy = call.get("grad_output")
    if dy is None or not operator.is_restricted:
        return operator.allows(call)
    with suppress(ValueError, IndexError):  # else it is the formula's own call that counts
        shape = answer_shape(operator.formula, call)
        call = {**call, "grad_output": np.broadcast_to(dy.dtype.type(0), shape)}
    return operator.allows(call)


def drawn(operator: Operator, number: int, size: Size = "small") -> Geometry:
    """Return one of the operator's geometries, always the same of a number; 0: the simplest."""
    row = shake_128(number.to_bytes(4, "big")).digest(ROW) if number else bytes(ROW)
    return operator.geometry(Choices(row), size)


def _others(operator: Operator, place: Place, call: Call) -> list[Any]:
    """Return other values in a place, such as the type of its value has."""
    value = place.of(call)
    listed = place.entry is None and place.name in operator.values and is_own(operator)
    if listed or (isinstance(value, str) and not place.both):
        return [v for v in _names(operator, place.name) if v != value]
    if place.both:
        return [value[::-1]] if value[0] != value[1] else []
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        near = (value + 1, value - 1, 1, 0, 2 * value, value // 2, value + 2)
        least = 0 if place.entry is not None else None  # of a pair or a shape
        return [n for n in dict.fromkeys(near) if n != value and (least is None or n >= least)]
    if isinstance(value, float):
        dtype = data_dtype(call)
        floats = [float(dtype.type(v)) for v in (value + 1, value / 2, 2 * value, -value)]
        return [v for v in dict.fromkeys(floats) if v != value]
    return []


def is_own(operator: Operator) -> bool:
    """Return whether an operator is the user's: no option has other values than are listed."""
    return not operator.formula.__module__.startswith("gradoracle.")


_known_names: dict[tuple[Operator, str], tuple[str, ...]] = {}


def _names(operator: Operator, option: str) -> tuple[str, ...]:
    """Return the names that an option has in the operator's own calls."""
    key = operator, option
    if key not in _known_names:
        found: dict[str, None] = {}
        for number in range(DRAWN):
            with suppress(ValueError):
                found[operator.arguments(drawn(operator, number).sizes).options[option]] = None
        _known_names[key] = tuple(found)
    return _known_names[key]


def _with_its_gradient(operator: Operator, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call with a dy of the shape that the forward pass then has, if it can have one."""
    dy = call.get("grad_output")
    if dy is None or not dy.size:
        return dict(call)
    try:
        shape = answer_shape(operator.formula, call)
    except (ValueError, IndexError):  # it is the formula's own call that counts
        return dict(call)
    return {**call, "grad_output": np.resize(dy, shape)} if prod(shape) else dict(call)


def _with_its_arrays(before: Call, call: dict[str, Any]) -> dict[str, Any]:
    """Return the call with those of its arrays whose shape is an option in the option's shape.

    The formula itself is not given them, but what completes the call reads them.
    """
    shapes = {n: v for n, v in call.items() if isinstance(v, tuple) and v != before[n]}
    for name, array in before.items():
        for option, shape in shapes.items():
            if isinstance(array, np.ndarray) and array.shape == before[option] and array.size:
                call[name] = np.resize(array, shape)
    return call


def _with_one_side(
    formula: Formula, call: Call, place: Place, value: Any
) -> Iterator[dict[str, Any]]:
    """Yield other arguments of which one side is larger or smaller by as much, or by that factor.

    Arguments of the same shape keep it in common.
    """
    old = place.of(call)
    if not isinstance(value, int) or isinstance(value, bool):
        return
    names = [n for part in argument_names(formula) for n in part if n != place.name]
    shapes = {n: np.shape(call[n]) if is_array(call[n]) else call[n] for n in names}
    sides = {n: shape for n, shape in shapes.items() if isinstance(shape, tuple)}
    for shape in dict.fromkeys(sides.values()):
        for axis, side in enumerate(shape):
            scaled = [side * old // value] if value and side * old % value == 0 else []
            scaled += [side * value // old] if old and side * value % old == 0 else []
            for new in dict.fromkeys([side + value - old, *scaled]):
                if new > 0 and new != side:
                    other = (*shape[:axis], new, *shape[axis + 1 :])
                    yield {
                        n: np.resize(call[n], other) if is_array(call[n]) else other
                        for n, one in sides.items() if one == shape
                    }  # fmt: skip


def is_array(value: Any) -> bool:
    """Return whether an argument is an array."""
    return isinstance(value, np.ndarray)


def _reshaped(array: Array, one: int, other: int) -> Array:
    sides = [*array.shape]
    sides[one], sides[other] = sides[other], sides[one]
    return array.reshape(sides)


def _turned(value: Any) -> Any:
    """Return an argument whose last two sides are exchanged, the bytes as they are."""
    if isinstance(value, np.ndarray):
        return _reshaped(value, -2, -1) if value.ndim > 2 else value
    if isinstance(value, tuple) and len(value) > 1:
        return (*value[:-2], value[-1], value[-2])
    return value


# The calls that differ in one argument alone, and those in which one more follows.
Ways: TypeAlias = tuple[Iterable[Call], Iterable[Call]]


def without_images(operator: Operator, formula: Formula, call: Call) -> Call | None:
    """Return the call of an empty batch, or None: there is none, or the formula refuses it."""
    empty = operator.axes.images(call, slice(0, 0))
    if all(empty[n].size for n in argument_names(formula)[0] if is_array(empty[n])):
        return None
    complete = operator.complete(empty, 0)
    try:
        answer_shape(formula, complete)
    except ValueError:
        return None
    return complete if operator.allows(complete) else None
