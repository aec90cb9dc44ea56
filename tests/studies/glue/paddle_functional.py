"""PaddlePaddle's paddle.nn.functional, gradients by paddle.grad."""

import numpy as np
import paddle
from paddle.nn import functional

from gradoracle import adapt


class Engine:
    def from_numpy(self, array):
        return paddle.to_tensor(np.array(array, order="C"))

    def to_numpy(self, tensor):
        return tensor.numpy()

    def zeros(self, shape, like):
        return paddle.zeros(shape, like.dtype)

    def vjp(self, function, at, grad_output):
        at = at.detach()
        at.stop_gradient = False
        return paddle.grad(function(at), at, grad_output)[0]


def conv(rank):
    run = getattr(functional, f"conv{rank}d")

    def conv(x, weight, bias=None, *, stride, padding, dilation, groups):
        return run(x, weight, bias, stride, padding, dilation, groups)

    return conv


def max_pool(rank):
    def max_pool(x, *, kernel_size, stride, padding, ceil_mode):
        pool = getattr(functional, f"max_pool{rank}d")
        return pool(x, kernel_size, stride, padding, ceil_mode=ceil_mode)

    return max_pool


def avg_pool(rank):
    def avg_pool(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
        exclusive = not count_include_pad
        pool = getattr(functional, f"avg_pool{rank}d")
        if rank == 1:
            return pool(x, kernel_size, stride, padding, exclusive, ceil_mode)
        return pool(x, kernel_size, stride, padding, ceil_mode, exclusive)

    return avg_pool


def linear(x, weight, bias=None):
    return functional.linear(x, weight.T, bias)


def cross_entropy(logits, target, *, reduction):
    return functional.cross_entropy(logits, target, reduction=reduction)


def relu(z):
    return functional.relu(z)


def leaky_relu(z, *, negative_slope):
    return functional.leaky_relu(z, negative_slope)


def sigmoid(z):
    return functional.sigmoid(z)


def tanh(z):
    return functional.tanh(z)


def softmax(z, *, axis):
    return functional.softmax(z, axis)


made = {"conv": conv, "max_pool": max_pool, "avg_pool": avg_pool}
backend = adapt.autodiff(
    Engine(), **{f"{name}{rank}d": make(rank) for name, make in made.items() for rank in (1, 2, 3)},
    linear=linear, cross_entropy=cross_entropy, relu=relu, leaky_relu=leaky_relu, sigmoid=sigmoid,
    tanh=tanh, softmax=softmax,
)  # fmt: skip
