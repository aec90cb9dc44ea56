"""Every operator of the suite.  To add one: write its module, then name it here."""

from gradoracle.conformance.operators.activations import LEAKY_RELU, RELU, SIGMOID, TANH
from gradoracle.conformance.operators.avg_pool2d import AVG_POOL2D
from gradoracle.conformance.operators.conv2d import CONV2D
from gradoracle.conformance.operators.conv_transpose2d import CONV_TRANSPOSE2D
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.operators.loss import CROSS_ENTROPY, SOFTMAX
from gradoracle.conformance.operators.max_pool2d import MAX_POOL2D
from gradoracle.conformance.operators.network import NETWORK
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.update import BATCH_MEAN, SGD_STEP

OPERATORS: tuple[Operator, ...] = (
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
)
