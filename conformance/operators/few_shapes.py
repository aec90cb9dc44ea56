"""An operator of few geometries, for backends to which every shape of a call costs much.

Compilers of whole programs, such as JAX's, take longer for a new shape than for a thousand calls of
it.  So all checks of a run share a small pool of geometries, and what is drawn is the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from gradoracle.conformance.drawing.choices import Choices, spread
from gradoracle.conformance.operators.record import Geometry, Operator, Size

POOL = 8  # geometries of each size of calls


@cache
def of_few_shapes(operator: Operator, seed: int) -> Operator:
    """Return the operator with a pool of geometries that depends on a run's seed.

    What it lists beside the drawn calls, each of a shape of its own, is left out: corners,
    combinations of options, and layers of networks with one option changed.
    """
    return replace(
        operator, geometry=_pooled(operator, seed), covers=(), variants=tuple, corners=(), ones=()
    )


def _pooled(operator: Operator, seed: int) -> Callable[[Choices, Size], Geometry]:
    """Return what picks a geometry of the pool, and draws a seed for its values."""

    @cache
    def entry(size: Size, at: int) -> Geometry:
        row = spread("few shapes", operator.name, seed, size, at) if at else Choices(b"")
        return operator.geometry(row, size)

    def geometry(choices: Choices, size: Size) -> Geometry:
        one = entry(size, choices.integer(0, POOL - 1))
        return replace(one, seed=choices.seed())

    return geometry
