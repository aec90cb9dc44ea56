"""Products of the numbers along axes, in any order, in reverse mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.many import Axes, Held, each_part, quotient
from gradoracle.oracle.numbers.reverse import TracedArray, spreads_nan
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.shapes import Array

QUOTIENT = 9  # units that a product over one of its numbers may be off by: see DIVIDE


def prod(array: TracedArray, axis: Axes = None, *, keepdims: bool = False) -> TracedArray:
    """Return the products along axes, in any order.

    Of a number's slope, the product of the others, right backends also take the quotient of the
    whole product and the number, where that is not 0.
    """
    axes = many.axes_of(axis, array.ndim)
    rest = [at for at in range(array.ndim) if at not in axes]
    sides = [array.shape[at] for at in rest]
    rows = array.transpose(*rest, *axes) if array.ndim > 1 else array
    found = _of_rows(rows.reshape((*sides, math.prod(array.shape[at] for at in axes))))
    kept = tuple(1 if at in axes else side for at, side in enumerate(array.shape))
    return found.reshape(kept if keepdims else (*sides,))


def cumprod(array: TracedArray, axis: int | None = None) -> TracedArray:
    """Return the products of the numbers up to each along an axis; None: of all, one by one."""
    if axis is None:
        return cumprod(array.reshape(-1), 0)
    order = [at for at in range(array.ndim) if at != axis % array.ndim] + [axis % array.ndim]
    rows = array.transpose(*order) if array.ndim > 1 else array
    found = _up_to_each(rows) if rows.shape[-1] else rows
    return found.transpose(*np.argsort(order)) if array.ndim > 1 else found


def _of_rows(rows: TracedArray) -> TracedArray:
    """Return the products of the numbers along the last axis."""
    count = rows.shape[-1]
    if not count:
        return TracedArray(many.like(rows.held, np.ones(rows.shape[:-1])))
    columns, lost = _columns(rows.held), _out_of_range(rows.held)
    up_to, behind = _running(columns), _running(columns[::-1])[::-1]
    whole = many.less_certain(up_to[-1], lost)

    def back(g: Held) -> Held:
        nested = isinstance(g, many.Nested)
        beyond = np.zeros(()) if nested else _out_of_range(_stack([*columns, g]))
        parts = []
        for at, x in enumerate(columns):
            others = _product(up_to[at - 1] if at else None, behind[at + 1 :][:1])
            slope = g if others is None else g * others
            parts.append(_or_by_quotient(slope, g, whole, x, beyond))
        return _stack(parts)

    return TracedArray(whole, [(rows, back)])


def _up_to_each(rows: TracedArray) -> TracedArray:
    """Return the products of the numbers up to each along the last axis.

    The gradient by x[j] is P sum_{k >= j} dy[k] x[j+1] ... x[k], with P = x[0] ... x[j-1].  Its sum
    may be taken in any order, and the whole as sum_{k >= j} dy[k] y[k] / x[j].
    """
    columns = _columns(rows.held)
    up_to = _running(columns)
    held = [
        many.less_certain(one, _out_of_range(_stack(columns[: at + 1])))
        for at, one in enumerate(up_to)
    ]
    lost = _out_of_range(rows.held)

    def back(g: Held) -> Held:
        dy = _columns(g)
        parts, behind, sizes, wholes = list[Held](), None, np.zeros(()), np.zeros(())
        for at in reversed(range(len(columns))):
            behind = dy[at] if behind is None else dy[at] + columns[at + 1] * behind
            slope = up_to[at - 1] * behind if at else behind
            arithmetic = None if isinstance(g, many.Nested) else many.arithmetic_of(slope)
            if arithmetic is not None:
                sizes = _size(dy[at]) + (_size(columns[at + 1]) * sizes if len(parts) else 0)
                largest = sizes * (_size(up_to[at - 1]) if at else 1)
                units = (len(parts) + QUOTIENT) * arithmetic.unit
                wholes = wholes + _size(dy[at]) * _size(held[at])
                beyond = (lost > 0) | (wholes >= arithmetic.most)
                slope = many.less_certain(slope, np.where(beyond, np.inf, units * largest))
            parts.append(slope)
        return _stack(parts[::-1])

    return TracedArray(_stack(held), [(rows, back)])


def _or_by_quotient(slope: Held, g: Held, whole: Held, x: Held, beyond: Array) -> Held:
    """Return a slope that may also be computed as g times the whole product over x.

    `beyond` is above 0 where some order of the factors leaves the format's range.  Where one ends
    in infinity, which may meet a 0, any slope is right.
    """
    if isinstance(slope, many.Nested):
        return slope
    arithmetic = many.arithmetic_of(slope)
    if arithmetic is None:  # what a NaN does to the others, it may do to its own slope
        with np.errstate(all="ignore"):
            return quotient(g * whole, x) if spreads_nan() else slope
    value, error = many.values_and_errors(x)
    with np.errstate(all="ignore"):
        divided = np.asarray(abs(value) > error)
        more = QUOTIENT * arithmetic.unit * _size(slope)
        more = more + _off_range(_size(g) * _size(whole), arithmetic) / abs(value)
    anything = np.isinf(beyond) | (divided & (beyond > 0))
    return many.less_certain(slope, np.where(anything, np.inf, np.where(divided, more, 0.0)))


def _off_range(sizes: Array, arithmetic: Arithmetic) -> Array:
    """Return how far products of these sizes may be off where they leave a format's range."""
    lost = np.where(sizes < arithmetic.tiny, arithmetic.tiny, 0.0)
    return np.where(sizes >= arithmetic.most, np.inf, lost)


