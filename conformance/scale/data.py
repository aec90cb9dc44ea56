"""The numbers of a layer: whole ones on which rounding provably never acts, and floats.

One factor of the products holds a few small numbers.  The other holds small ones and, here and
there, a long one, past the 11 bits of half precision and TF32; its magnitudes, added up over all
that reaches an element of the answer, times the largest number of the first factor, bound every
partial sum in any order.  That bound is computed from the numbers, for every call.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from inspect import getsource
from math import prod
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.scale.convolution import ROLES, Convolution, read
from gradoracle.oracle.declaration import Formula, argument_names
from gradoracle.oracle.expected.random_projection import LARGEST
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array, Shape

Numbers: TypeAlias = Literal["whole numbers", "floats"]
NUMBERS: tuple[Numbers, ...] = ("whole numbers", "floats")
LONG = 2**13  # the long numbers are below, and at least half of it
NONZERO = 2**12  # terms of an element that are not 0, about at most, where the numbers are floats


def few_values(random: Any, shape: Shape, dtype: str, most: int) -> Array:
    """Return integers of at most `most` in absolute value."""
    return np.asarray(random.integers(-most, most + 1, shape, dtype=np.int8).astype(dtype))


def with_long_ones(
    random: Any, shape: Shape, dtype: str, most: int, share: float, long: int, below: int
) -> Array:
    """Return integers, a share of them not 0, and among them `long` odd ones next to `below`."""
    array = random.integers(-most, most + 1, shape, dtype=np.int8).astype(dtype)
    if share < 1:
        array[random.random(shape, dtype=np.float32) >= share] = 0
    at = random.integers(0, array.size, long)
    odd = 2 * random.integers(below // 4, below // 2, long) + 1
    array.flat[at] = odd * random.choice((-1, 1), long)
    return np.asarray(array)


def normals(random: Any, shape: Shape, dtype: str, share: float) -> Array:
    """Return standard normal numbers, a share of them not 0."""
    array = random.standard_normal(shape).astype(dtype)
    if share < 1:
        array[random.random(shape, dtype=np.float32) >= share] = 0
    return np.asarray(array)


class Recipe(NamedTuple):
    """How an array of a call is made: by a function above, given what comes after the dtype."""

    name: str
    make: Callable[..., Array]
    shape: Shape
    rest: tuple[float, ...]


class LayerCall(dict[str, Any]):
    """A call of a layer, with what is known of its numbers."""

    layer: str = ""
    sizes: Mapping[str, int] = MappingProxyType({})
    dtype: str = ""
    seed: int = 0
    recipes: tuple[Recipe, ...] = ()
    shape: Shape = ()  # of the answer
    largest_sum: int = 0  # a bound of every sum of magnitudes; 0: they are floats

    def source(self) -> list[str]:
        """Return the Python that makes the arrays again, with NumPy as np."""
        lines = []
        for make in dict.fromkeys(recipe.make for recipe in self.recipes):
            lines += [_source(make), ""]
        lines.append(f"random = np.random.default_rng({self.seed})")
        for name, make, shape, rest in self.recipes:
            given = ", ".join(map(repr, (shape, self.dtype, *rest)))
            lines.append(f"{name} = {make.__name__}(random, {given})")
        return lines


def layer_call(
    operator: Operator, formula: Formula, layer: str, sizes: Mapping[str, int], *,
    numbers: Numbers, seed: int, dtype: str, accumulator: str,
) -> LayerCall:  # fmt: skip
    """Return a call of `formula` alone on a layer of these sizes.

    Whole numbers are sized so that rounding never acts in the dtype nor in the accumulator: the
    call's `largest_sum` is at most 2**bits of both.

    Raises:
        ValueError: there is no such layer.
    """
    arguments = operator.arguments(sizes)
    names = [n for n in argument_names(formula)[0] if arguments.shapes[n] is not None]
    absent = {n: None for n in argument_names(formula)[0] if arguments.shapes[n] is None}
    call = LayerCall({**absent, **arguments.options})
    call.layer, call.sizes, call.dtype, call.seed = layer, {**sizes}, dtype, seed
    shapes = {name: arguments.shapes[name] or () for name in names}
    other = _other_factor(formula)
    bits = min(FORMATS[dtype].bits, FORMATS[accumulator].bits, LARGEST.bit_length() - 1)
    groups, thinner = arguments.options.get("groups", 1), 1
    while True:
        call.recipes = _recipes(formula, shapes, other, numbers, 2**bits, groups, thinner)
        random = np.random.default_rng(seed)
        for name, make, shape, rest in call.recipes:
            call[name] = make(random, shape, dtype, *rest)
        call.shape = answer_shape(formula, call)
        if numbers == "floats":
            return call
        call.largest_sum = largest_sum(read(formula, call, call.shape))
        if call.largest_sum <= 2**bits:
            return call
        thinner *= 2


def largest_sum(of: Convolution) -> int:
    """Return a bound of the sum of magnitudes of every element of the answer.

    That is a sum over one factor times the largest of the other; float64 holds all integers up to
    2**53, so it is exact.
    """
    first, second = of.factors
    if of.gives in ("dw", "db"):
        rows = abs(first).sum((0, *range(2, first.ndim)), np.float64)
        largest = 1.0 if second is None else float(abs(second).max(initial=0))
    else:
        assert second is not None, "the factors are x or dy, and weight"  # noqa: S101
        by_group = abs(second).reshape(of.options.groups, -1, *second.shape[1:])
        reaching = (2 if of.gives == "y" else 1, *range(3, by_group.ndim))
        rows = by_group.sum(reaching, np.float64)
        largest = float(max(first.max(initial=0), -first.min(initial=0)))
    plus = 0 if of.bias is None else int(abs(of.bias).max(initial=0))
    return int(rows.max(initial=0)) * int(largest) + plus


def _recipes(
    formula: Formula, shapes: Mapping[str, Shape], other: str, numbers: Numbers, room: int,
    groups: int, thinner: int,
) -> tuple[Recipe, ...]:  # fmt: skip
    terms, rows = _terms(formula, shapes, groups)
    even = 2 if room >= 2**20 else 1
    recipes = []
    for name, shape in shapes.items():
        if numbers == "floats":
            share = min(1.0, NONZERO / terms) if name == other else 1.0
            recipes.append(Recipe(name, normals, shape, (share,)))
        elif name != other:
            recipes.append(Recipe(name, few_values, shape, (even,)))
        else:
            part = room // (8 * even * thinner)
            most = max(1, min(4, part // terms))
            below = min(LONG, max(4, part))
            long = rows * max(1, min(terms // 16, 2 * part // below)) // thinner
            share = min(1.0, part / (most * terms))
            recipes.append(Recipe(name, with_long_ones, shape, (most, share, long, below)))
    return tuple(recipes)


def _other_factor(formula: Formula) -> str:
    """Return the name of the factor with long numbers among its own."""
    role = ROLES[formula]
    return role.dy if role.gives in ("dw", "db") else role.weight


def _terms(formula: Formula, shapes: Mapping[str, Shape], groups: int) -> tuple[int, int]:
    """Return how many terms an element has at most, and how many rows of the factor there are."""
    role = ROLES[formula]
    if role.gives in ("dw", "db"):
        images, filters, *pixels = shapes[role.dy]
        return images * prod(pixels), filters
    filters, channels, *taps = shapes[role.weight]
    if role.gives == "y":
        return channels * prod(taps), filters
    return filters // groups * prod(taps), channels * groups


def _source(function: Callable[..., Any]) -> str:
    """Return a function's source without its docstring and its annotations."""
    tree = ast.parse(getsource(function))
    (defined,) = tree.body
    assert isinstance(defined, ast.FunctionDef)  # noqa: S101 - for the type checker
    defined.returns, defined.body = None, defined.body[1:]
    for argument in defined.args.args:
        argument.annotation = None
    return ast.unparse(tree)
