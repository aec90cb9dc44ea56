"""What somebody may misunderstand about pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import (
    SIDES,
    SIGN,
    ZEROS,
    Bend,
    Misconception,
    Wrong,
    bent,
    negated,
    nothing,
    ones,
    option,
    right,
    zeros,
)
from gradoracle.conformance.misconceptions.walks import divisors, misread
from gradoracle.oracle.declaration import Formula, evaluate
from gradoracle.oracle.shapes import Array

MAX, PLACES, MAX_DX, VJP = (
    "max_pool2d_values",
    "max_pool2d_indices",
    "max_pool2d_grad_input",
    "max_pool2d_vjp",
)
AVG, AVG_DX = "avg_pool2d", "avg_pool2d_grad_input"


def _inserts(formula: Formula, call: dict[str, Any]) -> Array:
    """003's max-unpool to the letter: the last window that shares a maximum wins."""
    del formula
    indices, dy = call["indices"], call["grad_output"]
    dx = np.zeros(call["input_shape"])
    planes = dx.reshape(*dx.shape[:2], -1)
    for n, c in np.ndindex(*dx.shape[:2]):
        planes[n, c][indices[n, c].ravel()] = dy[n, c].ravel()
    return dx


def _pads_with_zeros(formula: Formula, call: dict[str, Any]) -> Array:
    """The maximum over a window that reaches into the padding is at least 0."""
    y = evaluate(formula, call)
    ones = {**call, "x": np.ones_like(call["x"])}
    whole = _counts(ones) == np.prod(call["kernel_size"])
    return np.where(whole, y, np.maximum(y, 0))


def _counts(call: dict[str, Any]) -> Array:
    """Return how many taps of every window fall on the image."""
    height, width = call["x"].shape[2:]
    shape = call["grad_output"].shape
    inside = []
    for axis, size in ((0, height), (1, width)):
        start = np.arange(shape[2 + axis]) * call["stride"][axis] - call["padding"][axis]
        apart = call.get("dilation", (1, 1))[axis]
        taps = start[:, None] + np.arange(call["kernel_size"][axis]) * apart
        inside.append(((taps >= 0) & (taps < size)).sum(axis=1))
    return np.broadcast_to(inside[0][:, None] * inside[1], shape)


def _divided_by(other: Callable[[dict[str, Any]], Array | float]) -> Wrong:
    """Return averages, or their gradient, of which every window is divided by another number."""

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        rate = divisors(call, call["grad_output"].shape) / other(call)
        if formula.__name__ == AVG:
            return right(formula, call) * rate
        return evaluate(formula, {**call, "grad_output": call["grad_output"] * rate})

    return wrong


def _bent_divisors(bend: Bend, *, safe: bool = False) -> Wrong:
    """Return averages whose divisors alone are computed with another option."""
    return _divided_by(
        lambda call: divisors({**bend(call), "safe": safe}, call["grad_output"].shape)
    )


def _taps(call: dict[str, Any]) -> float:
    return float(np.prod(call["kernel_size"]))


def _windows_side_by_side(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "stride": call["kernel_size"]}


