"""Maxima of windows whose pixels are known to an error."""

from __future__ import annotations

import numpy as np

from gradoracle.oracle.chains.bounded import Bounded, Undecided, bounded
from gradoracle.oracle.declaration import Call, evaluate
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices


def maxima(call: Call, *, strict: bool) -> Bounded:
    """Return the maxima of windows, each as certain as the pixel that it is.

    Raises:
        Undecided: see `decide_maxima`.
    """
    x = bounded(call["x"])
    decide_maxima(call, strict=strict)
    at = evaluate(max_pool2d_indices, {**call, "x": x.value})
    planes = (*x.shape[:2], -1)
    flat = at.reshape(planes)
    return Bounded(
        np.take_along_axis(x.value.reshape(planes), flat, 2).reshape(at.shape),
        np.take_along_axis(x.error.reshape(planes), flat, 2).reshape(at.shape),
    )


def decide_maxima(call: Call, *, strict: bool) -> None:
    """Raise Undecided unless every window has one pixel that is certainly its maximum.

    Where it is `strict`, two equal pixels are undecided even if they are exact.
    """
    x = bounded(call["x"])
    if not x.error.any() and not strict:
        return
    plain = {**call, "x": x.value}
    top = evaluate(max_pool2d_indices, plain)
    planes = (*x.shape[:2], -1)
    low = np.take_along_axis((x.value - x.error).reshape(planes), top.reshape(planes), 2)
    low = low.reshape(top.shape)
    places = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    for p, q in np.ndindex(*call["kernel_size"]):
        h = np.arange(top.shape[2]) * call["stride"][0] + p * call["dilation"][0]
        w = np.arange(top.shape[3]) * call["stride"][1] + q * call["dilation"][1]
        h, w = h - call["padding"][0], w - call["padding"][1]
        inside = ((h >= 0) & (h < x.shape[2]))[:, None] & ((w >= 0) & (w < x.shape[3]))
        rows, columns = h.clip(0, x.shape[2] - 1)[:, None], w.clip(0, x.shape[3] - 1)
        rival = (x.value + x.error)[:, :, rows, columns]
        if (inside & (places[rows, columns] != top) & (rival >= low)).any():
            raise Undecided("which pixel is a window's maximum")
