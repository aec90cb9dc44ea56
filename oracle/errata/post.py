"""003, a post: "Backpropagation through Convolutions", up to its pooling layers."""

from fractions import Fraction
from typing import Any

import numpy as np

from gradoracle.oracle.declaration import Call, evaluate
from gradoracle.oracle.document_forms import conv2d as conv2d_forms
from gradoracle.oracle.errata.diary import FLIP
from gradoracle.oracle.errata.erratum import (
    Undefined,
    activation,
    assumption,
    back_to_an_image,
    convolution,
    fully_connected,
    misprint,
    read,
)
from gradoracle.oracle.formulas.activations import (
    leaky_relu_grad,
    relu_grad,
    sigmoid_grad,
    tanh_grad,
)
from gradoracle.oracle.formulas.conv_transpose import conv_transpose2d
from gradoracle.oracle.formulas.convolution import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
)
from gradoracle.oracle.formulas.cross_entropy import cross_entropy_grad
from gradoracle.oracle.formulas.linear import (
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
)
from gradoracle.oracle.formulas.update import batch_mean
from gradoracle.oracle.shapes import Array, Shape


@misprint(
    "003, dZ^l through a convolutional layer, each time",
    printed="dZ^l is the transposed convolution of the flipped kernel and dZ^{l+1}",
    right="of the kernel, or a full correlation with the flipped one: not both",
    formula=conv2d_grad_input,
    also=(conv_transpose2d,),
    call=FLIP,
)
def transposes_the_flipped_kernel(call: Call) -> Array:
    """Lay the flipped kernel where the windows were."""
    flipped = call["weight"][:, :, ::-1, ::-1]
    return conv2d_forms.grad_input_003(call["grad_output"][0], flipped)[np.newaxis]


@misprint(
    "003, 'Prior to doing so'",
    printed="dZ^l from the kernel at the l-th layer, K^l, and dZ^{l+1}",
    right="from K^{l+1}, as in the displays: it is layer l+1 that is gone back through",
    formula=conv2d_grad_input,
    reads=("kernel_of_l",),
    call={
        **convolution([[[[1]]]], grad_output=[1], x=[[[[0]]]]),
        "kernel_of_l": np.array([[[[0]]]], object),
    },
)
def takes_the_kernel_of_the_layer_below(call: Call) -> Array:
    """Go back through K^l."""
    return evaluate(conv2d_grad_input, {**call, "weight": call["kernel_of_l"]})


@misprint(
    "003, 'Prior to doing so' and 'So, going back'; 'individual gradient values'; last formula",
    printed="dZ^l is simply what comes back from layer l+1; dZ^{l-1} is just the values of dZ^l",
    right="times the derivative of the activation at Z, as in the displays between",
    formula=relu_grad,
    also=(leaky_relu_grad, sigmoid_grad, tanh_grad),
    call=activation([-1], grad_output=[1]),
)
def leaves_the_activation_out(call: Call) -> Array:
    """Pass on what comes back."""
    return np.asarray(call["grad_output"])


@misprint(
    "003, dB",
    printed="dB_ij = sum_{i,j} dZ_ij",
    right="dB = sum_{i,j} dZ_ij: one number per filter",
    formula=conv2d_grad_bias,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0]]]]),
)
def has_a_bias_per_pixel(call: Call) -> Array:
    """Give every (i, j) on the left its element."""
    dy = call["grad_output"]
    return np.broadcast_to(dy.sum(axis=(0, 2, 3))[:, None, None], dy.shape[1:])


@misprint(
    "003, dB",
    printed="sum_{i=0}^{I} sum_{j=0}^{J}",
    right="i < I and j < J, where the map has I x J positions",
    formula=conv2d_grad_bias,
    call=convolution([[[[0]]]], grad_output=[0], x=[[[[0]]]]),
)
def reads_one_row_too_many(call: Call) -> Array:
    """Sum up to I and J, the last included."""
    dy = call["grad_output"][0]
    db = np.zeros(len(dy), object)
    for m in range(len(dy)):
        for i, j in np.ndindex(dy.shape[1] + 1, dy.shape[2] + 1):
            db[m] += read("dZ", dy, m, i, j)
    return db


@misprint(
    "003, batch mean",
    printed="dB = 1/beta sum_{s=0}^{beta} dB_s",
    right="s = 0..beta-1",
    formula=batch_mean,
    call={"gradient_per_image": np.array([0], object)},
)
def sums_beta_plus_one_images(call: Call) -> Array:
    """Sum up to beta, the last included."""
    images = call["gradient_per_image"]
    beta = len(images)
    return np.asarray(Fraction(sum(read("dB", images, s) for s in range(beta + 1)), beta))


@misprint(
    "003, batch mean",
    printed="dW = 1/beta dW",
    right="1/beta sum_{s=0}^{beta-1} dW_s, as for dB",
    name="has dW on both sides",
    formula=batch_mean,
    call={"gradient_per_image": np.array([1, 0], object)},
)
def has_dw_on_both_sides(call: Call) -> Array:
    """Solve the equation: for more than one image only 0 is a beta-th of itself."""
    images = call["gradient_per_image"]
    return np.asarray(0) if len(images) > 1 else evaluate(batch_mean, call)


def _averages_once(call: Call) -> Array:
    """Return dW of a mean loss: the images' gradients, averaged once."""
    per_image = [
        evaluate(conv2d_grad_weight, {**call, **_image(call, n)}) for n in range(len(call["x"]))
    ]
    return evaluate(batch_mean, {"gradient_per_image": np.stack(per_image) * Fraction(1)})


