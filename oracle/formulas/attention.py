"""Attention: weighted means of values, the weights a softmax of products of query and key.

The documents have none; it is as its paper and PyTorch have it.  What a mask hides has weight 0,
whatever its score; a row of which all is hidden is 0, as PyTorch has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.derive import Derived, derived, instead
from gradoracle.oracle.float_formats import FORMATS, Format
from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.elementary import also, detached, either, exp, log
from gradoracle.oracle.numbers.functions import Constant
from gradoracle.oracle.numbers.many import Held
from gradoracle.oracle.numbers.narrowed import narrow, narrowed
from gradoracle.oracle.numbers.reverse import TracedArray, where
from gradoracle.oracle.numbers.running_maximum import rescaled
from gradoracle.oracle.shapes import Array, Shape

TOP_LEFT, BOTTOM_RIGHT = "top-left", "bottom-right"
AXES = "query: n q l e; key: n h s e; value: n h s v; attn_mask?: n q l s; grad_output: n q l v"
BY = ("query", "key", "value", "attn_mask")
WORDS = {"n": "images", "e": "features", "v": "features of the values"}
NEUTRAL = {"is_causal": False, "scale": None, "enable_gqa": False}
LOG2_E = Constant("log2(e)", math.log2(math.e), lambda context: 1 / context.log(2))
LOG_2 = Constant("log(2)", math.log(2), lambda context: context.log(2))


DECLARED = derived(AXES, BY, images="kept", words=WORDS, neutral=NEUTRAL)


@DECLARED
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Any:  # fmt: skip
    """Return y [N, Q, L, V] from query [N, Q, L, E], key [N, H, S, E] and value [N, H, S, V].

        y[n,q,i,c] = sum_j p[n,q,i,j] value[n,h,j,c],  h = q // (Q / H)
        p[n,q,i,j] = e^(s[n,q,i,j] - m) / sum_k e^(s[n,q,i,k] - m),  m = max_k s[n,q,i,k]
        s[n,q,i,j] = scale sum_c query[n,q,i,c] key[n,h,j,c] + attn_mask[n,q,i,j]
        over the j that are not hidden; where all are, y = 0

    (Vaswani and others 2017, "Attention Is All You Need", equation 1, as PyTorch's function of this
    name has it).  Hidden are the j where attn_mask is False or minus infinity, and with is_causal
    those with j > i.  Without scale it is 1 / sqrt(E).

    Covered by the bound: the quotient taken before or after the sum over j, e^(s - log sum e^s), 2
    to powers with log2(e) in the scale, a running maximum over the keys in either order or by
    parts, and query and key both times the root of the scale.

    Raises:
        ValueError: the shapes do not fit each other, H does not divide Q or differs from it without
            enable_gqa, or attn_mask is given with is_causal.
    """
    return _attention(
        TOP_LEFT, None, query, key, value, attn_mask, is_causal=is_causal, scale=scale,
        enable_gqa=enable_gqa,
    )  # fmt: skip


def _attention(
    alignment: str, limits: Format | None, query: Any, key: Any, value: Any, attn_mask: Any, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Any:  # fmt: skip
    """Return attention, the diagonal of a causal mask beginning or ending in a corner.

    What one product hands on to the next may be rounded to a format.
    """
    images, heads, keys, features = key.shape
    queries, rows = query.shape[1:3]
    _check_heads(queries, heads, grouped=enable_gqa)
    if is_causal and attn_mask is not None:
        raise ValueError("attn_mask must be None with is_causal")
    if isinstance(attn_mask, np.ndarray) and attn_mask.dtype != np.bool_:
        raise ValueError(f"attn_mask must hold booleans or floats, got {attn_mask.dtype}")
    wide = (images, heads, queries // heads * rows, keys)
    products = _products(query.reshape((*wide[:3], features)), key, scale, limits)
    mask = None if attn_mask is None else attn_mask.reshape(wide)
    seen = _seen(wide, mask, rows, alignment if is_causal else "")
    added = mask if hasattr(mask, "detached") else None
    added = _where_seen(added, seen)
    weights = _weights(products, added, seen)
    if limits is None:
        attended = weights @ value
    else:
        scores = products if added is None else products + added
        attended = _attended(scores, weights.held, value, seen, limits)
    return attended.reshape((images, queries, rows, value.shape[3]))


def _check_heads(queries: int, heads: int, *, grouped: bool) -> None:
    """Raise ValueError unless there are as many heads, or some for each with enable_gqa."""
    if grouped and queries % heads:
        raise ValueError(f"key must have heads that divide query's {queries}, got {heads}")
    if not grouped and queries != heads:
        raise ValueError(
            f"key must have query's {queries} heads, got {heads}: only with enable_gqa may it "
            "have fewer"
        )


def _products(query: Any, key: Any, scale: float | None, limits: Format | None) -> Any:
    """Return scale query key^T; kernels also multiply both by the root of the scale before."""
    features = key.shape[3]
    if scale is None:
        factor, root = _inverse_root(features, 2), _inverse_root(features, 4)
        plain = (query @ key.swapaxes(2, 3)) * factor(query)
        first = size = root(query)
    else:
        plain = (query @ key.swapaxes(2, 3)) * scale
        size = math.sqrt(abs(scale))
        first = math.copysign(size, scale)

    def scaled_before() -> Any:
        return narrow(query * first, limits) @ narrow(key * size, limits).swapaxes(2, 3)

    return either(plain, scaled_before)


def _inverse_root(features: int, degree: int) -> Constant:
    """Return 1 / sqrt(E), or that of the fourth degree."""
    value = features ** (-1 / degree)
    return Constant(f"{features}^(-1/{degree})", value, lambda context: 1 / context.root(
        features, degree))  # fmt: skip


def _seen(wide: Shape, mask: Any, rows: int, alignment: str) -> Array:
    """Return which keys each row sees: all, what a mask leaves, or those up to a diagonal."""
    if alignment:
        below = _below(rows, wide[3], alignment)
        return np.broadcast_to(np.tile(below, (wide[2] // rows, 1)), wide)
    if mask is None:
        return np.ones(wide, bool)
    if hasattr(mask, "detached"):  # numbers that are added, a NaN among them
        return np.asarray(~(mask <= -math.inf).holds)
    return np.asarray(mask, bool)


def _below(rows: int, keys: int, alignment: str) -> Array:
    """Return which keys each row sees by a causal mask."""
    ahead = keys - rows if alignment == BOTTOM_RIGHT else 0
    return np.asarray(np.arange(keys) <= np.arange(rows)[:, np.newaxis] + ahead)


def hidden(call: Mapping[str, Any], alignment: str) -> Array:
    """Return which keys a call's rows do not see, [..., L, S]."""
    rows, keys, mask = call["query"].shape[2], call["key"].shape[2], call.get("attn_mask")
    if call["is_causal"]:
        return ~_below(rows, keys, alignment)
    if mask is None:
        return np.zeros((rows, keys), bool)
    return np.asarray(~mask if mask.dtype == np.bool_ else np.isneginf(mask))


