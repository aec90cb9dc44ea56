"""Losses beside the cross-entropy of softmax, with PyTorch's names and options.

`reduction` is "none" (one number per element, or per row), "mean" or "sum".
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradoracle.oracle.derive import derived
from gradoracle.oracle.numbers.elementary import (
    also,
    detached,
    either,
    log,
    power_of_e,
)
from gradoracle.oracle.numbers.log_sum import (
    log_of_one_plus,
    log_of_powers,
    log_sum_exp,
    logistic,
)
from gradoracle.oracle.numbers.reverse import maximum, where
from gradoracle.oracle.numbers.ways import UNSHIFTED, is_claimed
from gradoracle.oracle.shapes import check_integer

REDUCTIONS = ("none", "mean", "sum")
PAIRS = "input: n c; target: n c; grad_output: n c"


def _reduced(terms: Any, reduction: str) -> Any:
    """Return all terms, their mean or their sum.

    Raises:
        ValueError: `reduction` is unknown, or the mean is over nothing.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {[*REDUCTIONS]}, got {reduction!r}")
    if reduction == "none":
        return terms
    if reduction == "mean" and not terms.size:
        raise ValueError("the mean over nothing is undefined; use reduction='sum'")
    return terms.mean() if reduction == "mean" else terms.sum()


@derived(PAIRS, ("input", "target"))
def mse_loss(input: Any, target: Any, *, reduction: str) -> Any:
    """Return the squared error of input [N, C] and target [N, C]: [N, C], or one number.

        l[n,c] = (input[n,c] - target[n,c])^2,  their mean or sum

    (the mean squared error, as PyTorch's `mse_loss` has it).

    Raises:
        ValueError: `reduction` is unknown, or the mean is over nothing.
    """
    apart = input - target
    return _reduced(apart * apart, reduction)


@derived(PAIRS, ("input", "target"))
def l1_loss(input: Any, target: Any, *, reduction: str) -> Any:
    """Return the absolute error of input [N, C] and target [N, C]: [N, C], or one number.

        l[n,c] = |input[n,c] - target[n,c]|,  their mean or sum;  the slope at 0 is 0

    (the mean absolute error, as PyTorch's `l1_loss` has it).

    Raises:
        ValueError: as `mse_loss`.
    """
    return _reduced(abs(input - target), reduction)


@derived(PAIRS, ("input", "target"))
def huber_loss(input: Any, target: Any, *, reduction: str, delta: float) -> Any:
    """Return the Huber loss of input [N, C] and target [N, C]: [N, C], or one number.

        l[n,c] = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)
        d = input[n,c] - target[n,c],  their mean or sum

    (Huber 1964, "Robust Estimation of a Location Parameter").

    Raises:
        ValueError: as `mse_loss`, or delta is not positive.
    """
    if not delta > 0:
        raise ValueError(f"delta must be positive, got {delta}")
    apart = input - target
    size = abs(apart)
    return _reduced(where(size <= delta, apart * apart / 2, (size - delta / 2) * delta), reduction)


@derived(
    "input: n c; target: n c; pos_weight?: c; grad_output: n c",
    ("input",),
    absent={"pos_weight": 1.0},
)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    pos_weight: Any = None,
    *,
    reduction: str,
) -> Any:
    """Return the loss of logits [N, C], target [N, C] in 0 to 1 and pos_weight [C].

        l[n,c] = -(p t log s(x) + (1 - t) log(1 - s(x))),  s(x) = 1 / (1 + e^-x),  their mean or sum

    with x = input[n,c], t = target[n,c] and p = pos_weight[c], 1 without it
    (the binary cross-entropy of logits, as PyTorch's function of this name has it).

    Raises:
        ValueError: as `mse_loss`.
    """
    below = log_of_one_plus(-input)  # -log s(x)
    on = target if pos_weight is None else 1 + (pos_weight - 1) * target
    if pos_weight is None:
        losses = also((1 - target) * input + below, partial(_by_maximum, input, target))
    else:
        losses = (1 - target) * input + on * below
    return _reduced(either(losses, partial(_by_logistic, input, target, pos_weight)), reduction)


def _by_maximum(x: Any, t: Any) -> Any:
    """Return the same as TensorFlow writes it, max(x, 0) - x t + log(1 + e^-|x|).

    It is as accurate for targets of 0 and 1, and less between them, where x - x t is small.
    """
    return maximum(x, 0) - x * t + log_of_one_plus(-abs(x))


def _by_logistic(x: Any, t: Any, weight: Any) -> Any:
    """Return the same with slopes by the logistic function, s(x) - t.

    With a weight, that is (p t + 1 - t) s(x) - p t, as PyTorch has it, or s(x) (1 - t) - p t s(-x).
    """
    below = log_of_one_plus(-x)
    s = detached(logistic(x))
    factor = t if weight is None else weight * t
    slope = s * (1 - t) - factor * (1 - s)
    if weight is not None:
        slope = also(slope, lambda: ((factor + 1) - t) * s - factor)
    value = detached((1 - t) * x + (below if weight is None else (1 + (weight - 1) * t) * below))
    return value + (x - detached(x)) * slope


@derived(PAIRS, ("input",))
def kl_div(input: Any, target: Any, *, reduction: str, log_target: bool) -> Any:
    """Return the divergence of log-probabilities [N, C] from target [N, C]: [N, C], or one number.

        l[n,c] = t (log t - input[n,c]),  0 where t = 0,  their mean or sum
        t = target[n,c], or e^target[n,c] with log_target

    (Kullback and Leibler 1951, "On Information and Sufficiency", as PyTorch's `kl_div` has it).

    Raises:
        ValueError: as `mse_loss`.
    """
    if log_target:
        return _reduced(power_of_e(target) * (target - input), reduction)
    some = where(target > 0, target, 1)
    losses = either(some * (log(some) - input), lambda: some * log(some) - some * input)
    return _reduced(where(target > 0, losses, 0 * target), reduction)


