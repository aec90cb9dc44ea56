"""Softmax and cross-entropy; the largest logit of a row is taken off before any exponential."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def softmax(z: Array, *, axis: int) -> Array:
    """Return e^z along `axis`, divided by its sum.

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    shifted = np.exp(z - z.max(axis=axis, keepdims=True))
    p: Array = shifted / shifted.sum(axis=axis, keepdims=True)
    return p


def softmax_grad(grad_output: Array, z: Array, *, axis: int) -> Array:
    """Return dz = p (dp - sum dp p) along `axis`.

    Raises:
        ValueError: the shapes differ, there is no such axis, or nothing on it.
    """
    if grad_output.shape != z.shape:
        raise ValueError(f"grad_output has shape {grad_output.shape}, but z has {z.shape}")
    p = softmax(z, axis=axis)
    dz: Array = p * (grad_output - (grad_output * p).sum(axis=axis, keepdims=True))
    return dz


def cross_entropy(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return the loss of logits [N, C] and classes [N], summed or averaged over the rows.

    Raises:
        ValueError: the shapes do not fit, a target is no class, `reduction` is unknown, or the
            mean is over nothing.
    """
    _check(logits, target, reduction)
    shifted = logits - logits.max(axis=1, keepdims=True)
    rows = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(target)), target]
    loss = np.asarray(rows.sum(), logits.dtype)
    return np.asarray(loss / len(target), logits.dtype) if reduction == "mean" else loss


def cross_entropy_grad(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return dz [N, C] = softmax(z) - onehot(target), divided by N for the mean.

    Raises:
        ValueError: as `cross_entropy`.
    """
    _check(logits, target, reduction)
    dz = softmax(logits, axis=1)
    dz[np.arange(len(target)), target] -= 1
    if reduction == "mean":
        dz /= len(target)
    return dz


def _check(logits: Array, target: Array, reduction: str) -> None:
    if logits.ndim != 2 or logits.shape[1] < 1 or target.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} must be [N, C] and target {target.shape} [N]")
    if target.size and not (target.min() >= 0 and target.max() < logits.shape[1]):
        raise ValueError(f"target must hold classes 0 to {logits.shape[1] - 1}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    if reduction == "mean" and not len(target):
        raise ValueError("the mean over an empty batch is undefined")
