"""An expression of operators, such as `relu(conv2d(x, weight, bias) + residual)`, as a tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import add, mul, sub
from typing import Any, TypeAlias

SIGNS: Mapping[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", add), ast.Sub: ("-", sub), ast.Mult: ("*", mul),
}  # fmt: skip


@dataclass(frozen=True)
class Leaf:
    """An array that the composition is given."""

    name: str


@dataclass(frozen=True)
class Option:
    """An option that the composition is given, under a name of its own."""

    name: str


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Pair:
    """Two operands of +, - or *, element by element."""

    sign: str
    function: Callable[[Any, Any], Any]
    one: Node
    other: Node


@dataclass(frozen=True, eq=False)
class Applied:
    """An operator of arrays by position (None: not given) and options by name."""

    operator: str
    arrays: tuple[Node | None, ...]
    options: Mapping[str, Any]  # values, or an `Option`


Node: TypeAlias = Leaf | Number | Pair | Applied


def parsed(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        ValueError: it is none of names, numbers, +, -, * and calls of operators.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression: {error.msg}") from None
    return _node(tree, text)


def _node(tree: ast.expr, text: str) -> Node:
    match tree:
        case ast.Name(id=name):
            return Leaf(name)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return Number(float(value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Pair("*", mul, Number(-1.0), _node(operand, text))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SIGNS:
            sign, function = SIGNS[type(op)]
            return Pair(sign, function, _node(left, text), _node(right, text))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            arrays = tuple(None if _is_none(one) else _node(one, text) for one in args)
            return Applied(name, arrays, {str(k.arg): _option(k.value) for k in keywords})
    raise ValueError(
        f"{ast.unparse(tree)!r} in {text!r}: take names of arrays, numbers, +, -, * and operators, "
        "such as relu(conv2d(x, weight, bias) + residual)"
    )


def _is_none(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Constant) and tree.value is None


def _option(tree: ast.expr) -> Any:
    """Return an option's value, or the `Option` that a name stands for."""
    if isinstance(tree, ast.Name):
        return Option(tree.id)
    try:
        return ast.literal_eval(tree)
    except ValueError:
        raise ValueError(f"{ast.unparse(tree)!r} is no value of an option, and no name") from None


def nodes(node: Node | None) -> Iterator[Node]:
    """Yield all nodes of a tree, operands before what is made of them."""
    if isinstance(node, Pair):
        yield from nodes(node.one)
        yield from nodes(node.other)
    elif isinstance(node, Applied):
        for one in node.arrays:
            yield from nodes(one)
    if node is not None:
        yield node


def leaves(node: Node) -> list[str]:
    """Return the names of the arrays, in the order in which they stand."""
    return list(dict.fromkeys(one.name for one in nodes(node) if isinstance(one, Leaf)))


def evaluated(
    node: Node | None, arrays: Mapping[str, Any], apply: Callable[[Applied, list[Any]], Any]
) -> Any:
    """Return the value of a tree; `apply` gives that of an operator from those of its arrays."""
    match node:
        case None:
            return None
        case Leaf(name):
            return arrays[name]
        case Number(value):
            return value
        case Pair(sign, function, one, other):
            sides = [evaluated(side, arrays, apply) for side in (one, other)]
            _check_alike(sides, sign)
            return function(*sides)
        case Applied():
            return apply(node, [evaluated(one, arrays, apply) for one in node.arrays])


def options_of(node: Applied, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an operator from those of the composition."""
    return {n: options[v.name] if isinstance(v, Option) else v for n, v in node.options.items()}


def _check_alike(sides: list[Any], sign: str) -> None:
    """Raise ValueError unless two arrays have one shape; numbers go with all."""
    shapes = [(*one.shape,) for one in sides if hasattr(one, "shape")]
    if len({*shapes}) > 1:
        raise ValueError(f"the two sides of {sign} have the shapes {shapes[0]} and {shapes[1]}")
