"""What a planted fault is, and the tables of all faults and controls.

A fault is im2col with one idea gone wrong.  `kind` is the class of fault; where somebody shipped
it, `seen` names the public issue.  Controls are other right ways to compute the same, which must
never be flagged.  Each is a function named `<function of the protocol>_<what is special>`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import output_of

Function = Callable[..., Any]
FULL = {name: name for name in FUNCTIONS}


def family(name: str) -> tuple[str, ...]:
    """The functions of the operator that a function belongs to, the forward pass first.

    Of those that return all gradients at once, im2col has some.
    """
    families = ([output_of(f).function for f in operator.formulas] for operator in OPERATORS)
    found = next(dict.fromkeys(names) for names in families if name in names)
    return tuple(n for n in found if hasattr(good, n) or not n.endswith("_vjp"))


class Fault(NamedTuple):
    kind: str
    function: str  # the one that is wrong
    make: Callable[[], Function]  # a fresh one, for those that remember
    seen: str = ""
    contract: Mapping[str, Any] | None = None

    def backend(self) -> SimpleNamespace:
        """The whole operator, one of its functions wrong."""
        return self._among(family(self.function))

    def alone(self) -> SimpleNamespace:
        """The wrong function only: no time is spent on what is right."""
        return self._among((self.function,))

    def _among(self, names: tuple[str, ...]) -> SimpleNamespace:
        built = backend(names, **{self.function: self.make()})
        built.contract = refusing(self.contract)
        return built


class Control(NamedTuple):
    function: str
    replaced: Function
    contract: Mapping[str, Any] | None

    def backend(self) -> SimpleNamespace:
        """The function beside the forward pass, or alone if it has a contract of its own."""
        forward = family(self.function)[:1] if self.contract is None else ()
        built = backend((*forward, self.function), **{self.function: self.replaced})
        built.contract = refusing(self.contract)
        return built


FAULTS: dict[str, Fault] = {}
CONTROLS: dict[str, Control] = {}
# What the suite does not check as it should yet, and why; none of it is in the tables above.
GAPS: dict[str, tuple[Fault, str]] = {}
DISPUTED: dict[str, tuple[Control, str]] = {}


def backend(names: tuple[str, ...], **replaced: Function) -> SimpleNamespace:
    return SimpleNamespace(**{n: replaced.get(n, getattr(good, n)) for n in names})


def refusing(contract: Mapping[str, Any] | None) -> dict[str, Any]:
    """A contract that claims, too, that bad arguments are refused, as im2col does."""
    claimed = contract or {}
    return {**claimed, "policies": {"bad_arguments": "raise", **claimed.get("policies", {})}}


def target(planted: str, names: Mapping[str, str]) -> str:
    """The function of the protocol that a planted one is named after."""
    prefix = max((n for n in names if planted.startswith(n + "_")), key=len)
    return names[prefix]


def checked(name: str, function: Function) -> Function:
    """A function that refuses what im2col's refuses: what is wrong about it is its answer."""

    def made(*arrays: Any, **o: Any) -> Any:
        getattr(good, name)(*arrays, **o)
        return function(*arrays, **o)

    return made


def add(name: str, planted: Fault) -> None:
    """Add a fault to the table."""
    assert name not in FAULTS, name
    FAULTS[name] = planted


def fault(
    kind: str, seen: str = "", *, fresh: bool = False, names: Mapping[str, str] = FULL,
    contract: Mapping[str, Any] | None = None,
) -> Callable[[Function], Function]:  # fmt: skip
    """Plant a function; `fresh` ones build it anew."""

    def plant(function: Function) -> Function:
        name = function.__name__
        make = function if fresh else lambda: function
        add(name, Fault(kind, target(name, names), make, seen, contract))
        return function

    return plant


def gap(kind: str, reason: str, seen: str = "", *, fresh: bool = False) -> Any:
    """Plant a function that the suite does not catch: it is in no table, but in GAPS with why."""

    def plant(function: Function) -> Function:
        name = function.__name__
        assert name not in GAPS, name
        make = function if fresh else lambda: function
        GAPS[name] = Fault(kind, target(name, FULL), make, seen), reason
        return function

    return plant


def control(
    function: Function | None = None,
    *,
    contract: Mapping[str, Any] | None = None,
    names: Mapping[str, str] = FULL,
) -> Any:
    """Add a control; im2col refuses bad arguments for it, so that it is about the sum alone."""
    if function is None:
        return partial(control, contract=contract, names=names)
    name = target(function.__name__, names)

    assert function.__name__ not in CONTROLS, function.__name__
    added = Control(name, checked(name, function), contract)
    CONTROLS[function.__name__] = added
    return function


def with_option(name: str, option: str, change: Callable[[Any], Any]) -> Function:
    """A right function that misreads one option, where that gives an answer of the right shape."""

    def wrong(*arrays: Any, **o: Any) -> Any:
        right = getattr(good, name)(*arrays, **o)
        with suppress(ValueError):
            result = getattr(good, name)(*arrays, **{**o, option: change(o[option])})
            if result.shape == right.shape:
                return result
        return right

    return wrong


def exchanged(pair: tuple[int, int]) -> tuple[int, int]:
    return pair[::-1]


def first_twice(pair: tuple[int, int]) -> tuple[int, int]:
    return pair[0], pair[0]


def fitted(array: Any, shape: tuple[int, ...]) -> Any:
    """An array cropped or filled up with zeros at its ends."""
    whole = np.zeros(shape, array.dtype)
    common = tuple(slice(min(a, b)) for a, b in zip(array.shape, shape, strict=True))
    whole[common] = array[common]
    return whole


def remembered(cache: dict[Any, Any], array: Any) -> Any:
    """The buffer of a shape and dtype, the same one every time: zeros at first."""
    return cache.setdefault((array.shape, array.dtype), np.zeros_like(array))


def half(array: Any) -> Any:
    """An array rounded to float16, in its own dtype."""
    return array.astype(np.float16).astype(array.dtype)


def single(array: Any) -> Any:
    """An array rounded to float32, in its own dtype."""
    return array.astype(np.float32).astype(array.dtype)
