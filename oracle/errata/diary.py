"""000 and 001, two days of a CUDA diary: dE/dW and dE/dX."""

from collections.abc import Callable

import numpy as np

from gradoracle.oracle.declaration import Call, evaluate
from gradoracle.oracle.document_forms import conv2d as conv2d_forms
from gradoracle.oracle.errata.erratum import assumption, convolution, misprint, read
from gradoracle.oracle.formulas.avg_pool import avg_pool2d_grad_input
from gradoracle.oracle.formulas.convolution import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
)
from gradoracle.oracle.formulas.max_pool import max_pool2d_grad_input
from gradoracle.oracle.shapes import Array, Shape

FLIP = convolution([[[[1, 0]]]], grad_output=[1], x=[[[[0, 0]]]])
GRADIENTS = (conv2d_grad_input, conv2d_grad_weight)


@misprint(
    "001, last display; 000, Steps 3 and 4, on dE/dX",
    printed="dX[h,w] = sum dY[h-p, w-q] W[K-1-p, K-1-q]",
    right="W[p,q] with dY[h-p, w-q], or the flipped W with dY[h+p-(K-1), w+q-(K-1)]",
    formula=conv2d_grad_input,
    call=FLIP,
)
def flips_twice(call: Call) -> Array:
    """Take the terms whose h-p and w-q are in bounds, as 001 says below the display."""
    dy, weight = call["grad_output"][0], call["weight"]
    filters, rows, columns = dy.shape
    dx = np.zeros(call["input_shape"], object)
    down, across = weight.shape[2:]
    for c, h, w in np.ndindex(dx.shape[1:]):
        for m, p, q in np.ndindex(filters, down, across):
            if 0 <= h - p < rows and 0 <= w - q < columns:
                dx[0, c, h, w] += dy[m, h - p, w - q] * weight[m, c, down - 1 - p, across - 1 - q]
    return dx


@misprint(
    "001, 'substituting and simplifying'",
    printed="dE/dX[c,h,w] = sum dE/dX[m,h',w'] W[m,c,h-h',w-w']",
    right="dE/dY[m,h',w'] under the sum",
    name="reads dX under the sum",
    formula=conv2d_grad_input,
    call=convolution([[[[2]]]], grad_output=[1], x=[[[[0]]]]),
)
def reads_dx_under_the_sum(call: Call) -> Array:
    """Feed the right side the right dE/dX: the left side must come out."""
    dx = evaluate(conv2d_grad_input, call)
    size = call["grad_output"].shape[2:]
    under_the_sum = dx[0, : len(call["weight"]), : size[0], : size[1]]
    return conv2d_forms.grad_input_001(under_the_sum, call["weight"])[np.newaxis]


def _maps(call: Call) -> Shape:
    return evaluate(conv2d, call).shape[1:]


@misprint(
    "001, introduction",
    printed="Y of shape [C, H_out, W_out]",
    right="[M, H_out, W_out]",
    name="has C output maps",
    formula=conv2d,
    corrected=_maps,
    call=convolution([[[[0]]], [[[0]]]], grad_output=[0, 0], x=[[[[0]]]]),
)
def has_c_output_maps(call: Call) -> Shape:
    """Return that shape."""
    return (call["x"].shape[1], *call["grad_output"].shape[2:])


def gather(call: Call, along: Callable[[int, int, int], range]) -> Array:
    """Sum dE/dY[m,h',w'] W[m,c,h-h',w-w'] over h' in along(h, K, H_out), and w' likewise."""
    dy, weight = call["grad_output"][0], call["weight"]
    dx = np.zeros(call["input_shape"], object)
    (filters, rows, columns), (down, across) = dy.shape, weight.shape[2:]
    for c, h, w in np.ndindex(dx.shape[1:]):
        for m in range(filters):
            for i in along(h, down, rows):
                for j in along(w, across, columns):
                    dx[0, c, h, w] += read("dY", dy, m, i, j) * read(
                        "W", weight, m, c, h - i, w - j
                    )
    return dx


TWO_TAPS = convolution([[[[0, 0]]]], grad_output=[0], x=[[[[0, 0]]]])
TWO_PIXELS = convolution([[[[0]]]], grad_output=[0, 0], x=[[[[0, 0]]]])


@misprint(
    "001, below 'nonZero only if'",
    printed="h' >= 0, w' >= 0, i.e. h' < H_out and w' < W_out",
    right="h' >= 0 and h' < H_out: two conditions, and neither says the other",
    formula=conv2d_grad_input,
    call=TWO_TAPS,
)
def bounds_one_end_only(call: Call) -> Array:
    """Let h' run from max(0, h-K+1) to h."""
    return gather(call, lambda h, taps, _: range(max(0, h - taps + 1), h + 1))


@misprint(
    "001, 'Wondering how this came?'",
    printed="from H_out and p >= 0 we can infer h-K+1 <= h' <= h",
    right="p >= 0 gives h' <= h only; h-K+1 <= h' comes from p < K, and nothing from H_out",
    formula=conv2d_grad_input,
    call=TWO_PIXELS,
)
def infers_both_ends_from_one(call: Call) -> Array:
    """Let h' run wherever h' <= h, that is p >= 0, and h' < H_out allow."""
    return gather(call, lambda h, _, rows: range(min(h, rows - 1) + 1))


