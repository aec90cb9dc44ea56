"""Sums, cat, split, cumsum and dropout with a given mask: their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.operators.arrays import GIVEN
from gradoracle.conformance.operators.of_arrays import AXIS, Sizes, of_arrays
from gradoracle.conformance.operators.record import Policies
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.derive import GRAD_OUTPUT
from gradoracle.oracle.formulas import joining
from gradoracle.oracle.shapes import Array, Shape

ALPHAS = (1.0, 2.0, -0.5, 0.1)
RATES = (0.5, 0.1, 0.0, 0.75, 1.0)
NONE = 16  # from which on no axis is broadcast


def _with_side(shape: Shape, axis: int, side: int) -> Shape:
    place = axis % len(shape)
    return (*shape[:place], side, *shape[place + 1 :])


def _joined(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    axis = options[AXIS]
    sides = [shape[axis], sizes["second"], sizes["third"] * bool(sizes[GIVEN + "third"])]
    first, second, third = (_with_side(shape, axis, side) for side in sides)
    whole = _with_side(shape, axis, sum(sides))
    return {"first": first, "second": second, "third": third, GRAD_OUTPUT: whole}


def _apart(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    sections = shape[options[AXIS]], sizes["second"]
    options["sections"] = sections
    return {"input": _with_side(shape, options[AXIS], sum(sections))}


def _one(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    del sizes, options
    return {"input": shape, GRAD_OUTPUT: shape}


def _broadcast(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    """Return shapes that are broadcast together to one: some sides are 1, and first ones left out.

    No side is 1 in both, unless it is 1 in the result.
    """
    del options
    flat, of_input = (n * (n < NONE) for n in (sizes["flat"], sizes["flat_input"]))
    other = tuple(1 if flat >> at & 1 else side for at, side in enumerate(shape))
    own = tuple(
        1 if of_input >> at & 1 and not flat >> at & 1 else side for at, side in enumerate(shape)
    )
    fewer = min(sizes["fewer"], len(shape) - 1)
    if shape[:fewer] != own[:fewer]:
        fewer = 0
    return {"input": own, "other": other[fewer:], GRAD_OUTPUT: shape}


def _masked(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    del sizes, options
    return {"z": shape, "mask": shape, GRAD_OUTPUT: shape}


def _with_mask(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with a mask, which keeps what is not finite, and nothing for p = 1."""
    mask, z, dy = call["mask"], call["z"], call.get(GRAD_OUTPUT)
    if mask.dtype != np.bool_ or mask.shape != z.shape:
        mask = _mask(seed, z.shape, call["p"])
    if not np.isfinite(z).all():
        mask = mask | ~np.isfinite(z)
    if dy is not None and dy.shape == z.shape and not np.isfinite(dy).all():
        mask = mask | ~np.isfinite(dy)
    return {**call, "mask": mask & (call["p"] < 1)}


def _mask(seed: int, shape: Shape, p: float) -> Array:
    """Return a mask that leaves out a share p, or in one of four calls half of the elements."""
    share = 0.5 if seed % 4 == 0 else p
    return np.asarray(np.random.default_rng(seed).random(shape) >= share)


def _is_lost(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether what is not finite is left out: it is then 0, or 0 times it is NaN."""
    del policies
    argument = "z" if formula is joining.dropout_with_mask.forward else GRAD_OUTPUT
    return not bool(np.isfinite(call[argument][~call["mask"]]).all())


def _cat(torch: Any) -> Callable[..., Any]:
    def cat(first: Any, second: Any, third: Any = None, *, axis: int) -> Any:
        return torch.cat([one for one in (first, second, third) if one is not None], axis)

    return cat


def _split(torch: Any) -> Callable[..., Any]:
    def split(input: Any, *, sections: tuple[int, int], axis: int) -> Any:
        return torch.split(input, [*sections], axis)

    return split


def _cumsum(torch: Any) -> Callable[..., Any]:
    def cumsum(input: Any, *, axis: int) -> Any:
        return torch.cumsum(input, axis)

    return cumsum


def _add(torch: Any) -> Callable[..., Any]:
    def add(input: Any, other: Any, *, alpha: float) -> Any:
        return torch.add(input, other, alpha=alpha)

    return add


def _dropout(torch: Any) -> Callable[..., Any]:
    def dropout_with_mask(z: Any, mask: Any, *, p: float) -> Any:
        return torch.where(mask, z / (1 - p), 0.0) if p < 1 else torch.where(mask, z, 0.0)

    return dropout_with_mask


CAT = of_arrays(joining.cat, _cat, _joined, counts={"second": (1, 5), "third": (1, 4)}, along=True)
SPLIT = of_arrays(joining.split, _split, _apart, counts={"second": (1, 5)}, along=True)
CUMSUM = of_arrays(joining.cumsum, _cumsum, _one, along=True)
ADD = of_arrays(
    joining.add, _add, _broadcast, options={"alpha": ALPHAS},
    flags={"flat": (0, 31), "flat_input": (0, 31), "fewer": (0, 3)},
)  # fmt: skip
DROPOUT_WITH_MASK = of_arrays(
    joining.dropout_with_mask, _dropout, _masked, options={"p": RATES}, complete=_with_mask,
    unsettled=_is_lost,
)  # fmt: skip

JOINED = (ADD, CAT, CUMSUM, DROPOUT_WITH_MASK, SPLIT)
