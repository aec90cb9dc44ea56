"""Compile every kernel for every architecture, without a GPU, and hold it to `cuda_limits`.

    python -m tests.cuda_gate [sm_90 ...]

prints registers, spilled bytes, shared memory and the main loops' share of multiply-adds.  What
cannot run on this machine is printed as not run, with its reason.
"""

import argparse
import contextlib
import importlib
import pkgutil
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gradoracle.implementations import cupy_kernels
from gradoracle.implementations.cupy_kernels import gemm_implicit
from tests import cuda_limits
from tests.cuda_compilers import NotRun, compiler, disassemble

FOLDER = Path(cupy_kernels.__path__[0])
CODES = {
    "float": "f", "double": "d", "int": "i", "long long": "x",
    "__half": "6__half", "__nv_bfloat16": "13__nv_bfloat16",
}  # fmt: skip
MULTIPLY_ADDS = ("FFMA", "DFMA")


@dataclass(frozen=True)
class Unit:
    """A text that is compiled in one go, and the kernels that the host code asks of it."""

    file: str
    expressions: tuple[str, ...]
    options: tuple[str, ...] = ()

    @property
    def text(self):
        files = [FOLDER / "common.cuh", FOLDER / self.file]
        return "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())

    def __str__(self):
        return " ".join((self.file, *self.options))


@dataclass(frozen=True)
class Measured:
    """A kernel on an architecture."""

    kernel: str
    arch: int
    registers: int
    spilled: int  # bytes, stored and loaded
    shared: int
    share: float | None  # 0: no loop multiplies; None: nothing here reads the machine code ...
    unread: str = ""  # ... for this reason

    def faults(self):
        """Return in words what is over the limits."""
        limit = cuda_limits.KERNELS.get(self.kernel, cuda_limits.OTHERS)
        spilled = cuda_limits.SPILLED.get(self.arch, 0)
        found = [
            f"{got} {what}, at most {most} are allowed"
            for what, got, most in (
                ("registers", self.registers, limit.registers),
                ("spilled bytes", self.spilled, spilled),
                ("bytes of shared memory", self.shared, limit.shared),
            )
            if got > most
        ]
        if limit.share and self.share is not None and self.share < limit.share:
            found.append(
                f"{self.share:.3f} of the main loop multiplies, at least {limit.share} must"
            )
        return [f"{self.kernel} on sm_{self.arch}: {fault}" for fault in found]

    def __str__(self):
        share = f"{self.share:.3f}" if self.share else "-"
        if self.share is None:
            share = f"not run: {self.unread}"
        return (
            f"sm_{self.arch:<4} {self.kernel:42} {self.registers:4} registers {self.spilled:4} "
            f"spilled {self.shared:6} shared  share {share}"
        )


@cache
def units():
    """Return what the host code can ask for, of every file."""
    found = [Unit(gemm_implicit.FILE, gemm_implicit.expressions())]
    modules = {}
    for _, name, _ in pkgutil.iter_modules(cupy_kernels.__path__):
        with contextlib.suppress(ImportError):  # CuPy is not everywhere
            modules[name] = importlib.import_module(f"{cupy_kernels.__name__}.{name}")
    machine = modules.get("machine")
    if machine:
        sources = {
            value
            for module in modules.values()
            for value in vars(module).values()
            if isinstance(value, machine.Source)
        }
        for source in sorted(sources, key=lambda source: source.file):
            found += _units_of(source, machine)
    return tuple(found)


def _units_of(source, machine):
    """Return a file's kernels for the formats that need no header, and for those that do."""
    units = []
    for with_header in (False, True):
        dtypes = [d for d in machine.ELEMENTS if (d in machine.HEADERS) == with_header]
        expressions = [
            expression
            for dtype in dtypes
            for index in ("int", "long long")
            for expression in source.expressions(dtype, index)
        ]
        options = [option for dtype in dtypes for option in machine.HEADERS.get(dtype, ())]
        units.append(Unit(source.file, tuple(expressions), tuple(options)))
    return units


