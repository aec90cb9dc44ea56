"""What each check costs and which planted faults it is the first to find, from a certificate.

    gradoracle certify im2col --seed 1 --jobs 1 --certificate certificate.json
    python -m tests.power.budgets certificate.json

A row is a property: its share of the profile's examples, whether drawn geometries take dtypes in
turn, the calls and seconds of the certificate, and how many faults of `killers.json` it finds
first.  A fault that an earlier check finds, too, is counted there: a check of few such faults may
be given fewer geometries, if `pytest tests/test_planted.py` finds all faults all the same.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.reports.certificate import Certificate
from tests.planted.killers import KILLERS

HEADER = ("property", "share", "dtypes", "calls", "seconds", "found first", "of them a second")


def rows(certificate: Certificate) -> Iterator[tuple[str, ...]]:
    """Yield a row for each property of a certificate, in the order in which they are checked."""
    first = Counter(known[2] for known in KILLERS.values())
    for name, property_ in PROPERTIES.items():
        outcomes = [one for one in certificate.outcomes if one.property_name == name]
        calls = sum(sum(by.values()) for one in outcomes for by in one.calls.values())
        seconds = sum(one.seconds for one in outcomes)
        if not calls:
            continue
        in_turn = property_.takes_dtypes_in_turn(PROFILES["certify"])
        yield (
            name, f"{property_.share:g}", "in turn" if in_turn else "all", f"{calls}",
            f"{seconds:.1f}", f"{first[name]}", f"{first[name] / max(seconds, 0.1):.2f}",
        )  # fmt: skip


def table(certificate: Certificate) -> str:
    """Return the rows as a table of Markdown."""
    lines = [HEADER, ("---", *["--:"] * (len(HEADER) - 1)), *rows(certificate)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table(Certificate.from_json(Path(sys.argv[1]).read_text())))
