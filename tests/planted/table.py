"""Faults and controls in tables: by name, with the class, where it was seen, and the function."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.implementations import im2col as good
from tests.planted.fault import FULL, Fault, add, checked, control, target

Table = Mapping[str, tuple[str, str, Callable[..., Any]]]
OURS = {name: name for name in FULL if name in FUNCTIONS and hasattr(good, name)}


def plant(faults: Table, right: Mapping[str, Callable[..., Any]]) -> None:
    """Add faults and controls; what they return comes in the dtype of the first array of floats."""
    for planted, (kind, seen, wrong) in faults.items():
        of = target(planted, OURS)
        add(planted, Fault(kind, of, lambda n=of, f=wrong: checked(n, quietly(f)), seen))
    for planted, function in right.items():
        made = quietly(function)
        made.__name__ = planted
        control(made, names=OURS)


def quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    def made(*arrays: Any, **o: Any) -> Any:
        dtype = next(a.dtype for a in arrays if a is not None and a.dtype.kind not in "iub")
        with np.errstate(all="ignore"):
            found = function(*arrays, **o)
        if isinstance(found, tuple):
            return tuple(None if one is None else np.asarray(one, dtype) for one in found)
        return np.asarray(found, dtype)

    return made
