"""Operators as CUDA C++ kernels; the arrays decide where they run: see `machine`."""

from gradoracle.implementations.cupy_kernels.activations import (
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    tanh,
    tanh_grad,
)
from gradoracle.implementations.cupy_kernels.convolution import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
)
from gradoracle.implementations.cupy_kernels.dense import (
    batch_mean,
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
    sgd_step,
)
from gradoracle.implementations.cupy_kernels.loss import (
    cross_entropy,
    cross_entropy_grad,
    softmax,
    softmax_grad,
)
from gradoracle.implementations.cupy_kernels.pooling import (
    avg_pool2d,
    avg_pool2d_grad_input,
    max_pool2d,
    max_pool2d_grad_input,
    max_pool2d_vjp,
)
from gradoracle.implementations.cupy_kernels.transposed import (
    conv_transpose2d,
    conv_transpose2d_grad_bias,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_grad_input",
    "batch_mean",
    "conv2d",
    "conv2d_grad_bias",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv_transpose2d",
    "conv_transpose2d_grad_bias",
    "conv_transpose2d_grad_input",
    "conv_transpose2d_grad_weight",
    "cross_entropy",
    "cross_entropy_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "max_pool2d",
    "max_pool2d_grad_input",
    "max_pool2d_vjp",
    "relu",
    "relu_grad",
    "sgd_step",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_grad",
    "tanh",
    "tanh_grad",
]
