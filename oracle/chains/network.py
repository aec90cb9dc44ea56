"""A whole network, forward and backward, chained from the formulas: 000's "complete pipeline".

A network is a row of steps (convolution, activation, pooling, fully connected), ending in softmax
and cross-entropy. The chain is written once and asks somebody for every single answer: the formulas
themselves, a backend, or `oracle.chains.propagation`, which knows how far rounding may reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle import oracle
from gradoracle.oracle.axes import Axes
from gradoracle.oracle.declaration import Call, Formula, chained, declare_axes, evaluate
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values
from gradoracle.oracle.shapes import Array

PARAMETERS = ("weight_1", "bias_1", "weight_2", "bias_2", "weight_3", "bias_3")
Ask: TypeAlias = Callable[[Formula, Call], Any]

ACTIVATIONS: dict[str, tuple[Formula, Formula]] = {
    "relu": (oracle.relu, oracle.relu_grad),
    "leaky_relu": (oracle.leaky_relu, oracle.leaky_relu_grad),
    "sigmoid": (oracle.sigmoid, oracle.sigmoid_grad),
    "tanh": (oracle.tanh, oracle.tanh_grad),
}

# What networks are made of besides convolutions, fully connected layers and the loss.
LINKS: tuple[Formula, ...] = (
    *(formula for pair in ACTIVATIONS.values() for formula in pair),
    max_pool2d_values,
    max_pool2d_indices,
    oracle.max_pool2d_grad_input,
    oracle.max_pool2d_vjp,
    oracle.avg_pool2d,
    oracle.avg_pool2d_grad_input,
)


class Step(NamedTuple):
    """One layer: what it does, the number of its weight and bias (0: none), its options."""

    operator: str  # conv2d, linear, max_pool2d, avg_pool2d or one of ACTIVATIONS
    number: int
    options: Mapping[str, Any]


@dataclass
class Passed:
    """What a forward pass leaves behind."""

    loss: Any = None
    logits: Any = None
    inputs: list[Any] = field(default_factory=list)  # of every step
    shapes: list[tuple[int, ...]] = field(default_factory=list)  # of those before flattening
    indices: dict[int, Any] = field(default_factory=dict)  # of every max pooling, by step


def forward(ask: Ask, steps: Sequence[Step], call: Call) -> Passed:
    """Run the network: y of every step is x of the next; the last one's are the logits.

    `call` has x [N, C, H, W], target [N], reduction, and weight_1, bias_1, weight_2, …
    """
    passed, value = Passed(), call["x"]
    for at, step in enumerate(steps):
        passed.shapes.append(tuple(value.shape))
        if step.operator == "linear":
            value = value.reshape((value.shape[0], -1))  # flatten: the pixels of all channels
        passed.inputs.append(value)
        given = {"x": value, "z": value, **_parameters(step, call), **step.options}
        if step.operator == "max_pool2d":
            if step.options.get("indices", True):
                passed.indices[at] = ask(max_pool2d_indices, given)
            value = ask(max_pool2d_values, given)
        else:
            value = ask(_forward_formula(step), given)
    passed.logits = value
    passed.loss = ask(oracle.cross_entropy, {**call, "logits": value})
    return passed


def backward(ask: Ask, steps: Sequence[Step], call: Call, passed: Passed) -> dict[str, Any]:
    """Return dE/d(x, weight_1, bias_1, …), going back through the steps by the chain rule."""
    gradients: dict[str, Any] = {}
    dy = ask(oracle.cross_entropy_grad, {**call, "logits": passed.logits})
    for at in reversed(range(len(steps))):
        step, x = steps[at], passed.inputs[at]
        given = {
            "grad_output": dy, "x": x, "z": x, "input_shape": tuple(x.shape),
            **_parameters(step, call), **step.options,
        }  # fmt: skip
        if step.number:
            given["weight_shape"] = tuple(given["weight"].shape)
            for name in ("weight", "bias"):
                if given[name] is not None:
                    gradient = getattr(oracle, f"{step.operator}_grad_{name}")
                    gradients[f"{name}_{step.number}"] = ask(gradient, given)
            dy = ask(getattr(oracle, f"{step.operator}_grad_input"), given)
        elif step.operator in ACTIVATIONS:
            dy = ask(ACTIVATIONS[step.operator][1], given)
        elif step.operator == "max_pool2d" and at not in passed.indices:
            dy = ask(oracle.max_pool2d_vjp, given)
        elif step.operator == "max_pool2d":
            dy = ask(oracle.max_pool2d_grad_input, {**given, "indices": passed.indices[at]})
        else:
            dy = ask(oracle.avg_pool2d_grad_input, given)
        dy = dy.reshape(passed.shapes[at])
    gradients["x"] = dy
    return gradients


def _forward_formula(step: Step) -> Formula:
    if step.operator in ACTIVATIONS:
        return ACTIVATIONS[step.operator][0]
    formula: Formula = getattr(oracle, step.operator)
    return formula


def _parameters(step: Step, call: Call) -> dict[str, Any]:
    if not step.number:
        return {}
    return {name: call[f"{name}_{step.number}"] for name in ("weight", "bias")}


@chained
def network_backward(
    x: Array,
    weight_1: Array | None,
    bias_1: Array | None,
    weight_2: Array | None,
    bias_2: Array | None,
    weight_3: Array,
    bias_3: Array | None,
    target: Array,
    *,
    steps: Sequence[Step],
    reduction: str,
    learning_rate: float,
) -> Array:
    """Return the parameters after one step of gradient descent, flat, one after another.

        dE/d(parameter) by the chain rule, from dE/dlogits back through every step;
        parameter <- parameter - learning_rate * dE/d(parameter)

    (000, "the complete backpropagation pipeline"; 002, "update the weights and the bias terms").
    """
    given = locals()
    passed = forward(evaluate, steps, given)
    gradients = backward(evaluate, steps, given, passed)
    moved = [
        oracle.sgd_step(given[name], gradients[name], learning_rate=learning_rate).ravel()
        for name in PARAMETERS
        if given[name] is not None
    ]
    return np.concatenate(moved)


declare_axes(Axes("x: n c (h w); target: n"), network_backward)
