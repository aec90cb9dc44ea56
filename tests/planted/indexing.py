"""Planted faults and controls of embeddings, gather, scatter_add and index_select."""

from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import half
from tests.planted.table import plant

Array = Any


def blocks(array: Array, axis: int, size: int) -> Array:
    """Return an array with 0 in the incomplete last block along an axis; a short one as it is."""
    side = array.shape[axis]
    if side < size:
        return array
    moved = np.moveaxis(array.copy(), axis, 0)
    moved[side // size * size :] = 0
    return np.moveaxis(moved, 0, axis)


def assigned(dy: Array, index: Array, weight: Array) -> Array:
    """Return dw of which each row is the last dy that names it."""
    dw = np.zeros_like(weight)
    dw[index.reshape(-1)] = dy.reshape(-1, weight.shape[1])
    return dw


def without(dw: Array, row: int | None) -> Array:
    if row is not None:
        dw[row] = 0
    return dw


def looped(dy: Array, index: Array, weight: Array, padding_idx: int | None) -> Array:
    """Return dw, rows added one after the other."""
    dw = np.zeros(weight.shape, weight.dtype)
    np.add.at(dw, index, dy)
    return without(dw, padding_idx)


def counted(dy: Array, index: Array, weight: Array, padding_idx: int | None) -> Array:
    """Return dw divided by how often each row is named, as scale_grad_by_freq has it."""
    count = np.bincount(index.ravel(), minlength=len(weight))
    return looped(dy, index, weight, padding_idx) / np.maximum(count, 1)[:, None]


def embedded(index: Array, weight: Array, padding: int | None) -> Array:
    """Return the rows, of the padding zeros."""
    y = weight[index]
    return y if padding is None else y * (index != padding % len(weight))[..., None]


def placed(shape: tuple[int, ...], index: Array, values: Array, axis: int, *, add: bool) -> Array:
    """Return zeros to which values are added, or which they replace, where an index says so."""
    found = np.zeros(shape, values.dtype)
    grid = list(np.meshgrid(*map(np.arange, index.shape), indexing="ij"))
    grid[axis] = index
    if add:
        np.add.at(found, tuple(grid), values)
    else:
        found[tuple(grid)] = values
    return found


def cut(array: Array, index: Array, axis: int) -> Array:
    place = axis % array.ndim
    return array[tuple(slice(None if a == place else side) for a, side in enumerate(index.shape))]


def last(array: Array, index: Array, axis: int) -> Array:
    """Gather along the last axis, whatever the axis, where the indices let it."""
    size = array.shape[-1]
    if axis % array.ndim == array.ndim - 1 or any(
        a > b for a, b in zip(index.shape[:-1], array.shape[:-1], strict=True)
    ):
        return good.gather(array, index, axis=axis)
    return np.take_along_axis(cut(array, index, -1), index % size, -1)


def from_the_front(axis: int, ndim: int) -> int:
    """Return an axis counted from the end as one that is counted from the front."""
    return -axis - 1 if axis < 0 and -axis - 1 < ndim else axis


def gathered_by(axis: Any) -> Any:
    def wrong(x: Array, index: Array, *, axis: int, of: Any = axis) -> Array:
        other = of(axis, x.ndim)
        try:
            y = good.gather(x, index % max(1, x.shape[other]), axis=other)
        except ValueError:
            return good.gather(x, index, axis=axis)
        return y

    return wrong


def summed(x: Array, index: Array, src: Array, axis: int, *, add: bool = True) -> Array:
    return x + placed(x.shape, index, src, axis, add=add)


def scattered_over(x: Array, index: Array, src: Array, *, axis: int) -> Array:
    """Return x of which elements are replaced by sums, not added to them."""
    some = placed(x.shape, index, np.ones_like(src), axis, add=True) > 0
    return np.where(some, placed(x.shape, index, src, axis, add=True), x)


def entries(dy: Array, x: Array, index: Array, axis: int, *, add: bool) -> Array:
    rows = np.zeros((x.shape[axis], *np.moveaxis(x, axis, 0).shape[1:]), x.dtype)
    if add:
        np.add.at(rows, index, np.moveaxis(dy, axis, 0))
    else:
        rows[index] = np.moveaxis(dy, axis, 0)
    return np.moveaxis(rows, 0, axis)


def rounded(sums: Array) -> Array:
    return half(sums)


E, G = good.embedding_grad, good.gather
S, I = good.scatter_add, good.index_select  # noqa: E741

FAULTS = {
    # embedding
    "embedding_zeroes_the_padding": ("option", "PaddlePaddle/Paddle#12442",
        lambda i, w, *, padding_idx:
        embedded(i, w, padding_idx)),
    "embedding_shifts_by_one_from_the_padding_on": ("index", "", lambda i, w, *, padding_idx:
        w[i if padding_idx is None else np.where(i > padding_idx % len(w), i - 1, i)]),
    "embedding_reads_the_row_before": ("index", "", lambda i, w, **o: w[i - 1]),
    "embedding_reads_eight_bit_indices": ("overflow", "", lambda i, w, **o: w[i % 256]),
    "embedding_reads_signed_sixteen_bit_indices": ("overflow", "", lambda i, w, **o:
        w[np.minimum(i, 2**15 - 1)]),
    "embedding_clamps_to_the_last_but_one": ("index", "", lambda i, w, **o:
        w[np.minimum(i, max(0, len(w) - 2))]),
    "embedding_leaves_out_the_tail_of_a_row": ("tail", "", lambda i, w, **o: blocks(w[i], -1, 32)),
    "embedding_leaves_out_the_last_tokens": ("tail", "", lambda i, w, **o: blocks(w[i], 1, 64)),
    "embedding_takes_tokens_for_images": ("axis", "", lambda i, w, **o:
        w[i.T.reshape(i.shape)]),
    "embedding_rounds_to_half_precision": ("precision", "", lambda i, w, **o: half(w[i])),
    "embedding_drops_nan": ("nan", "", lambda i, w, **o: np.nan_to_num(w[i], nan=0.0)),
    "embedding_scales_by_the_root_of_the_width": ("formula", "", lambda i, w, **o:
        w[i] * np.sqrt(w.dtype.type(w.shape[1]))),
    "embedding_grad_overwrites_repeated_rows": ("overlap", "",
        lambda dy, i, w, *, padding_idx: without(assigned(dy, i, w), padding_idx)),
    "embedding_grad_adds_one_of_a_token_in_each_row": ("overlap", "",
        lambda dy, i, w, *, padding_idx: without(sum(
            (assigned(dy[n], i[n], w) for n in range(len(i))), np.zeros_like(w)), padding_idx)),
    "embedding_grad_reaches_the_padding": ("option", "pytorch/pytorch#26302",
        lambda dy, i, w, *, padding_idx: E(dy, i, w, padding_idx=None)),
    "embedding_grad_reaches_the_padding_past_768_tokens": ("narrow", "pytorch/pytorch#28716",
        lambda dy, i, w, *, padding_idx: E(dy, i, w, padding_idx=padding_idx if i.size <= 768
                                           else None)),
    "embedding_grad_always_takes_0_for_the_padding": ("option", "",
        lambda dy, i, w, *, padding_idx: without(E(dy, i, w, padding_idx=None), 0)),
    "embedding_grad_ignores_a_negative_padding": ("option", "", lambda dy, i, w, *, padding_idx:
        E(dy, i, w, padding_idx=padding_idx if padding_idx is None or padding_idx >= 0 else None)),
    "embedding_grad_ignores_a_padding_of_0": ("option", "", lambda dy, i, w, *, padding_idx:
        E(dy, i, w, padding_idx=padding_idx or None)),
    "embedding_grad_divides_by_the_frequency": ("divisor", "", lambda dy, i, w, *, padding_idx:
        counted(dy, i, w, padding_idx)),
    "embedding_grad_averages_the_batch": ("batch", "", lambda dy, i, w, **o:
        E(dy, i, w, **o) / dy.dtype.type(max(1, len(i)))),
    "embedding_grad_adds_in_half_precision": ("precision", "",
        lambda dy, i, w, **o: rounded(E(dy, i, w, **o))),
    "embedding_grad_leaves_out_the_tail_of_a_row": ("tail", "", lambda dy, i, w, **o:
        E(blocks(dy, -1, 32), i, w, **o)),
    "embedding_grad_leaves_out_tokens_past_blocks": ("tail", "", lambda dy, i, w, **o:
        E(blocks(dy, 1, 128), i, w, **o)),
    "embedding_grad_leaves_out_the_last_row": ("index", "", lambda dy, i, w, **o:
        np.concatenate([E(dy, i, w, **o)[:-1], np.zeros_like(w[-1:])])),
    "embedding_grad_stops_after_65536_tokens": ("overflow", "", lambda dy, i, w, **o:
        E(dy * (np.arange(i.size).reshape(i.shape) < 2**16)[..., None].astype(dy.dtype), i, w,
          **o)),
    "embedding_grad_is_that_of_a_dense_layer": ("gradient", "", lambda dy, i, w, **o:
        E(dy, i, w, **o) * w),
    # gather
    "gather_takes_the_last_axis": ("axis", "", lambda x, i, *, axis: last(x, i, axis)),
    "gather_counts_a_negative_axis_from_the_front": ("axis", "", gathered_by(from_the_front)),
    "gather_reads_the_element_before": ("index", "", lambda x, i, *, axis: G(
        x, np.maximum(i - 1, 0), axis=axis)),
    "gather_wraps_at_256": ("overflow", "", lambda x, i, *, axis: G(x, i % 256, axis=axis)),
    "gather_leaves_out_the_tail": ("tail", "", lambda x, i, *, axis: blocks(
        G(x, i, axis=axis), -1, 16)),
    "gather_rounds_to_half_precision": ("precision", "", lambda x, i, *, axis: half(
        G(x, i, axis=axis))),
    "gather_reads_sorted_indices": ("index", "", lambda x, i, *, axis: G(
        x, np.sort(i, axis), axis=axis)),
    "gather_takes_the_first_line_of_indices_for_all": ("index", "", lambda x, i, *, axis: G(
        x, np.broadcast_to(i.reshape(-1, i.shape[-1])[0] if i.size else i, i.shape)
        % max(1, x.shape[axis]), axis=axis)),
    "gather_drops_nan": ("nan", "", lambda x, i, *, axis: np.nan_to_num(
        G(x, i, axis=axis), nan=0.0)),
    "gather_grad_overwrites": ("overlap", "pytorch/pytorch#1631", lambda dy, x, i, *, axis:
        placed(x.shape, i, dy, axis, add=False)),
    "gather_grad_leaves_out_the_tail": ("tail", "", lambda dy, x, i, *, axis: placed(
        x.shape, i, blocks(dy, -1, 16), axis, add=True)),
    "gather_grad_adds_in_half_precision": ("precision", "", lambda dy, x, i, *, axis: half(
        placed(x.shape, i, dy, axis, add=True))),
    "gather_grad_divides_by_how_often_it_is_read": ("divisor", "", lambda dy, x, i, *, axis:
        placed(x.shape, i, dy, axis, add=True) / np.maximum(
            placed(x.shape, i, np.ones_like(dy), axis, add=True), 1)),
    "gather_grad_is_dy_where_that_fits": ("gradient", "", lambda dy, x, i, *, axis: dy.copy()
        if dy.shape == x.shape else placed(x.shape, i, dy, axis, add=True)),
    "gather_grad_takes_dy_for_1": ("gradient", "", lambda dy, x, i, *, axis: placed(
        x.shape, i, np.ones_like(dy), axis, add=True)),
    "gather_grad_leaves_out_the_last_element": ("index", "", lambda dy, x, i, *, axis: placed(
        x.shape, i, np.where(i == x.shape[axis] - 1, 0, dy).astype(dy.dtype), axis, add=True)),
    # scatter_add
    "scatter_add_overwrites_repeated_places": ("overlap", "PaddlePaddle/Paddle#17952",
        lambda x, i, s, *, axis: summed(x, i, s, axis, add=False)),
    "scatter_add_replaces_the_input": ("formula", "", scattered_over),
    "scatter_add_forgets_the_input": ("formula", "", lambda x, i, s, *, axis: placed(
        x.shape, i, s, axis, add=True)),
    "scatter_add_subtracts": ("sign", "", lambda x, i, s, *, axis: x - placed(
        x.shape, i, s, axis, add=True)),
    "scatter_add_leaves_out_the_tail": ("tail", "", lambda x, i, s, *, axis: S(
        x, i, blocks(s, -1, 16), axis=axis)),
    "scatter_add_adds_in_half_precision": ("precision", "", lambda x, i, s, *, axis: x + half(
        placed(x.shape, i, s, axis, add=True))),
    "scatter_add_wraps_at_256": ("overflow", "", lambda x, i, s, *, axis: S(
        x, i % 256, s, axis=axis)),
    "scatter_add_averages": ("divisor", "", lambda x, i, s, *, axis: x + placed(
        x.shape, i, s, axis, add=True) / np.maximum(
            placed(x.shape, i, np.ones_like(s), axis, add=True), 1)),
    "scatter_add_takes_the_largest": ("formula", "", lambda x, i, s, *, axis: np.maximum(
        x, S(x, i, s, axis=axis))),
    "scatter_add_leaves_out_the_last_place": ("index", "", lambda x, i, s, *, axis: S(
        x, i, np.where(i == x.shape[axis] - 1, 0, s).astype(s.dtype), axis=axis)),
    "scatter_add_grad_input_is_0_where_src_was_added": ("gradient", "",
        lambda dy, x, i, s, *, axis: np.where(
            placed(x.shape, i, np.ones_like(s), axis, add=True) > 0, 0, dy)),
    "scatter_add_grad_input_has_src_added": ("gradient", "", lambda dy, x, i, s, *, axis: S(
        dy, i, s, axis=axis)),
    "scatter_add_grad_input_drops_nan": ("nan", "", lambda dy, *a, **o: np.nan_to_num(
        dy, nan=0.0)),
    "scatter_add_grad_src_is_src": ("gradient", "", lambda dy, x, i, s, *, axis: s.copy()),
    "scatter_add_grad_src_reads_the_element_before": ("index", "", lambda dy, x, i, s, *, axis: G(
        dy, np.maximum(i - 1, 0), axis=axis)),
    "scatter_add_grad_src_divides_by_how_often": ("divisor", "", lambda dy, x, i, s, *, axis: G(
        dy / np.maximum(placed(x.shape, i, np.ones_like(s), axis, add=True), 1).astype(dy.dtype),
        i, axis=axis)),
    "scatter_add_grad_src_is_0_for_repeated_places": ("overlap", "", lambda dy, x, i, s, *, axis:
        G(np.where(placed(x.shape, i, np.ones_like(s), axis, add=True) > 1, 0, dy).astype(dy.dtype),
          i, axis=axis)),
    "scatter_add_grad_src_leaves_out_the_tail": ("tail", "", lambda dy, x, i, s, *, axis: blocks(
        G(dy, i, axis=axis), -1, 16)),
    # index_select
    "index_select_sorts_its_index": ("index", "", lambda x, i, *, axis: I(
        x, np.sort(i), axis=axis)),
    "index_select_takes_each_entry_once": ("index", "", lambda x, i, *, axis: I(
        x, np.resize(np.unique(i), i.shape), axis=axis)),
    "index_select_wraps_at_256": ("overflow", "", lambda x, i, *, axis: I(x, i % 256, axis=axis)),
    "index_select_leaves_out_the_tail": ("tail", "", lambda x, i, *, axis: blocks(
        I(x, i, axis=axis), -1, 16)),
    "index_select_rounds_to_half_precision": ("precision", "", lambda x, i, *, axis: half(
        I(x, i, axis=axis))),
    "index_select_reads_the_entry_before": ("index", "", lambda x, i, *, axis: I(
        x, np.maximum(i - 1, 0), axis=axis)),
    "index_select_grad_overwrites": ("overlap", "PaddlePaddle/Paddle#17662",
        lambda dy, x, i, *, axis: entries(dy, x, i, axis, add=False)),
    "index_select_grad_leaves_out_the_tail": ("tail", "", lambda dy, x, i, *, axis: entries(
        blocks(dy, axis, 16), x, i, axis, add=True)),
    "index_select_grad_adds_in_half_precision": ("precision", "", lambda dy, x, i, *, axis: half(
        entries(dy, x, i, axis, add=True))),
    "index_select_grad_leaves_out_the_last_entry": ("index", "", lambda dy, x, i, *, axis: entries(
        dy * np.moveaxis(np.ones_like(np.moveaxis(dy, axis, -1)) * (i < x.shape[axis] - 1), -1,
                         axis).astype(dy.dtype), x, i, axis, add=True)),
    "index_select_grad_takes_dy_for_1": ("gradient", "", lambda dy, x, i, *, axis: entries(
        np.ones_like(dy), x, i, axis, add=True)),
}  # fmt: skip


def one_hot(index: Array, weight: Array) -> Array:
    """Return the rows as a product with a matrix of 0 and 1; NaN is no part of it."""
    some = (index.reshape(-1, 1) == np.arange(len(weight))).astype(weight.dtype)
    safe = np.where(np.isfinite(weight), weight, 0)
    y = (some @ safe).reshape(*index.shape, weight.shape[1])
    return np.where(np.isfinite(weight[index]), y, weight[index])


RIGHT = {
    "embedding_as_a_product": lambda i, w, **o: one_hot(i, w),
    "embedding_row_by_row": lambda i, w, **o: np.stack([w[row] for row in i])
        if len(i) else w[i],
    "embedding_grad_row_by_row": lambda dy, i, w, *, padding_idx: looped(dy, i, w, padding_idx),
    "embedding_grad_from_the_end": lambda dy, i, w, *, padding_idx: looped(
        dy[::-1], i[::-1], w, padding_idx),
    "gather_of_the_whole": lambda x, i, *, axis: x[tuple(
        i if a == axis % x.ndim else own
        for a, own in enumerate(np.meshgrid(*map(np.arange, i.shape), indexing="ij")))],
    "gather_grad_one_by_one": lambda dy, x, i, *, axis: placed(x.shape, i, dy, axis, add=True),
    "scatter_add_one_by_one": lambda x, i, s, *, axis: summed(x, i, s, axis),
    "scatter_add_into_the_input": lambda x, i, s, *, axis: _into(x, i, s, axis),
    "index_select_by_gather": lambda x, i, *, axis: np.moveaxis(
        np.moveaxis(x, axis, 0)[i], 0, axis),
    "index_select_grad_one_by_one": lambda dy, x, i, *, axis: entries(dy, x, i, axis, add=True),
}  # fmt: skip


def _into(x: Array, index: Array, src: Array, axis: int) -> Array:
    """Add src's elements to a copy of the input, one after the other."""
    found = x.copy()
    grid = list(np.meshgrid(*map(np.arange, index.shape), indexing="ij"))
    grid[axis] = index
    np.add.at(found, tuple(grid), src)
    return found


plant(FAULTS, RIGHT)
