"""Softmax along one axis, and its gradient, as loops.

002 names the Softmax layer before the convolution without its formula.  The largest logit of a row
is taken off first: that changes nothing in exact arithmetic, and no exponential overflows.  A logit
of minus infinity has probability 0.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import composed, declare_axes
from gradoracle.oracle.numbers.elementary import each, either, exp, largest, log, total
from gradoracle.oracle.shapes import Array, check_integer, check_shape


def probabilities(z: Any) -> Any:
    """Return the softmax of one row: quotients, or e to the log-softmax."""
    top = largest(z)
    shifted = each(lambda v: v - top, z)
    powers = each(exp, shifted)
    normalizer = total(powers)
    logarithm = cache(partial(log, normalizer))

    def quotient(e: Any, v: Any) -> Any:
        return either(e / normalizer, partial(_by_logarithm, v, logarithm))

    return each(quotient, powers, shifted)


def _by_logarithm(shifted: Any, logarithm: Callable[[], Any]) -> Any:
    return exp(shifted - logarithm())


@composed(images="mixed", lanes=lambda call: call["z"].along(call["axis"], probabilities))
def softmax(z: Array, *, axis: int) -> Array:
    """Return p, of z's shape and dtype; along `axis` it sums to 1.

        p_i = e^(z_i - m) / sum_j e^(z_j - m),  m = max_j z_j

    (002, the Softmax layer, as usually written; the shift by m cancels).

    Covered by the bound: the quotient, its sum in any order, and e^(z_i - m - log sum_j ...), the
    exponential of a log-softmax.

    Raises:
        ValueError: there is no such axis, or it is empty.
    """
    return _rows(probabilities, axis, z)


def _softmax_grad(dp: Any, z: Any) -> Any:
    p = probabilities(z)
    mean = total(each(lambda g, q: g * q, dp, p))
    return each(lambda g, q: q * (g - mean), dp, p)


@composed(
    images="mixed",
    lanes=lambda call: call["grad_output"].along(call["axis"], _softmax_grad, call["z"]),
)
def softmax_grad(grad_output: Array, z: Array, *, axis: int) -> Array:
    """Return dz = dE/dz from dp and z, of the same shape.

        dz_i = p_i (dp_i - sum_j dp_j p_j),  p = softmax(z)

    (002, dL/d(in) of the Softmax layer by its chain rule: the derivative dp_j/dz_i is
    p_j (1[i=j] - p_i)).

    Raises:
        ValueError: the shapes differ, there is no such axis, or it is empty.
    """
    check_shape("z", z.shape, grad_output.shape, "grad_output has")
    return _rows(_softmax_grad, axis, grad_output, z)


def _rows(row: Any, axis: int, first: Array, *others: Array) -> Array:
    """Return `row` of every line of the arrays along `axis`."""
    ndim = first.ndim
    place = check_integer("axis", axis, smallest=-ndim)
    if place >= ndim or first.shape[place] < 1:
        raise ValueError(
            f"axis must name an axis with elements of shape {[*first.shape]}, got {axis}"
        )
    lines = [np.moveaxis(a, place, -1).reshape(-1, first.shape[place]) for a in (first, *others)]
    result = np.zeros(lines[0].shape, first.dtype)
    run(_loop, result, row, *lines, products=0)
    moved = np.moveaxis(first, place, -1).shape
    return np.moveaxis(result.reshape(moved), -1, place)


def _loop(result: Array, row: Any, *lines: Array) -> None:
    for at in range(len(result)):
        result[at] = row(*(line[at].tolist() for line in lines))


declare_axes(Axes("z: n *; grad_output: n *"), softmax, softmax_grad)
