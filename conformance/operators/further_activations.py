"""The further activations: their records, with PyTorch's functions as witnesses."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradoracle.conformance.operators.activations import SMOOTH, elementwise
from gradoracle.conformance.operators.loss import SOFTMAX
from gradoracle.conformance.operators.of_formula import of_formula
from gradoracle.conformance.operators.record import MEASURED, Operator, Policies
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.derive import Derived
from gradoracle.oracle.formulas import further_activations as formulas
from gradoracle.oracle.shapes import Shape

OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "elu": {"alpha": (1.0, 0.5, 2.0, 1e-3)},
    "gelu": {"approximate": ("none", "tanh")},
    "hardtanh": {"min_val": (-1.0, -0.5, -3.0, 0.0), "max_val": (1.0, 2.0, 0.25, 6.0)},
    "softplus": {"beta": (1.0, 2.0, 0.5), "threshold": (20.0, 5.0, 1.0)},
}


KINKED = ("elu", "hardsigmoid", "hardswish", "hardtanh", "relu6")


def _hardsigmoid(torch: Any) -> Callable[..., Any]:
    # PyTorch's own gradient in float64 is dy times a sixth that float32 has rounded.
    return lambda z: torch.nn.functional.relu6(z + 3) / 6


WITNESSES = {"hardsigmoid": _hardsigmoid}


def _record(derived: Derived) -> Operator:
    (gradient,), name = derived.gradients, derived.forward.__name__
    record = elementwise(
        derived.forward, gradient, WITNESSES.get(name, name), SMOOTH, curvature=MEASURED,
        values=OPTIONS.get(name, {}), kinked=name in KINKED,
    )  # fmt: skip
    return replace(record, unsettled=_hardswish_has_no_answer) if name == "hardswish" else record


def _hardswish_has_no_answer(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether z is minus infinity, which times 0 is NaN or left out, or a slope's z NaN."""
    del policies
    no_slope = formula is not formulas.hardswish.forward and np.isnan(call["z"]).any()
    return bool(no_slope or np.isneginf(call["z"]).any())


def _along(torch: Any) -> Callable[..., Any]:
    def log_softmax(z: Any, *, axis: int) -> Any:
        return torch.log_softmax(z, axis)

    return log_softmax


def _prelu_has_no_answer(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether a slope at a NaN is asked for, or a weight is not finite.

    Where x > 0 that may be left out, or multiplied with min(x, 0).
    """
    del policies
    no_slope = formula is not formulas.prelu.forward and np.isnan(call["x"]).any()
    weighed = "weight" in call and not np.isfinite(call["weight"]).all()
    return bool(no_slope or weighed)


def _half(options: Mapping[str, Any], shapes: Mapping[str, Shape | None]) -> Shape:
    del options
    rows, columns = shapes["z"] or (0, 0)
    return (rows, columns // 2)


LOG_SOFTMAX = replace(
    SOFTMAX, formula=formulas.log_softmax.forward, gradients=formulas.log_softmax.gradients,
    witness=_along, curvature=MEASURED,
)  # fmt: skip
GLU = of_formula(formulas.glu, "glu", result=_half, even=("k",))
PRELU = replace(
    of_formula(formulas.prelu, "prelu", layers=(("one plane", (3, 5, 5)),)),
    unsettled=_prelu_has_no_answer,
)
OF_ARRAYS = (formulas.glu, formulas.log_softmax, formulas.prelu)
ACTIVATIONS = (
    *(_record(one) for one in formulas.DERIVED if one not in OF_ARRAYS), GLU, LOG_SOFTMAX, PRELU,
)  # fmt: skip
