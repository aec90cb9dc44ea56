"""002, a lecture notebook: "CNN - Training - II"."""

from fractions import Fraction
from typing import Any

import numpy as np

from gradoracle.oracle.declaration import Call, evaluate
from gradoracle.oracle.document_forms import conv2d as conv2d_forms
from gradoracle.oracle.errata.diary import TWO_PIXELS, gather
from gradoracle.oracle.errata.erratum import (
    Undefined,
    activation,
    assumption,
    convolution,
    misprint,
    read,
)
from gradoracle.oracle.formulas.activations import leaky_relu_grad, relu, relu_grad
from gradoracle.oracle.formulas.convolution import conv2d, conv2d_grad_input, conv2d_grad_weight
from gradoracle.oracle.formulas.softmax import probabilities, softmax_grad
from gradoracle.oracle.shapes import Array, Shape


@misprint(
    "002, Task 2, Step 2 and formula",
    printed="dL/dW = sum over i < f_h and j < f_w, the filter's size",
    right="i < OH and j < OW, the output's size; the two agree in the figures only",
    formula=conv2d_grad_weight,
    call=convolution([[[[0]]]], grad_output=[0, 1], x=[[[[0, 1]]]]),
)
def sums_over_the_filter(call: Call) -> Array:
    """dW(i',j') = sum_{i=0}^{f_h-1} sum_{j=0}^{f_w-1} dZ(i,j) Y(i*s_h+i', j*s_w+j')."""
    dy, x, stride = call["grad_output"][0], call["x"][0], call["stride"]
    dw = np.zeros(call["weight_shape"], object)
    for m, c, p, q in np.ndindex(dw.shape):
        for i, j in np.ndindex(dw.shape[2:]):
            dw[m, c, p, q] += dy[m, i, j] * x[c, i * stride[0] + p, j * stride[1] + q]
    return dw


@misprint(
    "002, Task 2 with stride > 1",
    printed="dL/dW must be upsampled",
    right="dL/dZ must be upsampled (or Y read at i*s_h + i')",
    name="upsamples dW",
    formula=conv2d_grad_weight,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0, 0]]]], stride=(1, 2)),
)
def upsamples_dw(call: Call) -> Array:
    """Slide dL/dZ over Y as it is, and upsample what comes out."""
    dy, x, stride = call["grad_output"][0], call["x"], call["stride"]
    places = (x.shape[2] - dy.shape[1] + 1, x.shape[3] - dy.shape[2] + 1)
    compact = conv2d_forms.grad_weight_000(dy, x[0], places)
    return np.stack([conv2d_forms.upsample(filters, stride, None) for filters in compact])


@misprint(
    "002, forward pass under Task 2, Step 1",
    printed="Z(i,j,k) = b_k + sum over k_in = 0..n_k",
    right="k_in = 0..n_k - 1",
    formula=conv2d,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0]]]]),
)
def reads_one_channel_too_many(call: Call) -> Array:
    """Sum over k_in up to n_k, the last included."""
    x, weight, stride = call["x"][0], call["weight"], call["stride"]
    z = np.zeros(call["grad_output"].shape, object)
    for k, i, j in np.ndindex(z.shape[1:]):
        z[0, k, i, j] = call["bias"][k]
        for p, q in np.ndindex(weight.shape[2:]):
            for k_in in range(len(x) + 1):
                y = read("Y", x, k_in, i * stride[0] + p, j * stride[1] + q)
                z[0, k, i, j] += y * weight[k, k_in, p, q]
    return z


@misprint(
    "002, Task 1, Step 1, on Z(0,0,k), Z(1,0,k) and Z(i',j',k); Task 2, 'just one input map value'",
    printed="Z(i',j',k) = Y(i,j,k_in) W(i-i', j-j', k_in, k)",
    right="the sum of all such products: one of them is the influence of one pixel",
    formula=conv2d,
    call=convolution([[[[1, 0]]]], grad_output=[0], x=[[[[1, 0]]]]),
)
def keeps_one_product(call: Call) -> Array:
    """Take the product of the window's last pixel, as Z(0,0,k) = Y(2,2,k_in) W(2,2,k_in,k) does."""
    x, weight = call["x"][0], call["weight"]
    z = np.zeros(call["grad_output"].shape, object)
    last = weight.shape[2] - 1, weight.shape[3] - 1
    for k, i, j in np.ndindex(z.shape[1:]):
        top, left = i * call["stride"][0], j * call["stride"][1]
        z[0, k, i, j] = x[0, top + last[0], left + last[1]] * weight[k, 0, *last]
    return z


