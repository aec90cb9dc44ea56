"""What the oracle knows about a formula besides its loops: its arguments and its algebra."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, getdoc, signature
from textwrap import dedent
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.float_formats import is_real
from gradoracle.oracle.shapes import Array

Formula: TypeAlias = Callable[..., Array]
Call: TypeAlias = Mapping[str, Any]  # every argument of an operator's formulas, by name
Images: TypeAlias = Literal["kept", "summed", "mixed"]

F = TypeVar("F", bound=Formula)


class Division(NamedTuple):
    """What the loops of a formula divide by, for one call."""

    multiple: int  # every divisor divides it
    terms: int  # an element sums at most so many
    # The terms' sizes add up to at most so many times the largest factor: see Multilinear.
    sizes: int | None = None  # None: each is at most the largest factor


@dataclass(frozen=True)
class Multilinear:
    """A sum of products: every term takes one element of each factor; `plus` is added to it.

    With `minus` the products are subtracted from `plus` instead.  `over` says, for a call,
    what the loops divide by.  `images` says what becomes of the batch: "kept" (one result per
    image), "summed", or "mixed".  `sizes` is another formula of the same arguments, which gives of
    absolute values the sizes of the terms that rounding acts on, where that is more than those of
    the terms: coefficients that are themselves rounded.
    """

    factors: tuple[str, ...]
    plus: str | None
    images: Images
    minus: bool = False
    over: Callable[[Call], Division] | None = None
    sizes: Formula | None = None


@dataclass(frozen=True)
class Selection:
    """Every element is one of the data, or 0, or a place: nothing is ever rounded.

    `pointwise` formulas make every element of the elements in the same place.
    """

    images: Images
    places: bool = False  # the elements are indices
    pointwise: bool = False


@dataclass(frozen=True)
class Composed:
    """Sums, products, quotients and elementary functions, bounded by running errors.

    `pointwise` formulas make every element of the elements in the same place. `lanes` gives the
    answer of others from a call whose operands are `oracle.numbers.running_error_arrays.Lanes`, all
    lines at once; formulas `of_arrays` are never walked one number at a time.  Where numbers that
    are not finite `spread`, they may reach any element: right kernels multiply them with zeros.
    """

    images: Images
    pointwise: bool = False
    lanes: Callable[[Call], Any] | None = None
    of_arrays: bool = False
    spread: bool = False


@dataclass(frozen=True)
class Chained:
    """Answers of other formulas, one after another: bounded by `oracle.chains.propagation`."""

    images: Images = "mixed"


Algebra: TypeAlias = Multilinear | Selection | Composed | Chained


class Output(NamedTuple):
    """Where a formula's answer is found: a function, and which of its results."""

    function: str
    place: int | None = None


_ALGEBRA: dict[Formula, Algebra] = {}
_OUTPUT: dict[Formula, Output] = {}
_AXES: dict[Formula, Axes] = {}
_PARTS: dict[Formula, dict[Formula, str | None]] = {}
_WHOLE: dict[Formula, Formula] = {}
_SAME: dict[Formula, Formula] = {}


def multilinear(
    *factors: str,
    plus: str | None = None,
    images: Images,
    minus: bool = False,
    over: Callable[[Call], Division] | None = None,
    sizes: Formula | None = None,
) -> Callable[[F], F]:
    """Declare that a formula is linear in each of `factors`, with `plus` added to the products.

    The exact evaluation, the rounding bound and the linearity property rest on it;
    `tests/test_algebra.py` checks it.
    """
    return _declare(Multilinear(factors, plus, images, minus, over, sizes))


def selection(*, images: Images, places: bool = False, pointwise: bool = False) -> Callable[[F], F]:
    """Declare that a formula picks among its data and computes nothing."""
    return _declare(Selection(images, places, pointwise))


def composed(
    *, images: Images, pointwise: bool = False, lanes: Callable[[Call], Any] | None = None,
    of_arrays: bool = False, spread: bool = False,
) -> Callable[[F], F]:  # fmt: skip
    """Declare that a formula is evaluated in high precision and bounded by running errors."""
    return _declare(Composed(images, pointwise, lanes, of_arrays, spread))


def chained(formula: F) -> F:
    """Declare that a formula asks other formulas and computes nothing itself."""
    return _declare(Chained())(formula)


def output(function: str, place: int) -> Callable[[F], F]:
    """Declare that a formula is one of the several results of the protocol's `function`."""

    def declare(formula: F) -> F:
        _OUTPUT[formula] = Output(function, place)
        return formula

    return declare


def declare_parts(whole: Formula, parts: Mapping[Formula, str | None]) -> None:
    """Declare that a function returns several results: gradients, each with the argument it is by.

    Of results of a forward pass, that is None.
    """
    _PARTS[whole] = dict(parts)
    for place, part in enumerate(parts):
        output(whole.__name__, place)(part)
        _WHOLE[part] = whole


def declare_same(formula: Formula, part: Formula) -> None:
    """Declare that a formula is what a part of another computes, which may take more arguments."""
    _SAME[formula] = part


