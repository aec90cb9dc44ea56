"""Faults in what a contract can claim beside right values, and right ways to keep the claim.

Each name begins with the function that is wrong.  A maker returns a fresh function, for those that
remember.
"""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradoracle.implementations import im2col as good

Function = Callable[..., Any]
PROPERTY = {
    "batch": "is_batch_invariant", "threads": "is_thread_safe", "accumulate": "writes_into_out",
    "output_mask": "selects_by_output_mask",
}  # fmt: skip


class Planted(NamedTuple):
    policy: str
    rule: str
    function: str
    formula: str  # whose check is about it
    make: Callable[[], Function]

    def backend(self) -> SimpleNamespace:
        """The function alone, under a contract that claims the policy."""
        contract = {"policies": {self.policy: self.rule}}
        return SimpleNamespace(**{self.function: self.make()}, contract=contract)


WRONG: dict[str, Planted] = {}
RIGHT: dict[str, Planted] = {}
BACKWARD = "_backward"


def planted(table: dict[str, Planted], policy: str, rule: str) -> Callable[[Function], Function]:
    """Add what a maker returns to a table; the maker is named `<function>__<what is special>`."""

    def add(make: Function) -> Function:
        function = make.__name__.partition("__")[0]
        assert make.__name__ not in table
        formula = function.removesuffix(BACKWARD)
        table[make.__name__] = Planted(policy, rule, function, formula, make)
        return make

    return add


def wrong(policy: str, rule: str) -> Callable[[Function], Function]:
    return planted(WRONG, policy, rule)


def right(policy: str, rule: str) -> Callable[[Function], Function]:
    return planted(RIGHT, policy, rule)


# -- batch: bitwise -------------------------------------------------------------------------------


def row_by_row(x, weight, bias=None, *, turned=lambda at, count: False):
    """Each row's products in one order, or those of which `turned` says so in the opposite one."""
    y = np.empty((len(x), len(weight)), x.dtype)
    for n, row in enumerate(x):
        order = -1 if turned(n, len(x)) else 1
        terms = (weight * row)[:, ::order]
        y[n] = np.cumsum(terms, axis=1)[:, -1] + (0 if bias is None else bias)
    return y


@wrong("batch", "bitwise")
def linear__sums_a_single_row_in_another_order():
    return lambda x, weight, bias=None: row_by_row(
        x, weight, bias, turned=lambda n, all_: all_ == 1
    )


@wrong("batch", "bitwise")
def linear__sums_the_rows_behind_the_last_four_in_another_order():
    """Rows by fours, and what is left over by other code."""

    def is_left(n, count):
        return n >= count - count % 4

    return lambda x, weight, bias=None: row_by_row(x, weight, bias, turned=is_left)


@wrong("batch", "bitwise")
def linear__splits_its_sums_in_batches_of_more_than_sixty():
    return lambda x, weight, bias=None: row_by_row(
        x, weight, bias, turned=lambda n, all_: all_ > 60
    )


@wrong("batch", "bitwise")
def linear_grad_input__depends_on_the_place():
    def linear_grad_input(grad_output, weight):
        return row_by_row(grad_output, weight.T, turned=lambda n, count: n == 1)

    return linear_grad_input


@wrong("batch", "bitwise")
def softmax__multiplies_by_reciprocals_in_large_batches():
    def softmax(z, *, axis):
        e = np.exp(z - z.max(axis, keepdims=True))
        total = e.sum(axis, keepdims=True)
        return e / total if len(z) < 8 else e * (1 / total)

    return softmax


@wrong("batch", "bitwise")
def layer_norm__takes_its_variance_of_squares_in_large_batches():
    def layer_norm(x, weight=None, bias=None, *, eps):
        if len(x) < 16:
            return good.layer_norm(x, weight, bias, eps=eps)
        mean = x.mean(-1, keepdims=True)
        deviation = np.sqrt(((x - mean) * (x - mean)).sum(-1, keepdims=True) / x.shape[-1] + eps)
        y = (x - mean) * (1 / deviation)
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias).astype(x.dtype)

    return layer_norm


@wrong("batch", "bitwise")
def silu__has_other_code_behind_the_last_eight():
    """Of all elements of the batch, as they lie in memory."""

    def silu(z):
        flat = z.ravel()
        y = flat * (1 / (1 + np.exp(-flat)))
        left = flat.size - flat.size % 8
        y[left:] = flat[left:] / (1 + np.exp(-flat[left:]))
        return y.reshape(z.shape).astype(z.dtype)

    return silu


