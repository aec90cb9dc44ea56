"""Planted faults and controls of optimisers' steps, clipped gradients and moving averages."""

from typing import Any

import numpy as np

from tests.planted.fault import half
from tests.planted.indexing import blocks
from tests.planted.table import plant

Array = Any


# -- SGD -------------------------------------------------------------------------------------------


def sgd(
    p: Array, g: Array, b: Array | None, *, learning_rate: float, momentum: float,
    dampening: float, weight_decay: float, nesterov: bool, first: Any = None, update: Any = None,
    decay: Any = None, again: Any = None,
) -> Any:  # fmt: skip
    """Return a step of which one part is another one."""
    kind = p.dtype.type
    m, d = kind(momentum), kind(1 - dampening)
    g = g + kind(weight_decay) * p if decay is None else decay(g, p, kind(weight_decay))
    if b is None:
        new = g if first is None else first(g, d)
    else:
        new = m * b + d * g if again is None else again(m, b, d, g, kind(learning_rate))
    by = g + m * new if nesterov else new
    by = by if update is None else update(by, g, new, b, m, nesterov)
    return p - kind(learning_rate) * by, new


def of_sgd(**parts: Any) -> Any:
    return lambda p, g, b, **o: sgd(p, g, b, **o, **parts)


def decoupled(p: Array, g: Array, b: Array | None, *, weight_decay: float, **o: Any) -> Any:
    after, new = sgd(p, g, b, weight_decay=0.0, **o)
    return after - p.dtype.type(o["learning_rate"] * weight_decay) * p, new


# -- Adam ------------------------------------------------------------------------------------------


def adam(
    p: Array, g: Array, m: Array, v: Array, *, learning_rate: float, beta1: float, beta2: float,
    eps: float, weight_decay: float, step: int, decoupled: bool = False, power: Any = None,
    root: Any = None, first: Any = None, squares: Any = None, rate: Any = None, decay: Any = None,
    returned: Any = None,
) -> Any:  # fmt: skip
    """Return a step of which one part is another one; in float64, rounded at the end."""
    p, g, m, v = (one.astype(np.float64) for one in (p, g, m, v))
    if not decoupled and decay is None:
        g = g + weight_decay * p
    new_m = beta1 * m + (1 - beta1) * g if first is None else first(m, g, beta1)
    new_v = beta2 * v + (1 - beta2) * g * g if squares is None else squares(v, g, beta2)
    one, two = (1 - beta**step if power is None else power(beta, step) for beta in (beta1, beta2))
    over = np.sqrt(new_v / two) + eps if root is None else root(new_v, two, eps)
    by = learning_rate * (new_m / one) / over if rate is None else rate(
        learning_rate, new_m, one, over)  # fmt: skip
    if decay is not None:
        after = decay(p, by, learning_rate, weight_decay)
    else:
        after = (p * (1 - learning_rate * weight_decay) if decoupled else p) - by
    found = (after, new_m, new_v)
    return found if returned is None else returned(found, one, two)


def of_adam(**parts: Any) -> Any:
    return lambda *a, **o: adam(*a, **o, **parts)


