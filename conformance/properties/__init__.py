"""The properties: what must hold for every legal call.

Each is a function that takes a backend, an operator, one of its formulas and a call, raises
Mismatch where the backend breaks it, and returns the largest error as a share of the rounding bound
(0 where the data are exact).  Its docstring is the sentence that a report shows.

Where identities between answers are checked, each answer may be off by its own rounding bound, and
by nothing on data where rounding provably never acts: see `conformance.properties.answers`.
"""

# The order is that of the certificate's columns.
# isort: off
from gradoracle.conformance.properties import expected, slopes, references  # noqa: F401
from gradoracle.conformance.properties import identities, symmetries, special_values  # noqa: F401
from gradoracle.conformance.properties import interface, state, network, graph, scale  # noqa: F401
from gradoracle.conformance.properties import batch, threads, outputs, derivatives  # noqa: F401
from gradoracle.conformance.properties.property import (
    PROPERTIES,
    NothingToJudge,
    NotJudged,
    Property,
)

__all__ = ["PROPERTIES", "NotJudged", "NothingToJudge", "Property"]