@cache
def measured(unit, arch):
    """Compile a unit for an architecture and return its kernels.

    Raises:
        NotRun: there is no compiler, or none for this architecture.
        AssertionError: the compiler refuses the text.
    """
    here = compiler()
    if arch not in here.archs:
        raise NotRun(f"{here.name} does not compile for sm_{arch}")
    compiled = here.compile(unit.text, unit.expressions, unit.options, arch)
    needs = resources(compiled.log)
    shares, unread = None, ""
    try:
        shares = main_loops(disassemble(compiled.cubin))
    except NotRun as reason:
        unread = str(reason)
    found = []
    for expression in unit.expressions:
        symbol = next((name for name in needs if name.startswith(mangled(expression))), None)
        assert symbol, f"the assembler says nothing of {expression}:\n{compiled.log}"
        share = None if shares is None else shares.get(symbol, 0)
        found.append(Measured(expression, arch, *needs[symbol], share, unread))
    return found


def mangled(expression):
    """Return how the symbol of a kernel begins."""
    name, _, arguments = expression.rstrip(">").partition("<")
    codes = [
        CODES.get(argument.strip()) or f"Li{argument.strip()}E"
        for argument in arguments.split(",")
        if argument
    ]
    return f"_Z{len(name)}{name}" + (f"I{''.join(codes)}E" if codes else "")


def resources(log):
    """Return registers, spilled bytes and bytes of shared memory of every symbol in ptxas's log."""
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        symbol = part.partition("'")[0]
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", part)))
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        found[symbol] = int(registers[1]), spilled, int(shared[1]) if shared else 0
    return found


def main_loops(sass):
    """Return, of every symbol, the share of multiply-adds in the innermost loop with most of them.

    A loop is what lies between a label and a branch back to it; loops inside it end its being
    innermost.  Symbols without a multiply-add in a loop are not in the answer.
    """
    shares = {}
    for part in re.split(r"\n\s*\.section\s+\.text\.", sass)[1:]:
        symbol = part.partition(",")[0].strip('"')
        bodies = [body for body in _innermost(part) if _multiply_adds(body)]
        if bodies:
            body = max(bodies, key=_multiply_adds)
            shares[symbol] = _multiply_adds(body) / len(body)
    return shares


def _innermost(section):
    """Return the instructions of every innermost loop of a function."""
    labels, instructions, loops = {}, [], []
    for line in section.splitlines():
        if label := re.match(r"\s*(\.L\w+):", line):
            labels[label[1]] = len(instructions)
        elif instruction := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;", line):
            instructions.append(instruction[1])
            target = re.search(r"\bBRA\b.*?(\.L\w+)", instruction[1])
            if target and target[1] in labels:  # labels that come later are no way back
                loops.append((labels[target[1]], len(instructions)))
    return [
        instructions[start:end]
        for start, end in loops
        if not any(start <= s and e <= end and (s, e) != (start, end) for s, e in loops)
    ]


def _multiply_adds(body):
    return sum(bool(re.search(rf"\b({'|'.join(MULTIPLY_ADDS)})\b", line)) for line in body)


def main(arguments):
    """Print every kernel on the architectures named, or on all; return the number of faults."""
    known = [f"sm_{arch}" for arch in cuda_limits.ARCHITECTURES]
    parser = argparse.ArgumentParser("python -m tests.cuda_gate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "arch", nargs="*", metavar="ARCH", help=f"any of {', '.join(known)}; all by default"
    )
    named = parser.parse_args(arguments).arch or known
    if unknown := set(named) - set(known):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(known)}")
    archs = [int(name.removeprefix("sm_")) for name in named]
    try:
        say(f"compiled by {compiler().name}")
    except NotRun as reason:
        say(f"not run: {reason}")
        return 0
    faults = []
    for unit in units():
        for arch in archs:
            try:
                kernels = measured(unit, arch)
            except NotRun as reason:
                say(f"sm_{arch:<4} {unit}: not run: {reason}")
                continue
            for kernel in kernels:
                say(str(kernel))
                faults += kernel.faults()
    for fault in faults:
        say(f"FAILED {fault}")
    return len(faults)


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
