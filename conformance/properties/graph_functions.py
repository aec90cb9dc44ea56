"""The functions that a graph is made of: a backend's own, and formulas for those that it lacks."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties.comparison import require_form
from gradoracle.oracle.chains.links import LINKS, Link
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    evaluate,
    is_data,
    output_of,
    part_by,
    parts_of,
)
from gradoracle.oracle.expected.truth import answer_shape, data_dtype
from gradoracle.oracle.shapes import Array

FEWEST = 2  # operators with their gradients, of which a graph is one


def _parts() -> dict[Formula, Formula]:
    """Return for each gradient that which a function of all gradients at once gives."""
    found: dict[Formula, Formula] = {}
    for operator in OPERATORS:
        parts = parts_of(operator.vjp) if operator.vjp else ()
        by = {part_by(one): one for one in parts}
        found |= {f: by[a] for f, a in operator.gradients.items() if a in by}
    return found


PARTS = _parts()


class Functions:
    """A backend's functions on arrays that they share, as the layers of a network share memory."""

    def __init__(
        self, backend: Backend, call: Call, changes: list[tuple[str, str]] | None = None
    ) -> None:
        """Copy the arrays of a graph: what a function leaves in them is there for the next.

        `changes` goes on with those of other calls.
        """
        self.backend, self._dtype = backend, data_dtype(call)
        self.own = {n: np.array(v) if isinstance(v, np.ndarray) else v for n, v in call.items()}
        # Functions, and the arguments that they changed.
        self.changes: list[tuple[str, str]] = [] if changes is None else changes
        self.count = 0  # calls of the backend's own functions
        self._has = frozenset(backend.functions)

    def ask(self, formula: Formula, call: Call) -> Array:
        """Return the backend's answer, of the shape and dtype that the next function needs.

        Of a function that the backend lacks, or a call outside its domain, it is the formula's in
        float64, rounded to the dtype.
        """
        asked = _given(self._has, formula)
        if asked is None or not self.backend.is_inside(asked, call):
            return self._by_formula(formula, call)
        self.count += 1
        names = argument_names(asked)[0]
        copies = {n: np.array(v) for n in names if isinstance(v := call[n], np.ndarray)}
        given = {**call, **copies}
        changed: dict[str, Array] = {}
        if self.backend.asked.description.from_numpy:
            value = self.backend.ask(asked, given)
        else:
            value, changed = self.backend.answer_and_changes(asked, given)
        for name, left in changed.items():
            self.changes.append((output_of(asked).function, name))
            if left.shape == call[name].shape and left.dtype == call[name].dtype:
                call[name][...] = left
        require_form(asked.__name__, value, answer_shape(formula, given), self._dtype)
        return np.array(value)

    def _by_formula(self, formula: Formula, call: Call) -> Array:
        wide = {n: v.astype(np.float64) if is_data(v) else v for n, v in call.items()}
        return np.asarray(evaluate(formula, wide)).astype(self._dtype)

    def changed(self) -> str:
        """Return in words which functions changed arguments that others may still read."""
        each = dict.fromkeys(f"{function} changed its argument {n}" for function, n in self.changes)
        return f"{', '.join(each)}, which the graph's other functions read, too"


def _given(has: Collection[str], formula: Formula) -> Formula | None:
    """Return a formula, or that of its part of all gradients, where there is a function of it."""
    found = (f for f in (formula, PARTS.get(formula)) if f is not None)
    return next((f for f in found if output_of(f).function in has), None)


def has_graphs(backend: Backend) -> bool:
    """Return whether a backend has operators with their gradients to make a graph of.

    One of them must have a weight or several inputs.
    """
    has = frozenset(backend.functions)
    own = [link for link in LINKS.values() if _has(has, link)]
    return len(own) >= FEWEST and any(len(link.gradients) > 1 for link in own)


def _has(has: Collection[str], link: Link) -> bool:
    return all(_given(has, formula) is not None for formula in link.formulas)
