"""Softmax and cross-entropy; the largest logit of a row is taken off before any exponential."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import check_cross_entropy, check_same_shape

Array: TypeAlias = npt.NDArray[Any]


@in_float32
def softmax(z: Array, *, axis: int) -> Array:
    """Return e^z along `axis`, divided by its sum.

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    shifted = np.exp(z - z.max(axis=axis, keepdims=True))
    p: Array = shifted / shifted.sum(axis=axis, keepdims=True)
    return p


@in_float32
def softmax_grad(grad_output: Array, z: Array, *, axis: int) -> Array:
    """Return dz = p (dp - sum dp p) along `axis`.

    Raises:
        ValueError: the shapes differ, there is no such axis, or nothing on it.
    """
    check_same_shape(grad_output, z)
    p = softmax(z, axis=axis)
    dz: Array = p * (grad_output - (grad_output * p).sum(axis=axis, keepdims=True))
    return dz


@in_float32
def cross_entropy(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return the loss of logits [N, C] and classes [N], summed or averaged over the rows.

    Raises:
        ValueError: the shapes do not fit, a target is no class, `reduction` is unknown, or the
            mean is over nothing.
    """
    check_cross_entropy(logits, target, reduction)
    shifted = logits - logits.max(axis=1, keepdims=True)
    rows = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(target)), target]
    loss = np.asarray(rows.sum(), logits.dtype)
    return np.asarray(loss / len(target), logits.dtype) if reduction == "mean" else loss


@in_float32
def cross_entropy_grad(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return dz [N, C] = softmax(z) - onehot(target), divided by N for the mean.

    Raises:
        ValueError: as `cross_entropy`.
    """
    check_cross_entropy(logits, target, reduction)
    dz = softmax(logits, axis=1)
    dz[np.arange(len(target)), target] -= 1
    if reduction == "mean":
        dz /= len(target)
    return dz
