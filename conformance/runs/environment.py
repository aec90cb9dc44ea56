"""On what a run took place: versions, processor, BLAS.  No path and no user name."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from gradoracle.conformance import DEVIATIONS, DOMAIN, POLICIES
from gradoracle.conformance.operators import BROUGHT
from gradoracle.conformance.runs.fingerprint import PROGRAM, program

LISTED = "deviations from"  # there are more known ones than the backend's contract lists
CLAIMED = "policies of the run"  # those that --policy gave it
RESTRICTED = "restricted to"  # the domain of the whole run, where it was given one


def suite_version() -> str:
    """Return the installed version of gradoracle, or "checkout" where nobody installed it."""
    try:
        return version("gradoracle")
    except PackageNotFoundError:
        return "checkout"


def environment() -> dict[str, Any]:
    """Return the versions and the machine that a certificate names."""
    found = {
        "gradoracle": suite_version(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "Hypothesis": version("hypothesis"),
    }
    with suppress(PackageNotFoundError):
        found["PyTorch"] = version("torch")
    if BROUGHT:
        homes = (Path(program()).name or "this program" if one.module == PROGRAM else one.module
                 for one in BROUGHT)  # fmt: skip
        found["operators from"] = ", ".join(dict.fromkeys(homes))
    if restricted := os.environ.get(DOMAIN):
        found[RESTRICTED] = restricted
    if claimed := os.environ.get(POLICIES):
        found[CLAIMED] = claimed
    if os.environ.get(DEVIATIONS):
        found[LISTED] = "--deviations"
    return {**found, "machine": platform.machine(), "BLAS": _blas()}


def _blas() -> str:
    """Return NumPy's BLAS; SciPy, where something has loaded it, brings another."""
    found = [one for one in threadpoolctl.threadpool_info() if one.get("user_api") == "blas"]
    if not found:
        return "unknown"
    own = (one for one in found if "numpy" in Path(one["filepath"]).parent.name)
    library = next(own, found[0])
    parts = (library.get(k) for k in ("internal_api", "version", "architecture"))
    threads = library.get("num_threads")
    return f"{' '.join(str(p) for p in parts if p)}, {threads} thread{'s' * (threads != 1)}"
