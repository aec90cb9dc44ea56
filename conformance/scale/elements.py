"""Some elements of a layer's answer on floats, each checked by itself within its rounding bound."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.scale.convolution import Convolution, terms
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array

DRAWN = 16  # elements, beside those at the ends of all axes
CLEAR = 2.0**-20  # of the bound: float64 decides what is farther from it than that


def settled_by(seed: int, got: Array) -> np.random.Generator:
    """Return a source that the answer settles: the same once more, and not known before it."""
    digest = hashlib.blake2b(np.ascontiguousarray(got).data, digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def chosen(of: Convolution, random: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Yield the elements at both ends of every axis, and as many again drawn from all."""
    if 0 in of.shape:
        return
    ends = [*product(*({0, size - 1} for size in of.shape))]
    drawn = [tuple(int(random.integers(size)) for size in of.shape) for _ in range(DRAWN)]
    yield from dict.fromkeys((*ends, *drawn))


def exact(of: Convolution, at: tuple[int, ...]) -> MultilinearTruth:
    """Return the truth of one element: its terms, by the definition, as a layer of one output.

    Terms that are 0 are left out: nothing is rounded where they are added.
    """
    left, right = (np.asarray(factor) for factor in terms(of, at))
    used = (left != 0) & (right != 0)
    left, right = left[used], right[used]
    if not len(left):  # a layer has an input
        left = right = np.zeros(1, left.dtype)
    bias = None if of.bias is None else of.bias[at[1] : at[1] + 1]
    call = {"x": left[None], "weight": right[None], "bias": bias}
    return MultilinearTruth(oracle.linear, call)


def share_of_bound(of: Convolution, at: tuple[int, ...], got: Array, accumulator: str) -> float:
    """Return how far an element is from the truth, as a share of what rounding explains.

    gamma_n * sum|terms| of the accumulator, n the terms that are not 0 (Higham 2002, section 3.1).
    float64 tells it of float32, whose bound is 2**29 times as large, unless it is nearly 1.
    """
    value = got[at]
    bits = FORMATS[got.dtype.name].bits
    if max(bits, FORMATS[accumulator].bits) <= 24 and np.isfinite(value):
        left, right = (factor.astype(np.float64) for factor in terms(of, at))
        parts = left * right
        if of.bias is not None:
            parts = np.append(parts, float(of.bias[at[1]]))
        count, size = np.count_nonzero(parts), float(abs(parts).sum())
        bound = count * 2.0**-24 / (1 - count * 2.0**-24) * size
        share = abs(float(value) - float(parts.sum())) / bound if bound else np.inf
        if share <= 1 - CLEAR and count <= 2**20:
            return float(share)
    truth = exact(of, at)
    return float(truth.error_over_bound(np.reshape(value, (1, 1)), accumulator)[0, 0])
