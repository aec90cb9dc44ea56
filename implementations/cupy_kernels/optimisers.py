"""Steps of optimisers."""

from math import sqrt
from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array

SOURCE = Source("optimisers.cu", ("sgd_momentum_step", "adam_step"))
ADAM = np.dtype([
    (name, np.float64) for name in ("rate", "beta1", "left1", "beta2", "left2", "eps", "root")
])  # fmt: skip


def _placed(**arrays: Any) -> tuple[Machine, list[Any]]:
    """Return the machine and the arrays there.

    Raises:
        ValueError: their shapes differ.
    """
    machine, placed = place(optional=("momentum_buffer",), **arrays)
    shapes = [one.shape for one in placed if one is not None]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"the shapes must be equal, got {shapes}")
    return machine, placed


def _not_negative(**options: float) -> None:
    """Raise ValueError where an option is negative."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def sgd_momentum_step(
    parameter: Array, gradient: Array, momentum_buffer: Array | None = None, *,
    learning_rate: float, momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the parameter and its buffer after a step of gradient descent with momentum.

    Raises:
        ValueError: the shapes differ, momentum is not positive, or Nesterov's is dampened.
    """
    machine, (parameter, gradient, buffer) = _placed(
        parameter=parameter, gradient=gradient, momentum_buffer=momentum_buffer
    )
    _not_negative(learning_rate=learning_rate, weight_decay=weight_decay)
    if not momentum > 0 or (nesterov and dampening):
        raise ValueError(
            f"momentum must be positive, got {momentum}, and dampening 0 with nesterov, got "
            f"{dampening}"
        )
    stepped, after = (machine.empty(parameter.shape, parameter.dtype) for _ in range(2))
    options = tuple(map(float, (learning_rate, momentum, dampening, weight_decay)))
    machine.each(
        SOURCE, "sgd_momentum_step",
        (parameter, gradient, buffer, stepped, after, *options, np.int32(bool(nesterov)),
         stepped.size),
        count=stepped.size, dtype=stepped.dtype,
    )  # fmt: skip
    return stepped, after


def adam_step(
    parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the parameter and both moving averages after a step of Adam.

    Raises:
        ValueError: the shapes differ, a beta or eps is none, or step is below 1.
    """
    _not_negative(learning_rate=learning_rate, weight_decay=weight_decay)
    factors = _factors(learning_rate, beta1, beta2, eps, step)
    of = (parameter, gradient, exp_avg, exp_avg_sq)
    return _adam(*of, factors=factors, decay=float(weight_decay), kept=1.0)


def adamw_step(
    parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the parameter and both moving averages after a step of AdamW.

    Raises:
        ValueError: as `adam_step`.
    """
    _not_negative(learning_rate=learning_rate, weight_decay=weight_decay)
    factors = _factors(learning_rate, beta1, beta2, eps, step)
    of = (parameter, gradient, exp_avg, exp_avg_sq)
    return _adam(*of, factors=factors, decay=0.0, kept=float(1 - learning_rate * weight_decay))


def _factors(learning_rate: float, beta1: float, beta2: float, eps: float, step: int) -> Any:
    """Return the kernel's `Adam`.

    Raises:
        ValueError: a beta or eps is none, or step is below 1.
    """
    if not (0 <= beta1 < 1 and 0 <= beta2 < 1 and eps >= 0):
        raise ValueError(f"betas {beta1}, {beta2} must be 0 to below 1, and eps {eps} at least 0")
    if step < 1:
        raise ValueError(f"the first step is 1, got {step}")
    rate, root = learning_rate / (1 - beta1**step), sqrt(1 - beta2**step)
    return np.array((rate, beta1, 1 - beta1, beta2, 1 - beta2, eps, root), ADAM)


def _adam(
    parameter: Array, gradient: Array, exp_avg: Array, exp_avg_sq: Array, *, factors: Any,
    decay: float, kept: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return what a step makes of the parameter, `kept` times it, and the moving averages."""
    machine, placed = _placed(
        parameter=parameter, gradient=gradient, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq
    )
    shape, dtype = placed[0].shape, placed[0].dtype
    stepped, avg, avg_sq = (machine.empty(shape, dtype) for _ in range(3))
    machine.each(
        SOURCE, "adam_step", (*placed, stepped, avg, avg_sq, factors, decay, kept, stepped.size),
        count=stepped.size, dtype=dtype,
    )  # fmt: skip
    return stepped, avg, avg_sq
