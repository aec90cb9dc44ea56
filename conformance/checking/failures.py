"""A call that failed a check, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.drawing.values import Style
from gradoracle.conformance.operators.record import Geometry
from gradoracle.conformance.properties import Property
from gradoracle.conformance.reports.certificate import PLAIN
from gradoracle.oracle.declaration import is_data

Drawn: TypeAlias = tuple[Geometry, Style, str]  # what a call is made of; the dtype is last


@dataclass(frozen=True)
class Failure:
    """A call that failed, and how."""

    call: dict[str, Any]
    mismatch: Mismatch
    drawn: Drawn | None
    plain: Mapping[str, tuple[str, ...]]  # formulas whose plain answers are wrong there, and how

    @property
    def is_empty(self) -> bool:
        """Whether an array of the call has no elements."""
        return any(array.size == 0 for array in self.call.values() if is_data(array))

    def weight(self, property_: Property) -> int:
        """Return how much it says: 0 of a fault of its own, in an ordinary call."""
        repeats = bool(self.plain) and property_.name not in PLAIN
        return 4 * repeats + 2 * self.is_empty + (self.mismatch.kind == "dtype")


def size_of(call: Mapping[str, Any]) -> int:
    """Return how many elements the arrays of a call have."""
    return sum(array.size for array in call.values() if isinstance(array, np.ndarray))
