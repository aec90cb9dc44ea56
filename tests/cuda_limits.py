"""What compiled kernels may need: the gate's table.

`share` is the least share of multiply-adds among the instructions of the main loop.
"""

from typing import NamedTuple

ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)
TARGET = 90
# Bytes that may be spilled: on Blackwell the compilers find no room for two of the largest tiles.
SPILLED = {100: 192, 120: 192}


class Limit(NamedTuple):
    """The most registers of a thread and bytes of shared memory, and the least share."""

    registers: int
    shared: int
    share: float | None = None


KERNELS = {
    "convolve<float, 128, 128>": Limit(128, 16640, 0.80),
    "convolve<float, 64, 128>": Limit(168, 12544, 0.78),
    "convolve<float, 128, 64>": Limit(168, 12544, 0.78),
    "convolve<float, 64, 64>": Limit(168, 8448, 0.78),
    "grad_weight<float, 128, 128>": Limit(128, 17984, 0.76),
    "grad_weight<float, 64, 128>": Limit(168, 13888, 0.72),
    "grad_weight<float, 128, 64>": Limit(168, 13376, 0.72),
    "grad_weight<float, 64, 64>": Limit(168, 9280, 0.72),
}
OTHERS = Limit(128, 8192)  # kernels that wait for memory, not for arithmetic
