"""Calls that no backend may answer: a legal call with one argument spoilt.

What is illegal is the oracle's to say: a spoilt call counts only if the formula raises
ValueError on it.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import arguments_only
from gradoracle.oracle.declaration import Call, Formula, argument_names, evaluate
from gradoracle.oracle.shapes import Array


class BadCall(NamedTuple):
    """An illegal call, what was changed, and why the oracle refuses it.

    `kind` is what is wrong with the argument in general, as in "stride = 0".
    """

    call: Call
    change: str
    reason: str
    kind: str


def bad_calls(formula: Formula, call: Call) -> Iterator[BadCall]:
    """Yield every illegal call that differs from `call` in one argument of `formula`."""
    positional, options = argument_names(formula)
    for name in (*positional, *options):
        for spoilt, kind in _spoilt(call[name]):
            bad = {**call, name: spoilt}
            reason = _refusal(formula, bad)
            if reason is not None:
                shown = [*spoilt.shape] if isinstance(spoilt, np.ndarray) else spoilt
                of_shape = " of shape" if isinstance(spoilt, np.ndarray) else ""
                yield BadCall(bad, f"{name}{of_shape} {shown}", reason, kind.format(name))


BELOW, ZERO, UNFIT = "a negative {}", "{} = 0", "{} not fitting the other arguments"
ABOVE = "a {} of 2"
MORE, FEWER = "{} with an axis more", "{} with an axis fewer"


def _spoilt(value: Any) -> Iterator[tuple[Any, str]]:
    """Yield illegal-looking neighbours of an argument; the oracle decides which of them are."""
    if isinstance(value, np.ndarray):
        yield from _arrays(value)
    elif isinstance(value, tuple):
        for axis in range(len(value)):
            for number, kind in _numbers(value[axis], 1000 + value[axis]):
                yield (*value[:axis], number, *value[axis + 1 :]), kind
        if len(value) > 2:  # a shape; a pair of one number may stand for both sides
            yield value[1:], FEWER
    elif isinstance(value, str):
        yield value + "s", "an unknown {}"
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from _numbers(value, 1000 * value)
    elif isinstance(value, float):
        yield -1.0, BELOW
        yield 2.0, ABOVE
        yield 0.0, ZERO


def _arrays(value: Array) -> Iterator[tuple[Array, str]]:
    yield np.zeros((1, *value.shape), value.dtype), MORE
    if value.ndim > 1:
        yield np.zeros(value.shape[1:], value.dtype), FEWER
    for axis in range(value.ndim):
        longer = np.concatenate([value, value.take([0], axis)], axis) if value.size else value
        yield longer, UNFIT


def _numbers(value: int, large: int) -> tuple[tuple[int, str], ...]:
    return (-1, BELOW), (0, ZERO), (value + 1, UNFIT), (large, UNFIT)


def _refusal(formula: Formula, call: Call) -> str | None:
    try:
        with arguments_only():
            evaluate(formula, call)
    except ValueError as error:
        return str(error)
    except Exception:
        if formula.__module__.startswith("gradoracle."):
            raise
        return None  # a user's formula may fail in any way where it was not written for a value
    return None
