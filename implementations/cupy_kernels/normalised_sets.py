"""Sets of numbers that have one mean and one variance: where they lie, and what is done with them.

What is here knows no protocol: arrays that fit each other, and the `Sets` of an array.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels import algorithms
from gradoracle.implementations.cupy_kernels.machine import Machine, Source, accumulator
from gradoracle.implementations.cupy_kernels.structs import MOST, Struct
from gradoracle.implementations.shapes import Array, Shape

SOURCE = Source(
    "normalisation.cu",
    (
        "normalise", "normalise_grad_x", "set_moments", "normalise_grad_weight", "normalise_given",
        "normalise_given_grad_x", "given_moments", "running_moments",
    ),
)  # fmt: skip
SETS = np.dtype([
    (name, np.int32) for name in ("length", "run", "jump", "step", "groups", "depth", "pixels")
])  # fmt: skip


@dataclass(frozen=True)
class Sets:
    """The sets of an array [images, channels, pixels], each of a number of channels of an image.

    With `of_images` a set is a channel's, in all images.
    """

    images: int
    channels: int
    pixels: int
    groups: int = 1  # of channels
    of_images: bool = False
    centred: bool = True  # the mean is taken off

    @property
    def depth(self) -> int:
        """Return how many channels a set has."""
        return 1 if self.of_images else self.channels // self.groups

    @property
    def count(self) -> int:
        """Return how many sets there are."""
        return self.channels if self.of_images else self.images * self.groups

    @property
    def length(self) -> int:
        """Return how many numbers a set has."""
        return (self.images if self.of_images else self.depth) * self.pixels

    @property
    def struct(self) -> Struct:
        """Return the kernels' `Sets`.

        Raises:
            NotImplementedError: a set is too long for the kernels.
        """
        if max(self.length, self.channels * self.pixels) > MOST:
            raise NotImplementedError(
                f"{self.length} numbers with one mean: kernels count to {MOST}"
            )
        if self.of_images:
            p, every = self.pixels, self.channels * self.pixels
            return np.array((self.length, p, every, p, self.channels, 1, self.length), SETS)
        of = (self.length, self.length, 0, self.length, self.groups, self.depth, self.pixels)
        return np.array(of, SETS)


def of_rows(shape: Shape, *, centred: bool = True) -> Sets:
    """Return the rows of an array [..., C]."""
    return Sets(int(np.prod(shape[:-1])), shape[-1], 1, centred=centred)


def of_groups(shape: Shape, groups: int) -> Sets:
    """Return the groups of channels of every image of an array [N, C, H, W]."""
    return Sets(shape[0], shape[1], shape[2] * shape[3], groups)


def of_channels(shape: Shape) -> Sets:
    """Return the channels of an array [N, C, H, W]."""
    return Sets(shape[0], shape[1], shape[2] * shape[3], shape[1], of_images=True)


def forward(
    machine: Machine, x: Array, weight: Array | None, bias: Array | None, sets: Sets, eps: float
) -> Array:
    """Return (x - mean) / sqrt(variance + eps) * weight + bias."""
    y = machine.empty(x.shape, x.dtype)
    arguments = (x, weight, bias, y, sets.struct, np.int32(sets.centred), float(eps))
    _launch(machine, "normalise", arguments, sets, x.dtype)
    return y


def grad_x(
    machine: Machine, grad_output: Array, x: Array, weight: Array | None, sets: Sets, eps: float
) -> Array:
    """Return the gradient by x."""
    dx = machine.empty(x.shape, x.dtype)
    arguments = (grad_output, x, weight, dx, sets.struct, np.int32(sets.centred), float(eps))
    _launch(machine, "normalise_grad_x", arguments, sets, x.dtype)
    return dx


def moments(machine: Machine, x: Array, sets: Sets, eps: float) -> tuple[Array, Array]:
    """Return the mean of each set, and sqrt(variance + eps)."""
    means, roots = (machine.empty((sets.count,), accumulator(x.dtype)) for _ in range(2))
    arguments = (x, means, roots, sets.struct, np.int32(sets.centred), float(eps))
    _launch(machine, "set_moments", arguments, sets, x.dtype)
    return means, roots


def grad_weight(
    machine: Machine, grad_output: Array, x: Array, found: tuple[Array, Array], sets: Sets
) -> Array:
    """Return the gradient by the weight, of moments that were found."""
    if not x.size:
        return machine.zeros((sets.channels,), x.dtype)
    dw = machine.empty((sets.channels,), x.dtype)
    sides = (sets.images, sets.channels, sets.pixels)
    of_image = 0 if sets.of_images else sets.groups
    machine.sums(
        SOURCE, "normalise_grad_weight", (grad_output, x, *found, dw, *sides, of_image, sets.depth),
        count=sets.channels, terms=sets.images * sets.pixels, dtype=x.dtype,
    )  # fmt: skip
    return dw


def grad_bias(machine: Machine, grad_output: Array, sets: Sets) -> Array:
    """Return the gradient by the bias, which is the sum of dy."""
    shape = (sets.images, sets.channels, sets.pixels, 1)
    return algorithms.channel_sums(machine, grad_output.reshape(shape))


def _launch(
    machine: Machine, kernel: str, arguments: tuple[Any, ...], sets: Sets, dtype: Any
) -> None:
    machine.rows(
        SOURCE, kernel, arguments, count=sets.count, terms=sets.length, dtype=dtype
    )  # fmt: skip
