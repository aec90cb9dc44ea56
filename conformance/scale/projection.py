"""Freivalds' check of a layer's answer, and the element that is wrong where it fails.

`oracle.expected.random_projection` derives how often a wrong answer passes. What no random weights
could see is looked at by itself: elements that are no whole numbers, NaN and infinity among them,
and those beyond what any right answer has. The weights are drawn after the answer has come, from
the operating system's entropy: no backend can know them, and what is told of a wrong answer does
not depend on them.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from gradoracle.conformance.scale.convolution import Convolution, column
from gradoracle.oracle.expected import random_projection
from gradoracle.oracle.shapes import Array


def fresh() -> np.random.Generator:
    """Return a source of weights that nobody can foresee."""
    return np.random.default_rng(secrets.randbits(128))


def wrong_element(
    of: Convolution, got: Array, random: np.random.Generator
) -> tuple[tuple[int, ...], float, int] | None:
    """Return a wrong element of an answer of the right shape, what is right, and how many are.

    None: it is right, or wrong with a probability below 2**modular.MISSED.  `got` must be the
    answer to whole numbers whose sums of magnitudes are at most modular.LARGEST; those in the same
    place of all images and channels are counted.
    """
    if of.gives == "db":
        dy, _ = of.factors
        return _first(got, dy.sum((0, *range(2, dy.ndim)), np.float64), ())
    place = _wrong_place(of, got, random)
    if place is None:
        return None
    there: Any = (slice(None), slice(None), *place)
    found = _first(got[there], column(of, place), place)
    if found is None:
        raise RuntimeError(f"the weighted sums differ in {place}, but no element does")
    return found


def _wrong_place(
    of: Convolution, got: Array, random: np.random.Generator
) -> tuple[int, ...] | None:
    """Return where the weighted sums of the answer are not those of the formula."""
    options, (first, second) = of.options, of.factors
    assert second is not None, "db has no places"  # noqa: S101
    rows = of.shape[0]
    columns = of.shape[1] * (options.groups if of.gives == "dw" else 1)
    a, b = random_projection.draw(random, rows), random_projection.draw(random, columns)
    if of.gives == "dw":
        sums, whole = random_projection.weighted_filters(got, a, b, groups=options.groups)
        want = random_projection.weighted_grad_weight(first, second, a, b, of.shape[2:], options)
    elif of.gives == "dx":
        sums, whole = random_projection.weighted_maps(got, a, b)
        want = random_projection.weighted_grad_input(first, second, a, b, of.shape[2:], options)
    else:
        sums, whole = random_projection.weighted_maps(got, a, b)
        want = random_projection.weighted_convolution(first, second, a, b, options)
    if of.bias is not None:
        by_channel = b.astype(np.int64) * of.bias.astype(np.int64)
        want = want + a.astype(np.int64).sum(keepdims=True) * by_channel.sum(keepdims=True)
    if not whole:
        odd = ~((abs(got) <= random_projection.LARGEST) & (np.rint(got) == got))
        return tuple(np.argwhere(odd)[0][2:].tolist())
    unequal = sums != want
    return tuple(np.argwhere(unequal)[0].tolist()) if unequal.any() else None


def _first(
    got: Array, want: Array, place: tuple[int, ...]
) -> tuple[tuple[int, ...], float, int] | None:
    wrong = ~(got == want)
    if not wrong.any():
        return None
    at = tuple(np.argwhere(wrong)[0].tolist())
    return (*at, *place), float(want[at]), int(wrong.sum())
