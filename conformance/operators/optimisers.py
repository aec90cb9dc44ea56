"""Steps of optimisers, clipped gradients and moving averages: their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.operators.of_arrays import Shapes, Sizes, of_arrays
from gradoracle.conformance.operators.record import Policies
from gradoracle.oracle.declaration import Call, Formula, argument_names
from gradoracle.oracle.derive import Derived
from gradoracle.oracle.formulas import optimisers
from gradoracle.oracle.shapes import Shape

RATES = (0.1, 1e-3, 1.0, 0.0, 1e-5)
DECAYS = (0.0, 0.01, 0.5, 1e-4)
BELOW_1 = 1 - 2.0**-8  # which every format has
OF_ADAM = {
    "learning_rate": RATES,
    "beta1": (0.9, 0.5, 0.99, 0.8),
    "beta2": (0.999, 0.99, 0.5, 0.9),
    "eps": (1e-8, 1e-3, 1.0, 1e-5),
    "weight_decay": DECAYS,
    "step": (1, 2, 3, 10, 100, 1000),
}


def _all_alike(derived: Derived) -> Shapes:
    """Return what gives all arrays of a formula one shape."""
    names = argument_names(derived.formulas[0])[0]

    def shapes(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
        del sizes, options
        return dict.fromkeys(names, shape)

    return shapes


def _of_two(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    """Return the shapes of two gradients, of which the second has one axis."""
    del options
    return {"first": shape, "second": (sizes["count"],)}


def _undampened(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call without dampening where momentum is Nesterov's."""
    del seed
    return {**call, "dampening": 0.0} if call["nesterov"] else call


def _possible(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with a mean of squares that can be one, and betas below 1 in halves, too."""
    del seed
    betas = {name: BELOW_1 if call[name] == 1 else call[name] for name in ("beta1", "beta2")}
    return {**call, **betas, "exp_avg_sq": abs(call["exp_avg_sq"])}


def _is_lost(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether a parameter that is not finite decays by 0: 0 times it is NaN, or left out."""
    del policies, formula
    return call["weight_decay"] == 0 and not bool(np.isfinite(call["parameter"]).all())


def _sgd(torch: Any) -> Callable[..., Any]:
    def sgd_momentum_step(
        parameter: Any, gradient: Any, momentum_buffer: Any = None, *, learning_rate: float,
        **options: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        moved = torch.nn.Parameter(parameter.clone())
        moved.grad = gradient.clone()
        optimiser = torch.optim.SGD([moved], lr=learning_rate, foreach=False, **options)
        if momentum_buffer is not None:
            optimiser.state[moved]["momentum_buffer"] = momentum_buffer.clone()
        optimiser.step()
        return moved.detach(), optimiser.state[moved]["momentum_buffer"]

    return sgd_momentum_step


def _adam(name: str) -> Callable[[Any], Callable[..., Any]]:
    """Return what makes a step of one of PyTorch's optimisers, from the module."""

    def of(torch: Any) -> Callable[..., Any]:
        def adam_step(
            parameter: Any, gradient: Any, exp_avg: Any, exp_avg_sq: Any, *, learning_rate: float,
            beta1: float, beta2: float, step: int, **options: Any,
        ) -> tuple[Any, ...]:  # fmt: skip
            moved = torch.nn.Parameter(parameter.clone())
            moved.grad = gradient.clone()
            optimiser = getattr(torch.optim, name)(
                [moved], lr=learning_rate, betas=(beta1, beta2), foreach=False, **options
            )
            optimiser.state[moved] |= {
                "step": torch.tensor(float(step - 1)), "exp_avg": exp_avg.clone(),
                "exp_avg_sq": exp_avg_sq.clone(),
            }  # fmt: skip
            optimiser.step()
            state = optimiser.state[moved]
            return moved.detach(), state["exp_avg"], state["exp_avg_sq"]

        return adam_step

    return of


def _ema(torch: Any) -> Callable[..., Any]:
    def ema(average: Any, value: Any, *, decay: float) -> Any:
        return torch.lerp(average, value, 1 - decay)

    return ema


def _clip(torch: Any) -> Callable[..., Any]:
    def clip_grad_norm(first: Any, second: Any, *, max_norm: float) -> tuple[Any, ...]:
        parameters = [torch.nn.Parameter(torch.zeros_like(one)) for one in (first, second)]
        for parameter, one in zip(parameters, (first, second), strict=True):
            parameter.grad = one.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm, foreach=False)
        return *(parameter.grad for parameter in parameters), norm

    return clip_grad_norm


SGD_MOMENTUM_STEP = of_arrays(
    optimisers.sgd_momentum_step, _sgd, _all_alike(optimisers.sgd_momentum_step),
    options={
        "learning_rate": RATES, "momentum": (0.5, 0.9, 0.99, 1.0), "dampening": (0.0, 0.5, 0.1),
        "weight_decay": DECAYS, "nesterov": (False, True),
    },
    complete=_undampened, unsettled=_is_lost,
)  # fmt: skip
ADAM_STEP = of_arrays(
    optimisers.adam_step, _adam("Adam"), _all_alike(optimisers.adam_step), options=OF_ADAM,
    complete=_possible, unsettled=_is_lost,
)  # fmt: skip
ADAMW_STEP = of_arrays(
    optimisers.adamw_step, _adam("AdamW"), _all_alike(optimisers.adamw_step), options=OF_ADAM,
    complete=_possible, unsettled=_is_lost,
)  # fmt: skip
CLIP_GRAD_NORM = of_arrays(
    optimisers.clip_grad_norm, _clip, _of_two,
    options={"max_norm": (1.0, 0.1, 100.0, 1e-3)}, counts={"count": (1, 6)},
)  # fmt: skip
EMA = of_arrays(
    optimisers.ema, _ema, _all_alike(optimisers.ema),
    options={"decay": (0.5, 0.999, 0.9, 0.0, 1.0)},
)  # fmt: skip

OPTIMISERS = (ADAM_STEP, ADAMW_STEP, CLIP_GRAD_NORM, EMA, SGD_MOMENTUM_STEP)
