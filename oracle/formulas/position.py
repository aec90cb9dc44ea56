"""The rotary embedding of positions and the bilinear layer: sums of products of whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.oracle.derive import derived
from gradoracle.oracle.numbers.reverse import where
from gradoracle.oracle.shapes import Array, check_integer


@derived(
    "x: n h t e; cos: m d; sin: m d; grad_output: n h t e",
    {"x": ("cos", "sin", "interleaved", "offset")},
    images="kept",
    words={"n": "images", "h": "heads"},
    neutral={"interleaved": False, "offset": 0},
)
def rotary_embedding(x: Any, cos: Any, sin: Any, *, interleaved: bool, offset: int) -> Any:
    """Return y, of x's shape and dtype, from x [N, H, T, E] and the tables cos and sin [M, D].

        y[t,a] = x[t,a] cos[t + offset,k] - x[t,b] sin[t + offset,k]
        y[t,b] = x[t,b] cos[t + offset,k] + x[t,a] sin[t + offset,k],  k = 0 to D - 1
        (a, b) = (k, k + D), or (2k, 2k + 1) with interleaved;  y = x from feature 2D on

    (Su and others 2021, "RoFormer", equation 34, whose pairs are the interleaved ones; halves are
    those of GPT-NeoX and Llama).

    Raises:
        ValueError: the shapes do not fit each other, the tables have more than E / 2 columns or
            fewer than offset + T rows, or offset is negative.
    """
    steps, features = x.shape[2:]
    rows, pairs = cos.shape
    check_integer("offset", offset, smallest=0)
    if 2 * pairs > features:
        raise ValueError(f"cos must have at most {features // 2} columns, got {pairs}")
    if rows < offset + steps:
        raise ValueError(f"cos must have at least {offset + steps} rows, got {rows}")
    partner, sign, of = _pairs(features, pairs, interleaved=interleaved)
    at = np.arange(offset, offset + steps)[:, np.newaxis], of
    turned = x * cos[at] + x[..., partner] * (sin[at] * sign)
    return where(np.arange(features) < 2 * pairs, turned, x)


def _pairs(features: int, pairs: int, *, interleaved: bool) -> tuple[Array, Array, Array]:
    """Return of each feature its partner, the sign of the sine beside that, and the column k.

    Features that are not turned are their own partners.
    """
    place = np.arange(features)
    is_second = place % 2 == 1 if interleaved else place >= pairs
    step = np.where(is_second, -1, 1) * (1 if interleaved else pairs)
    is_turned = place < 2 * pairs
    column = place // 2 if interleaved else place % pairs
    partner = np.where(is_turned, place + step, place)
    return partner, np.where(is_second, 1.0, -1.0), np.where(is_turned, column, 0)


@derived(
    "input1: n a; input2: n b; weight: m a b; bias?: m; grad_output: n m",
    {
        "input1": ("input2", "weight"),
        "input2": ("input1", "weight"),
        "weight": ("input1", "input2"),
        "bias": (),
    },
    images="kept",
    words={"n": "images", "m": "outputs", "a": "features of input1", "b": "features of input2"},
)
def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """Return y [N, M] from input1 [N, A], input2 [N, B], weight [M, A, B] and bias [M].

        y[n,m] = bias[m] + sum_{a,b} input1[n,a] weight[m,a,b] input2[n,b]

    (the bilinear layer, as torch.nn.functional.bilinear has it).

    Raises:
        ValueError: the shapes do not fit each other.
    """
    (images, one), other = input1.shape, input2.shape[1]
    left, right = input1.reshape((images, 1, one, 1)), input2.reshape((images, 1, 1, other))
    y = (left * weight * right).sum((2, 3))
    return y if bias is None else y + bias


DERIVED = (bilinear, rotary_embedding)
