"""MLX's further activations, normalisations and losses on a CPU, gradients by mx.vjp."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gradoracle import adapt

mx.set_default_device(mx.cpu)


class Engine:
    def from_numpy(self, array):
        return mx.array(np.array(array, order="C"))

    def to_numpy(self, array):
        return np.array(array)

    def zeros(self, shape, like):
        return mx.zeros(shape, like.dtype)

    def vjp(self, function, at, grad_output):
        dy = mx.ones_like(function(at)) if grad_output is None else grad_output
        return mx.vjp(function, [at], [dy])[1][0]


def elu(z, *, alpha):
    return nn.elu(z, alpha)


def gelu(z):
    return nn.gelu(z)


def hardswish(z):
    return nn.hardswish(z)


def hardtanh(z, *, min_val, max_val):
    return nn.hard_tanh(z, min_val, max_val)


def logsigmoid(z):
    return nn.log_sigmoid(z)


def mish(z):
    return nn.mish(z)


def relu6(z):
    return nn.relu6(z)


def silu(z):
    return nn.silu(z)


def glu(z):
    return nn.glu(z, axis=-1)


def log_softmax(z, *, axis):
    return nn.log_softmax(z, axis)


def prelu(x, weight):
    return nn.prelu(x, weight.reshape(-1, 1, 1))


def layer_norm(x, weight=None, bias=None, *, eps):
    return mx.fast.layer_norm(x, weight, bias, eps)


def rms_norm(x, weight=None, *, eps):
    return mx.fast.rms_norm(x, weight, eps)


def mse_loss(x, target, *, reduction):
    return nn.losses.mse_loss(x, target, reduction)


def l1_loss(x, target, *, reduction):
    return nn.losses.l1_loss(x, target, reduction)


def huber_loss(x, target, *, reduction, delta):
    return nn.losses.huber_loss(x, target, delta, reduction)


def binary_cross_entropy_with_logits(x, target, *, reduction):
    return nn.losses.binary_cross_entropy(x, target, with_logits=True, reduction=reduction)


backend = adapt.autodiff(
    Engine(), dtypes=["float32"], elu=elu, gelu=gelu, hardswish=hardswish, hardtanh=hardtanh,
    logsigmoid=logsigmoid, mish=mish, relu6=relu6, silu=silu, glu=glu, log_softmax=log_softmax,
    prelu=prelu, layer_norm=layer_norm, rms_norm=rms_norm, mse_loss=mse_loss, l1_loss=l1_loss,
    huber_loss=huber_loss, binary_cross_entropy_with_logits=binary_cross_entropy_with_logits,
)  # fmt: skip
