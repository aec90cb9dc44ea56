"""The fully connected layer and its three gradients, as loops.

Index names: n row of the batch, c input feature, m output feature.  003 writes one column vector
at a time: Z = W a, going back W^T dZ.

Source: document 003 (the displays of dZ^l for a fully connected layer).
"""

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.shapes import Array, check_shape


@multilinear("x", "weight", plus="bias", images="kept")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y [N, M] from x [N, C], weight [M, C] and bias [M].

        y[n,m] = bias[m] + sum_c x[n,c] weight[m,c]

    (003, the fully connected layer whose backward pass is W^T dZ).  dtype follows x.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_matrix("x", x, "[N, C]")
    _check_matrix("weight", weight, "[M, C]")
    check_shape("weight", weight.shape, (len(weight), x.shape[1]), "x's features demand")
    if bias is None:
        bias = np.zeros(len(weight), x.dtype)
    check_shape("bias", bias.shape, weight.shape[:1], "the number of output features demands")
    y = np.zeros((len(x), len(weight)), x.dtype)
    return run(_linear, y, x, weight, bias, products=y.size * x.shape[1])


def _linear(y: Array, x: Array, weight: Array, bias: Array) -> None:
    rows, features = y.shape
    for n in range(rows):
        for m in range(features):
            total = bias[m]
            for c in range(x.shape[1]):
                total += x[n, c] * weight[m, c]
            y[n, m] = total


@multilinear("grad_output", "weight", images="kept")
def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """Return dx = dE/dx [N, C] from dy [N, M] and weight [M, C].

        dx[n,c] = sum_m dy[n,m] weight[m,c]

    (003, dZ^l = (W^{l+1})^T dZ^{l+1}, before the derivative of the activation).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_matrix("grad_output", grad_output, "[N, M]")
    _check_matrix("weight", weight, "[M, C]")
    check_shape(
        "weight", weight.shape, (grad_output.shape[1], weight.shape[1]), "dy's features demand"
    )
    dx = np.zeros((len(grad_output), weight.shape[1]), grad_output.dtype)
    return run(_linear_grad_input, dx, grad_output, weight, products=dx.size * len(weight))


def _linear_grad_input(dx: Array, dy: Array, weight: Array) -> None:
    rows, features = dx.shape
    for n in range(rows):
        for c in range(features):
            total = dx[n, c]
            for m in range(weight.shape[0]):
                total += dy[n, m] * weight[m, c]
            dx[n, c] = total


@multilinear("grad_output", "x", images="summed")
def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """Return dw = dE/dweight [M, C] from dy [N, M] and x [N, C], summed over the batch.

        dw[m,c] = sum_n dy[n,m] x[n,c]

    (003, "as is done in a fully connected model": dW = dZ A^T, the one-position case of the sum of
    patches O_n).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_matrix("grad_output", grad_output, "[N, M]")
    _check_matrix("x", x, "[N, C]")
    check_shape("x", x.shape, (len(grad_output), x.shape[1]), "dy's rows demand")
    dw = np.zeros((grad_output.shape[1], x.shape[1]), grad_output.dtype)
    return run(_linear_grad_weight, dw, grad_output, x, products=dw.size * len(x))


def _linear_grad_weight(dw: Array, dy: Array, x: Array) -> None:
    features, channels = dw.shape
    for m in range(features):
        for c in range(channels):
            total = dw[m, c]
            for n in range(dy.shape[0]):
                total += dy[n, m] * x[n, c]
            dw[m, c] = total


@multilinear("grad_output", images="summed")
def linear_grad_bias(grad_output: Array) -> Array:
    """Return db = dE/dbias [M] from dy [N, M], summed over the batch.

        db[m] = sum_n dy[n,m]

    (003, display of dB with one position).  dtype follows dy.

    Raises:
        ValueError: grad_output does not have the axes [N, M].
    """
    _check_matrix("grad_output", grad_output, "[N, M]")
    db = np.zeros(grad_output.shape[1], grad_output.dtype)
    return run(_linear_grad_bias, db, grad_output, products=grad_output.size)


def _linear_grad_bias(db: Array, dy: Array) -> None:
    rows, features = dy.shape
    for m in range(features):
        total = db[m]
        for n in range(rows):
            total += dy[n, m]
        db[m] = total


def _check_matrix(name: str, array: Array, axes: str) -> None:
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 axes {axes}, got shape {[*array.shape]}")
    if axes != "[N, M]" and array.shape[1] < 1:
        raise ValueError(f"{name} {axes} must have at least one column, got {[*array.shape]}")


declare_axes(
    Axes(
        "x: n k; weight: m k; bias?: m; grad_output: n m",
        {"n": "images", "m": "outputs", "k": "inputs"},
    ),
    linear,
    linear_grad_input,
    linear_grad_weight,
    linear_grad_bias,
)
