"""The cross-entropy of logits and class indices, and its gradient, as loops.

The loss at the end of the documents' networks (002 and 003 call it L and go back from it without
writing it down).  Hidden assumption of 003: whether L is a sum or a mean over the batch, which
decides who divides by the batch size; here `reduction` says so.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from oracle.elementary import either, exp, largest, log, total
from oracle.formula import composed
from oracle.geometry import Array, check_shape
from oracle.loops import run
from oracle.softmax import probabilities

REDUCTIONS = ("mean", "sum")


@composed(images="mixed")
def cross_entropy(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return the loss, a number of no axes, from logits [N, C] and target [N], classes 0 to C-1.

        E = sum_n ( log sum_c e^(z[n,c] - m_n) - (z[n,t_n] - m_n) ),  m_n = max_c z[n,c]
            divided by N for the mean

    (003, the loss L that dZ comes from, as usually written: -log softmax(z)[t]).  dtype follows
    the logits.

    Raises:
        ValueError: the shapes do not fit, a target is no class, `reduction` is unknown, or the
            mean is over nothing.
    """
    _check(logits, target, reduction)
    loss = np.zeros(1, logits.dtype)
    return run(_cross_entropy, loss, logits, target, reduction, products=0).reshape(())


def _cross_entropy(loss: Array, logits: Array, target: Array, reduction: str) -> None:
    rows = [_loss(z, t) for z, t in zip(logits.tolist(), target.tolist(), strict=True)]
    if rows:
        loss[0] = total(rows) / len(rows) if reduction == "mean" else total(rows)


def _loss(z: Sequence[Any], target: int) -> Any:
    top = largest(z)
    return log(total([exp(v - top) for v in z])) - (z[target] - top)


@composed(images="mixed")
def cross_entropy_grad(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return dz = dE/dlogits [N, C].

        dz[n,c] = softmax(z[n])[c] - 1[c = t_n], divided by N for the mean

    (003, the dZ that everything before it starts from; 1[...] is 1 where it holds, else 0).  dtype
    follows the logits.

    Raises:
        ValueError: as `cross_entropy`.
    """
    _check(logits, target, reduction)
    dz = np.zeros(logits.shape, logits.dtype)
    return run(_cross_entropy_grad, dz, logits, target, reduction, products=0)


def _cross_entropy_grad(dz: Array, logits: Array, target: Array, reduction: str) -> None:
    for n, z in enumerate(logits.tolist()):
        row = probabilities(z)
        row[target[n]] = either(row[target[n]] - 1, partial(_less_the_others, row, target[n]))
        for c, p in enumerate(row):
            dz[n, c] = p / len(logits) if reduction == "mean" else p


def _less_the_others(row: Sequence[Any], target: int) -> Any:
    """Return minus the probabilities of all other classes, which is that of the target less 1."""
    others = [p for c, p in enumerate(row) if c != target]
    return -total(others) if others else row[target] - 1


def _check(logits: Array, target: Array, reduction: str) -> None:
    if logits.ndim != 2 or logits.shape[1] < 1:
        raise ValueError(f"logits must be [N, C] with a class at least, got {[*logits.shape]}")
    check_shape("target", target.shape, logits.shape[:1], "the logits' rows demand")
    if target.dtype.kind not in "iu":
        raise ValueError(f"target must hold class indices, integers, got {target.dtype}")
    if target.size and not (target.min() >= 0 and target.max() < logits.shape[1]):
        raise ValueError(
            f"target must hold classes 0 to {logits.shape[1] - 1}, got {target.min()} to "
            f"{target.max()}"
        )
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {[*REDUCTIONS]}, got {reduction!r}")
    if reduction == "mean" and not len(logits):
        raise ValueError("the mean over an empty batch is undefined; use reduction='sum'")
