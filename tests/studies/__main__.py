"""Check libraries and keep what comes: `python -m tests.studies LIBRARY...`.

Without a library, the table in README.md is written anew from the results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gradoracle.conformance.backends.registry import load
from gradoracle.conformance.operators import OPERATORS
from gradoracle.oracle.declaration import output_of
from tests.studies.libraries import HERE, LIBRARIES, Library
from tests.studies.table import write

RESULTS = HERE / "results"
SEED = 1


def main() -> None:
    """Check the libraries that are named, operator by operator."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies", description=__doc__)
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY")
    parser.add_argument("--operators", default="", help="comma-separated; default: all it has")
    parser.add_argument("--profile", default="quick")
    given = parser.parse_args()
    unknown = [name for name in given.libraries if name not in LIBRARIES]
    if unknown:
        parser.error(f"no library {unknown[0]!r}; there are {', '.join(LIBRARIES)}")
    for name in given.libraries:
        study(LIBRARIES[name], [*filter(None, given.operators.split(","))], given.profile)
    write()


def study(library: Library, only: list[str], profile: str) -> None:
    """Check a library's operators and store what comes after each."""
    path = RESULTS / f"{library.name}.json"
    kept = json.loads(path.read_text())["operators"] if path.exists() and only else {}
    for operator in only or operators_of(library):
        kept[operator] = checked(library, operator, profile)
        print(library.name, operator, json.dumps(kept[operator])[:300], flush=True)
        found = {
            "library": library.name,
            "versions": {name: version(name) for name in library.distributions},
            "operators": kept,
        }
        path.write_text(json.dumps(found, indent=1) + "\n")


def operators_of(library: Library) -> list[str]:
    """Return the operators that a library has a function for."""
    backend = load(library.backend)
    has = {*backend.functions}
    backend.asked.close()
    return [one.name for one in OPERATORS if has & {output_of(f).function for f in one.formulas}]


def checked(library: Library, operator: str, profile: str) -> dict[str, Any]:
    """Return what `gradoracle certify` says of one operator of a library."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.json")
        command = [
            sys.executable, "-m", "gradoracle", "certify", library.backend, "--operators", operator,
            "--profile", profile, "--seed", str(SEED), "--certificate", str(certificate),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=HERE.parent.parent, timeout=library.seconds, text=True,
                capture_output=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"verdict": f"not finished in {library.seconds} s", "profile": profile}
        if not certificate.exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            return {"verdict": "not run", "why": lines[-1][:300] if lines else ""}
        found = json.loads(certificate.read_text())
    return {**summary(found), "profile": profile, "seconds": round(time.monotonic() - start)}


def summary(certificate: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept of a certificate: the verdict, how many calls, and the mismatches."""
    outcomes = certificate["outcomes"]
    ran = [one for one in outcomes if one["calls"]]
    return {
        "verdict": "certified" if certificate["certified"] else certificate["verdict"],
        "formulas": sorted({one["formula"] for one in ran}),
        "calls": sum(
            count for one in ran for of in one["calls"].values() for count in of.values()
        ),
        "declined": sum(one["declined"] for one in outcomes),
        "mismatches": [
            {
                "formula": one["formula"],
                "property": one["property_name"],
                "says": one["mismatch"]["text"].splitlines()[1].strip(),
                "call": call_of(one["mismatch"]["text"]),
            }
            for one in outcomes
            if one["mismatch"]
        ],
    }  # fmt: skip


def call_of(text: str) -> str:
    """Return the minimal call that a report prints, in one line."""
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith("  minimal call")), None)
    if start is None:
        return ""
    rest = lines[start + 1 :]
    end = next((at for at, line in enumerate(rest) if not line.startswith("   ")), len(rest))
    said = [lines[start].removeprefix("  minimal call"), *rest[:end]]
    return "; ".join(line.strip().rstrip(",") for line in said)


if __name__ == "__main__":
    main()
