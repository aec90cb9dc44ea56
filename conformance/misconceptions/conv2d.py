"""What somebody may misunderstand about a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import (
    SIDES,
    SIGN,
    ZEROS,
    Misconception,
    bent,
    bias_twice,
    divided,
    minus_bias,
    negated,
    nothing,
    ones,
    option,
    reversed_axes,
    right,
    without,
    zeros,
)
from gradoracle.conformance.misconceptions.walks import misread
from gradoracle.oracle.declaration import Formula, evaluate
from gradoracle.oracle.shapes import Array, remainder

FORWARD, DX, DW, DB = "conv2d", "conv2d_grad_input", "conv2d_grad_weight", "conv2d_grad_bias"
ALL = (FORWARD, DX, DW)


def _keeps_padding(formula: Formula, call: dict[str, Any]) -> Array:
    """dX of the padded image, returned whole."""
    images_, channels, height, width = call["input_shape"]
    down, across = call["padding"]
    padded = (images_, channels, height + 2 * down, width + 2 * across)
    return evaluate(formula, {**call, "input_shape": padded, "padding": (0, 0)})


def _drops_remainder(formula: Formula, call: dict[str, Any]) -> Array:
    """dX without the last rows and columns that no window reaches."""
    dx = evaluate(formula, call)
    rest = [
        remainder(size, k, s, p, d)
        for size, k, s, p, d in zip(
            dx.shape[2:], call["weight"].shape[2:], call["stride"], call["padding"],
            call["dilation"], strict=True,
        )
    ]  # fmt: skip
    return dx[:, :, : dx.shape[2] - rest[0], : dx.shape[3] - rest[1]]


def _shifts_by_remainder(formula: Formula, call: dict[str, Any]) -> Array:
    """dX with the rows and columns that no window reaches in front instead of at the end."""
    short = _drops_remainder(formula, call)
    dx = np.zeros(call["input_shape"])
    dx[:, :, dx.shape[2] - short.shape[2] :, dx.shape[3] - short.shape[3] :] = short
    return dx


def first_group(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call in which every group has the filters of the first."""
    weight = call["weight"]
    members = len(weight) // call["groups"]
    return {**call, "weight": np.concatenate([weight[:members]] * call["groups"])}


