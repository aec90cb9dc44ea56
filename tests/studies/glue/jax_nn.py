"""The further activations of jax.nn, and its standardize as a layer normalisation."""

import jax.nn

from gradoracle import adapt


def elu(z, *, alpha):
    return jax.nn.elu(z, alpha)


def gelu(z, *, approximate):
    return jax.nn.gelu(z, approximate == "tanh")


def hardsigmoid(z):
    return jax.nn.hard_sigmoid(z)


def hardswish(z):
    return jax.nn.hard_swish(z)


def hardtanh(z):
    return jax.nn.hard_tanh(z)


def logsigmoid(z):
    return jax.nn.log_sigmoid(z)


def mish(z):
    return jax.nn.mish(z)


def relu6(z):
    return jax.nn.relu6(z)


def silu(z):
    return jax.nn.silu(z)


def glu(z):
    return jax.nn.glu(z)


def log_softmax(z, *, axis):
    return jax.nn.log_softmax(z, axis)


def layer_norm(x, *, eps):
    return jax.nn.standardize(x, epsilon=eps)


backend = adapt.jax(
    elu=elu, gelu=gelu, hardsigmoid=hardsigmoid, hardswish=hardswish, hardtanh=hardtanh,
    logsigmoid=logsigmoid, mish=mish, relu6=relu6, silu=silu, glu=glu, log_softmax=log_softmax,
    layer_norm=layer_norm, dtypes=["float32", "float64"], contract={"shapes": "expensive"},
)  # fmt: skip
