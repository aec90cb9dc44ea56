"""Gradient formulas derived from a forward formula: what it declares is all that is written.

`derived` makes a formula of a function of whole arrays, and one more of each gradient, by reverse
mode (`oracle.numbers.reverse`); where there are several, one of all gradients at once, too.
`derived_pointwise` does so for a function of single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial, wraps
from inspect import Parameter, Signature, signature
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.axes import IMAGES, PART, Axes
from gradoracle.oracle.compiled_loops import checks_arguments_only
from gradoracle.oracle.declaration import (
    Formula,
    Images,
    argument_names,
    composed,
    declare_axes,
    declare_parts,
    declare_same,
    displayed,
    evaluate,
    has_slope,
    is_data,
    parts_of,
    whole_of,
)
from gradoracle.oracle.numbers import joining, many, numpy_functions, products, sums_of_products
from gradoracle.oracle.numbers.decisions import Decision, deciding
from gradoracle.oracle.numbers.elementary import either
from gradoracle.oracle.numbers.many import Held, like
from gradoracle.oracle.numbers.passes import Passes
from gradoracle.oracle.numbers.reverse import (
    ARRAY_FUNCTIONS,
    FIRST,
    METHODS,
    UFUNC_METHODS,
    UFUNCS,
    Traced,
    TracedArray,
    gradient,
    stacked,
    tangent,
    ties,
)
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.numbers.running_error_arrays import Lanes, pointwise
from gradoracle.oracle.numbers.ways import IN_WORDS, claiming
from gradoracle.oracle.shapes import Array, check_shape

GRAD_OUTPUT = "grad_output"
ANY_MORE = "*"
AT_ONCE = 12  # numbers from which walking for all of them at once takes less than one by one
NO_ROUNDING = Arithmetic(0.0, 0.0, one_way=True)
for table in (joining, numpy_functions, products, sums_of_products):
    ARRAY_FUNCTIONS.update(table.FUNCTIONS)
for table in (numpy_functions, products, sums_of_products):
    METHODS.update(table.METHODS)
UFUNCS.update(numpy_functions.UNIVERSAL)
UFUNC_METHODS.update(numpy_functions.UFUNC_METHODS)


class Derived(NamedTuple):
    """A forward formula and those of its gradients, each with the argument it is by.

    Where the function has several results, `forward` is that of the first, which gradients go back
    from, and a part of the formula of all.  `vjp` gives all gradients at once, where there are
    several: in the order of the arguments, and None by one that is None.
    """

    forward: Formula
    gradients: Mapping[Formula, str]
    vjp: Formula | None = None

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The forward formula, that of all results, then the gradients."""
        return (whole_of(self.forward), *self.gradients, *([self.vjp] if self.vjp else ()))


Body: TypeAlias = Callable[..., Any]
By: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]]
# From the arguments that gradients are by, and those that they are given, to what gives them.
Backwards: TypeAlias = Callable[[Sequence[str], Sequence[str]], Callable[..., list[Any]]]


def derived(
    axes: str, by: By, *, images: Images = "mixed", outputs: Sequence[str] = (),
    rule: str = FIRST, differentiates: bool = True, **more: Any,
) -> Callable[[Body], Derived]:  # fmt: skip
    """Return what makes formulas of a function of arrays.

    The function takes the arrays that `axes` names, as `Axes` does, and options by keyword, and
    returns the result; its docstring has the equation and its source.  Data come as `TracedArray`,
    labels as they are.  It raises ValueError where there is no such call; that shapes fit the axes
    is checked before.

    `by` names the arguments that gradients are by.  A gradient is given dy, all arrays and all
    options; where `by` is a mapping, dy and the arguments that it lists.  Those which it does not
    list must not matter: an array is 1 then, and so is an option.  `more` is that of `Axes`.

    `outputs` are the results, each with its axes as in `axes` ("mean: n"), where there are several:
    the function returns a tuple of them, and gradients go back from the first.  `rule` says to
    which of equal numbers `max` and `maximum` go back: see `oracle.numbers.reverse.ties`.
    `differentiates` is False where a gradient is what users agreed on and not the derivative, as
    of a row that is not learned: then no forward mode is derived.
    """
    named = [_output(text) for text in outputs]
    each = [Axes(_with_result(axes, of), **more) for _, of in named] or [Axes(axes, **more)]

    names = [name for name, _ in named]

    def formulas(body: Body) -> Derived:
        given = (body, each, by, images, names)
        return _with_twins(partial(_of_arrays, *given, differentiates=differentiates), rule)

    return formulas


