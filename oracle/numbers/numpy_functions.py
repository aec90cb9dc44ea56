"""NumPy's functions and methods of arrays that a formula may use beside the arithmetic of arrays.

Elements are moved and repeated, products are summed along axes, and what is made of sums and
elementary functions is put together of those.  Which of several numbers is the largest or comes
first may be asked of numbers that are not rounded only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod as count_of
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many, whole_numbers
from gradoracle.oracle.numbers.altered import counted
from gradoracle.oracle.numbers.elementary import sigmoid, sqrt
from gradoracle.oracle.numbers.joining import concatenate, cumsum
from gradoracle.oracle.numbers.log_sum import log_sum_exp
from gradoracle.oracle.numbers.many import Axes
from gradoracle.oracle.numbers.products import cumprod, prod
from gradoracle.oracle.numbers.reverse import (
    UFUNCS,
    Condition,
    Traced,
    TracedArray,
    Undecided,
    clip,
    maximum,
    stacked,
    where,
)
from gradoracle.oracle.shapes import Array

# -- moving elements -------------------------------------------------------------------------------


def _moving(function: Callable[..., Array]) -> Callable[..., TracedArray]:
    """Return NumPy's function that moves, repeats or leaves out elements."""

    def moved(array: TracedArray, *arguments: Any, **options: Any) -> TracedArray:
        return array.rearranged(lambda a: function(a, *arguments, **options))

    return moved


def _pad(
    array: TracedArray, pad_width: Any, mode: str = "constant", *, constant_values: float = 0
) -> TracedArray:
    """Return an array with more around it, as `numpy.pad` does; one number all around."""
    if mode != "constant":
        return array.rearranged(lambda a: np.pad(a, pad_width, mode))  # type: ignore[call-overload]
    inside = np.pad(np.ones(array.shape, bool), pad_width)
    around = array.rearranged(lambda a: np.pad(a, pad_width, "edge"))
    return where(inside, around, constant_values)  # type: ignore[no-any-return]


def _triangle(function: Callable[..., Array]) -> Callable[..., TracedArray]:
    """Return `numpy.tril` or `numpy.triu`: 0 on the other side of a diagonal."""

    def part(array: TracedArray, k: int = 0) -> TracedArray:
        return where(function(np.ones(array.shape, bool), k), array, 0)  # type: ignore[no-any-return]

    return part


def _each(arrays: Any) -> list[Any]:
    return [stacked(a) if isinstance(a, np.ndarray) and a.dtype == object else a for a in arrays]


def _stack(arrays: Any, axis: int = 0) -> Any:
    """Return arrays along a new axis; of single numbers, one of them."""
    each = _each(arrays)
    if not any(isinstance(one, TracedArray) and one.ndim for one in each):
        return stacked([*each])
    first = next(one for one in each if isinstance(one, TracedArray))
    new = axis % (first.ndim + 1)
    parts = [
        _moving(np.expand_dims)(one, new) if isinstance(one, TracedArray)
        else np.expand_dims(np.asarray(one), new)
        for one in each
    ]  # fmt: skip
    return concatenate(parts, new)


def _hstack(arrays: Any) -> TracedArray:
    each = _each(arrays)
    return concatenate(each, 0 if np.ndim(each[0]) == 1 else 1)


def _vstack(arrays: Any) -> Any:
    each = _each(arrays)
    return _stack(each) if each[0].ndim == 1 else concatenate(each, 0)


def _split(array: TracedArray, parts: Any, axis: int = 0) -> list[TracedArray]:
    """Return parts along an axis, as `numpy.split` does."""
    places = np.split(np.arange(array.shape[axis]), parts)
    before = _before(array, axis)
    return [array[(*before, at)] for at in places]


def _diff(array: TracedArray, n: int = 1, axis: int = -1) -> TracedArray:
    before = _before(array, axis)
    for _ in range(n):
        array = array[(*before, slice(1, None))] - array[(*before, slice(None, -1))]
    return array


# -- arrays to fill in -----------------------------------------------------------------------------


def _filled(number: float) -> Callable[..., Array]:
    """Return what makes an array of the shape of another that a formula's numbers fit into."""

    def made(array: TracedArray, dtype: Any = None, shape: Any = None) -> Array:
        del dtype
        found = np.empty(array.shape if shape is None else shape, object)
        found.fill(number)
        return found

    return made


def _full_like(array: TracedArray, fill_value: Any, dtype: Any = None) -> Array:
    return _filled(fill_value)(array, dtype)


# -- made of sums and elementary functions ---------------------------------------------------------


