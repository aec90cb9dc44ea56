"""An operator of your own from its forward formula alone: what `gradoracle.operator` decorates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradoracle.conformance.operators.activations import SMOOTH, elementwise
from gradoracle.conformance.operators.of_formula import (
    NOTHING,
    NUMBERS,
    Complete,
    Result,
    Values,
    of_formula,
)
from gradoracle.conformance.operators.record import (
    MEASURED,
    Operator,
    Styles,
    as_it_is,
    no_witness,
)
from gradoracle.oracle.declaration import Images
from gradoracle.oracle.derive import GRAD_OUTPUT, Body, By, derived, derived_pointwise

Torch = str | Callable[[Any], Callable[..., Any]] | None


def operator(
    axes: str = "", *, by: By | None = None, options: Mapping[str, Values] | None = None,
    torch: Torch = None, images: Images = "mixed", words: Mapping[str, str] | None = None,
    result: Result | None = None, complete: Complete = as_it_is, numbers: Styles | None = None,
    least: Mapping[str, int] = NOTHING, even: Sequence[str] = (),
    layers: Sequence[tuple[str, tuple[int, ...]]] = (), share: float = 0.3,
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

    Raises:
        ValueError: the text of the axes cannot be read, or the docstring has no equation.
    """

    def make(body: Body) -> Operator:
        witness = no_witness if torch is None else torch
        if not axes:
            found = derived_pointwise(body)
            (gradient,) = found.gradients
            values = {n: v for n, v in (options or {}).items() if not callable(v)}
            return elementwise(
                found.forward, gradient, witness, numbers or SMOOTH, curvature=MEASURED,
                values=values,
            )  # fmt: skip
        names = [part.partition(":")[0].strip().rstrip("?") for part in axes.split(";")]
        wanted = by if by is not None else [n for n in names if n != GRAD_OUTPUT]
        made = derived(axes, wanted, images=images, words=words or {})(body)
        return of_formula(
            made, witness, options=options or {}, result=result, complete=complete,
            numbers=numbers or NUMBERS, least=least, even=even, layers=layers, share=share,
        )  # fmt: skip

    return make