def _where_seen(mask: Any, seen: Array) -> Any:
    """Return what is added to the scores: nothing to those that are hidden."""
    return mask if mask is None or seen.all() else where(seen, mask, 0)


def _weights(products: Any, mask: Any, seen: Array) -> Any:
    """Return the softmax of each row over what it sees; 0 where that is nothing."""
    scores = products if mask is None else products + mask
    some = np.asarray(seen.any(3, keepdims=True))
    shifted, top = _less_the_largest(scores, seen, some)
    powers = also(exp(shifted), partial(_by_powers_of_two, products, mask, seen, some))
    powers = where(seen, rescaled(powers, scores, seen), 0)
    total = where(some, powers.sum(3, keepdims=True), 1)

    def by_logarithm() -> Any:
        return where(seen, exp(where(seen, scores - (top + log(total)), 0)), 0)

    return either(powers / total, by_logarithm)


def _less_the_largest(scores: Any, seen: Array, some: Array) -> tuple[Any, Any]:
    """Return the scores less the largest that each row sees, and that; 0 for what is hidden."""
    top = detached(where(seen, scores, -math.inf).max(3, keepdims=True))
    top = where(some, top, 0)
    return where(seen, scores - top, 0), top


def _attended(
    scores: TracedArray, weights: Held, value: TracedArray, seen: Array, limits: Format
) -> TracedArray:
    """Return weights @ value of weights rounded to a format, as are ds and y on the way back.

        dvalue = p^T dy
        ds = p (dp - sum_c dy y),  dp = dy value^T

    (Dao 2023, "FlashAttention-2", algorithm 2; or the sum over the keys of p dp in place of that
    over the features.)
    """
    kept, values = narrowed(weights, limits), value.held
    y = many.product(kept, values)

    def by_scores(dy: Held) -> Held:
        dp = many.product(dy, _turned(values))
        delta = many.total(dy * narrowed(y, limits), (3,))
        if hasattr(delta, "or_else"):
            delta = delta.or_else(many.total(dp * weights, (3,)))
        ds = (dp - delta) * weights
        return narrowed(many.chosen(seen, ds, many.zeros(ds)), limits)

    def by_value(dy: Held) -> Held:
        return many.product(_turned(kept), dy)

    return TracedArray(y, [(scores, by_scores), (value, by_value)])


