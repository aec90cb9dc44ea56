"""Every function of a kernel file, at several shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.proofs.counterexample import Smaller
from gradoracle.conformance.proofs.proof import Status, verdict
from gradoracle.conformance.proofs.shapes import calls, described
from gradoracle.conformance.properties.property import is_function
from gradoracle.oracle.declaration import Formula, parts_of

Told = Callable[[str], object]


@dataclass
class Proof:
    """What came of one formula: of the shapes that were asked for, up to the first that fails."""

    formula: str
    status: Status = "proved"
    shapes: list[str] = field(default_factory=list)  # those that it holds at
    at: str = ""  # the shape that it fails at, or cannot be decided at
    reason: str = ""

    @property
    def text(self) -> str:
        """What is printed."""
        lines = [f"{self.formula:<28} {_WORDS[self.status]}{self._count()}"]
        if self.at and self.status != "undecided":
            lines.append(f"at {self.at}")
        lines += self.reason.splitlines()
        return "\n    ".join(lines)

    def _count(self) -> str:
        if self.status == "undecided":
            return ""
        return f" at {len(self.shapes)} shape{'s' * (len(self.shapes) != 1)}"


_WORDS: Mapping[Status, str] = {
    "proved": "PROVED", "differs": "WRONG; holds", "fault": "FAULT; holds",
    "undecided": "not decided",
}  # fmt: skip


def proofs(
    backend: Backend, operators: Sequence[Operator], at: Mapping[str, str], count: int, seed: int,
    told: Told,
) -> Iterator[Proof]:  # fmt: skip
    """Yield what comes of every formula whose function the backend has.

    Raises:
        ValueError: `at` names what the backend does not have, or no call is inside it.
    """
    having = [(o, f) for o in operators for f in o.formulas if _is_asked(backend, f)]
    names = {o.name for o, _ in having}
    if unknown := next((name for name in at if name not in names), None):
        raise ValueError(
            f"--at {unknown}: the backend has no function of it; it has those of "
            f"{', '.join(sorted(names)) or 'none'}"
        )
    for operator, formula in having:
        if not at or operator.name in at:
            yield _proof(backend, operator, formula, at.get(operator.name, ""), count, seed, told)


def _is_asked(backend: Backend, formula: Formula) -> bool:
    return is_function(formula) and parts_of(formula) == (formula,) and backend.has(formula)


def _proof(
    backend: Backend, operator: Operator, formula: Formula, at: str, count: int, seed: int,
    told: Told,
) -> Proof:  # fmt: skip
    found = Proof(formula.__name__)
    for number, call in enumerate(calls(backend, operator, formula, at, count)):
        words = described(operator, formula, call)
        told(f"{formula.__name__} at {words}")
        came = verdict(backend, formula, call, seed + number)
        if came.status == "proved":
            found.shapes.append(words)
            continue
        found.status, found.reason, found.at = came.status, came.reason, words
        if came.difference is not None:
            found.reason = str(Smaller(backend, formula, call, came.difference).found())
        break
    return found