@wrong("batch", "bitwise")
def conv2d__sums_channels_backwards_in_even_batches():
    def conv2d(x, weight, bias=None, **o):
        if len(x) % 2 or o["groups"] > 1:
            return good.conv2d(x, weight, bias, **o)
        return good.conv2d(x[:, ::-1], weight[:, ::-1], bias, **o)

    return conv2d


@wrong("batch", "bitwise")
def avg_pool2d__divides_in_two_ways():
    def avg_pool2d(x, **o):
        y = good.avg_pool2d(x, **o)
        if len(x) > 4:
            y[0] = np.nextafter(y[0], y.dtype.type(np.inf))
        return y

    return avg_pool2d


@wrong("batch", "bitwise")
def relu__loses_the_sign_of_zero_in_a_batch():
    def relu(z):
        y = np.maximum(z, z.dtype.type(0))
        return y if len(z) > 1 else np.where(y == 0, -y, y)

    return relu


@right("batch", "bitwise")
def linear__row_by_row():
    return lambda x, weight, bias=None: row_by_row(x, weight, bias)


@right("batch", "bitwise")
def linear__backwards_in_every_row():
    return lambda x, weight, bias=None: row_by_row(x, weight, bias, turned=lambda n, all_: True)


@right("batch", "bitwise")
def softmax__image_by_image():
    def softmax(z, *, axis):
        if axis % z.ndim == 0:
            return good.softmax(z, axis=axis)
        return np.stack([good.softmax(one[None], axis=axis % z.ndim)[0] for one in z])

    return softmax


@right("batch", "bitwise")
def layer_norm__image_by_image():
    def layer_norm(x, weight=None, bias=None, *, eps):
        if not len(x):
            return good.layer_norm(x, weight, bias, eps=eps)
        return np.concatenate([good.layer_norm(one[None], weight, bias, eps=eps) for one in x])

    return layer_norm


@right("batch", "bitwise")
def relu__of_single_numbers():
    return good.relu


# -- threads: safe --------------------------------------------------------------------------------


@wrong("threads", "safe")
def relu__works_in_one_buffer():
    buffers = {}

    def relu(z):
        buffer = buffers.setdefault((z.shape, z.dtype), np.empty_like(z))
        buffer[...] = z
        np.maximum(buffer, 0, out=buffer)
        return buffer.copy()

    return relu


@wrong("threads", "safe")
def linear__shares_its_accumulator():
    left = {}

    def linear(x, weight, bias=None):
        total = left.setdefault(
            (len(x), len(weight), x.dtype), np.empty((len(x), len(weight)), x.dtype)
        )
        total[...] = 0 if bias is None else bias
        for c in range(x.shape[1]):
            total += np.outer(x[:, c], weight[:, c])
        return total.copy()

    return linear


@wrong("threads", "safe")
def conv2d__keeps_its_options_in_a_global():
    now = {}

    def options(**o):
        now.update(o)

    def conv2d(x, weight, bias=None, **o):
        options(x=x, weight=weight, bias=bias, **o)
        given = dict(now)
        return good.conv2d(given.pop("x"), given.pop("weight"), given.pop("bias"), **given)

    return conv2d


@wrong("threads", "safe")
def softmax__keeps_the_maximum_in_a_global():
    state = SimpleNamespace(z=None)

    def softmax(z, *, axis):
        state.z = z
        state.e = np.exp(state.z - z.max(axis, keepdims=True))
        total = state.e.sum(axis, keepdims=True)
        return state.e / total

    return softmax


@wrong("threads", "safe")
def sgd_step__keeps_the_scaled_gradient():
    state = SimpleNamespace(scaled=None)

    def sgd_step(parameter, gradient, *, learning_rate):
        state.scaled = gradient * gradient.dtype.type(learning_rate)
        return parameter - state.scaled

    return sgd_step


@wrong("threads", "safe")
def avg_pool2d_grad_input__adds_into_one_scratch():
    left = {}

    def avg_pool2d_grad_input(grad_output, *, input_shape, **o):
        dx = left.setdefault(
            (input_shape, grad_output.dtype), np.empty(input_shape, grad_output.dtype)
        )
        dx[...] = 0
        dx += good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
        return dx.copy()

    return avg_pool2d_grad_input


