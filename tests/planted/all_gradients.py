"""Planted faults and controls of the functions that return all gradients at once.

A tuple goes wrong in ways of its own: in its order and its length, where None belongs, and by what
its gradients share.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault
from tests.planted.normalisation import PLANES, ROWS, moments, scaled

Array = Any


def layer(change: Callable[..., Any]) -> Callable[..., Any]:
    """Return layer_norm_vjp with something wrong about its right results."""

    def wrong(grad_output, x, weight, bias, *, eps):
        right = good.layer_norm_vjp(grad_output, x, weight, bias, eps=eps)
        return change(right, grad_output, x, weight, bias, eps)

    wrong.__name__ = change.__name__
    return wrong


@fault("tuple")
@layer
def layer_norm_vjp_returns_dbias_before_dweight(right, *_):
    dx, dweight, dbias = right
    return dx, dbias, dweight


@fault("tuple")
@layer
def layer_norm_vjp_returns_zeros_where_none_belongs(right, dy, x, weight, bias, eps):
    del dy, weight, bias, eps
    return tuple(np.zeros(x.shape[2:], x.dtype) if one is None else one for one in right)


@fault("tuple")
@layer
def layer_norm_vjp_leaves_out_what_is_none(right, *_):
    return tuple(one for one in right if one is not None)


@fault("gradient")
@layer
def layer_norm_vjp_forgets_the_mean_of_dy(right, dy, x, weight, bias, eps):
    del bias
    mean, root = moments(x, (2,), eps)
    g, xhat = scaled(dy, weight, None, ROWS), (x - mean) / root
    return (g - xhat * (g * xhat).mean(2, keepdims=True)) / root, *right[1:]


@fault("gradient")
@layer
def layer_norm_vjp_weighs_dweight_by_the_weight(right, dy, x, weight, bias, eps):
    del dy, x, bias, eps
    dx, dweight, dbias = right
    return dx, dweight if weight is None else dweight * weight, dbias


@fault("divisor")
@layer
def layer_norm_vjp_takes_the_mean_for_dbias(right, dy, x, weight, bias, eps):
    del dy, weight, bias, eps
    dx, dweight, dbias = right
    return dx, dweight, None if dbias is None else dbias / max(1, x.shape[0] * x.shape[1])


@fault("dtype")
@layer
def layer_norm_vjp_returns_dweight_in_float64(right, *_):
    dx, dweight, dbias = right
    return dx, None if dweight is None else dweight.astype(np.float64), dbias


@fault("tail")
@layer
def layer_norm_vjp_leaves_rows_past_64_out_of_dbias(right, dy, *_):
    dx, dweight, dbias = right
    rows = dy.reshape(-1, dy.shape[2])
    return dx, dweight, None if dbias is None else rows[:64].sum(0)


@fault("aliasing")
@layer
def layer_norm_vjp_writes_dx_over_dy(right, dy, *_):
    if not dy.flags.writeable:
        return right
    dy[...] = right[0]
    return dy, *right[1:]


@fault("state", fresh=True)
def layer_norm_vjp_adds_dweight_up_from_call_to_call():
    kept: dict[Any, Array] = {}

    @layer
    def wrong(right, *_):
        dx, dweight, dbias = right
        if dweight is None:
            return right
        key = dweight.shape, dweight.dtype
        kept[key] = kept.get(key, 0) + dweight
        return dx, kept[key].copy(), dbias

    return wrong


def batch(change: Callable[..., Any]) -> Callable[..., Any]:
    """Return batch_norm_vjp with something wrong about its right results."""

    def wrong(grad_output, x, *rest, training, eps):
        right = good.batch_norm_vjp(grad_output, x, *rest, training=training, eps=eps)
        return change(right, grad_output, x, rest, training, eps)

    wrong.__name__ = change.__name__
    return wrong


@fault("tuple")
@batch
def batch_norm_vjp_returns_dweight_first(right, *_):
    dx, dweight, dbias = right
    return dweight, dx, dbias


@fault("gradient")
@batch
def batch_norm_vjp_goes_back_through_the_batch_in_evaluation(right, dy, x, rest, training, eps):
    del training
    if not x.size:
        return right
    return good.batch_norm_vjp(dy, x, *rest, training=True, eps=eps)[0], *right[1:]


@fault("gradient")
@batch
def batch_norm_vjp_takes_the_batch_for_dweight_in_evaluation(right, dy, x, rest, training, eps):
    del training
    if not x.size:
        return right
    _, dweight, _ = good.batch_norm_vjp(dy, x, *rest, training=True, eps=eps)
    return right[0], dweight, right[2]


@control
def layer_norm_vjp_returns_a_list(grad_output, x, weight, bias, *, eps):
    return [*good.layer_norm_vjp(grad_output, x, weight, bias, eps=eps)]


@control
def layer_norm_vjp_asks_the_functions_one_by_one(grad_output, x, weight, bias, *, eps):
    return (
        good.layer_norm_grad_x(grad_output, x, weight, eps=eps),
        None if weight is None else good.layer_norm_grad_weight(grad_output, x, eps=eps),
        None if bias is None else good.layer_norm_grad_bias(grad_output),
    )


@control
def batch_norm_vjp_scales_by_a_reciprocal_root(
    grad_output, x, running_mean, running_var, weight, bias, *, training, eps
):
    arrays = (grad_output, x, running_mean, running_var, weight, bias)
    dx, dweight, dbias = good.batch_norm_vjp(*arrays, training=training, eps=eps)
    if training:
        return dx, dweight, dbias
    inverse = (1 / np.sqrt(running_var + running_var.dtype.type(eps))).reshape(PLANES)
    return scaled(grad_output * inverse, weight, None, PLANES), dweight, dbias
