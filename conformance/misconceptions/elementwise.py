"""What somebody may misunderstand about activations, softmax, losses and what is done with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.misconceptions.misconception import (
    SIGN,
    ZEROS,
    Misconception,
    Wrong,
    bent,
    divided,
    negated,
    without,
    zeros,
)
from oracle.formula import Formula, evaluate
from oracle.geometry import Array

GRADIENTS = ("relu_grad", "leaky_relu_grad", "sigmoid_grad", "tanh_grad")
LINEAR = ("linear", "linear_grad_input", "linear_grad_weight", "linear_grad_bias")
EVERYTHING = (
    *GRADIENTS, *LINEAR, "relu", "leaky_relu", "sigmoid", "tanh", "softmax", "softmax_grad",
    "cross_entropy", "cross_entropy_grad", "batch_mean", "sgd_step",
)  # fmt: skip


def _at_zero(formula: Formula, call: dict[str, Any]) -> Array:
    """The derivative at 0 is that of the positive side."""
    return np.where(call["z"] == 0, call["grad_output"], evaluate(formula, call))


def _of_the_output(formula: Formula, call: dict[str, Any]) -> Array:
    """z is taken for y = f(z): y (1 - y) and 1 - y^2 of the argument itself."""
    z = call["z"]
    slope = z * (1 - z) if formula.__name__ == "sigmoid_grad" else 1 - z * z
    wrong: Array = call["grad_output"] * slope
    return wrong


def _without_dy(formula: Formula, call: dict[str, Any]) -> Array:
    """f'(z) alone, not multiplied with what comes back."""
    return evaluate(formula, {**call, "grad_output": np.ones_like(call["grad_output"])})


def _naive_sigmoid(formula: Formula, call: dict[str, Any]) -> Array:
    """0.5 tanh(z/2) + 0.5: nothing is left of it where z is far below 0."""
    del formula
    return np.asarray(0.5 * np.tanh(call["z"] / 2) + 0.5)


def _without_the_sum(formula: Formula, call: dict[str, Any]) -> Array:
    """dz = p dp: the classes are taken for independent."""
    del formula
    p = _softmax(call["z"], call["axis"])
    return np.asarray(p * call["grad_output"])


def _elementwise_softmax(formula: Formula, call: dict[str, Any]) -> Array:
    """dz = dp p (1 - p): only the diagonal of the Jacobian."""
    del formula
    p = _softmax(call["z"], call["axis"])
    return np.asarray(call["grad_output"] * p * (1 - p))


def _over_everything(formula: Formula, call: dict[str, Any]) -> Array:
    """The softmax of the whole array."""
    del formula
    return _softmax(call["z"], None)


def _other_axis(axis: int) -> Wrong:
    return lambda formula, call: evaluate(formula, {**call, "axis": axis})


def _softmax(z: Array, axis: int | None) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    p: Array = e / e.sum(axis=axis, keepdims=True)
    return p


def _without_targets(formula: Formula, call: dict[str, Any]) -> Array:
    """softmax(z) alone, 1 not taken off at the target."""
    del formula
    p = _softmax(call["logits"], 1)
    return p / len(p) if call["reduction"] == "mean" else p


def _transposed(formula: Formula, call: dict[str, Any]) -> Array:
    return evaluate(formula, {**call, "weight": call["weight"].T})


MISCONCEPTIONS = (
    Misconception("the derivative at 0 is that of the positive side: here relu'(0) = 0 and "
                  "leaky_relu'(0) = negative_slope", ("relu_grad", "leaky_relu_grad"), _at_zero),
    Misconception("the derivative is written in terms of y = f(z), but fed z",
                  ("sigmoid_grad", "tanh_grad"), _of_the_output),
    Misconception("f'(z) is not multiplied with dL/dY (002: dL/dZ = dL/dY f'(Z))", GRADIENTS,
                  _without_dy),
    Misconception("computed as 0.5 tanh(z/2) + 0.5, which loses everything far below 0",
                  ("sigmoid",), _naive_sigmoid),
    Misconception("the sum over the classes is missing: dz = p dp", ("softmax_grad",),
                  _without_the_sum),
    Misconception("only the diagonal of the Jacobian is used: dz = dp p (1 - p)",
                  ("softmax_grad",), _elementwise_softmax),
    Misconception("the softmax is taken over the whole array instead of one axis", ("softmax",),
                  _over_everything),
    Misconception("the softmax is taken along the last axis, whatever `axis` says",
                  ("softmax", "softmax_grad"), _other_axis(-1)),
    Misconception("the softmax is taken along the first axis, whatever `axis` says",
                  ("softmax", "softmax_grad"), _other_axis(0)),
    Misconception("the loss is summed where the mean is asked", ("cross_entropy",
                  "cross_entropy_grad"), bent(lambda c: {**c, "reduction": "sum"})),
    Misconception("the loss is averaged where the sum is asked", ("cross_entropy",
                  "cross_entropy_grad"), bent(lambda c: {**c, "reduction": "mean"})),
    Misconception("1 is not taken off at the target", ("cross_entropy_grad",), _without_targets),
    Misconception("the weight is transposed", ("linear", "linear_grad_input"), _transposed),
    Misconception("the bias is left out", ("linear",), bent(without("bias"))),
    Misconception("the gradient is averaged over the batch instead of summed",
                  ("linear_grad_weight", "linear_grad_bias"),
                  divided(lambda c: len(c["grad_output"]))),
    Misconception("the mean is divided by the batch size plus one, as 003's sum from 0 to beta "
                  "suggests", ("batch_mean",), lambda f, c: evaluate(f, c)
                  * len(c["gradient_per_image"]) / (len(c["gradient_per_image"]) + 1)),
    Misconception("nothing is divided: a sum instead of a mean", ("batch_mean",),
                  divided(lambda c: 1 / len(c["gradient_per_image"]))),
    Misconception("the step goes up the gradient instead of down", ("sgd_step",),
                  bent(lambda c: {**c, "gradient": -c["gradient"]})),
    Misconception("the learning rate is ignored", ("sgd_step",),
                  bent(lambda c: {**c, "learning_rate": 1.0})),
    Misconception(SIGN, EVERYTHING, negated),
    Misconception(ZEROS, EVERYTHING, zeros),
)  # fmt: skip
