"""The backend `cupy`: the kernels on CuPy's arrays, on a CUDA device.

Needs CuPy and a device: pip install 'gradoracle[cupy]'.  What runs without one is `cupy@host`.
`implementations.cupy_kernels.device:direct` computes convolutions by the readable kernels alone,
`implementations.cupy_kernels.device:implicit` by those of conv2d_gemm.cu wherever they can.
"""

import sys
from typing import Any

import numpy.typing as npt

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
from implementations.cupy_kernels.probe import cupy_with_device, described

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
    "from_numpy",
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
    "to_numpy",
]

cupy = cupy_with_device()

contract = {"runs_on": described(cupy)}


def from_numpy(array: npt.NDArray[Any]) -> Any:
    """Return a CuPy array with the array's elements, on the current device."""
    return cupy.array(array)


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """Return a CuPy array's elements."""
    elements: npt.NDArray[Any] = cupy.asnumpy(array)
    return elements


direct = algorithms.backend(sys.modules[__name__], "direct")
implicit = algorithms.backend(sys.modules[__name__], "implicit", "direct")
