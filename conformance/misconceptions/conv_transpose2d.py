"""What somebody may misunderstand about a transposed convolution."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from conformance.misconceptions.misconception import (
    SIGN,
    ZEROS,
    Misconception,
    bent,
    divided,
    loops_of,
    negated,
    option,
    reversed_axes,
    swapped,
    unchecked,
    without,
    zeros,
)
from oracle.formula import Formula, evaluate
from oracle.geometry import Array

FORWARD, DX, DW, DB = (
    "conv_transpose2d",
    "conv_transpose2d_grad_input",
    "conv_transpose2d_grad_weight",
    "conv_transpose2d_grad_bias",
)
ALL = (FORWARD, DX, DW)
grads = sys.modules[f"oracle.{FORWARD}"]  # a function of the oracle hides its module
WALKED = ("stride", "padding", "dilation", "groups")
loops_of(
    grads.conv_transpose2d_grad_input,
    grads._conv_transpose2d_grad_input,  # noqa: SLF001
    "grad_output",
    "weight",
    *WALKED,
)
loops_of(
    grads.conv_transpose2d_grad_weight,
    grads._conv_transpose2d_grad_weight,  # noqa: SLF001
    "grad_output",
    "x",
    *WALKED,
)


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


def _first_group(call: dict[str, Any]) -> dict[str, Any]:
    weight = call["weight"]
    members = len(weight) // call["groups"]
    return {**call, "weight": np.concatenate([weight[:members]] * call["groups"])}


MISCONCEPTIONS = (
    Misconception(
        "the kernel is flipped, as 003 prints it: the transposed convolution lays down the kernel "
        "itself", (FORWARD, DX), bent(reversed_axes("weight", 2, 3)),
    ),
    Misconception("the kernel's height and width are exchanged", (FORWARD, DX),
                  bent(lambda c: {**c, "weight": c["weight"].swapaxes(2, 3)})),
    *(
        Misconception(f"the height's {name} is used for the width and the width's for the height",
                      (FORWARD,), bent(option(name, swapped)))
        for name in ("stride", "padding", "dilation", "output_padding")
    ),
    *(
        Misconception(f"the height's {name} is used for the width and the width's for the height",
                      (DX, DW), unchecked(option(name, swapped)))
        for name in ("stride", "padding", "dilation")
    ),
    Misconception("the dilation is ignored", (DX, DW),
                  unchecked(option("dilation", lambda _: (1, 1)))),
    Misconception("the padding is ignored", (DX, DW),
                  unchecked(option("padding", lambda _: (0, 0)))),
    Misconception("stride and dilation are exchanged", ALL,
                  bent(lambda c: {**c, "stride": c["dilation"], "dilation": c["stride"]})),
    Misconception("the dilation is ignored", (FORWARD,),
                  bent(option("dilation", lambda _: (1, 1)))),
    Misconception("the padding is ignored", (FORWARD,), bent(option("padding", lambda _: (0, 0)))),
    Misconception("output_padding is ignored: its rows and columns are missing", (FORWARD,),
                  _without_extra),
    Misconception("output_padding's rows and columns are put in front instead of at the end",
                  (FORWARD,), _extra_in_front),
    Misconception("output_padding's rows and columns are zeros: they get what the kernel lays "
                  "there, and the bias", (FORWARD,), _extra_without_bias),
    Misconception("the groups are ignored: every group uses the kernels of the first",
                  (FORWARD, DX), bent(_first_group)),
    Misconception("the bias is left out", (FORWARD,), bent(without("bias"))),
    Misconception("the result is flipped in both kernel axes", (DW,),
                  lambda f, c: evaluate(f, c)[:, :, ::-1, ::-1]),
    Misconception("the gradient is averaged over the batch instead of summed", (DW, DB),
                  divided(lambda c: len(c["grad_output"]))),
    Misconception(SIGN, (*ALL, DB), negated),
    Misconception(ZEROS, (*ALL, DB), zeros),
)  # fmt: skip
