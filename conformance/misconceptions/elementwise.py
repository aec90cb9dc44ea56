"""What somebody may misunderstand about activations, softmax, losses and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.misconceptions.misconception import (
    SIGN,
    ZEROS,
    Bend,
    Loss,
    Misconception,
    Wrong,
    bent,
    bias_twice,
    divided,
    minus_bias,
    negated,
    right,
    without,
    zeros,
)
from gradoracle.oracle.declaration import Formula, evaluate
from gradoracle.oracle.shapes import Array

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


def _of(function: Callable[..., Any], *names: str) -> Wrong:
    """Return the wrong formula that makes an answer of these arguments."""
    return lambda _, call: np.asarray(function(*(call[name] for name in names)))


def _naive_sigmoid_loses(call: dict[str, Any], unit: float) -> Loss:
    """A half or 1 less a number close to it: multiples of half the last place of 1."""
    grid = np.full(call["z"].shape, unit / 2)
    return Loss(grid, 4 * grid)


def _slope_by_tanh(dy: Array, z: Array) -> Array:
    t = np.tanh(z / 2)
    return np.asarray(dy * (1 - t * t) / 4)


def _slope_by_tanh_loses(call: dict[str, Any], unit: float) -> Loss:
    """1 less a square close to it, times dy / 4: multiples of the last place of a square.

    A hyperbolic tangent may be off by five of its last places, and the square by twice as many.
    """
    grid = abs(call["grad_output"]) * (unit / 4)
    return Loss(grid, 12 * grid)


def _exponentials_overflow(z: Array) -> Array:
    e = np.exp(z)
    return np.asarray(e / (1 + e))


def _slope_overflows(dy: Array, z: Array) -> Array:
    e = np.exp(-z)
    return np.asarray(dy * e / (1 + e) ** 2)


def _quotient_overflows(z: Array) -> Array:
    a, b = np.exp(z), np.exp(-z)
    return np.asarray((a - b) / (a + b))


def _one_exponential_overflows(z: Array) -> Array:
    e = np.exp(2 * z)
    return np.asarray((e - 1) / (e + 1))


def _secant_overflows(dy: Array, z: Array) -> Array:
    e = np.exp(2 * z)
    return np.asarray(dy * 4 * e / (e + 1) ** 2)


def _by_the_sign_of_y(dy: Array, z: Array, slope: float) -> Array:
    return np.where(np.where(z > 0, z, slope * z) > 0, dy, slope * dy)


def _not_shifted(z: Array, axis: int) -> Array:
    e = np.exp(z)
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _shifted_by_all(z: Array, axis: int) -> Array:
    e = np.exp(z - z.max(initial=-np.inf))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _logarithms(z: Array, axis: int) -> Array:
    shifted = z - z.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


def _unweighted_sum(dp: Array, z: Array, axis: int) -> Array:
    return np.asarray(_softmax(z, axis) * (dp - dp.sum(axis=axis, keepdims=True)))


def _last_axis_sum(dp: Array, z: Array, axis: int) -> Array:
    p = _softmax(z, axis)
    return np.asarray(p * (dp - (dp * p).sum(axis=-1, keepdims=True)))


def _mean_of_classes(dp: Array, z: Array, axis: int) -> Array:
    p = _softmax(z, axis)
    return np.asarray(p * (dp - (dp * p).mean(axis=axis, keepdims=True)))


def _chosen(call: dict[str, Any]) -> Array:
    chosen: Array = np.take_along_axis(call["logits"], call["target"][:, None], 1)[:, 0]
    return chosen


def _reduced(losses: Array, call: dict[str, Any]) -> Array:
    total = losses.sum()
    return np.asarray(total / losses.dtype.type(len(losses)) if _is_mean(call) else total)


def _is_mean(call: dict[str, Any]) -> bool:
    return bool(call["reduction"] == "mean")


def _logsumexp(call: dict[str, Any]) -> Array:
    z = call["logits"]
    top = z.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(z - top).sum(axis=1)) + top[:, 0])


def _logsumexp_less_logit(formula: Formula, call: dict[str, Any]) -> Array:
    """log sum e^z - z_t: two large numbers are subtracted where their shifts would cancel."""
    del formula
    return _reduced(_logsumexp(call) - _chosen(call), call)


def _unshifted_less_logit(formula: Formula, call: dict[str, Any]) -> Array:
    """The same, the exponentials of the logits themselves: they overflow, too."""
    del formula
    return _reduced(np.log(np.exp(call["logits"]).sum(axis=1)) - _chosen(call), call)


def _logsumexp_loses(call: dict[str, Any], unit: float) -> Loss:
    """Differences of two numbers that large, added up over the images."""
    z = call["logits"]
    if not len(z):
        return Loss(np.zeros(()), np.zeros(()))
    sizes = np.stack([abs(_logsumexp(call)), abs(_chosen(call))]).astype(np.float64)
    places = 2.0 ** np.floor(np.log2(np.maximum(sizes, 2.0**-100))) * 2 * unit
    count = len(z) if _is_mean(call) else 1
    return Loss(np.asarray(places.min() / count), np.asarray(2 * places.max(0).sum() / count))


def _log_of_probability(formula: Formula, call: dict[str, Any]) -> Array:
    """-log softmax(z)[t]: infinite where the probability underflows."""
    del formula
    p = _softmax(call["logits"], 1)
    return _reduced(-np.log(np.take_along_axis(p, call["target"][:, None], 1)[:, 0]), call)


def _unshifted_grad(formula: Formula, call: dict[str, Any]) -> Array:
    del formula
    z = call["logits"]
    one = np.arange(z.shape[1]) == call["target"][:, None]
    dz = _not_shifted(z, 1) - one.astype(z.dtype)
    return np.asarray(dz / z.dtype.type(len(z)) if _is_mean(call) else dz)


def _mean_of_logits(formula: Formula, call: dict[str, Any]) -> Array:
    """A mean divides by the number of logits, and a sum by nothing."""
    return right(formula, call) / (call["logits"].shape[1] if _is_mean(call) else 1)


def _rows(chosen: slice) -> Bend:
    """Return the bend that leaves some images out; a single one is kept."""

    def bend(call: dict[str, Any]) -> dict[str, Any]:
        if len(call["target"]) < 2:
            return call
        return {**call, "logits": call["logits"][chosen], "target": call["target"][chosen]}

    return bend


def _turned(formula: Formula, call: dict[str, Any]) -> Array:
    """The answer is transposed: where it is square, its shape is right."""
    turned: Array = right(formula, call).T
    return turned


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
    Misconception("a NaN becomes 0: computed by a maximum that drops NaN", ("relu",),
                  _of(lambda z: np.where(np.isnan(z), 0, np.maximum(z, 0)), "z"), finite=False),
    Misconception("computed as z * (z > 0) or (z + |z|) / 2, which is NaN where z is minus "
                  "infinity", ("relu",), _of(lambda z: z * (z > 0), "z"), finite=False),
    Misconception("clipped at 6: relu6", ("relu",), _of(lambda z: np.clip(z, 0, 6), "z"),
                  finite=False),
    Misconception("the absolute value is returned", ("relu",), _of(abs, "z"), finite=False),
    Misconception("the negative side is not 0 but 0.01 z, as in leaky_relu", ("relu",),
                  _of(lambda z: np.where(z > 0, z, 0.01 * z), "z"), finite=False),
    Misconception("z is returned as it is", ("relu", "leaky_relu", "sigmoid", "tanh"),
                  _of(lambda z: z, "z"), finite=False),
    Misconception("dY is returned as it is", GRADIENTS, _of(lambda dy: dy, "grad_output")),
    Misconception("the sign of dY is looked at instead of z's", ("relu_grad",),
                  _of(lambda dy: np.maximum(dy, 0), "grad_output")),
    Misconception("negative dY are dropped as well (guided backpropagation)", ("relu_grad",),
                  _of(lambda dy, z: np.where(z > 0, np.maximum(dy, 0), 0), "grad_output", "z")),
    Misconception("negative_slope is ignored: 0.01 instead", ("leaky_relu", "leaky_relu_grad"),
                  bent(lambda c: {**c, "negative_slope": 0.01})),
    Misconception("negative_slope is ignored: 0, as in relu", ("leaky_relu", "leaky_relu_grad"),
                  bent(lambda c: {**c, "negative_slope": 0.0})),
    Misconception("computed as max(z, negative_slope z), the other branch for slopes above 1",
                  ("leaky_relu",), _of(lambda z, s: np.maximum(z, s * z), "z", "negative_slope")),
    Misconception("the sign of y = f(z) is looked at instead of z's: with a negative slope they "
                  "differ", ("leaky_relu_grad",),
                  _of(_by_the_sign_of_y, "grad_output", "z", "negative_slope")),
    Misconception("computed as 0.5 tanh(z/2) + 0.5 or 1 - sigmoid(-z), which loses everything far "
                  "below 0", ("sigmoid",), _of(lambda z: 0.5 * np.tanh(z / 2) + 0.5, "z"),
                  also=(_of(lambda z: 1 - 1 / (1 + np.exp(z)), "z"),), own=True,
                  loses=_naive_sigmoid_loses),
    Misconception("computed as e^z / (1 + e^z), which is NaN where e^z overflows", ("sigmoid",),
                  _of(_exponentials_overflow, "z"), own=True, finite=False),
    Misconception("computed by tanh: dy (1 - tanh(z/2)^2) / 4, which loses everything far from 0",
                  ("sigmoid_grad",), _of(_slope_by_tanh, "grad_output", "z"), own=True,
                  loses=_slope_by_tanh_loses),
    Misconception("computed as dy e^-z / (1 + e^-z)^2, which overflows", ("sigmoid_grad",),
                  _of(_slope_overflows, "grad_output", "z"), own=True, finite=False),
    Misconception("the sigmoid is taken twice: y (1 - y) at sigmoid(z)", ("sigmoid_grad",),
                  bent(lambda c: {**c, "z": 1 / (1 + np.exp(-c["z"]))})),
    Misconception("(e^z - e^-z) / (e^z + e^-z) or (e^2z - 1) / (e^2z + 1) is computed to the "
                  "letter, and is NaN where an exponential overflows", ("tanh",),
                  _of(_quotient_overflows, "z"), also=(_of(_one_exponential_overflows, "z"),),
                  own=True, finite=False),
    Misconception("computed as 4 dy e^2z / (e^2z + 1)^2, which overflows", ("tanh_grad",),
                  _of(_secant_overflows, "grad_output", "z"), own=True, finite=False),
    Misconception("the square is missing: dy (1 - |y|)", ("tanh_grad",),
                  _of(lambda dy, z: dy * (1 - abs(np.tanh(z))), "grad_output", "z")),
    Misconception("the largest logit is not taken off: exponentials overflow", ("softmax",),
                  _of(_not_shifted, "z", "axis"), own=True, finite=False),
    Misconception("the largest logit of the whole array is taken off, not that of each row: rows "
                  "far below it underflow", ("softmax",), _of(_shifted_by_all, "z", "axis"),
                  own=True, finite=False),
    Misconception("logarithms of probabilities are returned", ("softmax",),
                  _of(_logarithms, "z", "axis"), finite=False,
                  also=(_of(lambda z, axis: np.log(_softmax(z, axis)), "z", "axis"),)),
    Misconception("powers of 2 are taken instead of powers of e", ("softmax",),
                  _of(lambda z, axis: _softmax(z * np.log(2), axis), "z", "axis")),
    Misconception("the softmax is taken along axis 1 wherever there is one, whatever `axis` says",
                  ("softmax", "softmax_grad"),
                  bent(lambda c: {**c, "axis": 1 if c["z"].ndim > 1 else c["axis"]})),
    Misconception("the sum of dp p is taken along the last axis, whatever `axis` says",
                  ("softmax_grad",), _of(_last_axis_sum, "grad_output", "z", "axis")),
    Misconception("the derivative is that of the sigmoid", ("tanh_grad",),
                  lambda _, c: evaluate(oracle.sigmoid_grad, c)),
    Misconception("the derivative is that of tanh", ("sigmoid_grad",),
                  lambda _, c: evaluate(oracle.tanh_grad, c)),
    Misconception("the sum over the classes is not weighted with p: dz = p (dp - sum dp)",
                  ("softmax_grad",), _of(_unweighted_sum, "grad_output", "z", "axis")),
    Misconception("the sum over the classes is divided by their number",
                  ("softmax_grad",), _of(_mean_of_classes, "grad_output", "z", "axis")),
    Misconception("computed as logsumexp(z) minus the logit, without a shift of both: what large "
                  "logits have in common does not cancel", ("cross_entropy",),
                  _logsumexp_less_logit, own=True, loses=_logsumexp_loses),
    Misconception("computed as log sum e^z minus the logit: exponentials overflow, and what large "
                  "logits have in common does not cancel", ("cross_entropy",),
                  _unshifted_less_logit, own=True, finite=False, loses=_logsumexp_loses),
    Misconception("computed as -log softmax(z)[t], which is infinite where the probability "
                  "underflows", ("cross_entropy",), _log_of_probability, own=True, finite=False),
    Misconception("the largest logit is not taken off: exponentials overflow",
                  ("cross_entropy_grad",), _unshifted_grad, own=True, finite=False),
    Misconception("divided by the number of classes", ("cross_entropy", "cross_entropy_grad"),
                  divided(lambda c: c["logits"].shape[1]), also=(_mean_of_logits,)),
    Misconception("only the first image counts", ("cross_entropy",), bent(_rows(slice(0, 1)))),
    Misconception("only the last image counts", ("cross_entropy",), bent(_rows(slice(-1, None)))),
    Misconception("the last image is left out", ("cross_entropy",), bent(_rows(slice(0, -1)))),
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
    Misconception("the answer is transposed", LINEAR[:3], _turned),
    Misconception("the bias is left out", ("linear",), bent(without("bias"))),
    Misconception("the bias is added twice", ("linear",), bent(bias_twice)),
    Misconception("the bias is subtracted", ("linear",), bent(minus_bias)),
    Misconception("averaged over the output features instead of summed", ("linear_grad_input",),
                  divided(lambda c: c["grad_output"].shape[1])),
    Misconception("the gradient is averaged over the batch instead of summed",
                  ("linear_grad_weight", "linear_grad_bias"),
                  divided(lambda c: len(c["grad_output"]))),
    Misconception("the mean is divided by the batch size plus one, as 003's sum from 0 to beta "
                  "suggests", ("batch_mean",), lambda f, c: evaluate(f, c)
                  * len(c["gradient_per_image"]) / (len(c["gradient_per_image"]) + 1)),
    Misconception("the gradient of the first image is returned", ("batch_mean",),
                  _of(lambda g: g[0], "gradient_per_image")),
    Misconception("the gradient of the last image is returned", ("batch_mean",),
                  _of(lambda g: g[-1], "gradient_per_image")),
    Misconception("the mean is divided by the batch size minus one", ("batch_mean",),
                  lambda f, c: right(f, c)
                  * len(c["gradient_per_image"]) / (len(c["gradient_per_image"]) - 1)),
    Misconception("nothing is divided: a sum instead of a mean", ("batch_mean",),
                  divided(lambda c: 1 / len(c["gradient_per_image"]))),
    Misconception("the step goes up the gradient instead of down", ("sgd_step",),
                  bent(lambda c: {**c, "gradient": -c["gradient"]})),
    Misconception("the parameter is left out: the step alone is returned", ("sgd_step",),
                  bent(lambda c: {**c, "parameter": 0 * c["parameter"]})),
    Misconception("nothing is done: the parameter is returned", ("sgd_step",),
                  _of(lambda w: w, "parameter")),
    Misconception("the learning rate is ignored", ("sgd_step",),
                  bent(lambda c: {**c, "learning_rate": 1.0})),
    Misconception(SIGN, EVERYTHING, negated),
    Misconception(ZEROS, EVERYTHING, zeros),
)  # fmt: skip
