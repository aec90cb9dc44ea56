"""The arithmetic of a launch: Python's grammar, C's meaning."""

import ast
import math
import operator
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from gradoracle.implementations.cuda_source.results import Names

NUMBERS = {"float": np.float32, "double": np.float64, "int": np.int32, "long": np.int64}


_CONSTANT = re.compile(
    r"^(?:[ \t]*#[ \t]*define[ \t]+|(?:(?:static|inline)\s+)*const(?:expr)?\s+(?:static\s+)?"
    r"(?:unsigned|int|size_t|long|float|double)(?:\s+int)?\s+)"
    r"(\w+)(?:[ \t]+|\s*=\s*)([^=;\n]+?)[ \t]*;?[ \t]*$",
    re.MULTILINE,
)
_SUFFIX = re.compile(r"\b(\d+\.?\d*(?:e[-+]?\d+)?)[fFuUlL]+\b")


class SourceError(ValueError):
    """A `gradoracle:` comment that cannot be understood; the message names the file and line."""


def _whole(a: Any, b: Any) -> bool:
    return isinstance(a, (int, np.integer)) and isinstance(b, (int, np.integer))


def _quotient(a: Any, b: Any) -> int:
    """Return a / b as C has it: rounded towards zero."""
    quotient = abs(int(a)) // abs(int(b))
    return quotient if (a < 0) == (b < 0) else -quotient


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Mod: lambda a, b: a - b * _quotient(a, b) if _whole(a, b) else math.fmod(a, b),
    ast.Div: lambda a, b: _quotient(a, b) if _whole(a, b) else a / b,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min, "max": max, "ceil_div": lambda a, b: -(-a // b), "dim3": lambda *sides: sides,
    **NUMBERS,
}  # fmt: skip


def parsed(text: str, where: str) -> tuple[ast.expr, ...]:
    """Return the expressions of a list with commas."""
    try:
        call = ast.parse(f"_({text})", mode="eval").body
    except SyntaxError as error:
        raise SourceError(f"{where}: cannot read {text!r}: {error.msg}") from error
    if not isinstance(call, ast.Call) or call.keywords:
        raise SourceError(f"{where}: cannot read {text!r}")
    return tuple(call.args)


def constants(text: str) -> dict[str, int | float]:
    """Return the numbers that a text gives names to: `#define N 16`, `const int N = 4 * 4;`."""
    found: dict[str, int | float] = {}
    said = _CONSTANT.findall(text)
    for name, words in said:
        if any(other == name and text != words for other, text in said):
            continue  # by #if, one or the other
        with suppress(SourceError, SyntaxError, ArithmeticError, LookupError, TypeError):
            number = value(parsed(_SUFFIX.sub(r"\1", words), "")[0], found, np.dtype(np.float32))
            if isinstance(number, (int, float)):
                found[name] = number
    return found


def value(node: ast.expr, names: Names, dtype: Any) -> Any:
    """Return what an expression is worth.

    Raises:
        SourceError: it means nothing.
    """
    again = partial(value, names=names, dtype=dtype)
    match node:
        case ast.Constant(value=int() | float()):
            found = node.value
        case ast.Name(id="NULL" | "nullptr"):
            found = None
        case ast.Name(id=name) if name in names:
            found = names[name]
        case ast.Attribute(value=array, attr="size" | "ndim" | "shape" as what):
            found = getattr(again(array), what)
        case ast.Subscript(value=several, slice=place):
            found = again(several)[again(place)]
        case ast.Call(func=ast.Name(id="T"), args=[given], keywords=[]):
            found = dtype.type(again(given))
        case ast.Call(func=ast.Name(id="zero" | "copy" as name), args=[given], keywords=[]):
            found = names[f"{name}()"](ast.unparse(given), again(given))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _FUNCTIONS:
            found = _FUNCTIONS[name](*map(again, given))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            found = again(body) if again(test) else again(orelse)
        case _:
            found = _computed(node, again, names)
    return found


def _computed(node: ast.expr, again: Callable[[ast.expr], Any], names: Names) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="scratch"), args=[ast.Name(id=name), count], keywords=[]):
            return names["scratch()"](name, int(again(count)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -again(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](again(left), again(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _BINARY:
            return int(_BINARY[type(op)](again(left), again(right)))
    known = ", ".join(name for name in names if name.isidentifier())
    if isinstance(node, ast.Call):
        known = f"the functions {', '.join(n for n in _FUNCTIONS if n not in NUMBERS)}"
    raise SourceError(f"{ast.unparse(node)!r} means nothing here; there are {known}")
