"""One call of a function that comments plan: check the shapes, allocate the results, launch."""

import ast
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations import hostcuda
from gradoracle.implementations.cuda_source import by_axes
from gradoracle.implementations.cuda_source.by_axes import LABELLED
from gradoracle.implementations.cuda_source.comments import SLOT, Launch, Plan
from gradoracle.implementations.cuda_source.expressions import NUMBERS, SourceError, value
from gradoracle.implementations.cuda_source.results import (
    ARRAYS,
    RESULTS,
    Names,
    Results,
    all_sizes,
    operator_of,
    shape_of,
)
from gradoracle.implementations.cupy_kernels.placement import INTEGERS, OPTIONAL, place

Launcher: TypeAlias = Callable[[Launch, Names, Any], None]  # with the dtype of the call
ONE_HOT = "one-hot"
NULL = "(0x0)"  # of a fault: the address that an array which is None has


def functions(
    plans: Mapping[str, Plan],
    launch: Launcher,
    policies: Mapping[str, Any],
    file: Path,
    *,
    on_host: bool,
    constants: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Callable[..., Any]]:
    """Return the functions of the protocol that plans are of, launched by `launch`.

    Each says the line of `file` that its first comment is on.
    """
    made: dict[str, Any] = {
        name: partial(
            _run,
            RESULTS[name],
            plan,
            launch,
            policies,
            on_host=on_host,
            function=name,
            constants=constants,
        )
        for name, plan in plans.items()
    }
    for name, plan in plans.items():
        for first in plan.launches[:1]:
            made[name].gradoracle_place = str(file.resolve()), int(first.where.rpartition(":")[2])
    return made


def _integers(policies: Mapping[str, Any], function: str) -> dict[str, str]:
    """Return the dtypes of a function's arguments that hold integers."""
    found = {**INTEGERS, "indices": policies.get("indices", "int64")}
    if operator_of(function) not in LABELLED:
        return {n: d for n, d in found.items() if n != "target"}
    labels = policies.get("labels", "int64")
    return {n: d for n, d in (found | {"target": labels}).items() if d != ONE_HOT}


def _run(
    results: Results, plan: Plan, launch: Launcher, policies: Mapping[str, Any], *given: Any,
    on_host: bool, function: str, constants: Mapping[str, Any], **options: Any,
) -> Any:  # fmt: skip
    arrays = dict(zip(results.arguments, (*given, *[None] * 9), strict=False))
    integers = _integers(policies, function)
    optional = (*OPTIONAL, *by_axes.OPTIONAL.get(operator_of(function), ()))
    machine, placed = place(integers=integers, optional=optional, **arrays)
    called = {**dict(zip(arrays, placed, strict=True)), **options}
    sizes = dict(results.of({**called, "policies": policies}))
    shape = sizes.pop("shape")
    dtype = next(a.dtype for a in placed if a is not None and a.dtype.kind == "f")
    kinds = [np.dtype(integers[n]) if n == "indices" else dtype for n in results.names]
    empty = any(a is not None and not a.size for a in placed)
    uninitialised = hostcuda.empty if on_host else machine.empty
    made = [(machine.zeros if empty else uninitialised)(shape, kind) for kind in kinds]
    if not empty and made[0].size:
        defaults = {n: v for n, v in sizes.items() if called.get(n, 0) is None}
        names = {
            **constants, **all_sizes(function, sizes), **called, **defaults,
            **dict(zip(results.names, made, strict=True)), "out": made[0], "zero()": _zeroed,
            "scratch()": _Scratch(lambda count: uninitialised((count,), dtype)),
        }  # fmt: skip
        if plan.workspace is not None:
            kind, count = plan.workspace
            held = dtype if kind == "T" else np.dtype(NUMBERS[kind])
            names["workspace"] = uninitialised((int(value(count, names, dtype)),), held)
        for one in plan.launches:
            more = _more(one, function, names, made, lambda shape: uninitialised(shape, dtype))
            if one.reduces:  # as the host does, which has the whole array
                if hostcuda.settings().prime:
                    raise hostcuda.NotInField(f"{one.where}: the host computes {one.kernel} of it")
                (array,) = evaluated(one, more, dtype)[1]
                made[0][...] = getattr(array, one.kernel)(dtype=np.float64)
            else:
                _launched(launch, one, more, dtype, function)
    return tuple(made) if len(made) > 1 else made[0]


