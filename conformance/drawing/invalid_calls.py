"""Calls that no backend may answer: a legal call with one argument spoilt.

What is illegal is the oracle's to say: a spoilt call counts only if the formula raises
ValueError on it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import arguments_only
from gradoracle.oracle.declaration import Call, Formula, argument_names, evaluate


class BadCall(NamedTuple):
    """An illegal call, what was changed, and why the oracle refuses it."""

    call: Call
    change: str
    reason: str


def bad_calls(formula: Formula, call: Call) -> Iterator[BadCall]:
    """Yield every illegal call that differs from `call` in one argument of `formula`."""
    positional, options = argument_names(formula)
    for name in (*positional, *options):
        for spoilt in _spoilt(call[name]):
            bad = {**call, name: spoilt}
            reason = _refusal(formula, bad)
            if reason is not None:
                shown = [*spoilt.shape] if isinstance(spoilt, np.ndarray) else spoilt
                kind = " of shape" if isinstance(spoilt, np.ndarray) else ""
                yield BadCall(bad, f"{name}{kind} {shown}", reason)


def _spoilt(value: Any) -> Iterator[Any]:
    """Yield illegal-looking neighbours of an argument; the oracle decides which of them are."""
    if isinstance(value, np.ndarray):
        yield np.zeros((1, *value.shape), value.dtype)
        if value.ndim > 1:
            yield np.zeros(value.shape[1:], value.dtype)
        for axis in range(value.ndim):
            yield np.concatenate([value, value.take([0], axis)], axis) if value.size else value
    elif isinstance(value, tuple):
        for axis in range(len(value)):
            for number in (-1, 0, value[axis] + 1, value[axis] + 1000):
                yield (*value[:axis], number, *value[axis + 1 :])
        if len(value) > 2:  # a shape; a pair of one number may stand for both sides
            yield value[1:]
    elif isinstance(value, str):
        yield value + "s"
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from (-1, 0, value + 1, 1000 * value)


def _refusal(formula: Formula, call: Call) -> str | None:
    try:
        with arguments_only():
            evaluate(formula, call)
    except ValueError as error:
        return str(error)
    return None
