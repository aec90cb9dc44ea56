"""Faults in forward mode and in second backward passes, and right ways to compute both.

Each name is `<function>__<what is special>`; the function ends with `_jvp` or `_double_backward`.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.claims import Function

JVP, DOUBLE = "_jvp", "_double_backward"
PROPERTY = {JVP: "matches_forward_mode", DOUBLE: "matches_double_backward"}


class Derivative(NamedTuple):
    function: str
    called: Function

    @property
    def ending(self) -> str:
        return DOUBLE if self.function.endswith(DOUBLE) else JVP

    @property
    def formula(self) -> str:
        return self.function.removesuffix(self.ending)

    def backend(self) -> SimpleNamespace:
        """The function alone."""
        return SimpleNamespace(**{self.function: self.called})


WRONG: dict[str, Derivative] = {}
RIGHT: dict[str, Derivative] = {}


def wrong(called: Function) -> Function:
    return _added(WRONG, called)


def right(called: Function) -> Function:
    return _added(RIGHT, called)


def _added(table: dict[str, Derivative], called: Function) -> Function:
    assert called.__name__ not in table
    table[called.__name__] = Derivative(called.__name__.partition("__")[0], called)
    return called


def conv_jvp(vx, vw, vb, x, weight, **o):
    y = good.conv2d(vx, weight, **o) + good.conv2d(x, vw, **o)
    return y if vb is None else y + vb[:, None, None]


def conv_double(vx, vw, vb, dy, x, weight, **o):
    return (
        conv_jvp(vx, vw, vb, x, weight, **o),
        good.conv2d_grad_input(dy, vw, input_shape=x.shape, **o),
        good.conv2d_grad_weight(dy, vx, weight_shape=weight.shape, **o),
    )


# -- forward mode ---------------------------------------------------------------------------------


@wrong
def conv2d_jvp__moves_the_first_group_only(vx, vw, vb, x, weight, bias=None, **o):
    """Of several groups, the weight's tangent is used in the first."""
    vw = vw.copy()
    vw[len(vw) // o["groups"] :] = 0
    return conv_jvp(vx, vw, vb, x, weight, **o)


@wrong
def conv2d_jvp__forgets_the_weight(vx, vw, vb, x, weight, bias=None, **o):
    return conv_jvp(vx, 0 * vw, vb, x, weight, **o)


@wrong
def conv2d_jvp__forgets_the_bias(vx, vw, vb, x, weight, bias=None, **o):
    return conv_jvp(vx, vw, None, x, weight, **o)


@wrong
def conv2d_jvp__adds_the_bias_itself(vx, vw, vb, x, weight, bias=None, **o):
    return conv_jvp(vx, vw, bias, x, weight, **o)


@wrong
def conv2d_jvp__is_the_convolution_of_the_tangents(vx, vw, vb, x, weight, bias=None, **o):
    return good.conv2d(vx, vw, vb, **o)


@wrong
def conv2d_jvp__flips_the_tangent_of_the_weight(vx, vw, vb, x, weight, bias=None, **o):
    return conv_jvp(vx, vw[:, :, ::-1, ::-1], vb, x, weight, **o)


@wrong
def linear_jvp__takes_tangents_in_another_order(vx, vw, vb, x, weight, bias=None):
    y = vx @ weight.T + x @ vw.T
    return y if vb is None else y + vb[::-1]


@wrong
def matmul_jvp__counts_one_term_twice(vi, vo, first, other):
    return vi @ other + 2 * (first @ vo)


@wrong
def bmm_jvp__moves_all_by_the_first_matrix(vi, vm, first, mat2):
    return vi @ mat2 + first @ np.broadcast_to(vm[:1], vm.shape)


@wrong
def sigmoid_jvp__has_the_slope_of_its_answer(tangent, z):
    return good.sigmoid_grad(tangent, good.sigmoid(z))


@wrong
def tanh_jvp__forgets_the_tangent(tangent, z):
    return good.tanh_grad(np.ones_like(z), z)


@wrong
def gelu_jvp__differentiates_the_other_form(tangent, z, *, approximate):
    other = {"none": "tanh", "tanh": "none"}[approximate]
    return good.gelu_grad(tangent, z, approximate=other)


@wrong
def relu_jvp__passes_what_is_negative(tangent, z):
    return np.where(z < 0, tangent, good.relu_grad(tangent, z))


@right
def conv2d_jvp__by_two_convolutions(vx, vw, vb, x, weight, bias=None, **o):
    return conv_jvp(vx, vw, vb, x, weight, **o)


@right
def linear_jvp__in_one_product(vx, vw, vb, x, weight, bias=None):
    y = np.concatenate([vx, x], 1) @ np.concatenate([weight, vw], 1).T
    return y if vb is None else y + vb


@right
def matmul_jvp__by_two_products(vi, vo, first, other):
    return vi @ other + first @ vo


@right
def gelu_jvp__by_its_gradient(tangent, z, *, approximate):
    return good.gelu_grad(tangent, z, approximate=approximate)


@right
def relu_jvp__by_its_gradient(tangent, z):
    return good.relu_grad(tangent, z)


# -- forward mode of normalisations, losses and attention ------------------------------------------


def softmax_of(z, axis):
    return np.exp(good.log_softmax(z, axis=axis))


@right
def log_softmax_jvp__less_the_mean_tangent(v, z, *, axis):
    return v - (softmax_of(z, axis) * v).sum(axis, keepdims=True)


@wrong
def log_softmax_jvp__forgets_the_sum(v, z, *, axis):
    return v


@wrong
def log_softmax_jvp__is_its_gradient(v, z, *, axis):
    """J^T v for J v: the matrix is not symmetric."""
    return good.log_softmax_grad(v, z, axis=axis)


def normalised(x, eps):
    """Return x less its mean, over its deviation, and one over that."""
    centred = x - x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + x.dtype.type(eps))
    return centred * inverse, inverse


