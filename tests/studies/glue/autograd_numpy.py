"""autograd: its convolution and elementwise functions, gradients by its vjp."""

import autograd.numpy as anp
from autograd import make_vjp
from autograd.scipy.signal import convolve
from autograd.scipy.special import expit

from gradoracle import adapt


def conv2d(x, weight):
    return convolve(x, weight[:, :, ::-1, ::-1], ((2, 3), (2, 3)), ([1], [1]), mode="valid")


def by(argument, function):
    def gradient(dy, *arrays, **options):
        return make_vjp(function, argument)(*arrays, **options)[0](dy)

    return gradient


def conv2d_grad_input(grad_output, weight, *, input_shape):
    zeros = anp.zeros(input_shape, weight.dtype)
    return by(0, conv2d)(grad_output, zeros, weight)


def conv2d_grad_weight(grad_output, x, *, weight_shape):
    return by(1, conv2d)(grad_output, x, anp.zeros(weight_shape, x.dtype))


def relu(z):
    return anp.maximum(z, 0)


def softmax(z, *, axis):
    powers = anp.exp(z - anp.max(z, axis, keepdims=True))
    return powers / anp.sum(powers, axis, keepdims=True)


def softmax_grad(grad_output, z, *, axis):
    return by(0, softmax)(grad_output, z, axis=axis)


def sigmoid_grad(grad_output, z):
    return by(0, expit)(grad_output, z)


def tanh_grad(grad_output, z):
    return by(0, anp.tanh)(grad_output, z)


def relu_grad(grad_output, z):
    return by(0, relu)(grad_output, z)


def sigmoid(z):
    return expit(z)


def tanh(z):
    return anp.tanh(z)


backend = adapt.numpy(
    conv2d=conv2d, conv2d_grad_input=conv2d_grad_input, conv2d_grad_weight=conv2d_grad_weight,
    relu=relu, relu_grad=relu_grad, sigmoid=sigmoid, sigmoid_grad=sigmoid_grad, tanh=tanh,
    tanh_grad=tanh_grad, softmax=softmax, softmax_grad=softmax_grad,
    contract={"policies": {"relu_at_zero": 0.5}},
)  # fmt: skip
