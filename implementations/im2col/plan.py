"""Which of several ways to the same result is taken: what is measured to be quickest, nothing else.

A wrong choice here costs time or memory and never a number.
"""

from implementations.shapes import Pair

BLOCK = 2**22  # bytes of columns at a time: what a core's cache holds, and plenty for a GEMM
WIDE = 256  # columns that a GEMM should have: smaller images are taken together up to there
NARROW = 64  # filters at most: dw is computed transposed, where that is the better GEMM
FOLD, COPY = 2, 2  # what adding a number to its pixel costs, and copying one of a weight


def block(counts: Pair, depth: int, itemsize: int) -> Pair:
    """Return how many rows of windows [OH, OW] are columns at a time, and of how many images.

    The columns fill `BLOCK` bytes at most, but a row of windows is never divided.
    """
    down, across = counts
    row = depth * across * itemsize
    parts = -(-down // max(1, BLOCK // row))
    return -(-down // parts), max(1, min(WIDE // (down * across), BLOCK // (row * down)))


def transposes(filters: int, depth: int) -> bool:
    """Return whether dw [M, C*KH*KW] of a group is computed as its transpose."""
    return filters <= NARROW < depth


def folds(channels: int, windows: int, filters: int, depth: int) -> bool:
    """Return whether columns are added up to dx, rather than dx gathered from dy as a correlation.

    The one adds, for each tap, a number for every channel and window; the other copies one for
    every filter and window, and the weight once.
    """
    return FOLD * channels * windows < filters * (windows + COPY * depth)
