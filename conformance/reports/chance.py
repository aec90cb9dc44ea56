"""How likely it is that a wrong function passes the exact check of a sum of products.

A formula whose terms are products of one number of each factor is linear in each factor.  Let a
function be so, too, at one shape, but with other coefficients: a flipped kernel, another stride, a
missing tap, a wrong divisor.  The difference of its answer and the right one is a polynomial that
is not zero, each term of which has at most one number of each factor.  On integers that are drawn
evenly from n, and independently, such a polynomial of f factors is zero with probability at most
1 - (1 - 1/n)^f (by induction on the numbers: Schwartz 1980; Zippel 1979; DeMillo and Lipton 1978),
which w[0] x[0] reaches.  Each shape has integers of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradoracle.conformance.drawing.values import SMALL
from gradoracle.conformance.operators import OPERATORS
from gradoracle.oracle.declaration import Multilinear, algebra

if TYPE_CHECKING:
    from gradoracle.conformance.reports.certificate import Outcome


def chance(factors: int) -> float:
    """Return an upper bound of the probability that a wrong function of so many factors passes."""
    return 1 - (1 - 1 / len(SMALL)) ** factors


def likeliest(outcomes: Iterable[Outcome]) -> tuple[str, int, float, float] | None:
    """Return the formula for which that is most likely, its shapes, and two upper bounds.

    The first is of the probability at one shape; the second, an exponent of ten, of that at all
    shapes, if the function is wrong at each.
    None: no sum of products was checked.
    """
    kinds = {f.__name__: algebra(f) for operator in OPERATORS for f in operator.formulas}
    found = []
    for one in outcomes:
        kind = kinds.get(one.formula)
        if one.even_shapes and one.status == "passed" and isinstance(kind, Multilinear):
            single = chance(len(kind.factors))
            power = one.even_shapes * math.log10(single)
            found.append((power, one.formula, one.even_shapes, single))
    if not found:
        return None
    power, formula, shapes, single = max(found)
    return formula, shapes, single, power
