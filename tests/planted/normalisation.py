"""Planted faults and controls of the normalisations: layer, RMS, batch, group and instance norm.

Most ideas go wrong in the same way in all of them, so each is written once, for arrays whose
`axes` are normalised: in the statistics, in dx, or in what is summed over all rows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, fault, half, remembered, single

Array = Any
ROWS, PLANES = (1, 1, -1), (1, -1, 1, 1)


class Layout(NamedTuple):
    """What one operator normalises along, how weights lie beside x, what their gradients sum."""

    axes: tuple[int, ...]
    beside: tuple[int, ...]
    summed: tuple[int, ...]


LAYOUTS = {
    "layer_norm": Layout((2,), ROWS, (0, 1)),
    "batch_norm": Layout((0, 2, 3), PLANES, (0, 2, 3)),
    "instance_norm": Layout((2, 3), PLANES, (0, 2, 3)),
    "group_norm": Layout((2, 3, 4), PLANES, (0, 2, 3)),
}


def in_groups(x: Array, groups: int | None) -> Array:
    """Return x [N, C, H, W] with its channels in groups, if there are any."""
    if groups is None:
        return x
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def scaled(y: Array, weight: Array | None, bias: Array | None, beside: tuple[int, ...]) -> Array:
    y = y if weight is None else y * weight.reshape(beside)
    return y if bias is None else y + bias.reshape(beside)


def moments(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """Return the mean and sqrt(variance + eps)."""
    mean = x.mean(axes, keepdims=True)
    return mean, np.sqrt(np.square(x - mean).mean(axes, keepdims=True) + x.dtype.type(eps))


def normalised(how: Layout, statistics: Any, x: Array, rest: Any, groups: Any, eps: float) -> Array:
    wide = in_groups(x, groups)
    mean, root = statistics(wide, how.axes, eps)
    y = ((wide - mean) / root).reshape(x.shape)
    return scaled(y, *rest, how.beside).astype(x.dtype)


def back(g: Array, xhat: Array, root: Array, axes: tuple[int, ...]) -> Array:
    """Return dx from d(xhat)."""
    along = (g * xhat).mean(axes, keepdims=True)
    return (g - g.mean(axes, keepdims=True) - xhat * along) / root


# -- the statistics -------------------------------------------------------------------------------


def takes_the_unbiased_variance(x, axes, eps):
    count = np.prod([x.shape[a] for a in axes])
    mean, _ = moments(x, axes, eps)
    variance = np.square(x - mean).sum(axes, keepdims=True) / x.dtype.type(max(count - 1, 1))
    return mean, np.sqrt(variance + x.dtype.type(eps))


def adds_eps_outside_the_root(x, axes, eps):
    mean, _ = moments(x, axes, eps)
    variance = np.square(x - mean).mean(axes, keepdims=True)
    return mean, np.maximum(np.sqrt(variance) + x.dtype.type(eps), x.dtype.type(1e-30))


def adds_eps_only_where_the_variance_is_small(x, axes, eps):
    mean, root = moments(x, axes, eps)
    deviation = np.sqrt(np.square(x - mean).mean(axes, keepdims=True))
    return mean, np.where(deviation > 1e-2, deviation, root)


def takes_the_variance_in_one_pass(x, axes, eps):
    mean = x.mean(axes, keepdims=True)
    variance = np.square(x).mean(axes, keepdims=True) - np.square(mean)
    return mean, np.sqrt(np.maximum(variance, 0) + x.dtype.type(eps))


def lets_its_one_pass_variance_be_negative(x, axes, eps):
    mean = x.mean(axes, keepdims=True)
    variance = np.square(x).mean(axes, keepdims=True) - np.square(mean)
    return mean, np.sqrt(variance + x.dtype.type(eps))


def counts_the_masked_tail_in_the_variance(x, axes, eps):
    """Elements past the end are loaded as 0 and count as (0 - mean)^2, up to a power of two."""
    count = int(np.prod([x.shape[a] for a in axes]))
    more = (1 << (count - 1).bit_length()) - count
    mean = x.mean(axes, keepdims=True)
    spoilt = np.square(x - mean).sum(axes, keepdims=True) + more * np.square(mean)
    return mean, np.sqrt(spoilt / x.dtype.type(count) + x.dtype.type(eps))


def leaves_the_tail_out_of_the_mean(x, axes, eps):
    """The last axis in blocks of 64, of which an incomplete last one is left out."""
    most = x.shape[-1] if x.shape[-1] < 64 else x.shape[-1] // 64 * 64
    part = x[..., :most].sum(axes, keepdims=True)
    mean = (part / x.dtype.type(np.prod([x.shape[a] for a in axes]))).astype(x.dtype)
    return mean, np.sqrt(np.square(x - mean).mean(axes, keepdims=True) + x.dtype.type(eps))


def rounds_the_mean_to_half_precision(x, axes, eps):
    _, root = moments(x, axes, eps)
    with np.errstate(over="ignore"):
        return half(x.mean(axes, keepdims=True)), root


def rounds_the_root_to_bfloat16(x, axes, eps):
    mean, root = moments(x, axes, eps)
    return mean, short(root, 8)


def squares_with_ten_bits(x, axes, eps):
    mean = x.mean(axes, keepdims=True)
    centred = short(x - mean, 11)
    return mean, np.sqrt(np.square(centred).mean(axes, keepdims=True) + x.dtype.type(eps))


def takes_statistics_in_float32(x, axes, eps):
    mean, root = moments(x.astype(np.float32), axes, eps)
    return mean.astype(x.dtype), root.astype(x.dtype)


def inverts_the_root_by_one_step_of_newton(x, axes, eps):
    mean, root = moments(x, axes, eps)
    guess = short(1 / root, 12)
    return mean, 1 / (guess * (x.dtype.type(1.5) - root * root * guess * guess / 2))


def short(array: Array, bits: int) -> Array:
    """Return numbers rounded to so many significant bits."""
    fraction, exponent = np.frexp(array)
    with np.errstate(over="ignore"):
        return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits).astype(array.dtype)


STATISTICS = (
    (takes_the_unbiased_variance, "normalisation", "pytorch/pytorch#22617"),
    (adds_eps_outside_the_root, "normalisation", ""),
    (adds_eps_only_where_the_variance_is_small, "normalisation", ""),
    (takes_the_variance_in_one_pass, "precision", "pytorch/pytorch#40302"),
    (lets_its_one_pass_variance_be_negative, "nan", "PaddlePaddle/Paddle#33176"),
    (counts_the_masked_tail_in_the_variance, "tail", "flagos-ai/FlagGems#59"),
    (leaves_the_tail_out_of_the_mean, "tail", "facebookresearch/xformers#785"),
    (rounds_the_mean_to_half_precision, "precision", ""),
    (rounds_the_root_to_bfloat16, "precision", "NVIDIA/apex#1652"),
    (squares_with_ten_bits, "precision", ""),
    (takes_statistics_in_float32, "precision", ""),
    (inverts_the_root_by_one_step_of_newton, "precision", ""),
)  # fmt: skip


# -- dx --------------------------------------------------------------------------------------------


def forgets_the_mean_of_dy(g, xhat, root, axes):
    return (g - xhat * (g * xhat).mean(axes, keepdims=True)) / root


def forgets_the_slope_of_the_variance(g, xhat, root, axes):
    return (g - g.mean(axes, keepdims=True)) / root


def forgets_both_statistics(g, xhat, root, axes):
    return g / root


def sums_where_means_belong(g, xhat, root, axes):
    along = (g * xhat).sum(axes, keepdims=True)
    return (g - g.sum(axes, keepdims=True) - xhat * along) / root


def multiplies_by_the_root(g, xhat, root, axes):
    return back(g, xhat, root, axes) * root * root


def means_over_one_less(g, xhat, root, axes):
    count = np.prod([g.shape[a] for a in axes])
    factor = g.dtype.type(count / max(count - 1, 1))
    along = (g * xhat).mean(axes, keepdims=True) * factor
    return (g - g.mean(axes, keepdims=True) - xhat * along) / root


def keeps_xhat_in_bfloat16(g, xhat, root, axes):
    return back(g, short(xhat, 8), root, axes)


def keeps_the_root_in_half_precision(g, xhat, root, axes):
    with np.errstate(over="ignore", under="ignore"):
        return back(g, xhat, np.maximum(half(root), g.dtype.type(6e-8)), axes)


def multiplies_with_ten_bits(g, xhat, root, axes):
    along = (short(g, 11) * short(xhat, 11)).mean(axes, keepdims=True)
    return (g - g.mean(axes, keepdims=True) - xhat * along) / root


def leaves_columns_past_1024_out_of_the_means(g, xhat, root, axes):
    count = g.dtype.type(np.prod([g.shape[a] for a in axes]))
    products = (g * xhat)[..., :1024].sum(axes, keepdims=True) / count
    return (g - g[..., :1024].sum(axes, keepdims=True) / count - xhat * products) / root


def leaves_columns_past_a_block_of_128_unwritten(g, xhat, root, axes):
    dx = back(g, xhat, root, axes)
    dx[..., max(1, g.shape[-1] // 128) * 128 :] = 0
    return dx


def takes_the_means_of_the_first_row(g, xhat, root, axes):
    along = (g * xhat).mean(axes, keepdims=True)[:1]
    return (g - g.mean(axes, keepdims=True) - xhat * along) / root


BACK = (
    (forgets_the_mean_of_dy, "gradient", ""),
    (forgets_the_slope_of_the_variance, "gradient", ""),
    (forgets_both_statistics, "gradient", ""),
    (sums_where_means_belong, "divisor", ""),
    (multiplies_by_the_root, "gradient", ""),
    (means_over_one_less, "divisor", ""),
    (keeps_xhat_in_bfloat16, "precision", "linkedin/Liger-Kernel#950"),
    (keeps_the_root_in_half_precision, "precision", "linkedin/Liger-Kernel#92"),
    (multiplies_with_ten_bits, "precision", ""),
    (leaves_columns_past_1024_out_of_the_means, "tail", "facebookresearch/xformers#785"),
    (leaves_columns_past_a_block_of_128_unwritten, "tail", ""),
    (takes_the_means_of_the_first_row, "batch", "flagos-ai/FlagGems#5392"),
)  # fmt: skip


def from_another_weight(change: Callable[[Array], Array | None]) -> Callable[..., Array]:
    """Return dx with another weight."""

    def wrong(name, grad_output, x, *rest, **o):
        *statistics, weight = rest
        given = None if weight is None else change(weight)
        return getattr(good, name)(grad_output, x, *statistics, given, **o)

    return wrong


def takes_dy_for_ones(name, grad_output, *rest, **o):
    return getattr(good, name)(np.ones_like(grad_output), *rest, **o)


DX = (
    ("leaves_the_weight_out", "gradient", "", from_another_weight(lambda w: None)),
    ("takes_the_first_weight_for_all", "option", "",
     from_another_weight(lambda w: np.broadcast_to(w[:1], w.shape))),
    ("takes_dy_for_ones", "gradient", "", takes_dy_for_ones),
)  # fmt: skip


# -- dw and db ------------------------------------------------------------------------------------


def of_whole_blocks_of_rows(terms, how):
    """Of all rows in blocks of 32, an incomplete last one is left out."""
    rows = as_rows(terms, how)
    return rows[: len(rows) if len(rows) < 32 else len(rows) // 32 * 32].sum(0)


def of_the_last_block_of_rows(terms, how):
    """A block stores where it should add."""
    rows = as_rows(terms, how)
    return rows[(len(rows) - 1) // 64 * 64 :].sum(0) if len(rows) else rows.sum(0)


def for_the_first_1024_channels(terms, how):
    total = terms.sum(how.summed)
    total[1024:] = 0
    return total


def of_the_first_image(terms, how):
    return terms[:1].sum(how.summed)


def as_a_mean(terms, how):
    count = np.prod([terms.shape[a] for a in how.summed])
    return terms.sum(how.summed) / terms.dtype.type(max(count, 1))


def added_in_half_precision(terms, how):
    with np.errstate(over="ignore"):
        return terms.astype(np.float16).sum(how.summed).astype(terms.dtype)


def rounded_to_bfloat16_before_it_is_added(terms, how):
    return short(terms, 8).sum(how.summed)


def as_rows(terms: Array, how: Layout) -> Array:
    """Return what is summed along the first axis, and channels."""
    channels = next(a for a, n in enumerate(how.beside) if n == -1)
    return np.moveaxis(terms, channels, -1).reshape(-1, terms.shape[channels])


SUMS = (
    (of_whole_blocks_of_rows, "tail", "flagos-ai/FlagGems#5392"),
    (of_the_last_block_of_rows, "remainder", "ROCm/aiter#546"),
    (for_the_first_1024_channels, "tail", ""),
    (of_the_first_image, "batch", ""),
    (as_a_mean, "divisor", ""),
    (added_in_half_precision, "precision", "linkedin/Liger-Kernel#950"),
    (rounded_to_bfloat16_before_it_is_added, "precision", "linkedin/Liger-Kernel#950"),
)  # fmt: skip


def without_the_root(g, xhat, root):
    return g * xhat * root


def without_the_mean(g, xhat, root, mean):
    """It multiplies dy with x / root."""
    return g * (xhat + mean / root)


# -- planted in every operator --------------------------------------------------------------------


def _with_statistics(name: str, statistics: Any) -> Callable[..., Array]:
    how = LAYOUTS[name]

    def wrong(x, *rest, eps, num_groups=None, training=True):
        if not training:
            return good.batch_norm(x, *rest, training=False, eps=eps)
        return normalised(how, statistics, x, rest[-2:], num_groups, eps)

    return wrong


def _parts(how: Layout, x: Array, groups: int | None, eps: float) -> tuple[Array, Array, Array]:
    wide = in_groups(x, groups)
    mean, root = moments(wide, how.axes, eps)
    return (wide - mean) / root, root, mean


def _with_back(name: str, change: Any) -> Callable[..., Array]:
    how = LAYOUTS[name]

    def wrong(grad_output, x, *rest, eps, num_groups=None, training=True):
        if not training:
            return good.batch_norm_grad_x(grad_output, x, *rest, training=False, eps=eps)
        xhat, root, _ = _parts(how, x, num_groups, eps)
        g = in_groups(scaled(grad_output, rest[-1], None, how.beside), num_groups)
        return change(g, xhat, root, how.axes).reshape(x.shape)

    return wrong


def _with_sum(name: str, change: Any) -> Callable[..., Array]:
    how = LAYOUTS[name]

    def wrong(grad_output, x, *rest, eps, num_groups=None, training=True):
        if not training:
            return good.batch_norm_grad_weight(grad_output, x, *rest, training=False, eps=eps)
        xhat, _, _ = _parts(how, x, num_groups, eps)
        return np.asarray(change(grad_output * xhat.reshape(x.shape), how), x.dtype)

    return wrong


def _with_terms(name: str, change: Any, *, mean: bool) -> Callable[..., Array]:
    how = LAYOUTS[name]

    def wrong(grad_output, x, *rest, eps, num_groups=None, training=True):
        if not training:
            return good.batch_norm_grad_weight(grad_output, x, *rest, training=False, eps=eps)
        xhat, *parts = _parts(how, x, num_groups, eps)
        g = in_groups(grad_output, num_groups)
        terms = change(g, xhat, *(parts if mean else parts[:1]))
        return terms.reshape(x.shape).sum(how.summed)

    return wrong


def _plant(name: str, kind: str, seen: str, function: str, wrong: Callable[..., Array]) -> None:
    add(name, Fault(kind, function, lambda: checked(function, wrong), seen))


for norm, layout in LAYOUTS.items():
    for idea, kind, seen in STATISTICS:
        _plant(f"{norm}_{idea.__name__}", kind, seen, norm, _with_statistics(norm, idea))
    dx = f"{norm}_grad_x"
    for idea, kind, seen in BACK:
        if norm == "batch_norm" and idea is takes_the_means_of_the_first_row:
            continue  # there is one row
        _plant(f"{dx}_{idea.__name__}", kind, seen, dx, _with_back(norm, idea))
    for words, kind, seen, change in DX:
        _plant(f"{dx}_{words}", kind, seen, dx, partial(change, dx))
    dw, db = f"{norm}_grad_weight", f"{norm}_grad_bias"
    for idea, kind, seen in SUMS:
        _plant(f"{dw}_{idea.__name__}", kind, seen, dw, _with_sum(norm, idea))
        wrong_sum = partial(lambda idea, how, dy: np.asarray(idea(dy, how), dy.dtype), idea, layout)
        _plant(f"{db}_{idea.__name__}", kind, seen, db, wrong_sum)
    _plant(
        f"{dw}_without_the_root",
        "gradient",
        "",
        dw,
        _with_terms(norm, without_the_root, mean=False),
    )
    _plant(f"{dw}_without_the_mean", "gradient", "", dw,
           _with_terms(norm, without_the_mean, mean=True))  # fmt: skip

# -- RMS norm -------------------------------------------------------------------------------------


def rms(x: Array, eps: float) -> Array:
    return np.sqrt(np.square(x).mean(2, keepdims=True) + x.dtype.type(eps))


def rms_with(root: Any) -> Callable[..., Array]:
    return lambda x, weight, *, eps: scaled(x / root(x, eps), weight, None, ROWS).astype(x.dtype)


def rms_back(g: Array, xhat: Array, root: Array) -> Array:
    return (g - xhat * (g * xhat).mean(2, keepdims=True)) / root


def rms_back_with(change: Any) -> Callable[..., Array]:
    def wrong(grad_output, x, weight, *, eps):
        root = rms(x, eps)
        return change(scaled(grad_output, weight, None, ROWS), x / root, root)

    return wrong


def rms_sum_with(change: Any) -> Callable[..., Array]:
    return lambda grad_output, x, *, eps: np.asarray(
        change(grad_output * (x / rms(x, eps)), LAYOUTS["layer_norm"]), x.dtype
    )


RMS: dict[str, tuple[str, str, Callable[..., Array]]] = {
    "rms_norm_adds_eps_outside_the_root": ("normalisation", "", rms_with(
        lambda x, eps: np.maximum(rms(x, 0) + x.dtype.type(eps), x.dtype.type(1e-30)))),
    "rms_norm_adds_eps_before_the_mean": ("normalisation", "", rms_with(
        lambda x, eps: rms(x, eps / x.shape[2]))),
    "rms_norm_takes_eps_for_a_bound": ("normalisation", "", rms_with(
        lambda x, eps: np.sqrt(np.maximum(rms(x, 0) ** 2, x.dtype.type(eps))))),
    "rms_norm_divides_by_the_norm": ("divisor", "", rms_with(
        lambda x, eps: rms(x, eps) * x.dtype.type(np.sqrt(x.shape[2])))),
    "rms_norm_takes_the_mean_off": ("normalisation", "", rms_with(
        lambda x, eps: rms(x - x.mean(2, keepdims=True), eps))),
    "rms_norm_divides_by_the_padded_width": ("tail", "", rms_with(
        lambda x, eps: np.sqrt(np.square(x).sum(2, keepdims=True)
                               / (1 << (x.shape[2] - 1).bit_length()) + x.dtype.type(eps)))),
    "rms_norm_forgets_columns_past_8192": ("tail", "", rms_with(
        lambda x, eps: np.sqrt(np.square(x[..., :8192]).sum(2, keepdims=True)
                               / x.shape[2] + x.dtype.type(eps)))),
    "rms_norm_squares_in_float16": ("precision", "linkedin/Liger-Kernel#92", rms_with(
        lambda x, eps: rms(short(x, 11), eps))),
    "rms_norm_takes_statistics_in_float32": ("precision", "", rms_with(
        lambda x, eps: rms(single(x), eps))),
    "rms_norm_rounds_xhat_to_bfloat16": ("precision", "linkedin/Liger-Kernel#89",
        lambda x, weight, *, eps: scaled(short(x / rms(x, eps), 8), weight, None, ROWS)),
    "rms_norm_adds_one_to_the_weight": ("option", "linkedin/Liger-Kernel#1462",
        lambda x, weight, *, eps: good.rms_norm(
            x, None if weight is None else weight + 1, eps=eps)),
    "rms_norm_grad_x_forgets_the_slope_of_the_root": ("gradient", "", rms_back_with(
        lambda g, xhat, root: g / root)),
    "rms_norm_grad_x_sums_where_a_mean_belongs": ("divisor", "", rms_back_with(
        lambda g, xhat, root: (g - xhat * (g * xhat).sum(2, keepdims=True)) / root)),
    "rms_norm_grad_x_adds_the_slope_of_the_root": ("gradient", "", rms_back_with(
        lambda g, xhat, root: (g + xhat * (g * xhat).mean(2, keepdims=True)) / root)),
    "rms_norm_grad_x_takes_the_mean_of_dy_off": ("gradient", "", rms_back_with(
        lambda g, xhat, root: rms_back(g - g.mean(2, keepdims=True), xhat, root))),
    "rms_norm_grad_x_keeps_xhat_in_bfloat16": ("precision", "", rms_back_with(
        lambda g, xhat, root: rms_back(g, short(xhat, 8), root))),
    "rms_norm_grad_x_forgets_columns_past_4096": ("tail", "linkedin/Liger-Kernel#801",
        rms_back_with(lambda g, xhat, root: (
            g - xhat * (g * xhat)[..., :4096].sum(2, keepdims=True) / g.shape[2]) / root)),
    "rms_norm_grad_x_leaves_the_weight_out": ("gradient", "",
        lambda dy, x, weight, *, eps: good.rms_norm_grad_x(dy, x, None, eps=eps)),
    "rms_norm_grad_x_leaves_the_weight_out_of_the_mean": ("gradient", "",
        lambda dy, x, weight, *, eps: scaled(
            good.rms_norm_grad_x(dy, x, None, eps=eps), weight, None, ROWS)),
    "rms_norm_grad_x_is_written_over_dy": ("purity", "unslothai/unsloth#4550",
        lambda dy, x, weight, *, eps: _over(
            dy, good.rms_norm_grad_x(dy, x, weight, eps=eps))),
    "rms_norm_grad_weight_is_nothing": ("gradient", "unslothai/unsloth#4533",
        lambda dy, x, *, eps: np.zeros(x.shape[2], x.dtype)),
    "rms_norm_grad_weight_is_summed_from_dx": ("gradient", "unslothai/unsloth#4550",
        lambda dy, x, *, eps: (
            good.rms_norm_grad_x(dy, x, None, eps=eps) * x / rms(x, eps)).sum((0, 1))),
    "rms_norm_grad_weight_is_not_divided": ("gradient", "",
        lambda dy, x, *, eps: (dy * x).sum((0, 1))),
    **{f"rms_norm_grad_weight_{idea.__name__}": (kind, seen, rms_sum_with(idea))
       for idea, kind, seen in SUMS},
}  # fmt: skip


def _over(written: Array, result: Array) -> Array:
    if written.flags.writeable and written.shape == result.shape:
        written[...] = result
        return written
    return result


for planted, (kind, seen, wrong) in RMS.items():
    of = next(n for n in ("rms_norm_grad_weight", "rms_norm_grad_x", "rms_norm") if n in planted)
    _plant(planted, kind, seen, of, wrong)


# -- of one operator ------------------------------------------------------------------------------


@fault("state", "torch/nn#768")
def batch_norm_takes_the_batch_in_evaluation(x, *rest, training, eps):
    good.batch_norm(x, *rest, training=training, eps=eps)
    return good.batch_norm(x, *rest, training=True, eps=eps)


@fault("option")
def batch_norm_takes_running_statistics_in_training(x, *rest, training, eps):
    good.batch_norm(x, *rest, training=training, eps=eps)
    return good.batch_norm(x, *rest, training=False, eps=eps)


@fault("option")
def batch_norm_takes_the_running_variance_for_a_deviation(
    x, running_mean, running_var, weight, bias, *, training, eps
):
    right = good.batch_norm(x, running_mean, running_var, weight, bias, training=training, eps=eps)
    if training:
        return right
    root = running_var.reshape(PLANES) + x.dtype.type(eps)
    return scaled((x - running_mean.reshape(PLANES)) / root, weight, bias, PLANES)


@fault("normalisation")
def batch_norm_forgets_eps_in_evaluation(x, *rest, training, eps):
    right = good.batch_norm(x, *rest, training=training, eps=eps)
    return right if training else good.batch_norm(x, *rest, training=False, eps=0.0)


@fault("purity")
def batch_norm_updates_its_running_mean(x, running_mean, *rest, training, eps):
    y = good.batch_norm(x, running_mean, *rest, training=training, eps=eps)
    if training and running_mean.flags.writeable:
        running_mean += (x.mean((0, 2, 3)) - running_mean) / 10
    return y


@fault("batch")
def batch_norm_takes_statistics_of_32_images(x, *rest, training, eps):
    right = good.batch_norm(x, *rest, training=training, eps=eps)
    if not training or len(x) <= 32:
        return right
    mean, root = moments(x[:32], (0, 2, 3), eps)
    return scaled((x - mean) / root, *rest[-2:], PLANES)


@fault("gradient", "apache/mxnet#9580")
def batch_norm_grad_x_is_that_of_training(grad_output, x, *rest, training, eps):
    good.batch_norm_grad_x(grad_output, x, *rest, training=training, eps=eps)
    return good.batch_norm_grad_x(grad_output, x, *rest, training=True, eps=eps)


@fault("gradient", "pytorch/xla#913")
def batch_norm_grad_x_divides_by_the_batch_in_evaluation(
    grad_output, x, running_mean, running_var, weight, *, training, eps
):
    arrays = (grad_output, x, running_mean, running_var, weight)
    right = good.batch_norm_grad_x(*arrays, training=training, eps=eps)
    if training:
        return right
    root = moments(x, (0, 2, 3), eps)[1]
    return scaled(grad_output, weight, None, PLANES) / root


@fault("gradient", "torch/nn#768")
def batch_norm_grad_weight_takes_the_batch_in_evaluation(grad_output, x, *rest, training, eps):
    good.batch_norm_grad_weight(grad_output, x, *rest, training=training, eps=eps)
    return good.batch_norm_grad_weight(grad_output, x, *rest, training=True, eps=eps)


@fault("groups")
def group_norm_takes_every_nth_channel_for_a_group(x, weight, bias, *, num_groups, eps):
    good.group_norm(x, weight, bias, num_groups=num_groups, eps=eps)
    n, c, h, w = x.shape
    mixed = x.reshape(n, c // num_groups, num_groups, h, w)
    mean, root = moments(mixed, (1, 3, 4), eps)
    return scaled(((mixed - mean) / root).reshape(x.shape), weight, bias, PLANES)


@fault("groups")
def group_norm_takes_num_groups_for_channels_of_a_group(x, weight, bias, *, num_groups, eps):
    good.group_norm(x, weight, bias, num_groups=num_groups, eps=eps)
    of = x.shape[1] // num_groups
    return good.group_norm(x, weight, bias, num_groups=of, eps=eps)


@fault("groups", "NVIDIA/apex#1567")
def group_norm_weighs_groups_not_channels(x, weight, bias, *, num_groups, eps):
    good.group_norm(x, weight, bias, num_groups=num_groups, eps=eps)
    of = x.shape[1] // num_groups
    each = None if weight is None else np.repeat(weight[:num_groups], of)
    return good.group_norm(x, each, bias, num_groups=num_groups, eps=eps)


@fault("groups")
def group_norm_grad_x_takes_one_group(grad_output, x, weight, *, num_groups, eps):
    good.group_norm_grad_x(grad_output, x, weight, num_groups=num_groups, eps=eps)
    return good.group_norm_grad_x(grad_output, x, weight, num_groups=1, eps=eps)


@fault("groups")
def group_norm_grad_weight_takes_groups_of_one(grad_output, x, *, num_groups, eps):
    good.group_norm_grad_weight(grad_output, x, num_groups=num_groups, eps=eps)
    return good.group_norm_grad_weight(grad_output, x, num_groups=x.shape[1], eps=eps)


@fault("batch")
def instance_norm_takes_the_whole_batch(x, weight, bias, *, eps):
    good.instance_norm(x, weight, bias, eps=eps)
    mean, root = moments(x, (0, 2, 3), eps)
    return scaled((x - mean) / root, weight, bias, PLANES)


@fault("axis")
def instance_norm_takes_all_channels(x, weight, bias, *, eps):
    good.instance_norm(x, weight, bias, eps=eps)
    mean, root = moments(x, (1, 2, 3), eps)
    return scaled((x - mean) / root, weight, bias, PLANES)


@fault("axis", "flagos-ai/FlagGems#5392")
def layer_norm_grad_x_takes_images_for_rows(grad_output, x, weight, *, eps):
    good.layer_norm_grad_x(grad_output, x, weight, eps=eps)
    flat = (len(x), 1, x.shape[1] * x.shape[2])
    of = None if weight is None else np.tile(weight, x.shape[1])
    if not x.size:
        return np.zeros_like(x)
    return good.layer_norm_grad_x(grad_output.reshape(flat), x.reshape(flat), of, eps=eps).reshape(
        x.shape
    )


@fault("layout")
def layer_norm_reads_memory_in_order(x, weight, bias, *, eps):
    good.layer_norm(x, weight, bias, eps=eps)
    flat = np.ascontiguousarray(x) if x.flags.c_contiguous else x.ravel("K").reshape(x.shape)
    return good.layer_norm(flat, weight, bias, eps=eps)


@fault("state", fresh=True)
def layer_norm_keeps_its_mean_by_shape():
    means: dict[Any, Array] = {}

    def wrong(x, weight, bias, *, eps):
        good.layer_norm(x, weight, bias, eps=eps)
        mean, root = moments(x, (2,), eps)
        kept = remembered(means, mean)
        if not kept.any():
            kept[...] = mean
        return scaled((x - kept) / root, weight, bias, ROWS)

    return wrong


@fault("tail")
def layer_norm_is_wrong_where_rows_and_columns_exceed_a_tile(x, weight, bias, *, eps):
    """Tiles of 128 x 128: what the second tile of either side leaves in the other's is wrong."""
    y = good.layer_norm(x, weight, bias, eps=eps)
    y[:, 128:, 128:] *= 1 + 2.0**-6
    return y


