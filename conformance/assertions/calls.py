"""A call of one of the protocol's functions, from its arguments by name."""

from collections.abc import Collection, Mapping, Sequence
from inspect import signature
from operator import index
from typing import Any

import numpy as np

from gradoracle.conformance.assertions.arrays import as_numpy
from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.property import is_function
from gradoracle.conformance.reports.explain import Topic, UnknownFormula, call_of, find
from gradoracle.oracle.declaration import (
    Formula,
    argument_names,
    axes_of,
    has_part,
    is_data,
    optional,
    output_of,
    parts_of,
    whole_of,
)
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array, Sides

SIDES, NUMBER = (Sides, "Sides"), (float, "float")  # how such options are annotated
STEP = "stride"  # of a pooling: the window's own size, where it is not given


def topic_of(function: Any) -> Topic:
    """Return the formula of a function of the protocol, and its operator.

    Raises:
        TypeError: it is not given by name.
        ValueError: there is no such function.
    """
    if not isinstance(function, str):
        name = getattr(function, "__name__", "")
        got = f"the function {name}" if name else type(function).__name__
        raise TypeError(
            f"a function's name, a str such as {name or 'conv2d'!r}, is wanted; got {got}"
        )
    try:
        topic = find(function)
    except UnknownFormula as error:
        raise ValueError(str(error)) from None
    if not is_function(topic.formula):
        raise ValueError(f"{function} is a whole network: check its functions one by one")
    return topic


def name_of(formula: Formula) -> str:
    """Return what a formula is called by: its function, or its own name as a further result."""
    function, place = output_of(formula)
    return formula.__name__ if place or whole_of(formula) is not formula else function


def call_from(topic: Topic, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call of a formula on these arguments; what is left out takes its neutral value.

    Raises:
        TypeError: an argument is missing, unknown or no array.
        ValueError: arrays of several dtypes, or shapes and options that fit no call.
    """
    formula = topic.formula
    require_names(formula, arguments, defaults(formula))
    names, _ = argument_names(formula)
    arrays = {n: as_numpy(n, arguments[n]) for n in names if arguments.get(n) is not None}
    call = {
        **dict.fromkeys(names),
        **_in_one_dtype(arrays, data_names(topic.operator)),
        **options_from(formula, arguments),
    }
    for one in parts_of(formula):
        if has_part(one, call):
            answer_shape(one, call)  # raises where they fit no call
    return call


def require_by_name(formula: Formula, args: Sequence[Any]) -> None:
    """Raise TypeError where arguments are given by place."""
    if args:
        name, names = name_of(formula), argument_names(formula)[0]
        raise TypeError(
            f"{name}: arguments are given by name, as in {', '.join(f'{n}={n}' for n in names)}"
        )


def require_names(formula: Formula, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise TypeError unless all arguments are given or `known`, and no others are given."""
    name = name_of(formula)
    names, takes = sum(argument_names(formula), ()), f"it takes {call_of(formula, name)}"
    unknown = [n for n in given if n not in names]
    if unknown:
        raise TypeError(f"{name} has no argument {' and no '.join(unknown)}; {takes}")
    missing = [n for n in names if given.get(n) is None and n not in known]
    if missing:
        raise TypeError(f"{name} needs {' and '.join(missing)}; {takes}")


def defaults(formula: Formula) -> dict[str, Any]:
    """Return the arguments that may be left out, with what they are then.

    Those are arrays that may be None, and options with a neutral value; of a pooling the stride is
    that of PyTorch, the window's own size (None here).
    """
    axes, (_, options) = axes_of(formula), argument_names(formula)
    found = {name: axes.neutral[name] for name in options if name in axes.neutral}
    if axes.window and STEP in found:
        found[STEP] = None
    return {**dict.fromkeys(optional(formula)), **found}


def options_from(formula: Formula, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a formula: one number stands for every axis, a shape is a tuple."""
    axes, (_, names) = axes_of(formula), argument_names(formula)
    chosen = {**defaults(formula), **{n: v for n, v in given.items() if v is not None}}
    if STEP in names and chosen[STEP] is None:
        chosen[STEP] = chosen[axes.window]
    return {name: _option(formula, name, chosen[name]) for name in names}


def _option(formula: Formula, name: str, value: Any) -> Any:
    axes, annotation = axes_of(formula), signature(formula).parameters[name].annotation
    if name in axes.shapes or annotation in SIDES:
        return _sides(value, axes.rank)
    if annotation in NUMBER:
        return float(value)
    return value


def _sides(value: Any, rank: int) -> Any:
    """Return a tuple of integers, or the value as it is: the formula says what is wrong with it."""
    try:
        return (index(value),) * rank
    except TypeError:
        try:
            return tuple(map(index, value))
        except TypeError:
            return value


def data_names(operator: Operator) -> frozenset[str]:
    """Return the names of an operator's arrays of numbers; what else is an array holds indices."""
    sizes = operator.geometry(Choices(b""), "small").sizes
    call = operator.call(sizes, operator.styles.of("any")[0], 0, "float32")
    of_indices = {n for n, v in call.items() if isinstance(v, np.ndarray) and not is_data(v)}
    return frozenset(operator.arguments(sizes).shapes) - of_indices


def _in_one_dtype(arrays: Mapping[str, Array], data: Collection[str]) -> dict[str, Array]:
    """Return the arrays, indices as int64.

    Raises:
        ValueError: numbers in no format that is checked, or in several; indices that are none.
    """
    found: dict[str, Array] = {}
    first = next((name for name in arrays if name in data), "")
    for name, array in arrays.items():
        dtype = array.dtype
        if name not in data and dtype.kind not in "iu":
            raise ValueError(f"{name} must hold indices, integers, got {dtype}")
        if name in data and dtype.name not in FORMATS:
            raise ValueError(f"{name} must be of one of {[*FORMATS]}, got {dtype}")
        if name in data and dtype != arrays[first].dtype:
            raise ValueError(
                f"{name} is {dtype}, but {first} is {arrays[first].dtype}: the arrays of a call "
                "must have one dtype"
            )
        found[name] = array if name in data else array.astype(np.int64)
    return found
