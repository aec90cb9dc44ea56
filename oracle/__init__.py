"""The formulas of convolutional networks, forward and every gradient, as literal loops.

Every function has the name, the arguments and the meaning that the protocol gives it, so this
package is a backend as well: slow, and right.
"""

from gradoracle.oracle.formulas import (
    further_activations,
    further_losses,
    indexing,
    joining,
    normalisation,
    optimisers,
)
from gradoracle.oracle.formulas.activations import (
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    tanh,
    tanh_grad,
)
from gradoracle.oracle.formulas.avg_pool import (
    avg_pool1d,
    avg_pool1d_grad_input,
    avg_pool2d,
    avg_pool2d_grad_input,
    avg_pool3d,
    avg_pool3d_grad_input,
)
from gradoracle.oracle.formulas.conv_transpose import (
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
from gradoracle.oracle.formulas.convolution import (
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
)
from gradoracle.oracle.formulas.cross_entropy import cross_entropy, cross_entropy_grad
from gradoracle.oracle.formulas.linear import (
    linear,
    linear_grad_bias,
    linear_grad_input,
    linear_grad_weight,
)
from gradoracle.oracle.formulas.max_pool import (
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
from gradoracle.oracle.formulas.softmax import softmax, softmax_grad
from gradoracle.oracle.formulas.update import batch_mean, sgd_step

DERIVED = (
    *normalisation.DERIVED, *further_activations.DERIVED, *further_losses.DERIVED,
    *indexing.DERIVED, *joining.DERIVED, *optimisers.DERIVED,
)  # fmt: skip
globals().update({formula.__name__: formula for of in DERIVED for formula in of.formulas})

contract = {"policies": {"bad_arguments": "raise"}}  # as a backend

__all__ = [
    "avg_pool1d",
    "avg_pool1d_grad_input",
    "avg_pool2d",
    "avg_pool2d_grad_input",
    "avg_pool3d",
    "avg_pool3d_grad_input",
    "batch_mean",
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
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "max_pool1d",
    "max_pool1d_grad_input",
    "max_pool1d_vjp",
    "max_pool2d",
    "max_pool2d_grad_input",
    "max_pool2d_vjp",
    "max_pool3d",
    "max_pool3d_grad_input",
    "max_pool3d_vjp",
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
__all__ += [formula.__name__ for of in DERIVED for formula in of.formulas]
__all__.sort()
