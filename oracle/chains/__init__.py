"""Chains of operators: a network, and the error that passes through it."""

from gradoracle.oracle.chains.graph import graph_backward
from gradoracle.oracle.chains.links import FORMULAS
from gradoracle.oracle.chains.network import LINKS
from gradoracle.oracle.declaration import Formula


def functions_of(chain: Formula) -> tuple[Formula, ...]:
    """Return the formulas that a chain may ask for, beside those that it always needs."""
    return FORMULAS if chain is graph_backward else LINKS
