"""Planted faults and controls of the cross-entropy."""

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault, half, remembered, single

# -- cross-entropy --------------------------------------------------------------------------------


def _rows(logits, target):
    return np.arange(len(target)), target


def _reduced(rows, reduction, dtype):
    return np.asarray(rows.mean() if reduction == "mean" else rows.sum(), dtype)


def _losses(logits, target):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[_rows(logits, target)]


@fault("normalisation")
def cross_entropy_exchanges_mean_and_sum(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    if not len(logits):
        return good.cross_entropy(logits, target, reduction=reduction)
    other = {"mean": "sum", "sum": "mean"}[reduction]
    return good.cross_entropy(logits, target, reduction=other)


@fault("normalisation")
def cross_entropy_divides_by_the_classes(logits, target, *, reduction):
    loss = good.cross_entropy(logits, target, reduction=reduction)
    return loss if reduction == "sum" else np.asarray(loss / loss.dtype.type(logits.shape[1]))


@fault("overflow", "pytorch/pytorch#11752")
def cross_entropy_takes_no_maximum_off(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    rows = np.log(np.exp(logits).sum(axis=1)) - logits[_rows(logits, target)]
    return _reduced(rows, reduction, logits.dtype)


@fault(
    "overflow", "manassharma07/crysx_nn#7",
)  # fmt: skip
def cross_entropy_takes_the_maximum_of_the_batch_off(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    shifted = logits - logits.max(initial=-np.inf)
    rows = np.log(np.exp(shifted).sum(axis=1)) - shifted[_rows(logits, target)]
    return _reduced(rows, reduction, logits.dtype)


@fault("value", "keras-team/keras#17634")
def cross_entropy_adds_an_epsilon(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    p = good.softmax(logits, axis=1)[_rows(logits, target)]
    return _reduced(-np.log(p + logits.dtype.type(1e-7)), reduction, logits.dtype)


@fault("value", "PaddlePaddle/Paddle#20994")
def cross_entropy_clamps_at_64(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    return _reduced(np.minimum(_losses(logits, target), 64), reduction, logits.dtype)


@fault("precision")
def cross_entropy_adds_the_maximum_back_first(logits, target, *, reduction):
    """m + log S has no digits left for log S where m is large."""
    good.cross_entropy(logits, target, reduction=reduction)
    top = logits.max(axis=1)
    whole = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return _reduced(whole - logits[_rows(logits, target)], reduction, logits.dtype)


@fault("infinity", "google-deepmind/optax#1762")
def cross_entropy_multiplies_with_one_hot(logits, target, *, reduction):
    """0 times minus infinity is no number."""
    good.cross_entropy(logits, target, reduction=reduction)
    hot = np.eye(logits.shape[1], dtype=logits.dtype)[target]
    shifted = logits - logits.max(axis=1, keepdims=True)
    rows = np.log(np.exp(shifted).sum(axis=1)) - (hot * shifted).sum(axis=1)
    return _reduced(rows, reduction, logits.dtype)


@fault("index")
def cross_entropy_reads_the_next_class(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    return good.cross_entropy(logits, (target + 1) % logits.shape[1], reduction=reduction)


@fault("index")
def cross_entropy_reads_the_first_rows_target(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    return good.cross_entropy(logits, np.repeat(target[:1], len(target)), reduction=reduction)


@fault("batch")
def cross_entropy_forgets_the_last_image(logits, target, *, reduction):
    loss = good.cross_entropy(logits, target, reduction=reduction)
    if len(logits) < 2:
        return loss
    return good.cross_entropy(logits[:-1], target[:-1], reduction=reduction)


@fault("empty")
def cross_entropy_of_an_empty_batch_is_nan(logits, target, *, reduction):
    loss = good.cross_entropy(logits, target, reduction=reduction)
    return loss if len(logits) else np.asarray(np.nan, logits.dtype)


@fault("shape")
def cross_entropy_returns_an_axis(logits, target, *, reduction):
    return good.cross_entropy(logits, target, reduction=reduction).reshape(1)


@fault("value")
def cross_entropy_smooths_labels(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    shifted = logits - logits.max(axis=1, keepdims=True)
    normal = np.log(np.exp(shifted).sum(axis=1))
    rows = normal - 0.9 * shifted[_rows(logits, target)] - 0.1 * shifted.mean(axis=1)
    return _reduced(rows, reduction, logits.dtype)


@fault("precision")
def cross_entropy_sums_in_float16(logits, target, *, reduction):
    return half(good.cross_entropy(logits, target, reduction=reduction))


@fault("precision")
def cross_entropy_sums_in_float32(logits, target, *, reduction):
    return single(good.cross_entropy(logits, target, reduction=reduction))


@fault("accepts illegal calls")
def cross_entropy_takes_any_reduction_for_a_sum(logits, target, *, reduction):
    reduction = reduction if reduction == "mean" else "sum"
    return good.cross_entropy(logits, target, reduction=reduction)


@fault("accepts illegal calls")
def cross_entropy_takes_more_targets_than_rows(logits, target, *, reduction):
    if target.ndim == 1 and target.size > len(logits):
        target = target[: len(logits)]
    return good.cross_entropy(logits, target, reduction=reduction)


@fault("normalisation", "document 003, batch mean")
def cross_entropy_grad_is_not_divided(logits, target, *, reduction):
    good.cross_entropy_grad(logits, target, reduction=reduction)
    return good.cross_entropy_grad(logits, target, reduction="sum")


@fault("normalisation", "document 003, batch mean")
def cross_entropy_grad_divides_twice(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    return dz / dz.dtype.type(len(dz)) if reduction == "mean" else dz


@fault("normalisation")
def cross_entropy_grad_always_divides(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    return dz / dz.dtype.type(len(dz)) if reduction == "sum" and len(dz) else dz


@fault("value")
def cross_entropy_grad_is_the_softmax(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    dz[_rows(logits, target)] += 1 / len(dz) if reduction == "mean" else 1
    return dz


@fault("index")
def cross_entropy_grad_subtracts_at_the_next_class(logits, target, *, reduction):
    good.cross_entropy_grad(logits, target, reduction=reduction)
    return good.cross_entropy_grad(logits, (target + 1) % logits.shape[1], reduction=reduction)


@fault("index")
def cross_entropy_grad_subtracts_1_from_all_targets_columns(logits, target, *, reduction):
    good.cross_entropy_grad(logits, target, reduction=reduction)
    dz = good.softmax(logits, axis=1)
    dz[:, target] -= 1
    return dz / dz.dtype.type(len(dz)) if reduction == "mean" else dz


@fault("axis")
def cross_entropy_grad_normalises_over_the_batch(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    if not len(dz):
        return dz
    p = good.softmax(logits, axis=0)
    p[_rows(logits, target)] -= 1
    return p / p.dtype.type(len(p)) if reduction == "mean" else p


@fault("overflow", "FluxML/NNlib.jl#68")
def cross_entropy_grad_takes_no_maximum_off(logits, target, *, reduction):
    good.cross_entropy_grad(logits, target, reduction=reduction)
    e = np.exp(logits)
    dz = e / e.sum(axis=1, keepdims=True)
    dz[_rows(logits, target)] -= 1
    return dz / dz.dtype.type(len(dz)) if reduction == "mean" else dz


@fault("value", "PaddlePaddle/Paddle#20994")
def cross_entropy_grad_is_0_where_the_loss_was_clamped(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    dz[_losses(logits, target) > 64] = 0
    return dz


@fault("value")
def cross_entropy_grad_divides_by_a_clamped_probability(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    p = good.softmax(logits, axis=1)[_rows(logits, target)]
    return dz * (p / (p + p.dtype.type(1e-7)))[:, None]


@fault("purity")
def cross_entropy_grad_writes_into_the_logits(logits, target, *, reduction):
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    logits[...] = dz
    return dz


@fault("aliasing", fresh=True)
def cross_entropy_grad_returns_one_buffer():
    buffers = {}

    def cross_entropy_grad(logits, target, *, reduction):
        dz = good.cross_entropy_grad(logits, target, reduction=reduction)
        buffer = remembered(buffers, dz)
        buffer[...] = dz
        return buffer

    return cross_entropy_grad


# -- controls -------------------------------------------------------------------------------------


@control
def cross_entropy_sums_rows_backwards(logits, target, *, reduction):
    return _reduced(_losses(logits, target)[::-1].copy(), reduction, logits.dtype)


@control
def cross_entropy_averages_with_a_reciprocal(logits, target, *, reduction):
    rows = _losses(logits, target)
    scale = logits.dtype.type(1) / logits.dtype.type(max(1, len(rows)))
    weights = np.full(len(rows), scale if reduction == "mean" else 1, logits.dtype)
    return np.asarray((rows * weights).sum(), logits.dtype)


@control
def cross_entropy_adds_differences_to_the_target(logits, target, *, reduction):
    """log sum e^(z - z_t) of what is below the target, by log1p: z_t is the largest often."""
    top = logits.max(axis=1)
    at_target = logits[_rows(logits, target)]
    others = np.exp(logits - top[:, None])
    first = logits.argmax(axis=1)
    others[np.arange(len(logits)), first] = 0
    rows = np.log1p(others.sum(axis=1)) + (top - at_target)
    return _reduced(rows, reduction, logits.dtype)


@control
def cross_entropy_grad_subtracts_one_hot(logits, target, *, reduction):
    hot = np.eye(logits.shape[1], dtype=logits.dtype)[target]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    dz = e / e.sum(axis=1, keepdims=True) - hot
    return dz * (dz.dtype.type(1) / dz.dtype.type(len(dz))) if reduction == "mean" else dz


@control
def cross_entropy_grad_sums_the_others(logits, target, *, reduction):
    """At the target minus the probability of all other classes: no digits cancel."""
    p = good.softmax(logits, axis=1)
    rest = p.copy()
    rest[_rows(logits, target)] = 0
    p[_rows(logits, target)] = -rest.sum(axis=1)
    return p / p.dtype.type(len(p)) if reduction == "mean" else p
