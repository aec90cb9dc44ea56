"""Losses of input - target [N, C], and their gradients by either."""

from gradoracle.implementations.cupy_kernels.elementwise_losses import gradient, losses
from gradoracle.implementations.shapes import Array

BY_INPUT, BY_TARGET = 1.0, -1.0


def mse_loss(input: Array, target: Array, *, reduction: str) -> Array:
    """Return (input - target)^2 [N, C], their mean or their sum.

    Raises:
        ValueError: the shapes differ, `reduction` is unknown, or the mean is over nothing.
    """
    return losses("mse_loss", reduction, (), input, target)


def mse_loss_grad_input(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> Array:
    """Return 2 dy (input - target).

    Raises:
        ValueError: as `mse_loss`, or dy does not have the shape of the loss.
    """
    return gradient("mse_loss_grad", reduction, (BY_INPUT,), grad_output, input, target)


def mse_loss_grad_target(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> Array:
    """Return 2 dy (target - input).

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    return gradient("mse_loss_grad", reduction, (BY_TARGET,), grad_output, input, target)


def l1_loss(input: Array, target: Array, *, reduction: str) -> Array:
    """Return |input - target| [N, C], their mean or their sum.

    Raises:
        ValueError: as `mse_loss`.
    """
    return losses("l1_loss", reduction, (), input, target)


def l1_loss_grad_input(grad_output: Array, input: Array, target: Array, *, reduction: str) -> Array:
    """Return dy sign(input - target).

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    return gradient("l1_loss_grad", reduction, (BY_INPUT,), grad_output, input, target)


def l1_loss_grad_target(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> Array:
    """Return dy sign(target - input).

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    return gradient("l1_loss_grad", reduction, (BY_TARGET,), grad_output, input, target)


def _delta(delta: float) -> float:
    if not delta > 0:
        raise ValueError(f"delta must be positive, got {delta}")
    return float(delta)


def huber_loss(input: Array, target: Array, *, reduction: str, delta: float) -> Array:
    """Return d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = input - target.

    Raises:
        ValueError: as `mse_loss`, or delta is not positive.
    """
    return losses("huber_loss", reduction, (_delta(delta),), input, target)


def huber_loss_grad_input(
    grad_output: Array, input: Array, target: Array, *, reduction: str, delta: float
) -> Array:
    """Return dy d, d = input - target cut off at delta on either side.

    Raises:
        ValueError: as `huber_loss`, or dy does not have the shape of the loss.
    """
    options = (_delta(delta), BY_INPUT)
    return gradient("huber_loss_grad", reduction, options, grad_output, input, target)


def huber_loss_grad_target(
    grad_output: Array, input: Array, target: Array, *, reduction: str, delta: float
) -> Array:
    """Return minus the gradient by the input.

    Raises:
        ValueError: as `huber_loss_grad_input`.
    """
    options = (_delta(delta), BY_TARGET)
    return gradient("huber_loss_grad", reduction, options, grad_output, input, target)


def mse_loss_vjp(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> tuple[Array, Array]:
    """Return the gradients by the input and by the target.

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    of = (grad_output, input, target)
    by_input = mse_loss_grad_input(*of, reduction=reduction)
    return by_input, mse_loss_grad_target(*of, reduction=reduction)


def l1_loss_vjp(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> tuple[Array, Array]:
    """Return the gradients by the input and by the target.

    Raises:
        ValueError: as `l1_loss_grad_input`.
    """
    of = (grad_output, input, target)
    by_input = l1_loss_grad_input(*of, reduction=reduction)
    return by_input, l1_loss_grad_target(*of, reduction=reduction)


def huber_loss_vjp(
    grad_output: Array, input: Array, target: Array, *, reduction: str, delta: float
) -> tuple[Array, Array]:
    """Return the gradients by the input and by the target.

    Raises:
        ValueError: as `huber_loss_grad_input`.
    """
    of = (grad_output, input, target)
    by_input = huber_loss_grad_input(*of, reduction=reduction, delta=delta)
    return by_input, huber_loss_grad_target(*of, reduction=reduction, delta=delta)
