"""Calls in which every plane [H, W] is one pixel: what a convolution does to images and channels.

A convolution adds up products of planes; where a plane is one number, its loops add up products of
those, over the same images, channels and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.oracle.declaration import Call
from gradoracle.oracle.shapes import Array

# Options of the same operation on planes of one pixel.
ONE_PIXEL: Mapping[str, Any] = {
    "kernel_size": (1, 1), "stride": (1, 1), "dilation": (1, 1), "padding": (0, 0),
    "output_padding": (0, 0),
}  # fmt: skip
IMAGES = ("N", "C", "H", "W")  # the axes of what has planes


def of_one_pixel(call: Call, pixel: Callable[[Array], Array]) -> dict[str, Any]:
    """Return the call with `pixel(array)`, of planes [1, 1], for every array that has planes."""
    small = {**call, **{name: one for name, one in ONE_PIXEL.items() if name in call}}
    for name, value in call.items():
        if isinstance(value, np.ndarray) and value.ndim == len(IMAGES):
            small[name] = pixel(value)
        elif name.endswith("_shape"):
            small[name] = (*value[:2], 1, 1)
    return small