IN_BOTH = {
    "forgets_the_bias_corrections": ("formula", "", {"power": lambda b, t: 1.0}),
    "counts_steps_from_0": ("index", "", {
        "power": lambda b, t: 1 - b ** max(t - 1, 1)}),
    "counts_one_step_more": ("index", "", {"power": lambda b, t: 1 - b ** (t + 1)}),
    "corrects_every_step_as_the_first": ("formula", "eriklindernoren/ML-From-Scratch#35", {
        "power": lambda b, t: 1 - b}),
    "adds_eps_under_the_root": ("formula", "d2l-ai/d2l-zh#502", {
        "root": lambda v, c, eps: np.sqrt(v / c + eps)}),
    "corrects_eps_too": ("formula", "karpathy/nanochat#304", {
        "root": lambda v, c, eps: (np.sqrt(v) + eps) / np.sqrt(c)}),
    "forgets_the_root_of_the_correction": ("formula", "", {
        "root": lambda v, c, eps: np.sqrt(v) / c + eps}),
    "forgets_eps": ("option", "", {"root": lambda v, c, eps: np.sqrt(v / c)}),
    "averages_the_gradient_with_the_other_share": ("formula", "", {
        "first": lambda m, g, b: (1 - b) * m + b * g}),
    "adds_the_whole_gradient": ("formula", "", {"first": lambda m, g, b: b * m + g}),
    "forgets_the_square": ("formula", "", {
        "squares": lambda v, g, b: b * v + (1 - b) * abs(g)}),
    "squares_the_average": ("formula", "", {
        "squares": lambda v, g, b: b * v + ((1 - b) * g) ** 2}),
    "squares_in_half_precision": ("precision", "", {
        "squares": lambda v, g, b: b * v + (1 - b) * half(g * g)}),
    "keeps_corrected_averages": ("state", "PennyLaneAI/pennylane#1929", {
        "returned": lambda found, one, two: (found[0], found[1] / one, found[2] / two)}),
    "moves_by_the_old_average": ("formula", "", {
        "rate": lambda lr, m, c, over: lr * m / over}),
    "forgets_the_tail": ("tail", "", {
        "returned": lambda found, *c: tuple(blocks(one, -1, 16) for one in found)}),
    "goes_up": ("sign", "", {"rate": lambda lr, m, c, over: -lr * m / c / over}),
}  # fmt: skip
OF_ADAM = {
    "decouples_the_decay": ("option", "", {
        "decay": lambda p, by, lr, wd: p * (1 - lr * wd) - by}),
    "forgets_the_decay": ("option", "", {"decay": lambda p, by, lr, wd: p - by}),
    "decays_by_the_other_sign": ("sign", "", {"decay": lambda p, by, lr, wd: p + lr * wd * p - by}),
}  # fmt: skip
OF_ADAMW = {
    "couples_the_decay": ("option", "", {"decoupled": False}),
    "forgets_the_decay": ("option", "", {"decay": lambda p, by, lr, wd: p - by}),
    "decays_without_the_rate": ("option", "", {"decay": lambda p, by, lr, wd: p * (1 - wd) - by}),
    "decays_after_the_step": ("formula", "", {
        "decay": lambda p, by, lr, wd: (p - by) * (1 - lr * wd)}),
}  # fmt: skip


# -- clipping and averages -------------------------------------------------------------------------


def clipped(norm: Any = None, share: Any = None, returned: Any = None) -> Any:
    """Return what clips by another norm or another share."""

    def wrong(a: Array, b: Array, *, max_norm: float) -> Any:
        kind = a.dtype.type
        total = np.sqrt((a * a).sum() + (b * b).sum()) if norm is None else norm(a, b)
        by = (np.minimum(kind(max_norm) / (total + kind(1e-6)), kind(1)) if share is None
              else share(total, kind(max_norm), kind))  # fmt: skip
        found = (a * by, b * by, total)
        return found if returned is None else returned(found, a, b, kind(max_norm))

    return wrong


def one_by_one(a: Array, b: Array, *, max_norm: float) -> Any:
    """Clip each gradient by its own norm."""
    kind = a.dtype.type
    found = [
        one * np.minimum(kind(max_norm) / (np.sqrt((one * one).sum()) + kind(1e-6)), kind(1))
        for one in (a, b)
    ]
    return *found, np.sqrt((a * a).sum() + (b * b).sum())


def averaged(of: Any) -> Any:
    return lambda was, now, *, decay: of(was, now, was.dtype.type(decay))


