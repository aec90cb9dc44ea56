"""NumPy's functions and methods of arrays that a formula may use beside the arithmetic of arrays.

Elements are moved and repeated, products are summed along axes, and what is made of sums and
elementary functions is put together of those.  Which of several numbers is the largest or comes
first may be asked of numbers that are not rounded only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.elementary import sigmoid, sqrt
from gradoracle.oracle.numbers.joining import concatenate, cumsum
from gradoracle.oracle.numbers.many import Axes
from gradoracle.oracle.numbers.reverse import (
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
    before = (slice(None),) * (axis % array.ndim)
    return [array[(*before, at)] for at in places]


def _diff(array: TracedArray, n: int = 1, axis: int = -1) -> TracedArray:
    before = (slice(None),) * (axis % array.ndim)
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


# -- products that are summed ----------------------------------------------------------------------


def _alike(one: Any, beside: Any) -> TracedArray:
    """Return an operand as a traced array, a constant as one of the other operand's kind."""
    if isinstance(one, TracedArray):
        return one
    if isinstance(one, np.ndarray) and one.dtype == object:
        return stacked(one)  # type: ignore[no-any-return]
    return beside._kind(many.like(beside.held, np.asarray(one, np.float64)))  # type: ignore[no-any-return] # noqa: SLF001


def _both(one: Any, other: Any) -> tuple[TracedArray, TracedArray]:
    beside = one if isinstance(one, TracedArray) else other
    return _alike(one, beside), _alike(other, beside)


def einsum(subscripts: str, *operands: Any) -> TracedArray:
    """Return sums of products as `numpy.einsum` does, of one array or two, in any order of terms.

    Raises:
        TypeError: there are more arrays, an ellipsis, or a letter is twice in one array.
    """
    inputs, _, out = subscripts.replace(" ", "").partition("->")
    letters = inputs.split(",")
    if len(operands) not in (1, 2) or "." in subscripts:
        raise TypeError(
            f"numpy.einsum of a formula takes one array or two, without an ellipsis, got "
            f"{subscripts!r}: take one product after the other"
        )
    if any(len({*of}) != len(of) for of in letters):
        raise TypeError(f"numpy.einsum of a formula takes a letter once an array: {subscripts!r}")
    if "->" not in subscripts:
        every = "".join(letters)
        out = "".join(sorted(one for one in {*every} if every.count(one) == 1))
    if len(operands) == 1:
        return _ordered(*_kept(_alike(operands[0], operands[0]), letters[0], out), out)
    first, second = _both(*operands)
    one, of = _kept(first, letters[0], out + letters[1])
    other, by = _kept(second, letters[1], out + letters[0])
    return _contracted(one, of, other, by, out)


def _kept(array: TracedArray, of: str, letters: str) -> tuple[TracedArray, str]:
    """Return an array summed along the axes of other letters, and the letters that it keeps."""
    gone = tuple(at for at, letter in enumerate(of) if letter not in letters)
    kept = "".join(letter for letter in of if letter in letters)
    return (array.sum(gone) if gone else array), kept


def _ordered(array: TracedArray, of: str, out: str) -> TracedArray:
    return array.transpose(*(of.index(letter) for letter in out)) if len(of) > 1 else array


def _contracted(one: TracedArray, of: str, other: TracedArray, by: str, out: str) -> TracedArray:
    """Return the sums over the letters that both have and the result has not."""
    shared = [n for n in of if n in by and n in out]
    summed = [n for n in of if n in by and n not in out]
    rows, columns = [n for n in of if n not in by], [n for n in by if n not in of]
    sides = {**dict(zip(by, other.shape, strict=True)), **dict(zip(of, one.shape, strict=True))}

    def shaped(array: TracedArray, letters: str, *groups: Sequence[str]) -> TracedArray:
        order = [n for group in (shared, *groups) for n in group]
        shape = [sides[n] for n in shared] + [prod(sides[n] for n in g) for g in groups]
        return _ordered(array, letters, "".join(order)).reshape((*shape,))

    found = shaped(one, of, rows, summed) @ shaped(other, by, summed, columns)
    order = "".join([*shared, *rows, *columns])
    return _ordered(found.reshape(tuple(sides[n] for n in order)), order, out)


def _tensordot(one: Any, other: Any, axes: Any = 2) -> TracedArray:
    a, b = _both(one, other)
    if isinstance(axes, int):
        axes = ([*range(a.ndim - axes, a.ndim)], [*range(axes)])
    first, second = ([x] if isinstance(x, int) else [*x] for x in axes)
    pool = iter("abcdefghijklmnopqrstuvwxyz")
    of, by = [next(pool) for _ in range(a.ndim)], [next(pool) for _ in range(b.ndim)]
    for at, to in zip(first, second, strict=True):
        by[to] = of[at]
    gone = {of[at] for at in first}
    out = [n for n in (*of, *by) if n not in gone]
    return einsum(f"{''.join(of)},{''.join(by)}->{''.join(out)}", a, b)


def _dot(one: Any, other: Any) -> Any:
    a, b = _both(one, other)
    return a * b if 0 in (a.ndim, b.ndim) else _tensordot(a, b, (-1, max(0, b.ndim - 2)))


def _inner(one: Any, other: Any) -> TracedArray:
    return _tensordot(one, other, (-1, -1))


def _outer(one: Any, other: Any) -> TracedArray:
    a, b = _both(one, other)
    return a.reshape((-1, 1)) * b.reshape((1, -1))  # type: ignore[no-any-return]


# -- made of sums and elementary functions ---------------------------------------------------------


def _var(
    array: TracedArray, axis: Axes = None, *, ddof: int = 0, keepdims: bool = False
) -> TracedArray:
    """Return the mean of the squared distances from the mean."""
    apart = array - array.mean(axis, keepdims=True)
    count = prod(array.shape[a] for a in many.axes_of(axis, array.ndim)) - ddof
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
    np.einsum: einsum,
    np.tensordot: _tensordot,
    np.dot: _dot,
    np.inner: _inner,
    np.outer: _outer,
    np.var: _var,
    np.std: _std,
    np.linalg.norm: _norm,
    np.trace: lambda a: _moving(np.diagonal)(a).sum(-1),
    np.sort: _sort,
}
UNIVERSAL: Mapping[Any, Callable[..., Any]] = {
    np.sign: _sign,
    np.logaddexp: _logaddexp,
    np.isnan: _is_nan,
    np.power: lambda a, b: a**b,
    np.fabs: abs,
    np.positive: lambda a: a,
    np.reciprocal: lambda a: 1 / a,
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
    "dot": _dot,
    "var": _var,
    "std": _std,
    **{name: _place(name) for name in PLACES},
}


def names_of(functions: Mapping[Any, Any]) -> Iterator[str]:
    """Yield the names of NumPy's functions, sorted."""
    yield from sorted({one.__name__ for one in functions})
