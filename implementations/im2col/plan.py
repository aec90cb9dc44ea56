"""Which of several ways to the same result is taken: what is measured to be quickest, nothing else.

A wrong choice here costs time or memory and never a number.
"""

from math import prod

from gradoracle.implementations.shapes import Pair, Shape, Sides

BLOCK = 2**22  # bytes of columns at a time: what a core's cache holds, and plenty for a GEMM
WIDE = 256  # columns that a GEMM should have: smaller images are taken together up to there
NARROW = 64  # filters at most: dw is computed transposed, where that is the better GEMM
FOLD, COPY = 2, 2  # what adding a number to its pixel costs, and copying one of a weight


def block(channels: int, taps: Sides, counts: Sides, itemsize: int) -> Pair:
    """Return how many rows of windows are columns at a time, and of how many images.

    A row is all windows at one place of the first axis.  The columns fill `BLOCK` bytes at most,
    but
    a row is never divided.
    """
    down, across = counts[0], prod(counts[1:])
    row = channels * prod(taps) * across * itemsize
    parts = -(-down // max(1, BLOCK // row))
    return -(-down // parts), max(1, min(WIDE // (down * across), BLOCK // (row * down)))


def transposes(weight: Shape, groups: int) -> bool:
    """Return whether dw, of a shape [M, C/groups, *taps], is computed as its transpose."""
    return weight[0] // groups <= NARROW < prod(weight[1:])


def folds(grad_output: Shape, weight: Shape, groups: int) -> bool:
    """Return whether columns are added up to dx, rather than dx gathered from dy as a correlation.

    The one adds, for each tap, a number for every channel and window; the other copies one for
    every filter and window, and the weight once.
    """
    windows, (filters, depth) = prod(grad_output) // grad_output[1], weight[:2]
    folding = FOLD * depth * groups * windows
    return prod(weight[2:]) > 1 and folding < filters * (windows + COPY * depth)
