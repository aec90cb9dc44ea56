"""Gradient formulas derived from a forward formula: what it declares is all that is written.

`derived` makes a formula of a function of whole arrays, and one more of each gradient, by reverse
mode (`oracle.numbers.reverse`).  `derived_pointwise` does so for a function of single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature, signature
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.axes import IMAGES, Axes
from gradoracle.oracle.declaration import (
    Formula,
    Images,
    argument_names,
    composed,
    declare_axes,
    displayed,
    evaluate,
    is_data,
)
from gradoracle.oracle.numbers.elementary import either
from gradoracle.oracle.numbers.many import Held, like
from gradoracle.oracle.numbers.reverse import Traced, TracedArray, gradient, stacked
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.numbers.running_error_arrays import Lanes, pointwise
from gradoracle.oracle.shapes import Array, check_shape

GRAD_OUTPUT = "grad_output"
ANY_MORE = "*"
AT_ONCE = 12  # numbers from which walking for all of them at once takes less than one by one
NO_ROUNDING = Arithmetic(0.0, 0.0)


class Derived(NamedTuple):
    """A forward formula and those of its gradients, each with the argument it is by."""

    forward: Formula
    gradients: Mapping[Formula, str]

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The forward formula, then the gradients."""
        return (self.forward, *self.gradients)


Body: TypeAlias = Callable[..., Any]
By: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]


def derived(
    axes: str, by: By, *, images: Images = "mixed", **more: Any
) -> Callable[[Body], Derived]:
    """Return what makes formulas of a function of arrays.

    The function takes the arrays that `axes` names, as `Axes` does, and options by keyword, and
    returns the result; its docstring has the equation and its source.  Data come as `TracedArray`,
    labels as they are.  It raises ValueError where there is no such call; that shapes fit the axes
    is checked before.

    `by` names the arguments that gradients are by.  A gradient is given dy, all arrays and all
    options; where `by` is a mapping, dy and the arguments that it lists.  Those which it does not
    list must not matter: an array is 1 then, and so is an option.  `more` is that of `Axes`.
    """
    return lambda body: _of_arrays(body, Axes(axes, **more), by, images)


def _of_arrays(body: Body, axes: Axes, by: By, images: Images) -> Derived:
    names = [n for n in signature(body).parameters if n in axes.arrays]

    def run(given: Mapping[str, Any]) -> TracedArray:
        _check_axes(axes, given, names)
        with np.errstate(all="ignore"):
            result = body(**given)
        found = result if isinstance(result, TracedArray) else stacked(result)
        return found if isinstance(found, TracedArray) else _constant(axes, given, names, found)

    def forward(*arrays: Any, **options: Any) -> Any:
        given = _traced(dict(zip(names, arrays, strict=False)) | options)
        return _as_given(run(given).held, (*arrays, *options.values()))

    every = [*signature(body).parameters]

    def by_argument(argument: str) -> Formula:
        takes = every if not isinstance(by, Mapping) else by[argument]
        ones = dict.fromkeys((n for n in every if n not in (*names, *takes)), 1)
        arrays_taken = [n for n in names if n in takes]

        def backward(grad_output: Any, *arrays: Any, **options: Any) -> Any:
            if isinstance(grad_output, np.generic):  # of no axes
                grad_output = np.asarray(grad_output)
            taken = dict(zip(arrays_taken, arrays, strict=False))
            taken |= {n: options.pop(n) for n in arrays_taken if n in options}
            whole = _of_ones(axes, names, taken, grad_output, argument)
            given = _traced({**whole, **ones, **options})
            if given.get(argument) is None:
                raise ValueError(f"there is no gradient by {argument}, which is None")
            result = run(given)
            check_shape(GRAD_OUTPUT, grad_output.shape, result.shape, "the result has")
            with np.errstate(all="ignore"):
                found = gradient(result, _held(grad_output), given[argument])
            return _as_given(found, (grad_output,))

        return backward

    return _declared(body, forward, by_argument, axes, by, images)


