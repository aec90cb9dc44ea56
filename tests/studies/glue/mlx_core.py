"""MLX on a CPU: convolutions, poolings and activations, gradients by mx.vjp."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gradoracle import adapt

LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
mx.set_default_device(mx.cpu)


def last(array):
    return mx.array(np.array(array.transpose(LAST[array.ndim]), order="C"))


def first(array):
    return np.array(array).transpose(FIRST[array.ndim])


def convolution(rank):
    run = getattr(mx, f"conv{rank}d")

    def numbers(stride, padding, dilation):
        return [pair if rank > 1 else pair[0] for pair in (stride, padding, dilation)]

    def conv(x, weight, bias=None, *, stride, padding, dilation, groups):
        y = first(run(last(x), last(weight), *numbers(stride, padding, dilation), groups))
        return y if bias is None else y + bias.reshape(-1, *[1] * rank)

    def slope(dy, x, weight, at, **options):
        options = {**options}
        groups = options.pop("groups")
        chosen = numbers(**options)
        _, found = mx.vjp(
            lambda x, w: run(x, w, *chosen, groups), [last(x), last(weight)], [last(dy)]
        )
        return first(found[at])

    def grad_input(grad_output, weight, *, input_shape, stride, padding, dilation, groups):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return slope(grad_output, np.zeros(input_shape, "f4"), weight, 0, **options)

    def grad_weight(grad_output, x, *, weight_shape, stride, padding, dilation, groups):
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return slope(grad_output, x, np.zeros(weight_shape, "f4"), 1, **options)

    name = f"conv{rank}d"
    return {name: conv, f"{name}_grad_input": grad_input, f"{name}_grad_weight": grad_weight}


def transposed(rank):
    run = getattr(mx, f"conv_transpose{rank}d")

    def conv(x, weight, bias=None, *, stride, padding, output_padding, dilation, groups):
        if groups > 1:
            raise NotImplementedError("weights of groups lie otherwise")
        pairs = (stride, padding, dilation, output_padding)
        y = run(last(x), last(weight.swapaxes(0, 1)), *[p if rank > 1 else p[0] for p in pairs])
        return first(y) if bias is None else first(y) + bias.reshape(-1, *[1] * rank)

    return {f"conv_transpose{rank}d": conv}


def pooling(rank):
    def max_pool(x, *, kernel_size, stride, padding):
        return first(getattr(nn, f"MaxPool{rank}d")(kernel_size, stride, padding)(last(x)))

    def avg_pool(x, *, kernel_size, stride, padding):
        return first(getattr(nn, f"AvgPool{rank}d")(kernel_size, stride, padding)(last(x)))

    return {f"max_pool{rank}d": max_pool, f"avg_pool{rank}d": avg_pool}


def elementwise(name, function):
    def value(z, **options):
        return np.array(function(mx.array(np.array(z, order="C")), **options))

    def gradient(grad_output, z, **options):
        given = [mx.array(np.array(a, order="C")) for a in (z, grad_output)]
        return np.array(mx.vjp(lambda z: function(z, **options), given[:1], given[1:])[1][0])

    return {name: value, f"{name}_grad": gradient}


def cross_entropy(logits, target, *, reduction):
    arrays = [mx.array(np.array(a, order="C")) for a in (logits, target)]
    return np.array(nn.losses.cross_entropy(*arrays, reduction=reduction))


def linear(x, weight, bias=None):
    x, weight = (mx.array(np.array(a, order="C")) for a in (x, weight))
    y = np.array(x @ weight.T)
    return y if bias is None else y + bias


made = {"cross_entropy": cross_entropy, "linear": linear}
for rank in (1, 2, 3):
    made |= convolution(rank) | transposed(rank) | pooling(rank)
for name, function in {
    "relu": nn.relu, "leaky_relu": nn.leaky_relu, "sigmoid": mx.sigmoid, "tanh": mx.tanh,
    "softmax": mx.softmax,
}.items():  # fmt: skip
    made |= elementwise(name, function)
at_zero = {"policies": {"leaky_relu_at_zero": 1}}
backend = adapt.numpy(**made, dtypes=["float32"], contract=at_zero)
