"""The whole protocol in NumPy: convolutions as matrix products, everything else vectorised.

float16, and bfloat16 where ml_dtypes is installed, are computed in float32.
"""

from gradoracle.implementations.im2col.activations import (
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    tanh,
    tanh_grad,
)
from gradoracle.implementations.im2col.convolution import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
)
from gradoracle.implementations.im2col.dense import (
    batch_mean,
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
    sgd_step,
)
from gradoracle.implementations.im2col.halves import AVAILABLE
from gradoracle.implementations.im2col.loss import (
    cross_entropy,
    cross_entropy_grad,
    softmax,
    softmax_grad,
)
from gradoracle.implementations.im2col.pooling import (
    avg_pool2d,
    avg_pool2d_grad_input,
    max_pool2d,
    max_pool2d_grad_input,
    max_pool2d_vjp,
)
from gradoracle.implementations.im2col.transposed import (
    conv_transpose2d,
    conv_transpose2d_grad_bias,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
)

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

contract = {
    "dtypes": ["float32", "float64", *AVAILABLE],
    "accumulators": dict.fromkeys(AVAILABLE, "float32"),
    "policies": {"non_finite": "window", "subnormals": "kept"},
}
