"""The stage `certify`: `gradoracle certify` of the backend on the device, and of its algorithms.

A quick certificate of the backend first, which is sure to be done; then that of the default
profile, which is killed where the time is not enough; then quick ones of each algorithm alone.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.gpu.processes import run

STAGE = "certify"
SEED = 20241016
MEMORY = 24  # GiB: CUDA's context, its libraries and pinned memory count as the process's own
CALL = 30  # seconds of a call: a kernel's first call compiles it, in every shape of its tiles
JOBS = 14  # checks at a time, at most: each is a worker with a CUDA context
DEVICE = "gradoracle.implementations.cupy_kernels.device"
ALGORITHMS = ("direct", "implicit", "columns")
KEPT = 40  # seconds that the default profile leaves to the algorithms


def certify(budget, note, *, folder, runner=run):
    """Certify what there is time for, and keep the certificates in `folder`."""
    result = {"seed": SEED, "memory_gib": MEMORY, "call_timeout_s": CALL, "runs": []}
    note(result)
    quick = _one(budget, result, "cupy", "quick", folder, runner)
    note(result)
    if quick["exit_code"] is not None:
        _one(budget, result, "cupy", "certify", folder, runner, keep=KEPT)
    note(result)
    for algorithm in ALGORITHMS:
        if _exists(algorithm):
            _one(budget, result, f"{DEVICE}:{algorithm}", "quick", folder, runner)
            note(result)
    return result


def _exists(algorithm):
    """Return whether the device's module has a backend of that name; it is not imported."""
    text = Path(__file__).parents[2] / "implementations" / "cupy_kernels" / "device.py"
    return f"\n{algorithm} = " in text.read_text(encoding="utf-8")


def _one(budget, result, backend, profile, folder, runner, keep=0):
    """Run one certification and add to the result what became of it."""
    jobs = max(1, min(JOBS, (os.cpu_count() or 2) - 2))
    folder.mkdir(parents=True, exist_ok=True)
    # The contract's functions that no algorithm concerns are not checked again.
    only = ["--operators", "conv2d,conv_transpose2d"] if ":" in backend else []
    target = folder / f"{backend.rpartition('.')[2].replace(':', '-')}-{profile}.json"
    target.unlink(missing_ok=True)
    one = {
        "backend": backend, "profile": profile, "jobs": jobs, "operators": only[1:] or "all",
        "isolation": "each job's backend in a worker process with a CUDA context of its own",
        "certificate": f"{folder.name}/{target.name}",
    }  # fmt: skip
    left = budget.left(STAGE) - keep
    if left < 15:
        result["runs"].append({**one, "exit_code": None, "verdict": "not run: out of time"})
        return result["runs"][-1]
    budget.say(f"certify {backend}, profile {profile}, {jobs} jobs, {left:.0f} s at most")
    with tempfile.TemporaryDirectory(prefix="gradoracle-") as work:
        end = runner(
            [
                sys.executable, "-m", "gradoracle", "certify", backend, "--profile", profile,
                "--seed", SEED, "--jobs", jobs, "--memory", MEMORY, "--call-timeout", CALL,
                "--certificate", target, *only,
            ],
            left, folder=work,
        )  # fmt: skip
        judged = _judged(Path(work))
    one |= {"exit_code": end.code, "seconds": round(end.seconds, 1)}
    if end.code is None:
        one["verdict"] = f"not finished in {end.seconds:.0f} s: {judged} checks had been checked"
    elif target.exists():
        one |= _told(target)
    else:
        one["verdict"] = f"no certificate: {' '.join(end.output.split())[-400:]}"
    result["runs"].append(one)
    budget.say(f"certify {backend} ({profile}): {one['verdict']}")
    return one


def _judged(folder):
    """Return how many verdicts the journals of a killed run hold."""
    return sum(
        max(len(file.read_text(errors="replace").splitlines()) - 1, 0)
        for file in folder.rglob("*.journal")
    )


def _told(target):
    """Return what a certificate says, in short."""
    from gradoracle import Certificate

    text = target.read_text(encoding="utf-8")
    told = Certificate.from_json(text)
    calls = {}
    for outcome in told.outcomes:
        for dtype, strata in outcome.calls.items():
            calls[dtype] = calls.get(dtype, 0) + sum(strata.values())
    return {
        "verdict": told.verdict,
        "examples": told.examples,
        "calls": calls,
        "declined": sum(outcome.declined for outcome in told.outcomes),
        "worst_error_over_bound": max((o.worst_error_over_bound for o in told.outcomes), default=0),
        "mismatches": [f"{m.formula} {m.property_name}: {m.headline}" for m in told.mismatches],
        "confinement": {k: told.confinement.get(k) for k in ("process", "limits", "acts")},
        "runs_on": told.contract.get("runs_on", ""),
        "sha256": json.loads(text).get("sha256", ""),
    }
