"""Planted faults and controls of the cross-entropy with PyTorch's options, and of soft targets."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import FULL, Fault, add, checked, control, half, target
from tests.planted.further_losses import picked, reduced

Array = Any
LOSS, SOFT = "cross_entropy_loss", "soft_target_cross_entropy"


def below(x: Array) -> Array:
    """Return minus the logarithms of the probabilities."""
    shifted = x - x.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1, keepdims=True)) - shifted


class Rows(NamedTuple):
    """What a loss of classes is made of."""

    x: Array
    counts: Array  # which rows are not ignored
    taken: Array  # their classes
    weights: Array  # of those
    of_class: Array
    smoothing: Any

    @property
    def rows(self) -> Array:
        return np.arange(len(self.x))


def _rows(x: Array, t: Array, w: Array | None, ignore: int, smoothing: float) -> Rows:
    of_class = np.ones(x.shape[1], x.dtype) if w is None else w
    return Rows(x, *picked(x, t, w, ignore), of_class, x.dtype.type(smoothing))


def _first(r: Rows, q: Array) -> Array:
    return q[r.rows, r.taken] * r.weights


def _every(r: Rows, q: Array) -> Array:
    return (q * r.of_class).sum(1) * r.smoothing / r.x.dtype.type(r.x.shape[1])


def _sum(r: Rows) -> Array:
    return r.weights.sum()


def _masked(r: Rows, terms: Array) -> Array:
    return np.where(r.counts, terms, 0)


def _loss(
    q: Callable[[Array], Array] = below,
    first: Callable[[Rows, Array], Array] = _first,
    every: Callable[[Rows, Array], Array] = _every,
    over: Callable[[Rows], Array] = _sum,
    mask: Callable[[Rows, Array], Array] = _masked,
) -> Callable[..., Array]:
    """Return a loss of classes, one part of it another one."""

    def wrong(x, t, w, *, ignore_index, label_smoothing, reduction):
        r = _rows(x, t, w, ignore_index, label_smoothing)
        of = q(x)
        terms = first(r, of)
        if label_smoothing:
            terms = (1 - r.smoothing) * terms + every(r, of)
        terms = mask(r, terms)
        return terms.sum() / over(r) if reduction == "mean" else reduced(terms, reduction)

    return wrong


def _labels(r: Rows) -> Array:
    labels = np.zeros_like(r.x) + r.smoothing / r.x.dtype.type(r.x.shape[1]) * r.of_class
    labels[r.rows, r.taken] += (1 - r.smoothing) * r.weights
    return labels


def _slope(p: Array, labels: Array) -> Array:
    return p * labels.sum(1, keepdims=True) - labels


def _softmax(x: Array) -> Array:
    return good.softmax(x, axis=1)


def _whole(dy: Array, r: Rows) -> Array:
    del r
    return dy


def _grad(
    p: Callable[[Array], Array] = _softmax,
    labels: Callable[[Rows], Array] = _labels,
    slope: Callable[[Array, Array], Array] = _slope,
    over: Callable[[Rows], Array] = _sum,
    mask: Callable[[Rows, Array], Array] = lambda r, dz: np.where(r.counts[:, None], dz, 0),
    dy: Callable[[Array, Rows], Array] = _whole,
) -> Callable[..., Array]:
    """Return the gradient of a loss of classes, one part of it another one."""

    def wrong(g, x, t, w, *, ignore_index, label_smoothing, reduction):
        r = _rows(x, t, w, ignore_index, label_smoothing)
        share = np.broadcast_to(dy(g, r) / (over(r) if reduction == "mean" else 1), t.shape)
        return share[:, None] * mask(r, slope(p(x), labels(r)))

    return wrong


def _with(name: str, **fixed: Any) -> Callable[..., Array]:
    """Return the right function of other options, where they make a call."""

    def wrong(*arrays, **o):
        try:
            return getattr(good, name)(*arrays, **{**o, **fixed})
        except ValueError:
            return getattr(good, name)(*arrays, **o)

    return wrong


def _over(change: Callable[[Any, int], Any]) -> Callable[[Rows, Array], Array]:
    """Return the smoothing of all classes with its factor changed."""
    return lambda r, q: (q * r.of_class).sum(1) * change(r.smoothing, r.x.shape[1])


def _first_of(dy: Array, r: Rows) -> Array:
    del r
    return dy.ravel()[0]


def _without_weights(r: Rows) -> Array:
    return _labels(r._replace(weights=r.counts.astype(r.x.dtype)))


def _smoothed_over_the_others(r: Rows) -> Array:
    share = r.smoothing * (1 / max(1, r.x.shape[1] - 1) - 1 / r.x.shape[1])
    return _labels(r) + r.x.dtype.type(share) * r.of_class


def _unshifted(x: Array) -> Array:
    return np.log(np.exp(x).sum(1, keepdims=True)) - x


def _soft(
    labels: Callable[..., Array] | None = None,
    over: Callable[[Array, Array], Any] = lambda x, v: len(x),
    q: Callable[[Array], Array] = below,
) -> Callable[..., Array]:
    """Return a loss of probabilities, one part of it another one."""

    def wrong(x, t, w, *, label_smoothing, reduction):
        v = (labels or _soft_labels)(x, t, w, x.dtype.type(label_smoothing))
        terms = (v * q(x)).sum(1)
        return terms.sum() / over(x, v) if reduction == "mean" else reduced(terms, reduction)

    return wrong


def _soft_labels(x: Array, t: Array, w: Array | None, s: Any) -> Array:
    return ((1 - s) * t + s / x.dtype.type(x.shape[1])) * (1 if w is None else w)


def _soft_grad(
    slope: Callable[[Array, Array], Array] = _slope,
    labels: Callable[..., Array] = _soft_labels,
    over: Callable[[Array], Any] = len,
) -> Callable[..., Array]:
    def wrong(dy, x, t, w, *, label_smoothing, reduction):
        v = labels(x, t, w, x.dtype.type(label_smoothing))
        share = np.broadcast_to(dy / (over(x) if reduction == "mean" else 1), len(x))
        return share[:, None] * slope(_softmax(x), v)

    return wrong


def _soft_by_target(q: Callable[[Array], Array] = below, **kept: bool) -> Callable[..., Array]:
    def wrong(dy, x, t, w, *, label_smoothing, reduction):
        share = np.broadcast_to(dy / (len(x) if reduction == "mean" else 1), len(x))
        left = 1 - x.dtype.type(label_smoothing) if kept.get("smoothing", True) else 1
        return share[:, None] * q(x) * left * (w if kept.get("weight", True) and w is not None
                                               else 1)  # fmt: skip

    return wrong


FAULTS: dict[str, tuple[str, str, Callable[..., Array]]] = {
    # of classes
    "mean_counts_what_is_ignored": ("divisor", "linkedin/Liger-Kernel#968", _loss(
        over=lambda r: len(r.x) if (r.of_class == 1).all() else _sum(r))),
    "mean_is_over_all_weights": ("divisor", "pytorch/pytorch#69511", _loss(
        over=lambda r: r.of_class[r.taken].sum())),
    "mean_leaves_weights_out_of_the_divisor": ("divisor", "PaddlePaddle/Paddle#24352", _loss(
        over=lambda r: r.counts.sum())),
    "none_is_summed": ("reduction", "linkedin/Liger-Kernel#421", lambda *a, reduction, **o:
        np.broadcast_to(good.cross_entropy_loss(*a, reduction="sum", **o), a[1].shape)
        if reduction == "none" else good.cross_entropy_loss(*a, reduction=reduction, **o)),
    "smooths_what_is_ignored": ("value", "pytorch/pytorch#73205", _loss(
        mask=lambda r, terms: terms)),
    "smooths_over_the_other_classes": ("value", "OpenNMT/OpenNMT#570", _loss(
        every=_over(lambda s, c: s / max(1, c - 1)))),
    "smoothing_is_not_divided": ("value", "pytorch/pytorch#7455", _loss(every=_over(
        lambda s, c: s))),
    "keeps_all_of_the_target_beside_smoothing": ("value", "", _loss(
        first=lambda r, q: _first(r, q) / (1 - r.smoothing))),
    "smoothing_forgets_weights": ("option", "pytorch/pytorch#69339", _loss(
        every=lambda r, q: _every(r._replace(of_class=np.ones_like(r.of_class)), q))),
    "smoothing_has_the_targets_weight": ("option", "", _loss(every=lambda r, q: _every(
        r._replace(of_class=np.ones_like(r.of_class)), q) * r.weights)),
    "forgets_smoothing": ("option", "", _with(LOSS, label_smoothing=0.0)),
    "forgets_weights": ("option", "", lambda x, t, w, **o: good.cross_entropy_loss(
        x, t, None, **o)),
    "weighs_by_the_next_class": ("index", "", lambda x, t, w, **o: good.cross_entropy_loss(
        x, t, None if w is None else np.roll(w, 1), **o)),
    "weighs_by_the_likeliest_class": ("index", "", _loss(
        first=lambda r, q: q[r.rows, r.taken] * r.of_class[r.x.argmax(1)])),
    "always_ignores_minus_100": ("option", "apache/tvm#8056", _with(LOSS, ignore_index=-100)),
    "multiplies_ignored_rows_by_0": ("nan", "open-lm-engine/lm-engine#505", _loss(
        mask=lambda r, terms: terms * r.counts)),
    "overflows": ("overflow", "pytorch/pytorch#11752", _loss(q=_unshifted)),
    "adds_an_epsilon": ("value", "keras-team/keras#17634", _loss(
        q=lambda x: -np.log(_softmax(x) + x.dtype.type(1e-7)))),
    "forgets_columns_past_1024": ("tail", "", _loss(q=lambda x: np.log(np.exp(
        x - x.max(1, keepdims=True))[:, :1024].sum(1, keepdims=True))
        - (x - x.max(1, keepdims=True)))),
    "adds_rows_in_half_precision": ("precision", "", _loss(mask=lambda r, terms: half(
        _masked(r, terms)))),
    # their gradient
    "grad_counts_what_is_ignored": ("divisor", "linkedin/Liger-Kernel#968", _grad(
        over=lambda r: len(r.x))),
    "grad_leaves_weights_out_of_the_divisor": ("divisor", "PaddlePaddle/Paddle#24352", _grad(
        over=lambda r: r.counts.sum())),
    "grad_lacks_the_weight_of_the_row": ("gradient", "", _grad(labels=_without_weights)),
    "grad_takes_the_first_rows_dy": ("gradient", "linkedin/Liger-Kernel#678", _grad(dy=_first_of)),
    "grad_takes_dy_for_1": ("gradient", "", _grad(dy=lambda dy, r: np.ones_like(dy))),
    "grad_forgets_smoothing": ("gradient", "", _with(f"{LOSS}_grad", label_smoothing=0.0)),
    "grad_smooths_over_the_other_classes": ("gradient", "OpenNMT/OpenNMT#570", _grad(
        labels=_smoothed_over_the_others)),
    "grad_leaves_the_sum_of_labels_out": ("gradient", "NVIDIA-NeMo/Automodel#2428", _grad(
        slope=lambda p, v: p - v)),
    "grad_reaches_what_is_ignored": ("gradient", "", _grad(
        labels=lambda r: _labels(r._replace(weights=r.of_class[r.taken])), mask=lambda r, dz: dz)),
    "grad_smooths_what_is_ignored": ("gradient", "pytorch/pytorch#73205", _grad(
        mask=lambda r, dz: dz)),
    "grad_is_0_where_a_row_is_ignored": ("batch", "linkedin/Liger-Kernel#968", _grad(
        mask=lambda r, dz: np.where(r.counts.all(), dz, 0))),
    "grad_overflows": ("overflow", "FluxML/NNlib.jl#68", _grad(
        p=lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True))),
    "grad_has_the_wrong_sign": ("sign", "", _grad(slope=lambda p, v: -_slope(p, v))),
    "grad_is_kept_in_half_precision": ("precision", "apple/ml-cross-entropy#14", _grad(
        slope=lambda p, v: half(_slope(p, v)))),
}  # fmt: skip
OF_PROBABILITIES: dict[str, tuple[str, str, Callable[..., Array]]] = {
    "takes_the_likeliest_class": ("formula", "", _soft(labels=lambda x, t, w, s: _soft_labels(
        x, (np.arange(x.shape[1]) == t.argmax(1)[:, None]).astype(t.dtype), w, s))),
    "mean_is_over_all_elements": ("divisor", "", _soft(over=lambda x, v: x.size)),
    "mean_is_over_weights": ("divisor", "", _soft(over=lambda x, v: v.sum())),
    "forgets_weights": ("option", "", _soft(labels=lambda x, t, w, s: _soft_labels(
        x, t, None, s))),
    "smooths_after_weights": ("value", "", _soft(labels=lambda x, t, w, s: (1 - s) * t * (
        1 if w is None else w) + s / x.dtype.type(x.shape[1]))),
    "smooths_over_the_other_classes": ("value", "OpenNMT/OpenNMT#570", _soft(
        labels=lambda x, t, w, s: ((1 - s) * t + s / max(1, x.shape[1] - 1)) * (
            1 if w is None else w))),
    "overflows": ("overflow", "", _soft(q=_unshifted)),
    "grad_input_leaves_the_sum_of_labels_out": ("gradient", "NVIDIA-NeMo/Automodel#2428",
        _soft_grad(slope=lambda p, v: p - v)),
    "grad_input_forgets_smoothing": ("gradient", "", _soft_grad(
        labels=lambda x, t, w, s: _soft_labels(x, t, w, s * 0))),
    "grad_input_divides_by_all_elements": ("divisor", "", _soft_grad(over=lambda x: x.size)),
    "grad_target_is_the_logits": ("gradient", "", _soft_by_target(q=lambda x: -x)),
    "grad_target_forgets_smoothing": ("gradient", "", _soft_by_target(smoothing=False)),
    "grad_target_forgets_weights": ("option", "", _soft_by_target(weight=False)),
}  # fmt: skip


def _online(x: Array) -> Array:
    """Return `below` whose sum is scaled down whenever a larger maximum arrives."""
    top, total = x[:, 0].copy(), np.zeros(len(x), x.dtype)
    for column in x.T:
        larger = np.maximum(top, column)
        shrunk = np.where(top == larger, total, total * np.exp(top - larger))
        total = shrunk + np.where(np.isneginf(column), 0, np.exp(column - larger))
        top = larger
    return np.log(total)[:, None] - (x - top[:, None])


def _log_softmax_then_nll(x, t, w, *, ignore_index, label_smoothing, reduction):
    if label_smoothing:
        return good.cross_entropy_loss(
            x, t, w, ignore_index=ignore_index, label_smoothing=label_smoothing,
            reduction=reduction,
        )  # fmt: skip
    y = good.log_softmax(x, axis=1)
    y = np.where((t == ignore_index)[:, None], 0, y)
    return good.nll_loss(y, t, w, ignore_index=ignore_index, reduction=reduction)


def _mean_of_two(x, t, w, *, ignore_index, label_smoothing, reduction):
    """Add the means of the smoothed and of the plain loss, each divided, as PyTorch does."""
    r = _rows(x, t, w, ignore_index, label_smoothing)
    plain, every = _masked(r, _first(r, below(x))), np.zeros(len(x), x.dtype)
    if label_smoothing:
        every = _masked(r, (below(x) * r.of_class).sum(1))
    share, left = r.smoothing / x.dtype.type(x.shape[1]), 1 - r.smoothing
    if reduction == "mean":
        return left * (plain.sum() / _sum(r)) + share * (every.sum() / _sum(r))
    return left * reduced(plain, reduction) + share * reduced(every, reduction)


def _fused(dy, x, t, w, *, ignore_index, label_smoothing, reduction):
    """Scale rows by their share in the forward pass, and by dy in the backward pass, as Liger."""
    r = _rows(x, t, w, ignore_index, label_smoothing)
    share = 1 / _sum(r) if reduction == "mean" else x.dtype.type(1)
    p, eps = _softmax(x), r.smoothing / x.dtype.type(x.shape[1])
    dz = p * (r.weights * (1 - r.smoothing))[:, None]
    dz += eps * (p * r.of_class.sum() - r.of_class) if label_smoothing else 0
    dz[r.rows, r.taken] -= (1 - r.smoothing) * r.weights
    return np.where(r.counts[:, None], dz * share, 0) * np.reshape(dy, (-1, 1))


RIGHT: dict[str, Callable[..., Array]] = {
    f"{LOSS}_by_a_running_maximum": _loss(q=_online),
    f"{LOSS}_of_log_softmax_then_nll": _log_softmax_then_nll,
    f"{LOSS}_is_the_sum_of_two_means": _mean_of_two,
    f"{LOSS}_grad_scales_in_the_forward_pass": _fused,
    f"{LOSS}_grad_by_a_running_maximum": _grad(p=lambda x: np.exp(-_online(x))),
    f"{SOFT}_by_a_running_maximum": _soft(q=_online),
    f"{SOFT}_takes_logits_from_the_logarithm": lambda x, t, w, *, label_smoothing, reduction:
        _soft(labels=lambda x, t, w, s: _soft_labels(x, t, w, s)[:, ::-1],
              q=lambda x: below(x)[:, ::-1])(
            x, t, w, label_smoothing=label_smoothing, reduction=reduction),
    f"{SOFT}_grad_input_subtracts_shares": _soft_grad(
        slope=lambda p, v: p * v.sum(1, keepdims=True) + -v),
    f"{SOFT}_grad_target_of_log_softmax": _soft_by_target(
        q=lambda x: -good.log_softmax(x, axis=1)),
}  # fmt: skip


def _quietly(wrong: Callable[..., Array]) -> Callable[..., Array]:
    def made(first: Array, *arrays: Array, **o: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(wrong(first, *arrays, **o), first.dtype)

    return made


for of, table in ((LOSS, FAULTS), (SOFT, OF_PROBABILITIES)):
    for what, (kind, seen, wrong) in table.items():
        planted = f"{of}_{what}"
        name = target(planted, FULL)
        add(planted, Fault(kind, name, lambda n=name, f=wrong: checked(n, _quietly(f)), seen))
for planted, right in RIGHT.items():
    made = _quietly(right)
    made.__name__ = planted
    control(made)
