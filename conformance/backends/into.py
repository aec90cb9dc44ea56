"""Arrays that a result is written into, in the process of the backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

_copy, _concatenate = np.array, np.concatenate


@dataclass(slots=True)
class Into:
    """The middle of a flat array, which has as many elements before it as behind it."""

    flat: Array
    shape: tuple[int, ...]
    beta: float | None = None  # what is passed as `beta`; None: it is not passed

    @property
    def before(self) -> int:
        """How many elements lie before it."""
        return (self.flat.size - math.prod(self.shape)) // 2


def given_as(into: Into, convert: Callable[[Array], Any] | None) -> tuple[Array, Any]:
    """Return a flat array and what a function is given as `out`: its middle.

    Arrays of a backend's own kind are made of the middle alone.
    """
    flat, start = _copy(into.flat), into.before
    middle = flat[start : start + math.prod(into.shape)].reshape(into.shape)
    return flat, middle if convert is None else convert(_copy(middle))


def framed(into: Into, flat: Array, written: Array) -> Array:
    """Return the flat array with what was written in its middle."""
    start = into.before
    end = start + math.prod(into.shape)
    return _concatenate([flat[:start], written.reshape(-1), flat[end:]])