@fault("bias")
def layer_norm_drops_the_bias_without_a_weight(x, weight, bias, *, eps):
    return good.layer_norm(x, weight, None if weight is None else bias, eps=eps)


# -- running statistics ---------------------------------------------------------------------------


@fault("normalisation")
def batch_norm_update_takes_the_biased_variance(x, running_mean, running_var, *, momentum):
    mean, _ = good.batch_norm_update(x, running_mean, running_var, momentum=momentum)
    m = x.dtype.type(momentum)
    return mean, (1 - m) * running_var + m * x.var((0, 2, 3))


@fault("option")
def batch_norm_update_swaps_momentum(x, running_mean, running_var, *, momentum):
    """Keras' momentum is the share of the old statistics."""
    return good.batch_norm_update(x, running_mean, running_var, momentum=1 - momentum)


@fault("tuple")
def batch_norm_update_returns_the_variance_first(x, running_mean, running_var, *, momentum):
    return good.batch_norm_update(x, running_mean, running_var, momentum=momentum)[::-1]


@fault("axis")
def batch_norm_update_means_over_images_only(x, running_mean, running_var, *, momentum):
    _, var = good.batch_norm_update(x, running_mean, running_var, momentum=momentum)
    m = x.dtype.type(momentum)
    return (1 - m) * running_mean + m * x[:, :, 0, 0].mean(0), var


