"""numpy-ml's layers, activations and loss: channels last, one stride for both axes."""

import collections
import collections.abc
from functools import wraps

import numpy as np

collections.Hashable = collections.abc.Hashable  # it was written for Python 3.9
from numpy_ml.neural_nets import activations, layers
from numpy_ml.neural_nets.losses import CrossEntropy

from gradoracle import adapt


def layer(weight, bias, stride, padding):
    made = layers.Conv2D(
        weight.shape[3], weight.shape[:2], pad=padding, stride=stride, init="he_normal"
    )
    zeros = np.zeros(weight.shape[3])
    made.parameters = {"W": weight, "b": (zeros if bias is None else bias).reshape(1, 1, 1, -1)}
    made.gradients = {"W": np.zeros(weight.shape), "b": np.zeros((1, 1, 1, weight.shape[3]))}
    made.derived_variables = {"Z": [], "out_rows": [], "out_cols": []}
    made.in_ch, made.is_initialized = weight.shape[2], True
    return made


def conv2d(x, weight, bias=None, *, stride, padding):
    return layer(weight, bias, stride, padding).forward(x)


def conv2d_grad_input(grad_output, weight, *, input_shape, stride, padding):
    made = layer(weight, None, stride, padding)
    made.forward(np.zeros(input_shape))
    return made.backward(grad_output)


def conv2d_grad_weight(grad_output, x, *, weight_shape, stride, padding):
    made = layer(np.zeros(weight_shape), None, stride, padding)
    made.forward(x)
    made.backward(grad_output)
    return made.gradients["W"]


def pool(mode):
    def value(x, *, kernel_size, stride, padding):
        made = layers.Pool2D(kernel_size, stride, (padding, padding), mode)
        return made.forward(x)

    def gradient(grad_output, x, *, kernel_size, stride, padding):
        made = layers.Pool2D(kernel_size, stride, (padding, padding), mode)
        made.forward(x)
        return made.backward(grad_output)

    return value, gradient


def one(function):
    """Kernels may be oblong here, while stride and padding are one number."""

    @wraps(function)
    def call(*arrays, stride, padding, **options):
        for name, pair in (("stride", stride), ("padding", padding)):
            if len({*pair}) > 1:
                raise NotImplementedError(f"{name}={pair}")
        return function(*arrays, stride=stride[0], padding=padding[0], **options)

    return call


def elementwise(activation):
    return activation.fn, lambda grad_output, z: grad_output * activation.grad(z)


def softmax(z, *, axis):
    return layers.Softmax(axis).forward(z)


def softmax_grad(grad_output, z):
    made = layers.Softmax()
    made.forward(z)
    return made.backward(grad_output)


def cross_entropy(logits, target, *, reduction):
    loss = CrossEntropy.loss(target, softmax(logits, axis=1))
    return np.asarray(loss / len(logits) if reduction == "mean" else loss, logits.dtype)


max_pool, max_pool_grad = pool("max")
avg_pool, _ = pool("average")
relu, relu_grad = elementwise(activations.ReLU())
sigmoid, sigmoid_grad = elementwise(activations.Sigmoid())
tanh, tanh_grad = elementwise(activations.Tanh())
backend = adapt.numpy(
    layout="NHWC", dtypes=["float64"],
    contract={"policies": {"labels": "one-hot"}, "domain": {"softmax": "axes = 2"}},
    conv2d=one(conv2d),
    conv2d_grad_input=one(conv2d_grad_input), conv2d_grad_weight=one(conv2d_grad_weight),
    max_pool2d=one(max_pool), max_pool2d_vjp=one(max_pool_grad), avg_pool2d=one(avg_pool),
    relu=relu, relu_grad=relu_grad, sigmoid=sigmoid, sigmoid_grad=sigmoid_grad, tanh=tanh,
    tanh_grad=tanh_grad, softmax=softmax, cross_entropy=cross_entropy,
)  # fmt: skip