@misprint(
    "002, 'influence equation' of both tasks; dL/dY(2,2,k_in) = dL/dZ(0,0,k) W(2,2,k_in,k)",
    printed="dL/dY(i,j,k_in) = dL/dZ(i',j',k) * dZ(i',j',k)/dY(i,j,k_in)",
    right="the sum of that over i', j' and k (dL/dW: over i and j), as in the last formula",
    formula=conv2d_grad_input,
    also=(conv2d_grad_weight,),
    call=convolution([[[[0]]], [[[1]]]], grad_output=[0, 1], x=[[[[0]]]]),
)
def keeps_one_term_of_the_chain_rule(call: Call) -> Array:
    """Take the term of (i', j', k) = (0, 0, 0)."""
    dy = np.zeros_like(call["grad_output"])
    dy[0, 0, 0, 0] = call["grad_output"][0, 0, 0, 0]
    return evaluate(conv2d_grad_input, {**call, "grad_output": dy})


@misprint(
    "002, Steps 2 and 3 of Task 1, Step 2 of Task 2",
    printed="dZ(i',j',k)/dY(i,j) = sum over i', j' of W(i-i', j-j'), then times dL/dZ",
    right="the product with dL/dZ(i',j',k) is inside the sum",
    formula=conv2d_grad_input,
    also=(conv2d_grad_weight,),
    call=convolution([[[[1]]]], grad_output=[1, 0], x=[[[[0, 0]]]]),
)
def sums_the_influence_first(call: Call) -> Array:
    """Multiply the summed influence by dL/dZ(0, 0, 0)."""
    ones = {**call, "grad_output": np.ones_like(call["grad_output"])}
    dx: Array = evaluate(conv2d_grad_input, ones) * call["grad_output"].ravel()[0]
    return dx


@misprint(
    "002, Task 1, formula; so too dL/Z(k) and dL/W(k) beside the figures of Task 2",
    printed="dL/dY = dL/dZ(i',j',k) * Z(i',j',k) / Y(i,j,k_in)",
    right="dL/dZ(i',j',k) * dZ(i',j',k) / dY(i,j,k_in), derivatives",
    name="divides Z by Y",
    formula=conv2d_grad_input,
    reads=("x",),
    call=convolution([[[[1, 1]]]], grad_output=[1], x=[[[[1, 1]]]]),
)
def divides_z_by_y(call: Call) -> Array:
    """Divide the numbers, and sum over every Z(i',j',k) that sees the pixel."""
    z, dy = evaluate(conv2d, call)[0], call["grad_output"][0]
    dx = np.zeros(call["input_shape"], object)
    for c, h, w in np.ndindex(dx.shape[1:]):
        for k, i, j in np.ndindex(z.shape):
            if 0 <= h - i < call["weight"].shape[2] and 0 <= w - j < call["weight"].shape[3]:
                dx[0, c, h, w] += dy[k, i, j] * Fraction(z[k, i, j], call["x"][0, c, h, w])
    return dx


def _right_of_the_first(call: Call) -> Any:
    return evaluate(conv2d, call)[0, 0, 0, 1]


@misprint(
    "002, 'move the filter by a single stride on the right'; so too dL/dZ(1,0,k) W(1,2,k_in,k)",
    printed="Z(1,0,k), by way of W(1,2)",
    right="Z(0,1,k), by way of W(2,1): the row comes first, as in i < f_h; Z(1,0,k) lies below",
    formula=conv2d,
    corrected=_right_of_the_first,
    call=TWO_PIXELS,
)
def goes_down_for_right(call: Call) -> Any:
    """Read that element of Z."""
    return read("Z", evaluate(conv2d, call)[0, 0], 1, 0)


@misprint(
    "002, 'Task 1: Implementation', on the backward convolution",
    printed="the convolution of all output maps Z and the flipped filter W",
    right="of all derivative maps dL/dZ and the flipped filter",
    name="convolves Z",
    formula=conv2d_grad_input,
    reads=("x",),
    call=convolution([[[[1]]]], grad_output=[1], x=[[[[0]]]]),
)
def convolves_z(call: Call) -> Array:
    """Convolve the forward pass's values with the flipped filter."""
    return evaluate(conv2d_grad_input, {**call, "grad_output": evaluate(conv2d, call)})


