"""Losses beside the cross-entropy of softmax, and their gradients, vectorised."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.activations import sigmoid
from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.loss import softmax
from gradoracle.implementations.shapes import check_letters

Array: TypeAlias = npt.NDArray[Any]

REDUCTIONS = ("none", "mean", "sum")


def _reduced(terms: Array, reduction: str) -> Array:
    """Return all terms, their mean or their sum.

    Raises:
        ValueError: `reduction` is unknown, or the mean is over nothing.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if reduction == "none":
        return terms
    if reduction == "mean" and not terms.size:
        raise ValueError("there is no mean of nothing")
    return np.asarray(terms.mean() if reduction == "mean" else terms.sum(), terms.dtype)


def _spread(grad_output: Array, reduction: str, like: Array) -> Array:
    """Return dE/d(term) of every term.

    Raises:
        ValueError: as `_reduced`, or dy does not have the shape of the loss.
    """
    shape = _reduced(like, reduction).shape
    if grad_output.shape != shape:
        raise ValueError(f"grad_output has shape {[*grad_output.shape]}, the loss {[*shape]}")
    share = grad_output / like.dtype.type(like.size) if reduction == "mean" else grad_output
    return np.broadcast_to(share, like.shape)


def _pair(one: Array, other: Array) -> None:
    check_letters({"input": (one, "nc"), "target": (other, "nc")})


@in_float32
def mse_loss(input: Array, target: Array, *, reduction: str) -> Array:
    """Return (input - target)^2 [N, C], their mean or their sum.

    Raises:
        ValueError: the shapes differ, `reduction` is unknown, or the mean is over nothing.
    """
    _pair(input, target)
    return _reduced(np.square(input - target), reduction)


