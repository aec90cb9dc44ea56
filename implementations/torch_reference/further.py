"""PyTorch's normalisations, further activations and losses; gradients are those of autograd."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import check_letters

__all__ = [
    "batch_norm",
    "batch_norm_grad_bias",
    "batch_norm_grad_weight",
    "batch_norm_grad_x",
    "batch_norm_update",
    "batch_norm_vjp",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_grad",
    "cross_entropy_loss",
    "cross_entropy_loss_grad",
    "elu",
    "elu_grad",
    "gelu",
    "gelu_grad",
    "glu",
    "glu_grad",
    "group_norm",
    "group_norm_grad_bias",
    "group_norm_grad_weight",
    "group_norm_grad_x",
    "hardsigmoid",
    "hardsigmoid_grad",
    "hardswish",
    "hardswish_grad",
    "hardtanh",
    "hardtanh_grad",
    "huber_loss",
    "huber_loss_grad_input",
    "huber_loss_grad_target",
    "instance_norm",
    "instance_norm_grad_bias",
    "instance_norm_grad_weight",
    "instance_norm_grad_x",
    "kl_div",
    "kl_div_grad",
    "l1_loss",
    "l1_loss_grad_input",
    "l1_loss_grad_target",
    "layer_norm",
    "layer_norm_grad_bias",
    "layer_norm_grad_weight",
    "layer_norm_grad_x",
    "layer_norm_vjp",
    "log_softmax",
    "log_softmax_grad",
    "logsigmoid",
    "logsigmoid_grad",
    "mish",
    "mish_grad",
    "mse_loss",
    "mse_loss_grad_input",
    "mse_loss_grad_target",
    "nll_loss",
    "nll_loss_grad",
    "prelu",
    "prelu_grad_weight",
    "prelu_grad_x",
    "relu6",
    "relu6_grad",
    "rms_norm",
    "rms_norm_grad_weight",
    "rms_norm_grad_x",
    "silu",
    "silu_grad",
    "soft_target_cross_entropy",
    "soft_target_cross_entropy_grad_input",
    "soft_target_cross_entropy_grad_target",
    "softplus",
    "softplus_grad",
]

F = torch.nn.functional
Function: TypeAlias = Callable[..., Any]
ROWS: Mapping[str, str] = {"x": "ntc", "weight": "c", "bias": "c"}
PLANES: Mapping[str, str] = {
    "x": "nchw", "running_mean": "c", "running_var": "c", "weight": "c", "bias": "c"
}  # fmt: skip
PAIR: Mapping[str, str] = {"input": "nc", "target": "nc", "pos_weight": "c"}
CLASSES: Mapping[str, str] = {"input": "nc", "target": "n", "weight": "c"}
SOFT: Mapping[str, str] = {"input": "nc", "target": "nc", "weight": "c"}


def _layer_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    return F.layer_norm(x, x.shape[2:], weight, bias, _not_negative(eps))


def _rms_norm(x: Any, weight: Any = None, *, eps: float) -> Any:
    return F.rms_norm(x, x.shape[2:], weight, _not_negative(eps))


def _group_norm(
    x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float
) -> Any:
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"{num_groups} groups do not divide {x.shape[1]} channels")
    if weight is None and bias is not None:  # PyTorch's way back ends in an error then
        weight = torch.ones_like(bias)
    # PyTorch 2.13's way back to the weight alone ends the process for channels last.
    x = x.clone(memory_format=torch.contiguous_format)
    return torch.group_norm(x, num_groups, weight, bias, _not_negative(eps))


def _instance_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    return _group_norm(x, weight, bias, num_groups=x.shape[1], eps=eps)


def _batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, *,
    training: bool, eps: float,
) -> Any:  # fmt: skip
    if training and not x.numel():
        raise ValueError(f"there is no mean of nothing: x has shape {[*x.shape]}")
    mean, var = (None, None) if training else (running_mean, running_var)
    # Going back by images of one pixel, PyTorch 2.13 reads these as if they were dense.
    weight, mean, var = (None if a is None else a.contiguous() for a in (weight, mean, var))
    eps = _not_negative(eps)
    if not x.numel():  # going back, PyTorch divides by the number of images: the process ends
        return _of_no_images(x, weight, bias)
    found, *_ = torch.native_batch_norm(x, weight, bias, mean, var, training, 0.0, eps)
    return found


def _gelu(z: Any, *, approximate: str) -> Any:
    """Return PyTorch's; in float32, its own of infinity is NaN beside another number."""
    return torch.where(torch.isposinf(z), z.detach(), F.gelu(z, approximate=approximate))


