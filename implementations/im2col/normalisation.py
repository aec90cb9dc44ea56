"""Normalisations and their gradients, vectorised over whole arrays.

With xhat = (x - mu) / sqrt(sigma^2 + eps), g = dy * weight and means along the normalised axes, the
gradient is dx = (g - mean(g) - xhat mean(g xhat)) / sqrt(sigma^2 + eps).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import check_letters, named

Array: TypeAlias = npt.NDArray[Any]
Axes: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[int, ...]

ROWS, PLANES = "ntc", "nchw"
OF_ROWS, OF_PLANES = (1, 1, -1), (1, -1, 1, 1)


def _centred(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """Return x less its mean along axes, and sqrt(variance + eps).

    Raises:
        ValueError: there is nothing to take the mean of, or eps is negative.
    """
    if eps < 0 or not np.prod([x.shape[axis] for axis in axes]):
        raise ValueError(f"no mean of {[*x.shape]} along {axes}, or eps = {eps} is negative")
    centred = x - x.mean(axes, keepdims=True)
    variance = np.square(centred).mean(axes, keepdims=True)
    return centred, np.sqrt(variance + x.dtype.type(eps))


def _scaled(y: Array, weight: Array | None, bias: Array | None, shape: Shape) -> Array:
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _back(grad: Array, centred: Array, root: Array, axes: Axes) -> Array:
    """Return dx from d(xhat)."""
    xhat = centred / root
    along = (grad * xhat).mean(axes, keepdims=True)
    dx: Array = (grad - grad.mean(axes, keepdims=True) - xhat * along) / root
    return dx


def _summed(array: Array, axes: Axes) -> Array:
    total: Array = array.sum(axes)
    return total


def _normalised(
    name: str, letters: str, axes: Axes, shape: Shape, summed: Axes
) -> tuple[Callable[..., Array], ...]:  # fmt: skip
    """Return a normalisation along axes of x, and its gradients by x, weight and bias.

    `shape` is that of a channel's numbers beside x, and `summed` the axes that its gradients are
    summed over.
    """

    @in_float32
    @named(name)
    def forward(
        x: Array, weight: Array | None = None, bias: Array | None = None, *, eps: float
    ) -> Array:
        """Return the numbers of x less their mean, over their deviation, scaled by channels.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        check_letters({"x": (x, letters), "weight": (weight, "c"), "bias": (bias, "c")})
        centred, root = _centred(x, axes, eps)
        return _scaled(centred / root, weight, bias, shape)

    @in_float32
    @named(f"{name}_grad_x")
    def by_x(grad_output: Array, x: Array, weight: Array | None = None, *, eps: float) -> Array:
        """Return dx, of x's shape.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        both = {"x": (x, letters), "grad_output": (grad_output, letters)}
        check_letters({**both, "weight": (weight, "c")})
        centred, root = _centred(x, axes, eps)
        return _back(_scaled(grad_output, weight, None, shape), centred, root, axes)

    @in_float32
    @named(f"{name}_grad_weight")
    def by_weight(grad_output: Array, x: Array, *, eps: float) -> Array:
        """Return dw [C], summed over everything else.

        Raises:
            ValueError: the shapes do not fit, or eps is negative.
        """
        check_letters({"x": (x, letters), "grad_output": (grad_output, letters)})
        centred, root = _centred(x, axes, eps)
        return _summed(grad_output * (centred / root), summed)

    @in_float32
    @named(f"{name}_grad_bias")
    def by_bias(grad_output: Array) -> Array:
        """Return db [C], summed over everything else.

        Raises:
            ValueError: grad_output has other axes.
        """
        check_letters({"grad_output": (grad_output, letters)})
        return _summed(grad_output, summed)

    return forward, by_x, by_weight, by_bias


layer_norm, layer_norm_grad_x, layer_norm_grad_weight, layer_norm_grad_bias = _normalised(
    "layer_norm", ROWS, (2,), OF_ROWS, (0, 1)
)


def _by_weight_and_bias(
    grad_output: Array, xhat: Array, weight: Array | None, bias: Array | None, summed: Axes
) -> tuple[Array | None, Array | None]:
    """Return dw and db [C], None of what is None."""
    dw = None if weight is None else _summed(grad_output * xhat, summed)
    return dw, None if bias is None else _summed(grad_output, summed)


@in_float32
def layer_norm_vjp(
    grad_output: Array, x: Array, weight: Array | None = None, bias: Array | None = None, *,
    eps: float,
) -> tuple[Array | None, ...]:  # fmt: skip
    """Return (dx, dw, db), whose statistics are computed once; None by what is None.

    Raises:
        ValueError: the shapes do not fit, or eps is negative.
    """
    both = {"x": (x, ROWS), "grad_output": (grad_output, ROWS)}
    check_letters({**both, "weight": (weight, "c"), "bias": (bias, "c")})
    centred, root = _centred(x, (2,), eps)
    dx = _back(_scaled(grad_output, weight, None, OF_ROWS), centred, root, (2,))
    return dx, *_by_weight_and_bias(grad_output, centred / root, weight, bias, (0, 1))


instance_norm, instance_norm_grad_x, instance_norm_grad_weight, instance_norm_grad_bias = (
    _normalised("instance_norm", PLANES, (2, 3), OF_PLANES, (0, 2, 3))
)


def _root_mean_square(x: Array, eps: float) -> Array:
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    root: Array = np.sqrt(np.square(x).mean(2, keepdims=True) + x.dtype.type(eps))
    return root


@in_float32
def rms_norm(x: Array, weight: Array | None = None, *, eps: float) -> Array:
    """Return every row of x [N, T, C] over the root of its mean square, scaled.

    Raises:
        ValueError: the shapes do not fit, or eps is negative.
    """
    check_letters({"x": (x, ROWS), "weight": (weight, "c")})
    return _scaled(x / _root_mean_square(x, eps), weight, None, OF_ROWS)


@in_float32
def rms_norm_grad_x(
    grad_output: Array, x: Array, weight: Array | None = None, *, eps: float
) -> Array:
    """Return dx [N, T, C] = (g - xhat mean(g xhat)) / root.

    Raises:
        ValueError: as `rms_norm`.
    """
    check_letters({"x": (x, ROWS), "grad_output": (grad_output, ROWS), "weight": (weight, "c")})
    root = _root_mean_square(x, eps)
    grad, xhat = _scaled(grad_output, weight, None, OF_ROWS), x / root
    dx: Array = (grad - xhat * (grad * xhat).mean(2, keepdims=True)) / root
    return dx


@in_float32
def rms_norm_grad_weight(grad_output: Array, x: Array, *, eps: float) -> Array:
    """Return dw [C], summed over all rows.

    Raises:
        ValueError: as `rms_norm`.
    """
    check_letters({"x": (x, ROWS), "grad_output": (grad_output, ROWS)})
    return _summed(grad_output * (x / _root_mean_square(x, eps)), (0, 1))


def _in_groups(array: Array, num_groups: int) -> Array:
    """Return planes [N, G, C/G, H, W] of an array [N, C, H, W].

    Raises:
        ValueError: the groups do not divide the channels.
    """
    images, channels, *plane = array.shape
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"{num_groups} groups do not divide {channels} channels")
    return array.reshape(images, num_groups, channels // num_groups, *plane)


@in_float32
def group_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, num_groups: int,
    eps: float,
) -> Array:  # fmt: skip
    """Return every group of channels of x [N, C, H, W] less its mean, over its deviation, scaled.

    Raises:
        ValueError: the shapes do not fit, the groups do not divide, or eps is negative.
    """
    check_letters({"x": (x, PLANES), "weight": (weight, "c"), "bias": (bias, "c")})
    centred, root = _centred(_in_groups(x, num_groups), (2, 3, 4), eps)
    return _scaled((centred / root).reshape(x.shape), weight, bias, OF_PLANES)


@in_float32
def group_norm_grad_x(
    grad_output: Array, x: Array, weight: Array | None = None, *, num_groups: int, eps: float
) -> Array:
    """Return dx [N, C, H, W].

    Raises:
        ValueError: as `group_norm`.
    """
    check_letters({"x": (x, PLANES), "grad_output": (grad_output, PLANES), "weight": (weight, "c")})
    centred, root = _centred(_in_groups(x, num_groups), (2, 3, 4), eps)
    grad = _in_groups(_scaled(grad_output, weight, None, OF_PLANES), num_groups)
    return _back(grad, centred, root, (2, 3, 4)).reshape(x.shape)


@in_float32
def group_norm_grad_weight(grad_output: Array, x: Array, *, num_groups: int, eps: float) -> Array:
    """Return dw [C], summed over all images and pixels.

    Raises:
        ValueError: as `group_norm`.
    """
    check_letters({"x": (x, PLANES), "grad_output": (grad_output, PLANES)})
    centred, root = _centred(_in_groups(x, num_groups), (2, 3, 4), eps)
    return _summed(grad_output * (centred / root).reshape(x.shape), (0, 2, 3))


group_norm_grad_bias = instance_norm_grad_bias
batch_norm_grad_bias = instance_norm_grad_bias


def _with_statistics(
    x: Array, mean: Array, variance: Array, eps: float, *, training: bool
) -> tuple[Array, Array]:
    """Return x less the mean of its batch or the running one, and the root of the variance."""
    if training:
        return _centred(x, (0, 2, 3), eps)
    if eps < 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    root = np.sqrt(variance + variance.dtype.type(eps))
    return x - mean.reshape(OF_PLANES), root.reshape(OF_PLANES)


@in_float32
def batch_norm(
    x: Array, running_mean: Array, running_var: Array, weight: Array | None = None,
    bias: Array | None = None, *, training: bool, eps: float,
) -> Array:  # fmt: skip
    """Return every channel of x [N, C, H, W] less its mean, over its deviation, scaled.

    Raises:
        ValueError: the shapes do not fit, the batch is empty, or eps is negative.
    """
    check_letters(
        {
            "x": (x, PLANES), "running_mean": (running_mean, "c"),
            "running_var": (running_var, "c"), "weight": (weight, "c"), "bias": (bias, "c"),
        }
    )  # fmt: skip
    centred, root = _with_statistics(x, running_mean, running_var, eps, training=training)
    return _scaled(centred / root, weight, bias, OF_PLANES)


@in_float32
def batch_norm_grad_x(
    grad_output: Array, x: Array, running_mean: Array, running_var: Array,
    weight: Array | None = None, *, training: bool, eps: float,
) -> Array:  # fmt: skip
    """Return dx [N, C, H, W].

    Raises:
        ValueError: as `batch_norm`.
    """
    check_letters(
        {
            "x": (x, PLANES), "grad_output": (grad_output, PLANES),
            "running_mean": (running_mean, "c"), "running_var": (running_var, "c"),
            "weight": (weight, "c"),
        }
    )  # fmt: skip
    centred, root = _with_statistics(x, running_mean, running_var, eps, training=training)
    grad = _scaled(grad_output, weight, None, OF_PLANES)
    if training:
        return _back(grad, centred, root, (0, 2, 3))
    dx: Array = grad / root
    return dx


@in_float32
def batch_norm_grad_weight(
    grad_output: Array, x: Array, running_mean: Array, running_var: Array, *, training: bool,
    eps: float,
) -> Array:  # fmt: skip
    """Return dw [C], summed over all images and pixels.

    Raises:
        ValueError: as `batch_norm`.
    """
    check_letters(
        {
            "x": (x, PLANES), "grad_output": (grad_output, PLANES),
            "running_mean": (running_mean, "c"), "running_var": (running_var, "c"),
        }
    )  # fmt: skip
    centred, root = _with_statistics(x, running_mean, running_var, eps, training=training)
    return _summed(grad_output * (centred / root), (0, 2, 3))


@in_float32
def batch_norm_vjp(
    grad_output: Array, x: Array, running_mean: Array, running_var: Array,
    weight: Array | None = None, bias: Array | None = None, *, training: bool, eps: float,
) -> tuple[Array | None, ...]:  # fmt: skip
    """Return (dx, dw, db), whose statistics are computed once; None by what is None.

    Raises:
        ValueError: as `batch_norm`.
    """
    check_letters(
        {
            "x": (x, PLANES), "grad_output": (grad_output, PLANES),
            "running_mean": (running_mean, "c"), "running_var": (running_var, "c"),
            "weight": (weight, "c"), "bias": (bias, "c"),
        }
    )  # fmt: skip
    centred, root = _with_statistics(x, running_mean, running_var, eps, training=training)
    grad = _scaled(grad_output, weight, None, OF_PLANES)
    dx = _back(grad, centred, root, (0, 2, 3)) if training else grad / root
    return dx, *_by_weight_and_bias(grad_output, centred / root, weight, bias, (0, 2, 3))


@in_float32
def batch_norm_update(
    x: Array, running_mean: Array, running_var: Array, *, momentum: float
) -> tuple[Array, Array]:
    """Return the running mean and variance [C] after a batch x [N, C, H, W].

    Raises:
        ValueError: the shapes do not fit, or a channel has fewer than two numbers.
    """
    check_letters(
        {"x": (x, PLANES), "running_mean": (running_mean, "c"), "running_var": (running_var, "c")}
    )
    if x.size < 2 * x.shape[1]:
        raise ValueError(f"no unbiased variance of x {[*x.shape]}")
    m = x.dtype.type(momentum)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)
    return (1 - m) * running_mean + m * mean, (1 - m) * running_var + m * var
