"""A convolution as a stranger might write it: einsum over windows, no word of gradoracle."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def _windows(x, kernel, stride, padding, dilation):
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    windows = sliding_window_view(x, extent, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _check(x_shape, weight_shape, stride, padding, dilation, groups):
    if len(x_shape) != 4 or len(weight_shape) != 4 or min(*x_shape[1:], *weight_shape) < 1:
        raise ValueError("four axes of at least one")
    if x_shape[0] < 0 or min(*stride, *dilation, groups) < 1 or min(padding) < 0:
        raise ValueError("bad options")
    if weight_shape[0] % groups or x_shape[1] != weight_shape[1] * groups:
        raise ValueError("groups do not fit")
    sides = zip(x_shape[2:], weight_shape[2:], stride, padding, dilation, strict=True)
    room = [(h + 2 * p - (k - 1) * d - 1, s) for h, k, s, p, d in sides]
    if min(r for r, _ in room) < 0:
        raise ValueError("kernel too large")
    return (x_shape[0], weight_shape[0], *(r // s + 1 for r, s in room))


def conv2d(x, weight, bias=None, *, stride, padding, dilation, groups):
    shape = _check(x.shape, weight.shape, stride, padding, dilation, groups)
    if bias is not None and bias.shape != (len(weight),):
        raise ValueError("bias")
    windows = _windows(x, weight.shape[2:], stride, padding, dilation)
    parts = zip(np.split(windows, groups, 1), np.split(weight, groups, 0), strict=True)
    y = np.concatenate([np.einsum("ncijpq,mcpq->nmij", a, w) for a, w in parts], 1)
    return (y if bias is None else y + bias[:, None, None]).reshape(shape)


def conv2d_grad_weight(grad_output, x, *, weight_shape, stride, padding, dilation, groups):
    if grad_output.shape != _check(x.shape, weight_shape, stride, padding, dilation, groups):
        raise ValueError("grad_output")
    windows = _windows(x, weight_shape[2:], stride, padding, dilation)
    parts = zip(np.split(windows, groups, 1), np.split(grad_output, groups, 1), strict=True)
    return np.concatenate([np.einsum("nmij,ncijpq->mcpq", g, a) for a, g in parts], 0)
