"""PyTorch's fully connected layer, softmax, cross-entropy, batch mean and step of SGD."""

import torch


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Return `torch.nn.functional.linear` [N, M].

    Raises:
        ValueError, RuntimeError: the shapes do not fit each other.
    """
    _check_matrices(x, weight)
    if x.shape[1] < 1 or (bias is not None and bias.shape != weight.shape[:1]):
        raise ValueError(f"x {[*x.shape]}, weight {[*weight.shape]} and the bias do not fit")
    return torch.nn.functional.linear(x, weight, bias)


def linear_grad_input(grad_output: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return dx [N, C] = dy weight.

    Raises:
        ValueError, RuntimeError: the shapes do not fit each other.
    """
    _check_matrices(grad_output, weight)
    return grad_output.mm(weight)


def linear_grad_weight(grad_output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return dw [M, C] = dy^T x, summed over the batch.

    Raises:
        ValueError, RuntimeError: the shapes do not fit each other.
    """
    _check_matrices(grad_output, x)
    return grad_output.t().mm(x)


def linear_grad_bias(grad_output: torch.Tensor) -> torch.Tensor:
    """Return db [M], summed over the batch.

    Raises:
        ValueError: grad_output does not have two axes.
    """
    _check_matrices(grad_output)
    return grad_output.sum(dim=0)


def softmax(z: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Return `torch.softmax` along `axis`.

    Raises:
        ValueError, IndexError: there is no such axis, or nothing on it.
    """
    _check_axis(z, axis)
    return torch.softmax(z, dim=axis)


def softmax_grad(grad_output: torch.Tensor, z: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Return PyTorch's gradient of `torch.softmax`.

    Raises:
        ValueError, IndexError: the shapes differ, there is no such axis, or nothing on it.
    """
    _check_axis(z, axis)
    if grad_output.shape != z.shape:
        raise ValueError(f"grad_output has shape {[*grad_output.shape]}, but z has {[*z.shape]}")
    p = torch.softmax(z, dim=axis)
    gradient: torch.Tensor = torch.ops.aten._softmax_backward_data(grad_output, p, axis, z.dtype)  # noqa: SLF001
    return gradient


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, *, reduction: str) -> torch.Tensor:
    """Return `torch.nn.functional.cross_entropy`, a number.

    Raises:
        ValueError, RuntimeError: the shapes do not fit, or `reduction` is unknown.
    """
    _check_loss(logits, target, reduction)
    return torch.nn.functional.cross_entropy(logits, target, reduction=reduction)


def cross_entropy_grad(
    logits: torch.Tensor, target: torch.Tensor, *, reduction: str
) -> torch.Tensor:
    """Return PyTorch's gradient of `cross_entropy` [N, C].

    Raises:
        ValueError, RuntimeError: the shapes do not fit, or `reduction` is unknown.
    """
    _check_loss(logits, target, reduction)
    leaf = logits.detach().clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(leaf, target, reduction=reduction)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


def batch_mean(gradient_per_image: torch.Tensor) -> torch.Tensor:
    """Return the mean over axis 0.

    Raises:
        ValueError: there is no axis 0, or nothing on it.
    """
    if gradient_per_image.dim() < 1 or not len(gradient_per_image):
        raise ValueError(f"no batch to average over in shape {[*gradient_per_image.shape]}")
    return gradient_per_image.mean(dim=0)


def sgd_step(
    parameter: torch.Tensor, gradient: torch.Tensor, *, learning_rate: float
) -> torch.Tensor:
    """Return the parameter after one step of `torch.optim.SGD`.

    Raises:
        ValueError: the shapes differ.
    """
    if parameter.shape != gradient.shape:
        raise ValueError(
            f"gradient has shape {[*gradient.shape]}, but parameter {[*parameter.shape]}"
        )
    moved = torch.nn.Parameter(parameter.detach().clone())
    moved.grad = gradient.detach().clone()
    torch.optim.SGD([moved], lr=learning_rate, foreach=False).step()
    return moved.detach()


def _check_matrices(*matrices: torch.Tensor) -> None:
    for matrix in matrices:
        if matrix.dim() != 2:
            raise ValueError(f"a matrix must have two axes, got shape {[*matrix.shape]}")


def _check_axis(z: torch.Tensor, axis: int) -> None:
    if z.dim() < 1 or z.shape[axis] < 1:
        raise ValueError(f"shape {[*z.shape]} has nothing on axis {axis}")


def _check_loss(logits: torch.Tensor, target: torch.Tensor, reduction: str) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    if logits.dim() != 2 or logits.shape[1] < 1 or target.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {[*logits.shape]} must be [N, C] and target {[*target.shape]} [N]"
        )
    if reduction not in ("mean", "sum") or (reduction == "mean" and not len(logits)):
        raise ValueError(f"no reduction {reduction!r} of {len(logits)} rows")
