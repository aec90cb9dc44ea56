"""What the suite knows of an operator: one record, read by every property."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from gradoracle.conformance.drawing.choices import FAR, PAST, SHORTER, TWO, Choices
from gradoracle.conformance.drawing.coverage import Cover
from gradoracle.conformance.drawing.steps import at_steps
from gradoracle.conformance.drawing.values import EXACT, FLOATS, INTEGERS, NOT_FINITE, Style
from gradoracle.oracle.axes import Axes
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    axes_of,
    has_slope,
    output_of,
    part_by,
    whole_of,
)
from gradoracle.oracle.float_formats import FORMATS, DType, dtype_of
from gradoracle.oracle.shapes import Shape

Size: TypeAlias = Literal["small", "medium", "large"]
Kind: TypeAlias = Literal["exact", "floats", "slopes", "not finite", "any", "all", "every"]
Policies: TypeAlias = Mapping[str, str | float]
# The values of an option; some depend on how long axes are.
OptionValues: TypeAlias = Sequence[Any] | Callable[[Mapping[str, int]], Sequence[Any]]
NO_VALUES: Mapping[str, OptionValues] = MappingProxyType({})


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


class Corner(NamedTuple):
    """A call that no certificate is without: where chance alone would seldom lead."""

    region: str
    sizes: Mapping[str, int]
    style: Style | None = None  # of its numbers; None: the simplest
    in_turn: bool = False  # in one of the claimed dtypes: it is large


class Variant(NamedTuple):
    """A layer of a real network with one change, as the sizes of a small call."""

    layer: str
    change: str  # "": none
    sizes: Callable[[Choices], Mapping[str, int]]  # drawn where the layer leaves them open

    @property
    def region(self) -> str:
        """The layer and its change, in words."""
        return f"{self.layer}, {self.change}" if self.change else self.layer


class Workload(NamedTuple):
    """A layer of a real network, or one like them, as the sizes of a call for one image."""

    name: str
    sizes: Mapping[str, int]
    always: bool = False  # checked in every run, however large


def past_limits(
    tiny: Mapping[str, int], names: Sequence[str], style: Style | None = None
) -> tuple[Corner, ...]:
    """Return the corners in which one size is past a limit of the machine, the others tiny.

    A shorter one follows the longest: what those left in a workspace is more than it fills.
    """
    return (
        *(Corner(f"{n} {past}", {**tiny, n: past}, style) for n in names for past in PAST),
        *(Corner(f"{n} {FAR}", {**tiny, n: FAR}, style, in_turn=True) for n in names),
        *(Corner(f"{n} {SHORTER}, after more", {**tiny, n: SHORTER}, style) for n in names),
    )


def two_large(
    tiny: Mapping[str, int], names: Sequence[str], style: Style | None = None
) -> tuple[Corner, ...]:
    """Return the corners in which two sizes are large at once, up to a product beyond 2**16."""
    return tuple(
        Corner(
            f"{one} and {other} {size}", {**tiny, one: size, other: size}, style, size == TWO[-1]
        )
        for one, other in combinations(names, 2)
        for size in TWO
    )


def of_size_one(sizes: Mapping[str, int], *names: str) -> tuple[Corner, ...]:
    """Return the corners in which one of these sizes is 1, or several that a + joins."""
    return tuple(
        Corner(f"{name} 1", {**sizes, **dict.fromkeys(name.split("+"), 1)}) for name in names
    )


@dataclass(frozen=True)
class Styles:
    """The numbers an operator is checked on."""

    exact: tuple[Style, ...] = EXACT  # nothing rounds
    floats: tuple[Style, ...] = FLOATS
    slopes: tuple[Style, ...] = INTEGERS  # away from where there is no derivative
    not_finite: tuple[Style, ...] = NOT_FINITE  # NaN or infinities among them

    def of(self, kind: Kind) -> tuple[Style, ...]:
        """Return the styles of one kind."""
        if kind == "all":
            return self.exact + self.floats
        if kind == "every":
            return self.exact + self.floats + self.not_finite
        if kind == "any":
            return self.exact or self.floats
        styles: tuple[Style, ...] = getattr(self, kind.replace(" ", "_"))
        return styles


def _anywhere(sizes: Mapping[str, int]) -> dict[str, int] | None:
    return dict(sizes)


def _any_call(call: Call) -> bool:
    del call
    return True


def as_it_is(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a call to which nothing is to be added."""
    del seed
    return call


def _settled(policies: Policies, formula: Formula, call: Call) -> bool:
    del policies, formula, call
    return False


def straight(call: Call) -> float:
    """Return 0: the forward pass is linear wherever the styles for slopes go."""
    del call
    return 0.0


def named_function(name: str, torch: Any) -> Callable[..., Any]:
    """Return the function of torch.nn.functional with a name."""
    function: Callable[..., Any] = getattr(torch.nn.functional, name)
    return function


def no_witness(torch: Any) -> Callable[..., Any]:
    """Stand for an operator that PyTorch does not have."""
    raise NotImplementedError(f"PyTorch {torch.__version__} has no such operator")


