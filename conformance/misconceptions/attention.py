"""What somebody may misunderstand about matrix products, attention and the rotary embedding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import (
    Misconception,
    Wrong,
    bent,
    right,
)
from gradoracle.oracle.declaration import Formula, evaluate
from gradoracle.oracle.shapes import Array

NAME = "scaled_dot_product_attention"
GRADIENTS = tuple(f"{NAME}_grad_{one}" for one in ("query", "key", "value", "attn_mask"))
FORWARD = (NAME,)
ROTARY = ("rotary_embedding", "rotary_embedding_grad")


def _scale(call: dict[str, Any]) -> float:
    features: int = call["query"].shape[3]
    return float(1 / math.sqrt(features) if call["scale"] is None else call["scale"])


def _scaled(change: Any) -> Wrong:
    """Return attention by another scale, made of the right one."""
    return bent(lambda call: {**call, "scale": change(_scale(call))})


def _causal_from_the_end(shift: int, *, to_the_end: bool) -> Wrong:
    """Return causal attention whose diagonal is elsewhere, as a mask of booleans."""

    def bend(call: dict[str, Any]) -> dict[str, Any]:
        if not call["is_causal"]:
            return call
        rows, keys = call["query"].shape[2], call["key"].shape[2]
        ahead = shift + (keys - rows if to_the_end else 0)
        below = np.tri(rows, keys, ahead, dtype=bool)
        mask = np.broadcast_to(below, (*call["query"].shape[:2], rows, keys))
        return {**call, "is_causal": False, "attn_mask": mask}

    return bent(bend)


def _not_causal(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "is_causal": False}


def _inverted(call: dict[str, Any]) -> dict[str, Any]:
    mask = call["attn_mask"]
    is_boolean = mask is not None and mask.dtype == np.bool_
    return {**call, "attn_mask": ~mask} if is_boolean else call


def _tiled_heads(call: dict[str, Any]) -> dict[str, Any]:
    """Return the call whose query head q reads key head q % H."""
    group = call["query"].shape[1] // call["key"].shape[1]
    heads = {n: np.tile(call[n], (1, group, 1, 1)) for n in ("key", "value")}
    return {**call, **heads, "enable_gqa": False}


def _rotary(change: Any) -> Wrong:
    return bent(lambda call: {**call, **change(call)})


def _turned_on(formula: Formula, call: dict[str, Any]) -> Array:
    """Return dy turned as x is, not back."""
    return evaluate(formula, {**call, "sin": -call["sin"]})


def _transposed(name: str) -> Wrong:
    return bent(lambda call: {**call, name: np.swapaxes(call[name], -1, -2)})


def _first_of_the_batch(name: str) -> Wrong:
    return bent(lambda call: {**call, name: np.broadcast_to(call[name][:1], call[name].shape)})


def _times_the_scale(formula: Formula, call: dict[str, Any]) -> Array:
    return right(formula, call) * _scale(call)


MISCONCEPTIONS = (
    Misconception("the scale is applied twice", FORWARD, _scaled(lambda c: c * c)),
    Misconception("nothing is scaled", FORWARD, _scaled(lambda _: 1.0)),
    Misconception("the scale is left out on the way back", (GRADIENTS[0], GRADIENTS[1]),
                  lambda f, c: right(f, c) / _scale(c)),
    Misconception("the scale is applied twice on the way back", (GRADIENTS[0], GRADIENTS[1]),
                  _times_the_scale),
    Misconception("the gradient by the mask is scaled as the products are", GRADIENTS[3:],
                  _times_the_scale),
    Misconception("`scale` is ignored: it is always 1 / sqrt(E)", FORWARD,
                  bent(lambda c: {**c, "scale": None})),
    Misconception("`is_causal` is ignored", FORWARD, bent(_not_causal)),
    Misconception("the causal mask is aligned to the last row and key, not to the first: a "
                  'contract may say {"causal": "bottom-right"}', FORWARD,
                  _causal_from_the_end(0, to_the_end=True)),
    Misconception("each row sees one key too many", FORWARD,
                  _causal_from_the_end(1, to_the_end=False)),
    Misconception("no row sees its own key", FORWARD, _causal_from_the_end(-1, to_the_end=False)),
    Misconception("a mask of booleans hides what is True", FORWARD, bent(_inverted)),
    Misconception("the mask is left out", FORWARD,
                  bent(lambda c: {**c, "attn_mask": None})),
    Misconception("query head q reads key head q % H, not q // (Q / H)", (NAME, GRADIENTS[0]),
                  bent(_tiled_heads)),
    Misconception("the angle has the other sign", ROTARY[:1],
                  _rotary(lambda c: {"sin": -c["sin"]})),
    Misconception("dy is turned on, not back", ROTARY[1:], _turned_on),
    Misconception("pairs are neighbours where they are halves, and halves where they are "
                  "neighbours", ROTARY, _rotary(lambda c: {"interleaved": not c["interleaved"]})),
    Misconception("`offset` is ignored", ROTARY, _rotary(lambda _: {"offset": 0})),
    Misconception("the first step has the angle of the second", ROTARY,
                  _rotary(lambda c: {"offset": c["offset"] + 1})),
    Misconception("cos and sin are exchanged", ROTARY,
                  _rotary(lambda c: {"sin": c["cos"], "cos": c["sin"]})),
    Misconception("the right matrix is transposed", ("matmul", "matmul_grad_input"),
                  _transposed("other")),
    Misconception("the right matrices are transposed", ("bmm", "bmm_grad_input"),
                  _transposed("mat2")),
    Misconception("the first matrix on the right is taken for all", ("bmm", "bmm_grad_input"),
                  _first_of_the_batch("mat2")),
    Misconception("the bias is left out", ("bilinear",), bent(lambda c: {**c, "bias": None})),
    Misconception("the weight is transposed", ("bilinear", "bilinear_grad_input1",
                  "bilinear_grad_input2"), _transposed("weight")),
)  # fmt: skip
