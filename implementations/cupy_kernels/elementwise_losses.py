"""Binary cross-entropy and divergence of every element [N, C], and what all such losses share."""

from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.cupy_kernels.reductions import (
    check_reduction,
    quotient,
    results,
    spread,
)
from gradoracle.implementations.shapes import Array, check_letters

SOURCE = Source(
    "elementwise_losses.cu",
    (
        "mse_loss", "mse_loss_grad", "l1_loss", "l1_loss_grad", "huber_loss", "huber_loss_grad",
        "bce_with_logits", "bce_with_logits_grad", "kl_div", "kl_div_grad",
    ),
)  # fmt: skip
OPTIONAL = ("pos_weight",)


def losses(
    kernel: str, reduction: str, options: tuple[Any, ...], input: Any, target: Any,
    *weight: Array | None,
) -> Array:  # fmt: skip
    """Return the losses that a kernel computes, their mean or their sum.

    Raises:
        ValueError: the shapes do not fit, `reduction` is unknown, or the mean is over nothing.
    """
    machine, (input, target, *weights) = place(  # noqa: A001 - the protocol's name
        input=input, target=target, optional=OPTIONAL, integers={},
        **_named(weight),
    )  # fmt: skip
    _check(input, target, *weights)
    classes = input.shape[1:] if weight else ()
    check_reduction(reduction, input.size)
    y, terms = results(machine, input.shape, input.dtype, reduction)
    machine.each(
        SOURCE, kernel, (input, target, *weights, y, terms, *options, *classes, input.size),
        count=input.size, dtype=input.dtype,
    )  # fmt: skip
    if y is not None:
        return y
    divisor = input.size if reduction == "mean" else 1
    return quotient(machine, terms, input.dtype, divisor=divisor)


def gradient(
    kernel: str, reduction: str, options: tuple[Any, ...], grad_output: Any, input: Any,
    target: Any, *weight: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient that a kernel computes.

    Raises:
        ValueError: as `losses`, or dy does not have the shape of the loss.
    """
    machine, (input, target, dy, *weights) = place(  # noqa: A001
        input=input, target=target, grad_output=grad_output, optional=OPTIONAL,
        integers={},
        **_named(weight),
    )  # fmt: skip
    _check(input, target, *weights)
    classes = input.shape[1:] if weight else ()
    check_reduction(reduction, input.size)
    each = spread(dy, reduction, input.shape)
    divisor = float(input.size if reduction == "mean" else 1)
    dx = machine.empty(input.shape, input.dtype)
    machine.each(
        SOURCE, kernel,
        (dy, input, target, *weights, dx, *options, divisor, each, *classes, dx.size),
        count=dx.size, dtype=dx.dtype,
    )  # fmt: skip
    return dx


def _named(weight: tuple[Any, ...]) -> dict[str, Any]:
    """Return the weights of a loss that has them, by name."""
    return dict(zip(OPTIONAL, weight, strict=False))


def _check(input: Array, target: Array, weight: Array | None = None) -> None:
    check_letters({"input": (input, "nc"), "target": (target, "nc"), "pos_weight": (weight, "c")})


def binary_cross_entropy_with_logits(
    input: Array, target: Array, pos_weight: Array | None = None, *, reduction: str
) -> Array:
    """Return the binary cross-entropy of logits [N, C], target [N, C] and pos_weight [C].

    Raises:
        ValueError: as `mse_loss`.
    """
    return losses("bce_with_logits", reduction, (), input, target, pos_weight)


def binary_cross_entropy_with_logits_grad(
    grad_output: Array, input: Array, target: Array, pos_weight: Array | None = None, *,
    reduction: str,
) -> Array:  # fmt: skip
    """Return dy (s (1 - t) - p t (1 - s)), s the logistic function of the logits.

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    of = (grad_output, input, target, pos_weight)
    return gradient("bce_with_logits_grad", reduction, (), *of)


def kl_div(input: Array, target: Array, *, reduction: str, log_target: bool) -> Array:
    """Return t (log t - input) [N, C], 0 where t = 0, their mean or their sum.

    Raises:
        ValueError: as `mse_loss`.
    """
    return losses("kl_div", reduction, (np.int32(bool(log_target)),), input, target)


def kl_div_grad(
    grad_output: Array, input: Array, target: Array, *, reduction: str, log_target: bool
) -> Array:
    """Return -dy t.

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    options = (np.int32(bool(log_target)),)
    return gradient("kl_div_grad", reduction, options, grad_output, input, target)
