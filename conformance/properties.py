"""The properties: what must hold for every legal call.

Each takes a backend, an operator, one of its formulas and a call, raises Mismatch where the
backend breaks it, and returns the largest error as a share of the rounding bound (0 where the
data are exact).  Its docstring is the sentence that a report shows.

On the integer styles of `conformance.data` every sum is exact in any order, so the identities
below hold to the last bit; `_exactly` proves that for each call before it relies on it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from conformance.backend import Backend
from conformance.bad_arguments import bad_calls
from conformance.data import FLOATS, INTEGERS, Style
from conformance.judge import call_dtype, require_equal, require_form, require_truth
from conformance.mismatch import Mismatch, describe
from conformance.operator import Operator, Size
from oracle.conv2d_forms import FORMS
from oracle.exact import Truth, inner
from oracle.formula import Call, Formula, algebra, ask, images, operands
from oracle.geometry import Array

Check: TypeAlias = Callable[[Backend, Operator, Formula, Call], float]

ELEMENTS = 16  # how many elements of an argument are moved one by one, at most


class NotJudged(Exception):
    """The property does not apply to a call; it is not counted."""


@dataclass(frozen=True)
class Property:
    """A check, what it is applied to, and the calls it is applied on."""

    check: Check
    of: Literal["formulas", "gradients"]
    styles: tuple[Style, ...]
    size: Size
    styles_per_geometry: int
    share: float  # of the profile's examples
    needs_torch: bool

    @property
    def name(self) -> str:
        """The check's name."""
        return self.check.__name__

    @property
    def sentence(self) -> str:
        """What the property demands."""
        return " ".join((self.check.__doc__ or "").split())

    def formulas(self, operator: Operator) -> tuple[Formula, ...]:
        """Return the formulas of `operator` that the property is about."""
        return tuple(operator.gradients.values()) if self.of == "gradients" else operator.formulas


PROPERTIES: dict[str, Property] = {}


def holds(
    *, of: Literal["formulas", "gradients"] = "formulas", styles: tuple[Style, ...] = INTEGERS,
    size: Size = "medium", styles_per_geometry: int = 1, share: float = 1.0,
    needs_torch: bool = False,
) -> Callable[[Check], Check]:  # fmt: skip
    """Add a check to PROPERTIES."""

    def add(check: Check) -> Check:
        PROPERTIES[check.__name__] = Property(
            check, of, styles, size, styles_per_geometry, share, needs_torch
        )
        return check

    return add


