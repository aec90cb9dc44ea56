"""All operators of a process: those of the suite, of other packages, and of the program itself.

Tables of all operators are read through `Operators.table` and `Operators.names`, which look again
when a program has added one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, overload

from gradoracle.conformance.operators.outside import Brought
from gradoracle.conformance.operators.record import Operator
from gradoracle.oracle.declaration import output_of

Value = TypeVar("Value")
MADE: dict[str, Operator] = {}  # by `gradoracle.operator` and `compose`, the last of each name


def made(operator: Operator) -> Operator:
    """Return an operator that a program has made, and remember it by its name."""
    MADE[operator.name] = operator
    return operator


def made_with(function: str) -> Operator | None:
    """Return the operator of the program with this function, or None."""
    return next((one for one in MADE.values() if function in functions_of(one)), None)


def functions_of(operator: Operator) -> frozenset[str]:
    """Return the names of the functions of an operator."""
    return frozenset(output_of(formula).function for formula in operator.formulas)


class Operators(Sequence[Operator]):
    """The operators that a run may check; a program may add its own."""

    def __init__(self, shipped: Iterable[Operator], brought: Iterable[Brought]) -> None:
        """Begin with those of the suite and of the modules that are named."""
        self.brought = [*brought]
        self._fixed = (*shipped, *(one for of in self.brought for one in of.operators))
        self._own: dict[str, Operator] = {}
        self.version = 0  # how often one was added

    @property
    def own(self) -> tuple[Operator, ...]:
        """Those that the program has added."""
        return tuple(self._own.values())

    def add(self, operator: Operator) -> None:
        """Add an operator of this program, in place of an earlier one of its name.

        Raises:
            ValueError: one of its functions is another operator's.
        """
        if operator in self:
            return
        others = (one for one in self if one is not self._own.get(operator.name))
        taken = {name for one in others for name in functions_of(one)}
        if clash := taken & functions_of(operator):
            raise ValueError(f"{min(clash)!r} is already an operator's function")
        earlier = self._own.get(operator.name)
        self.brought[:] = [
            one for one in self.brought if all(its is not earlier for its in one.operators)
        ]
        self._own[operator.name] = operator
        self.brought.append(Brought(operator.formula.__module__, (operator,)))
        self.version += 1

    def table(self, make: Callable[[], dict[str, Value]]) -> Table[Value]:
        """Return what `make` says of all operators, now and when there are more."""
        return Table(self, make)

    def names(self, make: Callable[[], Iterable[str]]) -> Names:
        """Return the names that `make` yields, now and when there are more."""
        return Names(self.table(lambda: dict.fromkeys(make())))

    def __contains__(self, operator: object) -> bool:
        """Return whether it is one of them, and not only equal to one."""
        return any(one is operator for one in self)

    def __iter__(self) -> Iterator[Operator]:
        """Yield those of the suite first, those of the program last."""
        yield from self._fixed
        yield from self._own.values()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._fixed) + len(self._own)

    @overload
    def __getitem__(self, at: int) -> Operator: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Operator]: ...
    def __getitem__(self, at: int | slice) -> Operator | Sequence[Operator]:
        """Return one of them, or some."""
        return (*self,)[at]


class Table(Mapping[str, Value]):
    """What is known of every operator, by a name."""

    def __init__(self, operators: Operators, make: Callable[[], dict[str, Value]]) -> None:
        """Look first when it is asked for."""
        self._operators, self._make = operators, make
        self._version, self._known = -1, dict[str, Value]()

    def _now(self) -> dict[str, Value]:
        if self._version != self._operators.version:
            self._known, self._version = self._make(), self._operators.version
        return self._known

    def __getitem__(self, name: str) -> Value:
        """Return what is known by this name; KeyError: nothing."""
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names, in the order of the operators."""
        return iter(self._now())

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._now())


class Names(Sequence[str]):
    """Names that operators give, each once."""

    def __init__(self, table: Table[None]) -> None:
        """Take the names of a table."""
        self._table = table

    def __contains__(self, name: object) -> bool:
        """Return whether it is one of them."""
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        """Yield them in the order of the operators."""
        return iter(self._table)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._table)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        """Return one of them, or some."""
        return (*self._table,)[at]
