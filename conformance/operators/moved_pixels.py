"""What moves pixels: pixels as channels, windows as columns; PyTorch's functions beside.

The formulas are written out; what is drawn follows from their axes, as it does for derived ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradoracle.conformance.drawing.values import (
    EXACT,
    Arrays,
    Random,
    Shapes,
    small_integers,
    styles,
)
from gradoracle.conformance.operators.of_formula import MOST, Further, Sizes, of_formula
from gradoracle.conformance.operators.record import Corner, Operator, Size, Styles, straight
from gradoracle.oracle.declaration import Formula, Selection, algebra
from gradoracle.oracle.derive import Derived
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.formulas import pixel_shuffle, unfold
from gradoracle.oracle.shapes import extent


def pixels_not_finite(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """A few pixels, one at least, are NaN or infinite: what is moved is multiplied by nothing."""
    found = small_integers(random, shapes, limits)
    fate = random.integers(0, 12, shapes["x"])
    for at, value in enumerate((np.nan, np.inf, -np.inf)):
        found["x"][fate == at] = value
    if fate.size:
        found["x"].flat[random.integers(fate.size)] = np.nan
    return found


MOVED = Styles(exact=(*EXACT, *styles(pixels_not_finite)))
SHARE = 0.2
PLANE = ("n", "c", "h", "w")
# Channels, rows and columns as networks have them.
PLANES = (("CIFAR-10", (3, 8, 8)), ("ResNet layer4", (6, 7, 7)), ("one pixel", (9, 1, 1)))


def written(
    forward: Formula, gradient: Formula, witness: Callable[[Any], Callable[..., Any]], *,
    further: Further, numbers: Styles = MOVED, corners: tuple[Corner, ...] = (),
    layers: tuple[tuple[str, tuple[int, ...]], ...] = PLANES, share: float = SHARE,
    most: Mapping[Size, int] = MOST,
) -> Operator:  # fmt: skip
    """Return the record of formulas that are written out, of an operator that is linear in x."""
    record = of_formula(
        Derived(forward, {gradient: "x"}), witness, further=further, numbers=numbers,
        layers=layers, share=share, most=most, curvature=straight,
    )  # fmt: skip
    lost = [one for one in numbers.exact if one.fill is pixels_not_finite]
    few = {**record.corners[0].sizes, "n": 2}
    ours = tuple(Corner(one.name, few, one) for one in lost)
    return replace(record, corners=(*record.corners, *corners, *ours))


# -- pixels as channels ---------------------------------------------------------------------------


def _blocks(sizes: Sizes) -> Sizes:
    """Return the lengths of both images, the fine one a multiple of the coarse one."""
    r = sizes["factor"]
    fine = {"i": sizes["h"] * r, "j": sizes["w"] * r}
    return {**sizes, **fine, "k": sizes["c"] * r * r}


def _shuffle(forward: Formula, gradient: Formula, option: str) -> Operator:
    def witness(torch: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(torch.nn.functional, forward.__name__)

        def shuffle(x: Any, **options: int) -> Any:
            if forward is pixel_shuffle.pixel_unshuffle and not len(x):
                raise NotImplementedError("PyTorch's pixel_unshuffle leaves no images as they are")
            return function(x, options[option])

        return shuffle

    further = Further(
        PLANE, {"factor": (1, 4, 2)}, _blocks, lambda sizes: {option: sizes["factor"]}
    )
    flat = {"n": 1, "c": 1, "h": 1, "w": 1}
    corners = tuple(Corner(f"factor {r}", {**flat, "factor": r}) for r in (5, 8, 9, 17))
    layers = (("ESPCN", (3, 4, 5)), ("EDSR", (2, 6, 6)), ("one pixel", (9, 1, 1)))
    return written(forward, gradient, witness, further=further, corners=corners, layers=layers)


PIXEL_SHUFFLE = _shuffle(
    pixel_shuffle.pixel_shuffle, pixel_shuffle.pixel_shuffle_grad_input, "upscale_factor"
)
PIXEL_UNSHUFFLE = _shuffle(
    pixel_shuffle.pixel_unshuffle, pixel_shuffle.pixel_unshuffle_grad_input, "downscale_factor"
)


# -- windows as columns ---------------------------------------------------------------------------

# Of each option the least, the largest, and what corners take: height, then width.
WINDOWS = {
    "kernel": (1, 4, (2, 1)), "stride": (1, 4, (1, 2)), "padding": (0, 3, (1, 0)),
    "dilation": (1, 3, (1, 2)),
}  # fmt: skip
BOTH = ("height", "width")


def _options_of(sizes: Sizes) -> dict[str, tuple[int, int]]:
    found = {n: (sizes[f"{n}_height"], sizes[f"{n}_width"]) for n in WINDOWS}
    return {"kernel_size": found.pop("kernel"), **found}


def _windows(sizes: Sizes) -> Sizes:
    """Return sizes of an image with one window at least, and the lengths of the columns."""
    of = _options_of(sizes)
    found, windows, taps = dict(sizes), 1, 1
    for at, side in enumerate(("h", "w")):
        k, s, p, d = (of[n][at] for n in ("kernel_size", "stride", "padding", "dilation"))
        found[side] = max(found[side], extent(k, d) - 2 * p)
        windows *= (found[side] + 2 * p - extent(k, d)) // s + 1
        taps *= k
    return {**found, "k": found["c"] * taps, "l": windows}


def _of_windows(
    forward: Formula, gradient: Formula, shape: Callable[[Sizes], Mapping[str, Any]]
) -> Operator:  # fmt: skip
    def witness(torch: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(torch.nn.functional, forward.__name__)
        return function

    more = {
        f"{n}_{side}": (least, most, usual[at])
        for n, (least, most, usual) in WINDOWS.items()
        for at, side in enumerate(BOTH)
    }
    further = Further(PLANE, more, _windows, lambda sizes: {**_options_of(sizes), **shape(sizes)})
    tiny = {**dict.fromkeys(PLANE, 1), **{n: of[0] for n, of in more.items()}}
    numbers = MOVED if isinstance(algebra(forward), Selection) else Styles()
    return written(
        forward, gradient, witness, further=further, corners=(*_corners(tiny),), numbers=numbers
    )


def _corners(tiny: Sizes) -> list[Corner]:
    """Return kernels, strides and paddings past limits, and windows of several kinds at once."""
    both = {
        "kernel": (5, 7, 9, 17), "stride": (5, 8, 17), "padding": (4, 9), "dilation": (5, 9),
    }  # fmt: skip
    return [
        Corner(
            f"{name} {size} along the {side}",
            {**tiny, "c": 2, "h": 21, "w": 20, "kernel_height": 2, "kernel_width": 3,
             f"{name}_{side}": size},
            in_turn=True,
        )
        for name, sizes in both.items()
        for size in sizes
        for side in BOTH
    ] + [
        Corner(
            "ResNet's first layer",
            {**tiny, "n": 2, "c": 3, "h": 16, "w": 17, "kernel_height": 7, "kernel_width": 7,
             "stride_height": 2, "stride_width": 2, "padding_height": 3, "padding_width": 3},
            in_turn=True,
        ),
        Corner("patches of a ViT", {**tiny, "c": 3, "h": 32, "w": 48, "kernel_height": 16,
               "kernel_width": 16, "stride_height": 16, "stride_width": 16}, in_turn=True),
    ]  # fmt: skip


UNFOLD = _of_windows(
    unfold.unfold, unfold.unfold_grad_input,
    lambda sizes: {"input_shape": tuple(sizes[n] for n in PLANE)},
)  # fmt: skip
FOLD = _of_windows(
    unfold.fold, unfold.fold_grad_input, lambda sizes: {"output_size": (sizes["h"], sizes["w"])}
)  # fmt: skip

MOVED_PIXELS = (FOLD, PIXEL_SHUFFLE, PIXEL_UNSHUFFLE, UNFOLD)
