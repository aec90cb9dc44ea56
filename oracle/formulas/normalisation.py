"""Normalisations: numbers less their mean, over the root of their variance.

The documents have none; these are as their papers and PyTorch have them.  A variance is that of all
numbers (biased), and eps is added to it under the root.  Without weight or bias, they are 1 and 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from gradoracle.oracle.derive import derived
from gradoracle.oracle.numbers.elementary import either, regrouped, sqrt
from gradoracle.oracle.numbers.reverse import maximum
from gradoracle.oracle.numbers.ways import ONE_SWEEP, is_claimed

IMAGES_OF_A_PLANE = "x: n c (h w); weight?: c; bias?: c; grad_output: n c (h w)"
ONES = {"weight": 1.0}
BY = {"x": ("x", "weight", "eps"), "weight": ("x", "eps"), "bias": ()}
BY_GROUPS = {n: (*takes, "num_groups") if takes else () for n, takes in BY.items()}


def _moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Return mean and variance along axes, which are kept with one element.

    Raises:
        ValueError: there are no numbers.
    """
    if not prod(x.shape[axis] for axis in axes):
        raise ValueError(f"there is no mean of no numbers: x has shape {[*x.shape]}")
    mean = x.mean(axes, keepdims=True)
    if is_claimed(ONE_SWEEP):
        less = (x * x).mean(axes, keepdims=True) - mean * mean
        return mean, maximum(less, 0)
    return mean, ((x - mean) * (x - mean)).mean(axes, keepdims=True)


def _root(variance: Any, eps: float) -> Any:
    """Return sqrt(variance + eps).

    Raises:
        ValueError: eps is negative.
    """
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    return sqrt(variance + eps)


def _affine(x: Any, mean: Any, root: Any, weight: Any, bias: Any) -> Any:
    """Return (x - mean) / root * weight + bias, all with the axes of x."""
    plain = regrouped((x - mean) / root, _difference, x, mean, root)
    plain = plain if weight is None else plain * weight
    plain = plain if bias is None else plain + bias
    return regrouped(plain, _folded, x, mean, root, weight, bias)


def _difference(x: Any, mean: Any, root: Any) -> Any:
    return x / root - mean / root


def _folded(x: Any, mean: Any, root: Any, weight: Any, bias: Any) -> Any:
    """Return the same with one factor and one number to add, as convolutions absorb them.

    (Jacob and others 2018, "Quantization and Training of Neural Networks", section 3.2).
    """
    factor = (1 if weight is None else weight) / root
    return x * factor + ((0 if bias is None else bias) - mean * factor)


def _shaped(shape: tuple[int, ...], *arrays: Any) -> Iterator[Any]:
    """Yield arrays of channels with the axes of x."""
    return (None if one is None else one.reshape(shape) for one in arrays)


@derived("x: n t c; weight?: c; bias?: c; grad_output: n t c", BY, images="kept", absent=ONES)
def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    """Return y, of x's shape and dtype, from x [N, T, C], weight [C] and bias [C].

        y = (x - mu) / sqrt(sigma^2 + eps) * weight + bias
        mu = sum_c x / C,  sigma^2 = sum_c (x - mu)^2 / C,  of every row

    (Ba, Kiros and Hinton 2016, "Layer Normalization", equation 4).
    """
    mean, variance = _moments(x, (2,))
    return _affine(x, mean, _root(variance, eps), *_shaped((1, 1, -1), weight, bias))


@derived(
    "x: n t c; weight?: c; grad_output: n t c",
    {"x": BY["x"], "weight": BY["weight"]},
    images="kept",
    absent=ONES,
)
def rms_norm(x: Any, weight: Any = None, *, eps: float) -> Any:
    """Return y, of x's shape and dtype, from x [N, T, C] and weight [C].

        y = x / sqrt(sum_c x^2 / C + eps) * weight,  of every row

    (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4).
    """
    y = x / _root((x * x).mean(2, keepdims=True), eps)
    return y if weight is None else y * weight.reshape((1, 1, -1))