def _with_twins(under: Callable[[str], Derived], rule: str) -> Derived:
    """Return the formulas under a rule of ties, and remember what makes them under another."""
    made = under(rule)
    twins = _Twins(made, cache(under), cache(partial(_claimed, under, rule)))
    _TWINS.update(dict.fromkeys(every_formula(made), twins))
    return made


class _Twins(NamedTuple):
    """All formulas of a function, what makes them by a rule of ties, and in a claimed way."""

    made: Derived
    under: Callable[[str], Derived]
    claimed: Callable[[str], Derived]


_TWINS: dict[Formula, _Twins] = {}


def _claimed(under: Callable[[str], Derived], rule: str, way: str) -> Derived:
    """Return the formulas of a function that is run as a way is claimed."""
    assert isinstance(under, partial)  # noqa: S101 - as `derived` makes it
    body, *more = under.args

    @wraps(body)
    def run(*arrays: Any, **options: Any) -> Any:
        with claiming(way):
            return body(*arrays, **options)

    run.__doc__ = _with_line(body.__doc__ or "", IN_WORDS[way])
    return _with_twins(partial(under.func, run, *more, **under.keywords), rule)


def _with_line(doc: str, line: str) -> str:
    """Return a docstring with a line below the equation that it displays."""
    lines = doc.splitlines()
    start = next(i for i, one in enumerate(lines) if i and one.startswith(" " * 8))
    end = next(i for i in range(start, len(lines)) if not lines[i].strip())
    return "\n".join([*lines[:end], f"        {line}", *lines[end:]])


def as_claimed(formula: Formula, way: str) -> Formula:
    """Return a derived formula as it is where a way of computing is claimed.

    It is one of `oracle.numbers.ways`.
    """
    twins = _TWINS[formula]
    return every_formula(twins.claimed(way))[every_formula(twins.made).index(formula)]


def with_ties(formula: Formula, rule: str) -> Formula:
    """Return a formula as it is where a rule says to which of equal numbers gradients go.

    It is itself unless it was derived.
    """
    if formula not in _TWINS:
        return formula
    twins = _TWINS[formula]
    return every_formula(twins.under(rule))[every_formula(twins.made).index(formula)]


def instead(made: Derived, other: Derived) -> dict[Formula, Formula]:
    """Return for each formula of a function that of another one of the same arguments."""
    return dict(zip(every_formula(made), every_formula(other), strict=True))


def every_formula(made: Derived) -> list[Formula]:
    """Return the formulas of a function, and the parts of those of several results."""
    return [one for f in made.formulas for one in dict.fromkeys((f, *parts_of(f)))]


def _output(text: str) -> tuple[str, str]:
    """Return a result's name and its axes.

    Raises:
        ValueError: the text is not as "mean: n c".
    """
    found = PART.fullmatch(text.strip())
    if found is None or found[2]:
        raise ValueError(f"{text.strip()!r} does not say a result's axes, such as 'mean: n c'")
    return found[1], text.partition(":")[2].strip()


def _with_result(axes: str, of: str) -> str:
    """Return the axes of a formula whose result has some: those of its gradient."""
    arrays = (part for part in axes.split(";") if part.partition(":")[0].strip() != GRAD_OUTPUT)
    return "; ".join([*(part.strip() for part in arrays), f"{GRAD_OUTPUT}: {of}"])