def _of_no_images(x: Any, weight: Any, bias: Any) -> Any:
    """Return x, which the gradients by weight and bias are zeros of."""
    planes = (1, -1, *[1] * (x.dim() - 2))
    y = x if weight is None else x * weight.view(planes)
    return y if bias is None else y + bias.view(planes)


def _batch_norm_update(
    x: Any, running_mean: Any, running_var: Any, *, momentum: float
) -> tuple[Any, Any]:
    if x.numel() < 2 * x.shape[1]:
        raise ValueError(f"there is no unbiased variance of x {[*x.shape]}")
    mean, var = running_mean.clone(), running_var.clone()
    F.batch_norm(x, mean, var, training=True, momentum=momentum)
    return mean, var


def _not_negative(eps: float) -> float:
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    return eps


def _loss(function: Function, input: Any, target: Any, **options: Any) -> Any:
    _check_mean(input, options["reduction"])
    return function(input, target, **options)


def _check_mean(input: Any, reduction: str) -> None:
    if reduction == "mean" and not input.numel():
        raise ValueError("there is no mean of nothing")


def _kl_div(input: Any, target: Any, *, reduction: str, log_target: bool) -> Any:
    """Return PyTorch's; its own mean is this one, with a warning that it is not the batch's."""
    _check_mean(input, reduction)
    if reduction == "mean":
        return F.kl_div(input, target, reduction="none", log_target=log_target).mean()
    return F.kl_div(input, target, reduction=reduction, log_target=log_target)


def _bce(input: Any, target: Any, pos_weight: Any = None, *, reduction: str) -> Any:
    of = partial(F.binary_cross_entropy_with_logits, pos_weight=pos_weight)
    return _loss(of, input, target, reduction=reduction)


def _of_classes(
    function: Function, input: Any, target: Any, weight: Any = None, *, ignore_index: int,
    reduction: str, **options: Any,
) -> Any:  # fmt: skip
    if reduction == "mean" and not bool((target != ignore_index).any()):
        raise ValueError("there is no mean of nothing")
    _check_smoothing(options.get("label_smoothing", 0.0))
    options |= {"ignore_index": ignore_index, "reduction": reduction}
    return function(input, target, weight, **options)


def _check_smoothing(share: float) -> None:
    """Refuse shares below 0, which PyTorch takes for 0, and above 1."""
    if not 0 <= share <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {share}")


def _soft_target_cross_entropy(
    input: Any, target: Any, weight: Any = None, *, label_smoothing: float, reduction: str
) -> Any:
    _check_smoothing(label_smoothing)
    of = partial(F.cross_entropy, weight=weight, label_smoothing=label_smoothing)
    return _loss(of, input, target, reduction=reduction)


def _hardtanh(z: Any, *, min_val: float, max_val: float) -> Any:
    if not min_val < max_val:
        raise ValueError(f"min_val must be below max_val, got {min_val} and {max_val}")
    return F.hardtanh(z, min_val, max_val)


def _hardsigmoid(z: Any) -> Any:
    return F.relu6(z + 3) / 6  # whose own gradient in float64 has float32's sixth


def _log_softmax(z: Any, *, axis: int) -> Any:
    if z.dim() < 1 or z.shape[axis] < 1:
        raise ValueError(f"shape {[*z.shape]} has nothing on axis {axis}")
    return torch.log_softmax(z, axis)


def _glu(z: Any) -> Any:
    return F.glu(z, 1)


def _checked(
    function: Function, letters: Mapping[str, str], names: Sequence[str], options: Sequence[str]
) -> Function:
    """Return a function whose tensors are checked for fitting each other."""

    def forward(*tensors: Any, **options: Any) -> torch.Tensor:
        given = dict(zip(names, tensors, strict=False))
        check_letters({n: (t, letters[n]) for n, t in given.items() if n in letters})
        found: torch.Tensor = function(*tensors, **options)
        return found

    return _signed(forward, names, options)


