"""A graph of the backend's own functions: branches, shared weights and losses that are added."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators.graph import named
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.answers import (
    Answered,
    direction,
    exact,
    require_close,
)
from gradoracle.conformance.properties.comparison import require_form
from gradoracle.conformance.properties.graph_functions import Functions, has_graphs
from gradoracle.conformance.properties.property import NotJudged, holds
from gradoracle.oracle.chains import graph
from gradoracle.oracle.chains.graph import Run, backward, factors, forward
from gradoracle.oracle.chains.links import WEIGHTED_SUM, Node
from gradoracle.oracle.chains.propagation import Bounded, Propagation, Undecided
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.expected.exact import inner
from gradoracle.oracle.expected.truth import ROOM, data_dtype
from gradoracle.oracle.float_formats import FORMATS


def _is_graph(operator: Operator, formula: Formula) -> bool:
    del operator
    return formula is graph.graph_backward


def _too_few(backend: Backend, operator: Operator, formula: Formula) -> str:
    """Return why no graph is drawn; "": some are."""
    del operator, formula
    return "" if has_graphs(backend) else "too few operators with gradients to make graphs of"


@holds(where=_is_graph, kind="floats", share=0.1, listed=named, at_smallest=False, absent=_too_few)
def graph_backward(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """In a graph of the backend's own functions, with branches, shared weights and several losses,
    the gradient by every parameter and the input is what the chain rule over the formulas gives,
    and the slope of the graph's own losses; what a function leaves in its arguments is what later
    ones are given.
    """  # noqa: D205 - one sentence
    del operator, formula
    nodes = call["nodes"]
    reference = _reference(backend, call)
    want = _expected(reference, nodes, call)
    functions = Functions(backend, call)
    run = forward(functions.ask, nodes, functions.own)
    got = backward(functions.ask, nodes, functions.own, run)
    if not functions.count:
        raise NotJudged("none of the graph's functions is the backend's")
    try:
        worst = _compare(run, got, want, call)
        _compare_slope(functions, reference, nodes, call, got, want)
    except Mismatch as mismatch:
        if not functions.changes:
            raise
        raise Mismatch(f"{mismatch.headline}; {functions.changed()}") from None
    return worst


class _Want:
    """The losses and gradients by the formulas, with what a backend may be off by."""

    def __init__(self, run: Run, gradients: dict[str, Bounded]) -> None:
        self.run, self.gradients = run, gradients


def _reference(backend: Backend, call: Call) -> Propagation:
    dtype = data_dtype(call).name
    contract = backend.contract
    return Propagation(dtype, contract.accumulator(dtype), algorithms=contract.algorithms)


def _expected(reference: Propagation, nodes: tuple[Node, ...], call: Call) -> _Want:
    try:
        run = forward(reference.ask, nodes, call)
        return _Want(run, backward(reference.ask, nodes, call, run))
    except Undecided as reason:
        raise NotJudged(str(reason)) from None


def _compare(run: Run, got: Mapping[str, Any], want: _Want, call: Call) -> float:
    """Compare losses and gradients, and return the largest error as a share of its bound."""
    pairs = {f"the graph's loss v{at}": (run.losses[at], want.run.losses[at]) for at in run.losses}
    pairs |= {f"the graph's dE/d{name}": (got[name], want.gradients[name]) for name in got}
    shares = [0.0]
    for what, (value, bounded) in pairs.items():
        require_form(what, value, bounded.shape, data_dtype(call))
        require_close(what, exact(value), Answered(bounded.value, bounded.error))
        with np.errstate(all="ignore"):
            share = abs(value - bounded.value) / bounded.error
        shares.append(float(np.where(bounded.error > 0, share, 0).max(initial=0.0)))
    return max(shares)


def _compare_slope(
    functions: Functions, reference: Propagation, nodes: tuple[Node, ...], call: Call,
    got: Mapping[str, Any], want: _Want,
) -> None:  # fmt: skip
    """Compare <gradients, v> with a central difference of the graph's own losses along v.

    v moves the input and all parameters at once.  What a finite step leaves is that of the right
    losses and gradients, with what each of them may be off by.
    """
    h = 2.0 ** -(FORMATS[data_dtype(call).name].bits // 3)
    moves = {name: direction(call[name], name) for name in got}
    ends = [_moved(call, moves, step) for step in (h, -h)]
    try:
        right = [_energy(forward(reference.ask, nodes, end), nodes, end) for end in ends]
    except Undecided:
        return
    rises = []
    for end in ends:
        moved = Functions(functions.backend, end, functions.changes)
        rises.append(_energy(forward(moved.ask, nodes, moved.own), nodes, end)[0])
    slope = _along(got, moves)
    of_right = _along({n: b.value for n, b in want.gradients.items()}, moves)
    off = sum(float((b.error * abs(moves[n])).sum()) for n, b in want.gradients.items())
    left = abs(float((right[0][0] - right[1][0]) / Fraction(2 * h)) - float(of_right))
    room = (right[0][1] + right[1][1]) / (2 * h) + 2 * off + left
    rise = float((rises[0] - rises[1]) / Fraction(2 * h))
    if not abs(float(slope) - rise) <= room * ROOM + 2.0**-50 * abs(rise):
        raise Mismatch(
            f"the graph: its own losses move by {rise:.9g} per unit when {', '.join(moves)} move "
            f"by v, but <gradients, v> is {float(slope):.9g} (rounding and the step explain "
            f"{room:.3g})"
        )


def _moved(call: Call, moves: Mapping[str, Any], step: float) -> dict[str, Any]:
    """Return the call with arrays moved, each element by at most half of it where it is large."""
    moved = {n: (call[n] + v.dtype.type(step) * v).astype(v.dtype) for n, v in moves.items()}
    return {**call, **moved}


def _energy(run: Run, nodes: tuple[Node, ...], call: Call) -> tuple[Fraction, float]:
    """Return the sum of a graph's losses, each times its factor, and what it may be off by."""
    total, off = Fraction(0), 0.0
    for at, factor in factors(nodes).items():
        node = nodes[int(at) - 1]
        is_sum = node.operator == WEIGHTED_SUM
        value = run.values[node.inputs[0]] if is_sum else run.losses[at]
        numbers = value.value if isinstance(value, Bounded) else np.asarray(value)
        by = call["grad_output"] if is_sum else np.ones(numbers.shape)
        if not np.isfinite(numbers).all():
            raise NotJudged("a loss of the moved graph is not finite")
        total += Fraction(factor) * Fraction(inner(numbers, by))
        if isinstance(value, Bounded):
            off += factor * float((value.error * abs(by)).sum())
    return total, off


def _along(gradients: Mapping[str, Any], moves: Mapping[str, Any]) -> Fraction:
    return Fraction(sum(inner(gradients[name], v) for name, v in moves.items()))
