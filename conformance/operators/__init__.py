"""Every operator of the suite, and those that other packages bring.

To add one: write its module, then name it here; or bring it from outside (`outside.py`).
"""

from gradoracle.conformance.operators.activations import LEAKY_RELU, RELU, SIGMOID, TANH
from gradoracle.conformance.operators.adaptive_pool import ADAPTIVE_AVG_POOL2D, ADAPTIVE_MAX_POOL2D
from gradoracle.conformance.operators.attention import ATTENTION
from gradoracle.conformance.operators.avg_pool import AVG_POOL1D, AVG_POOL2D, AVG_POOL3D
from gradoracle.conformance.operators.conv_transpose import (
    CONV_TRANSPOSE1D,
    CONV_TRANSPOSE2D,
    CONV_TRANSPOSE3D,
)
from gradoracle.conformance.operators.convolution import CONV1D, CONV2D, CONV3D
from gradoracle.conformance.operators.further_activations import ACTIVATIONS
from gradoracle.conformance.operators.further_losses import LOSSES
from gradoracle.conformance.operators.further_ranks import FURTHER_RANKS
from gradoracle.conformance.operators.graph import GRAPH
from gradoracle.conformance.operators.indexing import INDEXED
from gradoracle.conformance.operators.interpolate import INTERPOLATIONS
from gradoracle.conformance.operators.joining import JOINED
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.operators.loss import CROSS_ENTROPY, SOFTMAX
from gradoracle.conformance.operators.max_pool import MAX_POOL1D, MAX_POOL2D, MAX_POOL3D
from gradoracle.conformance.operators.max_unpool import MAX_UNPOOL2D
from gradoracle.conformance.operators.moved_pixels import MOVED_PIXELS
from gradoracle.conformance.operators.network import NETWORK
from gradoracle.conformance.operators.normalisations import NORMALISATIONS
from gradoracle.conformance.operators.optimisers import OPTIMISERS
from gradoracle.conformance.operators.outside import from_outside
from gradoracle.conformance.operators.padding import PADS2D
from gradoracle.conformance.operators.products import PRODUCTS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.registered import Operators
from gradoracle.conformance.operators.update import BATCH_MEAN, SGD_STEP

SHIPPED: tuple[Operator, ...] = (
    CONV2D,
    CONV_TRANSPOSE2D,
    MAX_POOL2D,
    AVG_POOL2D,
    RELU,
    LEAKY_RELU,
    SIGMOID,
    TANH,
    LINEAR,
    SOFTMAX,
    CROSS_ENTROPY,
    BATCH_MEAN,
    SGD_STEP,
    NETWORK,
    GRAPH,
    CONV1D,
    CONV3D,
    CONV_TRANSPOSE1D,
    CONV_TRANSPOSE3D,
    MAX_POOL1D,
    MAX_POOL3D,
    AVG_POOL1D,
    AVG_POOL3D,
    *NORMALISATIONS,
    *ACTIVATIONS,
    *LOSSES,
    *MOVED_PIXELS,
    *PADS2D,
    ADAPTIVE_AVG_POOL2D,
    ADAPTIVE_MAX_POOL2D,
    MAX_UNPOOL2D,
    *INTERPOLATIONS,
    *PRODUCTS,
    ATTENTION,
    *INDEXED,
    *JOINED,
    *OPTIMISERS,
    *FURTHER_RANKS,
)
OPERATORS = Operators(SHIPPED, from_outside(SHIPPED))
BROUGHT = OPERATORS.brought  # with those of the program, once it has added any