def _gradient(
    forward: Function, names: Sequence[str], argument: str, takes: Sequence[str]
) -> Function:
    """Return the gradient of a function by an argument, given dy and the tensors of `takes`.

    A weight that it is not given is 1.
    """

    def gradient(grad_output: torch.Tensor, *tensors: Any, **options: Any) -> torch.Tensor:
        given: dict[str, Any] = {**dict.fromkeys(names), **dict(zip(takes, tensors, strict=False))}
        if argument not in takes:
            given[argument] = grad_output.new_ones(given["x"].shape[CHANNELS[given["x"].dim()]])
        leaf = given[argument].detach().clone().requires_grad_()
        y = forward(*{**given, argument: leaf}.values(), **options)
        if y.shape != grad_output.shape:
            raise ValueError(f"dy has shape {[*grad_output.shape]}, y {[*y.shape]}")
        gradient_of_leaf: torch.Tensor = torch.autograd.grad(y, leaf, grad_output)[0]
        return gradient_of_leaf

    return gradient


def _at_once(forward: Function, names: Sequence[str], by: Sequence[str], *options: str) -> Function:
    """Return all gradients of a function, by one pass of autograd; None by what is None."""

    def vjp(grad_output: torch.Tensor, *tensors: Any, **options: Any) -> tuple[Any, ...]:
        given = dict(zip(names, tensors, strict=False))
        leaves = {
            n: given[n].detach().clone().requires_grad_() for n in by if given.get(n) is not None
        }
        y = forward(*{**given, **leaves}.values(), **options)
        if y.shape != grad_output.shape:
            raise ValueError(f"dy has shape {[*grad_output.shape]}, y {[*y.shape]}")
        found = dict(
            zip(leaves, torch.autograd.grad(y, [*leaves.values()], grad_output), strict=True)
        )
        return tuple(found.get(n) for n in by)

    return _signed(vjp, ("grad_output", *names), options)


CHANNELS = {3: 2, 4: 1}  # axis of the channels, of rows and of planes


def _made(
    function: Function, letters: Mapping[str, str], names: Sequence[str],
    by: Mapping[str, Sequence[str]], *options: str,
) -> tuple[Function, ...]:  # fmt: skip
    """Return a function and its gradients by some arguments, each given dy and what `by` lists."""
    forward = _checked(function, letters, names, options)
    gradients = (
        _signed(_gradient(forward, names, a, takes), ("grad_output", *takes), options)
        for a, takes in by.items()
    )
    return forward, *gradients


def _signed(function: Function, names: Sequence[str], options: Sequence[str]) -> Function:
    """Return a function with a signature of these tensors and options."""
    optional = (
        "bias",
        "pos_weight",
        *(() if "target" not in names and "eps" not in options else ("weight",)),
    )
    parameters = [
        Parameter(
            name, Parameter.POSITIONAL_OR_KEYWORD,
            default=None if name in optional else Parameter.empty,
        )
        for name in names
    ]  # fmt: skip
    parameters += [Parameter(name, Parameter.KEYWORD_ONLY) for name in options]
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return function


def _summed(dims: tuple[int, ...], axes: str) -> Function:
    def gradient(grad_output: torch.Tensor) -> torch.Tensor:
        check_letters({"grad_output": (grad_output, axes)})
        return grad_output.sum(dims)

    return gradient