def _in_the_window(formula: Formula, call: dict[str, Any]) -> Array:
    """Indices count the taps of the window instead of the pixels of the plane."""
    places = evaluate(formula, call)
    width = call["x"].shape[3]
    sides = []
    for axis, at in ((0, places // width), (1, places % width)):
        window = np.arange(places.shape[2 + axis]) * call["stride"][axis] - call["padding"][axis]
        start = window[:, None] if axis == 0 else window
        sides.append((at - start) // call["dilation"][axis])
    taps: Array = sides[0] * call["kernel_size"][1] + sides[1]
    return taps


def _in_the_padded_plane(formula: Formula, call: dict[str, Any]) -> Array:
    """Indices count the pixels of the padded plane."""
    places = evaluate(formula, call)
    (down, across), width = call["padding"], call["x"].shape[3]
    padded: Array = (places // width + down) * (width + 2 * across) + places % width + across
    return padded


def _last_wins(formula: Formula, call: dict[str, Any]) -> Array:
    """Of several maxima the last in row-major order wins."""
    x = call["x"]
    count = x.shape[2] * x.shape[3]
    order = np.arange(count).reshape(x.shape[2:])
    places = evaluate(formula, call)
    for i, j in np.ndindex(places.shape[2:]):
        rows, columns = (
            start + np.arange(k) * d
            for start, k, d in zip(
                (i * call["stride"][0] - call["padding"][0],
                 j * call["stride"][1] - call["padding"][1]),
                call["kernel_size"], call["dilation"], strict=True,
            )
        )  # fmt: skip
        rows = rows[(rows >= 0) & (rows < x.shape[2])]
        columns = columns[(columns >= 0) & (columns < x.shape[3])]
        seen = x[:, :, rows][:, :, :, columns].reshape(*x.shape[:2], -1)
        at = order[rows][:, columns].ravel()
        last = seen.shape[2] - 1 - seen[:, :, ::-1].argmax(axis=2)
        places[:, :, i, j] = at[last]
    return places


MISCONCEPTIONS = (
    Misconception("what overlapping windows send to one pixel is inserted instead of added, as 003 "
                  "prints it", (MAX_DX,), _inserts),
    Misconception("padding counts as 0 instead of minus infinity", (MAX,), _pads_with_zeros),
    Misconception("the indices count the taps of the window, not the pixels of the plane",
                  (PLACES,), _in_the_window),
    Misconception("the indices count the pixels of the padded plane", (PLACES,),
                  _in_the_padded_plane),
    Misconception("of equal maxima the last wins instead of the first", (PLACES,), _last_wins),
    *(
        misread(sentence.format(name), (MAX, PLACES, VJP), option(name, change))
        for name in ("kernel_size", "stride", "padding", "dilation")
        for sentence, change in SIDES
    ),
    *(
        misread(sentence.format(name), (AVG, AVG_DX), option(name, change))
        for name in ("kernel_size", "stride", "padding")
        for sentence, change in SIDES
    ),
    *(
        Misconception(f"in the divisor {sentence.format(name)}", (AVG, AVG_DX),
                      _bent_divisors(option(name, change)), finite=False,
                      also=(_bent_divisors(option(name, change), safe=True),))
        for name in ("kernel_size", "stride", "padding")
        for sentence, change in SIDES
    ),
    misread("the dilation is ignored", (MAX, PLACES, VJP), option("dilation", ones)),
    misread("the stride is ignored", (MAX, PLACES, VJP, AVG, AVG_DX), option("stride", ones)),
    misread("the stride is ignored: windows lie side by side, a kernel_size apart",
            (MAX, PLACES, VJP, AVG, AVG_DX), _windows_side_by_side),
    misread("the padding is ignored", (MAX, PLACES, VJP, AVG, AVG_DX), option("padding", nothing)),
    Misconception("count_include_pad is ignored: padding is always counted", (AVG, AVG_DX),
                  bent(lambda c: {**c, "count_include_pad": True})),
    Misconception("count_include_pad is ignored: padding is never counted", (AVG, AVG_DX),
                  bent(lambda c: {**c, "count_include_pad": False})),
    Misconception("every window is divided by KH*KW, whatever hangs over the end or lies in the "
                  "padding", (AVG, AVG_DX), _divided_by(_taps)),
    Misconception("nothing is divided: sums instead of means", (AVG, AVG_DX),
                  _divided_by(lambda _: 1.0)),
    Misconception("ceil_mode is ignored", (MAX, PLACES, AVG),
                  bent(lambda c: {**c, "ceil_mode": False})),
    Misconception(SIGN, (MAX, MAX_DX, VJP, AVG, AVG_DX), negated),
    Misconception(ZEROS, (MAX, PLACES, MAX_DX, VJP, AVG, AVG_DX), zeros),
)  # fmt: skip
