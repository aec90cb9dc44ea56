"""What a check needs of a backend, and what of that the backend claims."""

from __future__ import annotations

from dataclasses import dataclass

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators.inside import require_call
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import Property
from gradoracle.conformance.reports.certificate import MEANT, UNCLAIMED
from gradoracle.oracle.chains import functions_of
from gradoracle.oracle.declaration import Chained, Formula, algebra, output_of
from gradoracle.oracle.expected.transform_bounds import DIRECT
from gradoracle.oracle.float_formats import HALVES


@dataclass
class Claim:
    """One property of one formula of one backend."""

    backend: Backend
    operator: Operator
    formula: Formula
    property: Property

    def needed(self) -> tuple[Formula, ...]:
        """Return the formulas that the check asks the backend for."""
        if self.property.another:
            return ()
        forward = (self.operator.formula,) if self.property.needs_forward else ()
        return (self.formula, *forward, *self.property.needs(self.operator))

    def with_domains(self) -> list[Formula]:
        """Return the formulas of the check that the backend has; chained ones have no domain."""
        if self.property.another:
            return [self.formula]
        needed = (one for one in self.needed() if not isinstance(algebra(one), Chained))
        return [one for one in needed if self.backend.has(one)]

    def functions(self) -> list[str]:
        """Return the names of the protocol's functions that the check calls."""
        if self.property.another:
            return [self.operator.name + self.property.another]
        links = functions_of(self.formula) if isinstance(algebra(self.formula), Chained) else ()
        return [output_of(one).function for one in (*self.needed(), *links)]

    def dtypes(self) -> tuple[str, ...]:
        """Return the dtypes that all functions of the check are claimed in."""
        return self.backend.contract.dtypes_of(self.functions())

    def judged_dtypes(self) -> list[str]:
        """Return those of them that are checked: of layers, half precision is not."""
        return [d for d in self.dtypes() if not (self.property.on_layers and d in HALVES)]

    def classes_of_dtypes(self) -> list[list[str]]:
        """Return the claimed dtypes: each by itself, but half precision together."""
        claimed = self.judged_dtypes()
        halves = [d for d in claimed if d in HALVES]
        return [*([d] for d in claimed if d not in HALVES), *([halves] if halves else [])]

    def dtypes_in_turn(self) -> list[list[str]]:
        """Return what geometries that are checked in one dtype each take in turn.

        The first two dtypes are enough where a property makes many calls of each.
        """
        classes = self.classes_of_dtypes()
        return classes[:2] if self.property.lists else classes

    def unasked(self) -> tuple[str, str]:
        """Return the status of a check that nothing is asked for, and why; no reason: it is."""
        backend, property_ = self.backend, self.property
        for one in self.needed():
            if not backend.has(one):
                return _absent(backend, one)
        if lacking := self._lacking():
            return UNCLAIMED, lacking
        algorithm = backend.contract.algorithm(output_of(self.formula).function)
        if property_.needs_exact and algorithm != DIRECT:
            return UNCLAIMED, f"the contract's algorithm is {algorithm}, whose sums are never exact"
        if not self.dtypes():
            return UNCLAIMED, "the contract claims it in no dtype"
        if not self.judged_dtypes():
            return "not run", "layers are checked in float32 and float64"
        contradicted = self._contradicted()
        return UNCLAIMED if contradicted else "not run", contradicted

    def _contradicted(self) -> str:
        """Return in words that the domains of the check's functions have no call in common."""
        several = self.with_domains()
        if len({self.backend.domain(one) for one in several}) < 2:
            return ""
        try:
            require_call(self.backend.inside(self.operator, several))
        except ValueError as error:
            return str(error)
        return ""

    def _lacking(self) -> str:
        """Return which policy is not claimed, or what the backend lacks for it, or ""."""
        if self.property.claim:
            policy, *rules = self.property.claim
            if self.backend.contract.rule(policy) not in rules:
                return f"the contract's policies do not claim {policy!r}: {rules[0]!r}"
        return self.property.absent(self.backend, self.operator, self.formula)

    def is_observed(self) -> bool:
        """Return whether a check that is not claimed is made on a few calls all the same."""
        if not self.property.is_observed or not self.judged_dtypes():
            return False
        return all(map(self.backend.has, self.needed()))


def _absent(backend: Backend, formula: Formula) -> tuple[str, str]:
    name = output_of(formula).function
    own = backend.misspelt.get(name)
    meant = f"{MEANT}your {own}?" if own else ""
    if name in backend.missing:
        said = f"{name} is claimed by the contract, but there is no such function"
        return "mismatch", f"{said}{meant}"
    return "not claimed", f"the backend has no {name}, or does not claim it{meant}"