def same_part(formula: Formula) -> Formula:
    """Return the part of another formula that computes the same, or the formula itself."""
    return _SAME.get(formula, formula)


def declare_axes(axes: Axes, *formulas: Formula) -> None:
    """Declare the axes of the arguments of an operator's formulas, the forward one first."""
    _AXES.update(dict.fromkeys(formulas, axes))


def axes_of(formula: Formula) -> Axes:
    """Return the declared axes of the arguments of a formula's operator."""
    return _AXES[formula]


def _declare(what: Algebra) -> Callable[[F], F]:
    def declare(formula: F) -> F:
        _ALGEBRA[formula] = what
        return formula

    return declare


def algebra(formula: Formula) -> Algebra:
    """Return the declared algebra of `formula`."""
    return _ALGEBRA[formula]


def output_of(formula: Formula) -> Output:
    """Return the protocol's function that gives the formula's answer, and which result it is."""
    return _OUTPUT.get(formula) or Output(formula.__name__)


def parts_of(formula: Formula) -> tuple[Formula, ...]:
    """Return the formulas of a function's results, where they were declared as its parts.

    Of every other formula, that is itself.
    """
    return (*_PARTS.get(formula, (formula,)),)


def whole_of(formula: Formula) -> Formula:
    """Return the formula of all results that a formula is a part of, or itself."""
    return _WHOLE.get(formula, formula)


def part_by(formula: Formula) -> str | None:
    """Return the argument that a part of all gradients is by; None of every other formula."""
    return _PARTS.get(whole_of(formula), {}).get(formula)


def has_part(formula: Formula, call: Call) -> bool:
    """Return whether a part has a result on a call: by what is None there is no gradient."""
    argument = part_by(formula)
    return argument is None or has_slope(call[argument])


def has_slope(value: Any) -> bool:
    """Return whether there are gradients by an argument: not by None, nor by True and False."""
    return value is not None and getattr(value, "dtype", None) != np.bool_


def is_place(formula: Formula) -> bool:
    """Return whether the formula's elements are indices and not numbers."""
    kind = algebra(formula)
    return isinstance(kind, Selection) and kind.places


def is_pointwise(formula: Formula) -> bool:
    """Return whether every element is made of the elements in the same place alone."""
    kind = algebra(formula)
    return isinstance(kind, (Selection, Composed)) and kind.pointwise


@cache
def argument_names(formula: Formula) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the formula's positional arguments and of its keyword-only options."""
    parameters = signature(formula).parameters.values()
    options = tuple(p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY)
    return tuple(p.name for p in parameters if p.kind is not Parameter.KEYWORD_ONLY), options


@cache
def all_names(formula: Formula) -> tuple[str, ...]:
    """Return the names of all of the formula's arguments, in order."""
    positional, options = argument_names(formula)
    return (*positional, *options)


@cache
def optional(formula: Formula) -> tuple[str, ...]:
    """Return the names of the positional arguments that may be None: those with that default."""
    parameters = signature(formula).parameters
    return tuple(n for n in argument_names(formula)[0] if parameters[n].default is None)


def ask(function: Callable[..., Any], formula: Formula, call: Call) -> Any:
    """Call `function` as `formula`'s signature prescribes, the values taken from `call` by name."""
    positional, options = argument_names(formula)
    return function(*(call[n] for n in positional), **{n: call[n] for n in options})


def evaluate(formula: Formula, call: Call) -> Array:
    """Return what `formula` gives on `call`, in the numbers that the call is made of."""
    answer: Array = ask(formula, formula, call)
    return answer


def is_data(value: Any) -> bool:
    """Return whether an argument is an array of numbers, not of indices, nor an option."""
    return isinstance(value, np.ndarray) and (value.dtype.kind == "O" or is_real(value.dtype))


def operands(formula: Formula, call: Call) -> dict[str, Array]:
    """Return the numbers of `call` that `formula` reads, by name; a bias of None is left out."""
    kind = algebra(formula)
    if isinstance(kind, Multilinear):
        wanted = (*kind.factors, *([kind.plus] if kind.plus else ()))
        return {name: np.asarray(call[name]) for name in wanted if call[name] is not None}
    return {name: call[name] for name in argument_names(formula)[0] if is_data(call[name])}


def displayed(formula: Formula) -> tuple[str, str]:
    """Return the equation that the formula's docstring displays, and the source it cites.

    Raises:
        ValueError: it displays none.
    """
    lines = (getdoc(formula) or "").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("    ")), None)
    if start is None:
        raise ValueError(
            f"the docstring of {formula.__name__} displays no equation: indent one by four spaces "
            "below the first line, and cite its source in parentheses after it"
        )
    end = next((i for i in range(start, len(lines)) if not lines[i].strip()), len(lines))
    cited = " ".join(lines[end + 1 :]).partition("(")[2]
    depth, source = 1, ""
    for letter in cited:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            break
        source += letter
    return dedent("\n".join(lines[start:end])), source
