"""Convolutions by transforms: how far rounding may take Winograd's and Fourier's from the sum.

Both multiply transformed planes and transform the sum of the products over channels back.  Whole
numbers do not stay whole on the way, and a small element of the answer carries the errors of large
ones, so the error is bounded by norms of the planes that it is made of, not by its own terms:

    |error| <= K u sum_planes |a|_p |b|_p

Winograd, p = infinity.  With matrices A, B, G of Toom's and Cook's algorithm for m outputs of r
taps, y = A^T (G b * B^T a), and likewise along the other side.  Every product passes through sums
of at most m + r - 1, r and m + r - 1 terms on each side, so K counts those roundings times

    max_i sum_j |A_ji| (sum_k |G_jk|) (sum_l |B_lj|)          [Barabasz, Anderson, Soodhalter and
                                                      Gregg 2020, "Error analysis and improving
                                                      the accuracy of Winograd convolution"]

of each side, which no scaling of the matrices changes.  The points are 0, 1, -1, 2, -2, 1/2, -1/2
and infinity, the first three always; of all choices of the others the worst counts.

Fourier, p = 2.  A cyclic convolution by transforms of length 2^k errs by at most

    |a|_2 |b|_2 ((1 + u)^(3k) (1 + u sqrt 5)^(3k + 1) (1 + u)^(3k) - 1)

of correctly rounded roots of unity (Percival 2003, "Rapid multiplication modulo the sum and
difference of highly composite numbers", as Brent and Zimmermann 2010 have it, section 3.3.1).
Twice that is allowed, for other lengths and Bluestein's algorithm, which takes three transforms.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import combinations
from math import ceil, log2, prod, sqrt
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    axes_of,
    evaluate,
    operands,
)
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.expected.planes import of_one_pixel
from gradoracle.oracle.float_formats import FORMATS, Format, flushed, name_of
from gradoracle.oracle.shapes import Array, Shape

DIRECT, FOURIER = "direct", "fft"
TILES: Mapping[str, int] = {"winograd2": 2, "winograd4": 4, "winograd6": 6}  # outputs a side
ALGORITHMS = (DIRECT, *TILES, FOURIER)  # the default first
LARGEST_TILE = 8  # inputs a side: more points than these make every answer worthless
ALWAYS = (Fraction(0), Fraction(1), Fraction(-1))
OTHERS = (Fraction(2), Fraction(-2), Fraction(1, 2), Fraction(-1, 2))


class Transform(NamedTuple):
    """What an algorithm does to the terms of one geometry."""

    grows: float  # how much larger than sum |a|_p |b|_p its intermediate sums may be
    roundings: float  # of every product on its way, but for the sums over planes
    tiles: int  # partial sums of every pair of planes
    by_largest: bool  # p is infinity, else 2

    def norm(self, array: Array, space: tuple[int, ...]) -> Array:
        """Return the norms of planes, which lie along some axes, as planes of one pixel."""
        wide = abs(np.asarray(array, np.float64))
        if self.by_largest:
            return np.asarray(wide.max(axis=space, keepdims=True, initial=0))
        largest = wide.max(axis=space, keepdims=True, initial=0)
        with np.errstate(all="ignore"):  # scaled, so that no square overflows nor vanishes
            sizes = np.where(largest > 0, wide / largest, 0)
        return np.asarray(largest * np.sqrt((sizes**2).sum(axis=space, keepdims=True)))


def is_transformable(formula: Formula) -> bool:
    """Return whether a formula multiplies planes with taps, or planes with planes."""
    kind = algebra(formula)
    taps = axes_of(formula).space.get("weight")
    return bool(taps) and isinstance(kind, Multilinear) and len(kind.factors) > 1


def _seen_by_taps(formula: Formula) -> str:
    """Return the array whose pixels each tap meets, for a gradient by the taps; else ""."""
    axes = axes_of(formula)
    if not any(axes.shapes.get(option) == "weight" for option in argument_names(formula)[1]):
        return ""
    return "grad_output" if axes.strided == "x" else "x"


def transform(formula: Formula, call: Call, algorithm: str) -> Transform | None:
    """Return what an algorithm does to a call; None where it is the sum itself.

    Winograd's is where stride and dilation are 1, a side of the kernel has several taps, and a
    tile with them has at most 8 pixels a side.
    """
    if algorithm == DIRECT or not is_transformable(formula):
        return None
    kernel, steps = _kernel(formula, call), (*call["stride"], *call["dilation"])
    if algorithm == FOURIER:
        return _fourier(formula, call, kernel)
    tile = TILES[algorithm]
    if max(steps) > 1 or max(kernel) == 1 or max(kernel) + tile - 1 > LARGEST_TILE:
        return None
    tiles = 1
    if name := _seen_by_taps(formula):  # its taps are the tiles of what the weights meet
        seen = [call[name].shape[at] for at in axes_of(formula).space[name]]
        tiles = prod(ceil(side / tile) for side in seen)
        sides = [Side(tile, tile) if taps == 1 else worst_side(taps, tile) for taps in kernel]
    else:
        sides = [Side(1, 0) if taps == 1 else worst_side(tile, taps) for taps in kernel]
    grows, roundings = prod(s.grows for s in sides), sum(s.roundings for s in sides)
    return Transform(grows, 1 + roundings, tiles, by_largest=True)


class Side(NamedTuple):
    """One side of Winograd's algorithm."""

    grows: float
    roundings: int


