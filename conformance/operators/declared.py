"""An operator of your own from its forward formula alone: what `gradoracle.operator` decorates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import Any

from gradoracle.conformance.drawing.values import Style, round_numbers, small_integers, styles
from gradoracle.conformance.operators.activations import SMOOTH, elementwise
from gradoracle.conformance.operators.of_formula import (
    NOTHING,
    NUMBERS,
    Complete,
    Further,
    Result,
    of_formula,
)
from gradoracle.conformance.operators.record import (
    MEASURED,
    Operator,
    OptionValues,
    Styles,
    as_it_is,
    no_witness,
)
from gradoracle.conformance.operators.registered import made
from gradoracle.oracle.axes import IMAGES, Axes
from gradoracle.oracle.declaration import Images, axes_of
from gradoracle.oracle.derive import GRAD_OUTPUT, Body, By, derived, derived_pointwise
from gradoracle.oracle.numbers.reverse import ANY, FIRST, SPLIT

# A user's formula may have steps and kinks at round numbers, and where round numbers lead there.
(WHOLE,) = styles(small_integers)
AT_STEPS = Style("at steps", round_numbers, steps="anywhere")
OFTEN = (AT_STEPS,) * 3  # as often as three others: few of a small call's numbers are halves
ANY_FORMULA = replace(NUMBERS, floats=(*(one for one in NUMBERS.floats if one != WHOLE), *OFTEN))
OF_NUMBERS = replace(SMOOTH, floats=(*SMOOTH.floats, *OFTEN))
Torch = str | Callable[[Any], Callable[..., Any]] | None


def operator(
    axes: str = "", *, by: By | None = None, options: Mapping[str, OptionValues] | None = None,
    torch: Torch = None, images: Images = "mixed", words: Mapping[str, str] | None = None,
    result: Result | None = None, complete: Complete = as_it_is, numbers: Styles | None = None,
    least: Mapping[str, int] = NOTHING, even: Sequence[str] = (),
    layers: Sequence[tuple[str, tuple[int, ...]]] = (), share: float = 1.0,
    outputs: Sequence[str] = (), ties: str = FIRST, sizes: Mapping[str, int] = NOTHING,
) -> Callable[[Body], Operator]:  # fmt: skip
    """Return what makes an operator of a forward formula; every gradient follows from it.

    The formula is a function of the arrays that `axes` names and of options by keyword, written
    with NumPy's operations or as loops; its docstring displays the equation and cites its source:

        @gradoracle.operator("x: n c; weight: c", options={"eps": (1e-5, 1e-3)}, torch=None)
        def rms(x, weight, *, eps):
            '''Return y [N, C].

                y = x / sqrt(sum_c x^2 / C + eps) * weight

            (a page of mine).
            '''
            return x / np.sqrt((x * x).mean(1, keepdims=True) + eps) * weight

    A backend has `rms(x, weight, *, eps)`, `rms_grad_x(grad_output, x, weight, *, eps)` and
    `rms_grad_weight`; where there is one gradient only, it is called `NAME_grad`.  Without `axes`
    the formula is one of single numbers: of every element of an array z.

    `axes` gives every array a letter for each axis, `n` for images, and `?` after the name of one
    that may be None.  The shape of the result is that of `grad_output`, if it is among them; else
    the formula is asked.  `by` names the arguments that gradients are by (default: all arrays), or
    maps them to the arguments that each gradient is given.  `options` lists the values of each
    option, or has a function of the sizes that does.  `torch` is PyTorch's function: a name in
    torch.nn.functional that takes the same arguments, or a function of the module `torch` that
    returns it.  `images` is "kept" where every image has its own part of the result.  `words` says
    what lies along axes that may be put in the opposite order, such as {"n": "images"}.  All others
    are as `of_formula` takes them.

    A formula of several results returns a tuple of them, and `outputs` names each with its axes:
    ("y: n c", "mean: n").  A backend's function returns the tuple, too; every result is checked,
    and gradients go back from the first.  Where there are several gradients, `rms_vjp` returns all
    of them, in the order of the arguments: a backend has it instead of the single functions, or
    beside them.  By an array that is None it returns None.

    `ties` says to which of equal numbers `maximum` and `max` go back: to the "first", or to all in
    equal parts ("split", as torch.maximum and torch.amax), or to "any-subgradient".  A backend's
    contract that has the policy `ties` is checked by that.  `sizes` fixes lengths of axes by their
    letters, as {"q": 4} for quaternions.

    Raises:
        ValueError: the text of the axes cannot be read or lacks those of the result with
            images="kept", the docstring has no equation, there is no such rule of ties, or no axis
            of a letter whose length is fixed.
    """
    if ties not in (FIRST, SPLIT, ANY):
        raise ValueError(f"ties must be {FIRST!r}, {SPLIT!r} or {ANY!r}, got {ties!r}")

    def make(body: Body) -> Operator:
        witness = no_witness if torch is None else torch
        if not axes:
            found = derived_pointwise(body, rule=ties)
            (gradient,) = found.gradients
            values = {n: v for n, v in (options or {}).items() if not callable(v)}
            return made(elementwise(
                found.forward, gradient, witness, _with_steps(numbers, OF_NUMBERS),
                curvature=MEASURED,
                values=values,
            ))  # fmt: skip
        names = [part.partition(":")[0].strip().rstrip("?") for part in axes.split(";")]
        if images == "kept" and GRAD_OUTPUT not in names and not outputs:
            raise ValueError(
                f'images="kept" asks for the axes of the result: add "{GRAD_OUTPUT}: n ..." to '
                f"{axes!r}"
            )
        wanted = by if by is not None else [n for n in names if n != GRAD_OUTPUT]
        formula = derived(
            axes, wanted, images=images, outputs=outputs, rule=ties, words=words or {}
        )(_of_lengths(body, axes, sizes))
        return made(of_formula(
            formula, witness, options=options or {}, result=result, complete=complete,
            numbers=_with_steps(numbers, ANY_FORMULA), least=least, even=even, layers=layers,
            share=share, further=_fixed(sizes, axes_of(formula.forward)),
        ))  # fmt: skip

    return make


def _with_steps(own: Styles | None, usual: Styles) -> Styles:
    """Return the usual numbers, or a user's own, some of them moved to steps in their range."""
    if own is None or not own.floats:
        return own or usual
    moved = own.floats[0]._replace(name=f"{own.floats[0].name}, at steps", steps="within")
    return replace(own, floats=(*own.floats, moved))


