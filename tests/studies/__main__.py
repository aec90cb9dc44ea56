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

from gradoracle.conformance.operators import OPERATORS
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
    parser.add_argument("--call-timeout", default="", help="seconds, on a busy machine")
    given = parser.parse_args()
    unknown = [name for name in given.libraries if name not in LIBRARIES]
    if unknown:
        parser.error(f"no library {unknown[0]!r}; there are {', '.join(LIBRARIES)}")
    for name in given.libraries:
        operators = [*filter(None, given.operators.split(","))]
        if LIBRARIES[name].one_by_one and not operators:
            parser.error(f"{name} takes long: name its operators by --operators, such as relu")
        study(LIBRARIES[name], operators, given.profile, given.call_timeout)
    write()


def study(library: Library, only: list[str], profile: str, timeout: str = "") -> None:
    """Check a library's operators and store what comes."""
    path = RESULTS / f"{library.name}.json"
    kept = json.loads(path.read_text())["operators"] if path.exists() and only else {}
    for operators in [[one] for one in only] if library.one_by_one else [only]:
        kept |= checked(library, operators, profile, timeout)
        found = {
            "library": library.name,
            "versions": {name: version(name) for name in library.distributions},
            "operators": kept,
        }
        path.write_text(json.dumps(found, indent=1) + "\n")


def checked(
    library: Library, only: list[str], profile: str, timeout: str
) -> dict[str, dict[str, Any]]:
    """Return what `gradoracle certify` says of a library, by operator."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.json")
        command = [
            sys.executable, "-m", "gradoracle", "certify", library.backend, "--profile", profile,
            "--seed", str(SEED), "--certificate", str(certificate),
            *(["--operators", ",".join(only)] if only else []),
            *(["--call-timeout", timeout] if timeout else []),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=HERE.parent.parent, timeout=library.seconds, text=True,
                capture_output=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {name: {"verdict": f"not finished in {library.seconds} s"} for name in only}
        if not certificate.exists():
            sys.exit(f"{library.name}: {(done.stderr or done.stdout).strip()[-500:]}")
        outcomes = json.loads(certificate.read_text())["outcomes"]
    print(f"{library.name}: {time.monotonic() - start:.0f} s", flush=True)
    by_operator = {
        one.name: [of for of in outcomes if of["formula"] in {f.__name__ for f in one.formulas}]
        for one in OPERATORS
    }
    return {
        name: {**summary(of), "profile": profile}
        for name, of in by_operator.items()
        if any(one["calls"] or one["mismatch"] for one in of)
    }


def summary(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is kept of an operator's outcomes: verdict, number of calls, mismatches."""
    ran = [one for one in outcomes if one["calls"]]
    open_ = [one for one in outcomes if one["status"] in ("no call", "blind")]
    mismatches = [one for one in outcomes if one["mismatch"]]
    verdict = "not certified" if mismatches or not ran else "certified"
    if open_ and not mismatches:
        verdict = "; ".join(f"{one['property_name']}: {one['reason']}" for one in open_)
    return {
        "verdict": verdict,
        "formulas": sorted({one["formula"] for one in ran}),
        "calls": sum(
            count for one in ran for of in one["calls"].values() for count in of.values()
        ),
        "declined": sum(one["declined"] for one in outcomes),
        "seconds": round(sum(one["seconds"] for one in outcomes)),
        "mismatches": [
            {
                "formula": one["formula"],
                "property": one["property_name"],
                "says": one["mismatch"]["text"].splitlines()[1].strip(),
                "call": call_of(one["mismatch"]["text"]),
            }
            for one in mismatches
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
