"""Every formula that is a sum over windows, read as one of those of a convolution.

A transposed convolution is the way back through a convolution, and a fully connected layer is one
of a single pixel.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gradoracle import oracle
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.expected.random_projection import Options
from gradoracle.oracle.formulas.conv_transpose import TRANSPOSED
from gradoracle.oracle.formulas.convolution import CONVOLUTIONS
from gradoracle.oracle.formulas.convolution import Convolution as Formulas
from gradoracle.oracle.shapes import Array, Shape

Part: TypeAlias = Literal["y", "dx", "dw", "db"]
Pairs: TypeAlias = list[tuple[list[int], list[int]]]
Places: TypeAlias = tuple[Any, ...]


class Role(NamedTuple):
    """What a formula gives, and which of its arguments are a convolution's x, weight and dy."""

    gives: Part
    x: str = ""
    weight: str = ""
    dy: str = ""
    bias: str = ""


def _roles(of: Formulas) -> dict[Formula, Role]:
    return {
        of.forward: Role("y", x="x", weight="weight", bias="bias"),
        of.grad_input: Role("dx", dy="grad_output", weight="weight"),
        of.grad_weight: Role("dw", dy="grad_output", x="x"),
        of.grad_bias: Role("db", dy="grad_output"),
    }


def _transposed_roles(of: Formulas) -> dict[Formula, Role]:
    return {
        of.forward: Role("dx", dy="x", weight="weight", bias="bias"),
        of.grad_input: Role("y", x="grad_output", weight="weight"),
        of.grad_weight: Role("dw", dy="x", x="grad_output"),
        of.grad_bias: Role("db", dy="grad_output"),
    }


LINEAR = Formulas(
    oracle.linear, oracle.linear_grad_input, oracle.linear_grad_weight, oracle.linear_grad_bias
)
ROLES: dict[Formula, Role] = {
    formula: role
    for roles in (
        *map(_roles, CONVOLUTIONS.values()),
        *map(_transposed_roles, TRANSPOSED.values()),
        _roles(LINEAR),
    )
    for formula, role in roles.items()
}


class Convolution(NamedTuple):
    """A call of a formula, as a convolution of which one array is asked for."""

    gives: Part
    shape: Shape  # of the answer, [., ., ...] but for db
    x: Array | None  # [N, C, *pixels]
    weight: Array | None  # [M, C/groups, *taps]
    dy: Array | None  # [N, M, *windows]
    bias: Array | None  # one per channel of the answer
    options: Options

    @property
    def factors(self) -> tuple[Array, Array | None]:
        """The two arrays whose products are added up; db has one."""
        given = [array for array in (self.dy, self.x, self.weight) if array is not None]
        return given[0], given[1] if len(given) > 1 else None


def read(formula: Formula, call: Call, shape: Shape) -> Convolution:
    """Return a call of one of the formulas of ROLES, whose answer has this shape."""
    role = ROLES[formula]

    def array(name: str) -> Array | None:
        if not name or call[name] is None:
            return None
        given: Array = call[name]
        return given[:, :, None] if given.ndim == 2 else given

    options = Options(
        call.get("stride", (1,)), call.get("padding", (0,)), call.get("dilation", (1,)),
        call.get("groups", 1),
    )  # fmt: skip
    return Convolution(
        role.gives, (*shape, 1) if len(shape) == 2 else shape, array(role.x), array(role.weight),
        array(role.dy), None if not role.bias else call[role.bias], options,
    )  # fmt: skip


def pairs(of: Convolution, place: tuple[int, ...]) -> Pairs:
    """Return what meets in a place of the answer, along every axis.

    In an output pixel (i, j) it is taps with pixels, in a pixel (h, w) taps with output pixels, in
    a tap (p, q) output pixels with pixels: those with i*S + p*D - P = h, by the definition.
    """
    first, second = of.factors
    assert second is not None, "db has no places"  # noqa: S101
    found = []
    for s, here in enumerate(place):
        step, pad, apart = of.options.stride[s], of.options.padding[s], of.options.dilation[s]
        if of.gives == "y":  # factors are x, weight
            some = [(p, here * step + p * apart - pad) for p in range(second.shape[2 + s])]
            met = [(p, h) for p, h in some if 0 <= h < first.shape[2 + s]]
        elif of.gives == "dx":  # dy, weight
            found_at = [(p, here + pad - p * apart) for p in range(second.shape[2 + s])]
            met = [
                (p, at // step)
                for p, at in found_at
                if at % step == 0 and 0 <= at // step < first.shape[2 + s]
            ]
        else:  # dy, x
            some = [(i, i * step + here * apart - pad) for i in range(first.shape[2 + s])]
            met = [(i, h) for i, h in some if 0 <= h < second.shape[2 + s]]
        found.append(([one for one, _ in met], [other for _, other in met]))
    return found


def met(of: Convolution, place: tuple[int, ...]) -> tuple[Places, Places]:
    """Return `pairs` as indices of spatial axes: the first ones, and the others."""
    found = pairs(of, place)
    first, second = (np.ix_(*(pair[at] for pair in found)) for at in (0, 1))
    return (..., *first), (..., *second)


def column(of: Convolution, place: tuple[int, ...]) -> Array:
    """Return the right answer in one place, [N, M], [N, C] or [M, C/groups]: whole numbers.

    By the definition, in float64: the sums of the magnitudes must be at most 2**53.
    """
    first, second = of.factors
    assert second is not None, "db has no places"  # noqa: S101
    these, those = met(of, place)
    groups = of.options.groups
    if of.gives == "dw":
        dy, x = first[these], second[those]
        by_filter = _by_group(dy.swapaxes(0, 1), groups)
        by_channel = _by_group(x.swapaxes(0, 1), groups)
        return np.asarray(by_filter @ by_channel.swapaxes(1, 2)).reshape(of.shape[:2])
    rows = first[those]  # [N, channels, *taps]
    weight = second[these].astype(np.float64)
    images, taps = len(rows), prod(rows.shape[2:])
    weight = weight.reshape(groups, -1, second.shape[1], taps)
    rows = rows.astype(np.float64).reshape(images, groups, -1, taps).swapaxes(0, 1)
    what = "gnct,gmct->gnm" if of.gives == "y" else "gnmt,gmct->gnc"
    sums = np.einsum(what, rows, weight, optimize=True).swapaxes(0, 1).reshape(images, -1)
    return np.asarray(sums if of.bias is None else sums + of.bias)


def _by_group(array: Array, groups: int) -> Array:
    return array.astype(np.float64).reshape(groups, len(array) // groups, -1)


def terms(of: Convolution, at: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the factors of the terms of one element of the answer, by the definition."""
    first, second = of.factors
    if second is None:
        dy = first[:, at[0]].ravel()
        return dy, np.ones_like(dy)
    these, those = met(of, at[2:])
    groups = of.options.groups
    if of.gives == "dw":
        m, c = at[:2]
        channel = m // (len(first[0]) // groups) * of.shape[1] + c
        return first[:, m][these].ravel(), second[:, channel][those].ravel()
    n, channel = at[:2]
    members = len(second) // groups
    channels = second.shape[1]
    if of.gives == "y":
        group = channel // members
        rows, taps = first[n, group * channels : (group + 1) * channels], second[channel]
    else:
        group = channel // channels
        some = slice(group * members, (group + 1) * members)
        rows, taps = first[n, some], second[some, channel % channels]
    return rows[those].ravel(), taps[these].ravel()
