"""Write the rows of the covering arrays of all operators: those that are new, or all anew.

python -m gradoracle.conformance.operators.covering_rows [--anew]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from gradoracle.conformance.drawing.coverage import EACH, PAIRS
from gradoracle.conformance.drawing.covering import DIGITS, ROWS_FILE, count, key_of, make
from gradoracle.conformance.operators import OPERATORS


def kept_rows(known: Mapping[str, str]) -> dict[str, str]:
    """Return the content of the file that keeps the rows of all operators.

    Rows that are `known` are kept as they are: only new arrays are made.
    """
    kept: dict[str, str] = {}
    for operator in OPERATORS:
        for at, cover in enumerate(operator.covers):
            for strength in sorted({cover.strength, *(() if at else (PAIRS, EACH))} - {0}):
                key = key_of(cover.factors, strength)
                if key in known:
                    kept[key] = known[key]
                elif key not in kept:
                    rows = make(cover.factors, strength)
                    possible = count(cover.factors, strength, rows)[1]
                    texts = ("".join(DIGITS[at] for at in row) for row in rows)
                    kept[key] = f"{possible} {' '.join(texts)}"
    return kept


if __name__ == "__main__":
    file = Path(str(files("gradoracle.conformance.drawing"))).joinpath(ROWS_FILE)
    known = {} if "--anew" in sys.argv else json.loads(file.read_text(encoding="ascii"))
    file.write_text(json.dumps(kept_rows(known), indent=0) + "\n", encoding="ascii")