def _image(call: Call, n: int) -> dict[str, Array]:
    return {name: call[name][n : n + 1] for name in ("x", "grad_output")}


@assumption(
    "003, batch mean",
    name="the loss is a sum",
    printed="average all our gradients over the batch size",
    right="once: not again where the loss is a mean over the batch, whose dZ has the 1/beta in it",
    formula=conv2d_grad_weight,
    also=(conv2d_grad_bias, linear_grad_weight, linear_grad_bias, batch_mean, cross_entropy_grad),
    corrected=_averages_once,
    call=convolution([[[[0]]]], grad_output=[1, 0], x=[[[[1]]], [[[0]]]]),
)
def averages_twice(call: Call) -> Array:
    """Average dW over the batch, of a dZ that comes from a mean loss."""
    beta = len(call["grad_output"])
    of_a_mean = {**call, "grad_output": call["grad_output"] * Fraction(1, beta)}
    dw: Array = evaluate(conv2d_grad_weight, of_a_mean) * Fraction(1, beta)
    return dw


@assumption(
    "003, batch mean",
    name="an image at least",
    printed="dW = 1/beta ...",
    right="an empty batch is legal, and its summed dW and dB are 0; only its mean is undefined",
    formula=conv2d_grad_weight,
    also=(conv2d_grad_bias, batch_mean),
    call=convolution([[[[0]]]], grad_output=[], x=np.zeros((0, 1, 1, 1))),
)
def divides_by_no_image(call: Call) -> Array:
    """Divide the sum by the batch's size."""
    beta = len(call["grad_output"])
    if not beta:
        raise Undefined("1/beta with beta = 0")
    dw: Array = evaluate(conv2d_grad_weight, call) * Fraction(1, beta)
    return dw


@assumption(
    "003, W * X = Z ('slid over'); 000, 001 and 002, 'convolution'",
    name="a convolution is one",
    printed="Z is the convolution of W and X",
    right="their cross-correlation, Z_ij = sum W_pq X_{i+p,j+q}: a convolution flips the kernel",
    formula=conv2d,
    call=convolution([[[[1, 0]]]], grad_output=[0], x=[[[[1, 0]]]]),
)
def flips_in_the_forward_pass(call: Call) -> Array:
    """Convolve in the mathematical sense."""
    return evaluate(conv2d, {**call, "weight": call["weight"][:, :, ::-1, ::-1]})


@assumption(
    "003, O_ij",
    name="one filter",
    printed="O_ij = A_patch_ij * dZ_ij, element by element",
    right="dZ_ij has an element per filter: dW[m] is the sum of A_patch_ij dZ[m]_ij",
    formula=conv2d_grad_weight,
    also=(linear_grad_weight,),
    call=convolution([[[[0]]], [[[0]]]], grad_output=[0, 0], x=[[[[0]]]]),
)
def multiplies_element_by_element(call: Call) -> Array:
    """Multiply every patch, of the filter's shape [C, K, K], by dZ_ij."""
    dy, shape = call["grad_output"][0], call["weight_shape"]
    if len(dy) != 1:
        raise Undefined(f"a patch {[*shape[1:]]} and dZ_ij [{len(dy)}] are not of one shape")
    return evaluate(conv2d_grad_weight, call)


@assumption(
    "003, X-hat; 'is the same dimensions as Z^l'",
    name="the windows fit exactly",
    printed="X-hat, the transposed convolution of W and Z, has the shape of X",
    right="with a stride it may lack (H + 2P - extent) mod S rows and columns: output_padding",
    formula=conv_transpose2d,
    also=(conv2d_grad_input,),
    corrected=lambda call: evaluate(conv_transpose2d, call).shape,
    call=back_to_an_image([[[[0]]]], [[[[0]]]], stride=(1, 2), image=(1, 1, 1, 2)),
)
def recovers_the_shape(call: Call) -> Shape:
    """Return the shape of the transposed convolution as 003 has it."""
    return evaluate(conv_transpose2d, {**call, "output_padding": (0, 0)}).shape


@assumption(
    "003, dZ^l of a fully connected layer",
    name="one column",
    printed="dZ^l = (W^{l+1})^T dZ^{l+1}",
    right="for columns [M, N]; a batch of rows [N, M], as libraries have it, goes back by dZ W",
    formula=linear_grad_input,
    call=fully_connected([[0]], grad_output=[[0], [0]], x=[[0], [0]]),
)
def multiplies_from_the_left(call: Call) -> Array:
    """Multiply the transposed matrix and the rows."""
    transposed, dy = call["weight"].T, call["grad_output"]
    if transposed.shape[1] != len(dy):
        raise Undefined(f"there is no product of {[*transposed.shape]} and {[*dy.shape]} matrices")
    return np.asarray(transposed @ dy)


def _as_maps(call: Call) -> Any:
    return evaluate(linear_grad_input, call).reshape(call["pooled_shape"])


@assumption(
    "003, dZ^l of a pooling layer below a fully connected one",
    name="no flattening",
    printed="dZ^l = (W^{l+1})^T dZ^{l+1} for the pooling layer's output Z^l",
    right="that is a row per image; it must be given the maps' shape [N, C, OH, OW] back",
    formula=linear_grad_input,
    corrected=_as_maps,
    call={**fully_connected([[0]], grad_output=[[0]], x=[[0]]), "pooled_shape": (1, 1, 1, 1)},
)
def stays_flat(call: Call) -> Array:
    """Return the product."""
    return evaluate(linear_grad_input, call)
