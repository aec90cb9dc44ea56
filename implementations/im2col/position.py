"""The bilinear layer and the rotary embedding, and their gradients."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import check_letters, check_rotary, check_same_shape

Array: TypeAlias = npt.NDArray[Any]


@in_float32
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y [N, M], one product of matrices and a sum over what is left.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(input1=input1, input2=input2, weight=weight, bias=bias)
    y: Array = np.matmul(_by_input2(input2, weight), input1[:, :, np.newaxis])[..., 0]
    return y if bias is None else y + bias


def _by_input2(input2: Array, weight: Array) -> Array:
    """Return sum_b weight[m,a,b] input2[n,b], [N, M, A]."""
    outputs, one, other = weight.shape
    flat = input2 @ weight.reshape(outputs * one, other).T
    return flat.reshape(len(input2), outputs, one)


SIDES = {"grad_output": "nm", "input1": "na", "input2": "nb", "weight": "mab", "bias": "m"}


def _check_bilinear(**arrays: Array | None) -> None:
    check_letters({name: (array, SIDES[name]) for name, array in arrays.items()})


@in_float32
def bilinear_grad_input1(grad_output: Array, input2: Array, weight: Array) -> Array:
    """Return sum_m dy[n,m] sum_b weight[m,a,b] input2[n,b].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(grad_output=grad_output, input2=input2, weight=weight)
    each = _by_input2(input2, weight)
    dx: Array = np.matmul(grad_output[:, np.newaxis], each)[:, 0]
    return dx


@in_float32
def bilinear_grad_input2(grad_output: Array, input1: Array, weight: Array) -> Array:
    """Return sum_m dy[n,m] sum_a weight[m,a,b] input1[n,a].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(grad_output=grad_output, input1=input1, weight=weight)
    return bilinear_grad_input1(grad_output, input1, weight.swapaxes(1, 2))


@in_float32
def bilinear_grad_weight(grad_output: Array, input1: Array, input2: Array) -> Array:
    """Return sum_n dy[n,m] input1[n,a] input2[n,b].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(grad_output=grad_output, input1=input1, input2=input2)
    pairs = grad_output[:, :, np.newaxis] * input1[:, np.newaxis]
    outputs, one = pairs.shape[1:]
    dw: Array = pairs.reshape(len(pairs), outputs * one).T @ input2
    return dw.reshape(outputs, one, input2.shape[1])


@in_float32
def bilinear_grad_bias(grad_output: Array) -> Array:
    """Return the sum of dy over the batch.

    Raises:
        ValueError: grad_output does not have two axes.
    """
    check_letters({"grad_output": (grad_output, "nm")})
    db: Array = grad_output.sum(0)
    return db


def bilinear_vjp(
    grad_output: Array, input1: Array, input2: Array, weight: Array, bias: Array | None = None
) -> tuple[Array | None, ...]:
    """Return the gradients by all arguments, None by a bias that is None.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(weight=weight, bias=bias)
    return (
        bilinear_grad_input1(grad_output, input2, weight),
        bilinear_grad_input2(grad_output, input1, weight),
        bilinear_grad_weight(grad_output, input1, input2),
        None if bias is None else bilinear_grad_bias(grad_output),
    )


@in_float32
def rotary_embedding(
    x: Array, cos: Array, sin: Array, *, interleaved: bool, offset: int
) -> Array:  # fmt: skip
    """Return x with its pairs of features turned by the angles of their places.

    Raises:
        ValueError: the shapes do not fit each other, or offset is negative.
    """
    return _turned(x, cos, sin, interleaved, offset, sign=1)


@in_float32
def rotary_embedding_grad(
    grad_output: Array, cos: Array, sin: Array, *, interleaved: bool, offset: int
) -> Array:  # fmt: skip
    """Return dy with its pairs turned back.

    Raises:
        ValueError: as `rotary_embedding`.
    """
    return _turned(grad_output, cos, sin, interleaved, offset, sign=-1)


def _turned(
    x: Array, cos: Array, sin: Array, interleaved: bool, offset: int, *, sign: int  # noqa: FBT001
) -> Array:  # fmt: skip
    check_letters({"x": (x, "nhte"), "cos": (cos, "md")})
    check_same_shape(cos, sin)
    check_rotary(x.shape, cos.shape, offset)
    steps, pairs = x.shape[2], cos.shape[1]
    c, s = (table[offset : offset + steps] for table in (cos, sin))
    s = s if sign > 0 else -s
    even = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    odd = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    y: Array = np.array(x)
    y[..., even] = x[..., even] * c - x[..., odd] * s
    y[..., odd] = x[..., odd] * c + x[..., even] * s
    return y
