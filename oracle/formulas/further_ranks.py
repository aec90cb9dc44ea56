"""The formulas of one and of three spatial axes, beside those of two.

Convolutions, max and average pooling have names of their own; these are exported from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradoracle.oracle.formulas.adaptive_max_pool import ADAPTIVE_MAX_POOLINGS
from gradoracle.oracle.formulas.adaptive_pool import ADAPTIVE_AVERAGINGS
from gradoracle.oracle.formulas.interpolate_linear import LINEAR_INTERPOLATIONS
from gradoracle.oracle.formulas.interpolate_nearest import NEAREST_INTERPOLATIONS
from gradoracle.oracle.formulas.max_unpool import MAX_UNPOOLINGS
from gradoracle.oracle.formulas.padding import PADDINGS


def _of(rank: int) -> list[Callable[..., Any]]:
    """Return the functions of a rank, the forward pass of each kind before its gradients."""
    maxima = ADAPTIVE_MAX_POOLINGS[rank]
    pairs = (
        ADAPTIVE_AVERAGINGS[rank], LINEAR_INTERPOLATIONS[rank], NEAREST_INTERPOLATIONS[rank],
        MAX_UNPOOLINGS[rank], *PADDINGS[rank],
    )  # fmt: skip
    both = [formula for pair in pairs for formula in pair]
    return [maxima.forward, maxima.grad_input, maxima.vjp, *both]


FURTHER_RANKS = [formula for rank in (1, 3) for formula in _of(rank)]
