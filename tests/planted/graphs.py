"""Faults of whole graphs: that only a graph of functions shows, or that a graph must show, too.

Each is a factory of the functions that are wrong, named after what goes wrong; they stand in a
table of their own, for several functions may be at fault together.  `ALONE` are those that every
function's own checks are silent about.
"""

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good

Functions = dict[str, Callable[..., Any]]
GRAPHS: dict[str, Callable[[], Functions]] = {}
ALONE: list[str] = []
ATTENTION = "scaled_dot_product_attention"


def fault(make: Callable[[], Functions]) -> Callable[[], Functions]:
    GRAPHS[make.__name__] = make
    return make


def alone(make: Callable[[], Functions]) -> Callable[[], Functions]:
    ALONE.append(make.__name__)
    return fault(make)


def backend(name: str) -> SimpleNamespace:
    return SimpleNamespace(**{n: getattr(good, n) for n in good.__all__} | GRAPHS[name]())


# -- what one function does to another ------------------------------------------------------------


@alone
def a_mean_divides_the_weights_of_convolutions():
    mean = [False]

    def cross_entropy(logits, target, *, reduction):
        mean[0] = reduction == "mean"
        return good.cross_entropy(logits, target, reduction=reduction)

    def conv2d_grad_weight(grad_output, x, **o):
        dw = good.conv2d_grad_weight(grad_output, x, **o)
        return dw / len(x) if mean[0] else dw

    return {"cross_entropy": cross_entropy, "conv2d_grad_weight": conv2d_grad_weight}


@alone
def a_second_loss_replaces_the_first():
    last = [""]

    def mse_loss(input, target, *, reduction):  # noqa: A002
        last[0] = "mse_loss"
        return good.mse_loss(input, target, reduction=reduction)

    def cross_entropy_grad(logits, target, *, reduction):
        dz = good.cross_entropy_grad(logits, target, reduction=reduction)
        return np.zeros_like(dz) if last[0] == "mse_loss" else dz

    return {"mse_loss": mse_loss, "cross_entropy_grad": cross_entropy_grad}


@alone
def batch_norm_freezes_the_layer_before_it():
    frozen = [False]

    def batch_norm(*arrays, **o):
        frozen[0] = True
        return good.batch_norm(*arrays, **o)

    def conv2d_grad_bias(grad_output):
        db = good.conv2d_grad_bias(grad_output)
        return np.zeros_like(db) if frozen[0] else db

    return {"batch_norm": batch_norm, "conv2d_grad_bias": conv2d_grad_bias}


@alone
def attention_leaves_its_scale_to_linear_layers():
    scale = [1.0]

    def attention(query, *arrays, **o):
        scale[0] = query.shape[-1] ** -0.5
        return getattr(good, ATTENTION)(query, *arrays, **o)

    def linear_grad_input(grad_output, weight):
        return good.linear_grad_input(grad_output, weight) * weight.dtype.type(scale[0])

    return {ATTENTION: attention, "linear_grad_input": linear_grad_input}


@alone
def the_table_of_an_embedding_is_tied_once():
    """The gradient of a table that a linear layer has, too, leaves out what the lookup adds."""
    seen = set()

    def linear(x, weight, bias=None):
        seen.add(weight.tobytes())
        return good.linear(x, weight, bias)

    def embedding_grad(grad_output, input, weight, *, padding_idx):  # noqa: A002
        dw = good.embedding_grad(grad_output, input, weight, padding_idx=padding_idx)
        return np.zeros_like(dw) if weight.tobytes() in seen else dw

    return {"linear": linear, "embedding_grad": embedding_grad}


# -- arrays that others still read ----------------------------------------------------------------


@fault
def add_writes_into_its_first_argument():
    def add(input, other, *, alpha):  # noqa: A002
        y = good.add(input, other, alpha=alpha)
        if y.shape == input.shape:
            input[...] = y
        return y

    return {"add": add}


@fault
def tanh_writes_into_its_argument():
    def tanh(z):
        y = good.tanh(z)
        z[...] = y
        return y

    return {"tanh": tanh}


@fault
def layer_norm_centres_its_argument():
    def layer_norm(x, weight=None, bias=None, *, eps):
        y = good.layer_norm(x, weight, bias, eps=eps)
        x -= x.mean(-1, keepdims=True)
        return y

    return {"layer_norm": layer_norm}


@fault
def attention_scales_its_query():
    def attention(query, *arrays, **o):
        y = getattr(good, ATTENTION)(query, *arrays, **o)
        query *= query.dtype.type(query.shape[-1] ** -0.5)
        return y

    return {ATTENTION: attention}


@fault
def conv2d_grad_input_masks_the_gradient_it_is_given():
    def conv2d_grad_input(grad_output, weight, **o):
        dx = good.conv2d_grad_input(grad_output, weight, **o)
        grad_output *= 0
        return dx

    return {"conv2d_grad_input": conv2d_grad_input}