FAULTS = {
    "sgd_momentum_step_dampens_the_first_step": ("state", "ml-explore/mlx#473", of_sgd(
        first=lambda g, d: d * g)),
    "sgd_momentum_step_begins_with_zeros": ("state", "", of_sgd(
        first=lambda g, d: np.zeros_like(g))),
    "sgd_momentum_step_forgets_dampening": ("option", "", of_sgd(
        again=lambda m, b, d, g, lr: m * b + g)),
    "sgd_momentum_step_averages": ("formula", "ml-explore/mlx#87", of_sgd(
        again=lambda m, b, d, g, lr: m * b + (1 - m) * g)),
    "sgd_momentum_step_keeps_steps": ("formula", "", of_sgd(
        again=lambda m, b, d, g, lr: m * b + lr * g)),
    "sgd_momentum_step_looks_ahead_by_the_old_buffer": ("formula", "ml-explore/mlx#87", of_sgd(
        update=lambda by, g, new, b, m, ahead: g + m * (g if b is None else b) if ahead else by)),
    "sgd_momentum_step_never_looks_ahead": ("option", "", of_sgd(
        update=lambda by, g, new, b, m, ahead: new)),
    "sgd_momentum_step_always_looks_ahead": ("option", "", of_sgd(
        update=lambda by, g, new, b, m, ahead: g + m * new)),
    "sgd_momentum_step_looks_ahead_without_momentum": ("formula", "", of_sgd(
        update=lambda by, g, new, b, m, ahead: g + new if ahead else by)),
    "sgd_momentum_step_forgets_the_decay": ("option", "", of_sgd(decay=lambda g, p, wd: g)),
    "sgd_momentum_step_decouples_the_decay": ("option", "", decoupled),
    "sgd_momentum_step_grows_the_weights": ("sign", "", of_sgd(decay=lambda g, p, wd: g - wd * p)),
    "sgd_momentum_step_returns_the_old_buffer": ("state", "", lambda p, g, b, **o: (
        sgd(p, g, b, **o)[0], g.copy() if b is None else b.copy())),
    "sgd_momentum_step_forgets_the_tail": ("tail", "", lambda p, g, b, **o: tuple(
        blocks(one, -1, 16) for one in sgd(p, g, b, **o))),
    "sgd_momentum_step_keeps_half_precision": ("precision", "", lambda p, g, b, **o: tuple(
        half(one) for one in sgd(p, g, b, **o))),
    **{f"adam_step_{what}": (kind, seen, of_adam(**parts))
       for what, (kind, seen, parts) in {**IN_BOTH, **OF_ADAM}.items()},
    **{f"adamw_step_{what}": (kind, seen, of_adam(**{"decoupled": True, **parts}))
       for what, (kind, seen, parts) in {**IN_BOTH, **OF_ADAMW}.items()},
    "clip_grad_norm_clips_each_alone": ("formula", "", one_by_one),
    "clip_grad_norm_takes_the_first_norm": ("formula", "pytorch/pytorch#170862", clipped(
        norm=lambda a, b: np.sqrt((a * a).sum()))),
    "clip_grad_norm_forgets_the_root": ("formula", "paiml/entrenar#311", clipped(
        norm=lambda a, b: (a * a).sum() + (b * b).sum())),
    "clip_grad_norm_adds_norms": ("formula", "", clipped(
        norm=lambda a, b: np.sqrt((a * a).sum()) + np.sqrt((b * b).sum()))),
    "clip_grad_norm_takes_the_largest": ("formula", "", clipped(
        norm=lambda a, b: np.maximum(abs(a).max(initial=0), abs(b).max(initial=0)))),
    "clip_grad_norm_averages_squares": ("divisor", "", clipped(
        norm=lambda a, b: np.sqrt(((a * a).sum() + (b * b).sum()) / (a.size + b.size)))),
    "clip_grad_norm_stretches_small_gradients": ("formula", "pytorch/pytorch#151554", clipped(
        share=lambda n, most, kind: most / (n + kind(1e-6)))),
    "clip_grad_norm_forgets_what_is_added": ("formula", "", clipped(
        share=lambda n, most, kind: np.minimum(most / np.maximum(n, kind(1e-30)), kind(1)))),
    "clip_grad_norm_adds_1e_5": ("formula", "", clipped(
        share=lambda n, most, kind: np.minimum(most / (n + kind(1e-5)), kind(1)))),
    "clip_grad_norm_clips_values": ("formula", "", clipped(
        returned=lambda f, a, b, most: (np.clip(a, -most, most), np.clip(b, -most, most), f[2]))),
    "clip_grad_norm_leaves_the_second": ("formula", "", clipped(
        returned=lambda f, a, b, most: (f[0], b.copy(), f[2]))),
    "clip_grad_norm_returns_the_clipped_norm": ("formula", "", clipped(
        returned=lambda f, a, b, most: (f[0], f[1], np.minimum(f[2], most)))),
    "clip_grad_norm_sums_in_half_precision": ("precision", "", clipped(
        norm=lambda a, b: np.sqrt(half((a * a).sum() + (b * b).sum())))),
    "clip_grad_norm_leaves_out_the_tail": ("tail", "", clipped(
        norm=lambda a, b: np.sqrt((blocks(a, -1, 16) ** 2).sum() + (b * b).sum()))),
    "ema_exchanges_the_shares": ("formula", "", averaged(
        lambda was, now, d: d * now + (1 - d) * was)),
    "ema_adds_the_whole_value": ("formula", "", averaged(lambda was, now, d: d * was + now)),
    "ema_returns_the_value": ("formula", "", averaged(lambda was, now, d: now.copy())),
    "ema_keeps_the_average": ("formula", "", averaged(lambda was, now, d: was.copy())),
    "ema_corrects_the_bias_of_one_step": ("formula", "", averaged(
        lambda was, now, d: (d * was + (1 - d) * now) / np.maximum(1 - d, was.dtype.type(0.5)))),
    "ema_rounds_to_half_precision": ("precision", "", averaged(
        lambda was, now, d: half(d * was + (1 - d) * now))),
    "ema_leaves_out_the_tail": ("tail", "", averaged(
        lambda was, now, d: blocks(d * was + (1 - d) * now, -1, 16))),
    "ema_takes_a_decay_of_three_digits": ("precision", "", averaged(
        lambda was, now, d: np.round(d, 2) * was + (1 - np.round(d, 2)) * now)),
}  # fmt: skip


