"""Ways of computing that lose digits, which a contract may claim."""

import numpy as np


def one_pass(x, weight=None, bias=None, *, eps):
    mean, square = x.mean(2, keepdims=True), (x * x).mean(2, keepdims=True)
    variance = np.maximum(square - mean * mean, 0)
    y = (x - mean) / np.sqrt(variance + x.dtype.type(eps))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def log_of_sum(z, axis=1):
    top = z.max(axis, keepdims=True)
    return top + np.log(np.exp(z - top).sum(axis, keepdims=True))


def unshifted_log_softmax(z, *, axis):
    return z - log_of_sum(z, axis)
