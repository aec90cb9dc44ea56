"""Results that are written into an array of the caller's, and gradients that a mask selects."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import BACKWARD, MASKED, Backend
from gradoracle.conformance.backends.into import Into
from gradoracle.conformance.backends.mismatch import Mismatch, showing
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.answers import bound_of, direction
from gradoracle.conformance.properties.comparison import require_truth, truth_of
from gradoracle.conformance.properties.property import NotJudged, holds, is_function, missing
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    has_slope,
    operands,
    output_of,
    parts_of,
)
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, format_of
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array

OUT, BETA = "out", "beta"
AROUND = 64  # elements before and behind `out`
GUARD = 77  # which they are
HELD = (-6, -4, -2, 2, 4, 6)  # what `out` holds: halves of them are integers, too
FEW = 3  # gradients, of which all masks are tried


class Form(NamedTuple):
    """A way to be called with `out`: the factor that is passed, and what it holds counts for."""

    beta: float | None
    share: float


FORMS = {
    "out": (Form(None, 0),),
    "beta": (Form(None, 0), Form(0.0, 0), Form(1.0, 1), Form(0.5, 0.5)),
    "adds": (Form(None, 1),),
}


def _has_one_result(operator: Operator, formula: Formula) -> bool:
    del operator
    one = output_of(formula).place is None and parts_of(formula) == (formula,)
    return one and is_function(formula)


def _takes_none(backend: Backend, operator: Operator, formula: Formula) -> str:
    del operator
    if backend.takes(formula, OUT):
        return ""
    return f"the signature of {output_of(formula).function} has no argument {OUT}"


@holds(
    where=_has_one_result, kind="all", share=0.1, claim=("accumulate", "out", "beta", "adds"),
    each_class_once=True, absent=_takes_none,
)  # fmt: skip
def writes_into_out(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The array given as `out` holds the result, whatever it held before, and where the contract
    says so beta times that, or that, is added; nothing around it is written.
    """  # noqa: D205 - one sentence
    if operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    forms = FORMS[str(backend.contract.rule("accumulate"))]
    worst = 0.0
    for form in forms:
        if form.beta is not None and BETA in argument_names(formula)[1]:
            continue  # of its own, as softplus has
        if form.beta is None or backend.takes(formula, BETA) or not backend.asked.description.takes:
            worst = max(worst, _written(backend, formula, call, form))
    return worst


def _written(backend: Backend, formula: Formula, call: Call, form: Form) -> float:
    """Require what a call leaves in `out`, and return its largest error as a share of the bound."""
    shape, dtype = answer_shape(formula, call), answer_dtype(formula, call)
    held = np.full(shape, np.nan, dtype)
    if form.share:
        held = direction(held, formula.__name__, HELD)
    around = np.full(AROUND, GUARD, dtype)
    into = Into(np.concatenate([around, held.ravel(), around]), shape, form.beta)
    with showing({"held": held, "beta": form.beta}):
        return _as_good(backend, formula, call, into, held * form.share if form.share else None)


def _as_good(
    backend: Backend, formula: Formula, call: Call, into: Into, held: Array | None
) -> float:
    """Require what a call leaves in `out`, which is `held` and the result where that is given."""
    flat = backend.ask_into(formula, call, into)
    shape, dtype = into.shape, into.flat.dtype
    name = f"{formula.__name__}, {OUT}" + ("" if into.beta is None else f" with {BETA}={into.beta}")
    if (flat.shape, flat.dtype) != (into.flat.shape, into.flat.dtype):
        want = f"{dtype}{[*shape]}"
        raise Mismatch(
            f"{name}: got {flat.dtype} of {flat.size - 2 * AROUND} elements, want {want}"
        )
    _require_around(name, flat)
    got = flat[AROUND : AROUND + prod(shape)].reshape(shape)
    if held is not None:
        return _require_sum(backend, formula, call, got, held, name)
    try:
        return require_truth(backend, formula, call, got)
    except Mismatch as mismatch:
        what = mismatch.headline.replace(formula.__name__, name, 1)
        raise Mismatch(f"{what}; it held NaN") from None


def _require_around(name: str, flat: Array) -> None:
    """Raise Mismatch if an element before or behind `out` was written."""
    for where, part in (("before", flat[:AROUND][::-1]), ("behind", flat[flat.size - AROUND :])):
        changed = np.flatnonzero(~(part == GUARD))
        if changed.size:
            raise Mismatch(
                f"{name}: wrote {part[changed[0]]} into the element {changed[0] + 1} {where} it"
            )


