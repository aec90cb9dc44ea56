"""Operators that other packages bring, beside those of this one.

A module that lists them in OPERATORS is named by an entry point of the group
`gradoracle.operators`, or by `--operators-from`, which is handed on in an environment variable:
every process of a run reads it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from gradoracle.conformance import OPERATORS_FROM
from gradoracle.conformance.operators.record import Operator
from gradoracle.oracle.declaration import output_of

GROUP = "gradoracle.operators"


class UnusableOperators(ValueError):
    """A module brings no operators that can be checked; the message says why."""


class Brought(NamedTuple):
    """What a module brings."""

    module: str
    operators: tuple[Operator, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """The module and those that its formulas stand in."""
        formulas = (f.__module__ for one in self.operators for f in one.formulas)
        return tuple(dict.fromkeys((self.module, *formulas)))


def from_outside(known: Iterable[Operator]) -> tuple[Brought, ...]:
    """Return the operators of all modules that are named.

    A module of an installed package that cannot be used leads to a warning, and is left out.

    Raises:
        UnusableOperators: one that `--operators-from` names cannot be used.
    """
    taken = {name for operator in known for name in _names(operator)}
    found: dict[str, Brought] = {}
    for path, is_installed in _paths():
        if path.partition(":")[0] in found:
            continue
        try:
            brought = _of_module(path, taken)
        except UnusableOperators as error:
            if not is_installed:
                raise
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
            continue
        found[brought.module] = brought
        taken |= {name for one in brought.operators for name in _names(one)}
    return tuple(found.values())


def operators_of(path: str) -> tuple[Operator, ...]:
    """Return the operators of one module or file.

    Raises:
        UnusableOperators: it has none that can be used.
    """
    return _of_module(path, set()).operators


def _paths() -> Iterator[tuple[str, bool]]:
    """Yield where operators are said to be, and whether an installed package says so."""
    for path in os.environ.get(OPERATORS_FROM, "").split(","):
        if path.strip():
            yield path.strip(), False
    for point in entry_points(group=GROUP):
        yield point.value, True


def _of_module(path: str, taken: set[str]) -> Brought:
    module, _, attribute = path.partition(":")
    try:
        home = _of_file(module) if module.endswith(".py") else import_module(module)
        value: Any = getattr(home, attribute or "OPERATORS", None)
        if value is None and not attribute:
            value = [one for one in vars(home).values() if isinstance(one, Operator)]
    except Exception as error:  # an import may raise anything
        raise UnusableOperators(
            f"operators from {path!r}: {type(error).__name__}: {error}; name a module that can be "
            "imported and makes operators by gradoracle.operator, or lists records in OPERATORS"
        ) from error
    operators = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not operators or value is None:
        raise UnusableOperators(
            f"operators from {path!r}: there are none; decorate a formula with "
            "gradoracle.operator, or list records in OPERATORS"
        )
    for one in operators:
        if not isinstance(one, Operator):
            raise UnusableOperators(
                f"operators from {path!r}: a {type(one).__name__} is no gradoracle.extend.Operator"
            )
        clash = taken & {*_names(one)}
        if clash:
            raise UnusableOperators(
                f"operators from {path!r}: {min(clash)!r} is already an operator's function"
            )
    return Brought(home.__name__, operators)


def _of_file(path: str) -> Any:
    """Return the module that a file holds, under the file's name; its folder can be imported from.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: another module has the file's name.
    """
    file = Path(path).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    home = import_module(file.stem)
    if Path(home.__file__ or "").resolve() != file:
        raise ImportError(f"another module is named {file.stem!r}; rename the file")
    return home


def _names(operator: Operator) -> Iterator[str]:
    for formula in operator.formulas:
        yield output_of(formula).function