@derived("input: n c; target: n; weight?: c; grad_output: n", ("input",), absent={"weight": 1.0})
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int,
    reduction: str,
) -> Any:
    """Return the loss of log-probabilities [N, C], classes [N] and weights of classes [C].

        l[n] = -w[t_n] input[n,t_n],  0 where t_n = ignore_index
        their sum, or their mean: the sum over that of w[t_n] of what is not ignored

    (the negative log-likelihood, as PyTorch's `nll_loss` has it).  Without weight, w is 1.

    Raises:
        ValueError: a target is no class and not ignored, `reduction` is unknown, or the mean is
            over nothing.
    """
    rows, taken, weights = _of_targets(input, target, weight, ignore_index)
    terms = -input[rows, taken] * weights
    if reduction != "mean":
        return _reduced(terms, reduction)
    return _over_what_counts(terms, weights, target, ignore_index)


def _over_what_counts(terms: Any, weights: Any, target: Any, ignore_index: int) -> Any:
    """Return the sum of the terms over that of the weights of what is not ignored.

    Raises:
        ValueError: all is ignored.
    """
    if not np.any(target != ignore_index):
        raise ValueError("the mean over nothing is undefined; use reduction='sum'")
    return terms.sum() / weights.sum()


def _of_targets(x: Any, target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Return rows, their classes (0 where ignored), and their weights (0 where ignored)."""
    check_integer("ignore_index", ignore_index, smallest=-(2**31))
    counts = target != ignore_index
    taken = np.where(counts, target, 0)
    if target.dtype.kind not in "iu" or np.any((taken < 0) | (taken >= x.shape[1])):
        raise ValueError(
            f"target must hold classes 0 to {x.shape[1] - 1} or {ignore_index}, got "
            f"{target.dtype} {target.min() if target.size else ''}"
        )
    if weight is None:
        return np.arange(len(target)), taken, x.ones_like(counts)
    return np.arange(len(target)), taken, where(counts, weight[taken], 0)


@derived("input: n c; target: n; weight?: c; grad_output: n", ("input",), absent={"weight": 1.0})
def cross_entropy_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
) -> Any:
    """Return the loss of logits [N, C], classes [N] and weights of classes [C]: [N], or one number.

        l[n] = (1 - s) w[t_n] q[n,t_n] + (s / C) sum_c w[c] q[n,c],  0 where t_n = ignore_index
        q[n,c] = log sum_k e^(input[n,k] - m_n) - (input[n,c] - m_n),  m_n = max_k input[n,k]
        their sum, or their mean: the sum over that of w[t_n] of what is not ignored

    with s = label_smoothing (the cross-entropy, as PyTorch's `cross_entropy` has it for class
    indices; label smoothing is that of Szegedy and others 2015, "Rethinking the Inception
    Architecture for Computer Vision", section 7).  Without weight, w is 1.

    Raises:
        ValueError: as `nll_loss`, or label_smoothing is not between 0 and 1.
    """
    rows, taken, weights = _of_targets(input, target, weight, ignore_index)
    below = _minus_log_softmax(input)
    terms = below[rows, taken] * weights
    smoothing = _share(input, label_smoothing)
    if label_smoothing:
        every = below if weight is None else below * weight
        smooth = every.sum(1) * (smoothing / input.shape[1])
        terms = terms * (1 - smoothing) + smooth
    terms = where(target != ignore_index, terms, 0)
    if reduction != "mean":
        return _reduced(terms, reduction)
    return _over_what_counts(terms, weights, target, ignore_index)


@derived(
    "input: n c; target: n c; weight?: c; grad_output: n", ("input", "target"),
    absent={"weight": 1.0},
)  # fmt: skip
def soft_target_cross_entropy(
    input: Any, target: Any, weight: Any = None, *, label_smoothing: float, reduction: str
) -> Any:
    """Return the loss of logits [N, C], probabilities [N, C] and weights [C]: [N], or one number.

        l[n] = sum_c w[c] ((1 - s) target[n,c] + s / C) q[n,c],  their sum, or their mean over N
        q[n,c] = log sum_k e^(input[n,k] - m_n) - (input[n,c] - m_n),  m_n = max_k input[n,k]

    with s = label_smoothing (the cross-entropy, as PyTorch's `cross_entropy` has it for
    probabilities of classes).  Without weight, w is 1.

    Raises:
        ValueError: label_smoothing is not between 0 and 1, `reduction` is unknown, or the mean is
            over nothing.
    """
    smoothing = _share(input, label_smoothing)
    if label_smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[1]
    terms = _minus_log_softmax(input) * target
    return _reduced((terms if weight is None else terms * weight).sum(1), reduction)


def _share(x: Any, smoothing: float) -> Any:
    """Return the label smoothing as a number of the kind of x.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {smoothing}")
    return x.ones_like(np.ones((1,))) * smoothing


def _minus_log_softmax(x: Any) -> Any:
    """Return minus the logarithms of the probabilities of all classes, by rows."""
    if is_claimed(UNSHIFTED):
        return log_sum_exp(x, 1) - x
    shifted = x - detached(x.max(1, keepdims=True))
    return log_of_powers(shifted, 1) - shifted


DERIVED = (
    binary_cross_entropy_with_logits, cross_entropy_loss, huber_loss, kl_div, l1_loss, mse_loss,
    nll_loss, soft_target_cross_entropy,
)  # fmt: skip
