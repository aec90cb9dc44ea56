"""What rivals share: how an operator is asked through the protocol, and what PyTorch answers."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from tests.power import derived
from tests.power.derived import RECORDS

Arrays = Mapping[str, Any]  # by the protocol's names, in its order; None: no bias
CONVOLUTIONS = ("conv2d", "conv_transpose2d")
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax")
WITHOUT_GRADIENTS = ("batch_mean", "sgd_step")
OPERATORS = (
    *CONVOLUTIONS, "max_pool2d", "avg_pool2d", *ACTIVATIONS, "linear", "cross_entropy",
    *WITHOUT_GRADIENTS, *RECORDS,
)  # fmt: skip


class Sample(NamedTuple):
    """One call of an operator."""

    operator: str
    arrays: Arrays
    options: Mapping[str, Any]


def normals(
    operator: str, seed: int, shapes: Mapping[str, Any], dtype: str, **options: Any
) -> Sample:
    """Return a call on standard normal numbers; a target is drawn from the classes."""
    random = np.random.default_rng(seed)
    arrays = {
        name: None if shape is None else random.standard_normal(shape).astype(dtype)
        for name, shape in shapes.items()
    }
    if operator == "cross_entropy":
        count, classes = arrays["logits"].shape
        arrays["target"] = random.integers(0, classes, count)
    if operator in RECORDS:
        arrays = derived.complete(operator, arrays, options, seed)
    return Sample(operator, arrays, options)


# -- the backend ----------------------------------------------------------------------------------


def forward(backend: Any, sample: Sample) -> tuple[Any, ...]:
    """Return what the backend's forward pass returns, always a tuple."""
    result = getattr(backend, sample.operator)(*sample.arrays.values(), **sample.options)
    return result if isinstance(result, tuple) else (result,)


def gradients(
    backend: Any, sample: Sample, dy: Any, only: Collection[str] | None = None
) -> Iterator[tuple[str, str, Any]]:
    """Yield function, argument and result of every gradient, or of some functions' `only`."""
    for function, argument, ask in _asked(sample):
        if only is None or function in only:
            yield function, argument, ask(getattr(backend, function), dy, backend)


def differentiable(sample: Sample) -> list[str]:
    """Return the names of the arrays that a call has gradients by, in the protocol's order."""
    found = {argument for _, argument, _ in _asked(sample)}
    return [name for name in sample.arrays if name in found]


def gradient_functions(sample: Sample) -> list[str]:
    """Return the names of the functions that `gradients` asks."""
    return [function for function, _, _ in _asked(sample)]


def tensor(value: Any) -> Any:
    """Return a result as PyTorch sees it, in the memory that it has."""
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__} is no array")
    array = np.asarray(value)
    return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


Asked = Iterator[tuple[str, str, Callable[[Any, Any, Any], Any]]]


def _asked(sample: Sample) -> Asked:
    return _GRADIENTS.get(sample.operator, _of_activation)(sample)


def _of_convolution(sample: Sample) -> Asked:
    name, a, o = sample.operator, sample.arrays, sample.options
    x, weight = a["x"], a["weight"]
    yield f"{name}_grad_input", "x", lambda f, dy, _: f(dy, weight, input_shape=x.shape, **o)
    yield f"{name}_grad_weight", "weight", lambda f, dy, _: f(dy, x, weight_shape=weight.shape, **o)
    if a["bias"] is not None:
        yield f"{name}_grad_bias", "bias", lambda f, dy, _: f(dy)


def _of_linear(sample: Sample) -> Asked:
    a = sample.arrays
    yield "linear_grad_input", "x", lambda f, dy, _: f(dy, a["weight"])
    yield "linear_grad_weight", "weight", lambda f, dy, _: f(dy, a["x"])
    if a["bias"] is not None:
        yield "linear_grad_bias", "bias", lambda f, dy, _: f(dy)


def _of_max_pooling(sample: Sample) -> Asked:
    x, o = sample.arrays["x"], sample.options

    def through_its_indices(function: Any, dy: Any, backend: Any) -> Any:
        return function(dy, forward(backend, sample)[1], input_shape=x.shape)

    yield "max_pool2d_grad_input", "x", through_its_indices
    yield "max_pool2d_vjp", "x", lambda f, dy, _: f(dy, x, **o)


