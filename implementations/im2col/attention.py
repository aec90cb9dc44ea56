"""Attention as batched matrix products, and its gradients from the weights."""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import Shape, check_attention

Array: TypeAlias = npt.NDArray[Any]


class Pass(NamedTuple):
    """A forward pass: the rows of grouped heads together, [N, H, Q/H L, ...]."""

    query: Array
    key: Array
    value: Array
    weights: Array
    factor: Any
    shape: Shape  # of the query
    masked: bool  # by numbers that were added


def _passed(
    query: Array, key: Array, value: Array, mask: Array | None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Pass:  # fmt: skip
    """Return the weights, and what they were made of.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    check_attention(query, key, value, mask, is_causal=is_causal, enable_gqa=enable_gqa)
    images, heads, keys, features = key.shape
    rows = query.shape[2]
    together = (images, heads, query.shape[1] // heads * rows)
    q = query.reshape(*together, features)
    factor = query.dtype.type(1 / math.sqrt(features) if scale is None else scale)
    scores = (q @ key.swapaxes(2, 3)) * factor
    if is_causal:
        below = np.tri(rows, keys, dtype=bool)
        scores.reshape(images, query.shape[1], rows, keys)[..., ~below] = -np.inf
    elif mask is not None:
        wide = mask.reshape(scores.shape)
        scores = np.where(wide, scores, -np.inf) if wide.dtype == bool else scores + wide
        scores = scores.astype(query.dtype)
    added = mask is not None and mask.dtype != bool
    return Pass(q, key, value, _softmax(scores), factor, query.shape, added)


def _softmax(scores: Array) -> Array:
    """Return the softmax of each row, zeros of one that is minus infinity altogether."""
    top = scores.max(-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = powers.sum(-1, keepdims=True)
    weights: Array = powers / np.where(total == 0, 1, total)
    return weights


@in_float32
def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return the means of the values [N, Q, L, V], weighted by softmax(scale query key^T + mask).

    Raises:
        ValueError: the arguments do not fit each other.
    """
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    of = _passed(query, key, value, attn_mask, **options)  # type: ignore[arg-type]
    y: Array = of.weights @ value
    return y.reshape(*query.shape[:3], value.shape[3])


def _received(of: Pass, grad_output: Array) -> Array:
    """Return dy with the rows of grouped heads together.

    Raises:
        ValueError: it does not have the shape of the result.
    """
    shape = (*of.shape[:3], of.value.shape[3])
    if grad_output.shape != shape:
        raise ValueError(f"grad_output has shape {grad_output.shape}, the result {shape}")
    return grad_output.reshape(*of.query.shape[:3], shape[3])


def _grad_scores(of: Pass, dy: Array) -> Array:
    """Return p (dp - sum dp p), dp = dy value^T, of each row."""
    dp = dy @ of.value.swapaxes(2, 3)
    delta = (of.weights * dp).sum(-1, keepdims=True)
    found: Array = of.weights * (dp - delta)
    return found


@in_float32
def scaled_dot_product_attention_grad_query(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dquery [N, Q, L, E] = scale ds key.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    of = _passed(query, key, value, attn_mask, **options)  # type: ignore[arg-type]
    return _by_query(of, _grad_scores(of, _received(of, grad_output)))


def _by_query(of: Pass, ds: Array) -> Array:
    found: Array = (ds @ of.key) * of.factor
    return found.reshape(of.shape)


@in_float32
def scaled_dot_product_attention_grad_key(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dkey [N, H, S, E] = scale ds^T query, summed over the heads of a group.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    of = _passed(query, key, value, attn_mask, **options)  # type: ignore[arg-type]
    return _by_key(of, _grad_scores(of, _received(of, grad_output)))


def _by_key(of: Pass, ds: Array) -> Array:
    found: Array = (ds.swapaxes(2, 3) @ of.query) * of.factor
    return found


@in_float32
def scaled_dot_product_attention_grad_value(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dvalue [N, H, S, V] = p^T dy, summed over the heads of a group.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    of = _passed(query, key, value, attn_mask, **options)  # type: ignore[arg-type]
    found: Array = of.weights.swapaxes(2, 3) @ _received(of, grad_output)
    return found


@in_float32
def scaled_dot_product_attention_grad_attn_mask(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return dmask [N, Q, L, S] = ds, of a mask of numbers.

    Raises:
        ValueError: the arguments do not fit each other, or there is no such mask.
    """
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    of = _passed(query, key, value, attn_mask, **options)  # type: ignore[arg-type]
    if not of.masked:
        raise ValueError("there is no gradient by a mask of None or bool")
    ds = _grad_scores(of, _received(of, grad_output))
    return ds.reshape(*query.shape[:3], key.shape[2])


@in_float32
def scaled_dot_product_attention_vjp(
    grad_output: Array, query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> tuple[Array | None, ...]:  # fmt: skip
    """Return (dquery, dkey, dvalue, dmask); the last is None by a mask of None or bool.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    options = {"is_causal": is_causal, "scale": scale, "enable_gqa": enable_gqa}
    of = _passed(query, key, value, attn_mask, **options)  # type: ignore[arg-type]
    dy = _received(of, grad_output)
    ds = _grad_scores(of, dy)
    by_value: Array = of.weights.swapaxes(2, 3) @ dy
    by_mask = ds.reshape(*query.shape[:3], key.shape[2]) if of.masked else None
    return _by_query(of, ds), _by_key(of, ds), by_value, by_mask
