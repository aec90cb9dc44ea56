"""Where the documents are misprinted: the formula as printed, the right one, and where they differ.

Each erratum evaluates the printed formula to the letter on the smallest call on which it is not
the derivative of the forward pass.  `tests/test_errata.py` checks every one of them, and that
nothing smaller tells the two apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from oracle import conv2d_forms, dual
from oracle.conv2d import conv2d, conv2d_grad_bias, conv2d_grad_input, conv2d_grad_weight
from oracle.formula import Call, Formula, evaluate
from oracle.geometry import Array, Shape, conv2d_shapes
from oracle.update import batch_mean


@dataclass(frozen=True)
class Erratum:
    """One misprint.  `as_printed` and `formula` take the same call; where they differ is `call`."""

    name: str
    where: str  # document and place
    printed: str
    right: str
    formula: Formula  # the right one
    as_printed: Callable[[Call], Any]  # an array, or IndexError where it reads what is not there
    call: Call  # the smallest counterexample
    corrected: Callable[[Call], Any] | None = None  # where what is printed is not a formula's value

    def shown(self) -> tuple[Any, Any]:
        """Return what the printed formula and the right one give on the counterexample."""
        try:
            wrong = self.as_printed(self.call)
        except IndexError as error:
            wrong = error
        right = self.corrected or (lambda call: evaluate(self.formula, call))
        return wrong, right(self.call)


def counterexample(
    weight: object, *, grad_output: object, x: object, stride: tuple[int, int] = (1, 1)
) -> Call:
    """Return the call of a convolution of one image given as rows of integers."""
    arrays = {name: np.array(a, object) for name, a in (("x", x), ("weight", weight))}
    options = {"stride": stride, "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    shapes = conv2d_shapes(arrays["x"].shape, arrays["weight"].shape, **options)  # type: ignore[arg-type]
    return {
        **arrays,
        **options,
        "bias": np.zeros(shapes.weight[0], object),
        "grad_output": np.array(grad_output, object).reshape(shapes.y),
        "input_shape": shapes.x,
        "weight_shape": shapes.weight,
    }


# -- the formulas as printed, for one image -------------------------------------------------------


def flips_twice(call: Call) -> Array:
    """001: dX[c,h,w] = sum_{m,p,q} dY[m,h-p,w-q] W[m,c,K-1-p,K-1-q], terms in bounds only."""
    dy, weight = call["grad_output"][0], call["weight"]
    filters, rows, columns = dy.shape
    dx = np.zeros(call["input_shape"], object)
    down, across = weight.shape[2:]
    for c, h, w in np.ndindex(dx.shape[1:]):
        for m, p, q in np.ndindex(filters, down, across):
            if 0 <= h - p < rows and 0 <= w - q < columns:
                dx[0, c, h, w] += dy[m, h - p, w - q] * weight[m, c, down - 1 - p, across - 1 - q]
    return dx


def sums_over_the_filter(call: Call) -> Array:
    """002: dW(i',j') = sum_{i=0}^{f_h-1} sum_{j=0}^{f_w-1} dZ(i,j) Y(i*s_h+i', j*s_w+j')."""
    dy, x, stride = call["grad_output"][0], call["x"][0], call["stride"]
    dw = np.zeros(call["weight_shape"], object)
    for m, c, p, q in np.ndindex(dw.shape):
        for i, j in np.ndindex(dw.shape[2:]):
            dw[m, c, p, q] += dy[m, i, j] * x[c, i * stride[0] + p, j * stride[1] + q]
    return dw


def stops_at_the_last_value(call: Call) -> Array:
    """002: the gradient has (n_h + f_h - 1) x (n_w + f_w - 1) pixels, n the upsampled dZ's size."""
    upsampled = conv2d_forms.upsample(call["grad_output"][0], call["stride"], None)
    return conv2d_forms.grad_input_002(upsampled, call["weight"])[np.newaxis]


def upsamples_dw(call: Call) -> Array:
    """002: with stride > 1 it is dL/dW that is upsampled; dL/dZ slides over Y as it is."""
    dy, x, stride = call["grad_output"][0], call["x"], call["stride"]
    places = (x.shape[2] - dy.shape[1] + 1, x.shape[3] - dy.shape[2] + 1)
    compact = conv2d_forms.grad_weight_000(dy, x[0], places)
    return np.stack([conv2d_forms.upsample(filters, stride, None) for filters in compact])


def transposes_the_flipped_kernel(call: Call) -> Array:
    """003: dZ^l is the transposed convolution of the flipped kernel with dZ^{l+1}."""
    flipped = call["weight"][:, :, ::-1, ::-1]
    return conv2d_forms.grad_input_003(call["grad_output"][0], flipped)[np.newaxis]