def _require_sum(
    backend: Backend, formula: Formula, call: Call, got: Array, held: Array, name: str
) -> float:
    """Require the sum of what was held and the result, and return the error over its bound.

    What was held may be the first term of every sum: each addition rounds it again.
    """
    right = truth_of(backend, formula, call).as_float(np.dtype(np.float64))
    dtype = format_of(call)
    result, inner = (2.0 ** -FORMATS[n].bits for n in (dtype, backend.contract.accumulator(dtype)))
    steps = (sum(array.size for array in operands(formula, call).values()) + 2) * inner
    if steps >= 1:
        raise NotJudged(f"nothing bounds what rounding in {dtype} leaves")
    want = held.astype(np.float64) + right
    bound = bound_of(backend, formula, call)
    sums = abs(held) + _sizes(backend, formula, call, right)
    bound = bound + steps / (1 - steps) * sums + 2 * result * (abs(want) + bound)
    error = abs(got.astype(np.float64) - want)
    wrong = ~(error <= bound)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        raise Mismatch(
            f"{name}[{', '.join(map(str, at))}]: got {got[at]}, want {want[at]} = {held[at]} + "
            f"{right[at]}; {int(wrong.sum())} of {wrong.size} elements wrong",
            shown={"want": want, "allowed": bound},
        )
    with np.errstate(all="ignore"):
        return float(np.where(bound > 0, error / bound, 0).max(initial=0.0))


def _sizes(backend: Backend, formula: Formula, call: Call, right: Array) -> Array:
    """Return the sums of the sizes of all terms, or of what is no sum of products its own size.

    Data that leave every sum exact need not do so with what was held.
    """
    kind = algebra(formula)
    if not isinstance(kind, Multilinear):
        return np.asarray(abs(right))
    sized = {n: abs(a) for n, a in operands(formula, call).items() if a.ndim}
    if kind.minus:
        sized[kind.factors[0]] = -sized[kind.factors[0]]
    return truth_of(backend, formula, {**call, **sized}).as_float(np.dtype(np.float64))


def gradients(operator: Operator) -> list[Formula]:
    """Return the gradients of an operator, one by each argument, in the order of the arguments."""
    by = {argument: formula for formula, argument in operator.gradients.items()}
    return [by[name] for name in argument_names(operator.formula)[0] if name in by]


def _has_several(operator: Operator, formula: Formula) -> bool:
    return formula is operator.formula and operator.name + BACKWARD in MASKED


def _has_no_backward(backend: Backend, operator: Operator, formula: Formula) -> str:
    del formula
    return missing(backend, operator, BACKWARD)


@holds(
    where=_has_several, kind="all", share=0.1, claim=("output_mask", "selects"),
    each_class_once=True, absent=_has_no_backward, another=BACKWARD,
)  # fmt: skip
def selects_by_output_mask(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Whatever `output_mask` of NAME_backward selects, the gradients that it selects are right, and
    the others are None.
    """  # noqa: D205 - one sentence
    parts = gradients(operator)
    there = [has_slope(call[operator.gradients[one]]) for one in parts]
    open_ = [one for one in parts if operator.unsettled(backend.contract.policies, one, call)]
    if open_ or operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    worst = 0.0
    for mask in _masks(there):
        wanted = [at for at, is_wanted in enumerate(mask) if is_wanted]
        with showing({"mask": mask, "at": wanted[0]}):
            arrays = backend.ask_masked(operator, call, mask)
        for at, got in zip(wanted, arrays, strict=True):
            try:
                worst = max(worst, require_truth(backend, parts[at], call, got))
            except Mismatch as mismatch:
                name = f"{operator.name}{BACKWARD} with output_mask={mask}[{at}]"
                text = mismatch.headline.replace(parts[at].__name__, name, 1)
                raise Mismatch(text, shown={"mask": mask, "at": at}) from None
    return worst


def _masks(there: list[bool]) -> list[tuple[bool, ...]]:
    """Return the masks of which something is wanted, and nothing that is not there.

    Of many gradients these are each alone, all but each, and all.
    """
    every = [m for m in product((False, True), repeat=len(there)) if any(m)]
    legal = [m for m in every if not any(a and not b for a, b in zip(m, there, strict=True))]
    if len(there) <= FEW:
        return legal
    return [m for m in legal if sum(m) in (1, sum(there) - 1, sum(there))]
