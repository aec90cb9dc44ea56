"""The formulas whose gradients are displayed, as functions of whole arrays that can be composed.

Those of `oracle.formulas` are loops over what they compute.  Here each is written with the
operations of arrays, so that reverse mode goes through it.  `tests/test_compose.py` holds every one
beside its loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.formulas.avg_pool import regions
from gradoracle.oracle.numbers.branches import each_element
from gradoracle.oracle.numbers.elementary import detached, either, exp, log, sigmoid, tanh
from gradoracle.oracle.numbers.reverse import where
from gradoracle.oracle.ranks import RANKS
from gradoracle.oracle.shapes import Array, Shape, Sides, conv_shapes, pool_shape
from gradoracle.oracle.windows import meetings

Options: TypeAlias = Mapping[str, Any]


def relu(z: Any) -> Any:
    """Return z where it is above 0, else 0; of NaN, NaN."""
    return where(z <= 0, 0.0, z)


def leaky_relu(z: Any, *, negative_slope: float) -> Any:
    """Return z where it is above 0, else z times the slope."""
    return where(z > 0, z, z * negative_slope)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return y[n,m] = sum_c x[n,c] weight[m,c] + bias[m], the sums in any order."""
    return _products(x, weight.swapaxes(0, 1), bias)


def softmax(z: Any, *, axis: int) -> Any:
    """Return the exponentials over their sum along an axis."""
    shifted = z - detached(z.max(axis, keepdims=True))
    e = exp(shifted)
    normalizer = e.sum(axis, keepdims=True)
    return either(e / normalizer, lambda: exp(shifted - log(normalizer)))


def conv(rank: int, x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    """Return the convolution of x [N, C, *pixels] with weight [M, C/groups, *taps]."""
    shapes = conv_shapes(rank, x.shape, weight.shape, **options)
    (n, m, *windows), groups = shapes.y, options["groups"]
    taken = _windows(x, *shapes.meeting)  # [N, C, windows, taps]
    of_a_group, taps = shapes.weight[1], prod(shapes.weight[2:])
    rows = taken.reshape((n, groups, of_a_group, prod(windows), taps)).transpose(0, 1, 3, 2, 4)
    rows = rows.reshape((n, groups, prod(windows), of_a_group * taps))
    columns = weight.reshape((groups, m // groups, of_a_group * taps)).swapaxes(1, 2)
    added = None if bias is None else bias.reshape((groups, 1, m // groups))
    y = _products(rows, columns, added)  # [N, groups, windows, M/groups]
    return y.swapaxes(2, 3).reshape((n, m, *windows))


def avg_pool(rank: int, x: Any, *, count_include_pad: bool, **options: Any) -> Any:
    """Return the means of the windows of x [N, C, *pixels], as `formulas.avg_pool` counts taps."""
    shape = pool_shape(rank, x.shape, **options)
    sides = (options[name] for name in ("kernel_size", "stride", "padding"))
    kernel, stride, padding = sides
    counted = regions(x.shape[2:], kernel, shape[2:], stride, padding, count_include_pad)
    taken, divisors = _pooled(x, shape, options), counted.array.astype(float)
    return either(taken.sum(-1) / divisors, partial(_means, taken, divisors)).reshape(shape)


def _means(taken: Any, divisors: Array) -> Any:
    return (taken / divisors[:, np.newaxis]).sum(-1)


def max_pool(rank: int, x: Any, **options: Any) -> Any:
    """Return the maxima of the windows of x [N, C, *pixels]; gradients go to the first of equal."""
    shape = pool_shape(rank, x.shape, **options)
    return _pooled(x, shape, options, -np.inf).max(-1).reshape(shape)


def _pooled(x: Any, y: Shape, options: Options, beyond: float = 0.0) -> Any:
    kernel, ones = options["kernel_size"], (1,) * len(options["kernel_size"])
    moved = options["stride"], options["padding"], options.get("dilation", ones)
    return _windows(x, x.shape[2:], kernel, y[2:], *moved, beyond=beyond)


def _windows(
    x: Any, pixels: Shape, taps: Shape, windows: Shape, stride: Sides, padding: Sides,
    dilation: Sides, beyond: float = 0.0,
) -> Any:  # fmt: skip
    """Return what every window's taps read, [N, C, windows, taps]; `beyond` off the image."""
    met = meetings(pixels, taps, windows, stride, padding, dilation)
    start, tap, pixel = (one.array for one in met.by_window)
    window = np.repeat(np.arange(prod(windows)), np.diff(start))
    table = np.zeros((prod(windows), prod(taps)), np.int64)
    inside = np.zeros(table.shape, bool)
    table[window, tap], inside[window, tap] = pixel, True
    flat = x.reshape((*x.shape[:2], prod(pixels)))
    return where(inside, flat[:, :, table], beyond)


def _products(rows: Any, columns: Any, bias: Any) -> Any:
    """Return rows @ columns + bias, summed in any order: the bias is one more product by 1."""
    if bias is None:
        return rows @ columns
    terms = rows.shape[-1]
    longer, last = np.minimum(np.arange(terms + 1), terms - 1), np.arange(terms + 1) == terms
    with_one = where(~last, rows[..., longer], 1.0)
    added = bias.reshape((1, *bias.shape)) if bias.ndim == 1 else bias
    return with_one @ where(last[:, np.newaxis], added, columns[..., longer, :])


def _logistic(z: Any) -> Any:
    if z >= 0:
        return 1 / (1 + exp(-z))
    e = exp(z)
    return e / (1 + e)


def _sigmoid_of_one(z: Any) -> Any:
    return either(_logistic(z), partial(sigmoid, z))


def _sigmoid(z: Any) -> Any:
    return each_element(_sigmoid_of_one, z)


BLOCKS: Mapping[str, Callable[..., Any]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "sigmoid": _sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "linear": linear,
    **{f"conv{n}d": partial(conv, n) for n in RANKS},
    **{f"avg_pool{n}d": partial(avg_pool, n) for n in RANKS},
    **{f"max_pool{n}d": partial(max_pool, n) for n in RANKS},
}
