"""Which arguments of the protocol a callable takes, and how it is called with them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

ALIASES = {"axis": "dim"}  # what else an option is called
BIAS = re.compile("b|bias|b_.*|bias_.*")
BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
STARS = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
WRITTEN = re.compile(r"\s*\w+(\(.*?\))\s*(->.*)?$", re.MULTILINE)  # a docstring's first line


@dataclass(frozen=True)
class Taken:
    """A callable, and which of its parameters are arrays and options of the protocol.

    `arrays` and `options` map the protocol's names to the callable's own.  `needed` are optional
    arrays that it has no default for.  With `by_place` it takes nothing by name, as the `apply` of
    an autograd function does.
    """

    function: Callable[..., Any]
    label: str
    parameters: tuple[Parameter, ...]
    arrays: Mapping[str, str]
    options: Mapping[str, str]
    needed: tuple[str, ...] = ()
    by_place: bool = False

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Call it with the arrays and options of a call that it takes, by the protocol's names.

        Raises:
            NotImplementedError: an array that it needs is None.
        """
        for name in self.needed:
            if values.get(name) is None:
                raise NotImplementedError(f"{name}=None: {self.label} has no default for it")
        own = {**self.arrays, **self.options}
        given = {own[n]: v for n, v in values.items() if n in own and not self._left_out(n, v)}
        positional = []
        for one in self.parameters[: self._by_place(given)]:
            if one.kind not in BY_PLACE or not (one.name in given or self.by_place):
                break
            positional.append(given.pop(one.name, one.default))
        return self.function(*positional, **given)

    def _by_place(self, given: Mapping[str, Any]) -> int:
        """Return how many of the parameters may be given by their places.

        Up to the last array: options have their names.  What PyTorch's docstrings list in a row may
        be by name only, such as gelu's `approximate`.
        """
        if self.by_place:
            return len(self.parameters)
        arrays = {*self.arrays.values()} & {*given}
        only = Parameter.POSITIONAL_ONLY
        return max(
            (at for at, one in enumerate(self.parameters, 1) if one.name in arrays
             or (one.kind is only and one.name in given)), default=0,
        )  # fmt: skip

    def _left_out(self, name: str, value: Any) -> bool:
        """Return whether an argument is absent: an optional array, for which it has a default."""
        return value is None and name in self.arrays


def taken(
    function: Callable[..., Any], arrays: Sequence[str], optional: Sequence[str],
    options: Sequence[str], *, label: str = "", by_place: bool = False,
    written: Callable[..., Any] | None = None,
) -> Taken:  # fmt: skip
    """Return what a callable takes of a function of the protocol.

    Its arrays come first, in the protocol's order and under any names; its options have the
    protocol's names, or PyTorch's.  `written` is the function whose signature counts, if it is
    another one.

    Raises:
        ValueError: it takes too few arrays, or needs an argument that the protocol does not have.
    """
    label = label or getattr(function, "__name__", "") or type(function).__name__
    found = parameters_of(written or function)
    if found is None:  # it does not say: all there is, by the protocol's names
        found = _everything(arrays, optional)
    own = _options(found, options)
    places = [p for p in found if p.kind in BY_PLACE and p.name not in own.values()]
    needs = [name for name in arrays if name not in optional]
    if len(places) < len(needs):
        raise ValueError(
            f"{label} must take the arrays {', '.join(needs)}; it takes {_shown(found)}"
        )
    named = dict(zip(needs, (p.name for p in places), strict=False))
    rest = places[len(needs) :]
    for name in optional:
        if rest and _is_for(name, rest[0]):
            named[name] = rest.pop(0).name
    used = {*named.values(), *own.values()}
    for one in found:
        if one.kind not in STARS and one.default is Parameter.empty and one.name not in used:
            raise ValueError(
                f"{label} needs an argument {one.name!r}, which is none of {', '.join(options)}"
            )
    empty = {p.name for p in found if p.default is Parameter.empty}
    needed = tuple(n for n in optional if named.get(n) in empty)
    return Taken(function, label, found, named, own, needed, by_place)


def _is_for(name: str, parameter: Parameter) -> bool:
    """Return whether a parameter takes an optional array: by its place, or by what it is called."""
    if parameter.default is Parameter.empty or parameter.name == name:
        return True
    return name == "bias" and BIAS.fullmatch(parameter.name) is not None


def _everything(arrays: Sequence[str], optional: Sequence[str]) -> tuple[Parameter, ...]:
    kind, empty = Parameter.POSITIONAL_ONLY, Parameter.empty
    found = [Parameter(n, kind, default=None if n in optional else empty) for n in arrays]
    return *found, Parameter("options", Parameter.VAR_KEYWORD)


def _options(found: Sequence[Parameter], options: Sequence[str]) -> dict[str, str]:
    """Return the options that are among some parameters, with the names they have there."""
    names = {p.name for p in found if p.kind not in STARS}
    anything = any(p.kind is Parameter.VAR_KEYWORD for p in found)
    own = {}
    for option in options:
        alias = ALIASES.get(option, option)
        if option in names or alias in names:
            own[option] = option if option in names else alias
        elif anything:
            own[option] = option
    return own


def parameters_of(function: Callable[..., Any]) -> tuple[Parameter, ...] | None:
    """Return a callable's parameters, by its signature or the first line of its docstring.

    Functions of C++ and PyTorch's `boolean_dispatch` say them only there. None: neither says.
    """
    try:
        found = tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        found = ()
    if found and not all(p.kind in STARS for p in found):
        return found
    line = WRITTEN.match((function.__doc__ or "").lstrip())
    try:
        return _parsed(line[1]) if line else None
    except SyntaxError:
        return None


def _parsed(written: str) -> tuple[Parameter, ...]:
    """Return the parameters that a text such as `(input, weight, bias=None)` lists."""
    tree = ast.parse(f"def f{written}: ...").body[0]
    assert isinstance(tree, ast.FunctionDef)  # noqa: S101
    names = [one.arg for one in (*tree.args.posonlyargs, *tree.args.args)]
    without = len(names) - len(tree.args.defaults)
    found = [
        Parameter(
            name, Parameter.POSITIONAL_OR_KEYWORD, default=Parameter.empty if at < without else None
        )
        for at, name in enumerate(names)
    ]
    found += [
        Parameter(
            one.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if value is None else None
        )
        for one, value in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True)
    ]
    return tuple(found)


def _shown(found: Sequence[Parameter]) -> str:
    return f"({', '.join(map(str, found))})"
