"""A failing call as data in a certificate: written bit for bit, and made again to be checked.

Nothing that is read is run as text: what comes out are arrays, numbers and the names of options,
and the formula and the property are looked up among the suite's own.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import PROPERTIES, Property
from gradoracle.conformance.scale.data import LayerCall, layer_call
from gradoracle.oracle.chains.graph import ARRAYS
from gradoracle.oracle.chains.links import OPERATIONS, Node
from gradoracle.oracle.chains.network import Step
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import dtype_of
from gradoracle.oracle.shapes import Array

LARGEST = 2**22  # letters of the arrays of one call
ELEMENTS = 2**26  # of an array
HALF = "bfloat16"  # which NumPy has no name for


class NoCall(ValueError):
    """What a certificate has is no call of the formula; the message says why."""


class Check(NamedTuple):
    """A property of a formula, and the call that it is to be checked on."""

    operator: Operator
    formula: Formula
    property: Property
    call: Call


def written(
    operator: Operator, property_: Property, call: Call, *, steady: bool
) -> dict[str, Any] | None:
    """Return a failing check as plain data, or None where its arrays are too large to be kept."""
    layer = None
    arguments: dict[str, Any] = {}
    if isinstance(call, LayerCall):
        layer = {
            "name": call.layer, "sizes": {**call.sizes}, "seed": call.seed, "dtype": call.dtype,
            "numbers": "whole numbers" if call.largest_sum else "floats",
        }  # fmt: skip
    else:
        arguments = {name: _plain(value) for name, value in call.items()}
    texts = (one["zlib"] for one in arguments.values() if isinstance(one, dict) and "zlib" in one)
    if sum(map(len, texts)) > LARGEST:
        return None
    return {
        "operator": operator.name, "property": property_.name, "steady": steady, "layer": layer,
        "arguments": arguments,
    }  # fmt: skip


def read(content: Mapping[str, Any], formula: str, accumulators: Mapping[str, str]) -> Check:
    """Return the check that `written` gave, of the formula of this name.

    `accumulators` are the contract's: the numbers of a layer depend on them.

    Raises:
        NoCall: there is no such check, or no such call.
    """
    operator = next((one for one in OPERATORS if one.name == content["operator"]), None)
    if operator is None:
        raise NoCall(f"there is no operator {content['operator']!r}")
    found = next((one for one in operator.formulas if one.__name__ == formula), None)
    if found is None:
        raise NoCall(f"{operator.name} has no formula {formula!r}")
    property_ = PROPERTIES.get(content["property"])
    if property_ is None or found not in property_.formulas(operator):
        raise NoCall(f"{content['property']!r} is no property of {formula}")
    call = _call(content, operator, found, accumulators)
    return Check(operator, found, property_, call)


def _call(
    content: Mapping[str, Any], operator: Operator, formula: Formula,
    accumulators: Mapping[str, str],
) -> Call:  # fmt: skip
    layer = content["layer"]
    if layer is None:
        return {name: _made(name, value) for name, value in content["arguments"].items()}
    accumulator = accumulators.get(layer["dtype"], layer["dtype"])
    try:
        return layer_call(
            operator, formula, layer["name"], layer["sizes"], numbers=layer["numbers"],
            seed=layer["seed"], dtype=layer["dtype"], accumulator=accumulator,
        )  # fmt: skip
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise NoCall(f"there is no such layer ({type(error).__name__}: {error})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _bits(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Step):
        steps = ({**one._asdict(), "options": _options(one.options)} for one in value)
        return {"steps": [*steps]}
    if isinstance(value, tuple) and value and isinstance(value[0], Node):
        return {"nodes": [_of_node(one) for one in value]}
    if isinstance(value, tuple):
        return [*value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in options.items()}


def _bits(array: Array) -> dict[str, Any]:
    name = array.dtype.name
    raw = np.ascontiguousarray(array)
    if name != HALF:
        raw = raw.astype(raw.dtype.newbyteorder("<"), copy=False)
    packed = zlib.compress(raw.tobytes(), 9)
    text = base64.b64encode(packed).decode("ascii")
    return {"dtype": name, "shape": [*array.shape], "zlib": text}


def _made(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "steps" in value:
        return tuple(
            Step(one["operator"], one["number"],
                 {n: _made(n, v) for n, v in one["options"].items()})
            for one in value["steps"]
        )  # fmt: skip
    if "nodes" in value:
        return tuple(_node(one, at) for at, one in enumerate(value["nodes"]))
    return _array(name, value)


def _of_node(node: Node) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in node._asdict().items() if name != "options"}
    return {**plain, "options": _options(node.options)}


def _node(plain: Mapping[str, Any], before: int) -> Node:
    """Return a node of a graph that has so many before it.

    Raises:
        NoCall: graphs have no such node, or it takes what is not there.
    """
    known = {*ARRAYS, *(str(at) for at in range(1, before + 1))}
    if plain["operator"] not in OPERATIONS or not {*plain["inputs"]} <= known:
        raise NoCall(f"no graph has the node {plain['operator']}({', '.join(plain['inputs'])})")
    options = {n: _made(n, v) for n, v in plain["options"].items()}
    inputs, shape = tuple(plain["inputs"]), tuple(plain["shape"])
    return Node(plain["operator"], inputs, plain["number"], options, shape)


def _array(name: str, value: Mapping[str, Any]) -> Array:
    """Return an array of exactly the bits that are there.

    Raises:
        NoCall: they are not as many as its shape and dtype want, or too many.
    """
    try:
        dtype = dtype_of(value["dtype"]) if value["dtype"] == HALF else np.dtype(value["dtype"])
    except ImportError as error:
        raise NoCall(f"{name} is of bfloat16: {error}") from error
    shape = tuple(value["shape"])
    if prod(shape) > ELEMENTS:
        raise NoCall(f"{name} of shape {[*shape]} has more than {ELEMENTS} elements")
    size = prod(shape) * dtype.itemsize
    try:
        unpacking = zlib.decompressobj()
        packed = base64.b64decode(value["zlib"], validate=True)
        raw = unpacking.decompress(packed, size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise NoCall(f"the elements of {name} cannot be unpacked: {error}") from error
    if len(raw) != size or not unpacking.eof:
        wanted = f"{dtype.name}{[*shape]} has {size} bytes"
        raise NoCall(f"{name} has {len(raw)} bytes or more, where {wanted}")
    if dtype.name != HALF:
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape).copy()
