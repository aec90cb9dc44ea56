"""The backend `cupy@host`: the kernels on NumPy's arrays, compiled by g++, where there is no GPU.

What is certified here are the kernels' text and their host code; their speed is no GPU's.
`implementations.cupy_kernels.host:direct` computes convolutions by the readable kernels alone.
"""

import sys

from implementations.cupy_kernels import (
    algorithms,
    avg_pool2d,
    avg_pool2d_grad_input,
    batch_mean,
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv_transpose2d,
    conv_transpose2d_grad_bias,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    cross_entropy,
    cross_entropy_grad,
    leaky_relu,
    leaky_relu_grad,
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
    max_pool2d,
    max_pool2d_grad_input,
    max_pool2d_vjp,
    relu,
    relu_grad,
    sgd_step,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_grad,
    tanh,
    tanh_grad,
)
from implementations.hostcuda import described
from implementations.hostcuda.build import compiler

__all__ = [
    "avg_pool2d",
    "avg_pool2d_grad_input",
    "batch_mean",
    "contract",
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

contract = {"runs_on": described()}

compiler()  # without one, no kernel can run: that is an ImportError, which says what to install
direct = algorithms.backend(sys.modules[__name__], "direct")
implicit = algorithms.backend(sys.modules[__name__], "implicit", "direct")
