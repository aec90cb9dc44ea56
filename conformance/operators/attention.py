"""Attention: its record, with PyTorch's function of its name as the witness."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradoracle.conformance.drawing.choices import PAST
from gradoracle.conformance.drawing.values import (
    Arrays,
    Random,
    Shapes,
    nearly_cancelling,
    normal,
    small_integers,
    styles,
)
from gradoracle.conformance.operators.arrays import GIVEN, PICKED
from gradoracle.conformance.operators.of_formula import NUMBERS, equal_rows, of_formula
from gradoracle.conformance.operators.record import Corner, Policies
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.formulas.attention import hidden, scaled_dot_product_attention
from gradoracle.oracle.shapes import Array

# Query heads, rows, features, heads, keys, features of the values.
LAYERS = (
    ("a head of BERT", (1, 7, 16, 1, 7, 16)), ("grouped heads of Llama", (4, 5, 8, 2, 9, 8)),
    ("one new token", (2, 1, 16, 1, 17, 16)), ("two latent queries", (1, 2, 12, 1, 13, 5)),
)  # fmt: skip
MASKED, OTHERS, BOOLEAN = "attn_mask", ("query", "key", "value", "grad_output"), 3
SHORT = 2  # sides of corners that are long elsewhere


def hidden_keys(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal numbers; a mask of 0 and minus infinity, one row of which hides all."""
    found = normal(random, shapes, limits)
    if MASKED in found and found[MASKED].size:
        mask = np.where(random.random(shapes[MASKED]) < 0.4, -np.inf, 0.0)
        mask.reshape(-1, mask.shape[-1])[random.integers(mask.size // mask.shape[-1])] = -np.inf
        found[MASKED] = mask
    return found


def one_key_alone(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Whole numbers whose scores are far apart: nearly all weight is that of the largest."""
    found = small_integers(random, shapes, limits)
    return {n: a * 8 if n in ("query", "key") else a for n, a in found.items()}


def scores_that_rise(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal numbers; the scores of a row rise from key to key: so does a running maximum."""
    found = normal(random, shapes, limits)
    found["query"] = abs(found["query"])
    found["key"] = np.sort(abs(found["key"]), axis=2)
    return found


def large_values(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal numbers, the values about a mean of 64: dy value^T is mostly its weighted mean."""
    found = normal(random, shapes, limits)
    found["value"] = found["value"] + 64.0
    return found


def _lengths(sizes: dict[str, int], options: Mapping[str, Any]) -> dict[str, int]:
    """Return lengths with as many heads of the query as of the key, or some for each of those."""
    if not options["enable_gqa"]:
        return {**sizes, "h": sizes["q"]}
    return {**sizes, "q": -(-sizes["q"] // sizes["h"]) * sizes["h"]}


def _complete(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call, not causal where it has a mask; every third mask says yes or no."""
    mask = call[MASKED]
    if mask is None:
        return call
    if mask.dtype != np.bool_ and seed % BOOLEAN == 2:
        mask = np.asarray(mask > -0.5) | np.isnan(mask)
    return {**call, MASKED: mask, "is_causal": False}


def _unsettled(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether a row sees nothing, where the contract leaves that open.

    Nor is anything said of NaN beside what is hidden: kernels leave it out, or multiply it by 0.
    """
    del formula
    unseen = hidden(call, str(policies.get("causal", "top-left")))
    if policies.get("masked_rows", "zero") == "any" and unseen.all(-1).any():
        return True
    if not unseen.any():
        return False
    given = [call[n] for n in (*OTHERS, MASKED) if call.get(n) is not None]
    return any(_is_nan(array) for array in given)


def _is_nan(array: Array) -> bool:
    return array.dtype != np.bool_ and bool(np.isnan(array).any())


def _witness(torch: Any) -> Callable[..., Any]:
    def scaled_dot_product_attention(*tensors: Any, **options: Any) -> Any:
        if options["is_causal"]:  # PyTorch takes no mask then, not even of zeros
            tensors = tensors[: len(OTHERS) - 1]
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return torch.nn.functional.scaled_dot_product_attention(*tensors, **options)

    return scaled_dot_product_attention


(HIDDEN, RISING) = styles(hidden_keys, scores_that_rise)
MASKS = {
    "n": 2, "q": 2, "l": 3, "e": 2, "h": 1, "s": 4, "v": 2,
    **dict.fromkeys((PICKED + name for name in ("enable_gqa", "is_causal", "scale")), 0),
    GIVEN + MASKED: 1,
}  # fmt: skip
LETTERS = [name for name in MASKS if len(name) == 1]
CORNERS = (
    *(
        Corner(f"a row that sees nothing of {keys}", {**MASKS, "s": keys, "l": rows}, HIDDEN)
        for rows, keys in ((3, 4), (2, 1), (5, 3), (2, 70), (34, 17), (1, 130))
    ),
    *(
        Corner(
            f"a causal mask of {rows} rows and {keys} keys",
            {**MASKS, "l": rows, "s": keys, GIVEN + MASKED: 0, PICKED + "is_causal": 1},
            in_turn=max(rows, keys) > 64,
        )
        for rows, keys in ((3, 4), (5, 3), (1, 2), (2, 70), (34, 17), (67, 66), (513, 3), (3, 513))
    ),
    *(
        Corner(f"{keys} scores that rise", {**MASKS, "s": keys, GIVEN + MASKED: 0}, RISING)
        for keys in (7, 67, 131)
    ),
)


def _narrow(corner: Corner) -> Corner:
    """Return a corner with sides of 1 beside its longest ones, all but two keys.

    Those make the weights depend on the data; every further element costs high precision.
    """
    if max(corner.sizes[one] for one in LETTERS) < PAST[-1] - 1:
        return corner
    short = {n: 1 for n in LETTERS if n != "s" and corner.sizes[n] == SHORT}
    return corner._replace(sizes={**corner.sizes, **short})


_DRAWN = of_formula(
    scaled_dot_product_attention, _witness,
    options={
        "enable_gqa": (True, False),
        "is_causal": (False, True),
        "scale": (None, 1.0, 0.5, 0.3),
    },
    complete=_complete,
    lengths=_lengths,
    layers=LAYERS,
    numbers=replace(
        NUMBERS,
        floats=styles(
            normal, hidden_keys, one_key_alone, scores_that_rise, large_values, equal_rows,
            nearly_cancelling, small_integers,
        ),
    ),
)  # fmt: skip
ATTENTION = replace(
    _DRAWN,
    unsettled=_unsettled,
    corners=(*map(_narrow, _DRAWN.corners), *CORNERS),
    share=0.15,  # a call costs several products and two ways back
)