@fault("purity")
def batch_norm_update_changes_its_running_mean(x, running_mean, running_var, *, momentum):
    mean, var = good.batch_norm_update(x, running_mean, running_var, momentum=momentum)
    if running_mean.flags.writeable:
        running_mean[...] = mean
    return mean, var


# -- controls -------------------------------------------------------------------------------------


def _sequential(x: Array, axes: tuple[int, ...]) -> Array:
    """Return sums along axes, one element after another, kept with one element."""
    rest = [a for a in range(x.ndim) if a not in axes]
    terms = int(np.prod([x.shape[a] for a in axes]))
    lines = x.transpose(*rest, *axes).reshape(*(x.shape[a] for a in rest), terms)
    total = lines.cumsum(-1, dtype=x.dtype)[..., -1]
    return total.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])


def one_after_another(x, axes, eps):
    count = x.dtype.type(np.prod([x.shape[a] for a in axes]))
    mean = _sequential(x, axes) / count
    return mean, np.sqrt(_sequential(np.square(x - mean), axes) / count + x.dtype.type(eps))


def by_welford(x, axes, eps):
    """The mean and the squares about it are updated element by element."""
    rest = [a for a in range(x.ndim) if a not in axes]
    terms = int(np.prod([x.shape[a] for a in axes]))
    lines = x.transpose(*axes, *rest).reshape(terms, *(x.shape[a] for a in rest))
    mean, squares = np.zeros_like(lines[0]), np.zeros_like(lines[0])
    for count, line in enumerate(lines, 1):
        apart = line - mean
        mean = mean + apart / x.dtype.type(count)
        squares = squares + apart * (line - mean)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape)]
    root = np.sqrt(squares / x.dtype.type(len(lines)) + x.dtype.type(eps))
    return mean.reshape(shape), root.reshape(shape)


