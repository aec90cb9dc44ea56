"""What somebody may misunderstand about a transposed convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.conv2d import (
    exchanged_channels,
    first_channels,
    first_group,
)
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
    without,
    zeros,
)
from gradoracle.conformance.misconceptions.walks import misread
from gradoracle.oracle.declaration import Formula, evaluate
from gradoracle.oracle.shapes import Array

FORWARD, DX, DW, DB = (
    "conv_transpose2d",
    "conv_transpose2d_grad_input",
    "conv_transpose2d_grad_weight",
    "conv_transpose2d_grad_bias",
)
ALL = (FORWARD, DX, DW)


def _extra_in_front(formula: Formula, call: dict[str, Any]) -> Array:
    """The rows and columns of output_padding come first."""
    y = evaluate(formula, {**call, "bias": None})
    down, across = call["output_padding"]
    rolled = np.roll(y, (down, across), (2, 3))
    return rolled if call["bias"] is None else rolled + call["bias"][:, None, None]


def _extra_without_bias(formula: Formula, call: dict[str, Any]) -> Array:
    """The rows and columns of output_padding are zeros, bias and kernel forgotten."""
    y = evaluate(formula, call)
    down, across = call["output_padding"]
    y[:, :, y.shape[2] - down :] = 0
    y[:, :, :, y.shape[3] - across :] = 0
    return y


def _without_extra(formula: Formula, call: dict[str, Any]) -> Array:
    """output_padding is ignored: the output is that much smaller."""
    y = evaluate(formula, call)
    down, across = call["output_padding"]
    return y[:, :, : y.shape[2] - down, : y.shape[3] - across]


MISCONCEPTIONS = (
    Misconception(
        "the kernel is flipped, as 003 prints it: the transposed convolution lays down the kernel "
        "itself", (FORWARD, DX), bent(reversed_axes("weight", 2, 3)),
    ),
    Misconception("the kernel's height and width are exchanged", (FORWARD, DX),
                  bent(lambda c: {**c, "weight": c["weight"].swapaxes(2, 3)})),
    *(
        misread(sentence.format(name), ALL, option(name, change))
        for name in ("stride", "padding", "dilation")
        for sentence, change in SIDES
    ),
    *(
        Misconception(sentence.format("output_padding"), (FORWARD,),
                      bent(option("output_padding", change)))
        for sentence, change in SIDES
    ),
    misread("the stride is ignored", ALL, option("stride", ones)),
    misread("the dilation is ignored", ALL, option("dilation", ones)),
    misread("the padding is ignored", ALL, option("padding", nothing)),
    misread("stride and dilation are exchanged", ALL,
            lambda c: {**c, "stride": c["dilation"], "dilation": c["stride"]}),
    Misconception("output_padding is ignored: its rows and columns are missing", (FORWARD,),
                  _without_extra),
    Misconception("output_padding's rows and columns are put in front instead of at the end",
                  (FORWARD,), _extra_in_front),
    Misconception("output_padding's rows and columns are zeros: they get what the kernel lays "
                  "there, and the bias", (FORWARD,), _extra_without_bias),
    Misconception("the groups are ignored: every group uses the kernels of the first",
                  (FORWARD, DX), bent(first_group)),
    Misconception("the groups are ignored: every group reads the input channels of the first",
                  (FORWARD, DW), bent(first_channels)),
    Misconception("the weight's axes of input channels and filters are exchanged", (FORWARD, DX),
                  exchanged_channels),
    Misconception("the bias is left out", (FORWARD,), bent(without("bias"))),
    Misconception("the bias is added twice", (FORWARD,), bent(bias_twice)),
    Misconception("the bias is subtracted", (FORWARD,), bent(minus_bias)),
    Misconception("the result is flipped in both kernel axes", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1, ::-1]),
    Misconception("the result is flipped in its kernel height only", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1]),
    Misconception("the result is flipped in its kernel width only", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, :, ::-1]),
    Misconception("the gradient is averaged over the batch instead of summed", (DW, DB),
                  divided(lambda c: len(c["grad_output"]))),
    Misconception("the gradient is averaged over the output pixels", (DW, DB),
                  divided(lambda c: float(np.prod(c["grad_output"].shape[2:])))),
    Misconception(SIGN, (*ALL, DB), negated),
    Misconception(ZEROS, (*ALL, DB), zeros),
)  # fmt: skip