@wrong("threads", "safe")
def layer_norm__saves_its_statistics_for_all():
    saved = {}

    def layer_norm(x, weight=None, bias=None, *, eps):
        saved["mean"] = x.mean(-1, keepdims=True)
        saved["deviation"] = np.sqrt(x.var(-1, keepdims=True) + eps)
        y = (x - saved["mean"]) / saved["deviation"]
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias).astype(x.dtype)

    return layer_norm


@wrong("threads", "safe")
def tanh__knows_the_last_call():
    """The key is there before the result: another thread finds the result of the call before."""
    last = SimpleNamespace(key=None, result=None)

    def tanh(z):
        key = z.shape, z.dtype, z.tobytes()
        if last.key != key:
            last.key = key
            last.result = np.tanh(z)
        return last.result.copy()

    return tanh


@wrong("threads", "safe")
def batch_mean__counts_in_a_global():
    state = SimpleNamespace(total=None)

    def batch_mean(gradient_per_image):
        state.total = np.zeros(gradient_per_image.shape[1:], gradient_per_image.dtype)
        for one in gradient_per_image:
            state.total = state.total + one
        return state.total / gradient_per_image.dtype.type(len(gradient_per_image))

    return batch_mean


@right("threads", "safe")
def relu__in_a_buffer_of_each_thread():
    own = threading.local()

    def relu(z):
        own.buffer = z.copy()
        np.maximum(own.buffer, 0, out=own.buffer)
        return own.buffer.copy()

    return relu


@right("threads", "safe")
def linear__under_a_lock():
    lock, buffers = threading.Lock(), {}

    def linear(x, weight, bias=None):
        with lock:
            buffers["y"] = good.linear(x, weight, bias)
            return buffers["y"].copy()

    return linear


@right("threads", "safe")
def conv2d__keeps_nothing():
    return good.conv2d


@right("threads", "safe")
def linear_grad_weight__in_any_order():
    """Other bits each time, and right ones."""
    turn = [0]

    def linear_grad_weight(grad_output, x):
        turn[0] += 1
        dw = np.zeros((grad_output.shape[1], x.shape[1]), x.dtype)
        for n in np.roll(np.arange(len(x)), turn[0]):
            dw += np.outer(grad_output[n], x[n])
        return dw

    return linear_grad_weight


# -- accumulate -----------------------------------------------------------------------------------


def into(name: str, put: Callable[..., None]) -> Function:
    """A right function that puts its result into `out` by `put(out, result)`."""

    def called(*arrays: Any, out: Any = None, **o: Any) -> Any:
        result = getattr(good, name)(*arrays, **o)
        return result if out is None else put(out, result)

    return called


def scaled(name: str, put: Callable[..., None]) -> Function:
    """The same with `beta`: by `put(out, result, beta)`."""

    def called(*arrays: Any, out: Any = None, beta: float = 0.0, **o: Any) -> Any:
        result = getattr(good, name)(*arrays, **o)
        return result if out is None else put(out, result, out.dtype.type(beta))

    return called


def copied(out, result):
    out[...] = result


def added(out, result):
    out += result


def blas(out, result, beta):
    out[...] = result + (beta * out if beta else 0)


@wrong("accumulate", "out")
def linear__leaves_out_as_it_is():
    return into("linear", lambda out, result: result)


@wrong("accumulate", "out")
def linear_grad_weight__adds_to_out():
    return into("linear_grad_weight", added)


@wrong("accumulate", "out")
def relu__writes_all_rows_but_the_last():
    def put(out, result):
        out[:-1] = result[:-1]

    return into("relu", put)