@cache
def worst_side(outputs: int, taps: int) -> Side:
    """Return the worst of the algorithms for tiles of so many outputs, or of fewer (from 2)."""
    found = [
        _grows(fewer, taps, points)
        for fewer in range(min(2, outputs), outputs + 1)
        for points in _choices(fewer + taps - 2)
    ]
    inputs = outputs + taps - 1
    return Side(float(max(found)), 2 * (inputs + 1) + taps + 1)


def _choices(finite: int) -> list[tuple[Fraction, ...]]:
    """Return the choices of so many finite points."""
    if finite <= len(ALWAYS):
        return [ALWAYS[:finite]]
    return [(*ALWAYS, *more) for more in combinations(OTHERS, finite - len(ALWAYS))]


def _grows(outputs: int, taps: int, points: tuple[Fraction, ...]) -> Fraction:
    """Return max_i sum_j |A_ji| (sum_k |G_jk|) (sum_l |B_lj|) of finite points and infinity."""
    sums = [Fraction(0)] * outputs
    for at, point in enumerate(points):
        rest = points[:at] + points[at + 1 :]
        scale = prod((abs(point - other) for other in rest), start=Fraction(1))  # of a row of G
        taken = sum((abs(point) ** k for k in range(taps)), Fraction(0)) / scale
        given = _size(rest)
        for i in range(outputs):
            sums[i] += abs(point) ** i * taken * given
    sums[-1] += _size(points)  # the row of infinity
    return max(sums)


