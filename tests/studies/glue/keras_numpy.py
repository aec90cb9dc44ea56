"""keras.ops on its NumPy backend, channels first."""

import os

os.environ["KERAS_BACKEND"] = "numpy"
import numpy as np
from keras import ops

from gradoracle import adapt

FIRST = {"data_format": "channels_first"}


def conv(x, weight, *, stride, dilation):
    taps = np.moveaxis(weight, (0, 1), (-1, -2))
    return np.asarray(ops.conv(x, taps, stride, "valid", dilation_rate=dilation, **FIRST))


def max_pool(x, *, kernel_size, stride):
    return np.asarray(ops.max_pool(x, kernel_size, stride, **FIRST))


def avg_pool(x, *, kernel_size, stride):
    return np.asarray(ops.average_pool(x, kernel_size, stride, **FIRST))


def relu(z):
    return ops.relu(z)


def leaky_relu(z, *, negative_slope):
    return ops.leaky_relu(z, negative_slope)


def sigmoid(z):
    return ops.sigmoid(z)


def tanh(z):
    return ops.tanh(z)


def softmax(z, *, axis):
    return ops.softmax(z, axis)


def cross_entropy(logits, target, *, reduction):
    losses = ops.sparse_categorical_crossentropy(target, logits, from_logits=True)
    return np.asarray(losses.mean() if reduction == "mean" else losses.sum())


def elu(z, *, alpha):
    return ops.elu(z, alpha)


def gelu(z, *, approximate):
    return ops.gelu(z, approximate == "tanh")


def hardsigmoid(z):
    return ops.hard_sigmoid(z)


def hardswish(z):
    return ops.hard_silu(z)


def hardtanh(z):
    return ops.hard_tanh(z)


def logsigmoid(z):
    return ops.log_sigmoid(z)


def relu6(z):
    return ops.relu6(z)


def silu(z):
    return ops.silu(z)


def glu(z):
    return ops.glu(z, -1)


def log_softmax(z, *, axis):
    return ops.log_softmax(z, axis)


by_rank = {"conv": conv, "max_pool": max_pool, "avg_pool": avg_pool}
backend = adapt.numpy(
    relu=relu, leaky_relu=leaky_relu, sigmoid=sigmoid, tanh=tanh, softmax=softmax,
    cross_entropy=cross_entropy, elu=elu, gelu=gelu, hardsigmoid=hardsigmoid, hardswish=hardswish,
    hardtanh=hardtanh, logsigmoid=logsigmoid, relu6=relu6, silu=silu, glu=glu,
    log_softmax=log_softmax,
    **{f"{name}{rank}d": function for name, function in by_rank.items() for rank in (1, 2, 3)},
)  # fmt: skip