def derived_pointwise(body: Body) -> Derived:
    """Return the formulas of a function of single numbers, of every element of an array z.

    It takes a number of any kind and options by keyword; its docstring has the equation.
    """
    axes = Axes("z: n *; grad_output: n *")
    names = [n for n in signature(body).parameters if n in axes.arrays]

    def each(formula: Formula, function: Body, options: Mapping[str, Any], *arrays: Array) -> Array:
        first, last = arrays[0], arrays[-1]
        check_shape(names[-1], last.shape, first.shape, f"{GRAD_OUTPUT} has")
        if first.dtype != object and first.size >= AT_ONCE:
            return _all_at_once(formula, options, arrays)
        found = np.empty(first.size, object)
        columns = (array.ravel().tolist() for array in arrays)
        found[:] = [function(*numbers, **options) for numbers in zip(*columns, strict=True)]
        return found.astype(first.dtype).reshape(first.shape)

    def value(number: Any, **options: Any) -> Any:
        result = body(number, **options)
        return result.held if isinstance(result, Traced) else result

    def slope(dy: Any, number: Any, **options: Any) -> Any:
        given = Traced(number)
        result = body(given, **options)
        if not isinstance(result, Traced):
            return 0
        times = partial(gradient, result, dy, given)  # dy first, or the slope
        return either(dy * gradient(result, 1, given), times)

    def forward(z: Array, **options: Any) -> Array:
        return each(forward, value, options, z)

    def by_argument(argument: str) -> Formula:
        del argument

        def backward(grad_output: Array, z: Array, **options: Any) -> Array:
            return each(backward, slope, options, grad_output, z)

        return backward

    return _declared(body, forward, by_argument, axes, names[:1], "kept", pointwise=True)


def _all_at_once(formula: Formula, options: Mapping[str, Any], arrays: Sequence[Array]) -> Array:
    """Return what a formula makes of floats, walked once for all that take the same branches."""
    given = {n: a.ravel() for n, a in zip(argument_names(formula)[0], arrays, strict=True)}
    found, _ = pointwise(formula, {**given, **options}, given, NO_ROUNDING)
    with np.errstate(all="ignore"):
        return np.asarray(found.astype(arrays[0].dtype).reshape(arrays[0].shape))


def _declared(
    body: Body, forward: Formula, by_argument: Callable[[str], Formula], axes: Axes,
    by: By, images: Images, *, pointwise: bool = False,
) -> Derived:  # fmt: skip
    """Return the formulas with their names, signatures, docstrings, algebra and axes."""
    own = signature(body)
    _named(forward, body.__name__, own, body.__doc__ or "", body)
    gradients: dict[Formula, str] = {}
    for argument in by:
        one = by_argument(argument)
        short = f"{body.__name__}_grad"
        name = short if len(by) == 1 else f"{short}_{argument}"
        dy = Parameter(GRAD_OUTPUT, Parameter.POSITIONAL_OR_KEYWORD)
        takes = by[argument] if isinstance(by, Mapping) else [*own.parameters]
        kept = [p for n, p in own.parameters.items() if n in takes]
        _named(one, name, own.replace(parameters=[dy, *kept]), "", body)
        one.__doc__ = _gradient_doc(body, forward, argument)
        gradients[one] = argument
    for formula in (forward, *gradients):
        differentiated = gradients.get(formula)
        summed = images == "kept" and differentiated not in (None, *axes.batched)
        of = "summed" if summed else images
        lanes = None if pointwise else _in_lanes(formula)
        composed(images=of, pointwise=pointwise, lanes=lanes, of_arrays=not pointwise)(formula)
    declare_axes(axes, forward, *gradients)
    return Derived(forward, gradients)


def body_of(formula: Formula) -> Body | None:
    """Return the function that a derived formula is made of, None of others."""
    found: Body | None = getattr(formula, "__gradoracle_body__", None)
    return found


def _in_lanes(formula: Formula) -> Callable[[Mapping[str, Any]], Any]:
    return lambda call: evaluate(formula, call)


def _constant(
    axes: Axes, given: Mapping[str, Any], names: Sequence[str], found: Array
) -> TracedArray:
    """Return a result that no number is in, such as loops over no images leave, in its shape."""
    arrays = {n: given[n] for n in names if given.get(n) is not None}
    sizes = {
        letter: side
        for name, array in arrays.items()
        for letter, side in zip(axes.arrays[name], array.shape, strict=False)
    }
    letters = axes.arrays.get(GRAD_OUTPUT, (ANY_MORE,))
    if not found.size and sizes.keys() >= {*letters}:
        found = np.zeros([sizes[one] for one in letters])
    beside = next(a.held for a in arrays.values() if isinstance(a, TracedArray))
    return TracedArray(like(beside, np.asarray(found, np.float64)))


