"""PyTorch's indexing, joining and optimisers; gradients are those of autograd."""

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import check_letters

__all__ = [
    "adam_step",
    "adamw_step",
    "add",
    "add_grad_input",
    "add_grad_other",
    "cat",
    "cat_grad_first",
    "cat_grad_second",
    "cat_grad_third",
    "cat_vjp",
    "clip_grad_norm",
    "cumsum",
    "cumsum_grad",
    "dropout_with_mask",
    "dropout_with_mask_grad",
    "ema",
    "embedding",
    "embedding_grad",
    "gather",
    "gather_grad",
    "index_select",
    "index_select_grad",
    "scatter_add",
    "scatter_add_grad_input",
    "scatter_add_grad_src",
    "sgd_momentum_step",
    "split",
]

# Only pick among their data, so that half precision rounds nothing.
SELECTIONS = (
    "cat", "cat_grad_first", "cat_grad_second", "cat_grad_third", "cat_vjp", "embedding", "gather",
    "index_select", "scatter_add_grad_input", "scatter_add_grad_src", "split",
)  # fmt: skip
Function: TypeAlias = Callable[..., Any]


def _at_once(forward: Function, by: Sequence[str]) -> Function:
    """Return all gradients of a function, by one pass of autograd; None by what is None."""
    own = signature(forward)

    def vjp(grad_output: torch.Tensor, *tensors: Any, **options: Any) -> tuple[Any, ...]:
        given = own.bind(*tensors, **options).arguments
        leaves = {n: _leaf(given[n]) for n in by if given.get(n) is not None}
        y = forward(*own.bind(**{**given, **leaves}).args, **options)
        if y.shape != grad_output.shape:
            raise ValueError(f"dy has shape {[*grad_output.shape]}, y {[*y.shape]}")
        found = torch.autograd.grad(y, [*leaves.values()], grad_output)
        each = {n: g.clone() for n, g in zip(leaves, found, strict=True)}
        return tuple(each.get(n) for n in by)

    dy = Parameter("grad_output", Parameter.POSITIONAL_OR_KEYWORD)
    vjp.__signature__ = own.replace(parameters=[dy, *own.parameters.values()])  # type: ignore[attr-defined]
    return vjp


def _leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_()


def _gradient(forward: Function, by: str) -> Function:
    """Return the gradient of a function by one of its arguments."""
    all_at_once = _at_once(forward, [by])

    @wraps(all_at_once)
    def gradient(*tensors: Any, **options: Any) -> Any:
        (found,) = all_at_once(*tensors, **options)
        return found

    gradient.__signature__ = signature(all_at_once)  # type: ignore[attr-defined]
    return gradient


def _alike(first: torch.Tensor, *others: torch.Tensor | None) -> None:
    """Raise ValueError unless all tensors have one shape."""
    shapes = [[*one.shape] for one in (first, *others) if one is not None]
    if any(shape != [*first.shape] for shape in shapes):
        raise ValueError(f"the shapes must be equal, got {shapes}")


def _fits(tensor: torch.Tensor, index: torch.Tensor, axis: int) -> None:
    """Raise ValueError where an index without elements does not fit: PyTorch takes any."""
    place = axis % max(1, tensor.dim())
    sides = zip(index.shape, tensor.shape, strict=False)
    longer = any(one > most for at, (one, most) in enumerate(sides) if at != place)
    if index.numel() == 0 and (index.dim() != tensor.dim() or longer):
        raise ValueError(f"index {[*index.shape]} does not fit {[*tensor.shape]}")


def embedding(input: Any, weight: Any, *, padding_idx: int | None) -> Any:
    """Return PyTorch's embedding of indices [N, T]."""
    check_letters({"input": (input, "nt"), "weight": (weight, "vd")})
    return torch.nn.functional.embedding(input, weight, padding_idx)


def gather(input: Any, index: Any, *, axis: int) -> Any:
    """Return PyTorch's gather."""
    _fits(input, index, axis)
    return torch.gather(input, axis, index)


def scatter_add(input: Any, index: Any, src: Any, *, axis: int) -> Any:
    """Return PyTorch's scatter_add, of an index as large as src."""
    _alike(src, index)
    _fits(input, index, axis)
    return torch.scatter_add(input, axis, index, src)


def index_select(input: Any, index: Any, *, axis: int) -> Any:
    """Return PyTorch's index_select."""
    return torch.index_select(input, axis, index)


def cat(first: Any, second: Any, third: Any = None, *, axis: int) -> Any:
    """Return PyTorch's cat of two or three tensors."""
    tensors = [one for one in (first, second, third) if one is not None]
    if len({one.dim() for one in tensors}) > 1:  # PyTorch leaves out an empty vector
        raise ValueError(f"shapes {[[*one.shape] for one in tensors]} do not fit")
    return torch.cat(tensors, axis)


def split(input: Any, *, sections: tuple[int, int], axis: int) -> tuple[Any, Any]:
    """Return PyTorch's split into two sections, both copied."""
    if len(sections) != 2 or min(sections) < 1:
        raise ValueError(f"there must be two sections with entries, got {sections}")
    first, second = torch.split(input, [*sections], axis)
    return first.clone(), second.clone()


