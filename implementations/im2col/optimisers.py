"""Steps of optimisers, gradients clipped by their norm, and moving averages, vectorised."""

from math import sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32

Array: TypeAlias = npt.NDArray[Any]

TINY = 1e-6  # what is added to a norm before it divides


def _alike(first: Array, *others: Array | None) -> None:
    """Raise ValueError unless all arrays have one shape."""
    shapes = [one.shape for one in (first, *others) if one is not None]
    if any(shape != first.shape for shape in shapes):
        raise ValueError(f"the shapes must be equal, got {shapes}")


def _not_negative(*options: float) -> None:
    if not min(options) >= 0:
        raise ValueError(f"rates must not be negative, got {options}")


@in_float32
def ema(average: Array, value: Array, *, decay: float) -> Array:
    """Return decay average + (1 - decay) value.

    Raises:
        ValueError: the shapes differ, or decay is not between 0 and 1.
    """
    _alike(average, value)
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be between 0 and 1, got {decay}")
    kind = average.dtype.type
    after: Array = kind(decay) * average + kind(1 - decay) * value
    return after


@in_float32
def sgd_momentum_step(
    parameter: Array, gradient: Array, momentum_buffer: Array | None = None, *,
    learning_rate: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the parameter and its buffer after a step of gradient descent with momentum.

    Raises:
        ValueError: the shapes differ, momentum is not positive, or Nesterov's is dampened.
    """
    _alike(parameter, gradient, momentum_buffer)
    _not_negative(learning_rate, weight_decay)
    if not momentum > 0 or (nesterov and dampening):
        raise ValueError("momentum must be positive, and dampening 0 with nesterov")
    kind = parameter.dtype.type
    g = gradient + kind(weight_decay) * parameter if weight_decay else gradient.copy()
    b = g if momentum_buffer is None else kind(momentum) * momentum_buffer + kind(1 - dampening) * g
    update = g + kind(momentum) * b if nesterov else b
    return parameter - kind(learning_rate) * update, b


def _check_adam(beta1: float, beta2: float, eps: float, step: int) -> None:
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1 and eps >= 0):
        raise ValueError(f"betas {beta1}, {beta2} must be 0 to below 1, and eps {eps} at least 0")
    if step < 1:
        raise ValueError(f"the first step is 1, got {step}")


def _moved(
    parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, learning_rate: float,
    beta1: float, beta2: float, eps: float, step: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return by how much the parameter moves, and both moving averages."""
    kind = parameter.dtype.type
    m = kind(beta1) * exp_avg + kind(1 - beta1) * gradient
    v = kind(beta2) * exp_avg_sq + kind(1 - beta2) * np.square(gradient)
    rate = learning_rate / (1 - beta1**step)
    update = kind(rate) * (m / (np.sqrt(v) / kind(sqrt(1 - beta2**step)) + kind(eps)))
    return update, m, v


@in_float32
def adam_step(
    parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the parameter and both moving averages after a step of Adam.

    Raises:
        ValueError: the shapes differ, a beta or eps is none, or step is below 1.
    """
    _alike(parameter, gradient, exp_avg, exp_avg_sq)
    _not_negative(learning_rate, weight_decay)
    _check_adam(beta1, beta2, eps, step)
    g = gradient + parameter.dtype.type(weight_decay) * parameter if weight_decay else gradient
    update, m, v = _moved(parameter, g, exp_avg, exp_avg_sq, learning_rate, beta1, beta2, eps, step)
    return parameter - update, m, v


@in_float32
def adamw_step(
    parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the parameter and both moving averages after a step of AdamW.

    Raises:
        ValueError: as `adam_step`.
    """
    _alike(parameter, gradient, exp_avg, exp_avg_sq)
    _not_negative(learning_rate, weight_decay)
    _check_adam(beta1, beta2, eps, step)
    update, m, v = _moved(
        parameter, gradient, exp_avg, exp_avg_sq, learning_rate, beta1, beta2, eps, step
    )
    decayed = parameter.dtype.type(1 - learning_rate * weight_decay) * parameter
    return decayed - update, m, v


@in_float32
def clip_grad_norm(first: Array, second: Array, *, max_norm: float) -> tuple[Array, Array, Array]:
    """Return both gradients times min(1, max_norm / (norm + 10^-6)), and the norm of both.

    Raises:
        ValueError: max_norm is not positive.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, got {max_norm}")
    kind = first.dtype.type
    norm = np.sqrt(np.square(first).sum() + np.square(second).sum())
    share = np.minimum(kind(max_norm) / (norm + kind(TINY)), kind(1))
    return first * share, second * share, np.asarray(norm)
