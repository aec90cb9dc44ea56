"""PyTorch's own operators and gradients, on NumPy arrays, behind the protocol's names.

Needs PyTorch: pip install 'gradoracle[torch]'.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import torch
except ImportError as error:
    raise ImportError("PyTorch is not installed: pip install 'gradoracle[torch]'") from error

from gradoracle.implementations.torch_reference import further
from gradoracle.implementations.torch_reference.activations import (
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    tanh,
    tanh_grad,
)
from gradoracle.implementations.torch_reference.convolution import (
    conv1d,
    conv1d_grad_bias,
    conv1d_grad_input,
    conv1d_grad_weight,
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv3d,
    conv3d_grad_bias,
    conv3d_grad_input,
    conv3d_grad_weight,
    conv_transpose1d,
    conv_transpose1d_grad_bias,
    conv_transpose1d_grad_input,
    conv_transpose1d_grad_weight,
    conv_transpose2d,
    conv_transpose2d_grad_bias,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    conv_transpose3d,
    conv_transpose3d_grad_bias,
    conv_transpose3d_grad_input,
    conv_transpose3d_grad_weight,
)
from gradoracle.implementations.torch_reference.dense import (
    batch_mean,
    cross_entropy,
    cross_entropy_grad,
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
    sgd_step,
    softmax,
    softmax_grad,
)
from gradoracle.implementations.torch_reference.further import (
    batch_norm,
    batch_norm_grad_bias,
    batch_norm_grad_weight,
    batch_norm_grad_x,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_grad,
    cross_entropy_loss,
    cross_entropy_loss_grad,
    elu,
    elu_grad,
    gelu,
    gelu_grad,
    glu,
    glu_grad,
    group_norm,
    group_norm_grad_bias,
    group_norm_grad_weight,
    group_norm_grad_x,
    hardsigmoid,
    hardsigmoid_grad,
    hardswish,
    hardswish_grad,
    hardtanh,
    hardtanh_grad,
    huber_loss,
    huber_loss_grad_input,
    huber_loss_grad_target,
    instance_norm,
    instance_norm_grad_bias,
    instance_norm_grad_weight,
    instance_norm_grad_x,
    kl_div,
    kl_div_grad,
    l1_loss,
    l1_loss_grad_input,
    l1_loss_grad_target,
    layer_norm,
    layer_norm_grad_bias,
    layer_norm_grad_weight,
    layer_norm_grad_x,
    log_softmax,
    log_softmax_grad,
    logsigmoid,
    logsigmoid_grad,
    mish,
    mish_grad,
    mse_loss,
    mse_loss_grad_input,
    mse_loss_grad_target,
    nll_loss,
    nll_loss_grad,
    prelu,
    prelu_grad_weight,
    prelu_grad_x,
    relu6,
    relu6_grad,
    rms_norm,
    rms_norm_grad_weight,
    rms_norm_grad_x,
    silu,
    silu_grad,
    soft_target_cross_entropy,
    soft_target_cross_entropy_grad_input,
    soft_target_cross_entropy_grad_target,
    softplus,
    softplus_grad,
)
from gradoracle.implementations.torch_reference.pooling import (
    avg_pool1d,
    avg_pool1d_grad_input,
    avg_pool2d,
    avg_pool2d_grad_input,
    avg_pool3d,
    avg_pool3d_grad_input,
    max_pool1d,
    max_pool1d_grad_input,
    max_pool1d_vjp,
    max_pool2d,
    max_pool2d_grad_input,
    max_pool2d_vjp,
    max_pool3d,
    max_pool3d_grad_input,
    max_pool3d_vjp,
)

__all__ = [
    "avg_pool1d",
    "avg_pool1d_grad_input",
    "avg_pool2d",
    "avg_pool2d_grad_input",
    "avg_pool3d",
    "avg_pool3d_grad_input",
    "batch_mean",
    "batch_norm",
    "batch_norm_grad_bias",
    "batch_norm_grad_weight",
    "batch_norm_grad_x",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_grad",
    "contract",
    "conv1d",
    "conv1d_grad_bias",
    "conv1d_grad_input",
    "conv1d_grad_weight",
    "conv2d",
    "conv2d_grad_bias",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv3d",
    "conv3d_grad_bias",
    "conv3d_grad_input",
    "conv3d_grad_weight",
    "conv_transpose1d",
    "conv_transpose1d_grad_bias",
    "conv_transpose1d_grad_input",
    "conv_transpose1d_grad_weight",
    "conv_transpose2d",
    "conv_transpose2d_grad_bias",
    "conv_transpose2d_grad_input",
    "conv_transpose2d_grad_weight",
    "conv_transpose3d",
    "conv_transpose3d_grad_bias",
    "conv_transpose3d_grad_input",
    "conv_transpose3d_grad_weight",
    "cross_entropy",
    "cross_entropy_grad",
    "cross_entropy_loss",
    "cross_entropy_loss_grad",
    "elu",
    "elu_grad",
    "from_numpy",
    "gelu",
    "gelu_grad",
    "glu",
    "glu_grad",
    "group_norm",
    "group_norm_grad_bias",
    "group_norm_grad_weight",
    "group_norm_grad_x",
    "hardsigmoid",
    "hardsigmoid_grad",
    "hardswish",
    "hardswish_grad",
    "hardtanh",
    "hardtanh_grad",
    "huber_loss",
    "huber_loss_grad_input",
    "huber_loss_grad_target",
    "instance_norm",
    "instance_norm_grad_bias",
    "instance_norm_grad_weight",
    "instance_norm_grad_x",
    "kl_div",
    "kl_div_grad",
    "l1_loss",
    "l1_loss_grad_input",
    "l1_loss_grad_target",
    "layer_norm",
    "layer_norm_grad_bias",
    "layer_norm_grad_weight",
    "layer_norm_grad_x",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "log_softmax",
    "log_softmax_grad",
    "logsigmoid",
    "logsigmoid_grad",
    "max_pool1d",
    "max_pool1d_grad_input",
    "max_pool1d_vjp",
    "max_pool2d",
    "max_pool2d_grad_input",
    "max_pool2d_vjp",
    "max_pool3d",
    "max_pool3d_grad_input",
    "max_pool3d_vjp",
    "mish",
    "mish_grad",
    "mse_loss",
    "mse_loss_grad_input",
    "mse_loss_grad_target",
    "nll_loss",
    "nll_loss_grad",
    "prelu",
    "prelu_grad_weight",
    "prelu_grad_x",
    "relu",
    "relu6",
    "relu6_grad",
    "relu_grad",
    "rms_norm",
    "rms_norm_grad_weight",
    "rms_norm_grad_x",
    "sgd_step",
    "sigmoid",
    "sigmoid_grad",
    "silu",
    "silu_grad",
    "soft_target_cross_entropy",
    "soft_target_cross_entropy_grad_input",
    "soft_target_cross_entropy_grad_target",
    "softmax",
    "softmax_grad",
    "softplus",
    "softplus_grad",
    "tanh",
    "tanh_grad",
    "to_numpy",
]


HALVES = ("float16", "bfloat16") if find_spec("ml_dtypes") else ("float16",)
# What PyTorch 2.13 does not compute in float32 and round once.  Its convolutions of halves are
# oneDNN's: on a CPU with AMX they read memory that nobody wrote, and end the process at times.
NOT_IN_HALVES = [
    *(
        f"{kind}{rank}d{name}"
        for rank in (1, 2, 3)
        for kind in ("conv", "conv_transpose")
        for name in ("", "_grad_input", "_grad_weight")
    ),
    # Add up in half precision.
    *(f"max_pool{rank}d_vjp" for rank in (1, 2, 3)),
    *(f"avg_pool{rank}d_grad_input" for rank in (1, 2, 3)),
    "avg_pool3d",  # PyTorch has none
    "sigmoid_grad", "tanh_grad", "softmax_grad",  # go back from the rounded answer
    "softmax", "cross_entropy", "cross_entropy_grad", "sgd_step",  # round on the way
    *further.__all__,
]  # fmt: skip

contract = {
    # PyTorch's CPU kernel takes the last NaN of a window
    "policies": {"nan": "any", "bad_arguments": "raise"},
    "dtypes": ["float32", "float64", *HALVES],
    "not_claimed": dict.fromkeys(HALVES, NOT_IN_HALVES),
    "accumulators": dict.fromkeys(HALVES, "float32"),
}


def from_numpy(array: npt.NDArray[Any]) -> torch.Tensor:
    """Return a tensor with the array's elements; strides that PyTorch lacks are copied away."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def to_numpy(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """Return the tensor's elements as an array."""
    if tensor.dtype == torch.bfloat16:
        bits: npt.NDArray[Any] = tensor.detach().view(torch.int16).numpy()
        return bits.view(import_module("ml_dtypes").bfloat16)
    array: npt.NDArray[Any] = tensor.detach().numpy()
    return array
