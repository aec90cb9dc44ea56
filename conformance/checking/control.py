"""The oracle's own functions as a backend: what fails for them, too, is no fault of a backend.

A property that compares answers with each other holds on most calls only: no gradient is a slope
at a kink.  Calls that are drawn stay away from such places; a call that was made smaller may not.
So a failing call counts only if the property holds there for answers that are certainly right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import Candidate, Description
from gradoracle.conformance.backends.conventions import INTERFACE
from gradoracle.conformance.backends.mismatch import Declined, Mismatch
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import NotJudged, Property
from gradoracle.conformance.properties.outputs import gradients
from gradoracle.oracle.declaration import Call, Formula, argument_names, ask, is_data, output_of
from gradoracle.oracle.formulas.conventions import function_under

# They compare with the oracle itself, which has nothing to add.
OF_THE_ORACLE = (
    "matches_oracle", "within_rounding_bound", "matches_forward_mode", "matches_double_backward",
)  # fmt: skip
OF_BITS = ("is_batch_invariant",)  # the oracle's own may differ: right ones differ in rounding


class _Control(Candidate):
    """The oracle under the contract of a backend, with the functions that the backend has."""

    def __init__(self, description: Description, operator: Operator) -> None:
        contract = description.contract if isinstance(description.contract, dict) else {}
        policies = {**(contract.get("policies") or {})}
        functions = _functions(description.functions, operator, policies)
        super().__init__(functions, description.functions)
        kept = {name: rule for name, rule in policies.items() if name not in INTERFACE}
        self.description = replace(
            description,
            contract={**contract, "policies": kept},
            from_numpy=False,
            to_numpy=False,
            takes={},
            supports=False,
        )


def control(backend: Backend, operator: Operator) -> Backend:
    """Return the functions of the oracle, or of a new operator, under the contract of `backend`."""
    return Backend("oracle", _Control(backend.asked.description, operator))


def holds_for_the_oracle(
    oracles: Backend, operator: Operator, formula: Formula, property_: Property, call: Call
) -> bool:
    """Return whether a property holds for the oracle's answers; layers are too large to ask.

    Where the property says nothing about the call, nothing speaks against it either: a backend
    that raises has failed before the property could say so.
    """
    if property_.on_layers or property_.name in (*OF_THE_ORACLE, *OF_BITS):
        return True
    oracles.answers.clear()
    return not is_rejected(oracles, operator, formula, property_, call)


def is_rejected(
    backend: Backend, operator: Operator, formula: Formula, property_: Property, call: Call
) -> bool:
    """Return whether a property finds a mismatch in a call of the backend."""
    try:
        property_.check(backend, operator, formula, call)
    except Mismatch:
        return True
    except (Declined, NotJudged):
        return False
    finally:
        backend.forget()
    return False


def _functions(
    names: Sequence[str], operator: Operator, policies: Mapping[str, Any]
) -> SimpleNamespace:
    """Return the oracle's functions of these names; those of a new operator are its formulas."""
    own = {output_of(f).function: f for f in operator.formulas}
    found = {name: getattr(oracle, name, own.get(name)) for name in names}
    made = {
        n: _rounded_once(function_under(policies, f)) for n, f in found.items() if f is not None
    }
    masked = f"{operator.name}_backward"
    if masked in names:
        made[masked] = _masked(operator, policies)
    with_beta = {n for n, f in found.items() if f is not None and "beta" in argument_names(f)[1]}
    return SimpleNamespace(
        **{name: _into(f, policies, has_own=name in with_beta) for name, f in made.items()}
    )


def _masked(operator: Operator, policies: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function of the gradients that a mask asks for."""
    rounded = {f: _rounded_once(function_under(policies, f)) for f in gradients(operator)}
    positional, _ = argument_names(operator.formula)

    def backward(grad_output: Any, *arrays: Any, output_mask: Any, **options: Any) -> Any:
        given = dict(zip(positional, arrays, strict=True), grad_output=grad_output, **options)
        given |= {o: given[name].shape for o, name in operator.axes.shapes.items() if name in given}
        return tuple(
            ask(rounded[formula], formula, given) if is_wanted else None
            for formula, is_wanted in zip(rounded, output_mask, strict=True)
        )

    return backward


def _into(
    function: Callable[..., Any], policies: Mapping[str, Any], *, has_own: bool
) -> Callable[..., Any]:
    """Return a function that writes into `out` where it is given one, as the policies have it.

    It may have a `beta` of its own, as softplus has; then that is what it is given.
    """

    def call(*arrays: Any, out: Any = None, **options: Any) -> Any:
        if out is None:
            return function(*arrays, **options)
        beta = None if has_own else options.pop("beta", None)
        share = 1.0 if policies.get("accumulate") == "adds" else beta or 0.0
        found = function(*arrays, **options)
        out[...] = found + (share * out if share else 0)
        return out

    return call


def _rounded_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function evaluated in float64, its results rounded once to the arguments' dtype.

    No contract's bound is narrower than that rounding, whatever its accumulator.
    """

    def call(*arrays: Any, **options: Any) -> Any:
        dtype = next(array.dtype for array in arrays if is_data(array))
        results = function(*(a.astype(np.float64) if is_data(a) else a for a in arrays), **options)
        with np.errstate(all="ignore"):
            if isinstance(results, tuple):
                return tuple(r.astype(dtype) if is_data(r) else r for r in results)
            return np.asarray(results).astype(dtype)

    return call
