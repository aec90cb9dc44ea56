"""What all adapters share: the protocol's functions over callables that take a part of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias

import numpy as np

from gradoracle.conformance.backends.adapters.parameters import Taken, taken
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.domain import DEFAULTS, REQUIRED, has_neutral
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.registered import made_with
from gradoracle.oracle.axes import OF_A_GROUP
from gradoracle.oracle.declaration import (
    Chained,
    Formula,
    algebra,
    argument_names,
    optional,
    output_of,
)
from gradoracle.oracle.expected.truth import answer_shape

Function: TypeAlias = Callable[..., Any]
Shape: TypeAlias = tuple[int, ...]
GRADIENT = "grad_output"
NEEDS = "needs"  # of an adapted function: optional arrays that it has no default for
OUTPUT_SIZE = "output_size"  # an option that is the result's pixels, which a gradient sees in dy
KNOWN = {o.name: o for o in OPERATORS if not isinstance(algebra(o.formula), Chained)}
# Of every function of the protocol: its operator, and the formula that says its arguments.
FORMULAS: dict[str, tuple[Operator, Formula]] = {}
for _operator in KNOWN.values():
    for _formula in _operator.formulas:
        FORMULAS.setdefault(output_of(_formula).function, (_operator, _formula))


class Engine(Protocol):
    """A library that differentiates its own functions."""

    def zeros(self, shape: Shape, like: Any) -> Any:
        """Return an array of zeros in the dtype and on the device of another."""

    def vjp(self, function: Function, at: Any, grad_output: Any | None) -> Any:
        """Return dE/d(at) where dE/d(function(at)) is `grad_output`, or 1 if that is None."""


def backend(
    adapter: str, functions: Mapping[str, Function], *, dtypes: Sequence[str] | None = None,
    contract: Mapping[str, Any] | None = None, policies: Mapping[str, str] | None = None,
    **more: Any,
) -> SimpleNamespace:  # fmt: skip
    """Return the backend of some functions; `contract` adds to what `dtypes` and `policies` say.

    It is called after its adapter where no other name is known.
    """
    claims: dict[str, Any] = {
        "policies": {**(policies or {}), **(contract or {}).get("policies", {})}
    }
    if dtypes is not None:
        claims["dtypes"] = [*dtypes]
    if domains := _with_needs(functions, (contract or {}).get("domain", {})):
        claims["domain"] = domains
    named = type(f"adapt.{adapter}", (SimpleNamespace,), {})
    made: SimpleNamespace = named(contract={**(contract or {}), **claims}, **functions, **more)
    return made


def _with_needs(functions: Mapping[str, Function], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the domains: those declared, and that an array without a default is required.

    What is declared of an operator holds for a gradient that gets an entry of its own by this.
    """
    found = dict(declared)
    for name, function in functions.items():
        of = FORMULAS[name][0].name if name in FORMULAS else name
        for one in getattr(function, NEEDS, ()):
            entry = found.get(name, declared.get(of, {}))
            if isinstance(entry, Mapping):
                found[name] = {one: REQUIRED, **entry}
            elif one not in entry.split():
                found[name] = f"{entry}, {one} {REQUIRED}"
    return found


def bring(operators: Sequence[Operator]) -> None:
    """Let the functions of operators that a module brings be adapted, too."""
    for operator in operators:
        KNOWN.setdefault(operator.name, operator)
        for formula in operator.formulas:
            FORMULAS.setdefault(output_of(formula).function, (operator, formula))


def _bring_own(function: str) -> None:
    """Let a function of an operator that this program has made be adapted: the last of its name."""
    operator = made_with(function)
    earlier = FORMULAS.get(function, (operator,))[0]
    if operator is None or (earlier is not operator and earlier not in OPERATORS.own):
        return
    OPERATORS.add(operator)
    KNOWN[operator.name] = operator
    for formula in operator.formulas:
        FORMULAS[output_of(formula).function] = operator, formula


def require_known(names: Mapping[str, Any], adapter: str) -> None:
    """Raise ValueError where there is nothing, or a name that the protocol does not have."""
    if not names:
        raise ValueError(
            f"adapt.{adapter} needs a function by the protocol's name, such as conv2d=my_conv"
        )
    for name, function in names.items():
        _bring_own(name)
        if name not in FORMULAS:
            near = difflib.get_close_matches(name, FORMULAS, n=1, cutoff=0.8)
            guess = f" (did you mean {near[0]!r}?)" if near else _own_functions(name)
            raise ValueError(
                f"no operator has a function {name!r}{guess}. `gradoracle explain` lists all: give "
                "yours one of these names, as in conv2d=my_conv. An operator of your own is made "
                "first, by gradoracle.compose or gradoracle.operator, or its module is named by "
                "--operators-from"
            )
        if not callable(function):
            raise ValueError(f"{name} must be a callable, got {function!r}")
        if adapter != "torch":  # which takes classes of modules
            refuse_class(name, function)