@assumption(
    "000, Step 3; 001, 'substituting and simplifying' (mended in the line below it)",
    printed="h' from h-K+1 to h, w' from w-K+1 to w",
    right="from max(0, h-K+1) to min(h, H_out-1): the printed range leaves the map at its edges",
    formula=conv2d_grad_input,
    call=TWO_TAPS,
)
def stays_away_from_the_edges(call: Call) -> Array:
    """Let h' run over the printed range."""
    return gather(call, lambda h, taps, _: range(h - taps + 1, h + 1))


def forward_to_the_letter(call: Call) -> Array:
    """Y[m,h,w] = sum W[m,c,p,q] X[c,h+p,w+q] over c < C, p < KH and q < KW."""
    return _forward(call, call["weight"].shape[2:])


def _forward(call: Call, kernel: Shape) -> Array:
    x, weight = call["x"][0], call["weight"]
    sides = [max(0, side - taps + 1) for side, taps in zip(x.shape[1:], kernel, strict=True)]
    y = np.zeros((1, len(weight), *sides), object)
    for m, h, w in np.ndindex(y.shape[1:]):
        for c, p, q in np.ndindex(len(x), *kernel):
            y[0, m, h, w] += read("W", weight, m, c, p, q) * x[c, h + p, w + q]
    return y


FORWARD = "000 and 001, forward pass"

assumption(
    f"{FORWARD} (said); 003 (silent)",
    name="a stride of 1",
    printed="H_out = H_in - K + 1; X[c, h+p, w+q]",
    right="(H + 2P - extent) // S + 1; X[c, h*S + p, w*S + q]",
    formula=conv2d,
    also=GRADIENTS,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0, 0]]]], stride=(1, 2)),
)(forward_to_the_letter)

assumption(
    f"{FORWARD} (said; only h + p < H_in is checked); 003 (silent)",
    name="no padding",
    printed="H_out = H_in - K + 1; X[c, h+p, w+q]",
    right="H + 2P - K + 1; X[c, h + p - P, w + q - P], where 0 <= h + p - P is to be checked too",
    formula=conv2d,
    also=GRADIENTS,
    call=convolution([[[[0]]]], grad_output=[0] * 3, x=[[[[0]]]], padding=(0, 1)),
)(forward_to_the_letter)

assumption(
    f"{FORWARD}; so too 002 and 003",
    name="no dilation",
    printed="X[c, h+p, w+q]",
    right="X[c, h + p*D, w + q*D], extent D*(K-1) + 1",
    formula=conv2d,
    also=GRADIENTS,
    call=convolution([[[[0, 0]]]], grad_output=[0], x=[[[[0, 0, 0]]]], dilation=(1, 2)),
)(forward_to_the_letter)

assumption(
    f"{FORWARD}; so too 002 and 003",
    name="no groups",
    printed="W of shape [M, C, K, K], sum over c < C",
    right="[M, C/groups, KH, KW]: a filter sees the channels of its group",
    formula=conv2d,
    also=GRADIENTS,
    call=convolution([[[[0]]], [[[0]]]], grad_output=[0, 0], x=[[[[0]], [[0]]]], groups=2),
)(forward_to_the_letter)


@assumption(
    f"{FORWARD}, dE/dW and dE/dX",
    name="a square kernel",
    printed="W of shape [M, C, K, K], p and q < K",
    right="p < KH and q < KW",
    formula=conv2d,
    also=GRADIENTS,
    call=TWO_TAPS,
)
def has_k_rows_and_k_columns(call: Call) -> Array:
    """Take the kernel's height for K."""
    taps = call["weight"].shape[2]
    return _forward(call, (taps, taps))


assumption(
    FORWARD,
    name="no bias",
    printed="Y[m,h,w] = sum W X",
    right="bias[m] + sum W X (as 002 has it)",
    formula=conv2d,
    also=(conv2d_grad_bias,),
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0]]]], bias=[1]),
)(forward_to_the_letter)


@assumption(
    "000, 'Final Expression'; so too 002's dW",
    name="one image",
    printed="dE/dW[m,c,p,q] = sum_{h,w} dE/dY[m,h,w] X[c,h+p,w+q]",
    right="sum over the images n as well: all share the weights",
    formula=conv2d_grad_weight,
    also=(conv2d_grad_bias,),
    call=convolution([[[[0]]]], grad_output=[0, 1], x=[[[[0]]], [[[1]]]]),
)
def one_image(call: Call) -> Array:
    """Take the only image that the formula can name."""
    return conv2d_forms.grad_weight_000(
        call["grad_output"][0], call["x"][0], call["weight_shape"][2:]
    )


@assumption(
    "000, Step 4; 003, 'an empty mask'",
    name="memory that is zero",
    printed="dE_dW[m,c,p,q] += dE_dY[m,h,w] X[c,h+p,w+q]",
    right="from 0 on: memory that is only allocated may hold an earlier answer",
    formula=conv2d_grad_weight,
    also=(max_pool2d_grad_input, avg_pool2d_grad_input),
    reads=("memory",),
    call={
        **convolution([[[[0]]]], grad_output=[0], x=[[[[0]]]]),
        "memory": np.array([[[[1]]]], object),
    },
)
def adds_to_what_is_there(call: Call) -> Array:
    """Add to memory that nobody has set."""
    return np.asarray(call["memory"] + evaluate(conv2d_grad_weight, call))
