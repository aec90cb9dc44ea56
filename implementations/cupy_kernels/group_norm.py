"""Group normalisation and its gradients."""

from gradoracle.implementations.cupy_kernels import normalised_sets
from gradoracle.implementations.cupy_kernels.normalisation import (
    PLANES,
    arrays_of,
    check_eps,
    instance_norm_grad_bias,
)
from gradoracle.implementations.cupy_kernels.normalised_sets import Sets, of_groups
from gradoracle.implementations.shapes import Array


def _sets(x: Array, num_groups: int, eps: float) -> Sets:
    """Return the groups of x.

    Raises:
        ValueError: they do not divide the channels, or eps is negative.
    """
    check_eps(eps)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"{num_groups} groups do not divide {x.shape[1]} channels")
    return of_groups(x.shape, num_groups)


def group_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, num_groups: int,
    eps: float,
) -> Array:  # fmt: skip
    """Return every group of channels of x [N, C, H, W] less its mean, over its deviation, scaled.

    Raises:
        ValueError: the shapes do not fit, the groups do not divide, or eps is negative.
    """
    machine, (x, weight, bias) = arrays_of(PLANES, x=x, weight=weight, bias=bias)
    return normalised_sets.forward(machine, x, weight, bias, _sets(x, num_groups, eps), eps)


def group_norm_grad_x(
    grad_output: Array, x: Array, weight: Array | None = None, *, num_groups: int, eps: float
) -> Array:
    """Return dx [N, C, H, W].

    Raises:
        ValueError: as `group_norm`.
    """
    machine, (dy, x, weight) = arrays_of(PLANES, grad_output=grad_output, x=x, weight=weight)
    return normalised_sets.grad_x(machine, dy, x, weight, _sets(x, num_groups, eps), eps)


def group_norm_grad_weight(grad_output: Array, x: Array, *, num_groups: int, eps: float) -> Array:
    """Return dw [C], summed over all images and pixels.

    Raises:
        ValueError: as `group_norm`.
    """
    machine, (dy, x) = arrays_of(PLANES, grad_output=grad_output, x=x)
    sets = _sets(x, num_groups, eps)
    found = normalised_sets.moments(machine, x, sets, eps)
    return normalised_sets.grad_weight(machine, dy, x, found, sets)


def group_norm_grad_bias(grad_output: Array) -> Array:
    """Return db [C], summed over all images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    db: Array = instance_norm_grad_bias(grad_output)
    return db


def group_norm_vjp(
    grad_output: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *,
    num_groups: int, eps: float,
) -> tuple[Array | None, ...]:  # fmt: skip
    """Return (dx, dw, db); None by what is None.

    Raises:
        ValueError: as `group_norm`.
    """
    arrays_of(PLANES, grad_output=grad_output, x=x, weight=weight, bias=bias)
    dx = group_norm_grad_x(grad_output, x, weight, num_groups=num_groups, eps=eps)
    dw = None
    if weight is not None:
        dw = group_norm_grad_weight(grad_output, x, num_groups=num_groups, eps=eps)
    return dx, dw, None if bias is None else group_norm_grad_bias(grad_output)
