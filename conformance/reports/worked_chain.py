"""A small network, forward and backward, with every answer on the way in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.reports.worked_example import SEED, Example, example_of, example_sizes
from gradoracle.oracle.chains.network import PARAMETERS, backward, forward
from gradoracle.oracle.declaration import Call, Chained, Formula, algebra, argument_names, evaluate
from gradoracle.oracle.shapes import Array


def chain_example(operator: Operator) -> tuple[Call, list[Example]] | None:
    """Return a call of a network, and every formula of it with its answer, one after another.

    The data are small integers, and sixteenths in the last layer's weight: larger logits would give
    probabilities of 0 and 1.  None: the operator is no network.
    """
    if not isinstance(algebra(operator.formula), Chained):
        return None
    style = operator.styles.floats[-1]
    call = operator.call(example_sizes(operator, operator.formula), style, SEED, "float64")
    call = {**call, "weight_3": call["weight_3"] / 16}
    return call, _links(call)


def _links(call: Call) -> list[Example]:
    """Return the examples of a forward pass, of the way back, and of the step of each parameter."""
    found: list[Example] = []

    def ask(formula: Formula, given: Call) -> Array:
        answer = evaluate(formula, given)
        largest = np.unravel_index(int(np.argmax(abs(answer))), answer.shape)
        found.append(example_of(formula, _own(formula, given), tuple(map(int, largest))))
        return answer

    passed = forward(ask, call["steps"], call)
    gradients = backward(ask, call["steps"], call, passed)
    for name in PARAMETERS:
        if call[name] is not None:
            rate = {"learning_rate": call["learning_rate"]}
            ask(oracle.sgd_step, {"parameter": call[name], "gradient": gradients[name], **rate})
    return found


def _own(formula: Formula, given: Call) -> dict[str, Any]:
    """Return the formula's own arguments, of a link that is given those of all."""
    names = [name for part in argument_names(formula) for name in part]
    return {n: np.asarray(v) if isinstance(v := given[n], np.ndarray) else v for n in names}
