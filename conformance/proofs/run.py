"""Every function of a kernel file, at several shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.proofs.counterexample import Smaller
from gradoracle.conformance.proofs.proof import Status, verdict
from gradoracle.conformance.proofs.shapes import calls, described
from gradoracle.conformance.properties.property import is_function
from gradoracle.oracle.declaration import Formula, parts_of

Progress = Callable[[str], object]


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
        lines = [f"{self.formula:<32} {_WORDS[self.status]}{self._count()}"]
        if self.at and self.status != "undecided":
            lines.append(f"at {self.at}")
        lines += self.reason.splitlines()
        return "\n    ".join(lines)

    def _count(self) -> str:
        if self.status == "undecided":
            return ""
        return f" at {len(self.shapes)} shape{'s' * (len(self.shapes) != 1)}"


_INTEGERS = r"(?:const\s+)?(?:u?int\w*|unsigned|signed|long|short|char|size_t)\b[\w\s]*\*"
_CAST = re.compile(rf"reinterpret_cast\s*<\s*{_INTEGERS}|\(\s*{_INTEGERS}[\s*]*\)\s*[&\w(]")
_WORDS: Mapping[Status, str] = {
    "proved": "PROVED", "differs": "WRONG; holds", "fault": "FAULT; holds",
    "undecided": "not decided",
}  # fmt: skip


def proofs(
    backend: Backend, operators: Sequence[Operator], at: Mapping[str, str], count: int, seed: int,
    progress: Progress,
) -> Iterator[Proof]:  # fmt: skip
    """Yield what comes of every formula whose function the backend has.

    Where its text takes numbers for integers, a difference may be the field's: it decides nothing.

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
    cast = cast_to_integers(backend.name.partition("@")[0])
    for operator, formula in having:
        if not at or operator.name in at:
            text = at.get(operator.name, "")
            found = _proof(backend, operator, formula, text, count, seed, progress)
            if found.status == "differs" and cast:
                found.status, found.reason = "undecided", cast
            yield found


def cast_to_integers(name: str) -> str:
    """Return where a file has a pointer to integers made of another one, and what that means."""
    file = Path(name)
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    found = _CAST.search(text)
    if found is None:
        return ""
    line = text.count("\n", 0, found.start()) + 1
    return (
        f"{file.name}:{line}: takes a pointer for one to integers: what it makes of the bits of "
        "numbers is not what it makes of elements"
    )


def _is_asked(backend: Backend, formula: Formula) -> bool:
    return is_function(formula) and parts_of(formula) == (formula,) and backend.has(formula)


def _proof(
    backend: Backend, operator: Operator, formula: Formula, at: str, count: int, seed: int,
    progress: Progress,
) -> Proof:  # fmt: skip
    found = Proof(formula.__name__)
    for number, call in enumerate(calls(backend, operator, formula, at, count)):
        words = described(operator, formula, call)
        progress(f"{formula.__name__} at {words}")
        came = verdict(backend, formula, call, seed + number)
        if came.status == "proved":
            found.shapes.append(words)
            continue
        found.status, found.reason, found.at = came.status, came.reason, words
        if came.difference is not None:
            found.reason = str(Smaller(backend, formula, call, came.difference).found())
        break
    return found
