"""An operator of operators: a fused kernel's, from one expression."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from gradoracle.conformance.operators.arrays import GIVEN
from gradoracle.conformance.operators.of_formula import MOST as MOST_OF_FEW
from gradoracle.conformance.operators.of_formula import (
    NOTHING,
    NUMBERS,
    Calls,
    Further,
    Sizes,
    independent,
    record_of,
)
from gradoracle.conformance.operators.record import (
    NO_VALUES,
    Operator,
    OptionValues,
    Policies,
    Size,
    Styles,
)
from gradoracle.conformance.operators.registered import made as remembered
from gradoracle.oracle.axes import IMAGES, OF_A_GROUP
from gradoracle.oracle.composition.composition import Component, Composition, component
from gradoracle.oracle.composition.expression import (
    Applied,
    Leaf,
    Node,
    Number,
    Option,
    Pair,
    evaluated,
    options_of,
)
from gradoracle.oracle.declaration import Call, Formula, argument_names, is_data, output_of
from gradoracle.oracle.derive import GRAD_OUTPUT
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.shapes import Shape

# Product of all sides: of more letters, more of them are longer than 1.
MOST: Mapping[Size, int] = {"small": 600, "medium": 2000, "large": 4000}
FEW_LETTERS = 4
GROWN = 14  # times that an image is made larger, until windows fit
KEPT = 1024  # geometries that are remembered
# Of operators whose records list no values; one number stands for each spatial axis.
SIDES = ("stride", "padding", "dilation", "kernel_size")
CHOICES: Mapping[str, OptionValues] = {
    "stride": (1, 2, (2, 1)), "padding": (0, 1, (0, 1)), "dilation": (1, 2, (1, 2)),
    "kernel_size": (2, 3, (3, 2)), "ceil_mode": (False, True), "count_include_pad": (True, False),
    "groups": lambda sizes: [n for n in (1, 2, 3, 4) if sizes["c"] % n == sizes["m"] % n == 0],
    "axis": (-1,),
}  # fmt: skip


def compose(
    name: str, expression: str, *, options: Mapping[str, OptionValues] = NO_VALUES,
    sizes: Mapping[str, int] = NOTHING, numbers: Styles = NUMBERS, share: float = 1.0,
    **operators: Operator,
) -> Operator:  # fmt: skip
    """Return the operator of an expression of operators, such as a fused kernel computes.

        FUSED = gradoracle.compose("conv_relu_add", "relu(conv2d(x, weight, bias) + residual)")

    A backend has `conv_relu_add(x, weight, residual, bias=None, *, stride, padding, dilation,
    groups)`: the arrays in the order in which they stand, those that may be None last, and every
    option that the expression leaves out.  Its gradients are `conv_relu_add_grad_x` and so on, or
    `conv_relu_add_vjp` for all.  All are bounded by the errors of the whole, in the dtype of the
    kernel, and follow from the expression by reverse mode.

    The expression has names of arrays, numbers, +, - and * element by element, and operators:
    those of the suite with one result, by their names, and your own, given as keywords, such as
    `pair_loss=pair_loss`.  Options by keyword are values or names; two operators with an option of
    one name need a value, or a name each.  `options` lists the values of options (default: as the
    operator's own, or small ones), and `sizes` fixes lengths of axes by their letters, as
    {"p": 3, "q": 3}.

    Raises:
        ValueError: the expression cannot be read, an operator is unknown or cannot be composed, or
            axes or options do not fit.
    """
    module = sys._getframe(1).f_globals.get("__name__", "__main__")  # noqa: SLF001
    known = _Known({**_shipped(), **operators})
    made = Composition(name, expression, known.component, module)
    calls = _calls(made, known, options, sizes)
    letters = len(calls.letters)
    record = record_of(
        calls, partial(_witness, made, known), numbers=numbers, share=share,
        most=MOST if letters > FEW_LETTERS else MOST_OF_FEW,
        layers=[("three of all", (3,) * (letters - 1))],
    )  # fmt: skip
    return remembered(replace(record, unsettled=partial(_is_open_at_nan, made, known)))


def _shipped() -> Mapping[str, Operator]:
    from gradoracle.conformance.operators import SHIPPED  # noqa: PLC0415 - it brings those outside

    return {one.name: one for one in SHIPPED}


@dataclass(frozen=True)
class _Known:
    """The operators that an expression may name."""

    operators: Mapping[str, Operator]

    def component(self, name: str) -> Component:
        """Return one; ValueError: it is unknown, or cannot be composed."""
        if name not in self.operators:
            raise ValueError(
                f"there is no operator {name!r}; there are {', '.join(sorted(self.operators))}"
            )
        of = self.operators[name]
        return component(name, of.formula, frozenset(of.gradients.values()))


@dataclass(frozen=True, eq=False)
class _Composed(Calls):
    """Which calls of a composition there are."""

    composition: Composition
    known: _Known
    fixed: Mapping[str, int]  # lengths of axes

    @cached_property
    def letters(self) -> list[str]:
        """The letters of axes whose lengths are drawn, images first."""
        found = [one for one in self.composition.letters if one not in self.fixed]
        return sorted(found, key=lambda letter: letter != IMAGES)

    def legal(self, sizes: Sizes) -> dict[str, int]:
        """Return sizes of which there is a call: images are as large as windows need."""
        return dict(self._legal(tuple(sorted({**sizes, **self.fixed}.items()))))

    @lru_cache(KEPT)  # noqa: B019 - as long-lived as the operator
    def _legal(self, given: tuple[tuple[str, int], ...]) -> Sizes:
        sizes = dict(given)
        if sizes.get(IMAGES) == 0 and not self._exists(sizes):  # such as a mean over nothing
            sizes[IMAGES] = 1
        pixels = [n for n in self.composition.pixels if n in self.letters]
        larger = (sizes | {n: sizes[n] + 2**more - 1 for n in pixels} for more in range(GROWN))
        found = next((one for one in larger if self._exists(one)), sizes)
        for letter in pixels:  # each axis no longer than it must be
            fits = partial(self._fits, found, letter)
            sides = range(sizes[letter], found[letter])
            found[letter] = sizes[letter] + bisect_left(sides, 1, key=fits)
        return found

    def _fits(self, sizes: Sizes, letter: str, side: int) -> int:
        return self._exists({**sizes, letter: side})

    def _exists(self, sizes: Sizes) -> bool:
        """Return whether there is a call of these sizes."""
        try:
            self.shapes(sizes, self.chosen(sizes))
        except ValueError:
            return False
        return True

    def shapes(self, sizes: Sizes, chosen: Mapping[str, Any]) -> dict[str, Shape | None]:
        """Return the shapes of all arrays; ValueError where there is no such call."""
        return _Shapes(self, dict(sizes), chosen).all()


def _calls(
    made: Composition, known: _Known, options: Mapping[str, OptionValues], fixed: Sizes
) -> _Composed:  # fmt: skip
    unknown = [n for n in options if n not in made.options]
    if unknown:
        raise ValueError(f"{made.name} has no option {unknown[0]!r}; it has {[*made.options]}")
    wrong = [n for n in fixed if n not in made.letters]
    if wrong:
        raise ValueError(f"no array has an axis {wrong[0]!r}; there are {', '.join(made.letters)}")
    values = {
        name: options[name] if name in options else _values(made, known, name)
        for name in made.options
    }
    complete = partial(_completed, made, known)
    of = (made.derived(), values, None, NOTHING, (), complete, Further(), independent)
    return _Composed(*of, made, known, fixed)


def _values(made: Composition, known: _Known, name: str) -> OptionValues:
    """Return what an option may be, as its operator lists it."""
    operator, option = made.options[name]
    of = known.operators[operator].values.get(option, CHOICES.get(option))
    if of is None:
        raise ValueError(f"say which values {name} may have: options={{{name!r}: (...)}}")
    if callable(of):
        letters = made.letters_at(name)
        return lambda sizes: of({key: sizes.get(n, 1) for key, n in letters.items()})
    if option in SIDES:
        rank = known.operators[operator].axes.rank
        return [_sides(one, rank) for one in of]
    return of


def _sides(one: Any, rank: int) -> tuple[int, ...]:
    """Return an option's number for each spatial axis: one for all, or the first and the rest."""
    first, *rest = (one, one) if isinstance(one, int) else one
    return (first, *(rest * rank))[:rank]


class _Shapes:
    """The shapes of a call, operator by operator."""

    def __init__(self, calls: _Composed, sizes: dict[str, int], chosen: Mapping[str, Any]) -> None:
        """Begin with the lengths that are drawn and the options."""
        self._calls, self._sizes, self._chosen = calls, sizes, chosen
        self._composition = calls.composition

    def all(self) -> dict[str, Shape | None]:
        """Return the shapes of all arrays and of the result."""
        result = self._of(self._composition.tree)
        arrays = self._composition.arrays_of
        shapes = {name: self._leaf(name) for name in arrays}
        return {**shapes, GRAD_OUTPUT: result}

    def _leaf(self, name: str) -> Shape | None:
        axes = self._calls.axes
        if name in axes.optional and not self._sizes[GIVEN + name]:
            return None
        return tuple(self._side(name, one) for one in axes.arrays[name])

    def _side(self, name: str, letter: str) -> int:
        size = self._sizes[letter.removesuffix(OF_A_GROUP)]
        if not letter.endswith(OF_A_GROUP):
            return size
        groups: int = options_of(self._composition.user_of(name), self._chosen)["groups"]
        return size // groups

    def _of(self, node: Node | None) -> Shape | None:
        match node:
            case Leaf(name):
                return self._leaf(name)
            case Number():
                return ()
            case Pair(_, _, one, other):
                return self._pair(one, other)
            case Applied():
                return self._applied(node)
        return None

    def _pair(self, one: Node, other: Node) -> Shape:
        # first what makes lengths known
        sides = sorted((one, other), key=lambda side: isinstance(side, Leaf))
        shapes = [self._of(side) or () for side in sides if not isinstance(side, Number)]
        if len({*shapes}) > 1:
            raise ValueError(f"a sum has sides of the shapes {shapes[0]} and {shapes[1]}")
        return shapes[0] if shapes else ()

    def _applied(self, node: Applied) -> Shape:
        part = self._composition.components[node.operator]
        order = sorted(enumerate(node.arrays), key=lambda pair: isinstance(pair[1], Leaf))
        found = {at: self._of(one) for at, one in order}
        given = {n: found.get(at) for at, n in enumerate(part.arguments)}
        blank = {n: None if s is None else np.zeros(s) for n, s in given.items()}
        call = {**blank, **options_of(node, self._chosen)}
        call = self._calls.known.operators[node.operator].complete(call, 0)
        shape = answer_shape(part.formula, call)
        for letter, side in zip(self._composition.results[id(node)], shape, strict=False):
            if self._sizes.setdefault(letter, side) != side:
                raise ValueError(f"{letter} is {self._sizes[letter]} and {side} long")
        return shape


def _completed(
    made: Composition, known: _Known, call: dict[str, Any], seed: int
) -> dict[str, Any]:  # fmt: skip
    """Return a call with what its operators add to it, such as labels and positive variances."""
    call = dict(call)

    def apply(node: Applied, given: list[Any]) -> Any:
        part, operator = made.components[node.operator], known.operators[node.operator]
        arrays = dict(zip(part.arguments, [*given, *[None] * len(part.arguments)], strict=False))
        found = operator.complete({**arrays, **options_of(node, call)}, seed)
        for name, one in zip(part.arguments, node.arrays, strict=False):
            if isinstance(one, Leaf):
                call[one.name] = found[name]
        for option, value in node.options.items():
            if isinstance(value, Option):
                call[value.name] = found[option]
        try:
            return np.zeros(answer_shape(part.formula, found), _dtype(call))
        except ValueError:  # there is no such call, such as a mean over nothing
            return np.zeros(())

    evaluated(made.tree, call, apply)
    return call


def _is_open_at_nan(
    made: Composition, known: _Known, policies: Policies, formula: Formula, call: Call
) -> bool:  # fmt: skip
    """Return whether a slope at NaN is asked for, and one of the operators leaves its own open."""
    is_forward = argument_names(formula)[0][0] != GRAD_OUTPUT
    if is_forward or not any(is_data(v) and np.isnan(v).any() for v in call.values()):
        return False
    beside = {"z": np.array([np.nan]), GRAD_OUTPUT: np.ones(1)}
    for node in made.applied:
        operator, options = known.operators[node.operator], options_of(node, call)
        if operator.axes.arrays.keys() == beside.keys() and any(
            operator.unsettled(policies, one, {**beside, **options}) for one in operator.gradients
        ):
            return True
    return False


def _dtype(call: Mapping[str, Any]) -> Any:
    return next(v.dtype for v in call.values() if isinstance(v, np.ndarray) and is_data(v))


def _witness(made: Composition, known: _Known, torch: Any) -> Callable[..., Any]:
    """Return the same of PyTorch's functions."""

    def function(part: Component) -> Callable[..., Any]:
        operator = known.operators[part.name]
        place, of = output_of(operator.formula).place, operator.witness(torch)
        return of if place is None else lambda *a, **o: of(*a, **o)[place]

    names = made.parameters

    def composed(*arrays: Any, **named: Any) -> Any:
        given = {**dict.fromkeys(made.optional), **dict(zip(names, arrays, strict=False)), **named}
        return made.evaluated(given, given, function)

    return composed
