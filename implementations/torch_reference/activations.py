"""PyTorch's activations and their gradients."""

import torch


def relu(z: torch.Tensor) -> torch.Tensor:
    """Return `torch.relu`."""
    return torch.relu(z)


def relu_grad(grad_output: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's gradient of `torch.relu`.

    Raises:
        ValueError: the shapes differ.
    """
    _check(grad_output, z)
    gradient: torch.Tensor = torch.ops.aten.threshold_backward(grad_output, z, 0)
    return gradient


def leaky_relu(z: torch.Tensor, *, negative_slope: float) -> torch.Tensor:
    """Return `torch.nn.functional.leaky_relu`."""
    return torch.nn.functional.leaky_relu(z, negative_slope)


def leaky_relu_grad(
    grad_output: torch.Tensor, z: torch.Tensor, *, negative_slope: float
) -> torch.Tensor:
    """Return PyTorch's gradient of `leaky_relu`.

    Raises:
        ValueError: the shapes differ.
    """
    _check(grad_output, z)
    gradient: torch.Tensor = torch.ops.aten.leaky_relu_backward(
        grad_output, z, negative_slope, self_is_result=False
    )
    return gradient


def sigmoid(z: torch.Tensor) -> torch.Tensor:
    """Return `torch.sigmoid`."""
    return torch.sigmoid(z)


def sigmoid_grad(grad_output: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's gradient of `torch.sigmoid`.

    Raises:
        ValueError: the shapes differ.
    """
    _check(grad_output, z)
    gradient: torch.Tensor = torch.ops.aten.sigmoid_backward(grad_output, torch.sigmoid(z))
    return gradient


def tanh(z: torch.Tensor) -> torch.Tensor:
    """Return `torch.tanh`."""
    return torch.tanh(z)


def tanh_grad(grad_output: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's gradient of `torch.tanh`.

    Raises:
        ValueError: the shapes differ.
    """
    _check(grad_output, z)
    gradient: torch.Tensor = torch.ops.aten.tanh_backward(grad_output, torch.tanh(z))
    return gradient


def _check(grad_output: torch.Tensor, z: torch.Tensor) -> None:
    """Raise ValueError where PyTorch would broadcast."""
    if grad_output.shape != z.shape:
        raise ValueError(f"grad_output has shape {[*grad_output.shape]}, but z has {[*z.shape]}")
