"""Loading backends whose contracts may list deviations from checks of this suite."""

from __future__ import annotations

from typing import Any

from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.registry import ISOLATED, Confinement, UnusableBackend
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.runs.deviations import require_checks


def load(name: str, confinement: Confinement = ISOLATED) -> Backend:
    """Return the backend called `name`, or the one at that import path, as `registry.load` does.

    Raises:
        UnknownBackend: neither is there; the message lists what is, and how to register.
        UnusableBackend: importing it failed, its contract is wrong, or a deviation that it lists
            names a formula, property or call that there is not.
    """
    return _with_known_deviations(registry.load(name, confinement))


def wrap(backend: Any, confinement: Confinement = ISOLATED) -> Backend:
    """Return a Backend from a name, an import path, a module, or any object with the functions.

    Raises:
        UnknownBackend, UnusableBackend: as `load` does.
    """
    if isinstance(backend, Backend):
        return backend
    return _with_known_deviations(registry.wrap(backend, confinement=confinement))


def _with_known_deviations(backend: Backend) -> Backend:
    try:
        require_checks(backend.contract.deviations)
    except ValueError as error:
        backend.asked.close()
        raise UnusableBackend(f"backend {backend.name!r}: {error}") from error
    return backend


def confinement_of(told: Certificate) -> Confinement:
    """Return how a certificate's backend is kept when it is run again: always apart.

    The limits are the certificate's, or the suite's own where it names none.
    """
    kept = told.confinement
    limits = Limits(**kept["limits"]) if "limits" in kept else Limits()
    return Confinement(limits=limits, forbidden=tuple(kept.get("forbidden", ())))
