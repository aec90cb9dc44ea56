"""NumPy's sums of products in formulas: `einsum`, `tensordot`, `dot`, `inner` and `outer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.reverse import TracedArray, stacked


def _alike(one: Any, beside: Any) -> TracedArray:
    """Return an operand as a traced array, a constant as one of the other operands' kind."""
    if isinstance(one, TracedArray):
        return one
    return beside._kind(many.like(beside.held, np.asarray(one, np.float64)))  # type: ignore[no-any-return] # noqa: SLF001


def _all_alike(*operands: Any) -> list[TracedArray]:
    whole = [_alone(one) for one in operands]
    beside = next(one for one in whole if isinstance(one, TracedArray))
    return [_alike(one, beside) for one in whole]


def _alone(one: Any) -> Any:
    """Return an operand; an array or a list that a formula filled in, as one of numbers."""
    if isinstance(one, TracedArray):
        return one
    is_filled = isinstance(one, np.ndarray) and one.dtype == object
    return stacked(one) if is_filled or isinstance(one, (list, tuple)) else one


def einsum(subscripts: str, *operands: Any, optimize: Any = False) -> TracedArray:
    """Return sums of products as `numpy.einsum` does, in any order of terms and of products."""
    del optimize
    arrays = _all_alike(*operands)
    letters, out = _letters(subscripts.replace(" ", ""), arrays)
    arrays, letters = _without_repeats(arrays, letters)
    if len(arrays) == 1:
        return _ordered(*_kept(arrays[0], letters[0], out), out)
    if len(arrays) > 2 or _is_repeated(arrays, letters):
        return _of_many(arrays, letters, out)
    first, second = arrays
    one, of = _kept(first, letters[0], out + letters[1])
    other, by = _kept(second, letters[1], out + letters[0])
    return _contracted(one, of, other, by, out)


def _letters(subscripts: str, arrays: Sequence[TracedArray]) -> tuple[list[str], str]:
    """Return the letters of each array and of the result, an ellipsis as further ones.

    Raises:
        TypeError: they do not fit the arrays.
    """
    inputs, arrow, out = subscripts.partition("->")
    each = inputs.split(",")
    if len(each) != len(arrays):
        raise TypeError(
            f"numpy.einsum: {subscripts!r} is for {len(each)} arrays, got {len(arrays)}"
        )
    free = [one for one in ascii_letters if one not in subscripts]
    more = max((a.ndim - len(of) + 3 for of, a in zip(each, arrays, strict=True) if "." in of),
               default=0)  # fmt: skip
    beyond = "".join(free[:more])
    found = []
    for of, array in zip(each, arrays, strict=True):
        missing = array.ndim - len(of.replace("...", ""))
        found.append(of.replace("...", beyond[len(beyond) - missing :] if missing else ""))
        if len(found[-1]) != array.ndim:
            raise TypeError(f"numpy.einsum: {of!r} is not for an array of {array.ndim} axes")
    if not arrow:
        every = inputs.replace(".", "").replace(",", "")
        out = "..." + "".join(sorted(one for one in {*every} if every.count(one) == 1))
    return found, out.replace("...", beyond)


def _without_repeats(
    arrays: Sequence[TracedArray], letters: Sequence[str]
) -> tuple[list[TracedArray], list[str]]:
    """Return the diagonals of arrays of which a letter stands for several axes."""
    found, kept = [], []
    for array, of in zip(arrays, letters, strict=True):
        once = "".join(dict.fromkeys(of))
        diagonal = partial(np.einsum, f"{of}->{once}")
        found.append(array if once == of else array.rearranged(diagonal))
        kept.append(once)
    return found, kept


def _is_repeated(arrays: Sequence[TracedArray], letters: Sequence[str]) -> bool:
    """Return whether an axis of one element stands beside a longer one of the same letter."""
    sides = {pair for a, of in zip(arrays, letters, strict=True)
             for pair in zip(of, a.shape, strict=True)}  # fmt: skip
    return len(sides) > len({letter for letter, _ in sides})


def _of_many(arrays: Sequence[TracedArray], letters: Sequence[str], out: str) -> TracedArray:
    """Return the sum of the products of all arrays, as one sum.

    Its terms are as many as any order of contractions adds up, so that its bound is one for all.
    """
    order = out + "".join(sorted({*"".join(letters)} - {*out}))
    product: Any = 1
    for array, of in zip(arrays, letters, strict=True):
        mine = "".join(one for one in order if one in of)
        sides = dict(zip(of, array.shape, strict=True))
        product = product * _ordered(array, of, mine).reshape(
            tuple(sides.get(one, 1) for one in order)
        )
    summed = tuple(range(len(out), len(order)))
    return product.sum(summed) if summed else product  # type: ignore[no-any-return]


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
    a, b = _all_alike(one, other)
    if isinstance(axes, int):
        axes = ([*range(a.ndim - axes, a.ndim)], [*range(axes)])
    first, second = ([x] if isinstance(x, int) else [*x] for x in axes)
    pool = iter(ascii_letters)
    of, by = [next(pool) for _ in range(a.ndim)], [next(pool) for _ in range(b.ndim)]
    for at, to in zip(first, second, strict=True):
        by[to] = of[at]
    gone = {of[at] for at in first}
    out = [n for n in (*of, *by) if n not in gone]
    return einsum(f"{''.join(of)},{''.join(by)}->{''.join(out)}", a, b)


def _dot(one: Any, other: Any) -> Any:
    a, b = _all_alike(one, other)
    return a * b if 0 in (a.ndim, b.ndim) else _tensordot(a, b, (-1, max(0, b.ndim - 2)))


def _inner(one: Any, other: Any) -> TracedArray:
    return _tensordot(one, other, (-1, -1))


def _outer(one: Any, other: Any) -> TracedArray:
    a, b = _all_alike(one, other)
    return a.reshape((-1, 1)) * b.reshape((1, -1))  # type: ignore[no-any-return]


FUNCTIONS: Mapping[Any, Callable[..., Any]] = {
    np.einsum: einsum,
    np.tensordot: _tensordot,
    np.dot: _dot,
    np.inner: _inner,
    np.outer: _outer,
}
METHODS: Mapping[str, Callable[..., Any]] = {"dot": _dot}
