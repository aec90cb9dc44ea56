"""What is done with gradients: the mean over a batch, and one step of gradient descent."""

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, Division, declare_axes, multilinear
from gradoracle.oracle.shapes import Array, check_shape


def _batch_size(call: Call) -> Division:
    beta = len(call["gradient_per_image"])
    return Division(max(1, beta), max(1, beta))


@multilinear("gradient_per_image", images="mixed", over=_batch_size)
def batch_mean(gradient_per_image: Array) -> Array:
    """Return the mean over axis 0 of gradient_per_image [beta, ...].

        mean = 1/beta sum_{s=0}^{beta-1} gradient_s

    (003, "average all our gradients over the batchsize").  To be done once, on sums, and not at
    all where the loss is itself a mean over the batch.
    Erratum: 003's sum runs to beta and has beta + 1 terms; see `oracle.errata`.

    Raises:
        ValueError: there is no axis 0, or nothing to average over.
    """
    if gradient_per_image.ndim < 1:
        raise ValueError("gradient_per_image must have a batch axis, got a number")
    if len(gradient_per_image) == 0:
        raise ValueError("the mean over an empty batch is undefined; the batch must have an image")
    rest = gradient_per_image.shape[1:]
    lines = gradient_per_image.reshape(len(gradient_per_image), -1)
    mean = np.zeros(lines.shape[1], gradient_per_image.dtype)
    return run(_batch_mean, mean, lines, products=lines.size, mixed=True).reshape(rest)


def _batch_mean(mean: Array, lines: Array) -> None:
    beta, count = lines.shape
    for at in range(count):
        total = mean[at]
        for s in range(beta):
            total += lines[s, at]
        mean[at] = total / beta


@multilinear("gradient", "learning_rate", plus="parameter", images="mixed", minus=True)
def sgd_step(parameter: Array, gradient: Array, *, learning_rate: float) -> Array:
    """Return the parameter after one step, of its shape and dtype.

        w <- w - eta dL/dw

    (002, "update the weights and the bias terms"; eta is `learning_rate`).

    Raises:
        ValueError: the shapes differ.
    """
    check_shape("gradient", gradient.shape, parameter.shape, "the parameter has")
    stepped = np.zeros(parameter.size, parameter.dtype)
    flat = parameter.ravel(), gradient.ravel()
    return run(_sgd_step, stepped, *flat, learning_rate, products=stepped.size, mixed=True).reshape(
        parameter.shape
    )


def _sgd_step(stepped: Array, parameter: Array, gradient: Array, learning_rate: float) -> None:
    for at in range(len(stepped)):
        stepped[at] = parameter[at] - learning_rate * gradient[at]


declare_axes(Axes("gradient_per_image: b *"), batch_mean)
declare_axes(Axes("parameter: *; gradient: *"), sgd_step)