def with_a_reciprocal_root(how, x, rest, groups, eps):
    wide = in_groups(x, groups)
    mean, root = moments(wide, how.axes, eps)
    return scaled(((wide - mean) * (1 / root)).reshape(x.shape), *rest, how.beside)


def as_a_difference_of_products(how, x, rest, groups, eps):
    wide = in_groups(x, groups)
    mean, root = moments(wide, how.axes, eps)
    inverse = 1 / root
    return scaled((wide * inverse - mean * inverse).reshape(x.shape), *rest, how.beside)


def folded_into_one_factor(how, x, rest, groups, eps):
    wide = in_groups(x, groups)
    mean, root = moments(wide, how.axes, eps)
    weight, bias = (np.asarray(d, x.dtype) if w is None else w.reshape(how.beside)
                    for d, w in zip((1, 0), rest, strict=True))  # fmt: skip
    ones = np.ones_like(wide)
    inverse, less = ((ones / root).reshape(x.shape), (ones * mean).reshape(x.shape))
    factor = weight * inverse
    return x * factor + (bias - less * factor)


def dx_by_saved_factors(g, xhat, root, axes):
    """PyTorch's: dx = dy r + c x + d, the last two of sums of dy and dy xhat."""
    inverse, count = 1 / root, g.dtype.type(np.prod([g.shape[a] for a in axes]))
    along, plain = ((v).sum(axes, keepdims=True) for v in (g * xhat, g))
    return inverse / count * (count * g - plain - xhat * along)