@derived(
    "x: n c (h w); running_mean: c; running_var: c; weight?: c; bias?: c; grad_output: n c (h w)",
    {
        "x": ("x", "running_mean", "running_var", "weight", "training", "eps"),
        "weight": ("x", "running_mean", "running_var", "training", "eps"),
        "bias": (),
    },
    absent=ONES,
)
def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, *,
    training: bool, eps: float,
) -> Any:  # fmt: skip
    """Return y, of x's shape and dtype, from x [N, C, H, W] and the rest [C].

        y = (x - mu) / sqrt(sigma^2 + eps) * weight + bias,  of every channel
        mu = sum_nhw x / (N H W),  sigma^2 = sum_nhw (x - mu)^2 / (N H W);
        without training, mu and sigma^2 are running_mean and running_var

    (Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2).

    Raises:
        ValueError: the mean is over nothing.
    """
    if training:
        mean, variance = _moments(x, (0, 2, 3))
    else:
        mean, variance = (of.reshape((1, -1, 1, 1)) for of in (running_mean, running_var))
    return _affine(x, mean, _root(variance, eps), *_shaped((1, -1, 1, 1), weight, bias))


@derived(
    "x: n c (h w); running_mean: c; running_var: c", (),
    outputs=("new_running_mean: c", "new_running_var: c"),
)  # fmt: skip
def batch_norm_update(x: Any, running_mean: Any, running_var: Any, *, momentum: float) -> Any:
    """Return (new_running_mean, new_running_var) [C], from x [N, C, H, W] and the old ones [C].

        new_running_mean = (1 - momentum) running_mean + momentum mu
        new_running_var = (1 - momentum) running_var + momentum sum_nhw (x - mu)^2 / (N H W - 1)
        mu = sum_nhw x / (N H W),  of every channel

    (Ioffe and Szegedy 2015, "Batch Normalization", algorithm 2, whose variance is unbiased; the
    running averages are PyTorch's, torch.nn.BatchNorm2d).

    Raises:
        ValueError: a channel has fewer than two numbers.
    """
    count = x.shape[0] * x.shape[2] * x.shape[3]
    if count < 2:
        raise ValueError(f"there is no unbiased variance of {count} numbers: x has {[*x.shape]}")
    mean = x.mean((0, 2, 3), keepdims=True)
    variance = ((x - mean) * (x - mean)).sum((0, 2, 3)) / (count - 1)
    old = (running_mean, mean.reshape(-1)), (running_var, variance)
    return tuple(_average(was, now, momentum) for was, now in old)


def _average(was: Any, now: Any, momentum: float) -> Any:
    """Return (1 - momentum) was + momentum now, which kernels also compute as one step."""
    return either(was * (1 - momentum) + now * momentum, lambda: was + (now - was) * momentum)


@derived(IMAGES_OF_A_PLANE, BY, images="kept", absent=ONES)
def instance_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    """Return y, of x's shape and dtype, from x [N, C, H, W], weight [C] and bias [C].

        y = (x - mu) / sqrt(sigma^2 + eps) * weight + bias
        mu = sum_hw x / (H W),  sigma^2 = sum_hw (x - mu)^2 / (H W),  of every plane

    (Ulyanov, Vedaldi and Lempitsky 2016, "Instance Normalization", equation 4).
    """
    mean, variance = _moments(x, (2, 3))
    return _affine(x, mean, _root(variance, eps), *_shaped((1, -1, 1, 1), weight, bias))


@derived(IMAGES_OF_A_PLANE, BY_GROUPS, images="kept", absent=ONES)
def group_norm(x: Any, weight: Any = None, bias: Any = None, *, num_groups: int, eps: float) -> Any:
    """Return y, of x's shape and dtype, from x [N, C, H, W], weight [C] and bias [C].

        y = (x - mu) / sqrt(sigma^2 + eps) * weight + bias
        mu = sum_chw x / (C/G H W),  sigma^2 = sum_chw (x - mu)^2 / (C/G H W),
        of every image and each of the G = num_groups groups of channels

    (Wu and He 2018, "Group Normalization", equations 1, 2 and 7).

    Raises:
        ValueError: the groups do not divide the channels.
    """
    images, channels, *plane = x.shape
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"num_groups must divide the {channels} channels, got {num_groups}")
    groups = x.reshape((images, num_groups, channels // num_groups, *plane))
    mean, variance = _moments(groups, (2, 3, 4))
    each = _shaped((1, num_groups, -1, 1, 1), weight, bias)
    return _affine(groups, mean, _root(variance, eps), *each).reshape(x.shape)


DERIVED = (batch_norm, batch_norm_update, group_norm, instance_norm, layer_norm, rms_norm)
