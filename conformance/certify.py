"""The suite as a library call, for programs: no pytest, same verdicts."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from conformance.backend import Backend
from conformance.certificate import Certificate, Outcome
from conformance.environment import environment
from conformance.examine import examine
from conformance.operator import Operator
from conformance.operators import OPERATORS
from conformance.profiles import FIRST_LOOK, PROFILES
from conformance.properties import PROPERTIES, Property
from conformance.registry import wrap
from conformance.threads import one_thread
from oracle.formula import Formula

NO_TORCH = "PyTorch is not installed: pip install 'gradoracle[torch]'"


def check(
    backend: Any,
    *,
    operators: Sequence[str] | None = None,
    examples: int | None = None,
    seed: int | None = None,
    stop_at_first_mismatch: bool = False,
    progress: Callable[[Outcome], None] | None = None,
) -> Certificate:
    """Judge a backend in this process and return its certificate.

    `backend` is a registered name, an import path, a module or any object that has the
    protocol's functions.  `operators` are names such as "conv2d" (default: all), `examples` the
    geometries drawn per property (default: 300), `seed` repeats a run (default: fresh, and in
    the certificate).  `progress` is called with every outcome as it falls.  With
    `stop_at_first_mismatch` every check takes a short look first, since most wrong kernels are
    wrong nearly everywhere.

    Raises:
        UnknownBackend, UnusableBackend: there is nothing to judge; the message says why.
        ValueError: an operator that does not exist, or fewer than 1 example.
    """
    judged = wrap(backend)
    examples = PROFILES["certify"] if examples is None else examples
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    seed = fresh_seed() if seed is None else seed
    chosen = _operators(operators)
    rounds = [examples]
    if stop_at_first_mismatch and examples > FIRST_LOOK:
        rounds.insert(0, FIRST_LOOK)
    outcomes: list[Outcome] = []
    for count in rounds:
        outcomes = []
        for case in checks(chosen):
            outcomes.append(run_check(judged, *case, examples=count, seed=seed))
            if progress is not None and count == examples:
                progress(outcomes[-1])
            if stop_at_first_mismatch and outcomes[-1].status == "mismatch":
                return certificate(judged, outcomes, seed, count, chosen)
    return certificate(judged, outcomes, seed, examples, chosen)


def checks(
    operators: Sequence[Operator] = OPERATORS,
) -> Iterator[tuple[Operator, Formula, Property]]:
    """Yield everything a whole run checks, formula by formula within each property."""
    for operator in operators:
        for property_ in PROPERTIES.values():
            for formula in property_.formulas(operator):
                yield operator, formula, property_


def run_check(
    backend: Backend,
    operator: Operator,
    formula: Formula,
    property_: Property,
    *,
    examples: int,
    seed: int,
) -> Outcome:
    """Run one check, or say why it cannot be run here."""
    if property_.needs_torch and importlib.util.find_spec("torch") is None:
        return Outcome(
            backend.name, formula.__name__, property_.name, status="not run", reason=NO_TORCH
        )
    with one_thread(*(("torch",) if property_.needs_torch else ())):
        return examine(backend, operator, formula, property_, examples=examples, seed=seed)


def certificate(
    backend: Backend,
    outcomes: list[Outcome],
    seed: int,
    examples: int,
    operators: Sequence[Operator] = OPERATORS,
) -> Certificate:
    """Return the certificate of a backend's outcomes."""
    with one_thread():
        circumstances = environment()
    return Certificate(
        backend=backend.name,
        origin=backend.origin,
        contract={**asdict(backend.contract), "has": [*backend.functions]},
        seed=seed,
        examples=examples,
        environment=circumstances,
        outcomes=outcomes,
        expected=sum(1 for _ in checks(operators)),
    )


def fresh_seed() -> int:
    """Return a seed that nobody can foresee; it is printed, so that a run can be repeated."""
    return secrets.randbits(32)


def _operators(names: Sequence[str] | None) -> tuple[Operator, ...]:
    if names is None:
        return OPERATORS
    known = {operator.name: operator for operator in OPERATORS}
    for name in names:
        if name not in known:
            raise ValueError(f"no operator {name!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in names)
