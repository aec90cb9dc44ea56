"""How a backend behaves, whatever it computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.backend import Backend, Reused, is_same
from conformance.bad_arguments import bad_calls
from conformance.candidate import Layout, describe
from conformance.judge import require_form, require_truth
from conformance.mismatch import Mismatch
from conformance.operator import Operator
from conformance.properties.answers import Answered, require_close
from conformance.properties.property import holds, is_function
from oracle.formula import Call, Formula, argument_names, is_place, operands, output_of
from oracle.geometry import Array
from oracle.truth import answer_dtype, answer_shape, data_dtype, truth

RING = 4  # calls after which whoever has some buffers in turn is back at the first
LAYOUTS: dict[Layout, str] = {
    "fortran": "in Fortran's order, columns first (np.asfortranarray)",
    "sliced": "in every second place of a longer array (a[..., ::2])",
    "reversed": "backwards (a[..., ::-1])",
}


@holds(kind="all", share=0.4, asks="arguments")
def leaves_inputs_unchanged(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Every argument is, after the call, bit for bit what it was."""
    del operator
    for name in backend.changed_arguments(formula, call):
        raise Mismatch(f"{formula.__name__}: changed its argument {name}")
    return 0.0


@holds(kind="all", share=0.4)
def returns_what_the_protocol_says(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """The answer is a new array of the documented shape, in the dtype of the inputs, finite where
    the inputs are, with and without the optional bias; no later call changes it.
    """  # noqa: D205 - one sentence
    optional = "bias" in argument_names(formula)[0]
    for one in [call, {**call, "bias": None}] if optional else [call]:
        got = backend.reused(formula, one, _others(backend, operator, formula, one))
        if got.shares:
            raise Mismatch(
                f"{formula.__name__}: its result shares memory with its argument {got.shares}"
            )
        if not is_same(got.answer, got.again):
            raise Mismatch(
                f"{formula.__name__}: an earlier result changed when other calls were made: it is "
                "not a new array"
            )
        shape, dtype = answer_shape(formula, one), answer_dtype(formula, one)
        require_form(formula.__name__, got.answer, shape, dtype)
        finite = all(np.isfinite(array).all() for array in operands(formula, one).values())
        wrong = ~np.isfinite(got.answer) if finite and not is_place(formula) else np.False_
        if wrong.any():
            wrong &= np.isfinite(_bound(backend, formula, one))  # elsewhere it may overflow
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0].tolist())
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {got.answer[at]} from finite "
                "data"
            )
        if not is_same(got.answer, got.late):
            what = f"{formula.__name__}, read after the next calls"
            require_form(what, got.late, shape, dtype)
            _require_as_good(backend, operator, formula, one, what, got)
    return 0.0


def _others(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> list[tuple[Formula, Call]]:
    """Return calls that must leave a result alone: some of its kind, and the other functions'."""
    first = next(iter(operands(formula, call)))
    changed = {n: -call[n] for n in (first, "bias") if call.get(n) is not None}
    own = output_of(formula).function
    others = {output_of(f).function: f for f in operator.formulas if is_function(f)}
    return [
        *((f, call) for name, f in others.items() if name != own and backend.has(f)),
        *[(formula, {**call, **changed})] * RING,
    ]


def _require_as_good(
    backend: Backend, operator: Operator, formula: Formula, call: Call, what: str, got: Reused
) -> None:
    """Raise Mismatch unless two answers to the same call agree as well as rounding lets them."""
    if operator.unsettled(backend.contract.policies, formula, call):
        return
    bound = _bound(backend, formula, call)
    require_close(what, Answered(got.late, bound), Answered(got.answer, bound))


def _bound(backend: Backend, formula: Formula, call: Call) -> Array:
    name = data_dtype(call).name
    return truth(formula, call).bound(name, backend.contract.accumulator(name))


@holds(share=0.15)
def ignores_memory_layout(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """The answer depends on the arguments' numbers, not on how they lie in memory: rows or columns
    first, with gaps in between, or backwards.
    """  # noqa: D205 - one sentence
    backend.foresee((formula, call), how=("", *LAYOUTS))
    plain = backend.ask(formula, call)
    for layout, words in LAYOUTS.items():
        try:
            got = backend.ask(formula, call, layout)
            if not is_same(plain, got) and not operator.unsettled(
                backend.contract.policies, formula, call
            ):
                require_truth(backend, formula, call, got)
        except Mismatch as mismatch:
            headline = f"{mismatch.headline}; its arguments lie {words}"
            raise Mismatch(headline, layout=layout) from None
    return 0.0


@holds(kind="all", share=0.2)
def rejects_bad_arguments(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Arguments that fit no such operation raise an exception instead of giving numbers."""
    del operator
    spoilt = list(bad_calls(formula, call))
    backend.foresee((formula, call), *((formula, bad.call) for bad in spoilt))
    backend.ask(formula, call)  # what declines the legal call says nothing about the others
    for bad in spoilt:
        refused, result = backend.refuses(formula, bad.call)
        if not refused:
            raise Mismatch(
                f"{formula.__name__}: took {bad.change} and returned {_shown(result)}, "
                f"where the oracle raises: {bad.reason}",
                call=bad.call,
            )
    return 0.0


def _shown(result: Any) -> str:
    """Return an array's dtype and shape, or the words for what is no array."""
    return result if isinstance(result, str) else describe(result)