def _named(formula: Any, name: str, own: Signature, doc: str, body: Body) -> None:
    formula.__name__ = formula.__qualname__ = name
    formula.__signature__, formula.__doc__, formula.__module__ = own, doc, body.__module__
    formula.__gradoracle_body__ = body


def _gradient_doc(body: Body, forward: Formula, argument: str) -> str:
    """Return the docstring of a derived gradient: the chain rule over the forward equation."""
    equation, source = displayed(forward)
    indented = "\n".join(f"    {line}" if line else "" for line in equation.splitlines())
    return (
        f"Return d{argument} = dE/d{argument}, of its shape and dtype, from dy and the "
        f"arguments of `{body.__name__}`.\n\n"
        f"    d{argument}[k] = sum_i dy[i] (d y[i] / d {argument}[k]),  for\n{indented}\n\n"
        f"({source}, differentiated by reverse mode).\n\n"
        f"Raises:\n    ValueError: as `{body.__name__}`, or dy has another shape than y.\n"
    )


def _traced(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with data as arrays that remember how they are used."""
    return {
        n: TracedArray(_held(v)) if isinstance(v, Lanes) or is_data(v) else v
        for n, v in given.items()
    }


def _of_ones(
    axes: Axes, names: Sequence[str], taken: Mapping[str, Any], grad_output: Any, argument: str
) -> dict[str, Any]:
    """Return the arrays of a forward pass, ones for those that its gradient is not given."""
    sizes: dict[str, int] = {}
    for name, array in {**taken, GRAD_OUTPUT: grad_output}.items():
        if array is not None and len(array.shape) == len(axes.arrays.get(name, ())):
            sizes.update(zip(axes.arrays[name], array.shape, strict=True))
    given: dict[str, Any] = {}
    for name in names:
        if name in taken:
            given[name] = taken[name]
        elif name in axes.optional and name != argument:
            given[name] = None
        else:
            letters = axes.arrays[name]
            if not sizes.keys() >= {*letters}:
                raise ValueError(
                    f"grad_output must have the axes [{', '.join(axes.arrays[GRAD_OUTPUT])}], got "
                    f"shape {[*grad_output.shape]}"
                )
            given[name] = _ones(tuple(sizes[one] for one in letters), grad_output)
    return given


def _ones(shape: tuple[int, ...], beside: Any) -> Any:
    """Return ones in the numbers of another array."""
    if isinstance(beside, Lanes):
        return beside.constants(np.ones(shape))
    return np.ones(shape, beside.dtype)


def _held(array: Any) -> Held:
    """Return numbers in which is computed: floats as float64."""
    if isinstance(array, np.ndarray) and array.dtype != object:
        return array.astype(np.float64)
    return array


def _as_given(held: Held, arrays: Sequence[Any]) -> Any:
    """Return a result in the dtype of the arguments."""
    first = next(a for a in arrays if isinstance(a, Lanes) or is_data(a))
    if isinstance(first, Lanes) or isinstance(held, Lanes):
        return held
    with np.errstate(all="ignore"):
        return np.asarray(held, first.dtype)


def _check_axes(axes: Axes, given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise ValueError unless arrays have the axes that are declared, of fitting lengths."""
    sizes: dict[str, int] = {}
    for name in names:
        array = given.get(name)
        if array is None:
            if name not in axes.optional:
                raise ValueError(f"{name} must be an array, got None")
            continue
        letters = axes.arrays[name]
        if ANY_MORE not in letters and len(array.shape) != len(letters):
            raise ValueError(
                f"{name} must have {len(letters)} axes, [{', '.join(letters)}], got shape "
                f"{[*array.shape]}"
            )
        for letter, side in zip(letters, array.shape, strict=False):
            if letter == ANY_MORE:
                continue
            if sizes.setdefault(letter, side) != side:
                raise ValueError(
                    f"{name} must be {sizes[letter]} long along {letter}, got shape "
                    f"{[*array.shape]}"
                )
            if side < 1 and letter != IMAGES:
                raise ValueError(f"{name} is empty along {letter}: shape {[*array.shape]}")