def reads_dx_under_the_sum(call: Call) -> Array:
    """001: dE/dX = sum dE/dX[m,h',w'] W[m,c,h-h',w-w'], its right side fed the right dE/dX."""
    dx = evaluate(conv2d_grad_input, call)
    size = call["grad_output"].shape[2:]
    under_the_sum = dx[0, : len(call["weight"]), : size[0], : size[1]]
    return conv2d_forms.grad_input_001(under_the_sum, call["weight"])[np.newaxis]


def has_c_output_maps(call: Call) -> Shape:
    """001: Y has shape [C, H_out, W_out]."""
    return (call["x"].shape[1], *call["grad_output"].shape[2:])


def has_m_output_maps(call: Call) -> Shape:
    """Return Y's shape [M, H_out, W_out]."""
    return evaluate(conv2d, call).shape[1:]


def reads_one_channel_too_many(call: Call) -> Array:
    """002: Z(i,j,k) = b_k + sum over i', j' and k_in = 0..n_k, the last included."""
    x, weight = call["x"][0], call["weight"]
    z = np.zeros(call["grad_output"].shape, object)
    for k, i, j in np.ndindex(z.shape[1:]):
        z[0, k, i, j] = call["bias"][k]
        for p, q in np.ndindex(weight.shape[2:]):
            for k_in in range(len(x) + 1):
                z[0, k, i, j] += x[k_in, i + p, j + q] * weight[k, k_in, p, q]
    return z


def sums_the_influence_first(call: Call) -> Array:
    """002, step 2: dZ(i',j',k)/dY(i,j) = sum over i', j' of W(i-i',j-j'), for every (i',j')."""
    dy, weight = call["grad_output"], call["weight"]
    influence = conv2d_forms.grad_input_001(np.ones_like(dy[0]), weight)[np.newaxis]
    dx: Array = influence * dy.ravel()[0]
    return dx


def divides_z_by_y(call: Call) -> Array:
    """002, Task 1: dL/dY(i,j,k_in) = dL/dZ(i',j',k) * Z(i',j',k) / Y(i,j,k_in)."""
    z = evaluate(conv2d, call)
    dx = np.zeros(call["input_shape"], object)
    for at in np.ndindex(dx.shape):
        dx[at] = call["grad_output"].ravel()[0] * Fraction(z.ravel()[0], call["x"][at])
    return dx


def sums_beta_plus_one_images(call: Call) -> Array:
    """003: dB = 1/beta sum_{s=0}^{beta} dB_s, the last included."""
    dy = call["grad_output"]
    beta = len(dy)
    total = sum(dy[s].sum(axis=(1, 2)) for s in range(beta + 1))
    return np.array([Fraction(t, beta) for t in np.atleast_1d(total)])


def has_a_bias_per_pixel(call: Call) -> Array:
    """003: dB_ij = sum_{i,j} dZ_ij, with the indices of a pixel on the left."""
    dy = call["grad_output"]
    return np.broadcast_to(dy.sum(axis=(0, 2, 3))[:, None, None], dy.shape[1:])


def averages_twice(call: Call) -> Array:
    """003: dW = 1/beta dW, of a dW whose dZ comes from a loss that is a mean over the batch."""
    beta = len(call["grad_output"])
    of_a_mean = {**call, "grad_output": call["grad_output"] * Fraction(1, beta)}
    dw: Array = evaluate(conv2d_grad_weight, of_a_mean) * Fraction(1, beta)
    return dw


def averages_once(call: Call) -> Array:
    """Return dW of a mean loss: the images' gradients, averaged once."""
    per_image = [
        evaluate(conv2d_grad_weight, {**call, **_image(call, n)}) for n in range(len(call["x"]))
    ]
    return batch_mean(np.stack(per_image) * Fraction(1))


