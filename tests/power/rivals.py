"""The rivals, and which of them has a check of what."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from tests.power import gradcheck, hypothesis_check, kernelbench, opinfo, suite
from tests.power.layers import OPERATORS

# What no comparison of answers to legal calls on arrays that lie in order is about.  Who is seen by
# chance all the same counts as seen.
OTHER_KINDS = ("accepts illegal calls", "purity", "aliasing", "layout")


class Rival(NamedTuple):
    """A check: `judge(backend, operator, seed)` raises where it finds fault."""

    title: str
    judge: Callable[[Any, str, int], None]
    operators: tuple[str, ...] = OPERATORS
    blind_to: tuple[str, ...] = OTHER_KINDS  # kinds of faults that it has no check of


RIVALS: dict[str, Rival] = {
    "allclose-1e-2": Rival(
        "one shape, allclose 1e-2", partial(kernelbench.judge, tolerance=kernelbench.PUBLISHED)
    ),
    "allclose-1e-4": Rival("one shape, allclose 1e-4", kernelbench.judge),
    "allclose-gradients": Rival(
        "one shape, 1e-4, with gradients", partial(kernelbench.judge, backward=True)
    ),
    "gradcheck": Rival("`gradcheck`", gradcheck.judge),
    "opinfo": Rival("OpInfo samples", opinfo.judge, tuple(opinfo.NAMES)),
    "hypothesis": Rival("plain Hypothesis", hypothesis_check.judge),
    "suite": Rival("gradoracle", suite.judge, blind_to=()),
}