def _turned(held: Held) -> Held:
    return many.each_part(held, lambda a: np.swapaxes(a, 2, 3))


def _by_powers_of_two(products: Any, mask: Any, seen: Array, some: Array) -> Any:
    """Return e^(s - m) as 2^(s log2(e) - m log2(e))."""
    base = LOG2_E(products)
    scores = products * base if mask is None else products * base + mask * base
    shifted, _ = _less_the_largest(scores, seen, some)
    return exp(shifted * LOG_2(products))


@cache
def _made(alignment: str, dtype: str | None) -> Derived:
    """Return the formulas with a diagonal and a format that what products hand on is rounded to."""
    limits = None if dtype is None else FORMATS[dtype]

    def scaled_dot_product_attention(
        query: Any, key: Any, value: Any, attn_mask: Any = None, *,
        is_causal: bool, scale: float | None, enable_gqa: bool,
    ) -> Any:  # fmt: skip
        return _attention(
            alignment, limits, query, key, value, attn_mask, is_causal=is_causal, scale=scale,
            enable_gqa=enable_gqa,
        )  # fmt: skip

    doc = PLAIN.__doc__ or ""
    if alignment == BOTTOM_RIGHT:
        doc = doc.replace("j > i.", "j > i + S - L.")
    if dtype is not None:
        doc = doc.replace("    Covered by", f"    What products take may be {dtype}.  Covered by")
    scaled_dot_product_attention.__doc__ = doc
    return DECLARED(scaled_dot_product_attention)


PLAIN = scaled_dot_product_attention.forward
ALIGNED_TO_THE_END = _made(BOTTOM_RIGHT, None)
DERIVED = (scaled_dot_product_attention,)


@cache
def with_operands_in(dtype: str) -> Mapping[Formula, Formula]:
    """Return the formulas of attention whose products take operands rounded to a format.

    By those that they stand for.  The weights are rounded, and so are the gradient of the scores,
    the y that it is computed from, and a query and key that are scaled before they are multiplied.
    """
    return {
        **instead(scaled_dot_product_attention, _made(TOP_LEFT, dtype)),
        **instead(ALIGNED_TO_THE_END, _made(BOTTOM_RIGHT, dtype)),
    }