def _of_lengths(body: Body, axes: str, lengths: Mapping[str, int]) -> Body:
    """Return a formula that refuses arrays of other lengths than the fixed ones."""
    if not lengths:
        return body
    letters = Axes(axes).arrays
    names = [*signature(body).parameters]

    @wraps(body)
    def formula(*arrays: Any, **options: Any) -> Any:
        for name, array in {**dict(zip(names, arrays, strict=False)), **options}.items():
            for letter, side in zip(
                letters.get(name, ()), getattr(array, "shape", ()), strict=False
            ):
                if side != lengths.get(letter, side):
                    raise ValueError(f"{name} must have {lengths[letter]} {letter}, got {side}")
        return body(*arrays, **options)

    return formula


def _fixed(lengths: Mapping[str, int], axes: Axes) -> Further:
    """Return what leaves the axes with fixed lengths out of what is drawn.

    Raises:
        ValueError: no array has an axis of a letter, or its length is below 1.
    """
    if not lengths:
        return Further()
    arrays = (letters for name, letters in axes.arrays.items() if name != GRAD_OUTPUT)
    every = dict.fromkeys(one for letters in arrays for one in letters)
    for letter, length in lengths.items():
        if letter not in every or length < 1:
            raise ValueError(
                f"sizes: {letter!r}: {length!r} must be one of the letters {', '.join(every)} with "
                "a length of 1 or more"
            )
    drawn = sorted((one for one in every if one not in lengths), key=lambda one: one != IMAGES)
    return Further(sides=drawn, lengths=lambda sizes: {**sizes, **lengths})