def _launched(launch: Launcher, one: Launch, names: Names, dtype: Any, function: str) -> None:
    """Launch a kernel; of a fault at an array that is None, say how to require it."""
    try:
        launch(one, names, dtype)
    except hostcuda.KernelFault as fault:
        spoken = {n.id for of in one.arguments for n in ast.walk(of) if isinstance(n, ast.Name)}
        absent = sorted(n for n in ARRAYS & spoken if names.get(n, "") is None)
        if not absent or NULL not in str(fault):
            raise
        needs = ", ".join(f"{name} required" for name in absent)
        is_none = f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} None"
        comment = f"// gradoracle: domain {operator_of(function)}: {needs}"
        fault.args = (f"{fault}; {is_none}: {comment}",)
        raise


class _Scratch:
    """Arrays that the launches of one call share, by their names."""

    def __init__(self, uninitialised: Callable[[int], Any]) -> None:
        """Have none yet."""
        self._uninitialised = uninitialised
        self._known: dict[str, Any] = {}

    def __call__(self, name: str, count: int) -> Any:
        """Return the array of a name, which the first use makes.

        Raises:
            ValueError: it has another number of elements.
        """
        if name not in self._known:
            self._known[name] = self._uninitialised(count)
        if self._known[name].size != count:
            raise ValueError(f"scratch({name}) has {self._known[name].size} elements, not {count}")
        return self._known[name]


def _zeroed(_name: str, array: Any) -> Any:
    array[...] = 0
    return array


def _more(
    launch: Launch, function: str, names: Mapping[str, Any], made: Sequence[Any],
    uninitialised: Callable[[Any], Any],
) -> dict[str, Any]:  # fmt: skip
    """Return the names of a call with what this launch speaks of besides.

    That is the results marked *, and arrays that the call lacks: another function of the launch
    has them.  They hold NaN, for this function's result does not depend on them.
    """
    more = dict(names)
    for i, result in enumerate(made if len(launch.results) == 1 else launch.results):
        mine = result if not isinstance(result, str) else made[0] if result == function else None
        if mine is None:
            name = RESULTS[str(result)].names[0]
            mine = uninitialised(shape_of(function, name, names, made[0].shape))
        more[f"{SLOT}{i}"] = mine
    spoken = {n.id for one in launch.arguments for n in ast.walk(one) if isinstance(n, ast.Name)}
    for name in ARRAYS & spoken - more.keys():
        with suppress(KeyError):
            more[name] = uninitialised(shape_of(function, name, names, made[0].shape))
    answers = {name for name in more if any(more[name] is one for one in made)}
    more["copy()"] = partial(_copied, {} if answers & spoken else _changed(function, names, made))
    return more


def _changed(function: str, names: Names, made: Sequence[Any]) -> dict[str, Any]:
    """Return by the names of arrays the results that a kernel has of them, which works in place.

    Of several results each has the name of one; a single result has that of any.
    """
    if len(made) == 1:
        return dict.fromkeys(names, made[0])
    return {
        name.removeprefix("new_"): one
        for name, one in zip(RESULTS[function].names, made, strict=True)
    }


def _copied(results: Mapping[str, Any], name: str, array: Any) -> Any:
    """Return the result of a name with an array's values, or an array of its own where none is."""
    result = results.get(name)
    if result is None or (result.shape, result.dtype) != (array.shape, array.dtype):
        return array.copy()
    result[...] = array
    return result


def evaluated(launch: Launch, names: Names, dtype: Any) -> tuple[list[Any], list[Any]]:
    """Return the sizes and the arguments of a launch.

    Raises:
        SourceError: one of them means nothing; the message names the file and line.
    """
    try:
        sizes = [value(size, names, dtype) for size in launch.sizes]
        return sizes, [value(argument, names, dtype) for argument in launch.arguments]
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise SourceError(f"{launch.where}: {error}") from error
