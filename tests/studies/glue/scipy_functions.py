"""SciPy: correlate2d of planes, correlate of sequences, and scipy.special."""

import numpy as np
from scipy import signal, special

from gradoracle import adapt


def conv2d(x, weight):
    if x.shape[1] != weight.shape[1] or any(np.less(x.shape[2:], weight.shape[2:])):
        raise ValueError("shapes do not fit")
    sides = np.subtract(x.shape[2:], weight.shape[2:]) + 1
    y = np.zeros((len(x), len(weight), *sides), x.dtype)
    for n, m, c in np.ndindex(*y.shape[:2], x.shape[1]):
        y[n, m] += signal.correlate2d(x[n, c], weight[m, c], "valid")
    return y


def conv3d(x, weight):
    if x.shape[1] != weight.shape[1] or any(np.less(x.shape[2:], weight.shape[2:])):
        raise ValueError("shapes do not fit")
    both = [signal.correlate(x, w[None], "valid", method="direct")[:, 0] for w in weight]
    return np.stack(both, 1)


def sigmoid(z):
    return special.expit(z)


def softmax(z, *, axis):
    return special.softmax(z, axis)


def cross_entropy(logits, target, *, reduction):
    losses = -np.take_along_axis(special.log_softmax(logits, 1), target[:, None], 1)
    return np.asarray(losses.mean() if reduction == "mean" else losses.sum())


def log_softmax(z, *, axis):
    return special.log_softmax(z, axis)


def logsigmoid(z):
    return special.log_expit(z)


def huber_loss(x, target, *, reduction, delta):
    losses = special.huber(x.dtype.type(delta), x - target)
    reduced = {"none": np.asarray, "mean": np.mean, "sum": np.sum}
    return np.asarray(reduced[reduction](losses))


backend = adapt.numpy(
    conv2d=conv2d, conv3d=conv3d, sigmoid=sigmoid, softmax=softmax, cross_entropy=cross_entropy,
    log_softmax=log_softmax, logsigmoid=logsigmoid, huber_loss=huber_loss,
)  # fmt: skip
