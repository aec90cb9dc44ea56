"""Planted faults and controls of the further losses, of log_softmax, GLU and PReLU."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, half
from tests.planted.further_activations import s

Array = Any
BCE = "binary_cross_entropy_with_logits"


def reduced(terms: Array, reduction: str, mean: Callable[[Array], Array] = np.mean) -> Array:
    if reduction == "none":
        return terms
    return mean(terms) if reduction == "mean" else terms.sum()


def share(dy: Array, reduction: str, like: Array) -> Array:
    """Return dE/d(term) of every term."""
    return np.broadcast_to(dy / like.size if reduction == "mean" else dy, like.shape)


def _by_image(terms: Array) -> Array:
    return terms.sum() / len(terms)


def pairs(function: str) -> dict[str, tuple[str, str, Callable[..., Array]]]:
    """Return what goes wrong in any gradient of the losses of two arrays."""
    whole = getattr(good, function)

    def not_divided(dy, x, *rest, reduction, **o):
        return whole(dy, x, *rest, reduction="sum" if reduction == "mean" else reduction, **o)

    def by_image(dy, x, *rest, reduction, **o):
        right = whole(dy, x, *rest, reduction=reduction, **o)
        return right * x.dtype.type(x.shape[1]) if reduction == "mean" else right

    return {
        f"{function}_does_not_divide_for_the_mean": ("reduction", "", not_divided),
        f"{function}_divides_by_the_batch_only": ("reduction", "tracel-ai/burn#4399", by_image),
        f"{function}_takes_dy_for_1": ("gradient", "", lambda dy, *a, **o: whole(
            np.ones_like(dy), *a, **o)),
        f"{function}_divides_none_too": ("reduction", "", lambda dy, x, *a, reduction, **o: whole(
            dy, x, *a, reduction=reduction, **o) / (x.size if reduction == "none" else 1)),
    }  # fmt: skip


def huber(d: Array, delta: Any, *, below: Any = None, above: Any = None) -> Array:
    """Return the Huber loss, one of its sides another one."""
    size, limit = abs(d), d.dtype.type(delta)
    left = d * d / 2 if below is None else below(size, limit)
    right = limit * (size - limit / 2) if above is None else above(size, limit)
    return np.where(size <= limit, left, right)


def _huber(**sides: Any) -> Callable[..., Array]:
    return lambda x, t, *, reduction, delta: reduced(huber(x - t, delta, **sides), reduction)


def _huber_slope(slope: Any) -> Callable[..., Array]:
    return lambda dy, x, t, *, reduction, delta: (
        share(dy, reduction, x) * slope(x - t, x.dtype.type(delta))
    )


def bce(x: Array, t: Array, p: Array | None, *, weigh: Any = None) -> Array:
    below = np.log1p(np.exp(-abs(x))) + np.maximum(-x, 0)
    factor = 1 if p is None else (1 + (p - 1) * t if weigh is None else weigh(t, p))
    return (1 - t) * x + factor * below


def _bce_slope(slope: Any) -> Callable[..., Array]:
    return lambda dy, x, t, p, *, reduction: (
        share(dy, reduction, x) * slope(x, t, x.dtype.type(1) if p is None else p)
    )


def kl(x: Array, t: Array, log_target: Any, *, log: Any = None) -> Array:
    if log_target:
        return np.exp(t) * (t - x)
    return t * ((np.log(t) if log is None else log(t)) - x)


def _kl(mean: Any = np.mean, **how: Any) -> Callable[..., Array]:
    return lambda x, t, *, reduction, log_target: reduced(
        kl(x, t, log_target, **how), reduction, mean
    )


def log_where(t: Array) -> Array:
    return np.log(np.where(t > 0, t, 1))


# -- nll_loss --------------------------------------------------------------------------------------


def picked(x: Array, target: Array, weight: Any, ignore: int) -> tuple[Array, Array, Array]:
    """Return which rows count, their classes, and the weights of those."""
    counts = target != ignore
    taken = np.where(counts, target, 0)
    of = np.ones(x.shape[1], x.dtype) if weight is None else weight
    return counts, taken, np.where(counts, of[taken], 0).astype(x.dtype)


def _nll(divisor: Any) -> Callable[..., Array]:
    def wrong(x, target, weight, *, ignore_index, reduction):
        counts, taken, weights = picked(x, target, weight, ignore_index)
        terms = -x[np.arange(len(x)), taken] * weights
        if reduction == "mean":
            return terms.sum() / divisor(counts, weights, weight)
        return reduced(terms, reduction)

    return wrong


def _nll_grad(divisor: Any = None, *, ignored: Any = None, sign: int = -1) -> Callable[..., Array]:
    def wrong(dy, x, target, weight, *, ignore_index, reduction):
        counts, taken, weights = picked(x, target, weight, ignore_index)
        over = weights.sum() if divisor is None else divisor(counts, weights, weight)
        each = dy / over if reduction == "mean" else dy
        dx, rows = np.zeros_like(x), np.arange(len(x))
        dx[rows, taken] = sign * each * (weights if ignored is None else ignored(weights))
        return dx

    return wrong


def _nll_with(function: str, **fixed: Any) -> Callable[..., Array]:
    """Return the right function of other options, where they make a call."""

    def wrong(*arrays, **o):
        try:
            return getattr(good, function)(*arrays, **{**o, **fixed})
        except ValueError:
            return getattr(good, function)(*arrays, **o)

    return wrong


# -- the tables ------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[str, str, Callable[..., Array]]] = {
    **{name: how for function in (
        "mse_loss_grad_input", "l1_loss_grad_input", "huber_loss_grad_input", f"{BCE}_grad",
        "kl_div_grad",
    ) for name, how in pairs(function).items()},
    # mse_loss, l1_loss
    "mse_loss_is_halved": ("divisor", "", lambda x, t, *, reduction: reduced(
        np.square(x - t) / 2, reduction)),
    "mse_loss_divides_by_the_batch": ("reduction", "tracel-ai/burn#4399",
        lambda x, t, *, reduction: reduced(np.square(x - t), reduction, _by_image)),
    "mse_loss_averages_none": ("reduction", "", lambda x, t, *, reduction: (
        np.square(x - t) / (x.size if reduction == "none" else 1)
        if reduction == "none" else reduced(np.square(x - t), reduction))),
    "mse_loss_expands_the_square": ("precision", "", lambda x, t, *, reduction: reduced(
        x * x - 2 * x * t + t * t, reduction)),
    "mse_loss_adds_in_half_precision": ("precision", "", lambda x, t, *, reduction: reduced(
        half(np.square(x - t)), reduction)),
    "mse_loss_grad_input_forgets_the_2": ("gradient", "", lambda dy, x, t, *, reduction:
        share(dy, reduction, x) * (x - t)),
    "mse_loss_grad_target_has_the_sign_of_input": ("sign", "", lambda dy, x, t, *, reduction:
        good.mse_loss_grad_input(dy, x, t, reduction=reduction)),
    "mse_loss_grad_target_is_nothing": ("gradient", "", lambda dy, x, t, *, reduction:
        np.zeros_like(x)),
    "l1_loss_forgets_the_sign": ("formula", "", lambda x, t, *, reduction: reduced(
        x - t, reduction)),
    "l1_loss_divides_by_the_batch": ("reduction", "", lambda x, t, *, reduction: reduced(
        abs(x - t), reduction, _by_image)),
    "l1_loss_grad_input_is_1_at_0": ("kink", "", lambda dy, x, t, *, reduction:
        share(dy, reduction, x) * np.where(x >= t, 1, -1)),
    "l1_loss_grad_input_is_smooth": ("gradient", "", lambda dy, x, t, *, reduction:
        share(dy, reduction, x) * np.clip(x - t, -1, 1)),
    "l1_loss_grad_target_has_the_sign_of_input": ("sign", "", lambda dy, x, t, *, reduction:
        good.l1_loss_grad_input(dy, x, t, reduction=reduction)),
    "l1_loss_grad_target_is_1_at_0": ("kink", "", lambda dy, x, t, *, reduction:
        share(dy, reduction, x) * np.where(t >= x, 1, -1)),
    # huber_loss
    "huber_loss_is_smooth_l1": ("formula", "", _huber(
        below=lambda d, k: d * d / (2 * k), above=lambda d, k: d - k / 2)),
    "huber_loss_forgets_delta_outside": ("option", "", _huber(above=lambda d, k: d - k / 2)),
    "huber_loss_forgets_the_half": ("formula", "", _huber(below=lambda d, k: d * d)),
    "huber_loss_subtracts_delta_not_its_half": ("formula", "", _huber(
        above=lambda d, k: k * (d - k))),
    "huber_loss_takes_delta_for_1": ("option", "", lambda x, t, *, reduction, delta:
        good.huber_loss(x, t, reduction=reduction, delta=1.0)),
    "huber_loss_grad_input_forgets_delta_outside": ("option", "", _huber_slope(
        lambda d, k: np.where(abs(d) <= k, d, np.sign(d)))),
    "huber_loss_grad_input_is_that_of_smooth_l1": ("formula", "", _huber_slope(
        lambda d, k: np.clip(d / k, -1, 1))),
    "huber_loss_grad_input_never_bends": ("gradient", "", _huber_slope(lambda d, k: d)),
    "huber_loss_grad_target_has_the_sign_of_input": ("sign", "",
        lambda dy, x, t, *, reduction, delta: good.huber_loss_grad_input(
            dy, x, t, reduction=reduction, delta=delta)),
    "huber_loss_grad_target_forgets_delta_outside": ("option", "", _huber_slope(
        lambda d, k: -np.where(abs(d) <= k, d, np.sign(d)))),
    # binary_cross_entropy_with_logits
    f"{BCE}_takes_the_logarithm_of_0": ("overflow", "", lambda x, t, p, *, reduction: reduced(
        -((1 if p is None else p) * t * np.log(s(x)) + (1 - t) * np.log(1 - s(x))), reduction)),
    f"{BCE}_overflows": ("overflow", "", lambda x, t, p, *, reduction: reduced(
        (1 - t) * x + (1 if p is None else 1 + (p - 1) * t) * np.log(1 + np.exp(-x)), reduction)),
    f"{BCE}_forgets_pos_weight": ("option", "", lambda x, t, p, *, reduction: reduced(
        bce(x, t, None), reduction)),
    f"{BCE}_weighs_negatives_too": ("option", "", lambda x, t, p, *, reduction: reduced(
        bce(x, t, None) * (1 if p is None else p), reduction)),
    f"{BCE}_weighs_by_p_t": ("option", "", lambda x, t, p, *, reduction: reduced(
        bce(x, t, p, weigh=lambda t, p: p * t), reduction)),
    f"{BCE}_weighs_rows_not_columns": ("axis", "", lambda x, t, p, *, reduction: reduced(
        bce(x, t, None if p is None else np.resize(p, len(x))[:, np.newaxis]), reduction)),
    f"{BCE}_loses_small_numbers": ("precision", "", lambda x, t, p, *, reduction: reduced(
        np.maximum(x, 0) - x * t + np.log(1 + np.exp(-abs(x))) if p is None else bce(x, t, p),
        reduction)),
    f"{BCE}_grad_forgets_pos_weight": ("option", "", _bce_slope(lambda x, t, p: s(x) - t)),
    f"{BCE}_grad_weighs_the_whole_slope": ("option", "", _bce_slope(
        lambda x, t, p: p * (s(x) - t))),
    f"{BCE}_grad_overflows": ("nan", "", _bce_slope(
        lambda x, t, p: np.exp(x) / (1 + np.exp(x)) * (1 - t) - p * t / (1 + np.exp(x)))),
    f"{BCE}_grad_takes_logits_for_probabilities": ("gradient", "", _bce_slope(
        lambda x, t, p: x - t)),
    f"{BCE}_grad_rounds_the_logistic_function": ("precision", "", _bce_slope(
        lambda x, t, p: half(s(x)) * (1 - t) - p * t * half(s(-x)))),
    # kl_div
    "kl_div_takes_the_logarithm_of_0": ("nan", "linkedin/Liger-Kernel#259", _kl()),
    "kl_div_adds_eps_to_the_target": ("precision", "linkedin/Liger-Kernel#262", _kl(
        log=lambda t: np.log(t + t.dtype.type(1e-10)))),
    "kl_div_bounds_the_target": ("precision", "linkedin/Liger-Kernel#262", _kl(
        log=lambda t: np.log(np.maximum(t, t.dtype.type(1e-3))))),
    "kl_div_divides_by_the_batch": ("reduction", "tracel-ai/burn#4399", _kl(
        _by_image, log=log_where)),
    "kl_div_takes_the_logarithm_of_its_input": ("formula", "linkedin/Liger-Kernel#194",
        lambda x, t, *, reduction, log_target: reduced(
            kl(np.log(abs(x) + (x == 0)), t, log_target, log=log_where), reduction)),
    "kl_div_forgets_the_entropy": ("formula", "", lambda x, t, *, reduction, log_target: reduced(
        -(np.exp(t) if log_target else t) * x, reduction)),
    "kl_div_ignores_log_target": ("option", "", lambda x, t, *, reduction, log_target: reduced(
        np.where(t > 0, kl(x, t, None, log=log_where), 0 * t), reduction)),
    "kl_div_grad_ignores_log_target": ("option", "", lambda dy, x, t, *, reduction, log_target:
        -share(dy, reduction, x) * t),
    "kl_div_grad_forgets_the_sign": ("sign", "", lambda dy, x, t, *, reduction, log_target:
        -good.kl_div_grad(dy, x, t, reduction=reduction, log_target=log_target)),
    "kl_div_grad_works_in_half_precision": ("precision", "",
        lambda dy, x, t, *, reduction, log_target: half(good.kl_div_grad(
            dy, x, t, reduction=reduction, log_target=log_target))),
    # nll_loss
    "nll_loss_counts_what_is_ignored": ("divisor", "PaddlePaddle/Paddle#26019", _nll(
        lambda counts, weights, weight: len(counts) if weight is None else weights.sum())),
    "nll_loss_leaves_weights_out_of_the_divisor": ("divisor", "pytorch/pytorch#31295", _nll(
        lambda counts, weights, weight: counts.sum())),
    "nll_loss_divides_by_all_weights": ("divisor", "", _nll(
        lambda counts, weights, weight: weights.sum() if weight is None else weight.sum())),
    "nll_loss_forgets_weights": ("option", "", lambda x, t, w, **o: good.nll_loss(x, t, None, **o)),
    "nll_loss_always_ignores_minus_100": ("option", "apache/tvm#8056", lambda x, t, w, *,
        ignore_index, reduction: _nll_with("nll_loss", ignore_index=-100)(
            x, t, w, ignore_index=ignore_index, reduction=reduction)),
    "nll_loss_forgets_the_sign": ("sign", "", lambda x, t, w, **o: -good.nll_loss(x, t, w, **o)),
    "nll_loss_sums_for_the_mean": ("reduction", "", lambda x, t, w, *, ignore_index, reduction:
        good.nll_loss(x, t, w, ignore_index=ignore_index,
                      reduction="sum" if reduction == "mean" else reduction)),
    "nll_loss_grad_counts_what_is_ignored": ("divisor", "", _nll_grad(
        lambda counts, weights, weight: len(counts) if weight is None else weights.sum())),
    "nll_loss_grad_leaves_weights_out_of_the_divisor": ("divisor", "pytorch/pytorch#31295",
        _nll_grad(lambda counts, weights, weight: counts.sum())),
    "nll_loss_grad_does_not_divide": ("reduction", "", _nll_grad(
        lambda counts, weights, weight: 1)),
    "nll_loss_grad_reaches_what_is_ignored": ("gradient", "", _nll_grad(
        ignored=lambda weights: np.where(weights == 0, 1, weights))),
    "nll_loss_grad_forgets_weights": ("option", "", _nll_grad(
        ignored=lambda weights: weights != 0)),
    "nll_loss_grad_forgets_the_sign": ("sign", "", _nll_grad(sign=1)),
    "nll_loss_grad_takes_dy_for_1": ("gradient", "", lambda dy, *a, **o: good.nll_loss_grad(
        np.ones_like(dy), *a, **o)),
    # log_softmax
    "log_softmax_takes_no_maximum_off": ("overflow", "tenstorrent/tt-metal#9978",
        lambda z, *, axis: z - np.log(np.exp(z).sum(axis, keepdims=True))),
    "log_softmax_adds_the_maximum_first": ("precision", "pytorch/pytorch#11752",
        lambda z, *, axis: z - (z.max(axis, keepdims=True) + np.log(
            np.exp(z - z.max(axis, keepdims=True)).sum(axis, keepdims=True)))),
    "log_softmax_takes_the_logarithm_of_0": ("overflow", "", lambda z, *, axis:
        np.log(good.softmax(z, axis=axis))),
    "log_softmax_adds_eps": ("precision", "", lambda z, *, axis: np.log(
        good.softmax(z, axis=axis) + z.dtype.type(1e-10))),
    "log_softmax_goes_along_the_last_axis": ("axis", "", lambda z, *, axis: good.log_softmax(
        z, axis=-1)),
    "log_softmax_forgets_columns_past_1024": ("tail", "", lambda z, *, axis: good.log_softmax(
        z, axis=axis) if z.shape[axis] <= 1024 else z - z.max(axis, keepdims=True) - np.log(
        np.take(np.exp(z - z.max(axis, keepdims=True)), range(1024), axis).sum(
            axis, keepdims=True))),
    "log_softmax_adds_in_half_precision": ("precision", "", lambda z, *, axis: (
        z - z.max(axis, keepdims=True)) - np.log(half(np.exp(
            z - z.max(axis, keepdims=True)).sum(axis, keepdims=True)))),
    "log_softmax_grad_is_that_of_softmax": ("gradient", "", lambda dy, z, *, axis:
        good.softmax_grad(dy, z, axis=axis)),
    "log_softmax_grad_forgets_the_sum_of_dy": ("gradient", "", lambda dy, z, *, axis:
        dy - good.softmax(z, axis=axis)),
    "log_softmax_grad_takes_y_for_p": ("gradient", "", lambda dy, z, *, axis:
        dy - good.log_softmax(z, axis=axis) * dy.sum(axis, keepdims=True)),
    "log_softmax_grad_overflows": ("nan", "", lambda dy, z, *, axis: dy - np.exp(z) / np.exp(
        z).sum(axis, keepdims=True) * dy.sum(axis, keepdims=True)),
    "log_softmax_grad_goes_along_the_last_axis": ("axis", "", lambda dy, z, *, axis:
        good.log_softmax_grad(dy, z, axis=-1)),
    # glu
    "glu_exchanges_its_halves": ("orientation", "", lambda z: s(z[:, : z.shape[1] // 2])
        * z[:, z.shape[1] // 2 :]),
    "glu_takes_every_second_column": ("orientation", "", lambda z: z[:, ::2] * s(z[:, 1::2])),
    "glu_is_a_bilinear_one": ("formula", "", lambda z: z[:, : z.shape[1] // 2]
        * z[:, z.shape[1] // 2 :]),
    "glu_overflows": ("nan", "", lambda z: z[:, : z.shape[1] // 2]
        * (np.exp(z[:, z.shape[1] // 2 :]) / (1 + np.exp(z[:, z.shape[1] // 2 :])))),
    "glu_grad_exchanges_its_halves": ("orientation", "", lambda dy, z: np.roll(
        good.glu_grad(dy, z), z.shape[1] // 2, 1)),
    "glu_grad_forgets_the_left_half": ("gradient", "", lambda dy, z: np.concatenate(
        [dy * s(z[:, z.shape[1] // 2 :]),
         dy * (s(z[:, z.shape[1] // 2 :]) * (1 - s(z[:, z.shape[1] // 2 :])))], 1)),
    "glu_grad_does_not_square": ("gradient", "", lambda dy, z: np.concatenate(
        [dy * s(z[:, z.shape[1] // 2 :]),
         dy * z[:, : z.shape[1] // 2] * s(z[:, z.shape[1] // 2 :])], 1)),
    # prelu
    "prelu_has_one_weight": ("option", "", lambda x, w: np.where(x > 0, x, x * w[0])),
    "prelu_weighs_columns_not_channels": ("axis", "flagos-ai/FlagGems#4992", lambda x, w:
        np.where(x > 0, x, x * w[np.arange(x.shape[3]) % len(w)])),
    "prelu_weighs_both_sides": ("formula", "", lambda x, w: x * w.reshape(1, -1, 1, 1)),
    "prelu_takes_the_maximum": ("formula", "", lambda x, w: np.maximum(
        x, x * w.reshape(1, -1, 1, 1))),
    "prelu_grad_x_weighs_columns_not_channels": ("axis", "flagos-ai/FlagGems#4992",
        lambda dy, x, w: np.where(x > 0, dy, dy * w[np.arange(x.shape[3]) % len(w)])),
    "prelu_grad_x_is_1_at_0": ("kink", "", lambda dy, x, w: np.where(
        x >= 0, dy, dy * w.reshape(1, -1, 1, 1))),
    "prelu_grad_x_is_0_on_the_left": ("gradient", "", lambda dy, x, w: np.where(x > 0, dy, 0 * dy)),
    "prelu_grad_x_looks_at_y": ("sign", "", lambda dy, x, w: np.where(
        good.prelu(x, w) > 0, dy, dy * w.reshape(1, -1, 1, 1))),
    "prelu_grad_weight_takes_the_right_side": ("gradient", "", lambda dy, x, w: np.where(
        x >= 0, dy * x, 0).sum((0, 2, 3))),
    "prelu_grad_weight_takes_both_sides": ("gradient", "pytorch/pytorch#128120", lambda dy, x, w:
        (dy * x).sum((0, 2, 3))),
    "prelu_grad_weight_is_of_the_first_image": ("batch", "", lambda dy, x, w: np.where(
        x > 0, 0, dy * x)[:1].sum((0, 2, 3))),
    "prelu_grad_weight_is_the_same_for_all": ("axis", "kulinseth/pytorch#334", lambda dy, x, w:
        np.broadcast_to(np.where(x > 0, 0, dy * x).sum(), w.shape)),
    "prelu_grad_weight_adds_in_half_precision": ("precision", "", lambda dy, x, w: half(np.where(
        x > 0, 0, dy * x)).sum((0, 2, 3))),
}  # fmt: skip

RIGHT: dict[str, Callable[..., Array]] = {
    "mse_loss_by_the_power_function": lambda x, t, *, reduction: reduced((x - t) ** 2, reduction),
    "mse_loss_multiplies_for_the_mean": lambda x, t, *, reduction: reduced(
        np.square(x - t), reduction, lambda v: v.sum() * v.dtype.type(1 / v.size)),
    "mse_loss_grad_input_doubles_dy_first": lambda dy, x, t, *, reduction:
        share(2 * dy, reduction, x) * (x - t),
    "l1_loss_by_maximum": lambda x, t, *, reduction: reduced(np.maximum(x - t, t - x), reduction),
    "l1_loss_divides_each_term": lambda x, t, *, reduction: reduced(
        abs(x - t), reduction, lambda v: (v / v.size).sum()),
    "huber_loss_by_a_minimum": lambda x, t, *, reduction, delta: reduced(
        _by_a_minimum(abs(x - t), x.dtype.type(delta)), reduction),
    "huber_loss_half_first": _huber(below=lambda d, k: d / 2 * d),
    f"{BCE}_by_maximum": lambda x, t, p, *, reduction: reduced(
        np.maximum(x, 0) - x * t + np.log1p(np.exp(-abs(x))) if p is None else bce(x, t, p),
        reduction),
    f"{BCE}_by_logaddexp": lambda x, t, p, *, reduction: reduced(
        (1 - t) * x + (1 if p is None else 1 + (p - 1) * t) * np.logaddexp(x.dtype.type(0), -x),
        reduction),
    f"{BCE}_grad_of_the_logistic_function": lambda dy, x, t, p, *, reduction: (
        share(dy, reduction, x) * (s(x) - t)) if p is None else (
        getattr(good, f"{BCE}_grad")(dy, x, t, p, reduction=reduction)),
    "kl_div_by_xlogy": lambda x, t, *, reduction, log_target: reduced(
        np.exp(t) * (t - x) if log_target else t * log_where(t) - t * x, reduction),
    "kl_div_multiplies_for_the_mean": lambda x, t, *, reduction, log_target: reduced(
        kl(x, t, log_target, log=log_where), reduction,
        lambda v: v.sum() * v.dtype.type(1 / v.size)),
    "nll_loss_divides_each_weight": lambda x, t, w, *, ignore_index, reduction: _divided(
        x, *picked(x, t, w, ignore_index)[1:], reduction),
    "nll_loss_adds_from_the_end": lambda x, t, w, **o: np.flip(good.nll_loss(
        x[::-1], t[::-1], w, **o)),
    "log_softmax_in_one_pass": lambda z, *, axis: _online(z, axis),
    "log_softmax_grad_of_y": lambda dy, z, *, axis: dy - np.exp(
        good.log_softmax(z, axis=axis)) * dy.sum(axis, keepdims=True),
    "glu_as_a_quotient": lambda z: z[:, : z.shape[1] // 2] / (
        1 + np.exp(-z[:, z.shape[1] // 2 :])),
    "glu_grad_of_y": lambda dy, z: np.concatenate(
        [dy * s(z[:, z.shape[1] // 2 :]),
         dy * (good.glu(z) * (1 - s(z[:, z.shape[1] // 2 :])))], 1),
    "prelu_by_maximum_and_minimum": lambda x, w: np.maximum(x, 0)
        + w.reshape(1, -1, 1, 1) * np.minimum(x, 0),
    "prelu_grad_weight_adds_images_last": lambda dy, x, w: np.where(
        x > 0, 0, dy * x).sum((2, 3)).sum(0),
}  # fmt: skip


def _by_a_minimum(size: Array, limit: Any) -> Array:
    """Return the loss as Huber's least squares have it: q^2 / 2 + delta (|d| - q)."""
    most = np.minimum(size, limit)
    return most * most / 2 + limit * (size - most)