def layer_norm_moved(vx, vw, vb, x, weight, eps, *, of_variance=1):
    of, inverse = normalised(x, eps)
    moved = vx - vx.mean(-1, keepdims=True)
    moved = (moved - of_variance * of * (of * moved).mean(-1, keepdims=True)) * inverse
    y = moved if weight is None else moved * weight + of * vw
    return y if vb is None else y + vb


@right
def layer_norm_jvp__in_closed_form(vx, vw, vb, x, weight=None, bias=None, *, eps):
    return layer_norm_moved(vx, vw, vb, x, weight, eps)


@wrong
def layer_norm_jvp__keeps_the_variance(vx, vw, vb, x, weight=None, bias=None, *, eps):
    return layer_norm_moved(vx, vw, vb, x, weight, eps, of_variance=0)


@wrong
def layer_norm_jvp__forgets_the_weight(vx, vw, vb, x, weight=None, bias=None, *, eps):
    return layer_norm_moved(vx, None if vw is None else 0 * vw, vb, x, weight, eps)


@wrong
def layer_norm_jvp__adds_the_bias_itself(vx, vw, vb, x, weight=None, bias=None, *, eps):
    return layer_norm_moved(vx, vw, bias, x, weight, eps)


def rms_norm_moved(vx, vw, x, weight, eps, count):
    inverse = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + x.dtype.type(eps))
    of = x * inverse
    moved = (vx - of * (of * vx).sum(-1, keepdims=True) / count) * inverse
    return moved if weight is None else moved * weight + of * vw


@right
def rms_norm_jvp__in_closed_form(vx, vw, x, weight=None, *, eps):
    return rms_norm_moved(vx, vw, x, weight, eps, x.dtype.type(x.shape[-1]))


@wrong
def rms_norm_jvp__divides_by_one_less(vx, vw, x, weight=None, *, eps):
    return rms_norm_moved(vx, vw, x, weight, eps, x.dtype.type(max(1, x.shape[-1] - 1)))


def squares_moved(vi, vt, x, goal, reduction, sign):
    y = 2 * (x - goal) * (vi + sign * vt)
    return y if reduction == "none" else y.mean() if reduction == "mean" else y.sum()


@right
def mse_loss_jvp__of_the_difference(vi, vt, x, goal, *, reduction):
    return squares_moved(vi, vt, x, goal, reduction, -1)


@wrong
def mse_loss_jvp__adds_the_tangent_of_the_target(vi, vt, x, goal, *, reduction):
    return squares_moved(vi, vt, x, goal, reduction, 1)


@wrong
def mse_loss_jvp__sums_for_a_mean(vi, vt, x, goal, *, reduction):
    reduction = "sum" if reduction == "mean" else reduction
    return squares_moved(vi, vt, x, goal, reduction, -1)


def attention_moved(vq, vk, vv, vm, query, key, value, attn_mask, o):
    """Return y along tangents, in float64: the derivative of the softmax of the scores."""
    scale = o["scale"] if o["scale"] is not None else query.shape[-1] ** -0.5
    if o["enable_gqa"]:
        times = query.shape[-3] // key.shape[-3]
        vk, vv, key, value = (np.repeat(a, times, -3) for a in (vk, vv, key, value))
    q, k, v = (a.astype(np.float64) for a in (query, key, value))
    s, moved = scale * q @ np.swapaxes(k, -1, -2), scale * vq @ np.swapaxes(k, -1, -2)
    moved = moved + scale * q @ np.swapaxes(vk, -1, -2)
    if o["is_causal"]:
        s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    if attn_mask is not None and attn_mask.dtype == bool:
        s = np.where(attn_mask, s, -np.inf)
    elif attn_mask is not None:
        s, moved = s + attn_mask, moved + vm
    largest = s.max(-1, keepdims=True, initial=-np.inf)
    p = np.exp(s - np.where(np.isinf(largest), 0, largest))
    p = p / np.where(p.sum(-1, keepdims=True) == 0, 1, p.sum(-1, keepdims=True))
    moved = np.where(p == 0, 0, moved)
    return (p * (moved - (p * moved).sum(-1, keepdims=True))) @ v + p @ vv


