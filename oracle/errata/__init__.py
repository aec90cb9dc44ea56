"""Where the documents go wrong: what they print, what is right, and where the two differ.

A *misprint* is wrong as it stands.  An *assumption* holds in the setting that its document has in
view (one image, a square kernel, stride 1, no padding, no overlap, no ties, ...), whether it says
so or not, and is wrong or has no value outside of it.  Either way what is printed is evaluated to
the letter on the smallest call on which it is not the oracle's formula.  `tests/test_errata.py`
checks every one of them, and that nothing smaller tells the two apart.

Slips of the pen that cannot mislead anybody are left out ("Task 1" over the pseudocode of 002's
Task 2), and so is what is only missing (002 sets out to compute dL/db, and does not).
"""

from gradoracle.oracle.errata import diary, notebook, post, pooling  # noqa: F401, I001 - in the order of reading
from gradoracle.oracle.errata.erratum import (
    FOUND,
    Answers,
    Erratum,
    Undefined,
    convolution as counterexample,
)
from gradoracle.oracle.declaration import Formula

ERRATA: tuple[Erratum, ...] = tuple(FOUND)


def errata_of(formula: Formula) -> tuple[Erratum, ...]:
    """Return the errata that make a reader get `formula` wrong."""
    return tuple(erratum for erratum in ERRATA if erratum.is_about(formula))


__all__ = ["ERRATA", "Answers", "Erratum", "Undefined", "counterexample", "errata_of"]
