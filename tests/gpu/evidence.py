"""Evidence from a GPU: `python -m tests.gpu.evidence`, from a checkout, in less than 9 minutes.

    --only certify,sanitize,benchmark    these stages; the others' results stay, where the sources
                                         are the same
    --minutes 8.5                        that it may take
    --out FOLDER                         tests/gpu/results

It writes FOLDER/<gpu>.json after every step, and certificates into FOLDER/certificates.  Exit code
0: every stage ended; 1: one failed, which the file says; 3: there is no GPU here; 143: stopped.

The file is one object:

    schema      1
    machine     gpu, driver, clocks before and after, versions of CUDA, CuPy, PyTorch, cuDNN
    sources     SHA-256 of the code that was checked and of these scripts
    minutes     that were allowed
    stages      by name, each an object with
        state       "done", "running" (it was killed there), "failed" or "stopped"
        why         of a failure, in words
        seconds     that it took
        started     UTC
        result      what it found so far, of the stage

certify's result: seed, memory_gib, call_timeout_s, and runs, each with backend, profile, operators,
jobs, isolation, exit_code (None: killed or not run), seconds, verdict in words, examples, calls by
dtype, declined, worst_error_over_bound, mismatches, confinement and the certificate's file.

sanitize's result: binary, version (hostcuda's verdicts are the `told` lines of faults.cu, to which
tests/test_hostcuda.py holds it); looked_for, the table of kinds and tools; faults, by kernel:
hostcuda (kind and words), line, tool (null: none looks for it), verdict (agrees | agrees on another
line | SILENT | not looked for | not looked for, but told | no verdict), words, compiled (the option
with which the tool was asked), and runs by tool and option; right, by subject: verdicts by tool
(clean | flagged | no verdict), words, exit_codes and the runs that are not clean; counts;
out_of_time, the runs that there was no time for.

benchmark's result: images, settings (how it was measured), tf32_probe (what each makes of 4097 * 1,
which TF32 rounds to 4096: least and largest), clocks (after every 8th layer), layers, and means by
network and direction (geometric, whole, layers measured, of how many, wrong). A layer has network,
layer, times (that its network has it), macs (of an image), x, weight, stride, padding, groups, and
by direction: columns ("ours", "cuDNN", "cuDNN TF32", "cuDNN float16", "ours float16") of ms
(median), spread_ms, runs, tflops and check (within: true, false, or null with why), algorithm (of
ours) and ratio (cuDNN's time over ours).
"""

import argparse
import datetime as dt
import json
import math
import sys
import traceback
from pathlib import Path

from tests.gpu import machine
from tests.gpu.budget import SHARES, Budget, Stopped, heeding_signals
from tests.gpu.processes import end_all

SCHEMA = 1
RESULTS = Path(__file__).parent / "results"
NO_GPU, STOPPED = 3, 143
EVERY = 8  # layers, after which the clocks are read
CLOCKS = ("clocks.sm", "clocks.mem", "temperature.gpu", "not_told")


class Record:
    """The file of a GPU, written after every step."""

    def __init__(self, file, told, sources, minutes):
        self.file = file
        self.content = {
            "schema": SCHEMA, "machine": told, "sources": sources, "minutes": minutes, "stages": {},
        }  # fmt: skip
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        if (before.get("schema"), before.get("sources")) == (SCHEMA, sources):
            self.content["stages"] = before.get("stages", {})

    def write(self):
        """Write the file; it is never half written."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_finite(self.content), indent=1, ensure_ascii=False, allow_nan=False)
        new = self.file.with_suffix(".new")
        new.write_text(text + "\n", encoding="utf-8")
        new.replace(self.file)

    def stage(self, name, budget, work):
        """Do a stage's work and return whether it ended; what stops it is told."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        stage = {"state": "running", "started": now, "seconds": 0.0, "result": {}}
        self.content["stages"][name] = stage
        start = budget.passed()

        def note(result):
            stage["result"] = result
            stage["seconds"] = round(budget.passed() - start, 1)
            self.write()

        self.write()
        budget.say(f"{name}: {budget.left(name):.0f} s at most")
        try:
            stage["result"] = work(note)
            stage["state"] = "done"
        except Stopped as stopped:
            stage |= {"state": "stopped", "why": f"stopped by {stopped}"}
            raise
        except Exception as error:  # noqa: BLE001 - the other stages go on
            stage |= {
                "state": "failed",
                "why": " ".join(f"{type(error).__name__}: {error}".split())[:400],
                "trace": traceback.format_exc().splitlines()[-12:],
            }
        finally:
            stage["seconds"] = round(budget.passed() - start, 1)
            self.write()
            budget.say(f"{name}: {stage['state']} {stage.get('why', '')}".rstrip())
        return stage["state"] == "done"


def _finite(value):
    """Return plain data with what JSON has no number for in words."""
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def works(budget, folder):
    """Return what every stage does, by its name; libraries are loaded when it begins."""

    def certify(note):
        from tests.gpu.certify import certify

        return certify(budget, note, folder=folder / "certificates")

    def sanitize(note):
        from tests.gpu.sanitize import sanitize

        return sanitize(budget, note)

    def benchmark(note):
        from gradoracle.conformance.operators.network_layers import layers
        from tests.gpu.benchmark import IMAGES, benchmark
        from tests.gpu.device import device

        gpu = device()
        try:
            probe = gpu.probed(layers("ResNet-50")[2], IMAGES)
        except Exception as error:  # noqa: BLE001 - it is told, and the layers are measured
            probe = {"failed": str(error)[:300]}
        budget.say(f"4097 * 1: {probe}")

        clocks = []

        def note_settings(result):
            if len(result["layers"]) == len(clocks) * EVERY + 1:
                clocks.append({k: v for k, v in machine.smi().items() if k in CLOCKS})
            result |= {"settings": gpu.settings(), "tf32_probe": probe, "clocks": clocks}
            note(result)

        result = benchmark(budget, note_settings, gpu)
        return {**result, "settings": gpu.settings()}

    return {"certify": certify, "sanitize": sanitize, "benchmark": benchmark}


def _stages(text):
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SHARES:
            raise argparse.ArgumentTypeError(f"no stage {name!r}; there are {', '.join(SHARES)}")
    return [name for name in SHARES if name in names]


def main(arguments=None):
    """Gather the evidence."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.evidence", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--only", type=_stages, default=[*SHARES], metavar="STAGE,...")
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    given = parser.parse_args(arguments)
    try:
        from gradoracle.implementations.cupy_kernels.probe import cupy_with_device

        cupy = cupy_with_device()
    except ImportError as error:
        print(error, file=sys.stderr)
        return NO_GPU
    budget = Budget(60 * given.minutes, given.only)
    told = machine.described(cupy)
    record = Record(
        given.out.resolve() / f"{machine.slug(told['gpu'])}.json", told, machine.sources(),
        given.minutes,
    )  # fmt: skip
    budget.say(f"{told['gpu']}, CUDA {told['cuda']}, CuPy {told['cupy']} -> {record.file}")
    work = works(budget, given.out.resolve())
    return gathered(record, budget, {name: work[name] for name in given.only})


def gathered(record, budget, work):
    """Do the work of the stages and return the exit code; a signal ends it, with what is done."""
    ended = []
    try:
        with heeding_signals():
            ended.extend(record.stage(name, budget, one) for name, one in work.items())
    except Stopped:
        return STOPPED
    finally:
        end_all()
        record.content["machine"]["nvidia_smi_after"] = machine.smi()
        record.write()
        budget.say(f"written to {record.file}")
    return 0 if all(ended) else 1


if __name__ == "__main__":
    sys.exit(main())
