"""Half precision: computed in float32, rounded to nearest once, at the end."""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

HALVES = ("float16", "bfloat16")
# NumPy has bfloat16 from ml_dtypes only.
AVAILABLE = HALVES if find_spec("ml_dtypes") else HALVES[:1]


def in_float32(function: F) -> F:
    """Return a function of the protocol that takes half-precision arrays too."""

    @wraps(function)
    def widened(*arrays: Any, **options: Any) -> Any:
        halves = [a.dtype for a in (*arrays, *options.values()) if _is_half(a)]
        if not halves:
            return function(*arrays, **options)
        wide = [a.astype(np.float32) if _is_half(a) else a for a in arrays]
        named = {n: a.astype(np.float32) if _is_half(a) else a for n, a in options.items()}
        result = function(*wide, **named)
        if isinstance(result, tuple):
            return tuple(_rounded(one, halves[0]) for one in result)
        return _rounded(result, halves[0])

    return cast("F", widened)


def _is_half(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.itemsize == 2 and value.dtype.name in HALVES


def _rounded(array: Any, dtype: Any) -> Any:
    """Return the array in a half-precision dtype; indices, and no array, as they are."""
    if array is None:
        return None
    return array if array.dtype.kind == "i" else array.astype(dtype)
