"""Planted faults and controls of sums, cat, split, cumsum and dropout with a given mask."""

from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import half
from tests.planted.indexing import blocks
from tests.planted.table import plant

Array = Any


def exchanged(first: Array, second: Array, third: Array, *, axis: int) -> Array:
    return good.cat(second, first, third, axis=axis)


def forgets_the_third(first: Array, second: Array, third: Array, *, axis: int) -> Array:
    """Repeat the second in place of the third, as far as it goes."""
    if third is None or second.shape != third.shape:
        return good.cat(first, second, third, axis=axis)
    return good.cat(first, second, second, axis=axis)


def interleaved(first: Array, second: Array, third: Array, *, axis: int) -> Array:
    """Write parts side by side in memory, whatever the axis."""
    y = good.cat(first, second, third, axis=axis)
    flat = [one.ravel() for one in (first, second, third) if one is not None]
    return np.concatenate(flat).reshape(y.shape)


def part(at: int, change: Any) -> Any:
    """Return a gradient of cat by one of its arrays, of another dy."""

    def wrong(dy: Array, *arrays: Array, axis: int) -> Array:
        return change(good.cat_vjp(dy, *arrays, axis=axis), dy, arrays, axis)[at]

    return wrong


def shifted(parts: Any, dy: Array, arrays: Any, axis: int) -> Any:
    return good.cat_vjp(np.roll(dy, 1, axis), *arrays, axis=axis)


def without_the_last(parts: Any, dy: Array, arrays: Any, axis: int) -> Any:
    """Zero the last entry of every part."""
    found = []
    for one in parts:
        if one is None:
            found.append(None)
            continue
        moved = np.moveaxis(one.copy(), axis, 0)
        moved[-1:] = 0
        found.append(np.moveaxis(moved, 0, axis))
    return found


def all_in_half(parts: Any, dy: Array, arrays: Any, axis: int) -> Any:
    return [None if one is None else half(one) for one in parts]


def of_parts(change: Any) -> Any:
    def wrong(dy: Array, *arrays: Array, axis: int) -> Any:
        return tuple(change(good.cat_vjp(dy, *arrays, axis=axis), dy, arrays, axis))

    return wrong


def first_as_second(parts: Any, dy: Array, arrays: Any, axis: int) -> Any:
    first, second, third = parts
    same = first.shape == second.shape
    return (second, first, third) if same else parts


def apart(change: Any) -> Any:
    def wrong(x: Array, *, sections: Any, axis: int) -> Any:
        first, second = change(x, sections, axis)
        return first.copy(), second.copy()

    return wrong


def along(x: Array, axis: int, at: int) -> Any:
    return np.split(x, [at], axis)


def split_late(x: Array, sections: Any, axis: int) -> Any:
    """Read the second part one entry before its place."""
    first, _ = along(x, axis, sections[0])
    _, late = along(x, axis, sections[0] - 1)
    return first, np.delete(late, -1, axis)


def split_into_halves(x: Array, sections: Any, axis: int) -> Any:
    """Take sections that may be exchanged, where both are as long."""
    first, second = along(x, axis, sections[0])
    return (second, first) if first.shape == second.shape else (first, second)


def split_flat(x: Array, sections: Any, axis: int) -> Any:
    first, second = along(x, axis, sections[0])
    flat = x.ravel()
    return flat[: first.size].reshape(first.shape), flat[first.size :].reshape(second.shape)


# -- cumsum ----------------------------------------------------------------------------------------


def in_blocks(x: Array, axis: int, size: int, *, carries: bool = False) -> Array:
    """Return running sums that begin anew in each block, or carry the block before alone."""
    moved = np.moveaxis(x, axis, 0)
    parts = [moved[at : at + size].cumsum(0) for at in range(0, len(moved), size)]
    if carries:
        parts = [one + (parts[at - 1][-1] if at else 0) for at, one in enumerate(parts)]
    y = np.concatenate(parts) if parts else moved
    return np.moveaxis(y, 0, axis)


def exclusive(x: Array, axis: int) -> Array:
    return x.cumsum(axis) - x


def backwards(x: Array, axis: int) -> Array:
    return np.flip(np.flip(x, axis).cumsum(axis), axis)


def summed(change: Any) -> Any:
    return lambda x, *, axis: change(x, axis % x.ndim)


def slope(change: Any) -> Any:
    return lambda dy, x, *, axis: change(dy, axis % x.ndim)


