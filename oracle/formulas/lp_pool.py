"""Power-average pooling: the p-norm of every window, p the norm_type, and its derived gradient.

Index names are those of `max_pool`.  What frameworks agree on is declared, and no more:

- The powers are x^p, not |x|^p: with p = 1 a window is summed.  Of an odd whole p, and of one that
  is no whole number, numbers below 0 are not checked: PyTorch's roots of negative sums are NaN,
  others take |x|.
- Where all pixels of a window are 0, y is 0 and no gradient goes back, as PyTorch documents it.
  With p = 1, where there is a slope, such gradients are not checked, nor those at NaN.
- There is no ceil_mode: PyTorch multiplies the mean of a window that hangs over the end with the
  number of all taps, others sum what is there.  There is no padding, as PyTorch has none, and p is
  finite: with p infinite PyTorch's is max pooling of |x|.

Source: PyTorch, torch.nn.LPPool2d; the documents have none.
"""

from math import isfinite, log2, prod
from typing import Any

import numpy as np

from gradoracle.oracle.derive import Derived, derived
from gradoracle.oracle.numbers.elementary import also, either, exp, log
from gradoracle.oracle.numbers.powers import power
from gradoracle.oracle.numbers.reverse import where
from gradoracle.oracle.ranks import PIXELS, RANKS, WINDOWS, named
from gradoracle.oracle.shapes import Array, Shape, Sides, pool_shape


def lp_pooling(rank: int) -> Derived:
    """Return the formulas of a power-average pooling of `rank` spatial axes."""
    axes = f"x: n c ({PIXELS[rank]}); grad_output: n c ({WINDOWS[rank]})"

    @derived(
        axes, ("x",), images="kept", words={"n": "images", "c": "channels"}, strided="x",
        window="kernel_size", neutral={"stride": 1},
        differentiates=False,  # where a window is all zeros
    )  # fmt: skip
    @named("lp_pool2d", rank)
    def lp_pool(x: Any, *, norm_type: float, kernel_size: Sides, stride: Sides) -> Any:
        """Return y [N, C, OH, OW], the norm of every window of x [N, C, H, W].

            y[n,c,i,j] = (sum of x[n,c, i*S+p, j*S+q]^norm_type over all taps (p, q))^(1/norm_type)

        (PyTorch, torch.nn.LPPool2d).  No gradient goes back from a window of zeros.

        Raises:
            ValueError: the shapes or options fit no pooling, or norm_type is below 1.
        """
        if not (isfinite(norm_type) and norm_type >= 1):
            raise ValueError(f"norm_type must be a number of at least 1, got {norm_type}")
        shape = pool_shape(
            rank, x.shape, kernel_size, stride, (0,) * rank, ceil_mode=False
        )  # fmt: skip
        flat = x.reshape(*x.shape[:2], prod(x.shape[2:]))
        seen = flat[:, :, pixels_of(tuple(x.shape[2:]), shape[2:], kernel_size, stride)]
        return _norms(seen, float(norm_type)).reshape(shape)

    return lp_pool


def pixels_of(size: Shape, windows: Shape, kernel: Sides, stride: Sides) -> Array:
    """Return the pixels of all windows, counted row by row: [windows, taps]."""
    found: Array = np.zeros((1, 1), np.int64)
    for h, i, p, s in zip(size, windows, kernel, stride, strict=True):
        along = np.arange(i)[:, np.newaxis] * s + np.arange(p)
        rows, columns = len(found) * i, found.shape[1] * p
        found = (found[:, None, :, None] * h + along[None, :, None, :]).reshape(rows, columns)
    return found


def _norms(seen: Any, p: float) -> Any:
    """Return the norms along the last axis, by sums or by means times the number of taps."""
    taps = seen.shape[-1]
    terms = _to_the(seen, p)
    sums = either(terms.sum(-1), lambda: terms.mean(-1) * taps)
    if p == 1:
        return also(sums, lambda: _by_the_largest(seen))
    empty = abs(seen).max(-1) <= 0
    return where(empty, 0.0, _root(where(empty, 1.0, sums), p))


def _by_the_largest(seen: Any) -> Any:
    """Return sums of what is divided by the largest, as norms are computed that never overflow.

    Of roots, the accuracy of a root covers it.
    """
    top = abs(seen).max(-1, keepdims=True)
    largest = where(top <= 0, 1.0, top)
    return (seen / largest).sum(-1) * largest.reshape(seen.shape[:-1])


def _to_the(x: Any, p: float) -> Any:
    """Return x^p: a product where p is a whole number."""
    return x ** int(p) if p == int(p) else power(p)(x)


def _root(sums: Any, p: float) -> Any:
    """Return sums^(1/p), whose exponent may be rounded where no format holds it."""
    root = power(1.0, p)(sums)
    if log2(p) == int(log2(p)):
        return root
    return either(root, lambda: exp(log(sums) / p))


LP_POOLINGS = {rank: lp_pooling(rank) for rank in RANKS}
DERIVED = (*LP_POOLINGS.values(),)
