"""A wrong backend, to time how soon it is found out: it reads the kernel upside down."""

from __future__ import annotations

from typing import Any

import oracle
from oracle.geometry import Array

contract = {"functions": ["conv2d"]}


def conv2d(x: Array, weight: Array, bias: Array | None = None, **options: Any) -> Array:
    """Return the convolution with the kernel's rows in the opposite order."""
    return oracle.conv2d(x, weight[:, :, ::-1], bias, **options)