def _of_arrays(
    body: Body, each: Sequence[Axes], by: By, images: Images, outputs: Sequence[str],
    rule: str, *, differentiates: bool,
) -> Derived:  # fmt: skip
    """Return the formulas of a function; `each` are the axes with those of each result."""
    axes = each[0]
    names = [n for n in signature(body).parameters if n in axes.arrays]

    def run(given: Mapping[str, Any]) -> list[TracedArray]:
        _check_axes(axes, given, names)
        with np.errstate(all="ignore"), ties(rule):
            found = body(**given)
        results = _results(body, found, len(each), named=bool(outputs))
        arrays = [one if isinstance(one, TracedArray) else stacked(one) for one in results]
        if any(_is_shapeless(one, of) for one, of in zip(arrays, each, strict=True)):
            beside = [run(_of_images(axes, given, names, count)) for count in (1, 2)]
            arrays = [
                np.zeros([a if a == b else 0 for a, b in zip(*shapes, strict=True)])
                for shapes in zip(*([a.shape for a in runs] for runs in beside), strict=True)
            ]
        return [_array(one, of, given, names) for one, of in zip(arrays, each, strict=True)]

    def results(*arrays: Any, **options: Any) -> list[Any]:
        given = _traced(dict(zip(names, arrays, strict=False)) | options)
        return [_as_given(one.held, (*arrays, *options.values())) for one in run(given)]

    every, passes = [*signature(body).parameters], Passes(run)

    def by_arguments(arguments: Sequence[str], takes: Sequence[str]) -> Callable[..., list[Any]]:
        ones = dict.fromkeys((n for n in every if n not in (*names, *takes)), 1)
        arrays_taken = [n for n in names if n in takes]

        def backward(grad_output: Any, *arrays: Any, **options: Any) -> list[Any]:
            if isinstance(grad_output, np.generic):  # of no axes
                grad_output = np.asarray(grad_output)
            taken = dict(zip(arrays_taken, arrays, strict=False))
            taken |= {n: options.pop(n) for n in arrays_taken if n in options}
            whole = _of_ones(axes, names, taken, grad_output, arguments)
            given, (result, *_) = passes.of(_traced({**whole, **ones, **options}))
            check_shape(GRAD_OUTPUT, grad_output.shape, result.shape, "the result has")
            received = _held(grad_output)
            found = [_gradient_by(given.get(n), result, received) for n in arguments]
            return [one if one is None else _as_given(one, (grad_output,)) for one in found]

        return backward

    def along(given: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
        traced = _traced(given)
        (result, *_) = run(traced)
        moved = [(traced[n], _held(v)) for n, v in tangents.items() if v is not None]
        with np.errstate(all="ignore"):
            return _as_given(tangent(result, moved), [*given.values()])

    found = _declared(body, results, by_arguments, each, by, images, outputs)
    ordered = [n for n in every if n in by]
    if differentiates and ordered:
        _ALONG[found.forward] = partial(_along, found.forward, axes, ordered, along)
    return found


def _gradient_by(argument: Any, result: TracedArray, received: Any) -> Any:
    """Return the gradient by a traced argument; None where that is None or has no slope."""
    if argument is None or not has_slope(argument):
        return None
    if checks_arguments_only():
        return np.zeros(argument.shape)
    with np.errstate(all="ignore"):
        return many.scaled_last(gradient(result, received, argument))


# What makes the formula of the derivative along tangents, of forward formulas of whole arrays.
_ALONG: dict[Formula, Callable[[], Formula]] = {}
TANGENT = "tangent_"  # begins the name of an argument's tangent


def has_forward_mode(formula: Formula) -> bool:
    """Return whether `forward_mode` has a formula for this one."""
    return formula in _ALONG


@cache
def forward_mode(formula: Formula) -> Formula:
    """Return the formula of a derived formula's derivative along tangents of its arguments.

    It takes the tangent of each argument with a gradient, `tangent_x` of `x` (None of one that is
    None), then what the formula takes.
    """
    return _ALONG[formula]()


def _along(
    forward: Formula, axes: Axes, by: Sequence[str],
    along: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
) -> Formula:  # fmt: skip
    """Return the formula of the derivative along tangents."""
    own, body = signature(forward), body_of(forward)
    names = [TANGENT + n for n in by]

    def formula(*arrays: Any, **options: Any) -> Any:
        bound = taking.bind(*arrays, **options)
        bound.apply_defaults()
        given = {n: v for n, v in bound.arguments.items() if n not in names}
        return along(given, {n: bound.arguments[TANGENT + n] for n in by})

    moving = [Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    taking = own.replace(parameters=[*moving, *own.parameters.values()])
    doc = (
        f"Return dy = sum_k (dy / d x[k]) v[k] over the elements k of {', '.join(by)} and their "
        f"tangents v.\n\nRaises:\n    ValueError: as `{forward.__name__}`.\n"
    )
    assert body is not None  # noqa: S101 - it was derived
    _named(formula, f"{forward.__name__}_jvp", taking, doc, body)
    composed(images="mixed", lanes=_in_lanes(formula), of_arrays=True)(formula)
    parts = {p.partition(":")[0].strip(" ?"): p.strip() for p in axes.text.split(";")}
    text = "; ".join([axes.text, *(TANGENT + parts[n] for n in by)])
    declare_axes(replace(axes, text=text), formula)
    return formula


def derived_pointwise(body: Body, *, rule: str = FIRST) -> Derived:
    """Return the formulas of a function of single numbers, of every element of an array z.

    It takes a number of any kind and options by keyword; its docstring has the equation.  `rule`
    is as `derived` takes it.
    """
    return _with_twins(partial(_of_numbers, body), rule)


def _of_numbers(body: Body, rule: str) -> Derived:
    """Return the formulas of a function of single numbers under a rule of ties."""
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
        result = body(Traced(number), **options)
        if result is None:
            raise TypeError(f"{body.__name__} returned None: return a number")
        return result.held if isinstance(result, Traced) else result

    def slope(dy: Any, number: Any, **options: Any) -> Any:
        given = Traced(number)
        with ties(rule):
            result = body(given, **options)
        if not isinstance(result, Traced):
            return 0
        times = partial(gradient, result, dy, given)  # dy first, or the slope
        return either(dy * gradient(result, 1, given), times)

    def results(z: Array, **options: Any) -> list[Array]:
        return [each(found.forward, value, options, z)]

    def by_arguments(arguments: Sequence[str], takes: Sequence[str]) -> Callable[..., list[Any]]:
        del arguments, takes

        def backward(grad_output: Array, z: Array, **options: Any) -> list[Array]:
            (formula,) = found.gradients
            return [each(formula, slope, options, grad_output, z)]

        return backward

    found = _declared(body, results, by_arguments, [axes], names[:1], "kept", pointwise=True)
    return found


def _all_at_once(formula: Formula, options: Mapping[str, Any], arrays: Sequence[Array]) -> Array:
    """Return what a formula makes of floats, walked once for all that take the same branches."""
    given = {n: a.ravel() for n, a in zip(argument_names(formula)[0], arrays, strict=True)}
    found, _ = pointwise(formula, {**given, **options}, given, NO_ROUNDING)
    with np.errstate(all="ignore"):
        return np.asarray(found.astype(arrays[0].dtype).reshape(arrays[0].shape))


def _declared(
    body: Body, results: Callable[..., list[Any]], by_arguments: Backwards, each: Sequence[Axes],
    by: By, images: Images, outputs: Sequence[str] = (), *, pointwise: bool = False,
) -> Derived:  # fmt: skip
    """Return the formulas with their names, signatures, docstrings, algebra and axes."""
    own, name, doc = signature(body), body.__name__, body.__doc__ or ""
    every, axes = [*own.parameters], each[0]

    def declared(formula: Formula, named: str, takes: Signature, doc: str, of: Images) -> Formula:
        _named(formula, named, takes, doc, body)
        lanes = None if pointwise else _in_lanes(formula)
        spread = bool(composed_of(body))
        composed(
            images=of, pointwise=pointwise, lanes=lanes, of_arrays=not pointwise, spread=spread
        )(formula)
        declare_axes(axes, formula)
        return formula

    def one_by(argument: str, named: str, takes: Sequence[str]) -> Formula:
        summed = images == "kept" and argument not in axes.batched
        text, of = _gradient_doc(body, forward, argument), "summed" if summed else images
        one = _only(by_arguments([argument], takes), 0, argument)
        return declared(one, named, _with_dy(own, takes), text, of)

    names = [f"{name}[{at}] ({one})" for at, one in enumerate(outputs)] or [name]
    forwards = [
        declared(_only(results, at), one, own, doc, _images_of(of, images))
        for at, (one, of) in enumerate(zip(names, each, strict=True))
    ]
    forward = forwards[0]
    if outputs:
        declare_parts(declared(_all(results), name, own, doc, "mixed"), dict.fromkeys(forwards))
        for one, of in zip(forwards, each, strict=True):
            declare_axes(of, one)
    short = f"{name}_grad"
    gradients = {
        one_by(n, short if len(by) == 1 else f"{short}_{n}", _takes(by, n, every)): n for n in by
    }
    if len(by) <= 1:
        return Derived(forward, gradients)
    ordered = [n for n in every if n in by]
    parts = {one_by(n, f"{name}_vjp[{at}] (d{n})", every): n for at, n in enumerate(ordered)}
    vjp, text = _all(by_arguments(ordered, every)), _vjp_doc(body, forward, ordered)
    declare_parts(declared(vjp, f"{name}_vjp", _with_dy(own, every), text, "mixed"), parts)
    part_of = {argument: part for part, argument in parts.items()}
    for one, argument in gradients.items():
        declare_same(one, part_of[argument])
    return Derived(forward, gradients, vjp)


def _takes(by: By, argument: str, every: Sequence[str]) -> Sequence[str]:
    """Return the arguments that the gradient by one is given, beside dy."""
    return by[argument] if isinstance(by, Mapping) else every


def _images_of(axes: Axes, images: Images) -> Images:
    """Return what becomes of the images in a result with these axes."""
    letters = axes.arrays.get(GRAD_OUTPUT, (IMAGES,))
    return images if letters[:1] == (IMAGES,) else "mixed"


def _all(results: Callable[..., list[Any]]) -> Formula:
    return lambda *arrays, **options: (*results(*arrays, **options),)  # type: ignore[return-value]


def _only(results: Callable[..., list[Any]], at: int, by: str = "") -> Formula:
    """Return the formula of one of several results.

    Raises, when it is called, ValueError where that is a gradient by None or by booleans.
    """

    def one(*arrays: Any, **options: Any) -> Any:
        found = results(*arrays, **options)[at]
        if found is None:
            raise ValueError(f"there is no gradient by {by}, which is None or of True and False")
        return found

    return one


def _with_dy(own: Signature, takes: Sequence[str]) -> Signature:
    """Return the signature of a gradient: dy, then what it takes of the forward formula's."""
    dy = Parameter(GRAD_OUTPUT, Parameter.POSITIONAL_OR_KEYWORD)
    return own.replace(parameters=[dy, *(p for n, p in own.parameters.items() if n in takes)])


def body_of(formula: Formula) -> Body | None:
    """Return the function that a derived formula is made of, None of others."""
    found: Body | None = getattr(formula, "__gradoracle_body__", None)
    return found


def decisions(
    formula: Formula, call: Mapping[str, Any], arithmetic: Arithmetic | None = None
) -> tuple[dict[str, Any], list[Decision]]:
    """Return the arguments of a derived formula, traced, and what it decides by on a call.

    In floats, or in numbers with the errors of an arithmetic.  A formula that was not derived
    decides nothing.
    """
    body = body_of(formula)
    if body is None:
        return {}, []
    given = {n: call[n] for n in signature(body).parameters if n in call}
    if arithmetic is not None:
        given = {
            n: Lanes(v.astype(np.float64), np.zeros(v.shape), arithmetic) if is_data(v) else v
            for n, v in given.items()
        }
    traced = _traced(given)
    with np.errstate(all="ignore"), deciding() as found:
        body(**traced)
    return traced, found


def composed_of(body: Body) -> Sequence[Formula]:
    """Return the formulas that a function of compositions is made of; none of others."""
    found: Sequence[Formula] = getattr(body, "__gradoracle_parts__", ())
    return found


def _in_lanes(formula: Formula) -> Callable[[Mapping[str, Any]], Any]:
    return lambda call: evaluate(formula, call)


def _results(body: Body, found: Any, count: int, *, named: bool) -> list[Any]:
    """Return the results of a formula.

    Raises:
        TypeError: they are not as many as were declared.
    """
    if found is None or (isinstance(found, tuple) and not named):
        raise TypeError(
            f"{body.__name__} returned {'None' if found is None else 'a tuple'}: return one array, "
            "or name several with outputs=(...)"
        )
    results = [*found] if named else [found]
    if len(results) != count:
        raise TypeError(f"{body.__name__} has {count} outputs, and returned {len(results)}")
    return results


def _is_shapeless(found: Any, axes: Axes) -> bool:
    """Return whether loops over no images left an empty result whose shape is not declared."""
    return not isinstance(found, TracedArray) and not found.size and GRAD_OUTPUT not in axes.arrays


def _of_images(
    axes: Axes, given: Mapping[str, Any], names: Sequence[str], count: int
) -> dict[str, Any]:
    """Return arguments that have no images with `count` images of ones.

    Raises:
        ValueError: they have images.
    """
    found = dict(given)
    for name in names:
        array, letters = given.get(name), axes.arrays[name]
        if array is None or IMAGES not in letters:
            continue
        at = letters.index(IMAGES)
        if array.shape[at]:
            raise ValueError("the formula returns an empty array")
        shape = [count if axis == at else side for axis, side in enumerate(array.shape)]
        if isinstance(array, TracedArray):
            found[name] = TracedArray(like(array.held, np.ones(shape)))
        else:
            found[name] = np.zeros(shape, array.dtype)
    return found


def _array(found: Any, axes: Axes, given: Mapping[str, Any], names: Sequence[str]) -> TracedArray:
    """Return a result as an array that remembers; one that no number is in, in its shape.

    Loops over no images leave such a one.
    """
    if isinstance(found, TracedArray):
        return found
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


def _vjp_doc(body: Body, forward: Formula, arguments: Sequence[str]) -> str:
    """Return the docstring of all gradients at once: the words of the first, about all."""
    first, names = arguments[0], ", ".join(f"d{n}" for n in arguments)
    found = _gradient_doc(body, forward, first).replace(
        f"Return d{first} = dE/d{first}, of its shape and dtype, from dy",
        f"Return ({names}), each of its argument's shape and dtype, or None by what is None, "
        "from dy",
    )
    return found.replace(f"{first}[k]),  for", f"{first}[k]), the others alike,  for")


def _traced(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with data as arrays that remember how they are used."""
    return {
        n: TracedArray(_held(v)) if isinstance(v, Lanes) or is_data(v) else v
        for n, v in given.items()
    }


def _of_ones(
    axes: Axes, names: Sequence[str], taken: Mapping[str, Any], grad_output: Any,
    arguments: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Return the arrays of a forward pass, ones for those that its gradient is not given."""
    sizes: dict[str, int] = {}
    received = axes.arrays.get(GRAD_OUTPUT)  # None: they say nothing of the result
    for name, array in {**taken, GRAD_OUTPUT: grad_output}.items():
        letters = axes.arrays.get(name, ())
        if array is not None and len(array.shape) == len(letters):
            sizes.update(zip(letters, array.shape, strict=True))
    given: dict[str, Any] = {}
    for name in names:
        if name in taken:
            given[name] = taken[name]
        elif name in axes.optional and name not in arguments:
            given[name] = None
        elif ANY_MORE in axes.arrays[name] and axes.arrays[name] == received:
            given[name] = _ones(tuple(grad_output.shape), grad_output)
        else:
            letters = axes.arrays[name]
            if not sizes.keys() >= {*letters} & {*(letters if received is None else received)}:
                raise ValueError(
                    f"grad_output must have the axes [{', '.join(received or letters)}], got shape "
                    f"{[*grad_output.shape]}"
                )
            # As no number of it matters, neither does how long it is along axes of its own.
            given[name] = _ones(tuple(sizes.get(one, 1) for one in letters), grad_output)
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