def first_channels(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call in which every group has the input channels of the first."""
    x = call["x"]
    depth = x.shape[1] // call["groups"]
    return {**call, "x": np.concatenate([x[:, :depth]] * call["groups"], axis=1)}


def _first_bias(call: dict[str, Any]) -> dict[str, Any]:
    """Every group adds the bias of the first."""
    bias = call["bias"]
    if bias is None:
        return call
    return {**call, "bias": np.resize(bias[: len(bias) // call["groups"]], bias.shape)}


def exchanged_channels(formula: Formula, call: dict[str, Any]) -> Array:
    """Read the first two axes of weight as one another: right unless there are as many."""
    weight = call["weight"]
    if weight.shape[0] != weight.shape[1]:
        return right(formula, call)
    return evaluate(formula, {**call, "weight": weight.swapaxes(0, 1)})


def _interleaved(call: dict[str, Any]) -> dict[str, Any]:
    """Filter m belongs to group m % groups instead of m // (M / groups)."""
    weight, groups = call["weight"], call["groups"]
    order = np.arange(len(weight)).reshape(-1, groups).T.ravel()
    return {**call, "weight": weight[np.argsort(order)]}


def _over_filter_size(formula: Formula, call: dict[str, Any]) -> Array:
    """002's dW: the sum over output pixels stops at the filter's size."""
    dy = call["grad_output"].copy()
    dy[:, :, call["weight_shape"][2] :] = 0
    dy[:, :, :, call["weight_shape"][3] :] = 0
    return evaluate(formula, {**call, "grad_output": dy})


def _overwrites(formula: Formula, call: dict[str, Any]) -> Array:
    """dX where the last window that reaches a pixel is stored instead of added.

    Of the windows that reach a pixel, the last one has it under its first tap.
    """
    dx, weight = np.zeros(call["input_shape"]), call["weight"]
    taps = list(np.ndindex(*weight.shape[2:]))
    for tap in reversed(taps):
        alone, here = np.zeros_like(weight), np.zeros_like(weight)
        alone[:, :, *tap], here[:, :, *tap] = weight[:, :, *tap], 1
        reached = evaluate(formula, {
            **call, "grad_output": np.ones_like(call["grad_output"]), "weight": here,
        }) != 0  # fmt: skip
        dx[reached] = evaluate(formula, {**call, "weight": alone})[reached]
    return dx


def _skips_edge(formula: Formula, call: dict[str, Any]) -> Array:
    """The forward pass with zeros where a window leaves the image."""
    y = evaluate(formula, call)
    ones = {"x": np.ones_like(call["x"]), "weight": np.ones_like(call["weight"]), "bias": None}
    inside = evaluate(formula, {**call, **ones}) == np.prod(call["weight"].shape[1:])
    return np.where(inside, y, 0)


MISCONCEPTIONS = (
    Misconception("the kernel is flipped, as 001's last display prints it: dY is read at "
                  "(h-p, w-q) already, so it flips twice (the forward pass is a cross-correlation)",
                  (DX,), bent(reversed_axes("weight", 2, 3))),
    Misconception("the kernel is flipped: a convolution in the mathematical sense, where the "
                  "protocol's is a cross-correlation", (FORWARD,),
                  bent(reversed_axes("weight", 2, 3))),
    Misconception("the kernel is flipped in its height only", ALL[:2],
                  bent(reversed_axes("weight", 2))),
    Misconception("the kernel is flipped in its width only", ALL[:2],
                  bent(reversed_axes("weight", 3))),
    Misconception("the kernel's height and width are exchanged", ALL[:2],
                  bent(lambda c: {**c, "weight": c["weight"].swapaxes(2, 3)})),
    Misconception("dY is read flipped in both axes", (DX, DW),
                  bent(reversed_axes("grad_output", 2, 3))),
    Misconception("x is read flipped in both axes", (FORWARD, DW), bent(reversed_axes("x", 2, 3))),
    Misconception("the result is flipped in both kernel axes", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1, ::-1]),
    Misconception("the result is flipped in its kernel height only", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1]),
    Misconception("the result is flipped in its kernel width only", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, :, ::-1]),
    *(
        misread(sentence.format(name), ALL, option(name, change))
        for name in ("stride", "padding", "dilation")
        for sentence, change in SIDES
    ),
    misread("the stride is ignored", ALL, option("stride", ones)),
    misread("the dilation is ignored", ALL, option("dilation", ones)),
    misread("the padding is ignored", (FORWARD, DW), option("padding", nothing)),
    misread("stride and dilation are exchanged", ALL,
            lambda c: {**c, "stride": c["dilation"], "dilation": c["stride"]}),
    misread("the padding is ignored: the padding is not removed from the gradient, whose first H "
            "rows and W columns are returned", (DX,), option("padding", nothing)),
    Misconception("the padding is not removed from the gradient", (DX,), _keeps_padding),
    Misconception("the last rows and columns that no window reaches are missing: 002's backward "
                  "size holds for stride 1 only", (DX,), _drops_remainder),
    Misconception("the rows and columns that no window reaches are put in front instead of at "
                  "the end", (DX,), _shifts_by_remainder),
    Misconception("the groups are ignored: every group uses the filters of the first",
                  (FORWARD, DX), bent(first_group)),
    Misconception("the groups are ignored: every group reads the input channels of the first",
                  (FORWARD, DW), bent(first_channels)),
    Misconception("the groups take the filters in turn, m % groups, instead of one block each",
                  (FORWARD, DX), bent(_interleaved)),
    Misconception("the weight's axes of filters and channels are exchanged", (FORWARD, DX),
                  exchanged_channels),
    Misconception("overlapping windows overwrite each other instead of adding up", (DX,),
                  _overwrites),
    Misconception("windows that reach into the padding are skipped", (FORWARD,), _skips_edge),
    Misconception("the bias is left out", (FORWARD,), bent(without("bias"))),
    Misconception("the bias is left out where there are groups", (FORWARD,),
                  bent(lambda c: c if c["groups"] == 1 else {**c, "bias": None})),
    Misconception("every group adds the bias of the first", (FORWARD,), bent(_first_bias)),
    Misconception("the bias is added twice", (FORWARD,), bent(bias_twice)),
    Misconception("the bias is subtracted", (FORWARD,), bent(minus_bias)),
    Misconception("the sum over output pixels stops at the filter's size, as 002 prints it", (DW,),
                  _over_filter_size),
    Misconception("the gradient is averaged over the batch instead of summed (003 divides by the "
                  "batch size; that belongs to the loss)", (DW, DB),
                  divided(lambda c: len(c["grad_output"]))),
    Misconception("the gradient is averaged over the output pixels", (DW, DB),
                  divided(lambda c: float(np.prod(c["grad_output"].shape[2:])))),
    Misconception("the gradient is averaged over batch and output pixels", (DW, DB),
                  divided(lambda c: c["grad_output"].size / c["grad_output"].shape[1])),
    Misconception(SIGN, (*ALL, DB), negated),
    Misconception(ZEROS, (*ALL, DB), zeros),
)  # fmt: skip
