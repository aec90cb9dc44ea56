"""What the suite knows of an operator: one record, read by every property."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from hypothesis.strategies import SearchStrategy

from oracle.formula import Formula
from oracle.geometry import Shape

Size: TypeAlias = Literal["small", "medium", "large"]


class Arguments(NamedTuple):
    """The shapes of a call's arrays (None: not given) and its options."""

    shapes: Mapping[str, Shape | None]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Geometry:
    """What was drawn of a call: a few integers by name, why those, and a seed for its numbers."""

    stratum: str
    region: str  # what was forced, or the layer or the limit that was aimed at
    sizes: Mapping[str, int]
    seed: int


@dataclass(frozen=True)
class Operator:
    """One operator of the protocol: facts about it, none about a backend or a test.

    `formula` and the gradients are oracle functions.  Their names are the attributes a backend
    has and their signatures say what it is given, so nothing is written down twice.
    """

    formula: Formula
    gradients: Mapping[str, Formula]  # argument -> the formula of dE/d(argument)
    geometries: Callable[[Size], SearchStrategy[Geometry]]
    arguments: Callable[[Mapping[str, int]], Arguments]  # of sizes; ValueError: no such call
    witness: Callable[[Any], Callable[..., Any]]  # from the torch module, the same operator

    @property
    def name(self) -> str:
        """The forward formula's name."""
        return self.formula.__name__

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The forward formula, then the gradients."""
        return (self.formula, *self.gradients.values())

    def argument_of(self, gradient: Formula) -> str | None:
        """Return the argument that `gradient` differentiates by, or None for the forward pass."""
        return next((name for name, g in self.gradients.items() if g is gradient), None)
