"""Calls in which every plane [H, W] is one pixel: what a convolution does to images and channels.

A convolution adds up products of planes; where a plane is one number, its loops add up products of
those, over the same images, channels and groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.declaration import Call, Formula, axes_of
from gradoracle.oracle.shapes import Array

# Of an array whose planes lie along some axes, one of planes [1, 1].
Pixel: TypeAlias = Callable[[Array, tuple[int, ...]], Array]


def of_one_pixel(formula: Formula, call: Call, pixel: Pixel) -> dict[str, Any]:
    """Return the call with `pixel(array, axes)`, of planes of one pixel, for arrays with planes."""
    axes = axes_of(formula)
    apart = {n: v for n, v in call.items() if isinstance(v, tuple) and n in axes.neutral}
    small = {**call, **axes.with_neutral(apart)}
    if axes.window in call:
        small[axes.window] = (1,) * axes.rank
    for name, places in axes.space.items():
        if places and isinstance(call.get(name), np.ndarray):
            small[name] = pixel(call[name], places)
    for option, name in axes.shapes.items():
        if option in call:
            one = [1 if at in axes.space[name] else n for at, n in enumerate(call[option])]
            small[option] = (*one,)
    return small