def _size(roots: tuple[Fraction, ...]) -> Fraction:
    """Return the sum of the absolute coefficients of the polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        lower = [*coefficients, Fraction(0)]
        higher = [Fraction(0), *coefficients]
        coefficients = [h - root * c for h, c in zip(higher, lower, strict=True)]
    return sum(map(abs, coefficients), Fraction(0))


def _fourier(formula: Formula, call: Call, kernel: Shape) -> Transform:
    k = 0
    axes = axes_of(formula)
    shapes = [(n, v.shape) for n, v in operands(formula, call).items()]
    shapes += [(n, call[o]) for o, n in axes.shapes.items() if n == "x" and o in call]
    sides = [[shape[at] for at in axes.space[n]] for n, shape in shapes if axes.space[n]]
    for at, taps in enumerate(kernel):
        longest = max((side[at] for side in sides), default=1) * call["stride"][at]
        longest += 2 * call["padding"][at] + taps * call["dilation"][at]
        k += ceil(log2(2 * longest))
    return Transform(1.0, 2 * (6 * k + sqrt(5) * (3 * k + 1)), 1, by_largest=False)


def _kernel(formula: Formula, call: Call) -> Shape:
    """Return the sides of the kernel."""
    shape = call["weight_shape"] if _seen_by_taps(formula) else call["weight"].shape
    return tuple(shape[at] for at in axes_of(formula).space["weight"])


def reach(
    formula: Formula, call: Call, of: Transform, given: Mapping[str, Array], unit: float
) -> tuple[Array, Array]:
    """Return K u sum |a|_p |b|_p of the operands `given`, and how large sums may get on the way.

    Both are planes of one pixel, infinite where the roundings are too many to be bounded.
    """
    factors = _factors(formula)
    norms = of_one_pixel(formula, {**call, **{n: given[n] for n in factors}}, of.norm)
    ones = of_one_pixel(formula, {**call, **{n: given[n] for n in factors}}, _one)
    plus = _plus(formula)
    if plus is not None:
        norms[plus] = ones[plus] = None
    with np.errstate(all="ignore"):
        sums = evaluate(formula, norms) * of.tiles * of.grows
        spent = (of.roundings + evaluate(formula, ones) * of.tiles) * unit
        error = np.where(spent < 1, sums * (spent / (1 - spent)), np.inf)
    return np.asarray(np.where(sums == 0, 0.0, error)), np.asarray(sums)


def _factors(formula: Formula) -> tuple[str, ...]:
    kind = algebra(formula)
    assert isinstance(kind, Multilinear)  # noqa: S101 - what is transformed is
    return kind.factors


def _plus(formula: Formula) -> str | None:
    kind = algebra(formula)
    assert isinstance(kind, Multilinear)  # noqa: S101 - what is transformed is
    return kind.plus


def _one(array: Array, space: tuple[int, ...]) -> Array:
    return np.ones([1 if at in space else n for at, n in enumerate(array.shape)])


class TransformedTruth:
    """The exact answer of a convolution, and the error of computing it by a transform."""

    def __init__(self, formula: Formula, call: Call, of: Transform) -> None:
        """Evaluate nothing before it is asked for."""
        self._direct, self._of = MultilinearTruth(formula, call), of
        self._formula, self._call = formula, call

    @property
    def shape(self) -> Shape:
        """The answer's shape."""
        return self._direct.shape

    def is_exact(self, dtype: str, accumulator: str) -> bool:
        """Return False: transforms divide, and their roots of unity are irrational."""
        del dtype, accumulator
        return False

    def as_float(self, dtype: np.dtype[np.generic]) -> Array:
        """Return the elements rounded to float64 and from there to `dtype`."""
        return self._direct.as_float(dtype)

    def bound(self, dtype: str, accumulator: str) -> Array:
        """Return the bound in norm, or the direct sum's own where that is larger.

        Ends of an image, or layers that are no faster so, may be computed directly.
        """
        inner, result = FORMATS[accumulator], FORMATS[dtype]
        given = {n: np.asarray(a, np.float64) for n, a in self._operands.items()}
        error, sums = reach(self._formula, self._call, self._of, given, 2.0**-inner.bits)
        size = abs(self._direct.as_float(np.dtype(np.float64)))
        if _plus(self._formula) in given:  # added at the end: one rounding more
            error = error + 2.0**-inner.bits * (size + error)
        if inner.bits > result.bits:
            error = error + 2.0**-result.bits * (size + error) + flushed(dtype)
        error = np.broadcast_to(error, self.shape) * (1 + 2.0**-40)  # what float64 rounds here
        error = error + np.where(sums > 0, self._lost(inner), 0)  # zeros stay zeros
        most = float(min(inner.overflow, sys.float_info.max))
        with np.errstate(over="ignore"):
            may_end = np.broadcast_to(~(4 * sums < most), self.shape)
        bound = np.maximum(error, self._direct.bound(dtype, accumulator))
        return np.where(may_end, np.inf, bound)

    def _lost(self, limits: Format) -> float:
        """Return what products and sums below the smallest normal number may lose on the way."""
        terms = self._direct.terms.max(initial=0) * self._of.grows * self._of.roundings
        return float(terms) * 2.0**-limits.subnormal_scale

    @property
    def _operands(self) -> dict[str, Array]:
        return operands(self._formula, self._call)

    def error_over_bound(self, got: Array, accumulator: str) -> Array:
        """Return |got - truth| as a share of the bound; where that is infinite, 0."""
        bound = self.bound(name_of(got.dtype), accumulator)
        finite = np.isfinite(got)
        with np.errstate(all="ignore"):
            error = self._direct.error(np.where(finite, got, 0), accumulator)
            share = np.where(error == 0, 0.0, error / bound)
        share = np.where(finite, share, np.inf)
        return np.where(np.isinf(bound), 0.0, share)