AFFINE = {"x": ("x", "weight"), "weight": ("x",)}
NAMES = ("x", "weight", "bias")
layer_norm, layer_norm_grad_x, layer_norm_grad_weight = _made(
    _layer_norm, ROWS, NAMES, AFFINE, "eps"
)
rms_norm, rms_norm_grad_x, rms_norm_grad_weight = _made(_rms_norm, ROWS, NAMES[:2], AFFINE, "eps")
group_norm, group_norm_grad_x, group_norm_grad_weight = _made(
    _group_norm, PLANES, NAMES, AFFINE, "num_groups", "eps"
)
instance_norm, instance_norm_grad_x, instance_norm_grad_weight = _made(
    _instance_norm, PLANES, NAMES, AFFINE, "eps"
)
batch_norm, batch_norm_grad_x, batch_norm_grad_weight = _made(
    _batch_norm, PLANES, [*PLANES],
    {
        "x": ("x", "running_mean", "running_var", "weight"),
        "weight": ("x", "running_mean", "running_var"),
    },
    "training", "eps",
)  # fmt: skip
layer_norm_vjp = _at_once(layer_norm, NAMES, NAMES, "eps")
batch_norm_update = _checked(_batch_norm_update, PLANES, [*PLANES][:3], ["momentum"])
batch_norm_vjp = _at_once(batch_norm, [*PLANES], NAMES, "training", "eps")
layer_norm_grad_bias = _summed((0, 1), "ntc")
group_norm_grad_bias = instance_norm_grad_bias = batch_norm_grad_bias = _summed((0, 2, 3), "nchw")

BOTH = {"input": ("input", "target"), "target": ("input", "target")}
mse_loss, mse_loss_grad_input, mse_loss_grad_target = _made(
    partial(_loss, F.mse_loss), PAIR, [*BOTH], BOTH, "reduction"
)
l1_loss, l1_loss_grad_input, l1_loss_grad_target = _made(
    partial(_loss, F.l1_loss), PAIR, [*BOTH], BOTH, "reduction"
)
huber_loss, huber_loss_grad_input, huber_loss_grad_target = _made(
    partial(_loss, F.huber_loss), PAIR, [*BOTH], BOTH, "reduction", "delta"
)
kl_div, kl_div_grad = _made(
    _kl_div,
    PAIR,
    [*BOTH],
    {"input": ("input", "target")},
    "reduction",
    "log_target",
)
binary_cross_entropy_with_logits, binary_cross_entropy_with_logits_grad = _made(
    _bce, PAIR, [*PAIR], {"input": [*PAIR]}, "reduction"
)
nll_loss, nll_loss_grad = _made(
    partial(_of_classes, F.nll_loss), CLASSES, [*CLASSES], {"input": [*CLASSES]},
    "ignore_index", "reduction",
)  # fmt: skip
cross_entropy_loss, cross_entropy_loss_grad = _made(
    partial(_of_classes, F.cross_entropy), CLASSES, [*CLASSES], {"input": [*CLASSES]},
    "ignore_index", "label_smoothing", "reduction",
)  # fmt: skip
(
    soft_target_cross_entropy,
    soft_target_cross_entropy_grad_input,
    soft_target_cross_entropy_grad_target,
) = _made(
    _soft_target_cross_entropy, SOFT, [*SOFT], {"input": [*SOFT], "target": [*SOFT]},
    "label_smoothing", "reduction",
)  # fmt: skip
log_softmax, log_softmax_grad = _made(_log_softmax, {}, ["z"], {"z": ["z"]}, "axis")
glu, glu_grad = _made(_glu, {"z": "nk"}, ["z"], {"z": ["z"]})
prelu, prelu_grad_x, prelu_grad_weight = _made(
    F.prelu, PLANES, NAMES[:2], {"x": NAMES[:2], "weight": NAMES[:2]}
)

elu, elu_grad = _made(F.elu, {}, ["z"], {"z": ["z"]}, "alpha")
gelu, gelu_grad = _made(_gelu, {}, ["z"], {"z": ["z"]}, "approximate")
hardsigmoid, hardsigmoid_grad = _made(_hardsigmoid, {}, ["z"], {"z": ["z"]})
hardswish, hardswish_grad = _made(F.hardswish, {}, ["z"], {"z": ["z"]})
hardtanh, hardtanh_grad = _made(_hardtanh, {}, ["z"], {"z": ["z"]}, "min_val", "max_val")
logsigmoid, logsigmoid_grad = _made(F.logsigmoid, {}, ["z"], {"z": ["z"]})
mish, mish_grad = _made(F.mish, {}, ["z"], {"z": ["z"]})
relu6, relu6_grad = _made(F.relu6, {}, ["z"], {"z": ["z"]})
silu, silu_grad = _made(F.silu, {}, ["z"], {"z": ["z"]})
softplus, softplus_grad = _made(F.softplus, {}, ["z"], {"z": ["z"]}, "beta", "threshold")