def _size(held: Held) -> Array:
    """Return the largest absolute value that numbers may have."""
    value, error = many.values_and_errors(held)
    size = abs(np.asarray(value).astype(np.float64))
    return np.asarray(np.where(np.isfinite(size), size, 0.0) + error)


def _columns(held: Held) -> list[Held]:
    return [each_part(held, itemgetter((..., at))) for at in range(many.shape_of(held)[-1])]


def _stack(parts: Sequence[Held]) -> Held:
    return many.concatenated([each_part(one, lambda a: a[..., np.newaxis]) for one in parts], -1)


def _running(columns: Sequence[Held]) -> list[Held]:
    """Return the products of the first columns, of one, two and so on."""
    found = [*columns[:1]]
    for one in columns[1:]:
        found.append(found[-1] * one)
    return found


def _product(before: Held | None, after: Sequence[Held]) -> Held | None:
    """Return the product of what stands before a column and behind it, None where nothing does."""
    both = [one for one in (before, *after) if one is not None]
    return both[0] * both[1] if len(both) > 1 else next(iter(both), None)


def _out_of_range(held: Held) -> Array:
    """Return how far products of rows may be off, since some order leaves the format's range.

    Where the larger numbers come first, the product may overflow; where the smaller ones do, it may
    lose digits or become 0.
    """
    arithmetic = many.arithmetic_of(held)
    value, error = many.values_and_errors(held)
    size = abs(np.asarray(value).astype(np.float64))
    if arithmetic is None or not arithmetic.unit:
        return np.zeros(size.shape[:-1])
    with np.errstate(all="ignore"):
        bits = np.where((size > 0) & np.isfinite(size), np.log2(size + error), 0.0)
        larger, smaller = (np.where(s * bits > 0, bits, 0.0).sum(-1) for s in (1, -1))
        lost = size.shape[-1] * arithmetic.tiny * np.exp2(larger)
        is_lost = np.exp2(smaller) < arithmetic.tiny
        overflows = np.exp2(larger) >= arithmetic.most
    return np.where(overflows, np.inf, np.where(is_lost, lost, 0.0))


FUNCTIONS: Mapping[Any, Callable[..., Any]] = {np.prod: prod, np.cumprod: cumprod}
METHODS: Mapping[str, Callable[..., Any]] = {"prod": prod, "cumprod": cumprod}