def _divided(x: Array, taken: Array, weights: Array, reduction: str) -> Array:
    terms = -x[np.arange(len(x)), taken]
    return (terms * (weights / weights.sum())).sum() if reduction == "mean" else reduced(
        terms * weights, reduction)  # fmt: skip


def _online(z: Array, axis: int) -> Array:
    """Return log_softmax whose sum is scaled down whenever a larger maximum arrives."""
    rows = np.moveaxis(z, axis, 0)
    top, total = rows[0], np.zeros(rows.shape[1:], z.dtype)
    for row in rows:
        larger = np.maximum(top, row)
        safe = np.where(np.isneginf(larger), 0, larger)  # else minus infinity less itself is NaN
        total = total * np.exp(top - safe) + np.exp(row - safe)
        top = larger
    return np.moveaxis(rows - top - np.log(total), 0, axis)


NAMES = (BCE, "glu", "huber_loss", "kl_div", "l1_loss", "log_softmax", "mse_loss", "nll_loss",
         "prelu")  # fmt: skip
SLOPES = ("_grad_input", "_grad_target", "_grad_weight", "_grad_x", "_grad", "")


def _of(planted: str) -> str:
    name = next(n for n in NAMES if planted.startswith(n + "_"))
    return next(n for n in (name + of for of in SLOPES)
                if planted.startswith(n + "_") and hasattr(good, n))  # fmt: skip


def _quietly(wrong: Callable[..., Array]) -> Callable[..., Array]:
    def made(first: Array, *arrays: Array, **o: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(wrong(first, *arrays, **o), first.dtype)

    return made


for planted, (kind, seen, wrong) in FAULTS.items():
    of = _of(planted)
    add(planted, Fault(kind, of, lambda n=of, f=wrong: checked(n, _quietly(f)), seen))
for planted, right in RIGHT.items():
    made = _quietly(right)
    made.__name__ = planted
    control(made)