@right
def scaled_dot_product_attention_jvp__by_products(
    vq, vk, vv, vm, query, key, value, attn_mask=None, **o
):
    return attention_moved(vq, vk, vv, vm, query, key, value, attn_mask, o).astype(query.dtype)


@wrong
def scaled_dot_product_attention_jvp__moves_the_values_only(
    vq, vk, vv, vm, query, key, value, attn_mask=None, **o
):
    still = 0 * vq, 0 * vk, vv, None if vm is None else 0 * vm
    return attention_moved(*still, query, key, value, attn_mask, o).astype(query.dtype)


@wrong
def scaled_dot_product_attention_jvp__forgets_the_keys(
    vq, vk, vv, vm, query, key, value, attn_mask=None, **o
):
    found = attention_moved(vq, 0 * vk, vv, vm, query, key, value, attn_mask, o)
    return found.astype(query.dtype)


# -- a second backward pass -----------------------------------------------------------------------


@wrong
def conv2d_double_backward__is_right_in_one_group_only(vx, vw, vb, dy, x, weight, bias=None, **o):
    """Forward over reverse of grouped convolutions: the groups' images are exchanged."""
    ddy, dx, dw = conv_double(vx, vw, vb, dy, x, weight, **o)
    return ddy, dx, np.roll(dw, len(dw) // o["groups"], 0) if o["groups"] > 1 else dw


@wrong
def conv2d_double_backward__has_the_gradient_again(vx, vw, vb, dy, x, weight, bias=None, **o):
    ddy, _, dw = conv_double(vx, vw, vb, dy, x, weight, **o)
    return ddy, good.conv2d_grad_input(dy, weight, input_shape=x.shape, **o), dw


@wrong
def conv2d_double_backward__forgets_the_bias(vx, vw, vb, dy, x, weight, bias=None, **o):
    return conv_double(vx, vw, None, dy, x, weight, **o)


@wrong
def conv2d_double_backward__goes_back_from_its_own_dy(vx, vw, vb, dy, x, weight, bias=None, **o):
    ddy, _, dw = conv_double(vx, vw, vb, dy, x, weight, **o)
    return ddy, good.conv2d_grad_input(ddy, vw, input_shape=x.shape, **o), dw


@wrong
def conv2d_double_backward__has_no_weight_by_the_input(vx, vw, vb, dy, x, weight, bias=None, **o):
    return conv_double(0 * vx, vw, vb, dy, x, weight, **o)


@wrong
def conv2d_double_backward__flips_the_tangent(vx, vw, vb, dy, x, weight, bias=None, **o):
    ddy, _, dw = conv_double(vx, vw, vb, dy, x, weight, **o)
    flipped = vw[:, :, ::-1, ::-1]
    return ddy, good.conv2d_grad_input(dy, flipped, input_shape=x.shape, **o), dw


@wrong
def linear_double_backward__halves_the_weight(vx, vw, vb, dy, x, weight, bias=None):
    ddy, dx, dw = linear_double(vx, vw, vb, dy, x, weight)
    return ddy, dx, dw / 2


@wrong
def linear_double_backward__averages_over_the_batch(vx, vw, vb, dy, x, weight, bias=None):
    ddy, dx, dw = linear_double(vx, vw, vb, dy, x, weight)
    return ddy, dx, dw / max(1, len(x))


@wrong
def matmul_double_backward__is_symmetric(vi, vo, dy, first, other):
    return vi @ other + first @ vo, dy @ other.T, vi.T @ dy


@wrong
def bmm_double_backward__returns_two_results(vi, vm, dy, first, mat2):
    return vi @ mat2 + first @ vm, dy @ vm.transpose(0, 2, 1)


def linear_double(vx, vw, vb, dy, x, weight):
    ddy = vx @ weight.T + x @ vw.T
    return ddy if vb is None else ddy + vb, dy @ vw, dy.T @ vx


@right
def conv2d_double_backward__by_its_gradients(vx, vw, vb, dy, x, weight, bias=None, **o):
    return conv_double(vx, vw, vb, dy, x, weight, **o)


@right
def linear_double_backward__by_products(vx, vw, vb, dy, x, weight, bias=None):
    return linear_double(vx, vw, vb, dy, x, weight)


@right
def matmul_double_backward__by_products(vi, vo, dy, first, other):
    return vi @ other + first @ vo, dy @ vo.T, vi.T @ dy
