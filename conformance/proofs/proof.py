"""Whether a kernel computes its formula for all numbers, at one shape.

A kernel that only adds, subtracts, multiplies and divides computes one rational function of its
inputs an element.  It is run on random elements of two prime fields, in all orders of threads that
check mode has, and compared with the formula's loops on the same elements.  Where the two functions
differ in a coefficient that is no multiple of both primes, and have a degree of at most `DEGREE`,
the answers differ but for a chance of (`DEGREE` / prime) to the power of `POINTS`: the lemma of
Schwartz and Zippel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Declined, Mismatch
from gradoracle.conformance.proofs.shapes import numbers
from gradoracle.oracle.declaration import Call, Formula, evaluate
from gradoracle.oracle.numbers.residues import Undecidable, residues, values_of
from gradoracle.oracle.shapes import Array

HOSTCUDA = "gradoracle.implementations.hostcuda"  # loaded where it is asked for
POINTS, DEGREE = 3, 1000
MISSED = 1e-19  # the chance that all points miss a difference is below that

WHOLE, SMALL, BELOW = 2**16, 2**10, 32  # integers, and numerators and denominators, are below
NO_POLYNOMIAL = (
    "its formula compares numbers, or takes a function of them: only sums, differences, products "
    "and quotients can be decided for all numbers"
)

Status: TypeAlias = Literal["proved", "differs", "fault", "undecided"]
Values: TypeAlias = Mapping[str, Array]  # residues of the arguments that hold numbers, uint32


@dataclass(frozen=True)
class Difference:
    """Where a kernel and its formula differ, on numbers that show it."""

    prime: int
    values: Values


@dataclass(frozen=True)
class Verdict:
    """What came of one formula at one shape."""

    status: Status
    reason: str = ""  # of a fault, and of what cannot be decided
    difference: Difference | None = None


def verdict(backend: Backend, formula: Formula, call: Call, seed: int) -> Verdict:
    """Return whether the backend's kernel computes a formula for all numbers, at a call's shape."""
    rng = np.random.default_rng(seed)
    for prime in primes():
        for _ in range(POINTS):
            values = {
                name: rng.integers(0, prime, call[name].shape, dtype=np.uint32)
                for name in numbers(formula, call)
            }
            try:
                same = np.array_equal(*answers(backend, formula, call, values, prime))
            except Undecidable:
                return Verdict("undecided", NO_POLYNOMIAL)
            except Declined as error:
                return Verdict("undecided", in_words(str(error)))
            except Mismatch as error:
                return Verdict("fault", error.headline)
            if not same:
                return Verdict("differs", difference=Difference(prime, values))
    return Verdict("proved")


def primes() -> tuple[int, ...]:
    """Return the primes whose fields are computed in."""
    found: tuple[int, ...] = import_module(HOSTCUDA).PRIMES
    return found


def answers(
    backend: Backend, formula: Formula, call: Call, values: Values, prime: int
) -> tuple[Array, Array]:
    """Return what the kernel gives on residues, and what the formula does: integers below `prime`.

    Raises:
        Undecidable: the formula does more than a field has.
        Declined: the kernel does.
        Mismatch: the kernel is at fault.
    """
    elements = {name: residues(array, prime) for name, array in values.items()}
    try:
        want = evaluate(formula, {**call, **elements})
    except (TypeError, SystemError) as error:  # what NumPy makes of an error in a comparison
        raise Undecidable(str(error)) from error
    bits = {name: array.view(np.float32) for name, array in values.items()}
    modulo: AbstractContextManager[None] = import_module(HOSTCUDA).modulo(prime)
    with modulo:
        got = backend.ask(formula, {**call, **bits})
    if got.shape != want.shape:
        raise Mismatch(f"{formula.__name__}: got shape {[*got.shape]}, want {[*want.shape]}")
    if got.dtype != np.float32:
        raise Declined(f"it returns {got.dtype}, and elements are as large as float32")
    return got.view(np.uint32).astype(np.int64), values_of(want, prime)


def in_words(error: str) -> str:
    """Return why a kernel cannot be run on the elements of a field, in one line."""
    plain = (
        error.replace("hostcuda::Element", "float").replace("\u2018", "'").replace("\u2019", "'")
    )
    found = re.search(r"(\S+?:\d+)(?::\d+)?: error: (.*)", plain)
    if found is None:
        return plain
    where, message = found.groups()
    if re.search(r"no match for 'operator(<|>|<=|>=|==|!=)'", message):
        return f"{where}: compares numbers: what it does depends on them"
    if any(one in message for one in ("to 'float'", "no matching function", "ambiguous")):
        return f"{where}: takes a function of numbers that is no sum, product or quotient"
    return f"{where}: {message}"


def signed(value: int, prime: int) -> str:
    """Return the small integer or fraction that a residue is of, or that it is of another number.

    What is no residue is what memory held before: `empty` arrays are all ones in binary.
    """
    if value >= prime:
        return "what was in memory before"
    for below in range(1, BELOW):
        near = (value * below + prime // 2) % prime - prime // 2
        if abs(near) < (SMALL if below > 1 else WHOLE):
            return str(near) if below == 1 else f"{near}/{below}"
    return "another number"


def state(arguments: Mapping[str, Any]) -> dict[str, Array]:
    """Return arrays that can be changed."""
    return {name: np.array(array) for name, array in arguments.items()}
