"""Nothing of one call is left in the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np

from conformance.backend import Backend, is_same
from conformance.bad_arguments import bad_calls
from conformance.judge import require_truth
from conformance.mismatch import Declined, Mismatch
from conformance.operator import Operator
from conformance.properties.property import NotJudged, holds
from oracle.formula import Call, Formula, argument_names, images, is_data
from oracle.geometry import Array
from oracle.truth import answer_shape

ELSEWHERE = ","  # a layout: as NumPy makes it, in fresh memory
REPEATS = 3
# Values of the options that say where windows lie; the first that is another one, fits and is not
# declined is taken.
GEOMETRIES: Mapping[str, Sequence[Any]] = {
    "ceil_mode": (False, True), "output_padding": ((0, 0), (1, 1), (1, 0), (0, 1)),
    **dict.fromkeys(("stride", "dilation"), ((1, 1), (2, 2), (2, 1), (1, 2))),
    "padding": ((0, 0), (1, 1), (1, 0), (0, 1)),
}  # fmt: skip


@holds(kind="any", share=0.05)
def is_stateless(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer is the same whatever was asked before: the call with other numbers at the same
    addresses, with another option, one that was refused, one image alone, or itself elsewhere.
    """  # noqa: D205 - one sentence
    other = operator.complete({**call, **_flipped(formula, call)}, 0)
    first = _answer(backend, operator, formula, call, "")
    _answer(backend, operator, formula, other, "the same call with other numbers in its place")
    _answer(backend, operator, formula, call, "the same call with other numbers", "", first)
    for name, calls in (
        *_other_option(operator, formula, call), *_other_geometry(operator, formula, call)
    ):  # fmt: skip
        for changed in calls:
            with suppress(NotJudged):
                try:
                    after = f"the same call with another {name}"
                    _answer(backend, operator, formula, changed, after)
                except Declined:
                    continue
            after = f"the same call with {name}={changed[name]!r}"
            _answer(backend, operator, formula, call, after, "", first)
            break
    for bad in list(bad_calls(formula, call))[:1]:
        backend.refuses(formula, bad.call)
        _answer(backend, operator, formula, call, "a call that is illegal", "", first)
    _answer(backend, operator, formula, call, "itself, in other memory", ELSEWHERE, first)
    if _has_images(call):
        alone = operator.complete(images(call, slice(0, 1)), 0)
        _answer(backend, operator, formula, alone, "the call with more images")
        _answer(backend, operator, formula, call, "the call with one image", "", first)
    return 0.0


def _answer(
    backend: Backend, operator: Operator, formula: Formula, call: Call, after: str,
    layout: str = "", known: Array | None = None,
) -> Array:  # fmt: skip
    """Return the answer, which must be right: `known` is, if it is given."""
    got = backend.ask(formula, call, layout)
    if known is not None and is_same(got, known):
        return got
    if operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    try:
        require_truth(backend, formula, call, got)
    except Mismatch as mismatch:
        if not after:
            raise
        raise Mismatch(f"{mismatch.headline}; asked after {after}") from None
    return got


def _other_option(
    operator: Operator, formula: Formula, call: Call
) -> Iterator[tuple[str, Iterable[Call]]]:
    """Yield the options that change no shape, and the call with another value of each."""
    others: dict[str, Callable[[Any], Any]] = {
        "count_include_pad": lambda counted: not counted,
        "reduction": lambda name: "sum" if name == "mean" or not len(call["logits"]) else "mean",
        "negative_slope": lambda slope: slope / 2,
        "learning_rate": lambda rate: rate / 2,
        "axis": lambda axis: _next_axis(call["z"].shape, axis),
    }
    for name in argument_names(formula)[1]:
        if name in others and (value := others[name](call[name])) != call[name]:
            yield name, [operator.complete({**call, name: value}, 0)]


def _other_geometry(
    operator: Operator, formula: Formula, call: Call
) -> Iterator[tuple[str, Iterable[Call]]]:
    """Yield the options of windows, and the calls with other values of each that are legal."""
    for name in argument_names(formula)[1]:
        yield name, _with_others(operator, call, name)


def _with_others(operator: Operator, call: Call, name: str) -> Iterator[Call]:
    """Yield the call with other values of an option.

    Everything else is what it was, but for the shape of what goes back through the windows.
    """
    for value in GEOMETRIES.get(name, ()):
        if value == call[name]:
            continue
        changed = {**call, name: value}
        try:
            windows = answer_shape(operator.formula, changed)
        except ValueError:  # they do not fit
            continue
        if prod(windows):
            if "grad_output" in call:
                changed["grad_output"] = np.resize(call["grad_output"], windows)
            yield operator.complete(changed, 0)


def _next_axis(shape: tuple[int, ...], axis: int) -> int:
    """Return the axis after `axis` that has elements, or `axis` itself."""
    others = ((axis + step) % len(shape) for step in range(1, len(shape)))
    return next((one for one in others if shape[one]), axis)


def _flipped(formula: Formula, call: Call) -> dict[str, Any]:
    """Return the arguments that hold numbers, in the opposite order: as large as they were."""
    names = argument_names(formula)[0]
    return {name: np.flip(call[name]).copy() for name in names if is_data(call[name])}


def _has_images(call: Call) -> bool:
    return "input_shape" in call and call["input_shape"][0] > 1


@holds(kind="floats", share=0.1, claim=("repeats", "bitwise"))
def is_deterministic(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The same call gives the same bits every time, whatever lies in memory."""
    other = operator.complete({**call, **_flipped(formula, call)}, 0)
    first = backend.ask(formula, call)
    for _ in range(REPEATS):
        backend.ask(formula, other)  # leaves other numbers where the answer will lie
        again = backend.ask(formula, call)
        if not is_same(first, again):
            raise Mismatch(f"{formula.__name__}: {_differs(first, again)} when it is asked again")
    return 0.0


def _differs(first: Array, again: Array) -> str:
    if (first.shape, first.dtype) != (again.shape, again.dtype):
        return f"{first.dtype}{[*first.shape]} becomes {again.dtype}{[*again.shape]}"
    bits = [np.frombuffer(a.tobytes(), f"V{a.itemsize}").reshape(a.shape) for a in (first, again)]
    at = tuple(np.argwhere(bits[0] != bits[1])[0].tolist())
    return f"[{', '.join(map(str, at))}] is {first[at]!r}, and {again[at]!r}"
