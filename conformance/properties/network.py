"""A whole network of the backend's own functions: the chain rule, every link its."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.answers import Answered, direction, exact, require_close
from gradoracle.conformance.properties.comparison import require_form
from gradoracle.conformance.properties.property import NotJudged, holds
from gradoracle.oracle.chains import network
from gradoracle.oracle.chains.network import ACTIVATIONS, PARAMETERS, Ask, Step, backward, forward
from gradoracle.oracle.chains.propagation import Bounded, Propagation, Undecided
from gradoracle.oracle.declaration import Call, Formula, is_data
from gradoracle.oracle.expected.exact import inner
from gradoracle.oracle.expected.truth import data_dtype
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values
from gradoracle.oracle.shapes import Array

NEEDS = (
    oracle.conv2d, oracle.conv2d_grad_input, oracle.conv2d_grad_weight, oracle.conv2d_grad_bias,
    oracle.linear, oracle.linear_grad_input, oracle.linear_grad_weight, oracle.linear_grad_bias,
    oracle.cross_entropy, oracle.cross_entropy_grad, oracle.sgd_step,
)  # fmt: skip
PIECEWISE = frozenset(operator.name for operator in OPERATORS if operator.is_piecewise_linear)


def _needs(operator: Operator) -> tuple[Formula, ...]:
    del operator
    return NEEDS


def _is_network(operator: Operator, formula: Formula) -> bool:
    del operator
    return formula is network.network_backward


@holds(where=_is_network, kind="floats", share=0.2, needs=_needs)
def network_backward(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """In a network of the backend's own functions the gradient by every parameter and the input is
    what the chain of formulas gives, and the slope of the network's own loss; one step of gradient
    descent moves every parameter as the formulas do.
    """  # noqa: D205 - one sentence
    del operator, formula
    steps = _judgeable(backend, call["steps"])
    chain = _Chain(backend, steps, call)
    want_loss, want = chain.expected()
    passed = forward(chain.ask, steps, call)
    got = {"loss": passed.loss, **backward(chain.ask, steps, call, passed)}
    for name, value in {"loss": want_loss, **want}.items():
        require_form(f"the network's {_title(name)}", got[name], value.shape, data_dtype(call))
        require_close(f"the network's {_title(name)}", exact(got[name]), _answered(value))
    worst = max((_share(got[name], value) for name, value in want.items()), default=0.0)
    for name in PARAMETERS:
        if call[name] is not None:
            _judge_step(backend, chain, call, name, got[name], want[name])
    if all(step.operator in PIECEWISE for step in steps):
        _judge_slope(chain, call, steps, got, want)
    return worst


@holds(where=_is_network, kind="floats", share=0.1, needs=_needs, needs_torch=True)
def network_matches_torch(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """In a network of the backend's own functions the gradient by every parameter and the input is
    that of PyTorch's autograd in float64.
    """  # noqa: D205 - one sentence
    del formula
    import torch  # noqa: PLC0415 - optional, and slow to import

    steps = _judgeable(backend, call["steps"])
    chain = _Chain(backend, steps, call)
    _, bounds = chain.expected()
    tensors: dict[str, Any] = {**call, "steps": steps}
    for name, value in call.items():
        if isinstance(value, np.ndarray):
            tensors[name] = torch.tensor(value.astype(np.float64) if is_data(value) else value)
    leaves = [name for name in bounds if name in call]
    for name in leaves:
        tensors[name].requires_grad_()
    loss = operator.witness(torch)(tensors)
    gradients = torch.autograd.grad(loss, [tensors[name] for name in leaves])
    passed = forward(chain.ask, steps, call)
    got = backward(chain.ask, steps, call, passed)
    for name, gradient in zip(leaves, gradients, strict=True):
        value = gradient.numpy()
        require_form(f"the network's {_title(name)}", got[name], value.shape, data_dtype(call))
        require_close(
            f"the network's {_title(name)}, beside PyTorch", exact(got[name]),
            Answered(value, bounds[name].error),
        )  # fmt: skip
    return 0.0


class _Chain:
    """The functions of a backend and what their chain may be off by."""

    def __init__(self, backend: Backend, steps: tuple[Step, ...], call: Call) -> None:
        self._backend, self._steps, self._call = backend, steps, call
        policies = backend.contract.policies
        strict = any(policies.get(name, "first") != "first" for name in ("ties", "nan"))
        dtype = data_dtype(call).name
        accumulator = backend.contract.accumulator(dtype)
        self.propagation = Propagation(
            dtype, accumulator, strict_ties=strict, algorithms=backend.contract.algorithms
        )

    def ask(self, formula: Formula, call: Call) -> Array:
        """Return the backend's answer, of the shape and dtype that the next link needs."""
        value = self._backend.ask(formula, call)
        want = np.dtype(np.int64) if formula is max_pool2d_indices else data_dtype(self._call)
        if value.dtype != want:
            raise Mismatch(f"{formula.__name__}: got dtype {value.dtype}, want {want}")
        return value

    def expected(self) -> tuple[Bounded, dict[str, Bounded]]:
        """Return the loss and the gradients by the formulas, with what a backend may be off by."""
        ask = self.propagation.ask
        try:
            passed = forward(ask, self._steps, self._call)
            return passed.loss, backward(ask, self._steps, self._call, passed)
        except Undecided as reason:
            raise NotJudged(str(reason)) from None

    def loss(self, ask: Ask, call: Call) -> Any:
        """Return the loss of the network with other parameters."""
        return forward(ask, self._steps, call).loss