def _own_functions(name: str) -> str:
    """Return the functions of the operator that a name begins with, in words, or ""."""
    begins = {one.name for one, _ in FORMULAS.values() if name.startswith(f"{one.name}_")}
    whose = max(begins, key=len, default="")
    own = [function for function, (one, _) in FORMULAS.items() if one.name == whose]
    return f" (those of {whose} are {', '.join(own)})" if own else ""


def refuse_class(name: str, function: Any, why: str = "") -> None:
    """Raise ValueError where a class is given in place of a function, with one that would do."""
    if not isinstance(function, type):
        return
    arrays, may_be_none, _ = arguments_of(name)
    given = ", ".join(f"{n}=None" if n in may_be_none else n for n in arrays)
    called = "forward" if hasattr(function, "forward") else "..."
    raise ValueError(
        f"{name} must be a function, got the class {function.__name__}{why}: write one that uses "
        f"it, as in def {name}({given}): return {function.__name__}(...).{called}({arrays[0]})"
    )


def among(namespaces: Sequence[Any], functions: Mapping[str, Function]) -> dict[str, Function]:
    """Return the callables that some modules have under the protocol's names, and those given."""
    found = {
        name: getattr(one, name)
        for one in namespaces
        for name in FORMULAS
        if callable(getattr(one, name, None))
    }
    return found | dict(functions)


