"""Arguments: the machine that arrays lie on, and the arrays as its library has them."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import (
    ELEMENTS,
    Machine,
    dtype_name,
    host,
    on_device,
)

OPTIONAL = ("bias", "attn_mask")  # the arguments that may be None
INTEGERS = {"target": "int64", "indices": "int64"}  # those that hold integers, and their dtypes
ON_CPU, ON_CUDA = (1, 3), (2, 13)  # DLPack's kinds of memory that NumPy and CuPy read


def place(
    *, integers: Mapping[str, str] = INTEGERS, optional: Collection[str] = OPTIONAL,
    masks: Collection[str] = (), **arrays: Any,
) -> tuple[Machine, list[Any]]:  # fmt: skip
    """Return the machine that arrays lie on, and the arrays as its library has them, in order.

    NumPy's and CuPy's arrays are what they are; any other comes through DLPack, without a copy.
    Of the `optional` ones, a bias or a mask, None stays None.  The `integers` are of the dtypes
    that stand beside them, and the `masks` may be of bool.

    Raises:
        TypeError: one is no array, or of a dtype that no kernel takes beside the others'.
        ValueError: they lie on different machines.
    """
    found = {
        name: _taken(name, a) for name, a in arrays.items() if a is not None or name not in optional
    }
    (first, (machine, one)), *others = found.items()
    _check_dtype(first, one, one, first, integers)
    for name, (where, array) in others:
        is_mask = name in masks and array.dtype == bool
        if where != machine:
            raise ValueError(f"{name} lies on {where.name}, but {first} on {machine.name}")
        if not is_mask:
            _check_dtype(name, array, one, first, integers)
    return machine, [machine.in_order(found[name][1]) if name in found else None for name in arrays]


def _taken(name: str, value: Any) -> tuple[Machine, Any]:
    """Return where an argument lies, and the argument as the array library there has it."""
    cupy = sys.modules.get("cupy")  # whose arrays exist only where it has been imported
    if isinstance(value, (np.ndarray, np.generic)):
        return host(), np.asarray(value)
    if cupy is not None and isinstance(value, cupy.ndarray):
        return on_device(value.device.id), value
    kind, number = value.__dlpack_device__() if hasattr(value, "__dlpack_device__") else (0, 0)
    if kind in ON_CPU:
        return host(), np.from_dlpack(value)
    if kind in ON_CUDA:
        machine = on_device(number)
        return machine, machine.xp.from_dlpack(value)
    where = f" in DLPack's memory of kind {int(kind)}" if kind else ""
    raise TypeError(
        f"{name} must be an array of NumPy or CuPy, or one that DLPack can hand to them, got "
        f"{type(value).__name__}{where}"
    )


def _check_dtype(
    name: str, array: Any, other: Any, other_name: str, integers: Mapping[str, str]
) -> None:
    if name in integers:
        if array.dtype != integers[name]:
            raise TypeError(f"{name} must be {integers[name]}, got {array.dtype}")
    elif dtype_name(array.dtype) not in ELEMENTS or not array.dtype.isnative:
        raise TypeError(f"{name} must be one of {', '.join(ELEMENTS)}, got {array.dtype}")
    elif array.dtype != other.dtype:
        raise TypeError(f"{name} is {array.dtype}, but {other_name} {other.dtype}")