@in_float32
def mse_loss_grad_input(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> Array:
    """Return 2 dy (input - target).

    Raises:
        ValueError: as `mse_loss`, or dy does not have the shape of the loss.
    """
    _pair(input, target)
    apart = input - target
    dx: Array = 2 * _spread(grad_output, reduction, apart) * apart
    return dx


@in_float32
def mse_loss_grad_target(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> Array:
    """Return 2 dy (target - input).

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    return -mse_loss_grad_input(grad_output, input, target, reduction=reduction)


@in_float32
def l1_loss(input: Array, target: Array, *, reduction: str) -> Array:
    """Return |input - target| [N, C], their mean or their sum.

    Raises:
        ValueError: as `mse_loss`.
    """
    _pair(input, target)
    return _reduced(abs(input - target), reduction)


@in_float32
def l1_loss_grad_input(grad_output: Array, input: Array, target: Array, *, reduction: str) -> Array:
    """Return dy sign(input - target).

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    _pair(input, target)
    apart = input - target
    dx: Array = _spread(grad_output, reduction, apart) * np.sign(apart)
    return dx


@in_float32
def l1_loss_grad_target(
    grad_output: Array, input: Array, target: Array, *, reduction: str
) -> Array:
    """Return dy sign(target - input).

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    return -l1_loss_grad_input(grad_output, input, target, reduction=reduction)


def _huber(input: Array, target: Array, delta: float) -> tuple[Array, Any]:
    """Return input - target, and delta in its dtype.

    Raises:
        ValueError: the shapes differ, or delta is not positive.
    """
    _pair(input, target)
    if not delta > 0:
        raise ValueError(f"delta must be positive, got {delta}")
    return input - target, input.dtype.type(delta)


@in_float32
def huber_loss(input: Array, target: Array, *, reduction: str, delta: float) -> Array:
    """Return d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = input - target.

    Raises:
        ValueError: as `mse_loss`, or delta is not positive.
    """
    apart, limit = _huber(input, target, delta)
    size = abs(apart)
    return _reduced(
        np.where(size <= limit, np.square(apart) / 2, limit * (size - limit / 2)), reduction
    )


@in_float32
def huber_loss_grad_input(
    grad_output: Array, input: Array, target: Array, *, reduction: str, delta: float
) -> Array:
    """Return dy d, d = input - target cut off at delta on either side.

    Raises:
        ValueError: as `huber_loss`, or dy does not have the shape of the loss.
    """
    apart, limit = _huber(input, target, delta)
    dx: Array = _spread(grad_output, reduction, apart) * np.clip(apart, -limit, limit)
    return dx


@in_float32
def huber_loss_grad_target(
    grad_output: Array, input: Array, target: Array, *, reduction: str, delta: float
) -> Array:
    """Return minus the gradient by the input.

    Raises:
        ValueError: as `huber_loss_grad_input`.
    """
    return -huber_loss_grad_input(grad_output, input, target, reduction=reduction, delta=delta)


def _logits(input: Array, target: Array, pos_weight: Array | None) -> None:
    arrays = {"input": (input, "nc"), "target": (target, "nc"), "pos_weight": (pos_weight, "c")}
    check_letters(arrays)


@in_float32
def binary_cross_entropy_with_logits(
    input: Array, target: Array, pos_weight: Array | None = None, *, reduction: str
) -> Array:
    """Return the binary cross-entropy of logits [N, C], target [N, C] and pos_weight [C].

    Raises:
        ValueError: as `mse_loss`.
    """
    _logits(input, target, pos_weight)
    below = np.log1p(np.exp(-abs(input))) + np.maximum(-input, 0)
    factor = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
    return _reduced((1 - target) * input + factor * below, reduction)


@in_float32
def binary_cross_entropy_with_logits_grad(
    grad_output: Array, input: Array, target: Array, pos_weight: Array | None = None, *,
    reduction: str,
) -> Array:  # fmt: skip
    """Return dy (s (1 - t) - p t (1 - s)), s the logistic function of the logits.

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    _logits(input, target, pos_weight)
    share = _spread(grad_output, reduction, input)
    on = target if pos_weight is None else pos_weight * target
    dx: Array = share * (sigmoid(input) * (1 - target) - on * sigmoid(-input))
    return dx


@in_float32
def kl_div(input: Array, target: Array, *, reduction: str, log_target: bool) -> Array:
    """Return t (log t - input) [N, C], 0 where t = 0, their mean or their sum.

    Raises:
        ValueError: as `mse_loss`.
    """
    _pair(input, target)
    if log_target:
        return _reduced(np.exp(target) * (target - input), reduction)
    some = np.where(target > 0, target, target.dtype.type(1))
    terms = some * (np.log(some) - input)
    return _reduced(np.where(target > 0, terms, 0 * target), reduction)


@in_float32
def kl_div_grad(
    grad_output: Array, input: Array, target: Array, *, reduction: str, log_target: bool
) -> Array:
    """Return -dy t.

    Raises:
        ValueError: as `mse_loss_grad_input`.
    """
    _pair(input, target)
    share = _spread(grad_output, reduction, input)
    if log_target:
        return -(share * np.exp(target))
    return np.where(target > 0, -(share * target), share.dtype.type(0))


def _classes(
    input: Array, target: Array, weight: Array | None, ignore_index: int
) -> tuple[Array, Array]:
    """Return the class of each row, and its weight: 0 of what is ignored.

    Raises:
        ValueError: the shapes do not fit, or a target is no class and not ignored.
    """
    check_letters({"input": (input, "nc"), "target": (target, "n"), "weight": (weight, "c")})
    counts = target != ignore_index
    taken = np.where(counts, target, 0)
    if target.dtype.kind not in "iu" or np.any((taken < 0) | (taken >= input.shape[1])):
        raise ValueError("target must hold classes or ignore_index")
    of_class = np.ones(input.shape[1], input.dtype) if weight is None else weight
    return taken, np.where(counts, of_class[taken], input.dtype.type(0))


def _mean_over(weights: Array, target: Array, ignore_index: int) -> Array:
    if not np.any(target != ignore_index):
        raise ValueError("there is no mean of nothing")
    total: Array = weights.sum()
    return total


@in_float32
def nll_loss(
    input: Array, target: Array, weight: Array | None = None, *, ignore_index: int, reduction: str
) -> Array:
    """Return -w[t] input[n, t] [N], their sum, or that over the sum of the weights.

    Raises:
        ValueError: the shapes do not fit, a target is no class and not ignored, `reduction` is
            unknown, or the mean is over nothing.
    """
    taken, weights = _classes(input, target, weight, ignore_index)
    terms = -input[np.arange(len(target)), taken] * weights
    if reduction != "mean":
        return _reduced(terms, reduction)
    return np.asarray(terms.sum() / _mean_over(weights, target, ignore_index), input.dtype)


@in_float32
def nll_loss_grad(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    ignore_index: int, reduction: str,
) -> Array:  # fmt: skip
    """Return -dy w[t] at the target of each row, else 0.

    Raises:
        ValueError: as `nll_loss`, or dy does not have the shape of the loss.
    """
    taken, weights = _classes(input, target, weight, ignore_index)
    share = _spread(grad_output, "sum" if reduction == "mean" else reduction, weights)
    if reduction == "mean":
        share = share / _mean_over(weights, target, ignore_index)
    dx = np.zeros(input.shape, input.dtype)
    dx[np.arange(len(target)), taken] = -(share * weights)
    return dx


def _with_smoothing(smoothing: float, logits: Array) -> Any:
    """Return the label smoothing in the dtype of the logits.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {smoothing}")
    return logits.dtype.type(smoothing)


def _minus_log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    below: Array = np.log(np.exp(shifted).sum(1, keepdims=True)) - shifted
    return below


@in_float32
def cross_entropy_loss(
    input: Array, target: Array, weight: Array | None = None, *, ignore_index: int,
    label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return the cross-entropy of logits [N, C] and classes [N], which has PyTorch's options.

    Raises:
        ValueError: as `nll_loss`, or label_smoothing is not between 0 and 1.
    """
    taken, weights = _classes(input, target, weight, ignore_index)
    smoothing, below = _with_smoothing(label_smoothing, input), _minus_log_softmax(input)
    terms = below[np.arange(len(target)), taken] * weights
    if label_smoothing:
        every = (below if weight is None else below * weight).sum(1)
        terms = (1 - smoothing) * terms + smoothing / input.dtype.type(input.shape[1]) * every
    terms = np.where(target == ignore_index, input.dtype.type(0), terms)
    if reduction != "mean":
        return _reduced(terms, reduction)
    return np.asarray(terms.sum() / _mean_over(weights, target, ignore_index), input.dtype)


@in_float32
def cross_entropy_loss_grad(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return dy (p W - v), where v[c] are the weights of the labels [N, C], and W their sums.

    Raises:
        ValueError: as `cross_entropy_loss`, or dy does not have the shape of the loss.
    """
    taken, weights = _classes(input, target, weight, ignore_index)
    smoothing = _with_smoothing(label_smoothing, input)
    share = _spread(grad_output, "sum" if reduction == "mean" else reduction, weights)
    if reduction == "mean":
        share = share / _mean_over(weights, target, ignore_index)
    labels = np.zeros(input.shape, input.dtype)
    if label_smoothing:
        labels += smoothing / input.dtype.type(input.shape[1]) * (1 if weight is None else weight)
    labels[np.arange(len(target)), taken] += (1 - smoothing) * weights
    dz = softmax(input, axis=1) * labels.sum(1, keepdims=True) - labels
    counts = (target != ignore_index)[:, np.newaxis]
    dx: Array = np.where(counts, share[:, np.newaxis] * dz, input.dtype.type(0))
    return dx


def _soft(input: Array, target: Array, weight: Array | None, smoothing: float) -> Array:
    """Return the smoothed labels [N, C] times the weights of the classes.

    Raises:
        ValueError: the shapes do not fit, or label_smoothing is not between 0 and 1.
    """
    check_letters({"input": (input, "nc"), "target": (target, "nc"), "weight": (weight, "c")})
    of = _with_smoothing(smoothing, input)
    labels: Array = (1 - of) * target + of / input.dtype.type(input.shape[1])
    if weight is not None:
        labels = labels * weight
    return labels


def _spread_rows(grad_output: Array, reduction: str, like: Array) -> Array:
    """Return dE/d(loss) of every row [N, 1]."""
    share: Array = _spread(grad_output, reduction, like[:, 0])[:, np.newaxis]
    return share


@in_float32
def soft_target_cross_entropy(
    input: Array, target: Array, weight: Array | None = None, *, label_smoothing: float,
    reduction: str,
) -> Array:  # fmt: skip
    """Return the cross-entropy of logits [N, C] and probabilities [N, C].

    Raises:
        ValueError: the shapes do not fit, label_smoothing is not between 0 and 1, `reduction` is
            unknown, or the mean is over nothing.
    """
    labels = _soft(input, target, weight, label_smoothing)
    return _reduced((labels * _minus_log_softmax(input)).sum(1), reduction)


@in_float32
def soft_target_cross_entropy_grad_input(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return dy (p V - v), v the labels with their weights, V the sums of their rows.

    Raises:
        ValueError: as `soft_target_cross_entropy`, or dy does not have the shape of the loss.
    """
    labels = _soft(input, target, weight, label_smoothing)
    dz = softmax(input, axis=1) * labels.sum(1, keepdims=True) - labels
    dx: Array = _spread_rows(grad_output, reduction, input) * dz
    return dx


@in_float32
def soft_target_cross_entropy_grad_target(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return -dy w (1 - label_smoothing) log softmax(input).

    Raises:
        ValueError: as `soft_target_cross_entropy_grad_input`.
    """
    _soft(input, target, weight, label_smoothing)
    each: Array = _spread_rows(grad_output, reduction, input) * _minus_log_softmax(input)
    each = each * (1 - _with_smoothing(label_smoothing, input))
    if weight is not None:
        each = each * weight
    return each
