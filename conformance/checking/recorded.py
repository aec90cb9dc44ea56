"""Calls as plain data: what JSON, or a contract, can hold, and the call again."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod
from typing import Any

import numpy as np

from gradoracle.conformance.operators.record import Operator
from gradoracle.oracle.declaration import Call, Formula, argument_names, has_part, parts_of
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.float_formats import FORMATS, dtype_of
from gradoracle.oracle.shapes import Array

SPECIAL = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}
KEYS = {"dtype", "shape", "data"}
OTHERS = ("int64", "bool")  # labels and masks


def recorded(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return every argument of a call as plain data, None where one of them is none (a network)."""
    plain: dict[str, Any] = {}
    for name, value in call.items():
        if isinstance(value, np.ndarray):
            numbers = value.astype(np.int64) if value.dtype == np.bool_ else value
            data = [v if isfinite(v) else str(v) for v in numbers.ravel().tolist()]
            plain[name] = {"dtype": value.dtype.name, "shape": [*value.shape], "data": data}
        elif isinstance(value, tuple) and all(isinstance(v, int) for v in value):
            plain[name] = [*value]
        elif value is None or isinstance(value, (bool, int, float, str)):
            plain[name] = value
        else:
            return None
    return plain


def restored(operator: Operator, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call of an operator that plain data describe.

    Raises:
        ValueError: an argument is missing, or is no argument; the message says which.
    """
    formulas = [argument_names(f) for f in operator.formulas]
    names = {name for both in formulas for part in both for name in part}
    given = {*operator.gradients.values()}
    # Results of the forward pass and shapes follow from the others.
    owed = {*formulas[0][0], *formulas[0][1], *given, *({"grad_output"} & names)}
    missing, unknown = sorted(owed - {*plain}), sorted({*plain} - names)
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}"
        raise ValueError(f"the call {what}; it needs {', '.join(sorted(owed))}")
    call = {name: _argument(name, value) for name, value in plain.items()}
    if not any(isinstance(value, np.ndarray) for value in call.values()):
        raise ValueError("the call has no array")
    try:
        whole = operator.complete(call, 0)
        for formula in operator.formulas:
            _require_legal(formula, whole)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"the call is no legal one of {operator.name}: {error}") from None
    return whole


def _require_legal(formula: Formula, call: Call) -> None:
    """Raise what a formula, or each of its parts, raises of an illegal call."""
    for one in parts_of(formula):
        if has_part(one, call):
            answer_shape(one, call)


def _argument(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _array(name, value)
    if isinstance(value, (list, tuple)):
        if not all(type(v) is int for v in value):
            raise ValueError(f"{name} must be a list of integers, got {value!r:.60}")
        return tuple(value)
    return value


def _array(name: str, value: Mapping[str, Any]) -> Array:
    dtypes = (*FORMATS, *OTHERS)
    if {*value} != KEYS or value["dtype"] not in dtypes:
        raise ValueError(
            f"{name} must have dtype ({', '.join(dtypes)}), shape and data, got {dict(value)!r:.60}"
        )
    shape, data = value["shape"], value["data"]
    if not (isinstance(shape, (list, tuple)) and all(type(n) is int and n >= 0 for n in shape)):
        raise ValueError(f"the shape of {name} must be a list of sizes, got {shape!r:.60}")
    if not isinstance(data, (list, tuple)) or len(data) != prod(shape):
        raise ValueError(f"the data of {name} must be a list of {prod(shape)} numbers")
    numbers = [SPECIAL.get(v) if isinstance(v, str) else v for v in data]
    if not all(type(v) in (int, float) for v in numbers):
        raise ValueError(f"the data of {name} must be numbers, 'nan', 'inf' or '-inf'")
    kind = value["dtype"]
    dtype = np.dtype(kind) if kind in OTHERS else dtype_of(kind)
    return (
        np.array(numbers, np.float64 if dtype.kind != "i" else dtype).reshape(shape).astype(dtype)
    )