def is_a_stride_times_smaller(call: Call) -> Shape:
    """002: with stride > 1, every side of Z becomes a factor stride smaller."""
    full = [i - k + 1 for i, k in zip(call["x"].shape[2:], call["weight"].shape[2:], strict=True)]
    return tuple(side // s for side, s in zip(full, call["stride"], strict=True))


def _image(call: Call, n: int) -> dict[str, Array]:
    return {name: call[name][n : n + 1] for name in ("x", "grad_output")}


def _slope(argument: str) -> Callable[[Call], Array]:
    return lambda call: dual.gradient(conv2d, call, argument)


FLIP = counterexample([[[[1, 0]]]], grad_output=[1], x=[[[[0, 0]]]])

ERRATA = (
    Erratum(
        "flips twice", "001, last display; repeated in 000's comparison with dE/dX",
        "dX[h,w] = sum dY[h-p, w-q] W[K-1-p, K-1-q]",
        "W[p,q] with dY[h-p, w-q], or the flipped W with dY[h+p-(K-1), w+q-(K-1)]",
        conv2d_grad_input, flips_twice, FLIP, _slope("x"),
    ),
    Erratum(
        "sums over the filter", "002, dW (Task 2, step 2 and formula)",
        "i < f_h and j < f_w, the filter's size",
        "i < OH and j < OW, the output's size; the two agree in the figure only",
        conv2d_grad_weight, sums_over_the_filter,
        counterexample([[[[0]]]], grad_output=[0, 1], x=[[[[0, 1]]]]), _slope("weight"),
    ),
    Erratum(
        "stops at the last value", "002, size of the backward map",
        "(n_h + f_h - 1) x (n_w + f_w - 1) recovers the size of Y",
        "with a stride the last (H + 2P - extent) mod S rows and columns are missing: "
        "they are zeros and must be appended",
        conv2d_grad_input, stops_at_the_last_value,
        counterexample([[[[1]]]], grad_output=[1], x=[[[[0, 0]]]], stride=(1, 2)), _slope("x"),
    ),
    Erratum(
        "upsamples dW", "002, Task 2 with stride > 1",
        "dL/dW must be upsampled", "dL/dZ must be upsampled (or Y read at i*s_h + i')",
        conv2d_grad_weight, upsamples_dw,
        counterexample([[[[0]]]], grad_output=[1], x=[[[[1, 0]]]], stride=(1, 2)),
        _slope("weight"),
    ),
    Erratum(
        "transposes the flipped kernel", "003, dZ^l",
        "transposed convolution of the flipped kernel",
        "transposed convolution of the kernel, or full correlation with the flipped one: not both",
        conv2d_grad_input, transposes_the_flipped_kernel, FLIP, _slope("x"),
    ),
    Erratum(
        "dE/dX under the sum", "001, third display",
        "dE/dX[c,h,w] = sum dE/dX[m,h',w'] W[m,c,h-h',w-w']", "dE/dY[m,h',w'] under the sum",
        conv2d_grad_input, reads_dx_under_the_sum,
        counterexample([[[[2]]]], grad_output=[1], x=[[[[0]]]]), _slope("x"),
    ),
    Erratum(
        "Y has C channels", "001, introduction",
        "Y of shape [C, H_out, W_out]", "[M, H_out, W_out]",
        conv2d, has_c_output_maps,
        counterexample([[[[0]]], [[[0]]]], grad_output=[0, 0], x=[[[[0]]]]), has_m_output_maps,
    ),
    Erratum(
        "one channel too many", "002, forward pass under Task 2, step 1",
        "sum over k_in = 0..n_k", "k_in = 0..n_k - 1",
        conv2d, reads_one_channel_too_many,
        counterexample([[[[1]]]], grad_output=[0], x=[[[[1]]]]),
    ),
    Erratum(
        "sums the influence first", "002, steps 2 and 3 of both tasks",
        "dZ(i',j',k)/dY(i,j) = sum over i', j' of W(i-i', j-j'), then times dL/dZ",
        "the product with dL/dZ(i',j',k) is inside the sum",
        conv2d_grad_input, sums_the_influence_first,
        counterexample([[[[1]]]], grad_output=[1, 0], x=[[[[0, 0]]]]), _slope("x"),
    ),
    Erratum(
        "divides Z by Y", "002, Task 1, formula",
        "dL/dZ * Z(i',j',k) / Y(i,j,k_in)", "dL/dZ * dZ(i',j',k) / dY(i,j,k_in), derivatives",
        conv2d_grad_input, divides_z_by_y,
        counterexample([[[[1, 1]]]], grad_output=[1], x=[[[[1, 1]]]]), _slope("x"),
    ),
    Erratum(
        "a stride times smaller", "002, Stride > 1",
        "every side of the Z map becomes a factor stride smaller",
        "(H + 2P - extent) // S + 1: rounded up, not down",
        conv2d, is_a_stride_times_smaller,
        counterexample([[[[0]]]], grad_output=[0], x=[[[[0]]]], stride=(1, 2)),
        lambda call: evaluate(conv2d, call).shape[2:],
    ),
    Erratum(
        "beta + 1 images", "003, batch mean",
        "1/beta sum_{s=0}^{beta}", "s = 0..beta - 1",
        conv2d_grad_bias, sums_beta_plus_one_images,
        counterexample([[[[0]]]], grad_output=[1], x=[[[[0]]]]), _slope("bias"),
    ),
    Erratum(
        "a bias per pixel", "003, dB",
        "dB_ij = sum_{i,j} dZ_ij", "dB = sum_{i,j} dZ_ij: one number per filter",
        conv2d_grad_bias, has_a_bias_per_pixel,
        counterexample([[[[0]]]], grad_output=[1], x=[[[[0]]]]), _slope("bias"),
    ),
    Erratum(
        "averages twice", "003, dW = 1/beta dW",
        "divide dW by the batch size", "once: not again where the loss is a mean over the batch",
        conv2d_grad_weight, averages_twice,
        counterexample([[[[0]]]], grad_output=[1, 0], x=[[[[1]]], [[[0]]]]), averages_once,
    ),
)  # fmt: skip
