"""The answer on layers of real networks, where no formula is evaluated element by element."""

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import WrongElement
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import explained, require_form
from gradoracle.conformance.properties.property import NotJudged, holds
from gradoracle.conformance.scale.convolution import ROLES, read
from gradoracle.conformance.scale.data import LayerCall
from gradoracle.conformance.scale.elements import chosen, exact, settled_by, share_of_bound
from gradoracle.conformance.scale.projection import fresh, wrong_element
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.expected.truth import answer_dtype, data_dtype
from gradoracle.oracle.shapes import Array


def _has_layers(operator: Operator, formula: Formula) -> bool:
    return bool(operator.layers) and formula in ROLES


@holds(where=_has_layers, on_layers=True, needs_exact=True)
def holds_at_scale(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """On layers of real networks: on whole numbers nothing rounds, and the answer is the formula's,
    as random weights tell (Freivalds 1977: a wrong one passes with a probability below 2**-30); of
    floats, the elements at the ends of all axes and some others are within their rounding bound.
    """  # noqa: D205 - one sentence
    del operator
    if not isinstance(call, LayerCall):
        raise NotJudged("its numbers are not known to be exact")
    return require_layer(backend, formula, call, backend.ask(formula, call))


def require_layer(backend: Backend, formula: Formula, call: LayerCall, got: Array) -> float:
    """Raise Mismatch unless `got` is right, and return its largest error as a share of the bound.

    Whole numbers are looked at everywhere, floats in some elements.
    """
    shape = call.shape
    require_form(formula.__name__, got, shape, answer_dtype(formula, call))
    of = read(formula, call, shape)
    got = got.reshape(of.shape)
    if call.largest_sum:
        found = wrong_element(of, got, fresh())
        if found is None:
            return 0.0
        at, want, count = found
        where = at[: len(shape)]
        raise WrongElement(
            f"{formula.__name__}[{_index(where)}]: got {got[at]}, want {got.dtype.type(want)} (the "
            f"data are exact); {_times(count)} wrong in this place of {call.layer}",
            where, want, 0.0,
        )  # fmt: skip
    accumulator, worst = backend.contract.accumulator(data_dtype(call).name), 0.0
    for at in chosen(of, settled_by(call.seed, got)):
        share = share_of_bound(of, at, got, accumulator)
        if not share <= 1:
            right, where = exact(of, at), at[: len(shape)]
            want = float(right.as_float(np.dtype(np.float64)).item())
            raise WrongElement(
                f"{formula.__name__}[{_index(where)}]: got {got[at]}, want {want} "
                f"({explained(share, accumulator)}) in {call.layer}",
                where, want, float(right.bound(got.dtype.name, accumulator).item()),
            )  # fmt: skip
        worst = max(worst, share)
    return worst


def _index(at: tuple[int, ...]) -> str:
    return ", ".join(map(str, at))


def _times(count: int) -> str:
    return f"{count} element{'s' * (count > 1)}"
