"""Arrays side by side, running sums, and sums at places that an index names, in reverse mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.many import Held, each_part
from gradoracle.oracle.numbers.reverse import Back, TracedArray


def concatenate(arrays: Sequence[Any], axis: int = 0) -> TracedArray:
    """Return arrays side by side along an axis, as `numpy.concatenate` does."""
    first = next(one for one in arrays if isinstance(one, TracedArray))
    parts = [one if isinstance(one, TracedArray) else first.ones_like(one) for one in arrays]
    place = axis % first.ndim
    ends = np.cumsum([one.shape[place] for one in parts])
    backs = [
        _part(place, int(end) - one.shape[place], int(end))
        for one, end in zip(parts, ends, strict=True)
    ]
    held = many.concatenated([one.held for one in parts], place)
    return TracedArray(held, zip(parts, backs, strict=True))


def _part(axis: int, start: int, end: int) -> Back:
    """Return what takes the elements from `start` to `end` along an axis."""
    chosen = (slice(None),) * axis + (slice(start, end),)
    return lambda g: each_part(g, lambda a: a[chosen])


def cumsum(array: TracedArray, axis: int | None = None) -> TracedArray:
    """Return the sums of the elements up to each along an axis; None: of all, one by one.

    They are sums in any order.
    """
    if axis is None:
        return cumsum(array.reshape(-1), 0)

    def back(g: Held) -> Held:
        whole = each_part(g, lambda a: np.flip(np.broadcast_to(a, array.shape), axis))
        return each_part(_running(whole, axis), lambda a: np.flip(a, axis))

    return TracedArray(_running(array.held, axis), [(array, back)])


def _running(held: Held, axis: int) -> Held:
    last = each_part(held, lambda a: np.moveaxis(a, axis, -1))
    return each_part(many.running(last), lambda a: np.moveaxis(a, -1, axis))


def added_at(base: TracedArray, index: Any, values: TracedArray) -> TracedArray:
    """Return an array to whose elements at an index values are added, whatever their order.

    An element that the index names several times receives as many values, as `numpy.add.at` has it.
    """
    places = np.arange(base.size).reshape(base.shape)
    at = np.concatenate([places.ravel(), np.broadcast_to(places[index], values.shape).ravel()])
    terms = concatenate([base.reshape(-1), values.reshape(-1)])
    held = many.scattered(terms.held, at, (base.size,))

    def back(g: Held) -> Held:
        return each_part(g, lambda a: np.broadcast_to(a, (base.size,))[at])

    return TracedArray(held, [(terms, back)]).reshape(base.shape)


FUNCTIONS: Mapping[Any, Callable[..., Any]] = {np.concatenate: concatenate, np.cumsum: cumsum}