def _var(
    array: TracedArray, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False
) -> TracedArray:
    """Return the mean of the squared distances from the mean."""
    apart = array - array.mean(axis, keepdims=True)
    count = counted(count_of(array.shape[a] for a in many.axes_of(axis, array.ndim)) - ddof)
    return (apart * apart).sum(axis, keepdims=keepdims) / count  # type: ignore[no-any-return]


def _std(array: TracedArray, axis: Axes = None, **options: Any) -> TracedArray:
    return sqrt(_var(array, axis, **options))  # type: ignore[no-any-return]


def _norm(
    array: TracedArray,
    ord: Any = None,  # noqa: A002 - NumPy's name
    axis: Axes = None,
    *,
    keepdims: bool = False,
) -> TracedArray:
    """Return the root of the sum of squares, or the sum of absolute values."""
    if ord not in (None, 1, 2) or (ord is not None and not isinstance(axis, int)):
        raise TypeError("numpy.linalg.norm of a formula is that of vectors, with ord 1 or 2")
    if ord == 1:
        return abs(array).sum(axis, keepdims=keepdims)  # type: ignore[no-any-return]
    return sqrt((array * array).sum(axis, keepdims=keepdims))  # type: ignore[no-any-return]


def _sign(array: Any) -> Any:
    return where(array > 0, 1.0, where(array < 0, -1.0, array * 0))


def _logaddexp(one: Any, other: Any) -> Any:
    """Return log(e^a + e^b), the larger plus log(1 + e^-|a - b|)."""
    a, b = (one, other) if isinstance(one, Traced) else (other, one)
    apart = a - b
    value = maximum(a, b) + np.log1p(np.exp(-abs(apart)))
    slopes = sigmoid(apart).held, sigmoid(-apart).held
    backs = [(n, lambda g, s=s: g * s) for n, s in zip((a, b), slopes, strict=True)]
    return value._kind(value.held, *backs)  # noqa: SLF001


def _is_nan(array: Any) -> Any:
    value, _ = many.values_and_errors(array.held)
    wide = np.asarray(value).astype(np.float64)
    found = Condition(np.isnan(wide), np.zeros(wide.shape, bool))
    return found if isinstance(array, TracedArray) else bool(found)


# -- which comes first -----------------------------------------------------------------------------


def _exactly(array: TracedArray, what: str) -> Array:
    """Return the values of numbers that nothing has rounded.

    Raises:
        Undecided: there are others.
    """
    value, error = many.values_and_errors(array.held)
    if np.any(error):
        raise Undecided(f"{what} of computed numbers, which rounding may decide otherwise")
    return np.asarray(value).astype(np.float64)


def _place(name: str) -> Callable[..., Any]:
    """Return NumPy's function that says which elements come first."""

    def found(array: TracedArray, *arguments: Any, **options: Any) -> Any:
        if "kind" not in options and name == "argsort":
            options["kind"] = "stable"
        return getattr(np, name)(_exactly(array, f"numpy.{name}"), *arguments, **options)

    return found


def _sort(array: TracedArray, axis: int = -1, **_: Any) -> TracedArray:
    order = np.argsort(_exactly(array, "numpy.sort"), axis, kind="stable")
    return array.rearranged(lambda a: np.take_along_axis(a, order, axis))


# -- methods of NumPy's functions ------------------------------------------------------------------


def _reduce(ufunc: Any, array: Any, axis: Axes = 0, *, keepdims: bool = False) -> Any:
    """Return the elements along an axis combined by a function of two, as `ufunc.reduce` does."""
    at_once = {np.add: TracedArray.sum, np.multiply: prod, np.maximum: TracedArray.max,
               np.minimum: TracedArray.min}  # fmt: skip
    if ufunc is np.logaddexp and isinstance(axis, int):
        found = log_sum_exp(array, axis)
        return found if keepdims else _moving(np.squeeze)(found, axis)
    if ufunc in at_once:
        return at_once[ufunc](array, axis, keepdims=keepdims)
    if not isinstance(axis, int):
        raise TypeError(f"numpy.{ufunc.__name__}.reduce of a formula takes one axis, got {axis}")
    last = _accumulate(ufunc, array, axis)[(*_before(array, axis), slice(-1, None))]
    return last if keepdims else _moving(np.squeeze)(last, axis)


def _accumulate(ufunc: Any, array: Any, axis: int = 0) -> Any:
    """Return what a function of two makes of the elements up to each, as `ufunc.accumulate`."""
    at_once = {np.add: cumsum, np.multiply: cumprod}
    if ufunc in at_once:
        return at_once[ufunc](array, axis)
    if ufunc in (np.maximum, np.minimum) and _is_exact(array):
        best = ufunc.accumulate(_exactly(array, ""), axis)
        places = np.where(_is_new(best, axis), np.indices(best.shape)[axis], 0)
        first = np.maximum.accumulate(places, axis)
        return array.rearranged(lambda a: np.take_along_axis(a, first, axis))
    before = _before(array, axis)
    found = [array[(*before, slice(0, 1))]]
    for at in range(1, array.shape[axis]):
        found.append(UFUNCS[ufunc](found[-1], array[(*before, slice(at, at + 1))]))
    return concatenate(found, axis)