def cumsum(input: Any, *, axis: int) -> Any:
    """Return PyTorch's cumsum."""
    return torch.cumsum(input, axis)


def add(input: Any, other: Any, *, alpha: float) -> Any:
    """Return PyTorch's add."""
    return torch.add(input, other, alpha=alpha)


def dropout_with_mask(z: Any, mask: Any, *, p: float) -> Any:
    """Return what PyTorch's dropout makes of a mask: z times it and 1 / (1 - p), or 0."""
    _alike(z, mask)
    if not 0 <= p <= 1 or mask.dtype != torch.bool:
        raise ValueError(f"p must be between 0 and 1, got {p}, and the mask bool, got {mask.dtype}")
    scale = 1 / (1 - p) if p < 1 else 0.0
    return torch.ops.aten.native_dropout_backward(z, mask, scale)


def dropout_with_mask_grad(grad_output: Any, mask: Any, *, p: float) -> Any:
    """Return PyTorch's own gradient of a dropout."""
    return dropout_with_mask(grad_output, mask, p=p)


embedding_grad = _gradient(embedding, "weight")
gather_grad = _gradient(gather, "input")
scatter_add_grad_input = _gradient(scatter_add, "input")
scatter_add_grad_src = _gradient(scatter_add, "src")
index_select_grad = _gradient(index_select, "input")
cat_grad_first = _gradient(cat, "first")
cat_grad_second = _gradient(cat, "second")
cat_grad_third = _gradient(cat, "third")
cat_vjp = _at_once(cat, ["first", "second", "third"])
cumsum_grad = _gradient(cumsum, "input")
add_grad_input = _gradient(add, "input")
add_grad_other = _gradient(add, "other")


def ema(average: Any, value: Any, *, decay: float) -> Any:
    """Return PyTorch's linear interpolation, as its averaged models take it."""
    _alike(average, value)
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be between 0 and 1, got {decay}")
    return torch.lerp(average, value, 1 - decay)


def _optimiser(kind: Any, parameter: Any, gradient: Any, **options: Any) -> tuple[Any, Any]:
    """Return one of PyTorch's optimisers of one parameter, which has its gradient."""
    moved = torch.nn.Parameter(parameter.clone())
    moved.grad = gradient.clone()
    return kind([moved], foreach=False, **options), moved


def sgd_momentum_step(
    parameter: Any, gradient: Any, momentum_buffer: Any = None, *, learning_rate: float,
    momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the parameter and its buffer after a step of PyTorch's SGD."""
    _alike(parameter, gradient, momentum_buffer)
    if not momentum > 0:
        raise ValueError(f"momentum must be positive, got {momentum}")
    optimiser, moved = _optimiser(
        torch.optim.SGD, parameter, gradient, lr=learning_rate, momentum=momentum,
        dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
    )  # fmt: skip
    if momentum_buffer is not None:
        optimiser.state[moved]["momentum_buffer"] = momentum_buffer.clone()
    optimiser.step()
    return moved.detach(), optimiser.state[moved]["momentum_buffer"]


def _adam(
    kind: Any, parameter: Any, gradient: Any, exp_avg: Any, exp_avg_sq: Any, *,
    learning_rate: float, beta1: float, beta2: float, step: int, **options: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return the parameter and both moving averages after a step of PyTorch's."""
    _alike(parameter, gradient, exp_avg, exp_avg_sq)
    if step < 1:
        raise ValueError(f"the first step is 1, got {step}")
    options |= {"lr": learning_rate, "betas": (beta1, beta2)}
    optimiser, moved = _optimiser(kind, parameter, gradient, **options)
    optimiser.state[moved].update(
        step=torch.tensor(float(step - 1)), exp_avg=exp_avg.clone(), exp_avg_sq=exp_avg_sq.clone()
    )
    optimiser.step()
    state = optimiser.state[moved]
    return moved.detach(), state["exp_avg"], state["exp_avg_sq"]


def adam_step(
    parameter: Any, gradient: Any, exp_avg: Any, exp_avg_sq: Any, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return the parameter and both moving averages after a step of PyTorch's Adam."""
    return _adam(
        torch.optim.Adam, parameter, gradient, exp_avg, exp_avg_sq, learning_rate=learning_rate,
        beta1=beta1, beta2=beta2, step=step, eps=eps, weight_decay=weight_decay,
    )  # fmt: skip


def adamw_step(
    parameter: Any, gradient: Any, exp_avg: Any, exp_avg_sq: Any, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return the parameter and both moving averages after a step of PyTorch's AdamW."""
    return _adam(
        torch.optim.AdamW, parameter, gradient, exp_avg, exp_avg_sq, learning_rate=learning_rate,
        beta1=beta1, beta2=beta2, step=step, eps=eps, weight_decay=weight_decay,
    )  # fmt: skip


def clip_grad_norm(first: Any, second: Any, *, max_norm: float) -> tuple[Any, Any, Any]:
    """Return both gradients as PyTorch clips them, and their norm."""
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, got {max_norm}")
    parameters = [torch.nn.Parameter(torch.zeros_like(one)) for one in (first, second)]
    for parameter, one in zip(parameters, (first, second), strict=True):
        parameter.grad = one.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=False)
    return parameters[0].grad, parameters[1].grad, norm