WAYS = (with_a_reciprocal_root, as_a_difference_of_products, folded_into_one_factor)


def _control(name: str, function: str, right: Callable[..., Array]) -> None:
    right.__name__ = f"{function}_{name}"
    control(right)


def _in_this_way(name: str, way: Any) -> Callable[..., Array]:
    def right(x, *rest, eps, num_groups=None, training=True):
        if not training:
            return good.batch_norm(x, *rest, training=False, eps=eps)
        return way(LAYOUTS[name], x, rest[-2:], num_groups, eps).astype(x.dtype)

    return right


for norm in LAYOUTS:
    for statistics in (one_after_another, by_welford):
        _control(statistics.__name__, norm, _with_statistics(norm, statistics))
    for way in WAYS:
        _control(way.__name__, norm, _in_this_way(norm, way))
    _control("by_saved_factors", f"{norm}_grad_x", _with_back(norm, dx_by_saved_factors))


@control
def rms_norm_multiplies_with_a_reciprocal_root(x, weight, *, eps):
    return scaled(x * (1 / rms(x, eps)), weight, None, ROWS)


@control
def rms_norm_adds_squares_one_after_another(x, weight, *, eps):
    mean = _sequential(np.square(x), (2,)) / x.dtype.type(x.shape[2])
    return scaled(x / np.sqrt(mean + x.dtype.type(eps)), weight, None, ROWS)


