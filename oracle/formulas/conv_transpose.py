"""Transposed convolution and its three gradients: the loops of the convolution, read backwards.

003 calls it what puts the elements of a convolution's output back to where they came from: every
input pixel lays a copy of the kernel, times its value, over the output.  Index names are those of
`oracle.conv2d`, but here (i, j) is an *input* pixel and (h, w) an output pixel, and the kernel of
input channel c and output channel m is weight[c, m].

Source: document 003 ("The transposed convolution computes", and the paragraph before); stride,
padding and dilation as 002 has them for the convolution it belongs to; output_padding and groups
are PyTorch's.
"""

import math
from typing import Unpack

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.formulas.convolution import (
    Convolution,
    _sum_by_pixel,
    _sum_by_tap,
    _sum_by_window,
    grad_bias,
)
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import (
    Array,
    ConvTransposeOptions,
    Shape,
    check_shape,
    conv_transpose_shapes,
)
from gradoracle.oracle.windows import flat, meetings

OUTPUT = "the transposed convolution's output has"


def transposed_convolution(rank: int) -> Convolution:
    """Return the formulas of a transposed convolution of `rank` spatial axes."""

    @multilinear("x", "weight", plus="bias", images="kept")
    @named("conv_transpose2d", rank)
    def conv_transpose(
        x: Array, weight: Array, bias: Array | None = None, **options: Unpack[ConvTransposeOptions]
    ) -> Array:
        """Return y [N, M, OH, OW] from x [N, C, H, W], weight [C, M/groups, KH, KW] and bias [M].

            y[n,m,h,w] = bias[m] + sum of x[n,c,i,j] weight[c,m',p,q] over c of m's group and (p, q)
                         with i*S + p*D - P = h and j*S + q*D - P = w

        (003, the transposed convolution of W and Z; m' counts m within its group).  output_padding
        adds pixels at the end of each axis, which get what the kernel lays there, else the bias
        alone.  dtype follows x.

        Raises:
            ValueError: the shapes or options fit no transposed convolution.
        """
        shapes = conv_transpose_shapes(rank, x.shape, weight.shape, **options)
        if bias is None:
            bias = np.zeros(shapes.y[1], x.dtype)
        check_shape("bias", bias.shape, shapes.y[1:2], "the number of output channels demands")
        y = np.zeros(shapes.y, x.dtype)
        met, groups = meetings(*shapes.meeting), options["groups"]
        products = y.size * math.prod(shapes.weight[2:]) * shapes.x[1] // groups
        arrays = flat(x), flat(weight), bias
        run(_sum_by_pixel, flat(y), *arrays, groups, *met.by_pixel, products=products)
        return y

    @multilinear("grad_output", "weight", images="kept")
    @named("conv_transpose2d_grad_input", rank)
    def grad_input(
        grad_output: Array,
        weight: Array,
        *,
        input_shape: Shape,
        **options: Unpack[ConvTransposeOptions],
    ) -> Array:
        """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, M, OH, OW].

            dx[n,c,i,j] = sum_{m',p,q} dy[n, first(c)+m', i*S+p*D-P, j*S+q*D-P] weight[c,m',p,q]

        (000, forward pass: going back through a transposed convolution is the convolution itself,
        as 003's transposed convolution is going back through one).  first(c) is the first output
        channel of c's group.  dtype follows dy.

        Raises:
            ValueError: the shapes or options fit no transposed convolution.
        """
        shapes = conv_transpose_shapes(rank, input_shape, weight.shape, **options)
        check_shape("grad_output", grad_output.shape, shapes.y, OUTPUT)
        dx = np.zeros(shapes.x, grad_output.dtype)
        met, groups = meetings(*shapes.meeting), options["groups"]
        products = dx.size * math.prod(shapes.weight[1:])
        no_bias = np.zeros(shapes.x[1], grad_output.dtype)
        arrays = flat(grad_output), flat(weight), no_bias
        run(_sum_by_window, flat(dx), *arrays, groups, *met.by_window, products=products)
        return dx

    @multilinear("grad_output", "x", images="summed")
    @named("conv_transpose2d_grad_weight", rank)
    def grad_weight(
        grad_output: Array,
        x: Array,
        *,
        weight_shape: Shape,
        **options: Unpack[ConvTransposeOptions],
    ) -> Array:
        """Return dw = dE/dweight, of shape `weight_shape` [C, M/groups, KH, KW], of all images.

            dw[c,m',p,q] = sum_{n,i,j} x[n,c,i,j] dy[n, first(c)+m', i*S+p*D-P, j*S+q*D-P]

        (000, "Final Expression", x and dy in each other's place).  dtype follows dy.

        Raises:
            ValueError: the shapes or options fit no transposed convolution.
        """
        shapes = conv_transpose_shapes(rank, x.shape, weight_shape, **options)
        check_shape("grad_output", grad_output.shape, shapes.y, OUTPUT)
        dw = np.zeros(shapes.weight, grad_output.dtype)
        met, groups = meetings(*shapes.meeting), options["groups"]
        products = math.prod(shapes.x) * math.prod(shapes.weight[1:])
        arrays = flat(x), flat(grad_output)
        run(_sum_by_tap, flat(dw), *arrays, groups, *met.by_tap, products=products)
        return dw

    bias = grad_bias("conv_transpose2d_grad_bias", rank)
    formulas = Convolution(conv_transpose, grad_input, grad_weight, bias)
    axes = axes_of_rank(
        rank,
        "x: n c ({pixels}); weight: c m/g ({taps}); bias?: m; grad_output: n m ({windows})",
        {"n": "images", "m": "filters", "c": "channels"},
        {"input_shape": "x", "weight_shape": "weight"},
        strided="grad_output",
        neutral={"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0, "groups": 1},
    )
    declare_axes(axes, *formulas)
    return formulas


TRANSPOSED = {rank: transposed_convolution(rank) for rank in RANKS}
(
    conv_transpose1d,
    conv_transpose1d_grad_input,
    conv_transpose1d_grad_weight,
    conv_transpose1d_grad_bias,
) = TRANSPOSED[1]
(
    conv_transpose2d,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    conv_transpose2d_grad_bias,
) = TRANSPOSED[2]
(
    conv_transpose3d,
    conv_transpose3d_grad_input,
    conv_transpose3d_grad_weight,
    conv_transpose3d_grad_bias,
) = TRANSPOSED[3]