def _is_exact(array: TracedArray) -> bool:
    return not np.any(many.values_and_errors(array.held)[1])


def _is_new(best: Array, axis: int) -> Array:
    """Return where the largest number so far, or a NaN, is met first."""
    before = np.roll(best, 1, axis)
    is_same = (best == before) | (np.isnan(best) & np.isnan(before))
    np.moveaxis(is_same, axis, 0)[:1] = False
    return np.asarray(~is_same)


def _of_pairs(ufunc: Any, one: Any, other: Any) -> Any:
    """Return a function of two of each element of one array and each of another: `ufunc.outer`."""
    wide = one.reshape((*np.shape(one), *(1,) * np.ndim(other)))
    return UFUNCS[ufunc](wide, other)


def _before(array: TracedArray, axis: int) -> tuple[slice, ...]:
    return (slice(None),) * (axis % array.ndim)


# -- the tables ------------------------------------------------------------------------------------

MOVING = (
    "expand_dims", "squeeze", "flip", "fliplr", "flipud", "roll", "tile", "repeat", "broadcast_to",
    "moveaxis", "ravel", "rot90", "diagonal", "take", "take_along_axis", "delete", "atleast_1d",
    "atleast_2d",
)  # fmt: skip
PLACES = ("argmax", "argmin", "argsort")
FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    **{getattr(np, name): _moving(getattr(np, name)) for name in MOVING},
    **{getattr(np, name): _place(name) for name in PLACES},
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.copy: lambda a: a,
    np.pad: _pad,
    np.tril: _triangle(np.tril),
    np.triu: _triangle(np.triu),
    np.stack: _stack,
    np.hstack: _hstack,
    np.vstack: _vstack,
    np.split: _split,
    np.diff: _diff,
    np.zeros_like: _filled(0),
    np.empty_like: _filled(0),
    np.ones_like: _filled(1),
    np.full_like: _full_like,
    np.var: _var,
    np.std: _std,
    np.linalg.norm: _norm,
    np.trace: lambda a: _moving(np.diagonal)(a).sum(-1),
    np.sort: _sort,
    np.round: whole_numbers.rounded,
    np.around: whole_numbers.rounded,
    np.amax: TracedArray.max,
    np.amin: TracedArray.min,
}
UNIVERSAL: Mapping[Any, Callable[..., Any]] = {
    np.sign: _sign,
    np.logaddexp: _logaddexp,
    np.isnan: _is_nan,
    np.power: lambda a, b: a**b if isinstance(a, Traced) else b.__rpow__(a),
    np.fabs: abs,
    np.positive: lambda a: a,
    np.reciprocal: lambda a: 1 / a,
    np.floor: whole_numbers.floor,
    np.ceil: whole_numbers.ceil,
    np.trunc: whole_numbers.trunc,
    np.rint: whole_numbers.rint,
    np.floor_divide: whole_numbers.floor_divide,
    np.remainder: whole_numbers.remainder,
    np.fmod: whole_numbers.fmod,
    np.logical_and: lambda a, b: b & a if isinstance(b, Condition) else a & b,
    np.logical_or: lambda a, b: b | a if isinstance(b, Condition) else a | b,
    np.logical_not: lambda a: ~a,
}


def _flat(array: TracedArray) -> TracedArray:
    return array.reshape((-1,))


def _repeat(array: TracedArray, repeats: Any, axis: int | None = None) -> TracedArray:
    return _moving(np.repeat)(array, repeats, axis)


METHODS: Mapping[str, Callable[..., Any]] = {
    "copy": lambda a: a,
    "astype": lambda a, *_, **__: a,
    "ravel": _flat,
    "flatten": _flat,
    "squeeze": _moving(np.squeeze),
    "repeat": _repeat,
    "take": _moving(np.take),
    "diagonal": _moving(np.diagonal),
    "clip": clip,
    "cumsum": cumsum,
    "round": whole_numbers.rounded,
    "var": _var,
    "std": _std,
    **{name: _place(name) for name in PLACES},
}


UFUNC_METHODS: Mapping[str, Callable[..., Any]] = {
    "reduce": _reduce,
    "accumulate": _accumulate,
    "outer": _of_pairs,
}


def names_of(functions: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the names of NumPy's functions, sorted."""
    yield from sorted({one.__name__ for one in functions})