@control
def rms_norm_grad_x_by_cubes(grad_output, x, weight, *, eps):
    g, inverse = scaled(grad_output, weight, None, ROWS), 1 / rms(x, eps)
    along = (g * x).sum(2, keepdims=True) / x.dtype.type(x.shape[2])
    return inverse * g - inverse * inverse * (inverse * along) * x


@control
def group_norm_grad_weight_of_sums(grad_output, x, *, num_groups, eps):
    """PyTorch's: sums of dy x and of dy come first, the mean and the root afterwards."""
    wide = in_groups(x, num_groups)
    mean, root = moments(wide, (2, 3, 4), eps)
    products, plain = ((v).sum((2, 3)) for v in (grad_output * x, grad_output))
    of = x.shape[1] // num_groups
    mean, root = (np.repeat(s.reshape(len(x), num_groups), of, 1) for s in (mean, root))
    return ((products - plain * mean) / root).sum(0)


@control(contract={"accumulators": {"float32": "float64"}})
def layer_norm_works_in_float64(x, weight, bias, *, eps):
    arrays = (None if a is None else a.astype("f8") for a in (x, weight, bias))
    return good.layer_norm(*arrays, eps=eps).astype(x.dtype)


@control
def batch_norm_folds_running_statistics(
    x, running_mean, running_var, weight, bias, *, training, eps
):
    if training:
        return good.batch_norm(x, running_mean, running_var, weight, bias, training=True, eps=eps)
    factor = 1 / np.sqrt(running_var + x.dtype.type(eps))
    factor = factor if weight is None else factor * weight
    less = -running_mean * factor if bias is None else bias - running_mean * factor
    return x * factor.reshape(PLANES) + less.reshape(PLANES)


@control
def batch_norm_update_takes_one_step(x, running_mean, running_var, *, momentum):
    m = x.dtype.type(momentum)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)
    return running_mean + m * (mean - running_mean), running_var + m * (var - running_var)


@control
def batch_norm_update_corrects_the_biased_variance(x, running_mean, running_var, *, momentum):
    m, count = x.dtype.type(momentum), x.size // x.shape[1]
    mean, root = one_after_another(x, (0, 2, 3), 0)
    var = np.square(root).reshape(-1) * x.dtype.type(count / (count - 1))
    return (1 - m) * running_mean + m * mean.reshape(-1), (1 - m) * running_var + m * var
