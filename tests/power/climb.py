"""`python -m tests.power.climb`: look for the calls on which right backends are nearest to wrong.

A false alarm that one drawn call in a million shows is not found by drawing.  Here the calls of
`within_rounding_bound` whose errors are the largest shares of their bounds are changed a little,
again and again, and what makes the share larger is kept: the search that gradual tests of
numerical programs use (Zou and others 2015, "A genetic algorithm for detecting significant
floating-point inaccuracies", section 4).  A share above 1 is a false alarm of the suite or a fault
of the backend, and its call is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Declined, Mismatch
from gradoracle.conformance.backends.registry import IN_PROCESS, load
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import verdict
from gradoracle.conformance.properties.expected import within_rounding_bound
from gradoracle.conformance.properties.property import Property
from gradoracle.conformance.runs.certify import checks, run_check
from gradoracle.conformance.runs.jobs import limit
from gradoracle.oracle.declaration import Call, Formula, parts_of
from gradoracle.oracle.float_formats import is_real
from gradoracle.oracle.shapes import Array

BEST = 4  # calls of a formula from which the search starts
LARGEST = 400  # elements of a call's arrays in all, so that steps take little time


class Found(NamedTuple):
    """A call and the largest error of its answer over its bound."""

    share: float
    call: Call


def share_of(backend: Backend, formula: Formula, call: Call) -> float:
    """Return the largest error over its bound, of all results; 0 where nothing is bounded."""
    return max(_share_of(backend, one, call) for one in parts_of(formula) or (formula,))


def _share_of(backend: Backend, formula: Formula, call: Call) -> float:
    try:
        got = backend.ask(formula, call)
        judged = verdict(backend, formula, call, got)
    except (Declined, Mismatch, ValueError):
        return 0.0
    if judged.exact:
        return 2.0 if judged.wrong.any() else 0.0
    with np.errstate(all="ignore"):
        share = np.nan_to_num(judged.share, nan=0.0)
    return float(share.max(initial=0.0))


def drawn(
    backend: Backend, operator: Operator, formula: Formula, property_: Property, seed: int,
    examples: int,
) -> list[Found]:  # fmt: skip
    """Return the small calls of the check whose errors are nearest to their bounds.

    They are calls with each combination of the options that are names or switches.
    """
    calls: list[Call] = []
    ask, asked_for = backend.ask, (formula, *parts_of(formula))

    def remembering(asked: Formula, call: Call) -> Any:
        if asked in asked_for and sum(a.size for a in _floats(call).values()) <= LARGEST:
            calls.append(call)
        return ask(asked, call)

    backend.ask = remembering  # type: ignore[method-assign]
    try:
        run_check(backend, operator, formula, property_, examples=examples, seed=seed)
    finally:
        backend.ask = ask  # type: ignore[method-assign]
    found = [Found(share_of(backend, formula, call), call) for call in calls]
    several = sorted(found, key=lambda one: -one.share)
    nearest: dict[str, list[Found]] = {}
    for one in several:
        options = repr([v for v in one.call.values() if isinstance(v, bool | str)])
        nearest.setdefault(options, []).append(one)
    each = max(1, BEST // max(1, len(nearest)))
    return [one for some in nearest.values() for one in some[:each]]


def climbed(
    backend: Backend, formula: Formula, start: Sequence[Found], random: np.random.Generator,
    steps: int,
) -> Found:  # fmt: skip
    """Return the call with the largest share that so many changes of each of some lead to."""
    best = max(start, key=lambda one: one.share)
    for one in start:
        here = one
        for _ in range(steps):
            call = changed(here.call, random)
            there = Found(share_of(backend, formula, call), call)
            here = max(there, here, key=lambda found: found.share)
            if here.share > 1:
                return here
        best = max(best, here, key=lambda found: found.share)
    return best


def changed(call: Call, random: np.random.Generator) -> Call:
    """Return a call with some numbers of one of its arrays of floats a little different.

    They keep their signs and stay near: what the operator's formula takes, it takes of them, too.
    """
    arrays = {name: array for name, array in _floats(call).items() if array.size}
    if not arrays:
        return call
    name = random.choice(sorted(arrays))
    array = arrays[name]
    which = random.random(array.shape) < random.choice([0.1, 0.5, 1.0])
    size = 2.0 ** -random.integers(1, 24)
    factor = np.exp(size * random.standard_normal(array.shape))
    if random.random() < 0.1:  # a new scale
        factor = np.full(array.shape, 2.0 ** random.uniform(-2, 2))
    with np.errstate(all="ignore"):
        other = (array.astype(np.float64) * np.where(which, factor, 1.0)).astype(array.dtype)
    return {**call, name: other if np.isfinite(other).all() else array}


def _floats(call: Call) -> dict[str, Array]:
    return {
        name: value for name, value in call.items()
        if isinstance(value, np.ndarray) and is_real(value.dtype) and np.isfinite(value).all()
    }  # fmt: skip


def searched(backend: Backend, given: argparse.Namespace) -> Iterator[tuple[str, Found]]:
    """Yield each formula and the call that the search ended with, where any was bounded."""
    wanted = set(given.operators)
    for operator, formula, property_ in checks(OPERATORS):
        name = operator.name
        if property_.name != within_rounding_bound.__name__ or (wanted and name not in wanted):
            continue
        start = drawn(backend, operator, formula, property_, given.seed, given.examples)
        if start and start[0].share:
            random = np.random.default_rng(given.seed)
            yield formula.__name__, climbed(backend, formula, start, random, given.steps)


def shown(call: Call) -> str:
    """Return a call as Python can read it again."""
    parts = [
        f"np.array({value.tolist()!r}, {str(value.dtype)!r})"
        if isinstance(value, np.ndarray) else repr(value)
        for value in call.values()
    ]  # fmt: skip
    return ", ".join(f"{name}={part}" for name, part in zip(call, parts, strict=True))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.power.climb",
        description="Change the calls of right backends so that their errors come nearer to the "
        "bounds, and print the largest share of its bound per formula.  Above 1 the suite or the "
        "backend is wrong.",
        epilog="example: python -m tests.power.climb --backends im2col --operators layer_norm",
    )
    add = parser.add_argument
    add("--backends", nargs="+", default=["im2col", "torch"], metavar="NAME",
        help="default: im2col torch")  # fmt: skip
    add("--dtypes", nargs="+", default=["float32", "float64"], metavar="NAME",
        help="default: float32 float64")  # fmt: skip
    add("--operators", nargs="+", default=[], metavar="NAME", help="default: all")
    add("--steps", type=int, default=200, metavar="N", help="changes of each call (default: 200)")
    add("--examples", type=int, default=40, metavar="N", help="geometries drawn (default: 40)")
    add("--seed", type=int, default=1, metavar="N", help="default: 1")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Search, and print what was found; 1 where a share is above 1, 2 for an unknown operator."""
    given, wrong, start = _arguments(argv), 0, time.monotonic()
    unknown = sorted({*given.operators} - {one.name for one in OPERATORS})
    if unknown:
        print(f"no operator {unknown[0]!r}", file=sys.stderr)
        return 2
    for name in given.backends:
        for dtype in given.dtypes:
            backend = load(name, IN_PROCESS)
            limit(backend, [dtype])
            with one_thread(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for formula, found in searched(backend, given):
                    print(f"{time.monotonic() - start:6.0f} s  {name} {dtype} {formula}: "
                          f"{found.share:.3f}", flush=True)  # fmt: skip
                    if found.share > 1:
                        wrong += 1
                        print(f"    {shown(found.call)}", flush=True)
    print(f"{wrong} above 1")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
