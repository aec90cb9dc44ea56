"""neuralnetlib's layers and activations: channels last, no padding but "same"."""

import numpy as np
from neuralnetlib import activations, layers, losses

from gradoracle import adapt


def conv_layer(weight, bias, stride):
    made = layers.Conv2D(weight.shape[3], weight.shape[:2], stride)
    made.weights = weight
    made.bias = np.zeros(weight.shape[3], weight.dtype) if bias is None else bias
    return made


def conv2d(x, weight, bias=None, *, stride):
    return conv_layer(weight, bias, stride).forward_pass(x)


def conv2d_grad_input(grad_output, weight, *, input_shape, stride):
    made = conv_layer(weight, None, stride)
    made.forward_pass(np.zeros(input_shape, weight.dtype))
    return made.backward_pass(grad_output)


def conv2d_grad_weight(grad_output, x, *, weight_shape, stride):
    made = conv_layer(np.zeros(weight_shape, x.dtype), None, stride)
    made.forward_pass(x)
    made.backward_pass(grad_output)
    return made.d_weights


def max_pool2d(x, *, kernel_size, stride):
    return layers.MaxPooling2D(kernel_size, stride).forward_pass(x)


def max_pool2d_vjp(grad_output, x, *, kernel_size, stride):
    made = layers.MaxPooling2D(kernel_size, stride)
    made.forward_pass(x)
    return made.backward_pass(grad_output)


def avg_pool2d(x, *, kernel_size, stride):
    return layers.AveragePooling2D(kernel_size, stride).forward_pass(x)


def avg_pool2d_grad_input(grad_output, *, input_shape, kernel_size, stride):
    made = layers.AveragePooling2D(kernel_size, stride)
    made.forward_pass(np.zeros(input_shape, grad_output.dtype))
    return made.backward_pass(grad_output)


def linear(x, weight, bias=None):
    made = layers.Dense(len(weight))
    made.weights = weight.T
    made.bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
    return made.forward_pass(x)


def elementwise(activation):
    def value(z):
        return activation(z)

    def gradient(grad_output, z):
        return grad_output * activation.derivative(z)

    return value, gradient


def leaky_relu(z, *, negative_slope):
    return activations.LeakyReLU(negative_slope)(z)


def leaky_relu_grad(grad_output, z, *, negative_slope):
    slope = activations.LeakyReLU(negative_slope).derivative(z)
    return grad_output * slope


def softmax(z):
    return activations.Softmax()(z)


def softmax_grad(grad_output, z):
    return activations.Softmax().backward(softmax(z), grad_output)


def cross_entropy(logits, target, *, reduction):
    loss = losses.SparseCategoricalCrossentropy()(target, softmax(logits))
    return np.asarray(loss if reduction == "mean" else loss * len(logits), logits.dtype)


relu, relu_grad = elementwise(activations.ReLU())
sigmoid, sigmoid_grad = elementwise(activations.Sigmoid())
tanh, tanh_grad = elementwise(activations.Tanh())
backend = adapt.numpy(
    layout="NHWC", dtypes=["float64"], conv2d=conv2d, conv2d_grad_input=conv2d_grad_input,
    conv2d_grad_weight=conv2d_grad_weight, max_pool2d=max_pool2d, max_pool2d_vjp=max_pool2d_vjp,
    avg_pool2d=avg_pool2d, avg_pool2d_grad_input=avg_pool2d_grad_input, linear=linear, relu=relu,
    relu_grad=relu_grad, leaky_relu=leaky_relu, leaky_relu_grad=leaky_relu_grad, sigmoid=sigmoid,
    sigmoid_grad=sigmoid_grad, tanh=tanh, tanh_grad=tanh_grad, softmax=softmax,
    softmax_grad=softmax_grad, cross_entropy=cross_entropy,
)  # fmt: skip