def _side_lengths(call: Call) -> Shape:
    return evaluate(conv2d, call).shape[2:]


def _full(call: Call) -> Shape:
    return evaluate(conv2d, {**call, "stride": (1, 1)}).shape[2:]


@misprint(
    "002, 'Stride > 1'; so too 'dropping Stride - 1 out of every rows'",
    printed="every side on the Z map becomes a factor stride smaller",
    right="(H + 2P - extent) // S + 1: rounded up, as the first of every S rows is kept",
    formula=conv2d,
    corrected=_side_lengths,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0]]]], stride=(1, 2)),
)
def is_a_stride_times_smaller(call: Call) -> Shape:
    """Divide the sides of the stride-1 map."""
    return tuple(side // s for side, s in zip(_full(call), call["stride"], strict=True))


def _all_values(call: Call) -> Array:
    return evaluate(conv2d, {**call, "stride": (1, 1)})


@misprint(
    "002, 'Stride > 1', on the entries of the full-sized Z map that the stride drops",
    printed="their map values (which are zero)",
    right="they have values, which nobody reads: it is their derivatives that are zero",
    formula=conv2d,
    corrected=_all_values,
    call=convolution([[[[1]]]], grad_output=[0], x=[[[[0, 1]]]], stride=(1, 2)),
)
def has_zeros_where_values_were_dropped(call: Call) -> Array:
    """Return the full-sized map."""
    rows, columns = _full(call)
    z = evaluate(conv2d, call)[0]
    return conv2d_forms.upsample(z, call["stride"], (rows, columns))[np.newaxis]


@assumption(
    "002, size of the backward map, upsampled for a stride",
    printed="(n_h + f_h - 1) x (n_w + f_w - 1) recovers the original size of Y",
    right="only if the windows fit exactly: the last (H + 2P - extent) mod S rows and columns are "
    "missing, and get 0",
    formula=conv2d_grad_input,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0, 0]]]], stride=(1, 2)),
)
def fits_exactly(call: Call) -> Array:
    """Put the zeros of the stride between the values of dZ, and convolve."""
    upsampled = conv2d_forms.upsample(call["grad_output"][0], call["stride"], None)
    return conv2d_forms.grad_input_002(upsampled, call["weight"])[np.newaxis]


@assumption(
    "002, Task 1, formula",
    printed="sum over all k, i', j' of dL/dZ(i',j',k) W(i-i', j-j', k_in, k)",
    right="over the (i', j') with 0 <= i-i' < f_h and 0 <= j-j' < f_w; W is not there elsewhere",
    formula=conv2d_grad_input,
    call=TWO_PIXELS,
)
def has_weights_outside_the_filter(call: Call) -> Array:
    """Let i' and j' run over the whole map."""
    return gather(call, lambda _h, _taps, rows: range(rows))


@assumption(
    "002, Activation Layer; 003, d act-func(Z^l)",
    printed="dL/dZ = dL/dY f'(Z)",
    right="where f has a kink there is no f'(Z): relu'(0) = 0, leaky_relu'(0) = negative_slope",
    formula=relu_grad,
    also=(leaky_relu_grad,),
    call=activation([0], grad_output=[0]),
)
def has_a_derivative_everywhere(call: Call) -> Array:
    """Take the slopes of relu to the left and to the right, which must be one."""
    z = call["z"]
    left, right = relu(z) - relu(z - 1), relu(z + 1) - relu(z)
    if (left != right).any():
        raise Undefined("at 0 the slope of relu is 0 to the left and 1 to the right")
    return np.asarray(call["grad_output"] * left)


@assumption(
    "002, Activation Layer (said); 003, the product with d act-func(Z^l)",
    printed="dL/dZ = dL/dY f'(Z), element by element",
    right="a softmax is no such f: every z_i moves every p_j, dz_i = p_i (dp_i - sum dp_j p_j)",
    formula=softmax_grad,
    call=activation([0, 0], grad_output=[1, 0]),
)
def acts_element_by_element(call: Call) -> Array:
    """Multiply dp_i by dp_i/dz_i = p_i (1 - p_i) alone."""
    p = np.array(probabilities(call["z"].tolist()), object)
    return np.asarray(call["grad_output"] * (p * (1 - p)))
