"""TensorFlow's tf.nn, channels last, gradients by a gradient tape."""

import numpy as np
import tensorflow as tf

from gradoracle import adapt

tf.config.threading.set_intra_op_parallelism_threads(1)


class Engine:
    def from_numpy(self, array):
        return tf.constant(np.array(array, order="C"))

    def to_numpy(self, tensor):
        return tensor.numpy()

    def zeros(self, shape, like):
        return tf.zeros(shape, like.dtype)

    def vjp(self, function, at, grad_output):
        with tf.GradientTape() as tape:
            tape.watch(at)
            y = function(at)
        zero = tf.UnconnectedGradients.ZERO
        return tf.convert_to_tensor(tape.gradient(y, at, grad_output, unconnected_gradients=zero))


def last(x):
    return tf.transpose(x, (0, 2, 3, 1))


def first(x):
    return tf.transpose(x, (0, 3, 1, 2))


def conv2d(x, weight, bias=None, *, stride, padding, dilation):
    if stride[0] != stride[1] or (max(stride) > 1 and max(dilation) > 1):
        raise NotImplementedError("one stride, and 1 beside dilations, as it says")
    pads = [(0, 0), *((p, p) for p in padding), (0, 0)]
    filters = tf.transpose(weight, (2, 3, 1, 0))
    y = first(tf.nn.conv2d(last(x), filters, stride, pads, dilations=dilation))
    return y if bias is None else y + bias[:, None, None]


def max_pool2d(x, *, kernel_size, stride):
    return first(tf.nn.max_pool2d(last(x), kernel_size, stride, "VALID"))


def avg_pool2d(x, *, kernel_size, stride):
    return first(tf.nn.avg_pool2d(last(x), kernel_size, stride, "VALID"))


def linear(x, weight, bias=None):
    y = tf.matmul(x, weight, transpose_b=True)
    return y if bias is None else tf.nn.bias_add(y, bias)


def relu(z):
    return tf.nn.relu(z)


def leaky_relu(z, *, negative_slope):
    return tf.nn.leaky_relu(z, negative_slope)


def sigmoid(z):
    return tf.math.sigmoid(z)


def tanh(z):
    return tf.math.tanh(z)


def softmax(z, *, axis):
    return tf.nn.softmax(z, axis)


def cross_entropy(logits, target, *, reduction):
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
    return tf.reduce_mean(losses) if reduction == "mean" else tf.reduce_sum(losses)


def elu(z):
    return tf.nn.elu(z)


def gelu(z, *, approximate):
    return tf.nn.gelu(z, approximate == "tanh")


def relu6(z):
    return tf.nn.relu6(z)


def silu(z):
    return tf.nn.silu(z)


def logsigmoid(z):
    return tf.math.log_sigmoid(z)


def log_softmax(z, *, axis):
    return tf.nn.log_softmax(z, axis)


def binary_cross_entropy_with_logits(x, target, pos_weight=None, *, reduction):
    if pos_weight is None:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(target, x)
    else:
        losses = tf.nn.weighted_cross_entropy_with_logits(target, x, pos_weight)
    return {"none": tf.identity, "mean": tf.reduce_mean, "sum": tf.reduce_sum}[reduction](losses)


backend = adapt.autodiff(
    Engine(), conv2d=conv2d, max_pool2d=max_pool2d, avg_pool2d=avg_pool2d, linear=linear,
    relu=relu, leaky_relu=leaky_relu, sigmoid=sigmoid, tanh=tanh, softmax=softmax,
    cross_entropy=cross_entropy, elu=elu, gelu=gelu, relu6=relu6, silu=silu, logsigmoid=logsigmoid,
    log_softmax=log_softmax, binary_cross_entropy_with_logits=binary_cross_entropy_with_logits,
)  # fmt: skip