# -- what is kept for the way back ----------------------------------------------------------------


@fault
def linear_keeps_the_result_of_a_weight():
    kept = {}

    def linear(x, weight, bias=None):
        y = good.linear(x, weight, bias)
        known = kept.setdefault((weight.tobytes(), x.shape, x.dtype), y)
        return known.copy()

    return {"linear": linear}


@fault
def linear_grad_weight_reads_the_last_input():
    kept = {}

    def linear(x, weight, bias=None):
        kept[x.shape, x.dtype] = x.copy()
        return good.linear(x, weight, bias)

    def linear_grad_weight(grad_output, x):
        return good.linear_grad_weight(grad_output, kept.get((x.shape, x.dtype), x))

    return {"linear": linear, "linear_grad_weight": linear_grad_weight}


@fault
def conv2d_takes_its_inputs_back_in_the_same_order():
    kept = {}

    def conv2d(x, weight, bias=None, **o):
        kept.setdefault((x.shape, x.dtype), deque(maxlen=2)).append(x.copy())
        return good.conv2d(x, weight, bias, **o)

    def conv2d_grad_weight(grad_output, x, **o):
        queue = kept.get((x.shape, x.dtype))
        return good.conv2d_grad_weight(grad_output, queue.popleft() if queue else x, **o)

    return {"conv2d": conv2d, "conv2d_grad_weight": conv2d_grad_weight}


@fault
def layer_norm_keeps_the_statistics_of_the_last_call():
    kept = {}

    def layer_norm(x, weight=None, bias=None, *, eps):
        kept[x.shape, x.dtype] = x.copy()
        return good.layer_norm(x, weight, bias, eps=eps)

    def layer_norm_grad_weight(grad_output, x, *, eps):
        last = kept.get((x.shape, x.dtype), x)
        return good.layer_norm_grad_weight(grad_output, last, eps=eps)

    return {"layer_norm": layer_norm, "layer_norm_grad_weight": layer_norm_grad_weight}


@fault
def conv2d_grad_weight_adds_to_the_last_gradient():
    kept = {}

    def conv2d(x, weight, bias=None, **o):
        kept.clear()
        return good.conv2d(x, weight, bias, **o)

    def conv2d_grad_weight(grad_output, x, **o):
        dw = good.conv2d_grad_weight(grad_output, x, **o)
        key = dw.shape, dw.dtype
        kept[key] = kept.get(key, 0) + dw
        return kept[key].copy()

    return {"conv2d": conv2d, "conv2d_grad_weight": conv2d_grad_weight}


# -- wrong by themselves, and a graph must show it ------------------------------------------------


@fault
def embedding_grad_assigns_instead_of_adding():
    def embedding_grad(grad_output, input, weight, *, padding_idx):  # noqa: A002
        dw = np.zeros_like(weight)
        dw[input.ravel()] = grad_output.reshape(-1, weight.shape[1])
        return dw

    return {"embedding_grad": embedding_grad}


@fault
def cat_grad_second_takes_the_first_part():
    def cat_grad_second(grad_output, first, second, third=None, *, axis):
        return np.moveaxis(np.moveaxis(grad_output, axis, 0)[: second.shape[axis]], 0, axis).copy()

    return {"cat_grad_second": cat_grad_second}


@fault
def attention_grad_key_forgets_the_scale():
    name = f"{ATTENTION}_grad_key"

    def grad_key(grad_output, query, *arrays, **o):
        dk = getattr(good, name)(grad_output, query, *arrays, **o)
        return dk * dk.dtype.type(query.shape[-1] ** 0.5 if query.shape[-1] > 1 else 2)

    return {name: grad_key}


@fault
def conv2d_grad_input_is_wrong_at_one_shape():
    def conv2d_grad_input(grad_output, weight, **o):
        dx = good.conv2d_grad_input(grad_output, weight, **o)
        if weight.shape[2:] == (3, 3) and o["padding"] == (1, 1) and dx.shape[2] == 3:
            dx[..., -1, -1] = 0
        return dx

    return {"conv2d_grad_input": conv2d_grad_input}


@fault
def add_grad_other_forgets_that_both_are_one():
    def add_grad_other(grad_output, input, other, *, alpha):  # noqa: A002
        if input.shape == other.shape and np.array_equal(input, other):
            return np.zeros_like(other)
        return good.add_grad_other(grad_output, input, other, alpha=alpha) * other.dtype.type(0.5)

    return {"add_grad_other": add_grad_other}


@fault
def avg_pool2d_grad_input_divides_once_more():
    def avg_pool2d_grad_input(grad_output, **o):
        dx = good.avg_pool2d_grad_input(grad_output, **o)
        return dx / dx.dtype.type(np.prod(o["kernel_size"]))

    return {"avg_pool2d_grad_input": avg_pool2d_grad_input}