@holds(size="large", styles_per_geometry=2)
def matches_oracle(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer equals the formula evaluated in exact arithmetic: on these data nothing rounds."""
    del operator
    return require_truth(backend, formula, call, backend.ask(formula, call))


@holds(styles=FLOATS, styles_per_geometry=2, share=0.6)
def within_rounding_bound(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """On floats the error is at most gamma_n * sum|terms|: what summing n terms in any order can
    leave (Higham 2002, section 3.1).
    """  # noqa: D205 - one sentence
    del operator
    return require_truth(backend, formula, call, backend.ask(formula, call))


@holds(of="gradients", share=0.6)
def gradient_is_the_slope(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Moving one argument by v changes <dy, y> of the backend's own forward pass by <gradient, v>:
    exactly, since y is affine in each argument and the data are integers.
    """  # noqa: D205 - one sentence
    argument = _argument(operator, formula)
    call = _with_bias(call)
    v = _direction(call[argument], formula.__name__)
    slope = _exactly(backend, formula, call)
    there = _exactly(backend, operator.formula, {**call, argument: call[argument] + v})
    here = _exactly(backend, operator.formula, call)
    _require_same_shapes(operator, formula, call, here=here, there=there, slope=slope)
    got, rise = inner(slope, v), inner(call["grad_output"], there, here)
    if got != rise:
        raise Mismatch(
            f"{formula.__name__}: <gradient, v> is {_short(got)}, but <dy, y> moves by "
            f"{_short(rise)} when {argument} moves by v (the data are exact)"
        )
    return 0.0


@holds(of="gradients", share=0.3)
def finite_differences(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Each element of the gradient is the change of <dy, y> of the backend's own forward pass when
    that element moves by 1: exactly, since y is affine in it and the data are integers.
    """  # noqa: D205 - one sentence
    argument = _argument(operator, formula)
    call = _with_bias(call)
    gradient = _exactly(backend, formula, call)
    here = _exactly(backend, operator.formula, call)
    _require_same_shapes(operator, formula, call, here=here, there=here, slope=gradient)
    for at in _some_elements(call[argument].shape):
        moved = call[argument].copy()
        moved[at] += 1
        there = _exactly(backend, operator.formula, {**call, argument: moved})
        require_form(operator.name, there, here.shape, here.dtype)
        rise = inner(call["grad_output"], there, here)
        if not inner(gradient[at].reshape(1), np.ones(1)) == rise:
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {gradient[at]}, but <dy, y> "
                f"moves by {_short(rise)} when this element of {argument} moves by 1 "
                "(the data are exact)"
            )
    return 0.0


@holds(needs_torch=True, share=0.6)
def matches_torch(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer equals PyTorch's, computed by its forward pass or its autograd in float64."""
    got = _exactly(backend, formula, call)
    want = _torch(operator, formula, call)
    require_form(formula.__name__, got, want.shape, call_dtype(call))
    require_equal(f"{formula.__name__}, beside PyTorch", got, want)
    return 0.0


@holds(size="small", share=0.25)
def forms_agree(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer equals every other way in which the documents write the formula."""
    del operator
    got = _exactly(backend, formula, call)
    wide = {n: a.astype(np.float64) if isinstance(a, np.ndarray) else a for n, a in call.items()}
    for form in FORMS[formula]:
        want = ask(form.function, formula, wide)
        require_form(formula.__name__, got, want.shape, call_dtype(call))
        require_equal(f"{formula.__name__}, as {form.name} ({form.source})", got, want)
    return 0.0


@holds(share=0.4)
def linear(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Adding v to one argument adds the answer for v alone: f(a + v) = f(a) + f(v)."""
    del operator
    names = algebra(formula)
    here = _exactly(backend, formula, call)
    require_form(formula.__name__, here, Truth(formula, call).terms.shape, call_dtype(call))
    for name, array in operands(formula, call).items():
        v = _direction(array, formula.__name__ + name)
        alone: dict[str, Any] = {**call, name: v}
        if name == names.plus:
            alone[names.factors[0]] = np.zeros_like(call[names.factors[0]])
        elif call.get(names.plus or "") is not None:
            alone[names.plus or ""] = np.zeros_like(call[names.plus or ""])
        both = _exactly(backend, formula, {**call, name: array + v})
        part = _exactly(backend, formula, alone)
        require_form(f"{formula.__name__} of v", part, here.shape, here.dtype)
        require_form(f"{formula.__name__} of {name} + v", both, here.shape, here.dtype)
        total = here.astype(np.float64) + part
        require_equal(f"{formula.__name__} of {name} + v", both, total)
    return 0.0


@holds(share=0.4)
def batch_independent(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer for a batch is the answers for its images, side by side or summed."""
    del operator
    call = _two_images(call)
    count = len(call["grad_output"])
    whole = _exactly(backend, formula, call)
    parts = [_exactly(backend, formula, images(call, slice(n, n + 1))) for n in range(count)]
    require_form(
        f"{formula.__name__} of the batch", whole, Truth(formula, call).terms.shape,
        call_dtype(call),
    )  # fmt: skip
    kept = algebra(formula).images == "kept"
    shape = (1, *whole.shape[1:]) if kept else whole.shape
    for n, part in enumerate(parts):
        require_form(f"{formula.__name__} of image {n} alone", part, shape, whole.dtype)
    wide = [part.astype(np.float64) for part in parts]
    want = np.concatenate(wide) if kept else np.sum(wide, axis=0)
    require_equal(f"{formula.__name__} of the batch, beside its images", whole, want)
    return 0.0


@holds(styles=INTEGERS + FLOATS, share=0.5)
def leaves_inputs_unchanged(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Every argument is, after the call, bit for bit what it was."""
    del operator
    for name in backend.changed_arguments(formula, call):
        raise Mismatch(f"{formula.__name__}: changed its argument {name}")
    return 0.0


@holds(styles=INTEGERS + FLOATS, share=0.5)
def returns_what_the_protocol_says(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """The answer is a new array of the documented shape, in the dtype of the inputs, finite where
    the inputs are, with and without the optional bias.
    """  # noqa: D205 - one sentence
    del operator
    calls = [call] if algebra(formula).plus is None else [call, {**call, "bias": None}]
    for one in calls:
        got = backend.ask(formula, one)
        names = algebra(formula)
        changed = {n: -one[n] for n in (names.factors[0], names.plus) if n and one[n] is not None}
        reason = backend.reuses_memory(formula, one, {**one, **changed})
        if reason:
            raise Mismatch(f"{formula.__name__}: {reason}")
        require_form(formula.__name__, got, Truth(formula, one).terms.shape, call_dtype(one))
        if not np.isfinite(got).all():
            at = tuple(np.argwhere(~np.isfinite(got))[0].tolist())
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {got[at]} from finite data"
            )
    return 0.0


@holds(share=0.25)
def rejects_bad_arguments(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Arguments that fit no such operation raise an exception instead of giving numbers."""
    del operator
    backend.ask(formula, call)  # what declines the legal call says nothing about the others
    for bad in bad_calls(formula, call):
        refused, result = backend.refuses(formula, bad.call)
        if not refused:
            raise Mismatch(
                f"{formula.__name__}: took {bad.change} and returned {describe(result)}, "
                f"where the oracle raises: {bad.reason}",
                call=bad.call,
            )
    return 0.0


# -- what the properties share --------------------------------------------------------------------


def _exactly(backend: Backend, formula: Formula, call: Call) -> Array:
    """Return the backend's answer to a call on which rounding provably never acts."""
    dtype = call_dtype(call).name
    answer = backend.ask(formula, call)
    if not Truth(formula, call).is_exact(dtype, backend.contract.accumulator(dtype)):
        raise NotJudged("the sums do not provably fit")
    return answer


def _require_same_shapes(
    operator: Operator, formula: Formula, call: Call, *, here: Array, there: Array, slope: Array
) -> None:
    dtype, y_shape = call_dtype(call), call["grad_output"].shape
    require_form(operator.name, here, y_shape, dtype)
    require_form(operator.name, there, y_shape, dtype)
    argument = _argument(operator, formula)
    require_form(formula.__name__, slope, call[argument].shape, dtype)


def _argument(operator: Operator, formula: Formula) -> str:
    argument = operator.argument_of(formula)
    if argument is None:
        raise NotJudged("not a gradient")
    return argument


def _with_bias(call: Call) -> dict[str, Any]:
    """Return the call with a bias of zeros where it has none, so that it can be moved."""
    if "bias" not in call or call["bias"] is not None:
        return dict(call)
    return {**call, "bias": np.zeros(len(call["weight"]), call_dtype(call))}


def _direction(array: Array, salt: str) -> Array:
    """Return integers in [-1, 1], not all zero, that depend on the array's shape and salt only."""
    random = np.random.default_rng(zlib.crc32(f"{salt}{array.shape}".encode()))
    v = random.integers(-1, 2, array.shape)
    if v.size and not v.any():
        v.flat[random.integers(v.size)] = 1
    return v.astype(array.dtype)


def _some_elements(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return all indices of a small array; of a large one, some, the first and last among them."""
    count = int(np.prod(shape))
    chosen = np.unique(np.linspace(0, count - 1, min(count, ELEMENTS)).astype(int))
    return [tuple(int(i) for i in np.unravel_index(at, shape)) for at in chosen] if count else []


def _two_images(call: Call) -> dict[str, Any]:
    """Return the call with at least two images: one alone would say nothing."""
    count = len(call["grad_output"])
    if count == 0:
        raise NotJudged("an empty batch has no images")
    if count > 1:
        return dict(call)
    doubled = images(call, slice(None))
    for name in ("x", "grad_output"):
        doubled[name] = np.concatenate([call[name], -call[name][..., ::-1]])
    doubled["input_shape"] = doubled["x"].shape
    return doubled


def _torch(operator: Operator, formula: Formula, call: Call) -> Array:
    """Return PyTorch's float64 answer: its forward pass, or its autograd on the way back."""
    import torch  # noqa: PLC0415 - optional, and slow to import

    tensors = {
        name: torch.tensor(value, dtype=torch.float64) if isinstance(value, np.ndarray) else value
        for name, value in _with_bias(call).items()
    }
    argument = operator.argument_of(formula)
    if argument is not None:
        tensors[argument].requires_grad_()
    y = ask(operator.witness(torch), operator.formula, tensors)
    if argument is None:
        answer: Array = y.numpy()
        return answer
    (gradient,) = torch.autograd.grad(y, tensors[argument], tensors["grad_output"])
    witnessed: Array = gradient.numpy()
    return witnessed


def _short(value: Any) -> str:
    """Return an exact number as text, without a fraction's or an integer's thousand digits."""
    return "beyond 1e300" if abs(value) >= 1e300 else f"{float(value):.17g}"