def _of_average_pooling(sample: Sample) -> Asked:
    shape = sample.arrays["x"].shape
    yield (
        "avg_pool2d_grad_input", "x",
        lambda f, dy, _: f(dy, input_shape=shape, **sample.options),
    )  # fmt: skip


def _of_activation(sample: Sample) -> Asked:
    z = sample.arrays["z"]
    yield f"{sample.operator}_grad", "z", lambda f, dy, _: f(dy, z, **sample.options)


def _of_loss(sample: Sample) -> Asked:
    arrays = sample.arrays.values()
    yield "cross_entropy_grad", "logits", lambda f, dy, _: f(*arrays, **sample.options) * dy


def _of_derived(sample: Sample) -> Asked:
    return derived.gradients(*sample)


def _none(sample: Sample) -> Asked:
    del sample
    yield from ()


_GRADIENTS: dict[str, Callable[[Sample], Asked]] = {
    **dict.fromkeys(CONVOLUTIONS, _of_convolution),
    "linear": _of_linear,
    "max_pool2d": _of_max_pooling,
    "avg_pool2d": _of_average_pooling,
    "cross_entropy": _of_loss,
    **dict.fromkeys(WITHOUT_GRADIENTS, _none),
    **dict.fromkeys(RECORDS, _of_derived),
}


# -- PyTorch --------------------------------------------------------------------------------------


def _max_pool2d(x: Any, **options: Any) -> Any:
    return functional.max_pool2d(x, **options, return_indices=True)


def _softmax(z: Any, *, axis: int) -> Any:
    return functional.softmax(z, dim=axis)


def _batch_mean(gradient_per_image: Any) -> Any:
    return gradient_per_image.mean(0)


def _sgd_step(parameter: Any, gradient: Any, *, learning_rate: float) -> Any:
    return parameter - learning_rate * gradient


_IN_PYTORCH = {
    "max_pool2d": _max_pool2d, "softmax": _softmax, "batch_mean": _batch_mean,
    "sgd_step": _sgd_step, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
}  # fmt: skip


def _in_pytorch(operator: str) -> Any:
    if operator in RECORDS:
        return derived.in_pytorch(operator)
    return _IN_PYTORCH.get(operator) or getattr(functional, operator)


class Expected(NamedTuple):
    """PyTorch's results, dE/dy and autograd's gradients, by argument."""

    outputs: tuple[Any, ...]
    dy: Any
    gradients: Mapping[str, Any]


def expected(sample: Sample, seed: int) -> Expected:
    """Return what PyTorch makes of a call; dy is standard normal."""
    leaves = {
        name: None if array is None else torch.from_numpy(array.copy())
        for name, array in sample.arrays.items()
    }
    wanted = differentiable(sample)
    for name in wanted:
        leaves[name].requires_grad_()
    result = _in_pytorch(sample.operator)(*leaves.values(), **sample.options)
    outputs = result if isinstance(result, tuple) else (result,)
    y = outputs[0]
    dy = np.random.default_rng(seed).standard_normal(tuple(y.shape))
    dy = np.asarray(dy).astype(y.detach().numpy().dtype)
    found = (
        torch.autograd.grad(
            y, [leaves[name] for name in wanted], torch.from_numpy(dy.copy()), allow_unused=True
        )
        if wanted
        else ()
    )
    return Expected(
        tuple(one.detach().numpy() for one in outputs), dy,
        {n: None if g is None else g.numpy() for n, g in zip(wanted, found, strict=True)},
    )  # fmt: skip


def pairs(
    backend: Any, sample: Sample, seed: int, *, backward: bool
) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is compared: the function, the backend's answer and PyTorch's."""
    right = expected(sample, seed)
    answers = forward(backend, sample)
    if len(answers) != len(right.outputs):
        raise AssertionError(f"{len(answers)} results, PyTorch has {len(right.outputs)}")
    for got, want in zip(answers, right.outputs, strict=True):
        yield sample.operator, got, want
    if backward:
        for function, argument, got in gradients(backend, sample, right.dy):
            yield function, got, right.gradients[argument]
