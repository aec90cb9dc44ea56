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


def elu(z, *, alpha):
    return functional.elu(z, alpha)


def gelu(z, *, approximate):
    return functional.gelu(z, approximate == "tanh")


def hardtanh(z, *, min_val, max_val):
    return functional.hardtanh(z, min_val, max_val)


def softplus(z, *, beta, threshold):
    return functional.softplus(z, beta, threshold)


def log_softmax(z, *, axis):
    return functional.log_softmax(z, axis)


def prelu(x, weight):
    return functional.prelu(x, weight)


def layer_norm(x, weight=None, bias=None, *, eps):
    return functional.layer_norm(x, x.shape[2:], weight, bias, eps)


def group_norm(x, weight=None, bias=None, *, num_groups, eps):
    return functional.group_norm(x, num_groups, eps, weight, bias)


def instance_norm(x, weight=None, bias=None, *, eps):
    return functional.instance_norm(x, weight=weight, bias=bias, eps=eps)


def batch_norm(x, running_mean, running_var, weight=None, bias=None, *, training, eps):
    moments = running_mean.clone(), running_var.clone()
    return functional.batch_norm(x, *moments, weight, bias, training, epsilon=eps)


def mse_loss(x, target, *, reduction):
    return functional.mse_loss(x, target, reduction)


def l1_loss(x, target, *, reduction):
    return functional.l1_loss(x, target, reduction)


def kl_div(x, target, *, reduction, log_target):
    return functional.kl_div(x, target, reduction, log_target)


def nll_loss(x, target, weight=None, *, ignore_index, reduction):
    return functional.nll_loss(x, target, weight, ignore_index, reduction)


def binary_cross_entropy_with_logits(x, target, pos_weight=None, *, reduction):
    run = functional.binary_cross_entropy_with_logits
    return run(x, target, reduction=reduction, pos_weight=pos_weight)


def plain(name):
    run = getattr(functional, name)

    def function(z):
        return run(z)

    return function


further = {
    ours: plain(theirs)
    for ours, theirs in {
        "hardsigmoid": "hardsigmoid", "hardswish": "hardswish", "logsigmoid": "log_sigmoid",
        "mish": "mish", "relu6": "relu6", "silu": "silu", "glu": "glu",
    }.items()
}  # fmt: skip
made = {"conv": conv, "max_pool": max_pool, "avg_pool": avg_pool}
backend = adapt.autodiff(
    Engine(), **{f"{name}{rank}d": make(rank) for name, make in made.items() for rank in (1, 2, 3)},
    linear=linear, cross_entropy=cross_entropy, relu=relu, leaky_relu=leaky_relu, sigmoid=sigmoid,
    tanh=tanh, softmax=softmax, **further, elu=elu, gelu=gelu, hardtanh=hardtanh, softplus=softplus,
    log_softmax=log_softmax, prelu=prelu, layer_norm=layer_norm, group_norm=group_norm,
    instance_norm=instance_norm, batch_norm=batch_norm, mse_loss=mse_loss, l1_loss=l1_loss,
    kl_div=kl_div, nll_loss=nll_loss,
    binary_cross_entropy_with_logits=binary_cross_entropy_with_logits,
)  # fmt: skip
