"""`python -m tests.power.mutants`: change im2col in every small way, and see what the suite says.

Mutants are cosmic-ray's: an operator for another, a number one off, a comparison turned, a loop
that does not run.  Each is checked in a process of its own as a program that writes kernels would
(`gradoracle.check(..., stop_at_first_mismatch=True)`), at a third of the default examples, since
what survives costs a whole certificate, and at those of a quick run where gradients are derived.
What survives is a gap of the suite, or computes the same: `equivalent.py` says why, one by one.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from difflib import SequenceMatcher
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gradoracle
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.registered import functions_of
from gradoracle.conformance.runs.fingerprint import suite
from tests.power.equivalent import EQUIVALENT
from tests.power.journal import Journal

IM2COL = Path(__file__).parent.parent.parent / "implementations" / "im2col"
RESULTS = Path(__file__).parent / "results" / "mutants.json"
JOURNAL = Path(".gradoracle") / "mutants.jsonl"
# What is checked of a mutant, by the file that it is in.  Whatever plan.py chooses is right, and
# the loops of depthwise.py would be compiled anew for every one.
CONCERNED = {
    "activations.py": ["relu", "leaky_relu", "sigmoid", "tanh"],
    "convolution.py": ["conv2d", "conv_transpose2d"],
    "correlation.py": ["conv2d"],
    "dense.py": ["linear", "batch_mean", "sgd_step"],
    "halves.py": ["linear", "softmax", "max_pool2d"],
    "loss.py": ["softmax", "cross_entropy"],
    "pooling.py": ["max_pool2d", "avg_pool2d"],
    "transposed.py": ["conv_transpose2d"],
    "windows.py": ["conv2d"],
}
# Files whose functions are those of operators that follow from their formulas: what is checked of a
# mutant is the operator of the function that it is in, or all operators of the file.
DERIVED = (
    "adaptive_max_pool.py", "adaptive_pool.py", "attention.py", "further_activations.py",
    "further_losses.py", "indexing.py", "interpolate.py", "joining.py", "lp_pool.py",
    "max_unpool.py", "moved_pixels.py", "normalisation.py", "optimisers.py", "padding.py",
    "position.py", "products.py",
)  # fmt: skip
PACKAGE = "gradoracle.implementations.im2col"
EXAMPLES, OF_DERIVED = 100, 25
LONGEST = 180.0  # seconds for one mutant, several times what survives needs
EVERY = 15.0  # seconds between two lines about how far it is
ABSENT = "cosmic-ray is not installed; pip install 'gradoracle[mutants]'"


class Mutant(NamedTuple):
    """A small change of one line."""

    file: str
    line: int
    before: str
    after: str
    function: str = ""  # that the line is in, with its decorators; "": none

    @property
    def key(self) -> str:
        """The change, wherever in its function the line is now."""
        return f"{self.file} {self.function}: {self.before} -> {self.after}"

    @property
    def place(self) -> str:
        """The change and its line: no two have the same."""
        return f"{self.line} {self.file}: {self.before} -> {self.after}"


def mutants(file: Path) -> Iterator[tuple[Mutant, str]]:
    """Yield every change of a file, and the changed text; two that give the same text are one.

    Raises:
        ImportError: cosmic-ray is not there; the message says how to get it.
    """
    try:
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator, operator_names
    except ImportError as error:
        raise ImportError(ABSENT) from error
    source, seen = file.read_text(encoding="utf-8"), set()
    for name in operator_names():
        kind = get_operator(name)
        if kind.arguments() or name.endswith("NoOp"):
            continue
        for occurrence in range(10_000):
            text = mutate_code(source, kind(), occurrence)
            if text is None:
                break
            if text == source or text in seen:
                continue
            seen.add(text)
            yield _described(file.name, source, text), text


def sampled(every: Iterable[tuple[Mutant, str]], count: int) -> Iterable[tuple[Mutant, str]]:
    """Return so many of the mutants, chosen by what they change; 0: all."""
    if not count:
        return every
    by_hash = sorted(every, key=lambda one: hashlib.sha256(one[0].place.encode()).digest())
    return sorted(by_hash[:count], key=lambda one: one[0].line)


def _described(file: str, source: str, text: str) -> Mutant:
    before, after = source.splitlines(), text.splitlines()
    changes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    _, i, j, k, end = next(change for change in changes if change[0] != "equal")
    function = _around(source, max(j, i + 1))  # what is taken out may begin with empty lines
    return Mutant(file, i + 1, _joined(before[i:j]), _joined(after[k:end]), function)


def _around(source: str, line: int) -> str:
    """Return the name of the function at the top of a module that a line is in."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first <= line <= (node.end_lineno or first):
                return node.name
    return ""


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def judged(mutant: Mutant, text: str) -> tuple[str, str]:
    """Return "killed" or "survived", and why, from a process that may crash or hang."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    given = (mutant.file, text, concerned(mutant), there)
    process = fork.Process(target=_judge, args=given, daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(LONGEST):
            return "killed", f"no verdict within {LONGEST:g} s"
        verdict, why = here.recv()
        return str(verdict), str(why)
    except EOFError:
        process.join()
        return "killed", f"the process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()


def concerned(mutant: Mutant) -> list[str]:
    """Return the operators that a mutant may change."""
    if mutant.file in CONCERNED:
        return CONCERNED[mutant.file]
    own = importlib.import_module(f"{PACKAGE}.{Path(mutant.file).stem}")
    of = {
        name: operator.name
        for operator in OPERATORS
        for name in functions_of(operator)
        if getattr(getattr(own, name, None), "__module__", "") == own.__name__
    }
    return [of[mutant.function]] if mutant.function in of else sorted({*of.values()})


def _judge(file: str, text: str, operators: list[str], there: Any) -> None:
    """Import im2col afresh with one file changed, and send what the suite says."""
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / file
        changed.write_text(text, encoding="utf-8")
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]
        sys.meta_path.insert(0, Changed(f"{PACKAGE}.{changed.stem}", changed))
        there.send(_verdict(operators, OF_DERIVED if file in DERIVED else EXAMPLES))


class Changed(MetaPathFinder):
    """Finds one module in another file; the rest stay where what is compiled of them is kept."""

    def __init__(self, name: str, file: Path) -> None:
        """Take the module's name and the file."""
        self._name, self._file = name, file

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the module is, if it is this one."""
        del path, target
        return spec_from_file_location(fullname, self._file) if fullname == self._name else None


def _verdict(operators: list[str], examples: int) -> tuple[str, str]:
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            certificate = gradoracle.check(
                importlib.import_module(PACKAGE), operators=operators, seed=1,
                examples=examples, stop_at_first_mismatch=True,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - a mutant that cannot be imported is dead
            return "killed", f"{type(error).__name__}: {error}"[:160]
    why = certificate.mismatches[0].headline if certificate.mismatches else certificate.why_not
    return ("survived", "") if certificate.passed else ("killed", why[:160])


# -- many of them ---------------------------------------------------------------------------------


def fingerprint() -> str:
    """Return one hash of what is mutated and of who checks it."""
    total = hashlib.sha256(suite().encode())
    for file in sorted(IM2COL.glob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()


def table(results: dict[str, Any]) -> str:
    """Return how many mutants of each file were killed, and what survived for which reason."""
    counts = Counter((one["file"], one["verdict"]) for one in results["mutants"])
    files = sorted({file for file, _ in counts})
    lines = ["file             mutants  killed  equivalent  survived"]
    for file in files:
        dead, alive = counts[file, "killed"], counts[file, "survived"]
        known = sum(key.startswith(f"{file} ") for key in survivors(results) if key in EQUIVALENT)
        lines.append(f"{file:16} {dead + alive:7} {dead:7} {known:11} {alive - known:9}")
    lines += [f"  {key}" for key in survivors(results) if key not in EQUIVALENT]
    return "\n".join(lines)


def survivors(results: dict[str, Any]) -> list[str]:
    """Return the keys of what survived."""
    alive = [one for one in results["mutants"] if one["verdict"] == "survived"]
    names = Mutant._fields
    return [Mutant(**{name: one[name] for name in names if name in one}).key for one in alive]


def journal(path: Path) -> Journal[str, tuple[str, str]]:
    """Return the verdicts of this suite about this code that a file has, by line and key.

    Raises:
        ValueError: another suite checked there, or other code.
    """
    return Journal(path, fingerprint(), lambda where, said: (where, (said[0], said[1])))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.power.mutants",
        description="Check every small change of im2col's code, and list what the suite does not "
        "tell from the right one. It can be stopped at any time and goes on where it was.",
    )
    add = parser.add_argument
    every = [*CONCERNED, *DERIVED]
    add("--files", nargs="+", choices=every, default=[*CONCERNED], metavar="FILE",
        help=f"of {', '.join(every)} (default: those that have no derived gradients)")  # fmt: skip
    add("--sample", type=int, default=0, metavar="N", help="so many of each file, always the same")
    add("--jobs", type=int, default=1, metavar="N", help="at a time (default: 1)")
    add("--journal", type=Path, default=JOURNAL, metavar="FILE",
        help=f"where verdicts are written as they fall (default: {JOURNAL})")  # fmt: skip
    add("--save", action="store_true", help=f"write the results to {RESULTS.name}")
    return parser.parse_args()


def main() -> int:
    """Check what is not checked yet, and print the table; 1 where a mutant survives unexplained."""
    given = _arguments()
    try:
        everything = [
            found for name in given.files for found in sampled(mutants(IM2COL / name), given.sample)
        ]
        verdicts = journal(given.journal)
    except (ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    missing = [(m, text) for m, text in everything if m.place not in verdicts.known]
    gradoracle.check(
        "gradoracle.implementations.im2col", examples=2, seed=1
    )  # imports what all need
    told = start = time.monotonic()
    with ThreadPoolExecutor(given.jobs) as pool:
        waiting = {pool.submit(judged, m, text): m for m, text in missing}
        for count, done in enumerate(as_completed(waiting), 1):
            verdicts.add(waiting[done].place, done.result())
            if time.monotonic() - told > EVERY:
                told = time.monotonic()
                print(f"{count} of {len(missing)} in {told - start:.0f} s", file=sys.stderr)
    found = [(m, *verdicts.known[m.place]) for m, _ in everything]
    results = {
        "fingerprint": fingerprint(),
        "mutants": [{**m._asdict(), "verdict": verdict, "why": why} for m, verdict, why in found],
    }
    print(table(results))
    if given.save:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(any(key not in EQUIVALENT for key in survivors(results)))


if __name__ == "__main__":
    sys.exit(main())
