"""One case: a function on a call that is made anew, and how its answer is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.benchmarks.measure import Sides
from gradoracle.conformance.scale.convolution import ROLES
from gradoracle.oracle.declaration import Call, Formula, output_of
from gradoracle.oracle.expected.transform_bounds import DIRECT
from gradoracle.oracle.shapes import Array

UNVERIFIED = "not checked: a transform is exact on no numbers"
SEED = 20241016

Verify: TypeAlias = Callable[[Backend, Formula, Call, Array], object]  # Mismatch: it is wrong


@dataclass(frozen=True)
class Case:
    """A function on a layer; `make` returns a call of so many images in a dtype."""

    network: str
    layer: str
    formula: Formula
    images: int
    dtype: str
    make: Callable[..., dict[str, Any]]
    verify: Verify
    products: int = 0  # multiply-adds of the formula; 0: it is no sum of products
    sides: Sides | None = None  # of the matrices whose products these are

    @property
    def function(self) -> str:
        """The function of the protocol."""
        return output_of(self.formula).function

    @property
    def name(self) -> str:
        """The case in words, by which two runs are compared."""
        return f"{self.function} {self.network} {self.layer} x{self.images} {self.dtype}"

    def call(self) -> dict[str, Any]:
        """Return the arguments: the same ones every time."""
        return self.make(self.images, self.dtype)

    def verdict(self, backend: Backend, call: Call, got: Array, part: Formula | None = None) -> str:
        """Return "right" or why an answer was not checked; `part` is the formula of that result.

        Raises:
            Mismatch: it is wrong.
        """
        if self.formula in ROLES and backend.contract.algorithm(self.function) != DIRECT:
            return UNVERIFIED
        self.verify(backend, part or self.formula, call, got)
        return "right"


def moved(call: Call, *got: Array) -> int:
    """Return how many bytes a function reads and writes at least."""
    arrays = (*call.values(), *got)
    return sum(one.nbytes for one in arrays if isinstance(one, np.ndarray))
