"""The rotary embedding and its gradient, which turns back."""

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, check_letters, check_rotary

SOURCE = Source("rotary.cu", ("rotary_embedding",))


def rotary_embedding(
    x: Array, cos: Array, sin: Array, *, interleaved: bool, offset: int
) -> Array:  # fmt: skip
    """Return x with its pairs of features turned by the angles of their places.

    Raises:
        ValueError: the shapes do not fit each other, or offset is negative.
    """
    return _turned(x, cos, sin, interleaved, offset, sign=1.0)


def rotary_embedding_grad(
    grad_output: Array, cos: Array, sin: Array, *, interleaved: bool, offset: int
) -> Array:  # fmt: skip
    """Return dy with its pairs turned back.

    Raises:
        ValueError: as `rotary_embedding`.
    """
    return _turned(grad_output, cos, sin, interleaved, offset, sign=-1.0)


def _turned(
    x: Array, cos: Array, sin: Array, interleaved: bool, offset: int, *, sign: float  # noqa: FBT001
) -> Array:  # fmt: skip
    machine, (x, cos, sin) = place(x=x, cos=cos, sin=sin)
    check_letters({"x": (x, "nhte"), "cos": (cos, "md"), "sin": (sin, "md")})
    check_rotary(x.shape, cos.shape, offset)
    y = machine.empty(x.shape, x.dtype)
    sides = (x.size, *x.shape[2:], cos.shape[1], offset)
    machine.each(
        SOURCE, "rotary_embedding", (x, cos, sin, y, sign, np.int32(bool(interleaved)), *sides),
        count=x.size, dtype=x.dtype,
    )  # fmt: skip
    return y
