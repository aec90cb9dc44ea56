"""The cross-entropy of logits and class indices, and its gradient, as loops.

The loss at the end of the documents' networks (002 and 003 call it L and go back from it without
writing it down).  Hidden assumption of 003: whether L is a sum or a mean over the batch, which
decides who divides by the batch size; here `reduction` says so.
"""

from functools import partial
from typing import Any

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, composed, declare_axes
from gradoracle.oracle.formulas.softmax import probabilities
from gradoracle.oracle.numbers.elementary import (
    count,
    each,
    either,
    exp,
    largest,
    log,
    others,
    pick,
    replaced,
    total,
)
from gradoracle.oracle.shapes import Array, check_shape

REDUCTIONS = ("mean", "sum")


def _reduced(rows: Any, reduction: str, count: int) -> Any:
    return total(rows) / count if reduction == "mean" else total(rows)


def _loss(z: Any, target: Any) -> Any:
    """Return the loss of one row."""
    top = largest(z)
    return log(total(each(lambda v: exp(v - top), z))) - (pick(z, target) - top)


def _unshifted_loss(z: Any, target: Any) -> Any:
    """Return the loss of one row from the logarithm of the sum of e^z, rounded."""
    return _log_of_sum(z) - pick(z, target)


def _log_of_sum(z: Any) -> Any:
    top = largest(z)
    return top + log(total(each(lambda v: exp(v - top), z)))


def _loss_in_lanes(call: Call, of_row: Any = _loss) -> Any:
    z = call["logits"]
    rows = of_row(z, call["target"]).as_line()
    return _reduced(rows, call["reduction"], len(call["target"])).shaped(())


@composed(images="mixed", lanes=_loss_in_lanes)
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


@composed(images="mixed", lanes=partial(_loss_in_lanes, of_row=_unshifted_loss))
def unshifted_cross_entropy(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return the loss, a number of no axes, from logits [N, C] and target [N], classes 0 to C-1.

        E = sum_n ( L[n] - z[n,t_n] ),  L[n] = m_n + log sum_c e^(z[n,c] - m_n),
            m_n = max_c z[n,c],  divided by N for the mean

    (as `cross_entropy`, where the contract says that log_sum_exp is unshifted).

    Raises:
        ValueError: as `cross_entropy`.
    """
    _check(logits, target, reduction)
    loss = np.zeros(1, logits.dtype)
    given = (logits, target, reduction)
    return run(_unshifted_cross_entropy, loss, *given, products=0).reshape(())


def _cross_entropy(loss: Array, logits: Array, target: Array, reduction: str) -> None:
    rows = [_loss(z, t) for z, t in zip(logits.tolist(), target.tolist(), strict=True)]
    if rows:
        loss[0] = _reduced(rows, reduction, len(rows))


def _unshifted_cross_entropy(loss: Array, logits: Array, target: Array, reduction: str) -> None:
    rows = [_unshifted_loss(z, t) for z, t in zip(logits.tolist(), target.tolist(), strict=True)]
    if rows:
        loss[0] = _reduced(rows, reduction, len(rows))


def _row_grad(z: Any, target: Any, divisor: int, *, unshifted: bool = False) -> Any:
    """Return dz of one row, divided by a number if that is not 0."""
    p = probabilities(z)
    if unshifted:
        found = _log_of_sum(z)
        p = each(lambda one, v: either(one, partial(_power, v, found)), p, z)
    at_target = pick(p, target)
    less = either(at_target - 1, partial(_less_the_others, at_target, others(p, target)))
    row = replaced(p, target, less)
    return each(lambda v: v / divisor, row) if divisor else row


def _power(v: Any, logarithm: Any) -> Any:
    return exp(v - logarithm)


def _less_the_others(at_target: Any, rest: Any) -> Any:
    """Return minus the probabilities of all other classes, which is that of the target less 1."""
    return -total(rest) if count(rest) else at_target - 1


_unshifted_row_grad = partial(_row_grad, unshifted=True)


def _grad_in_lanes(call: Call, of_row: Any = _row_grad) -> Any:
    target = call["target"]
    return of_row(call["logits"], target, len(target) * (call["reduction"] == "mean"))


@composed(images="mixed", lanes=_grad_in_lanes)
def cross_entropy_grad(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return dz = dE/dlogits [N, C].

        dz[n,c] = softmax(z[n])[c] - 1[c = t_n], divided by N for the mean

    (003, the dZ that everything before it starts from; 1[...] is 1 where it holds, else 0).  dtype
    follows the logits.

    Covered by the bound: what `softmax` covers, and at the target p - 1 as well as minus the sum
    of all other probabilities.

    Raises:
        ValueError: as `cross_entropy`.
    """
    _check(logits, target, reduction)
    dz = np.zeros(logits.shape, logits.dtype)
    return run(_cross_entropy_grad, dz, logits, target, reduction, products=0)


@composed(images="mixed", lanes=partial(_grad_in_lanes, of_row=_unshifted_row_grad))
def unshifted_cross_entropy_grad(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return dz = dE/dlogits [N, C].

        dz[n,c] = e^(z[n,c] - L[n]) - 1[c = t_n], divided by N for the mean
        L[n] = m_n + log sum_c e^(z[n,c] - m_n),  m_n = max_c z[n,c]

    (as `cross_entropy_grad`, where the contract says that log_sum_exp is unshifted).

    Raises:
        ValueError: as `cross_entropy`.
    """
    _check(logits, target, reduction)
    dz = np.zeros(logits.shape, logits.dtype)
    return run(_unshifted_cross_entropy_grad, dz, logits, target, reduction, products=0)


def _cross_entropy_grad(dz: Array, logits: Array, target: Array, reduction: str) -> None:
    divisor = len(logits) if reduction == "mean" else 0
    for n, z in enumerate(logits.tolist()):
        for c, v in enumerate(_row_grad(z, target[n], divisor)):
            dz[n, c] = v


def _unshifted_cross_entropy_grad(dz: Array, logits: Array, target: Array, reduction: str) -> None:
    divisor = len(logits) if reduction == "mean" else 0
    for n, z in enumerate(logits.tolist()):
        for c, v in enumerate(_unshifted_row_grad(z, target[n], divisor)):
            dz[n, c] = v


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


declare_axes(Axes("logits: n c; target: n"), cross_entropy, cross_entropy_grad)
