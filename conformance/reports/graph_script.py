"""The pasteable script of a graph, where every function answers its own call rightly.

The graph is run forward and backward on arrays that remember the expression they came of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.oracle.chains.graph import ARRAYS, backward, forward
from gradoracle.oracle.chains.propagation import Bounded, Propagation, Undecided
from gradoracle.oracle.declaration import Call, Formula, argument_names, output_of
from gradoracle.oracle.expected.truth import answer_shape, data_dtype
from gradoracle.oracle.shapes import Array

Written = Callable[[str, Array], list[str]]  # what makes an array of this name


class Named(np.ndarray[Any, Any]):
    """An array of a script: its shape, and the expression that gives it."""

    text: str

    def __array_finalize__(self, other: Any) -> None:
        """Forget the expression: it is that of another array."""
        self.text = ""

    def reshape(self, shape: Any) -> Named:  # type: ignore[override]
        """Return the array in another shape."""
        return _named(np.zeros(shape, self.dtype), f"{self.text}.reshape({tuple(shape)})")

    def swapaxes(self, one: Any, other: Any) -> Named:
        """Return the array with two axes exchanged."""
        moved = np.zeros(self.shape, self.dtype).swapaxes(one, other)
        return _named(moved, f"{self.text}.swapaxes({one}, {other})")

    def __mul__(self, factor: Any) -> Named:
        """Return the array times a number."""
        text = self.text if factor == 1 else f"{self.text} * {self.dtype.name}({factor})"
        return _named(self, text.replace(f"{self.dtype.name}(", f"np.{self.dtype.name}("))


def _named(array: Array, text: str) -> Named:
    found: Named = np.asarray(array).view(Named)
    found.text = text
    return found


def graph_script(backend: Backend, call: Call, imports: list[str], written: Written) -> list[str]:
    """Return the lines of a graph's calls and of what must hold of the results; none: no script.

    There is none where the backend has arrays of its own, or lacks a function of the graph.
    """
    lines = [*imports]
    for name in ARRAYS:
        if isinstance(call[name], np.ndarray):
            lines += written(name, call[name])
    lines.append("")
    dtype, count = data_dtype(call), [0]

    def ask(formula: Formula, given: Call) -> Named:
        positional, options = argument_names(formula)
        told = [_argument(given[name]) for name in positional]
        told += [f"{name}={given[name]!r}" for name in options]
        count[0] += 1
        lines.append(f"a{count[0]} = backend.{output_of(formula).function}({', '.join(told)})")
        blank = {n: _plain(v) for n, v in given.items()}
        answer = np.zeros(answer_shape(formula, blank), dtype)
        return _named(answer, f"a{count[0]}")

    own = {n: _named(v, n) if isinstance(v, np.ndarray) else v for n, v in call.items()}
    run = forward(ask, call["nodes"], own)
    gradients = backward(ask, call["nodes"], own, run)
    asked = [*_functions(call)]
    if backend.asked.description.from_numpy or not {*asked} <= {*backend.functions}:
        return []
    found = {f"loss v{at}": loss for at, loss in run.losses.items()}
    found |= {f"dE/d{name}": gradient for name, gradient in gradients.items()}
    for title, bounded in _wanted(backend, call).items():
        lines += _compared(title, found[title].text, bounded, written)
    return lines


def _argument(value: Any) -> str:
    if isinstance(value, np.ndarray):
        made = f"np.array({value.tolist()}, {value.dtype.name!r})"
        return getattr(value, "text", "") or made
    return repr(value)


def _plain(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


def _functions(call: Call) -> list[str]:
    """Return the names of the functions that a graph calls."""
    names: list[str] = []

    def ask(formula: Formula, given: Call) -> Array:
        names.append(output_of(formula).function)
        blank = {n: _plain(v) for n, v in given.items()}
        return np.zeros(answer_shape(formula, blank), data_dtype(call))

    backward(ask, call["nodes"], call, forward(ask, call["nodes"], call))
    return names


def _wanted(backend: Backend, call: Call) -> dict[str, Bounded]:
    """Return the right losses and gradients; none where rounding may decide a branch."""
    dtype, contract = data_dtype(call).name, backend.contract
    ask = Propagation(
        dtype, contract.accumulator(dtype), algorithms=contract.algorithms
    ).ask  # fmt: skip
    try:
        run = forward(ask, call["nodes"], call)
        gradients = backward(ask, call["nodes"], call, run)
    except Undecided:
        return {}
    losses = {f"loss v{at}": loss for at, loss in run.losses.items()}
    return losses | {f"dE/d{name}": gradient for name, gradient in gradients.items()}


def _compared(title: str, got: str, bounded: Bounded, written: Written) -> list[str]:
    """Return the lines that compare an array with the right one."""
    return [
        "", f"# {title}", *written("want", bounded.value), *written("allowed", bounded.error),
        f"assert (abs({got} - want) <= allowed).all(), {title!r}",
    ]  # fmt: skip
