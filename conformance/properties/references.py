"""The answer is what somebody else computes: PyTorch, and the documents' other forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators.record import Operator, no_witness
from gradoracle.conformance.properties.answers import Answered, answer, require_close, with_optional
from gradoracle.conformance.properties.property import NotJudged, holds, is_function
from gradoracle.oracle.declaration import Call, Formula, ask, is_data, output_of
from gradoracle.oracle.document_forms.forms import FORMS
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.formulas.conventions import under
from gradoracle.oracle.shapes import Array


def _is_pytorchs(operator: Operator, formula: Formula) -> bool:
    return operator.witness is not no_witness and is_function(formula)


@holds(
    kind="any", needs_torch=True, share=0.2, asks="", where=_is_pytorchs, in_turn="in whole runs"
)
def matches_torch(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer equals PyTorch's, computed by its forward pass or its autograd in float64."""
    got = answer(backend, operator, formula, call)
    places = () if formula is operator.formula else (formula, *operator.gradients)
    if any(operator.unsettled(TORCH_POLICIES, one, call) for one in places):
        raise NotJudged("PyTorch takes another of several NaNs")
    want = _torch(operator, formula, call)
    same = _as_always(backend, formula, call)
    if not same.any() and same.size:
        raise NotJudged("the contract has another convention than PyTorch")
    alike = got._replace(value=np.where(same, got.value, want.value))
    require_close(f"{formula.__name__}, beside PyTorch", alike, want)
    return 0.0


def _as_always(backend: Backend, formula: Formula, call: Call) -> Array:
    """Return which elements the contract's conventions leave as they are without them."""
    of, by = under(backend.contract.policies, formula, call)
    if of is formula and by is call:
        return np.ones((), bool)
    wide = np.dtype(np.float64)
    one, other = (truth(*both).as_float(wide) for both in ((formula, call), (of, by)))
    return np.asarray((one == other) | ((one != one) & (other != other)))  # noqa: PLR0124


TORCH_POLICIES = {"nan": "any"}  # the last NaN of a window wins there


@holds(
    where=lambda _, formula: formula in FORMS, size="small", share=0.2, asks="",
    in_turn="in whole runs",
)  # fmt: skip
def forms_agree(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer equals every other way in which the documents write the formula."""
    got = answer(backend, operator, formula, call)
    if not _as_always(backend, formula, call).all():
        raise NotJudged("the documents have another convention than the contract")
    wide = {n: a.astype(np.float64) if is_data(a) else a for n, a in call.items()}
    bound = truth(formula, call).bound("float64", "float64")
    for form in FORMS[formula]:
        want = Answered(ask(form.function, formula, wide), bound)
        require_close(f"{formula.__name__}, as {form.name} ({form.source})", got, want)
    return 0.0


def _torch(operator: Operator, formula: Formula, call: Call) -> Answered:
    """Return PyTorch's float64 answer: its forward pass, or its autograd on the way back."""
    import torch  # noqa: PLC0415 - optional, and slow to import

    tensors: dict[str, Any] = {}
    for name, value in with_optional(operator, call).items():
        if is_data(value):
            tensors[name] = torch.tensor(value.astype(np.float64))
        else:
            tensors[name] = torch.tensor(value) if isinstance(value, np.ndarray) else value
    argument = operator.argument_of(formula)
    if argument is not None:
        tensors[argument].requires_grad_()
    try:
        results = ask(operator.witness(torch), operator.formula, tensors)
    except NotImplementedError as error:  # the record says what PyTorch lacks
        raise NotJudged(str(error)) from error
    if argument is None:
        place = output_of(formula).place
        answered: Array = (results if place is None else results[place]).numpy()
    else:
        place = output_of(operator.formula).place
        y = results if place is None else results[place]
        if not (y.requires_grad or y.numel()):  # of attention by a mask, for one
            raise NotJudged("PyTorch has no gradient of a result without numbers")
        try:
            (gradient,) = torch.autograd.grad(_weighted(y, tensors), tensors[argument])
        except RuntimeError as error:
            if y.numel():
                raise
            raise NotJudged(f"PyTorch has no gradient of no images: {error}") from error
        answered = gradient.numpy()
    return Answered(answered, truth(formula, call).bound("float64", "float64"))


def _weighted(y: Any, tensors: Mapping[str, Any]) -> Any:
    """Return the sum of y grad_output: its gradient by y is grad_output, as 1 times it is exact.

    To compare the shape of a gradient that it is given, PyTorch loads SymPy: half a second.
    """
    dy = tensors["grad_output"]
    if y.shape != dy.shape:
        raise RuntimeError(f"grad_output has shape {[*dy.shape]}, the result {[*y.shape]}")
    return (y * dy).sum()
