"""The answer is the formula's, evaluated exactly."""

import math

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.properties.property import NotJudged, holds
from gradoracle.oracle.declaration import Call, Formula, is_place


@holds(size="large", styles_per_geometry=2, asks="", at_corners=True)
def matches_oracle(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer equals the formula evaluated in exact arithmetic: on these data nothing rounds."""
    return _judge(backend, operator, formula, call)


@holds(kind="floats", styles_per_geometry=2, share=0.5, asks="", at_corners=True)
def within_rounding_bound(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """On floats the error is at most what rounding can leave: gamma_n * sum|terms| for a sum of n
    terms in any order (Higham 2002, section 3.1), the running error bound of the displayed formula
    where it has elementary functions.
    """  # noqa: D205 - one sentence
    return _judge(backend, operator, formula, call)


def _judge(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    got = backend.ask(formula, call)
    if operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    share = require_truth(backend, formula, call, got)
    if math.isnan(share):
        raise NotJudged("nothing bounds what rounding leaves")
    return share


@holds(where=lambda _, formula: is_place(formula), share=0.6)
def points_at_the_maximum(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Every index lies in the plane, in its window, and there is the maximum: whichever of several
    the backend picks.
    """  # noqa: D205 - one sentence
    backend.foresee((operator.formula, call), (formula, call))
    values = backend.ask(operator.formula, call)
    indices = backend.ask(formula, call)
    require_truth(backend, operator.formula, call, values)
    if backend.contract.rule("nan") == "dropped" and np.isnan(call["x"]).any():
        raise NotJudged("the contract leaves open where windows of NaN have their maximum")
    if indices.shape != values.shape or indices.dtype.kind not in "iu":
        raise Mismatch(
            f"{formula.__name__}: got {indices.dtype}{[*indices.shape]}, want integers "
            f"{[*values.shape]}"
        )
    space = operator.axes.space["x"]
    sides = [call["x"].shape[axis] for axis in space]
    for at in np.ndindex(indices.shape):
        place = int(indices[at])
        what = f"{formula.__name__}[{', '.join(map(str, at))}]: got {place}"
        if not 0 <= place < math.prod(sides):
            raise Mismatch(f"{what}, want an index of the {'x'.join(map(str, sides))} plane")
        pixels = tuple(map(int, np.unravel_index(place, sides)))
        for side, (axis, pixel) in enumerate(zip(space, pixels, strict=True)):
            if not _is_seen(call, (at[axis], values.shape[axis]), (pixel, sides[side]), side):
                raise Mismatch(f"{what}, which is pixel {pixels}: not in the window")
        there = call["x"][(*at[: space[0]], *pixels)]
        if not (there == values[at] or (np.isnan(there) and np.isnan(values[at]))):
            raise Mismatch(f"{what}, where x is {there}, but the maximum is {values[at]}")
    return 0.0


def _is_seen(call: Call, windows: tuple[int, int], pixels: tuple[int, int], axis: int) -> bool:
    """Return whether a window has a tap on a pixel, along one side.

    Each comes with how many there are: without a stride, windows share the pixels among them.
    """
    (window, count), (pixel, size) = windows, pixels
    if "stride" not in call:
        return window * size // count <= pixel < -(-(window + 1) * size // count)
    start = window * call["stride"][axis] - call["padding"][axis]
    tap, between = divmod(pixel - start, call["dilation"][axis])
    return bool(between == 0 and 0 <= tap < call["kernel_size"][axis])
