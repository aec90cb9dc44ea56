"""The formulas of convolutional networks, forward and every gradient, as literal loops.

Every function has the name, the arguments and the meaning that the protocol gives it, so this
package is a backend as well: slow, and right.
"""

from gradoracle.oracle.formulas import (
    attention,
    further_activations,
    further_losses,
    indexing,
    joining,
    lp_pool,
    normalisation,
    optimisers,
    position,
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
from gradoracle.oracle.formulas.adaptive_max_pool import (
    adaptive_max_pool2d,
    adaptive_max_pool2d_grad_input,
    adaptive_max_pool2d_vjp,
)
from gradoracle.oracle.formulas.adaptive_pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad_input,
)
from gradoracle.oracle.formulas.avg_pool import (
    avg_pool1d,
    avg_pool1d_grad_input,
    avg_pool2d,
    avg_pool2d_grad_input,
    avg_pool3d,
    avg_pool3d_grad_input,
)
from gradoracle.oracle.formulas.broadcast import (
    broadcast_matmul,
    broadcast_matmul_grad_input,
    broadcast_matmul_grad_other,
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
from gradoracle.oracle.formulas.further_ranks import FURTHER_RANKS
from gradoracle.oracle.formulas.interpolate_linear import (
    interpolate_bilinear2d,
    interpolate_bilinear2d_grad_input,
)
from gradoracle.oracle.formulas.interpolate_nearest import (
    interpolate_nearest2d,
    interpolate_nearest2d_grad_input,
)
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
from gradoracle.oracle.formulas.max_unpool import (
    max_unpool2d,
    max_unpool2d_grad_input,
)
from gradoracle.oracle.formulas.padding import (
    circular_pad2d,
    circular_pad2d_grad_input,
    reflection_pad2d,
    reflection_pad2d_grad_input,
    replication_pad2d,
    replication_pad2d_grad_input,
    zero_pad2d,
    zero_pad2d_grad_input,
)
from gradoracle.oracle.formulas.pixel_shuffle import (
    pixel_shuffle,
    pixel_shuffle_grad_input,
    pixel_unshuffle,
    pixel_unshuffle_grad_input,
)
from gradoracle.oracle.formulas.products import (
    bmm,
    bmm_grad_input,
    bmm_grad_mat2,
    matmul,
    matmul_grad_input,
    matmul_grad_other,
)
from gradoracle.oracle.formulas.softmax import softmax, softmax_grad
from gradoracle.oracle.formulas.unfold import (
    fold,
    fold_grad_input,
    unfold,
    unfold_grad_input,
)
from gradoracle.oracle.formulas.update import batch_mean, sgd_step

DERIVED = (
    *normalisation.DERIVED,
    *lp_pool.DERIVED,
    *further_activations.DERIVED,
    *further_losses.DERIVED,
    *attention.DERIVED,
    *position.DERIVED,
    *indexing.DERIVED,
    *joining.DERIVED,
    *optimisers.DERIVED,
)
globals().update({formula.__name__: formula for of in DERIVED for formula in of.formulas})
globals().update({function.__name__: function for function in FURTHER_RANKS})

contract = {"policies": {"bad_arguments": "raise"}}  # as a backend

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad_input",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_grad_input",
    "adaptive_max_pool2d_vjp",
    "avg_pool1d",
    "avg_pool1d_grad_input",
    "avg_pool2d",
    "avg_pool2d_grad_input",
    "avg_pool3d",
    "avg_pool3d_grad_input",
    "batch_mean",
    "bmm",
    "bmm_grad_input",
    "bmm_grad_mat2",
    "broadcast_matmul",
    "broadcast_matmul_grad_input",
    "broadcast_matmul_grad_other",
    "circular_pad2d",
    "circular_pad2d_grad_input",
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
    "fold",
    "fold_grad_input",
    "interpolate_bilinear2d",
    "interpolate_bilinear2d_grad_input",
    "interpolate_nearest2d",
    "interpolate_nearest2d_grad_input",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "matmul",
    "matmul_grad_input",
    "matmul_grad_other",
    "max_pool1d",
    "max_pool1d_grad_input",
    "max_pool1d_vjp",
    "max_pool2d",
    "max_pool2d_grad_input",
    "max_pool2d_vjp",
    "max_pool3d",
    "max_pool3d_grad_input",
    "max_pool3d_vjp",
    "max_unpool2d",
    "max_unpool2d_grad_input",
    "pixel_shuffle",
    "pixel_shuffle_grad_input",
    "pixel_unshuffle",
    "pixel_unshuffle_grad_input",
    "reflection_pad2d",
    "reflection_pad2d_grad_input",
    "relu",
    "relu_grad",
    "replication_pad2d",
    "replication_pad2d_grad_input",
    "sgd_step",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_grad",
    "tanh",
    "tanh_grad",
    "unfold",
    "unfold_grad_input",
    "zero_pad2d",
    "zero_pad2d_grad_input",
]
__all__ += [formula.__name__ for of in DERIVED for formula in of.formulas]
__all__ += [function.__name__ for function in FURTHER_RANKS]
__all__.sort()