@wrong("accumulate", "out")
def tanh__writes_whole_tiles_of_eight():
    def put(out, result):
        tiles = -(-out.size // 8) * 8
        as_strided(out, (tiles,), (out.itemsize,))[...] = 0
        out[...] = result

    return into("tanh", put)


@wrong("accumulate", "out")
def sigmoid__writes_one_element_before():
    def put(out, result):
        out[...] = result
        if out.size:
            np.flip(as_strided(np.flip(out.reshape(-1)), (out.size + 1,), (-out.itemsize,)))[0] = 0

    return into("sigmoid", put)


@wrong("accumulate", "out")
def sgd_step__multiplies_what_out_held_by_zero():
    def put(out, result):
        out *= 0
        out += result

    return into("sgd_step", put)


@wrong("accumulate", "out")
def conv2d__adds_no_bias_into_out():
    def conv2d(x, weight, bias=None, *, out=None, **o):
        if out is None:
            return good.conv2d(x, weight, bias, **o)
        out[...] = good.conv2d(x, weight, **o)
        return out

    return conv2d


@wrong("accumulate", "out")
def matmul__rounds_what_it_writes_to_half():
    return into("matmul", lambda out, result: copied(out, result.astype(np.float16)))


@wrong("accumulate", "out")
def avg_pool2d__reads_out_as_its_input():
    def avg_pool2d(x, *, out=None, **o):
        result = good.avg_pool2d(x, **o)
        if out is not None:
            out[...] = np.where(np.isnan(out), 0, result)
        return result

    return avg_pool2d


@wrong("accumulate", "beta")
def matmul__multiplies_what_out_held_by_beta_zero():
    return scaled("matmul", lambda out, result, beta: copied(out, result + beta * out))


@wrong("accumulate", "beta")
def linear__takes_beta_for_alpha():
    return scaled(
        "linear", lambda out, result, beta: copied(out, beta * result + out if beta else result)
    )


@wrong("accumulate", "beta")
def linear_grad_weight__overwrites_whatever_beta():
    return scaled("linear_grad_weight", lambda out, result, beta: copied(out, result))


@wrong("accumulate", "beta")
def linear_grad_input__takes_beta_for_yes_or_no():
    return scaled(
        "linear_grad_input", lambda out, result, beta: blas(out, result, 1 if beta else 0)
    )


@wrong("accumulate", "beta")
def conv2d_grad_weight__scales_by_beta_for_each_image():
    def conv2d_grad_weight(grad_output, x, *, weight_shape, out=None, beta=0.0, **o):
        dw = good.conv2d_grad_weight(grad_output, x, weight_shape=weight_shape, **o)
        if out is None:
            return dw
        out[...] = dw + (out.dtype.type(beta) ** max(1, len(x)) * out if beta else 0)
        return out

    return conv2d_grad_weight


@wrong("accumulate", "adds")
def conv2d_grad_bias__overwrites():
    return into("conv2d_grad_bias", copied)


@wrong("accumulate", "adds")
def linear_grad_bias__adds_twice():
    return into("linear_grad_bias", lambda out, result: copied(out, out + 2 * result))


@wrong("accumulate", "adds")
def relu_grad__adds_where_the_result_is_not_zero_only():
    return into("relu_grad", lambda out, result: copied(out, np.where(result, out + result, 0)))


@right("accumulate", "out")
def linear__writes_into_out():
    return into("linear", copied)


@right("accumulate", "out")
def linear__returns_out():
    return into("linear", lambda out, result: copied(out, result) or out)


@right("accumulate", "out")
def conv2d__writes_into_out():
    return into("conv2d", copied)


@right("accumulate", "beta")
def matmul__as_blas():
    return scaled("matmul", blas)


@right("accumulate", "beta")
def linear_grad_weight__beginning_with_what_out_held():
    """Each image is added to what is there, as a kernel with an accumulator does."""

    def linear_grad_weight(grad_output, x, *, out=None, beta=0.0):
        if out is None:
            return good.linear_grad_weight(grad_output, x)
        out[...] = out.dtype.type(beta) * out if beta else 0
        for n in range(len(x)):
            out += np.outer(grad_output[n], x[n])
        return None

    return linear_grad_weight


@right("accumulate", "beta")
def layer_norm__as_blas():
    return scaled("layer_norm", blas)


@right("accumulate", "adds")
def linear_grad_bias__image_by_image():
    def linear_grad_bias(grad_output, *, out=None):
        if out is None:
            return good.linear_grad_bias(grad_output)
        for one in grad_output:
            out += one
        return out

    return linear_grad_bias


@right("accumulate", "adds")
def conv2d_grad_input__adds():
    return into("conv2d_grad_input", added)


# -- output_mask ----------------------------------------------------------------------------------


def linear_parts(dy, x, weight):
    return (
        good.linear_grad_input(dy, weight),
        good.linear_grad_weight(dy, x),
        good.linear_grad_bias(dy),
    )


def conv_parts(dy, x, weight, **o):
    return (
        good.conv2d_grad_input(dy, weight, input_shape=x.shape, **o),
        good.conv2d_grad_weight(dy, x, weight_shape=weight.shape, **o),
        good.conv2d_grad_bias(dy),
    )


def selected(parts, mask):
    return tuple(part if wanted else None for part, wanted in zip(parts, mask, strict=True))


def masked(change: Callable[..., Any]) -> Function:
    """A backward of the linear layer that returns `change(parts, mask)`."""

    def linear_backward(grad_output, x, weight, bias=None, *, output_mask):
        return change([*linear_parts(grad_output, x, weight)], output_mask)

    return linear_backward


@wrong("output_mask", "selects")
def linear_backward__returns_everything():
    return masked(lambda parts, mask: tuple(parts))


@wrong("output_mask", "selects")
def linear_backward__takes_the_mask_backwards():
    return masked(lambda parts, mask: selected(parts, mask[::-1]))


@wrong("output_mask", "selects")
def linear_backward__returns_what_is_selected_only():
    return masked(
        lambda parts, mask: tuple(p for p, wanted in zip(parts, mask, strict=True) if wanted)
    )


@wrong("output_mask", "selects")
def linear_backward__returns_zeros_for_the_others():
    def change(parts, mask):
        return tuple(p if wanted else 0 * p for p, wanted in zip(parts, mask, strict=True))

    return masked(change)


@wrong("output_mask", "selects")
def linear_backward__has_no_weight_without_input():
    def change(parts, mask):
        if mask[1] and not mask[0]:
            parts[1] = np.zeros_like(parts[1])
        return selected(parts, mask)

    return masked(change)


@wrong("output_mask", "selects")
def linear_backward__averages_a_bias_alone():
    def change(parts, mask):
        if mask == (False, False, True):
            parts[2] = parts[2] / 2
        return selected(parts, mask)

    return masked(change)


@wrong("output_mask", "selects")
def linear_backward__refuses_a_bias_alone():
    def change(parts, mask):
        if mask == (False, False, True):
            raise ValueError("nothing to do")
        return selected(parts, mask)

    return masked(change)


@wrong("output_mask", "selects")
def linear_backward__lets_weight_and_bias_share_memory():
    def change(parts, mask):
        if mask[1] and mask[2] and parts[1].size and parts[2].size:
            parts[1].flat[0] = parts[2].flat[0]
        return selected(parts, mask)

    return masked(change)


@wrong("output_mask", "selects")
def conv2d_backward__takes_the_stride_for_one_in_the_weight_alone():
    def conv2d_backward(grad_output, x, weight, bias=None, *, output_mask, **o):
        parts = [*conv_parts(grad_output, x, weight, **o)]
        if output_mask == (False, True, False):
            parts[1] = parts[1][:, :, ::-1, ::-1]
        return selected(parts, output_mask)

    return conv2d_backward


@wrong("output_mask", "selects")
def layer_norm_backward__drops_the_means_where_no_weight_is_wanted():
    def layer_norm_backward(grad_output, x, weight=None, bias=None, *, eps, output_mask):
        parts = norm_parts(grad_output, x, weight, bias, eps)
        if not output_mask[1]:
            scale = 1 if weight is None else weight
            parts[0] = (grad_output * scale / np.sqrt(x.var(-1, keepdims=True) + eps)).astype(
                x.dtype
            )
        return selected(parts, output_mask)

    return layer_norm_backward


def norm_parts(dy, x, weight, bias, eps):
    dx = good.layer_norm_grad_x(dy, x, weight, eps=eps)
    return [dx, good.layer_norm_grad_weight(dy, x, eps=eps), good.layer_norm_grad_bias(dy)]


@right("output_mask", "selects")
def linear_backward__selects():
    return masked(selected)


@right("output_mask", "selects")
def linear_backward__computes_what_is_selected_only():
    def linear_backward(grad_output, x, weight, bias=None, *, output_mask):
        return (
            good.linear_grad_input(grad_output, weight) if output_mask[0] else None,
            good.linear_grad_weight(grad_output, x) if output_mask[1] else None,
            good.linear_grad_bias(grad_output) if output_mask[2] else None,
        )

    return linear_backward


@right("output_mask", "selects")
def conv2d_backward__as_a_list():
    def conv2d_backward(grad_output, x, weight, bias=None, *, output_mask, **o):
        return [*selected(conv_parts(grad_output, x, weight, **o), output_mask)]

    return conv2d_backward


@right("output_mask", "selects")
def layer_norm_backward__selects():
    def layer_norm_backward(grad_output, x, weight=None, bias=None, *, eps, output_mask):
        return selected(norm_parts(grad_output, x, weight, bias, eps), output_mask)

    return layer_norm_backward