def apex(p: Array, g: Array, m: Array, v: Array, *, decoupled: bool = False, **o: Any) -> Any:
    """Return a step with the corrections in the step size, as fused kernels have it."""
    kind = p.dtype.type
    lr, b1, b2, t = (o[n] for n in ("learning_rate", "beta1", "beta2", "step"))
    wd = kind(o["weight_decay"])
    g = g if decoupled else g + wd * p
    m, v = m + kind(1 - b1) * (g - m), kind(b2) * v + kind(1 - b2) * g * g
    by = m / (np.sqrt(v) / kind(np.sqrt(1 - b2**t)) + kind(o["eps"])) * kind(lr / (1 - b1**t))
    return (p - kind(lr) * wd * p if decoupled else p) - by, m, v


RIGHT = {
    "sgd_momentum_step_part_by_part": of_sgd(),
    "sgd_momentum_step_in_float64": lambda p, g, b, **o: sgd(
        *(None if one is None else one.astype(np.float64) for one in (p, g, b)), **o),
    "adam_step_in_float64": of_adam(),
    "adam_step_by_a_step_size": apex,
    "adamw_step_in_float64": of_adam(decoupled=True),
    "adamw_step_by_a_step_size": lambda *a, **o: apex(*a, **o, decoupled=True),
    "clip_grad_norm_of_norms": clipped(norm=lambda a, b: np.sqrt(
        np.square(np.sqrt((a * a).sum())) + np.square(np.sqrt((b * b).sum())))),
    "clip_grad_norm_only_where_it_is_large": clipped(
        share=lambda n, most, kind: kind(1) if n + kind(1e-6) <= most else most / (n + kind(1e-6))),
    "ema_by_one_step": averaged(lambda was, now, d: was + (now - was) * (1 - d)),
    "ema_from_the_average": averaged(lambda was, now, d: was - (1 - d) * (was - now)),
}  # fmt: skip


plant(FAULTS, RIGHT)
