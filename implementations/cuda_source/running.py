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
from gradoracle.implementations.cuda_source import by_axes, by_example
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
from gradoracle.implementations.cupy_kernels.machine import ELEMENTS, dtype_name
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
    scratches: Callable[[Plan, str], Mapping[str, Any]] = lambda _plan, _dtype: {},
) -> dict[str, Callable[..., Any]]:
    """Return the functions of the protocol that plans are of, launched by `launch`.

    Each says the line of `file` that its first comment is on.  `scratches` says which dtypes the
    arrays of `scratch` have in calls of a dtype, where that is not the same.
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
            scratches=partial(scratches, plan),
        )
        for name, plan in plans.items()
    }
    for name, plan in plans.items():
        for first in plan.launches[:1]:
            made[name].gradoracle_place = str(file.resolve()), int(first.where.rpartition(":")[2])
    return made


def assumed(plans: Mapping[str, Plan]) -> list[str]:
    """Return what the plans do before launches that a caller must do, too: results are zeroed."""
    found = {}
    for function, plan in plans.items():
        for launch in plan.launches:
            for result in _zeroed_by(launch, function):
                found[result, launch.kernel] = f"{result} holds zeros before {launch.kernel} runs"
    return [*found.values()]


def _zeroed_by(launch: Launch, function: str) -> list[str]:
    """Return the results that a launch fills with zeros, by the protocol's names."""
    calls = [
        node.args[0].id
        for argument in launch.arguments for node in ast.walk(argument)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        and node.func.id == "zero" and isinstance(node.args[0], ast.Name)
    ]  # fmt: skip
    several = len(launch.results) > 1
    names = [RESULTS[of].names[0] for of in launch.results] if several else [
        *RESULTS[function].names
    ]  # fmt: skip
    slots = {f"{SLOT}{i}": name for i, name in enumerate(names)}
    return [slots.get(name, name) for name in calls]


def held_by(function: str, plan: Plan, dtype: str, policies: Mapping[str, Any]) -> dict[str, str]:
    """Return what the arrays of a function's calls hold by name: a dtype, or integers, or bool."""
    kind, operator = plan.workspace[0] if plan.workspace else "T", operator_of(function)
    held = {"": dtype, "indices": "integers", "target": "integers"}
    held |= dict.fromkeys(by_example.INTEGERS.get(operator, ()), "integers")
    held |= dict.fromkeys(by_example.BOOLEANS.get(operator, ()), "bool")
    held["workspace"] = dtype if kind == "T" else np.dtype(NUMBERS[kind]).name
    if policies.get("labels") == ONE_HOT or operator not in LABELLED:
        held["target"] = dtype
    return held


def _integers(policies: Mapping[str, Any], function: str) -> dict[str, str]:
    """Return the dtypes of a function's arguments that hold integers."""
    found = {**INTEGERS, "indices": policies.get("indices", "int64")}
    found |= dict.fromkeys(by_example.INTEGERS.get(operator_of(function), ()), "int64")
    if operator_of(function) not in LABELLED:
        return {n: d for n, d in found.items() if n != "target"}
    labels = policies.get("labels", "int64")
    return {n: d for n, d in (found | {"target": labels}).items() if d != ONE_HOT}


def _run(
    results: Results, plan: Plan, launch: Launcher, policies: Mapping[str, Any], *given: Any,
    on_host: bool, function: str, constants: Mapping[str, Any],
    scratches: Callable[[str], Mapping[str, Any]], **options: Any,
) -> Any:  # fmt: skip
    arrays = dict(zip(results.arguments, (*given, *[None] * 9), strict=False))
    integers = _integers(policies, function)
    machine, placed = _placed(arrays, integers, operator_of(function))
    called = {**placed, **options}
    sizes = dict(results.of({**called, "policies": policies}))
    shape = sizes.pop("shape")
    shapes = sizes.pop("shapes", [shape] * len(results.names))
    dtype = next(a.dtype for a in placed.values() if a is not None and _is_of_numbers(a))
    held_in = scratches(dtype_name(dtype))
    kinds = [np.dtype(integers[n]) if n == "indices" else dtype for n in results.names]
    empty = any(a is not None and not a.size for a in placed.values())
    empty &= operator_of(function) not in by_example.OF_SEVERAL
    uninitialised = hostcuda.empty if on_host else machine.empty
    new = machine.zeros if empty else uninitialised
    made = [new(one, kind) for one, kind in zip(shapes, kinds, strict=True)]
    if not empty and any(one.size for one in made):
        defaults = {n: v for n, v in sizes.items() if called.get(n, 0) is None}
        names = {
            **constants, **all_sizes(function, sizes), **called, **defaults,
            **dict(zip(results.names, made, strict=True)), "out": made[0], "zero()": _zeroed,
            "scratch()": _Scratch(
                lambda name, count: uninitialised((count,), held_in.get(name, dtype))
            ),
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
    return made[0] if len(made) == 1 or _is_alone(plan, results) else tuple(made)


def _is_of_numbers(array: Any) -> bool:
    return dtype_name(array.dtype) in ELEMENTS


def _placed(
    arrays: Mapping[str, Any], integers: Mapping[str, str], operator: str
) -> tuple[Any, dict[str, Any]]:
    """Return the machine that arrays lie on, and the arrays; those of numbers are looked at first.

    Raises:
        TypeError, ValueError: as `place`.
    """
    optional = [
        *OPTIONAL, *by_axes.OPTIONAL.get(operator, ()), *by_example.OPTIONAL.get(operator, ())
    ]  # fmt: skip
    masks = by_example.BOOLEANS.get(operator, ())
    ordered = sorted(arrays, key=lambda name: name in integers or name in masks)
    machine, placed = place(
        integers=integers, optional=optional, masks=masks, **{n: arrays[n] for n in ordered}
    )
    known = dict(zip(ordered, placed, strict=True))
    return machine, {name: known[name] for name in arrays}


def _is_alone(plan: Plan, results: Results) -> bool:
    """Return whether launches are given a pooling's values, and never its indices.

    Where no gradient needs them, the values are complete.
    """
    if "indices" not in results.names[1:]:
        return False
    used = {
        name.id
        for one in plan.launches for argument in one.arguments for name in ast.walk(argument)
        if isinstance(name, ast.Name)
    }  # fmt: skip
    return "indices" not in used and not any(name.startswith(SLOT) for name in used)


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

    def __init__(self, uninitialised: Callable[[str, int], Any]) -> None:
        """Have none yet."""
        self._uninitialised = uninitialised
        self._known: dict[str, Any] = {}

    def __call__(self, name: str, count: int) -> Any:
        """Return the array of a name, which the first use makes.

        Raises:
            ValueError: it has another number of elements.
        """
        if name not in self._known:
            self._known[name] = self._uninitialised(name, count)
        if self._known[name].size != count:
            raise ValueError(f"scratch({name}) has {self._known[name].size} elements, not {count}")
        return self._known[name]


def _zeroed(array: Any, _name: str) -> Any:
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
    first = None if answers & spoken else made[0]
    more["copy()"] = partial(_in_place, names, made, first)
    return more


def _in_place(names: Names, made: Sequence[Any], first: Any, array: Any, name: str) -> Any:
    """Return an argument's values in the result that it becomes, new_NAME, or in the first."""
    renewed = next((one for one in made if one is names.get(f"new_{name}")), None)
    return _copied(first if renewed is None else renewed, array)


def _copied(result: Any, array: Any) -> Any:
    """Return the result with an array's values, or an array of its own where there is none."""
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
