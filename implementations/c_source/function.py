"""Calling one function of C: its arguments as it declares them, arrays between margins."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradoracle.implementations.c_source.held import Held
from gradoracle.implementations.c_source.library import Library
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.signatures import Parameter, signature


class StrayWrite(RuntimeError):
    """A function wrote outside its arrays, or to an array that cannot be written."""


class Function:
    """A function of a library; a call is given arrays, numbers and None, which is a null pointer.

    Raises:
        SourceError: the text does not declare it, or what it takes or returns is no number.
    """

    def __init__(self, name: str, where: str, library: Library) -> None:
        """Read its declaration; `where` is the comment that calls it."""
        self.name, self.where = name, where
        found = signature(library.text, name)
        if found is None:
            raise SourceError(
                f"{where}: no declaration such as  void {name}(const float *z, int n)"
            )
        self.signature = found
        kinds = [self._kind(parameter) for parameter in found.parameters]
        returned = None if found.returns is None else self._kind(found.returns)
        self.gives_result = found.returns is not None and _is_float(found.returns)
        self._function = ctypes.CFUNCTYPE(returned, *kinds)(library.address(name))

    def _kind(self, parameter: Parameter) -> Any:
        if parameter.is_pointer_to_pointers:
            raise self._misfit(f"{parameter.text!r} is a pointer to pointers, not to numbers")
        if parameter.pointer:
            return ctypes.c_void_p
        if parameter.dtype is None:
            raise self._misfit(f"{parameter.text!r} is neither a number nor a pointer to numbers")
        return np.ctypeslib.as_ctypes_type(parameter.dtype)

    def __call__(self, values: Sequence[Any]) -> Any:
        """Call it and return what it returns.

        Raises:
            SourceError: the values are not what it takes.
            StrayWrite: it wrote where it may not.
        """
        parameters = self.signature.parameters
        if len(values) != len(parameters):
            raise self._misfit(f"it takes {len(parameters)} arguments, {len(values)} are given")
        held: dict[int, Held] = {}
        arguments = [
            self._passed(i, value, parameter, held)
            for i, (value, parameter) in enumerate(zip(values, parameters, strict=True))
        ]
        returned = self._function(*arguments)
        for one in held.values():
            if stray := one.given_back():
                raise StrayWrite(f"{self.name}: {stray} argument {one.place} ({one.text})")
        return returned

    def _passed(self, i: int, value: Any, parameter: Parameter, held: dict[int, Held]) -> Any:
        what = f"argument {i}, {parameter.text!r},"
        if not parameter.pointer:
            return self._number(what, value, parameter)
        if value is None:
            return None
        if not isinstance(value, np.ndarray):
            raise self._misfit(f"{what} is a pointer, got {value!r}")
        # Not `in (None, ...)`: np.dtype("float64") == None is True.
        if parameter.dtype is not None and parameter.dtype != value.dtype:
            raise self._misfit(f"{what} points to {parameter.dtype}, got an array of {value.dtype}")
        if id(value) not in held:
            held[id(value)] = Held(value, i, parameter.text)
        return held[id(value)].address

    def _number(self, what: str, value: Any, parameter: Parameter) -> Any:
        if not isinstance(value, (bool, int, float, np.generic)):
            raise self._misfit(f"{what} is a number, got {type(value).__name__}")
        number = value.item() if isinstance(value, np.generic) else value
        if _is_float(parameter):
            return float(number)
        if not isinstance(number, int):
            raise self._misfit(f"{what} is an integer, got {number!r}")
        dtype = parameter.dtype
        if dtype is not None and dtype.kind != "b":
            limits = np.iinfo(dtype)
            if not limits.min <= number <= limits.max:
                raise self._misfit(f"{what} is of {dtype}, {number} does not fit")
        return number

    def _misfit(self, text: str) -> SourceError:
        return SourceError(f"{self.where}: {self.name}: {text}")


def _is_float(parameter: Parameter) -> bool:
    return parameter.dtype is not None and parameter.dtype.kind == "f" and not parameter.pointer
