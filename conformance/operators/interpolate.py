"""Interpolation by the nearest pixel and between pixels, with PyTorch's function beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gradoracle.conformance.drawing.values import one_nan_among_floats, styles
from gradoracle.conformance.operators.adaptive_pool import sized
from gradoracle.conformance.operators.moved_pixels import MOVED
from gradoracle.conformance.operators.of_formula import (
    Further,
    of_formula,
)
from gradoracle.conformance.operators.record import (
    Corner,
    Operator,
    Policies,
    Styles,
    straight,
)
from gradoracle.conformance.operators.spatial import (
    MOST,
    SHARES,
    images,
    layers_of_rank,
    pixels,
    resized,
    windows,
)
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.derive import Derived
from gradoracle.oracle.formulas.interpolate_linear import LINEAR_INTERPOLATIONS as LINEAR_FORMULAS
from gradoracle.oracle.formulas.interpolate_nearest import (
    MODES,
    Interpolation,
    is_settled,
)
from gradoracle.oracle.formulas.interpolate_nearest import (
    NEAREST_INTERPOLATIONS as NEAREST_FORMULAS,
)
from gradoracle.oracle.ranks import RANKS

# Channels, rows, columns and rows and columns of the result as networks have them.
LAYERS = (
    ("FPN", (2, 7, 7, 14, 14)), ("FPN of an odd side", (2, 13, 10, 25, 19)),
    ("YOLO", (2, 5, 5, 10, 10)), ("DeepLab's image pooling", (3, 1, 1, 9, 9)),
    ("DeepLab's logits", (1, 5, 5, 33, 33)), ("PSPNet", (1, 6, 6, 12, 12)),
    ("U-Net", (2, 4, 6, 8, 12)), ("a ViT's positions at another size", (2, 7, 7, 12, 12)),
    ("half", (2, 8, 10, 4, 5)),
)  # fmt: skip
SIDES = (
    (8, 8, 4, 4), (8, 6, 16, 12), (4, 4, 16, 32), (5, 7, 5, 7), (2, 3, 10, 11), (9, 10, 3, 5),
    (1, 1, 3, 4), (33, 35, 32, 34), (2, 3, 33, 65), (64, 48, 5, 3), (181, 182, 7, 6),
    (14, 5, 15, 28), (130, 3, 131, 4), (2, 2, 1, 1), (257, 129, 1, 2),
)  # fmt: skip
# NaN only: right kernels multiply an infinity with a share of 0, or leave it out.
NUMBERS = Styles(not_finite=styles(one_nan_among_floats))


def _of(
    rank: int, formulas: Interpolation, option: str, values: Sequence[Any],
    witness: Callable[[Any], Callable[..., Any]], *, numbers: Styles, lengths: Any = None,
) -> Operator:  # fmt: skip
    more = {"lengths": lengths} if lengths else {}
    further = Further((*images(rank), *windows(rank)), options=partial(sized, rank))
    record = of_formula(
        Derived(formulas.forward, {formulas.grad_input: "x"}), witness,
        options={option: values}, numbers=numbers, layers=layers_of_rank(rank, LAYERS),
        share=SHARES[rank], most=MOST[rank], curvature=straight, further=further, **more,
    )  # fmt: skip
    corners = (
        Corner(
            f"{what}, {option} {values[at]}",
            {"n": 1, "c": 2, **sides, f"pick_{option}": at}, in_turn=True,
        )
        for what, sides in resized(rank, SIDES)
        for at in range(2)
    )  # fmt: skip
    return replace(record, corners=(*record.corners, *corners))


# -- the nearest pixel ----------------------------------------------------------------------------


def _settled(rank: int, sizes: dict[str, int], options: Mapping[str, Any]) -> dict[str, int]:
    """Return sizes whose coordinates lead to the same pixels if they are rounded."""
    del options
    for size, count in zip(pixels(rank), windows(rank), strict=True):
        while not all(is_settled(sizes[size], sizes[count], mode) for mode in MODES):
            sizes[count] -= 1
    return sizes


def _is_open(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether a coordinate may be rounded to another pixel."""
    del policies, formula
    of = call["input_shape"] if "input_shape" in call else call["x"].shape
    to = call["output_size"] if "output_size" in call else call["grad_output"].shape[2:]
    return not all(is_settled(*one, call["mode"]) for one in zip(of[2:], to, strict=True))


def _nearest(torch: Any) -> Callable[..., Any]:
    def nearest(x: Any, *, output_size: Any, mode: str) -> Any:
        return torch.nn.functional.interpolate(x, output_size, mode=mode)

    return nearest


def nearest_interpolation(rank: int) -> Operator:
    """Return the record of interpolation by the nearest pixel along `rank` spatial axes."""
    record = _of(
        rank, NEAREST_FORMULAS[rank], "mode", MODES, _nearest, numbers=MOVED,
        lengths=partial(_settled, rank),
    )  # fmt: skip
    return replace(record, unsettled=_is_open)


# -- between pixels -------------------------------------------------------------------------------

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}  # PyTorch's modes


def linear_interpolation(rank: int) -> Operator:
    """Return the record of interpolation between pixels along `rank` spatial axes."""

    def witness(torch: Any) -> Callable[..., Any]:
        def linear(x: Any, *, output_size: Any, align_corners: bool) -> Any:
            return torch.nn.functional.interpolate(
                x, output_size, mode=LINEAR[rank], align_corners=align_corners
            )

        return linear

    return _of(
        rank, LINEAR_FORMULAS[rank], "align_corners", (False, True), witness,
        numbers=NUMBERS,
    )  # fmt: skip


NEAREST_INTERPOLATIONS = tuple(map(nearest_interpolation, RANKS))
LINEAR_INTERPOLATIONS = tuple(map(linear_interpolation, RANKS))
INTERPOLATE_NEAREST1D, INTERPOLATE_NEAREST2D, INTERPOLATE_NEAREST3D = NEAREST_INTERPOLATIONS
INTERPOLATE_LINEAR1D, INTERPOLATE_BILINEAR2D, INTERPOLATE_TRILINEAR3D = LINEAR_INTERPOLATIONS
INTERPOLATIONS = (INTERPOLATE_BILINEAR2D, INTERPOLATE_NEAREST2D)
