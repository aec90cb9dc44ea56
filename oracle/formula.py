"""What the oracle knows about a formula besides its loops: its arguments and its algebra."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, getdoc, signature
from textwrap import dedent
from typing import Any, Literal, TypeAlias, TypeVar

from oracle.geometry import Array

Formula: TypeAlias = Callable[..., Array]
Call: TypeAlias = Mapping[str, Any]  # every argument of an operator's formulas, by name
Images: TypeAlias = Literal["kept", "summed"]

F = TypeVar("F", bound=Formula)

BATCHED = ("x", "grad_output")  # the arguments that have one entry per image, on axis 0


@dataclass(frozen=True)
class Multilinear:
    """A sum of products: every term takes one element of each factor; `plus` is added to it.

    `images` says what becomes of the batch: "kept" (one result per image) or "summed".
    """

    factors: tuple[str, ...]
    plus: str | None
    images: Images


_ALGEBRA: dict[Formula, Multilinear] = {}


def multilinear(*factors: str, plus: str | None = None, images: Images) -> Callable[[F], F]:
    """Declare that a formula is linear in each of `factors`, with `plus` added to the products.

    The exact evaluation, the rounding bound and the linearity property rest on it;
    `tests/test_oracle_conv2d.py` checks it.
    """

    def declare(formula: F) -> F:
        _ALGEBRA[formula] = Multilinear(factors, plus, images)
        return formula

    return declare


def algebra(formula: Formula) -> Multilinear:
    """Return the declared algebra of `formula`."""
    return _ALGEBRA[formula]


@cache
def argument_names(formula: Formula) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the formula's positional arguments and of its keyword-only options."""
    parameters = signature(formula).parameters.values()
    options = tuple(p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY)
    return tuple(p.name for p in parameters if p.kind is not Parameter.KEYWORD_ONLY), options


def ask(function: Callable[..., Any], formula: Formula, call: Call) -> Any:
    """Call `function` as `formula`'s signature prescribes, the values taken from `call` by name."""
    positional, options = argument_names(formula)
    return function(*(call[n] for n in positional), **{n: call[n] for n in options})


def evaluate(formula: Formula, call: Call) -> Array:
    """Return what `formula` gives on `call`, in the numbers that the call is made of."""
    answer: Array = ask(formula, formula, call)
    return answer


def operands(formula: Formula, call: Call) -> dict[str, Array]:
    """Return the arrays of `call` that `formula` reads, by name; a bias of None is left out."""
    names = algebra(formula)
    wanted = (*names.factors, *([names.plus] if names.plus else ()))
    return {name: call[name] for name in wanted if call[name] is not None}


def displayed(formula: Formula) -> tuple[str, str]:
    """Return the equation that the formula's docstring displays, and the source it cites."""
    lines = (getdoc(formula) or "").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("    "))
    end = next(i for i in range(start, len(lines)) if not lines[i].strip())
    cited = " ".join(lines[end + 1 :]).partition("(")[2]
    depth, source = 1, ""
    for letter in cited:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            break
        source += letter
    return dedent("\n".join(lines[start:end])), source


def images(call: Call, chosen: slice) -> dict[str, Any]:
    """Return the call on some of its images: arrays of the batch and shapes that count it."""
    part: dict[str, Any] = dict(call)
    for name in BATCHED:
        if name in part:
            part[name] = part[name][chosen]
    if "input_shape" in part:
        batch, *rest = part["input_shape"]
        part["input_shape"] = (len(range(batch)[chosen]), *rest)
    return part