def drifting(x: Array, axis: int) -> Array:
    """Round the sum that is carried from element to element to ten bits and one."""
    moved, total, found = np.moveaxis(x, axis, 0), 0, []
    for one in moved:
        total = half(np.asarray(total + one, x.dtype))
        found.append(total)
    return np.moveaxis(np.array(found, x.dtype).reshape(moved.shape), 0, axis)


# -- add and dropout -------------------------------------------------------------------------------


def unsummed(dy: Array, like: Array) -> Array:
    """Return of a repeated array's gradient the first share alone."""
    front = dy.ndim - like.ndim
    taken = dy[(0,) * front] if dy.shape[:front].count(0) == 0 else dy.sum((*range(front),))
    for axis, side in enumerate(like.shape):
        if side == 1 != taken.shape[axis]:
            taken = taken.sum(axis, keepdims=True) if not taken.shape[axis] else taken.take(
                [0], axis)  # fmt: skip
    return taken


def averaged(dy: Array, like: Array, right: Array) -> Array:
    return right / dy.dtype.type(max(1, dy.size // max(1, like.size)))


A, AI, AO = good.add, good.add_grad_input, good.add_grad_other
D, DG = good.dropout_with_mask, good.dropout_with_mask_grad


def dropped(scale: Any, mask: Any = None) -> Any:
    """Return what a dropout makes of another factor of p, or of another mask."""

    def wrong(z: Array, kept: Array, *, p: float) -> Array:
        other = kept if mask is None else mask(kept)
        return np.where(other, z * z.dtype.type(scale(p)), 0)

    return wrong


def safe(p: float) -> float:
    return 1 / (1 - p) if p < 1 else 0.0


SCALES = {
    "forgets_the_scale": ("option", lambda p: 1.0 if p < 1 else 0.0, None),
    "divides_by_p": ("option", lambda p: 1 / p if p else 1.0, None),
    "multiplies_by_1_minus_p": ("option", lambda p: 1 - p, None),
    "inverts_the_mask": ("sign", safe, np.invert),
    "keeps_all": ("option", safe, np.ones_like),
    "takes_the_first_mask_for_every_image": ("batch", safe,
        lambda m: np.broadcast_to(m[:1], m.shape)),
    "reads_the_mask_in_the_opposite_order": ("index", safe, np.flip),
    "leaves_the_last_of_a_long_row": ("tail", safe,
        lambda m: m & (np.arange(m.shape[-1]) < max(8, m.shape[-1] // 8 * 8))),
    "rounds_the_scale_to_bfloat16": ("precision", lambda p: _short(safe(p)), None),
}  # fmt: skip


def _short(value: float) -> float:
    mantissa, exponent = np.frexp(value)
    return float(np.ldexp(np.rint(mantissa * 256) / 256, exponent))


def infinite(z: Array, kept: Array, *, p: float) -> Array:
    """Multiply by the mask and 1 / (1 - p), which is infinite for p = 1."""
    with np.errstate(all="ignore"):
        return z * kept * (z.dtype.type(1) / z.dtype.type(1 - p))


FAULTS = {
    # cat
    "cat_exchanges_first_and_second": ("index", "", exchanged),
    "cat_repeats_the_second": ("index", "", forgets_the_third),
    "cat_joins_memory": ("stride", "", interleaved),
    "cat_rounds_to_half_precision": ("precision", "", lambda *a, axis: half(
        good.cat(*a, axis=axis))),
    "cat_drops_nan": ("nan", "", lambda *a, axis: np.nan_to_num(good.cat(*a, axis=axis), nan=0.0)),
    "cat_leaves_out_the_tail": ("tail", "", lambda *a, axis: blocks(
        good.cat(*a, axis=axis), axis, 64)),
    **{
        f"cat_grad_{name}_{what}": (kind, "", part(at, change))
        for at, name in enumerate(("first", "second", "third"))
        for what, kind, change in (
            ("is_shifted_by_one", "index", shifted),
            ("leaves_out_the_last_entry", "tail", without_the_last),
            ("rounds_to_half_precision", "precision", all_in_half),
        )
    },
    "cat_vjp_exchanges_first_and_second": ("index", "", of_parts(first_as_second)),
    "cat_vjp_leaves_out_the_last_entries": ("tail", "", of_parts(without_the_last)),
    "cat_vjp_is_shifted_by_one": ("index", "", of_parts(shifted)),
    # split
    "split_reads_the_second_part_late": ("index", "", apart(split_late)),
    "split_exchanges_equal_parts": ("index", "", apart(split_into_halves)),
    "split_parts_memory": ("stride", "", apart(split_flat)),
    "split_rounds_to_half_precision": ("precision", "", apart(lambda x, s, axis: [
        half(one) for one in along(x, axis, s[0])])),
    "split_leaves_out_the_tail": ("tail", "", apart(lambda x, s, axis: [
        blocks(one, axis, 32) for one in along(x, axis, s[0])])),
    "split_returns_views": ("aliasing", "", lambda x, *, sections, axis: tuple(
        along(x, axis, sections[0]))),
    # cumsum
    "cumsum_is_exclusive": ("formula", "", summed(exclusive)),
    "cumsum_goes_backwards": ("axis", "", summed(backwards)),
    "cumsum_begins_anew_in_each_block": ("tail", "triton-lang/triton#2361", summed(
        lambda x, axis: in_blocks(x, axis, 16))),
    "cumsum_begins_anew_past_1024": ("fast path", "", summed(
        lambda x, axis: in_blocks(x, axis, 1024))),
    "cumsum_begins_anew_past_4096": ("fast path", "Jittor/jittor#330", summed(
        lambda x, axis: in_blocks(x, axis, 4096))),
    "cumsum_carries_one_block_alone": ("tail", "", summed(
        lambda x, axis: in_blocks(x, axis, 32, carries=True))),
    "cumsum_takes_the_last_axis": ("axis", "", lambda x, *, axis: x.cumsum(-1)),
    "cumsum_flattens": ("axis", "", lambda x, *, axis: x.cumsum().reshape(x.shape)),
    "cumsum_carries_half_precision": ("precision", "", summed(drifting)),
    "cumsum_leaves_out_the_tail": ("tail", "", summed(lambda x, axis: blocks(
        x.cumsum(axis), axis, 8))),
    "cumsum_skips_nan": ("nan", "", summed(np.nancumsum)),
    "cumsum_leaves_out_the_last_sum": ("index", "", summed(lambda x, axis: np.concatenate(
        [np.delete(x.cumsum(axis), -1, axis), np.zeros_like(x.take([-1], axis))], axis)
        if x.shape[axis] else x)),
    "cumsum_grad_goes_forwards": ("gradient", "", slope(lambda dy, axis: dy.cumsum(axis))),
    "cumsum_grad_is_exclusive": ("gradient", "", slope(lambda dy, axis: backwards(dy, axis) - dy)),
    "cumsum_grad_begins_anew_in_each_block": ("tail", "", slope(lambda dy, axis: np.flip(
        in_blocks(np.flip(dy, axis), axis, 16), axis))),
    "cumsum_grad_begins_anew_past_1024": ("fast path", "", slope(lambda dy, axis: np.flip(
        in_blocks(np.flip(dy, axis), axis, 1024), axis))),
    "cumsum_grad_takes_the_last_axis": ("axis", "", lambda dy, x, *, axis: backwards(dy, -1)),
    "cumsum_grad_is_the_sum": ("gradient", "", slope(lambda dy, axis: np.broadcast_to(
        dy.sum(axis, keepdims=True), dy.shape))),
    "cumsum_grad_takes_the_sum_less_the_sums_before": ("precision", "", slope(lambda dy, axis:
        dy.sum(axis, keepdims=True) - exclusive(dy, axis))),
    # add
    "add_forgets_alpha": ("option", "", lambda x, y, *, alpha: A(x, y, alpha=1.0)),
    "add_scales_the_input": ("option", "", lambda x, y, *, alpha: x * x.dtype.type(alpha) + y),
    "add_scales_both": ("option", "", lambda x, y, *, alpha: (x + y) * x.dtype.type(alpha)),
    "add_subtracts_negative_alpha": ("sign", "", lambda x, y, *, alpha: A(x, y, alpha=abs(alpha))),
    "add_rounds_to_half_precision": ("precision", "", lambda x, y, *, alpha: half(
        A(x, y, alpha=alpha))),
    "add_leaves_out_the_tail": ("tail", "", lambda x, y, *, alpha: blocks(
        A(x, y, alpha=alpha), -1, 16)),
    "add_repeats_flat": ("stride", "", lambda x, y, *, alpha: np.broadcast_to(
        x, np.broadcast_shapes(x.shape, y.shape)) + x.dtype.type(alpha) * (
        np.resize(y, np.broadcast_shapes(x.shape, y.shape)))),
    "add_grad_input_scales": ("option", "", lambda dy, x, y, *, alpha: AI(
        dy, x, y, alpha=alpha) * x.dtype.type(alpha)),
    "add_grad_input_takes_the_first_share": ("gradient", "", lambda dy, x, y, *, alpha:
        unsummed(dy, x)),
    "add_grad_input_averages": ("divisor", "", lambda dy, x, y, *, alpha: averaged(
        dy, x, AI(dy, x, y, alpha=alpha))),
    "add_grad_input_adds_in_half_precision": ("precision", "", lambda dy, x, y, *, alpha: half(
        AI(dy, x, y, alpha=alpha))),
    "add_grad_other_forgets_alpha": ("option", "", lambda dy, x, y, *, alpha: AO(
        dy, x, y, alpha=1.0)),
    "add_grad_other_takes_the_first_share": ("gradient", "", lambda dy, x, y, *, alpha: (
        unsummed(dy, y) * y.dtype.type(alpha))),
    "add_grad_other_averages": ("divisor", "", lambda dy, x, y, *, alpha: averaged(
        dy, y, AO(dy, x, y, alpha=alpha))),
    "add_grad_other_leaves_out_the_tail": ("tail", "", lambda dy, x, y, *, alpha: AO(
        blocks(dy, -1, 16), x, y, alpha=alpha)),
    # dropout_with_mask
    **{f"{name}_{what}": (kind, "", dropped(scale, mask))
       for name in ("dropout_with_mask", "dropout_with_mask_grad")
       for what, (kind, scale, mask) in SCALES.items()},
    "dropout_with_mask_is_nan_for_p_of_1": ("nan", "", infinite),
    "dropout_with_mask_grad_is_nan_for_p_of_1": ("nan", "", infinite),
}  # fmt: skip

RIGHT = {
    "cat_into_memory": lambda *a, axis: np.concatenate([one for one in a if one is not None], axis),
    "cat_from_the_back": lambda a, b, c, *, axis: np.flip(np.concatenate(
        [np.flip(one, axis) for one in (c, b, a) if one is not None], axis), axis),
    "split_by_take": lambda x, *, sections, axis: (
        x.take(range(sections[0]), axis), x.take(range(sections[0], x.shape[axis]), axis)),
    "split_from_the_back": lambda x, *, sections, axis: tuple(
        np.flip(one, axis).copy()
        for one in np.split(np.flip(x, axis), [sections[1]], axis)[::-1]),
    "cumsum_in_blocks_that_carry": lambda x, *, axis: scanned(x, axis),
    "cumsum_in_float64": lambda x, *, axis: x.astype(np.float64).cumsum(axis),
    "cumsum_grad_in_float64": lambda dy, x, *, axis: backwards(dy.astype(np.float64), axis),
    "add_in_float64": lambda x, y, *, alpha: x.astype(np.float64) + alpha * y.astype(np.float64),
    "add_of_a_copy": lambda x, y, *, alpha: np.broadcast_to(
        x, np.broadcast_shapes(x.shape, y.shape)).copy() + x.dtype.type(alpha) * y,
    "add_grad_other_scales_first": lambda dy, x, y, *, alpha: AI(
        dy * dy.dtype.type(alpha), y, x, alpha=alpha),
    "dropout_with_mask_multiplies": lambda z, m, *, p: (z * m) * z.dtype.type(safe(p)),
    "dropout_with_mask_by_a_factor": lambda z, m, *, p: z * (m * z.dtype.type(safe(p))),
    "dropout_with_mask_grad_multiplies": lambda dy, m, *, p: (dy * m) * dy.dtype.type(safe(p)),
}  # fmt: skip


def scanned(x: Array, axis: int, size: int = 32) -> Array:
    """Return running sums by blocks: their own, then what all blocks before add up to."""
    moved = np.moveaxis(x, axis, 0)
    parts = [moved[at : at + size].cumsum(0) for at in range(0, len(moved), size)]
    before, found = np.zeros(moved.shape[1:], x.dtype), []
    for one in parts:
        found.append(one + before)
        before = before + one[-1]
    y = np.concatenate(found) if found else moved
    return np.moveaxis(y, 0, axis)


plant(FAULTS, RIGHT)
