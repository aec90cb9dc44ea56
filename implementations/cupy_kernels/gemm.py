"""The fast convolution and its gradients, as matrix products.

Each function fills its last argument and returns True, or returns False: this path does not apply.
There are two algorithms, `implicit` (our kernels; see conv2d_gemm.cu) and `columns` (im2col and the
library's matmul); `algorithm` says which of them a call gets, and why.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.cupy_kernels import gemm_columns as columns
from gradoracle.implementations.cupy_kernels import gemm_implicit as implicit
from gradoracle.implementations.cupy_kernels.gemm_tables import Conv, conv_of

Array: TypeAlias = Any  # NumPy's or CuPy's, C-contiguous
ALGORITHMS = ("implicit", "columns")
FORMATS = ("float32", "float64")
FEW = 16  # rows or columns of a matrix, of which a tile would compute nothing but padding
SMALL = 128  # output pixels, of all images
LITTLE = 2**24  # products


def algorithm(p: Any, dtype: Any, of: str) -> str | None:
    """Return how `of` (forward, grad_input or grad_weight) is best computed; None: not here."""
    return _algorithm(conv_of(p), np.dtype(dtype), of)


@lru_cache(maxsize=4096)
def _algorithm(conv: Conv, dtype: Any, of: str) -> str | None:
    rows = (conv.C if of == "grad_input" else conv.M) // conv.G
    products = conv.N * conv.OH * conv.OW * conv.M * (conv.C // conv.G) * conv.KH * conv.KW
    reasons = (
        # Sums of half precision would be held in it.
        (dtype.name not in FORMATS, None),
        # Nearly depthwise: every group's matrix is too thin for a tile.
        (conv.G > 1 and min(conv.M, conv.C) < FEW * conv.G, None),
        # One launch of the formula's loops is over before any matrix is laid out.
        (products <= LITTLE, None),
        # The library multiplies float64 on tensor cores, too.
        (dtype == np.float64, "columns"),
        (not implicit.applies(conv, dtype, of), "columns"),
        # The columns are x or dy itself: a plain product, and nothing is copied.
        (columns.is_pointwise(conv) and of != "grad_weight", "columns"),
        # Reading the weights takes longer than multiplying, and the columns are small; but dx is
        # added up from them tap by tap, which is many launches.
        (conv.N * conv.OH * conv.OW <= SMALL and of != "grad_input", "columns"),
        # A tile has 64 rows or more.
        (rows <= FEW, "columns"),
    )
    return next((name for applies, name in reasons if applies), "implicit")


def forward(
    machine: Any, x: Array, weight: Array, bias: Array | None, p: Any, y: Array,
    *, by: str | None = None,
) -> bool:  # fmt: skip
    """Fill y [N, M, OH, OW] from x [N, C, H, W], weight [M, C/G, KH, KW] and bias [M] or None."""
    return _done("forward", machine, (x, weight, bias), p, y, by)


def grad_input(
    machine: Any, grad_output: Array, weight: Array, p: Any, dx: Array, *, by: str | None = None
) -> bool:
    """Fill dx [N, C, H, W] from dy [N, M, OH, OW]."""
    return _done("grad_input", machine, (grad_output, weight), p, dx, by)


def grad_weight(
    machine: Any, grad_output: Array, x: Array, p: Any, dw: Array, *, by: str | None = None
) -> bool:
    """Fill dw [M, C/G, KH, KW], summed over the images."""
    return _done("grad_weight", machine, (grad_output, x), p, dw, by)


@dataclass(frozen=True)
class Only:
    """The same functions by one algorithm, for every shape that it can do."""

    by: str

    def forward(self, *arguments: Any) -> bool:
        """Fill y."""
        return forward(*arguments, by=self.by)

    def grad_input(self, *arguments: Any) -> bool:
        """Fill dx."""
        return grad_input(*arguments, by=self.by)

    def grad_weight(self, *arguments: Any) -> bool:
        """Fill dw."""
        return grad_weight(*arguments, by=self.by)


def _done(
    of: str, machine: Any, arguments: tuple[Any, ...], p: Any, result: Array, by: str | None
) -> bool:  # fmt: skip
    if not result.size:
        return True
    if not arguments[0].size:
        result.fill(0)  # of no image there is no gradient
        return True
    by = by or algorithm(p, result.dtype, of)
    if by is None or result.dtype.name not in FORMATS:
        return False
    if by == "implicit" and not implicit.applies(conv_of(p), result.dtype, of):
        return False
    getattr(implicit if by == "implicit" else columns, of)(machine, *arguments, p, result)
    return True
