"""Batch normalisation, its gradients, and its running moments."""

from gradoracle.implementations.cupy_kernels import normalised_sets
from gradoracle.implementations.cupy_kernels.machine import Machine, accumulator
from gradoracle.implementations.cupy_kernels.normalisation import (
    PLANES,
    arrays_of,
    check_eps,
    instance_norm_grad_bias,
)
from gradoracle.implementations.cupy_kernels.normalised_sets import SOURCE, Sets, of_channels
from gradoracle.implementations.shapes import Array


def _sets(x: Array, eps: float, *, training: bool) -> Sets:
    """Return the channels of x.

    Raises:
        ValueError: eps is negative, or there is nothing to take the mean of.
    """
    check_eps(eps)
    if training and not x.size:
        raise ValueError(f"there is no mean of an empty batch: x has shape {x.shape}")
    return of_channels(x.shape)


def batch_norm(
    x: Array, running_mean: Array, running_var: Array, weight: Array | None = None,
    bias: Array | None = None, *, training: bool, eps: float,
) -> Array:  # fmt: skip
    """Return every channel of x [N, C, H, W] less its mean, over its deviation, scaled.

    Raises:
        ValueError: the shapes do not fit, the batch is empty, or eps is negative.
    """
    machine, (x, mean, var, weight, bias) = arrays_of(
        PLANES, x=x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    sets = _sets(x, eps, training=training)
    if training:
        return normalised_sets.forward(machine, x, weight, bias, sets, eps)
    y = machine.empty(x.shape, x.dtype)
    sides = (x.size, sets.channels, sets.pixels)
    machine.each(
        SOURCE, "normalise_given", (x, mean, var, weight, bias, y, *sides, float(eps)),
        count=x.size, dtype=x.dtype,
    )  # fmt: skip
    return y


def batch_norm_grad_x(
    grad_output: Array, x: Array, running_mean: Array, running_var: Array,
    weight: Array | None = None, *, training: bool, eps: float,
) -> Array:  # fmt: skip
    """Return dx [N, C, H, W].

    Raises:
        ValueError: as `batch_norm`.
    """
    machine, (dy, x, _, var, weight) = arrays_of(
        PLANES, grad_output=grad_output, x=x, running_mean=running_mean, running_var=running_var,
        weight=weight,
    )  # fmt: skip
    sets = _sets(x, eps, training=training)
    if training:
        return normalised_sets.grad_x(machine, dy, x, weight, sets, eps)
    dx = machine.empty(x.shape, x.dtype)
    sides = (x.size, sets.channels, sets.pixels)
    machine.each(
        SOURCE, "normalise_given_grad_x", (dy, var, weight, dx, *sides, float(eps)),
        count=x.size, dtype=x.dtype,
    )  # fmt: skip
    return dx


def batch_norm_grad_weight(
    grad_output: Array, x: Array, running_mean: Array, running_var: Array, *, training: bool,
    eps: float,
) -> Array:  # fmt: skip
    """Return dw [C], summed over all images and pixels.

    Raises:
        ValueError: as `batch_norm`.
    """
    machine, (dy, x, mean, var) = arrays_of(
        PLANES, grad_output=grad_output, x=x, running_mean=running_mean, running_var=running_var
    )
    sets = _sets(x, eps, training=training)
    if training:
        found = normalised_sets.moments(machine, x, sets, eps)
    else:
        found = _given(machine, mean, var, eps)
    return normalised_sets.grad_weight(machine, dy, x, found, sets)


def batch_norm_grad_bias(grad_output: Array) -> Array:
    """Return db [C], summed over all images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    db: Array = instance_norm_grad_bias(grad_output)
    return db


def batch_norm_vjp(
    grad_output: Array, x: Array, running_mean: Array, running_var: Array,
    weight: Array | None = None, bias: Array | None = None, *, training: bool, eps: float,
) -> tuple[Array | None, ...]:  # fmt: skip
    """Return (dx, dw, db); None by what is None.

    Raises:
        ValueError: as `batch_norm`.
    """
    of = (grad_output, x, running_mean, running_var)
    arrays_of(PLANES, grad_output=grad_output, x=x, weight=weight, bias=bias)
    dx = batch_norm_grad_x(*of, weight, training=training, eps=eps)
    dw = None if weight is None else batch_norm_grad_weight(*of, training=training, eps=eps)
    return dx, dw, None if bias is None else batch_norm_grad_bias(grad_output)


def batch_norm_update(
    x: Array, running_mean: Array, running_var: Array, *, momentum: float
) -> tuple[Array, Array]:
    """Return the running mean and variance [C] after a batch x [N, C, H, W].

    Raises:
        ValueError: the shapes do not fit, or a channel has fewer than two numbers.
    """
    machine, (x, mean, var) = arrays_of(
        PLANES, x=x, running_mean=running_mean, running_var=running_var
    )
    sets = of_channels(x.shape)
    if sets.length < 2:
        raise ValueError(f"there is no unbiased variance of {sets.length} numbers of a channel")
    new_mean, new_var = (machine.empty(mean.shape, x.dtype) for _ in range(2))
    machine.rows(
        SOURCE, "running_moments", (x, mean, var, new_mean, new_var, sets.struct, float(momentum)),
        count=sets.count, terms=sets.length, dtype=x.dtype,
    )  # fmt: skip
    return new_mean, new_var


def _given(machine: Machine, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """Return running means, and sqrt(variance + eps), as sums are held."""
    means, roots = (machine.empty(mean.shape, accumulator(mean.dtype)) for _ in range(2))
    machine.each(
        SOURCE, "given_moments", (mean, var, means, roots, mean.size, float(eps)),
        count=mean.size, dtype=mean.dtype,
    )  # fmt: skip
    return means, roots
