"""Average pooling to a given size, and its gradient as a gather."""

import numpy as np

from gradoracle.implementations.cupy_kernels import structs
from gradoracle.implementations.cupy_kernels.machine import Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, Pair, Shape, check_image

SOURCE = Source("adaptive_pool.cu", ("adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_input"))
ADAPTIVE = np.dtype([(name, np.int32) for name in ("H", "W", "OH", "OW")])


def adaptive_avg_pool2d(x: Array, *, output_size: Pair) -> Array:
    """Return the means [N, C, *output_size].

    Raises:
        ValueError: the shapes fit no pooling.
    """
    windows = structs.pair("output_size", output_size)
    machine, (x,) = place(x=x)
    check_image("x", x.shape)
    if min(windows) < 1:
        raise ValueError(f"output_size must be two numbers of at least 1, got {output_size}")
    y = machine.empty((*x.shape[:2], *windows), x.dtype)
    arguments = (x, y, x.shape[0] * x.shape[1], np.array((*x.shape[2:], *windows), ADAPTIVE))
    machine.each(SOURCE, "adaptive_avg_pool2d", arguments, count=y.size, dtype=y.dtype)
    return y


def adaptive_avg_pool2d_grad_input(grad_output: Array, *, input_shape: Shape) -> Array:
    """Return dx of shape `input_shape`: every dy, divided as forward, added to its window.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    input_shape = structs.sizes("input_shape", input_shape)
    machine, (dy,) = place(grad_output=grad_output)
    check_image("input_shape", input_shape)
    check_image("grad_output", dy.shape)
    if dy.shape[:2] != input_shape[:2]:
        raise ValueError(f"grad_output {dy.shape} does not fit {input_shape}")
    dx = machine.empty(input_shape, dy.dtype)
    sides = np.array((*input_shape[2:], *dy.shape[2:]), ADAPTIVE)
    arguments = (dy, dx, input_shape[0] * input_shape[1], sides)
    machine.each(SOURCE, "adaptive_avg_pool2d_grad_input", arguments, count=dx.size, dtype=dx.dtype)
    return dx
