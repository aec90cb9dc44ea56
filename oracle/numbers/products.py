"""Products of the numbers along axes, in any order, in reverse mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.joining import concatenate
from gradoracle.oracle.numbers.many import Axes, Held, each_part, quotient
from gradoracle.oracle.numbers.reverse import TracedArray
from gradoracle.oracle.shapes import Array


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
    before = (slice(None),) * (axis % array.ndim)
    parts = [
        prod(array[(*before, slice(0, at + 1))], axis, keepdims=True)
        for at in range(array.shape[axis])
    ]
    return concatenate(parts, axis) if parts else array


def _of_rows(rows: TracedArray) -> TracedArray:
    """Return the products of the numbers along the last axis."""
    count = rows.shape[-1]
    if not count:
        return TracedArray(many.like(rows.held, np.ones(rows.shape[:-1])))
    columns = [rows[..., at] for at in range(count)]
    while len(columns) > 1:
        pairs = zip(columns[::2], columns[1::2], strict=False)
        odd = columns[-1:] if len(columns) % 2 else []
        columns = [*(one * other for one, other in pairs), *odd]
    product = columns[0].less_certain(_out_of_range(rows.held))
    if count == 1 or product.one_way or isinstance(rows.held, many.Nested):
        return product  # type: ignore[no-any-return]
    return product.or_else(_with_quotients(rows, product))  # type: ignore[no-any-return]


def _with_quotients(rows: TracedArray, product: TracedArray) -> TracedArray:
    """Return the product, whose slopes are quotients where no number may be 0."""
    value, error = many.values_and_errors(rows.held)
    with np.errstate(all="ignore"):
        is_divided = np.asarray(np.isfinite(value) & (abs(value) > error))
    whole = each_part(product.held, lambda a: a[..., np.newaxis])

    def back(g: Held) -> Held:
        wide = each_part(g, lambda a: a[..., np.newaxis])
        divided = quotient(wide * whole, rows.held)
        return divided if is_divided.all() else many.chosen(is_divided, divided, _others(rows, g))

    return TracedArray(product.held, [(rows, back)])


def _others(rows: TracedArray, g: Held) -> Held:
    """Return g times the product of the other numbers of each row, for every number."""
    others = [_of_rows(TracedArray(_without(rows.held, at))).held for at in range(rows.shape[-1])]
    stacked = many.concatenated([each_part(o, lambda a: a[..., np.newaxis]) for o in others], -1)
    return each_part(g, lambda a: a[..., np.newaxis]) * stacked


def _without(held: Held, at: int) -> Held:
    return each_part(held, lambda a: np.delete(a, at, -1))


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