def _judge_step(
    backend: Backend, chain: _Chain, call: Call, name: str, gradient: Array, bounded: Bounded
) -> None:
    """Check one parameter after a step with the backend's own gradient."""
    given = {"parameter": call[name], "learning_rate": call["learning_rate"]}
    moved = backend.ask(oracle.sgd_step, {**given, "gradient": gradient})
    want = chain.propagation.ask(oracle.sgd_step, {**given, "gradient": bounded})
    require_form(f"{name} after a step", moved, want.shape, data_dtype(call))
    require_close(f"{name} after a step", exact(moved), _answered(want))


def _judge_slope(
    chain: _Chain,
    call: Call,
    steps: tuple[Step, ...],
    got: Mapping[str, Array],
    bounds: Mapping[str, Bounded],
) -> None:
    """Compare one gradient with a central difference of the network's own loss.

    Along one parameter the logits of a network without smooth activations are affine, as long as no
    relu and no maximum changes, which the formulas decide for the whole interval.  So the third
    derivative of a row's loss is at most R**3 / (6 sqrt 3), R the range of its logits' slopes.
    """
    name = _chosen(call)
    v = direction(call[name], "slope", (0, 1, -1))
    v = v * (np.arange(v.size).reshape(v.shape) == np.flatnonzero(v)[0]).astype(v.dtype)
    h = 2.0 ** -(FORMATS[data_dtype(call).name].bits // 3)
    h *= 2.0 ** math.ceil(math.log2(max(1.0, float(abs(call[name]).max(initial=0)))))
    moved = [{**call, name: call[name] + v.dtype.type(s * h) * v} for s in (1, -1)]
    steps_ = [(m[name].astype(np.float64) - call[name]) for m in moved]
    try:
        interval = Bounded(call[name].astype(np.float64), np.maximum(*map(abs, steps_)))
        forward(chain.propagation.ask, steps, {**call, name: interval})
        ends = [forward(chain.propagation.ask, steps, m) for m in moved]
    except Undecided:
        return
    width = float((steps_[0] - steps_[1]).sum())
    slopes = (ends[0].logits.value - ends[1].logits.value) / abs(width)
    spread = np.ptp(slopes, axis=1) + sum(e.logits.error.max(initial=0) for e in ends) / abs(width)
    third = float((spread**3).sum()) / (6 * math.sqrt(3))
    if call["reduction"] == "mean":
        third /= len(slopes)
    h = max(float(abs(s).max()) for s in steps_)
    losses = [chain.loss(chain.ask, m) for m in moved]
    one = np.ones((), call["x"].dtype)
    rise = inner(one, losses[0]) - inner(one, losses[1])
    rise = rise / type(rise)(width) if isinstance(rise, float) else rise / Fraction(width)
    room = h**2 / 6 * third + sum(float(e.loss.error) for e in ends) / abs(width)
    sign = float(v.sum())
    slope = float((got[name] * v).sum()) / sign
    room += float((bounds[name].error * abs(v)).sum())
    if not abs(slope - float(rise)) <= room * (1 + 2.0**-40) + 2.0**-50 * abs(slope):
        raise Mismatch(
            f"the network's {_title(name)}: got {slope:.9g} for one element, but its own loss "
            f"moves by {float(rise):.9g} per unit of it (rounding and the step explain {room:.3g})"
        )


def _chosen(call: Call) -> str:
    """Return the parameter to move: another one from call to call."""
    names = [name for name in ("x", *PARAMETERS) if call[name] is not None and call[name].size]
    return names[int(sum(call["x"].shape)) % len(names)]


def _judgeable(backend: Backend, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps in functions that the backend has.

    An activation that it lacks is left out; a pooling that it lacks leaves the network unjudged.
    """
    kept = []
    for step in steps:
        if step.operator in ACTIVATIONS and not all(
            backend.has(f) for f in ACTIVATIONS[step.operator]
        ):
            continue
        if step.operator == "max_pool2d":
            by_index = backend.has(max_pool2d_indices) and backend.has(oracle.max_pool2d_grad_input)
            if not backend.has(max_pool2d_values) or not (
                by_index or backend.has(oracle.max_pool2d_vjp)
            ):
                raise NotJudged("the backend has no max_pool2d with its gradient")
            step = step._replace(options={**step.options, "indices": by_index})  # noqa: PLW2901
        if step.operator == "avg_pool2d" and not all(
            backend.has(f) for f in (oracle.avg_pool2d, oracle.avg_pool2d_grad_input)
        ):
            raise NotJudged("the backend has no avg_pool2d with its gradient")
        kept.append(step)
    return tuple(kept)


def _answered(value: Bounded) -> Answered:
    return Answered(value.value, value.error)


def _share(got: Array, want: Bounded) -> float:
    with np.errstate(all="ignore"):
        share = abs(got - want.value) / want.error
    return float(np.where(want.error > 0, share, 0).max(initial=0.0))


def _title(name: str) -> str:
    return name if name == "loss" else f"dE/d{name}"