def MEASURED(call: Call) -> float:  # noqa: N802 - a mark
    """Mark an operator without a bound of its third derivative, as the value of `curvature`.

    What a finite step leaves is then computed from right answers, in high precision.
    """
    del call
    return math.inf


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator of the protocol: facts about it, none about a backend or a test.

    `formula` and the gradients are oracle functions.  Their names are the attributes a backend
    has and their signatures say what it is given, so nothing is written down twice.
    """

    formula: Formula
    gradients: Mapping[Formula, str]  # the formula of dE/d(argument) -> the argument
    geometry: Callable[[Choices, Size], Geometry]  # drawn; every choice of 0: the simplest
    arguments: Callable[[Mapping[str, int]], Arguments]  # of sizes; ValueError: no such call
    witness: Callable[[Any], Callable[..., Any]]  # from the torch module, the same operator
    also: tuple[Formula, ...] = ()  # further results of the forward pass
    vjp: Formula | None = None  # all gradients at once, which are its parts
    adjoint: Formula | None = None  # another forward formula, whose transpose this one is
    styles: Styles = Styles()
    # Adds to a call what follows from its arrays; called again when they change.
    complete: Callable[[dict[str, Any], int], dict[str, Any]] = as_it_is
    # What each option may be, where that is listed: values, or a function of the lengths of axes.
    values: Mapping[str, OptionValues] = field(default_factory=dict)
    # Whether a backend's policies leave the answer to a call open.
    unsettled: Callable[[Policies, Formula, Call], bool] = _settled
    # A bound of the third derivative of every output element along a direction of zeros and ones;
    # 0: linear wherever the styles for slopes go; MEASURED: it is not known.
    curvature: Callable[[Call], float] = straight
    share: float = 1.0  # of the profile's examples: simple operators need fewer
    layers: tuple[Workload, ...] = ()  # of real networks, checked by what checks at scale
    covers: Sequence[Cover] = ()  # combinations of options that every certification meets
    # Layers of real networks with one option changed, which every certification meets.
    variants: Callable[[], Sequence[Variant]] = tuple
    corners: tuple[
        Corner, ...
    ] = ()  # checked once by what checks the numbers, beside what is drawn
    # Likewise by what lays arrays otherwise: axes of size 1 have any stride, and are mistaken.
    ones: tuple[Corner, ...] = ()
    # Of an operator that is restricted to a domain (`inside.restricted`): the nearest sizes inside,
    # None where there are none, and whether a call is inside.
    inside: Callable[[Mapping[str, int]], dict[str, int] | None] = _anywhere
    allows: Callable[[Call], bool] = _any_call

    @property
    def name(self) -> str:
        """The name of the function that does the forward pass."""
        return output_of(self.formula).function

    @property
    def is_restricted(self) -> bool:
        """Whether it is restricted to a domain."""
        return self.inside is not _anywhere or self.allows is not _any_call

    @property
    def is_piecewise_linear(self) -> bool:
        """Whether the forward pass is linear wherever the styles for slopes go."""
        return self.curvature is straight

    @property
    def axes(self) -> Axes:
        """The axes of the arrays of a call."""
        return axes_of(self.formula)

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The forward formulas, then the gradients, the function of all at once last.

        Of several results that are parts of one formula, that formula is among them.
        """
        return (whole_of(self.formula), *self.also, *self.backward)

    @property
    def backward(self) -> tuple[Formula, ...]:
        """The gradients, one by one and all at once."""
        return (*self.gradients, *([self.vjp] if self.vjp else ()))

    def argument_of(self, gradient: Formula) -> str | None:
        """Return the argument that `gradient` differentiates by, or None for the forward pass."""
        return self.gradients.get(gradient, part_by(gradient))

    def has_answer(self, formula: Formula, call: Call) -> bool:
        """Return whether a formula is no gradient by an array that is None or of booleans."""
        argument = self.argument_of(formula)
        if argument is None or argument not in argument_names(formula)[0]:
            return True
        return has_slope(call.get(argument))

    def call(self, sizes: Mapping[str, int], style: Style, seed: int, dtype: str) -> dict[str, Any]:
        """Return every argument of the operator's formulas, by name.

        Raises:
            ValueError: there is no call of these sizes.
        """
        arguments = self.arguments(sizes)
        shapes = {name: shape for name, shape in arguments.shapes.items() if shape is not None}
        # of no axes: filled as one of one element
        arrays = style.numbers(seed, {n: s or (1,) for n, s in shapes.items()}, FORMATS[dtype])
        given = {n: a.astype(dtype_of(dtype)).reshape(shapes[n]) for n, a in arrays.items()}
        absent = {name: None for name, shape in arguments.shapes.items() if shape is None}
        options = rounded(arguments.options, dtype_of(dtype))
        call = self.complete({**given, **absent, **options}, seed)
        if style.steps == "no":
            return call
        moved = at_steps(self.formula, call, seed, within=style.steps == "within")
        return self.complete(moved, seed)


def rounded(options: Mapping[str, Any], dtype: DType) -> dict[str, Any]:
    """Return options whose numbers are the format's own: a factor that rounds is no backend's."""
    return {n: float(dtype.type(v)) if isinstance(v, float) else v for n, v in options.items()}
