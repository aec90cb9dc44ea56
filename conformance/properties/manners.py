"""How a backend behaves, whatever it computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.backend import Backend
from conformance.bad_arguments import bad_calls
from conformance.candidate import describe
from conformance.judge import require_form
from conformance.mismatch import Mismatch
from conformance.operator import Operator
from conformance.properties.property import holds
from oracle.formula import Call, Formula, argument_names, operands
from oracle.truth import answer_dtype, answer_shape


@holds(kind="all", share=0.4, asks="arguments")
def leaves_inputs_unchanged(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Every argument is, after the call, bit for bit what it was."""
    del operator
    for name in backend.changed_arguments(formula, call):
        raise Mismatch(f"{formula.__name__}: changed its argument {name}")
    return 0.0


@holds(kind="all", share=0.4, asks="memory")
def returns_what_the_protocol_says(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """The answer is a new array of the documented shape, in the dtype of the inputs, finite where
    the inputs are, with and without the optional bias.
    """  # noqa: D205 - one sentence
    del operator
    optional = "bias" in argument_names(formula)[0]
    for one in [call, {**call, "bias": None}] if optional else [call]:
        got, reason = backend.reused(formula, one)
        given = operands(formula, one)
        if reason:
            raise Mismatch(f"{formula.__name__}: {reason}")
        require_form(formula.__name__, got, answer_shape(formula, one), answer_dtype(formula, one))
        finite = all(np.isfinite(array).all() for array in given.values())
        if finite and got.dtype.kind == "f" and not np.isfinite(got).all():
            at = tuple(np.argwhere(~np.isfinite(got))[0].tolist())
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {got[at]} from finite data"
            )
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