def arguments_of(name: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the arrays of a function of the protocol, those that may be None, and its options."""
    _, formula = FORMULAS[name]
    positional, options = argument_names(formula)
    return positional, optional(formula), options


def require_options(name: str, it: Taken) -> None:
    """Raise ValueError unless a callable takes every option without a neutral value."""
    operator, formula = FORMULAS[name]
    for option in arguments_of(name)[2]:
        known = option in it.options or option in operator.axes.shapes
        if not (known or has_neutral(formula, option)):
            shown = ", ".join(map(str, it.parameters))
            raise ValueError(
                f"{name}: {it.label}({shown}) needs a parameter named {option!r}; an option is "
                "passed by that name, and this one has no default"
            )


def forward(name: str, it: Taken, call: Callable[[Mapping[str, Any]], Any]) -> Function:
    """Return a callable as the protocol's function `name`; `call` takes arguments by name."""
    require_options(name, it)
    positional = arguments_of(name)[0]

    def function(*arrays: Any, **options: Any) -> Any:
        given = _named(name, positional, arrays)
        for one, value in given.items():
            if one not in it.arrays and value is not None:
                raise NotImplementedError(f"{it.label} takes no {one}")
        return call({**given, **only_taken(name, it, options)})

    return described(name, function, it)


def gradient(name: str, by: str, it: Taken, engine: Engine) -> Function:
    """Return the protocol's gradient `name` by an argument, of a callable that does the forward."""
    operator, formula = FORMULAS[name]
    positional, wanted = argument_names(formula)

    def function(*arrays: Any, **options: Any) -> Any:
        given = _named(name, positional, arrays)
        taken = only_taken(name, it, options)
        grad_output = given.pop(GRADIENT, None)
        like = next(v for v in (grad_output, *given.values()) if v is not None)
        known = {**given, **({} if grad_output is None else {GRADIENT: grad_output})}
        full = dict(given)
        for one in it.arrays:
            if one not in full and (
                one == by or one not in operator.axes.optional or one in it.needed
            ):
                shape = _shape(operator, one, known, options)
                if one == by and not _is_told(operator, by, options):
                    shape = _shape_of_answer(formula, known, options) or shape
                full[one] = engine.zeros(shape, like)
        ranks = (0,) * operator.axes.rank
        for option in it.options:
            if option not in wanted and option in operator.axes.neutral:
                taken[option] = _neutral(operator, option, ranks)
            elif option not in wanted and option in DEFAULTS:
                taken[option] = DEFAULTS[option]
            elif option not in wanted and option == OUTPUT_SIZE and grad_output is not None:
                taken[option] = tuple(grad_output.shape[2:])
        if grad_output is not None and by not in given and 0 in grad_output.shape:
            return full[by]  # zeros: libraries refuse images without pixels
        values = {**full, **taken}
        return engine.vjp(lambda at: it({**values, by: at}), full[by], grad_output)

    return described(name, function, it)


def differentiated(engine: Engine, functions: Mapping[str, Function]) -> dict[str, Function]:
    """Return functions and their gradients but those by indices, by the protocol's names."""
    made = dict[str, Function]()
    for name, function in functions.items():
        it = taken(function, *arguments_of(name))
        made[name] = forward(name, it, it)
        gradients = KNOWN[name].gradients if name in KNOWN else {}
        for formula, by in gradients.items():
            one = output_of(formula).function
            if by in it.arrays and "indices" not in argument_names(formula)[0]:
                made.setdefault(one, gradient(one, by, it, engine))
    return made


def autodiff(
    engine: Engine, *namespaces: Any, dtypes: Sequence[str] | None = None,
    contract: Mapping[str, Any] | None = None, **functions: Function,
) -> SimpleNamespace:  # fmt: skip
    """Return the backend of functions of a library, with the gradients that an engine takes.

    Where the library has arrays of its own, the engine has `from_numpy` and `to_numpy`, too.

    Raises:
        ValueError: a name or a signature that the protocol does not have.
    """
    given = among(namespaces, functions)
    require_known(given, "autodiff")
    converters = ("from_numpy", "to_numpy")
    more = {name: getattr(engine, name) for name in converters if hasattr(engine, name)}
    made = differentiated(engine, given)
    return backend("autodiff", made, dtypes=dtypes, contract=contract, **more)


def _neutral(operator: Operator, option: str, ranks: tuple[int, ...]) -> Any:
    """Return an option's neutral value, as a call would give it."""
    value = operator.axes.neutral[option]
    alone = isinstance(value, bool) or option == "groups"
    return value if alone else operator.axes.neutral_of(option, ranks)


def _named(name: str, positional: Sequence[str], arrays: Sequence[Any]) -> dict[str, Any]:
    if len(arrays) > len(positional):
        raise TypeError(f"{name} takes the arrays {', '.join(positional)}, got {len(arrays)}")
    return dict(zip(positional, arrays, strict=False))


def _shape(
    operator: Operator, name: str, given: Mapping[str, Any], options: Mapping[str, Any]
) -> Shape:
    """Return the shape of an array that a gradient is not given.

    An option says it, or the axes that it shares with the arrays that are given.  All others are 1
    long: a bias is added alike to any sum of zeros.
    """
    axes = operator.axes
    for option, array in axes.shapes.items():
        if array == name and option in options:
            return tuple(options[option])
    sizes: dict[str, int] = {}
    for array, letters in axes.arrays.items():
        if given.get(array) is not None and len(given[array].shape) == len(letters):
            sizes |= dict(zip(letters, given[array].shape, strict=True))
    if name in axes.batched:
        pixels = (axes.arrays[name][at] for at in axes.space[name])
        windows = (axes.arrays[GRADIENT][at] for at in axes.space[GRADIENT])
        sizes |= {pixel: sizes[window] for pixel, window in zip(pixels, windows, strict=True)}
    return tuple(
        sizes.get(one, sizes.get(one.removesuffix(OF_A_GROUP), 1)) for one in axes.arrays[name]
    )


def _is_told(operator: Operator, name: str, options: Mapping[str, Any]) -> bool:
    """Return whether an option is the shape of an array."""
    return any(array == name and n in options for n, array in operator.axes.shapes.items())


def _shape_of_answer(
    formula: Formula, given: Mapping[str, Any], options: Mapping[str, Any]
) -> Shape | None:
    """Return the shape of what a formula gives, None where it is not given all that it takes."""
    arrays, wanted = argument_names(formula)
    if any(given.get(n) is None for n in arrays) or not {*wanted} <= {*options}:
        return None
    blank = {n: np.broadcast_to(_zero_of(given[n].dtype), tuple(given[n].shape)) for n in arrays}
    return answer_shape(formula, {**blank, **{n: options[n] for n in wanted}})


def _zero_of(dtype: Any) -> np.generic:
    """Return a 0 of booleans, indices or numbers, as a dtype of any library says by its name."""
    name = str(dtype)
    kind = np.bool_ if "bool" in name else np.int64 if "int" in name else np.float64
    return kind(0)


def only_taken(name: str, it: Taken, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a callable takes.

    Raises:
        NotImplementedError: another one has more than its neutral value.
    """
    axes = FORMULAS[name][0].axes
    for option, value in options.items():
        if option in it.options or option in axes.shapes:
            continue
        if option not in axes.neutral:
            raise TypeError(f"{name} has no option {option!r}")
        if value != axes.neutral_of(option, value):
            raise NotImplementedError(f"{option}={value}: {it.label} takes no {option}")
    return {option: value for option, value in options.items() if option in it.options}


def described(name: str, function: Function, it: Taken) -> Function:
    """Return the function with its name, and the protocol's signature without what it lacks."""
    positional, may_be_none, options = arguments_of(name)
    forward_arrays = {*it.arrays, GRADIENT}
    parameters = [
        Parameter(
            one, Parameter.POSITIONAL_OR_KEYWORD,
            default=None if one in may_be_none and one not in it.needed else Parameter.empty,
        )
        for one in positional
        if one in forward_arrays or one not in may_be_none
    ]  # fmt: skip
    shapes = FORMULAS[name][0].axes.shapes
    parameters += [
        Parameter(one, Parameter.KEYWORD_ONLY)
        for one in options
        if one in it.options or one in shapes
    ]
    function.__name__ = function.__qualname__ = name
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    setattr(function, NEEDS, tuple(one for one in positional if one in it.needed))
    owner = getattr(it.function, "__self__", it.function)  # an autograd function, or a module
    written = getattr(owner, "forward", it.function)
    function.__wrapped__ = written  # type: ignore[attr-defined] # which says where it is
    return function
