"""One step of an optimiser, gradients clipped by their norm, and moving averages.

Each returns new arrays; a state that PyTorch's optimisers keep is an argument and a result.
"""

from __future__ import annotations

from typing import Any

from gradoracle.oracle.derive import derived
from gradoracle.oracle.numbers.elementary import also, either, exp, log, sqrt
from gradoracle.oracle.numbers.functions import Constant
from gradoracle.oracle.numbers.reverse import minimum
from gradoracle.oracle.shapes import check_integer, check_shape

TINY = 1e-6  # what PyTorch adds to the norm


def _same_shapes(parameter: Any, **others: Any) -> None:
    for name, one in others.items():
        if one is not None:
            check_shape(name, one.shape, parameter.shape, "the parameter has")


def _not_negative(**options: float) -> None:
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def _share(name: str, value: float) -> float:
    """Return a number from 0 to below 1.

    Raises:
        ValueError: it is another one.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value}")
    return value


def _average(was: Any, now: Any, decay: float) -> Any:
    """Return decay was + (1 - decay) now, which kernels also compute as one step."""
    return either(was * decay + now * (1 - decay), lambda: was + (now - was) * (1 - decay))


@derived("average: *; value: *", ())
def ema(average: Any, value: Any, *, decay: float) -> Any:
    """Return the exponential moving average with one more value, of its shape.

        average <- decay average + (1 - decay) value

    (Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", with
    weights that fall off; PyTorch's `get_ema_multi_avg_fn`).

    Raises:
        ValueError: the shapes differ, or decay is not between 0 and 1.
    """
    check_shape("value", value.shape, average.shape, "the average has")
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be between 0 and 1, got {decay}")
    return _average(average, value, decay)


@derived(
    "parameter: *; gradient: *; momentum_buffer?: *", (),
    outputs=("new_parameter: *", "new_momentum_buffer: *"),
    neutral={"dampening": 0.0, "weight_decay": 0.0, "nesterov": False},
)  # fmt: skip
def sgd_momentum_step(
    parameter: Any, gradient: Any, momentum_buffer: Any = None, *, learning_rate: float,
    momentum: float, dampening: float, weight_decay: float, nesterov: bool,
) -> Any:  # fmt: skip
    """Return (new_parameter, new_momentum_buffer), both of the parameter's shape and dtype.

        g = gradient + weight_decay parameter
        b = momentum momentum_buffer + (1 - dampening) g,  or g where there is no buffer yet
        new_parameter = parameter - learning_rate (g + momentum b if nesterov else b),
        new_momentum_buffer = b

    (Sutskever and others 2013, "On the Importance of Initialization and Momentum in Deep Learning",
    as PyTorch's `SGD` has it).

    Raises:
        ValueError: the shapes differ, momentum is not positive (without it there is no buffer),
            learning_rate or weight_decay is negative, or Nesterov's momentum is dampened.
    """
    _same_shapes(parameter, gradient=gradient, momentum_buffer=momentum_buffer)
    _not_negative(learning_rate=learning_rate, weight_decay=weight_decay)
    if not momentum > 0:
        raise ValueError(f"momentum must be positive, got {momentum}; sgd_step has none")
    if nesterov and dampening:
        raise ValueError(f"dampening must be 0 with nesterov, got {dampening}")
    g = gradient + parameter * weight_decay if weight_decay else gradient
    b = g if momentum_buffer is None else momentum_buffer * momentum + g * (1 - dampening)
    if not nesterov:
        return parameter - b * learning_rate, b
    step = parameter - (g + b * momentum) * learning_rate
    # As two updates, which round the parameter once more.
    return also(step, lambda: parameter - g * learning_rate - b * learning_rate * momentum), b


MOMENTS = "parameter: *; gradient: *; exp_avg: *; exp_avg_sq: *"
OUTPUTS = ("new_parameter: *", "new_exp_avg: *", "new_exp_avg_sq: *")


def _correction(beside: Any, beta: float, step: int) -> Any:
    """Return 1 - beta^step, in numbers of the kind of those beside it.

    Kernels multiply, or take the exponential of step log beta.
    """
    base = _number(beside, beta)
    if step == 1 or not beta:
        return 1 - _to_the(base, step)
    return 1 - either(_to_the(base, step), lambda: exp(log(base) * step))


def _number(beside: Any, value: float) -> Any:
    """Return an option as a number of the kind of others, off by nothing."""
    return beside.constant(Constant(repr(value), value, lambda c: c.mpf(value))).exactly()


def _to_the(base: Any, power: int) -> Any:
    """Return a power, by squares."""
    if power == 1:
        return base
    square = _to_the(base * base, power // 2)
    return square * base if power % 2 else square


def _moments(g: Any, exp_avg: Any, exp_avg_sq: Any, beta1: float, beta2: float) -> tuple[Any, Any]:
    """Return the moving averages of the gradient and of its square."""
    first = _average(exp_avg, g, _share("beta1", beta1))
    of_squares = exp_avg_sq * _share("beta2", beta2) + g * g * (1 - beta2)
    return first, either(of_squares, lambda: _average(exp_avg_sq, g * g, beta2))


def _direction(
    m: Any, v: Any, beta1: float, beta2: float, step: int, eps: float, learning_rate: float
) -> Any:  # fmt: skip
    """Return learning_rate mhat / (sqrt(vhat) + eps), as written or with other quotients first."""
    check_integer("step", step, smallest=1)
    first, second = (_correction(m, beta, step) for beta in (beta1, beta2))
    root = either(sqrt(v / second), lambda: sqrt(v) / sqrt(second)) + eps
    return either(m / first / root * learning_rate, lambda: m / root * (learning_rate / first))


@derived(MOMENTS, (), outputs=OUTPUTS, neutral={"weight_decay": 0.0})
def adam_step(
    parameter: Any, gradient: Any, exp_avg: Any, exp_avg_sq: Any, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> Any:  # fmt: skip
    """Return (new_parameter, new_exp_avg, new_exp_avg_sq), each of the parameter's shape and dtype.

        g = gradient + weight_decay parameter
        m = beta1 exp_avg + (1 - beta1) g,  v = beta2 exp_avg_sq + (1 - beta2) g^2
        new_parameter = parameter - learning_rate mhat / (sqrt(vhat) + eps),
        mhat = m / (1 - beta1^step),  vhat = v / (1 - beta2^step)

    (Kingma and Ba 2015, "Adam", algorithm 1; decayed weights are part of the gradient, as PyTorch's
    `Adam` has them).  `step` is 1 in the first step.

    Raises:
        ValueError: the shapes differ, a beta is not from 0 to below 1, another option is negative,
            or step is below 1.
    """
    _same_shapes(parameter, gradient=gradient, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    _not_negative(learning_rate=learning_rate, weight_decay=weight_decay, eps=eps)
    g = gradient + parameter * weight_decay if weight_decay else gradient
    m, v = _moments(g, exp_avg, exp_avg_sq, beta1, beta2)
    return parameter - _direction(m, v, beta1, beta2, step, eps, learning_rate), m, v


@derived(MOMENTS, (), outputs=OUTPUTS, neutral={"weight_decay": 0.0})
def adamw_step(
    parameter: Any, gradient: Any, exp_avg: Any, exp_avg_sq: Any, *, learning_rate: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, step: int,
) -> Any:  # fmt: skip
    """Return (new_parameter, new_exp_avg, new_exp_avg_sq), each of the parameter's shape and dtype.

        m = beta1 exp_avg + (1 - beta1) gradient,  v = beta2 exp_avg_sq + (1 - beta2) gradient^2
        new_parameter = (1 - learning_rate weight_decay) parameter
                        - learning_rate mhat / (sqrt(vhat) + eps),
        mhat = m / (1 - beta1^step),  vhat = v / (1 - beta2^step)

    (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, as PyTorch's
    `AdamW` has it: the learning rate is a factor of the decay, too).  `step` is 1 in the first
    step.

    Raises:
        ValueError: as `adam_step`.
    """
    _same_shapes(parameter, gradient=gradient, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    _not_negative(learning_rate=learning_rate, weight_decay=weight_decay, eps=eps)
    m, v = _moments(gradient, exp_avg, exp_avg_sq, beta1, beta2)
    update = _direction(m, v, beta1, beta2, step, eps, learning_rate)
    by = learning_rate, weight_decay
    if not weight_decay:
        return parameter - update, m, v
    decayed = parameter * (1 - learning_rate * weight_decay) - update
    return either(decayed, lambda: parameter - (update + _decay(parameter, *by))), m, v


def _decay(parameter: Any, learning_rate: float, weight_decay: float) -> Any:
    return parameter * weight_decay * learning_rate


@derived(
    "first: *; second: *", (), outputs=("clipped_first: *", "clipped_second: *", "total_norm:")
)
def clip_grad_norm(first: Any, second: Any, *, max_norm: float) -> Any:
    """Return (clipped_first, clipped_second, total_norm) of the gradients of two parameters.

        total_norm = sqrt(sum_i first[i]^2 + sum_j second[j]^2)
        clipped = gradient min(1, max_norm / (total_norm + 10^-6)),  for both

    (Pascanu, Mikolov and Bengio 2013, "On the Difficulty of Training Recurrent Neural Networks",
    algorithm 1, as PyTorch's `clip_grad_norm_` has it).

    Raises:
        ValueError: max_norm is not positive.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, got {max_norm}")
    one, other = ((a * a).sum() for a in (first, second))
    norm = either(sqrt(one + other), lambda: _norm_of_norms(one, other))
    share = minimum(1, max_norm / (norm + TINY))  # in this order, of a NaN it is one
    return first * share, second * share, norm


def _norm_of_norms(one: Any, other: Any) -> Any:
    """Return the same of the norms of both, as PyTorch computes it."""
    first, second = sqrt(one), sqrt(other)
    return sqrt(first * first + second * second)


DERIVED = (adam_step, adamw_step, clip_grad_norm, ema, sgd_momentum_step)
