"""Calls of the formulas, small and exact, for the tests of the oracle.

A call has every argument of an operator's formulas by name; a formula reads what it needs.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.formulas.max_pool2d import max_pool2d_indices, max_pool2d_values
from gradoracle.oracle.shapes import conv2d_shapes, conv_transpose2d_shapes, pool_shape


def call(
    x: tuple[int, ...], weight: tuple[int, ...], *, stride=(1, 1), padding=(0, 0), dilation=(1, 1),
    groups=1, seed=0, dtype: Any = object, low=-4, high=5,
) -> dict[str, Any]:  # fmt: skip
    """Return every argument of conv2d's formulas, filled with integers."""
    random = np.random.default_rng(seed)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shapes = conv2d_shapes(x, weight, **options)

    def integers(shape: tuple[int, ...]) -> np.ndarray:
        return random.integers(low, high, shape).astype(dtype)

    return {
        "x": integers(shapes.x),
        "weight": integers(shapes.weight),
        "bias": integers(shapes.weight[:1]),
        "grad_output": integers(shapes.y),
        "input_shape": shapes.x,
        "weight_shape": shapes.weight,
        **options,
    }


def random_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield legal calls of every kind: general in every option, non-square in everything."""
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        groups = int(random.integers(1, 4))
        depth, multiplier = random.integers(1, 4, 2).tolist()
        options = {
            "stride": tuple(random.integers(1, 4, 2).tolist()),
            "padding": tuple(random.integers(0, 4, 2).tolist()),
            "dilation": tuple(random.integers(1, 4, 2).tolist()),
            "groups": groups,
        }
        x = (int(random.integers(0, 4)), groups * depth, *random.integers(1, 8, 2).tolist())
        weight = (groups * multiplier, depth, *random.integers(1, 4, 2).tolist())
        try:
            yield call(x, weight, **options, seed=made, **data)
        except ValueError:
            continue
        made += 1


def sides(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[Any]:
    """Return every legal (H, K, S, P, D) of one side up to these limits."""
    return [
        (h, k, s, p, d)
        for h, k, s, p, d in product(
            range(1, size + 1), range(1, kernel + 1), range(1, stride + 1), range(padding + 1),
            range(1, dilation + 1),
        )
        if (k - 1) * d + 1 <= h + 2 * p
    ]  # fmt: skip


def small_geometries() -> Iterator[dict[str, Any]]:
    """Yield every pair of small sides, and every larger side beside some other one."""
    small, large = sides(3, 2, 2, 1, 2), sides(5, 3, 3, 2, 2)
    pairs = list(product(small, small))
    pairs += [(side, large[(7 * i + 3) % len(large)]) for i, side in enumerate(large)]
    for i, ((h, kh, sh, ph, dh), (w, kw, sw, pw, dw)) in enumerate(pairs):
        groups = 1 + i % 2
        yield call(
            (2, 2 * groups, h, w), (3 * groups, 2, kh, kw), stride=(sh, sw), padding=(ph, pw),
            dilation=(dh, dw), groups=groups, seed=i,
        )  # fmt: skip


# -- every other operator -------------------------------------------------------------------------

POOLING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
SLOPES = (0.25, 0.0, -0.5, 2.0)


def conv_transpose2d_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield legal calls of conv_transpose2d, general in every option, non-square in everything."""
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        groups, depth, multiplier = random.integers(1, 4, 3).tolist()
        options = {
            "stride": _pair(random, 1, 3), "padding": _pair(random, 0, 2),
            "output_padding": _pair(random, 0, 2), "dilation": _pair(random, 1, 3),
            "groups": groups,
        }  # fmt: skip
        x = (int(random.integers(0, 4)), groups * depth, *_pair(random, 1, 5))
        weight = (groups * depth, multiplier, *_pair(random, 1, 3))
        try:
            yield conv_transpose2d_call(x, weight, options, seed=made, **data)
        except ValueError:
            continue
        made += 1


def conv_transpose2d_call(
    x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], **data: Any
) -> dict[str, Any]:
    """Return every argument of conv_transpose2d's formulas, filled with integers."""
    shapes = conv_transpose2d_shapes(x, weight, **options)
    arrays = {
        "x": shapes.x,
        "weight": shapes.weight,
        "bias": shapes.y[1:2],
        "grad_output": shapes.y,
    }
    return {
        **filled(arrays, **data), "input_shape": shapes.x, "weight_shape": shapes.weight, **options,
    }  # fmt: skip


def max_pool2d_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield legal calls of max_pool2d with many ties, the indices of the maxima among them."""
    for shape, options, number in _poolings(count, seed, dilated=True):
        yield pool_call(shape, options, seed=number, **{"low": -2, "high": 3, **data})


def avg_pool2d_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield legal calls of avg_pool2d, with both divisors."""
    for shape, options, number in _poolings(count, seed, dilated=False):
        made = pool_call(shape, options, seed=number, **data)
        yield {**made, "count_include_pad": bool(number % 2)}


def _poolings(count: int, seed: int, *, dilated: bool) -> Iterator[tuple[Any, Any, int]]:
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        options = {
            "kernel_size": _pair(random, 1, 4), "stride": _pair(random, 1, 4),
            "padding": _pair(random, 0, 2), "dilation": _pair(random, 1, 2 if dilated else 1),
            "ceil_mode": bool(random.integers(2)),
        }  # fmt: skip
        shape = (int(random.integers(0, 3)), int(random.integers(1, 4)), *_pair(random, 1, 8))
        try:
            pool_shape(shape, **options)
        except ValueError:
            continue
        yield shape, options, made
        made += 1


def pool_call(shape: tuple[int, ...], options: dict[str, Any], **data: Any) -> dict[str, Any]:
    """Return every argument of a pooling's formulas, filled with integers."""
    made = filled({"x": shape, "grad_output": pool_shape(shape, **options)}, **data)
    indices = max_pool2d_indices(made["x"], **{name: options[name] for name in POOLING})
    return {**made, "indices": indices, "input_shape": shape, **options}


def activation_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls on arrays of none to four axes, zeros among the arguments."""
    random = np.random.default_rng(seed)
    for number in range(count):
        shape = tuple(random.integers(1, 4, number % 5).tolist())
        if number % 10 == 4:
            shape = (0, *shape[1:])
        made = filled({"z": shape, "grad_output": shape}, seed=number, **data)
        yield {**made, "negative_slope": SLOPES[number % 4]}


def softmax_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls on arrays of one to four axes, along every axis, counted from both ends."""
    random = np.random.default_rng(seed)
    for number in range(count):
        ndim = 1 + number % 4
        shape = tuple(random.integers(1, 4, ndim).tolist())
        made = filled({"z": shape, "grad_output": shape}, seed=number, **data)
        yield {**made, "axis": int(random.integers(-ndim, ndim))}


def cross_entropy_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of cross_entropy with both reductions; empty batches are summed."""
    random = np.random.default_rng(seed)
    for number in range(count):
        rows, classes = int(random.integers(0, 5)), int(random.integers(1, 6))
        made = filled({"logits": (rows, classes), "grad_output": ()}, seed=number, **data)
        one = made["grad_output"] * 0 + 1
        yield {
            **made, "grad_output": np.asarray(one, made["logits"].dtype),
            "target": random.integers(0, classes, rows),
            "reduction": "mean" if rows and number % 2 else "sum",
        }  # fmt: skip


def linear_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of linear, empty batches among them."""
    random = np.random.default_rng(seed)
    for number in range(count):
        rows, inputs, outputs = int(random.integers(0, 5)), *_pair(random, 1, 5)
        shapes = {
            "x": (rows, inputs), "weight": (outputs, inputs), "bias": (outputs,),
            "grad_output": (rows, outputs),
        }  # fmt: skip
        yield filled(shapes, seed=number, **data)


def batch_mean_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of batch_mean on arrays of two to four axes."""
    random = np.random.default_rng(seed)
    for number in range(count):
        shape = (int(random.integers(1, 8)), *random.integers(1, 4, 1 + number % 3).tolist())
        yield filled({"gradient_per_image": shape}, seed=number, **data)


def sgd_step_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of sgd_step on arrays of one to four axes."""
    random = np.random.default_rng(seed)
    for number in range(count):
        shape = tuple(random.integers(1, 4, 1 + number % 4).tolist())
        made = filled({"parameter": shape, "gradient": shape}, seed=number, **data)
        yield {**made, "learning_rate": (0.5, 3.0, 0.0, 0.125)[number % 4]}


def filled(
    shapes: dict[str, tuple[int, ...]], *, seed=0, dtype: Any = object, low=-4, high=5
) -> dict[str, Any]:
    """Return arrays of integers."""
    random = np.random.default_rng(seed)
    return {
        name: np.asarray(random.integers(low, high, shape)).astype(dtype)
        for name, shape in shapes.items()
    }


def _pair(random: Any, smallest: int, largest: int) -> tuple[int, int]:
    down, across = random.integers(smallest, largest + 1, 2).tolist()
    return down, across


def fractions(made: dict[str, Any]) -> dict[str, Any]:
    """Return the call with its numbers, and its options that are numbers, as fractions."""
    return {name: _fraction(value) for name, value in made.items()}


def _fraction(value: Any) -> Any:
    if isinstance(value, float):
        return Fraction(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind in "iu":
        return value
    exact = np.frompyfunc(lambda v: Fraction(v) if isinstance(v, int) else Fraction(float(v)), 1, 1)
    return np.asarray(exact(value), object)


def with_floats(made: dict[str, Any], seed: int, dtype: Any, spread: int = 0) -> dict[str, Any]:
    """Return the call with normal numbers, times 2**-spread to 2**spread, in its arrays."""
    random = np.random.default_rng(seed)

    def floats(shape: tuple[int, ...]) -> np.ndarray:
        scale = 2.0 ** random.integers(-spread, spread + 1, shape)
        return np.asarray(random.standard_normal(shape) * scale).astype(dtype)

    return {
        name: floats(value.shape)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fO"
        else value
        for name, value in made.items()
    }


Calls = Callable[..., Iterator[dict[str, Any]]]

# Every formula, and where its calls come from.
CALLS: dict[Formula, Calls] = {
    oracle.conv2d: random_calls,
    oracle.conv2d_grad_input: random_calls,
    oracle.conv2d_grad_weight: random_calls,
    oracle.conv2d_grad_bias: random_calls,
    oracle.conv_transpose2d: conv_transpose2d_calls,
    oracle.conv_transpose2d_grad_input: conv_transpose2d_calls,
    oracle.conv_transpose2d_grad_weight: conv_transpose2d_calls,
    oracle.conv_transpose2d_grad_bias: conv_transpose2d_calls,
    max_pool2d_values: max_pool2d_calls,
    max_pool2d_indices: max_pool2d_calls,
    oracle.max_pool2d_grad_input: max_pool2d_calls,
    oracle.max_pool2d_vjp: max_pool2d_calls,
    oracle.avg_pool2d: avg_pool2d_calls,
    oracle.avg_pool2d_grad_input: avg_pool2d_calls,
    oracle.relu: activation_calls,
    oracle.relu_grad: activation_calls,
    oracle.leaky_relu: activation_calls,
    oracle.leaky_relu_grad: activation_calls,
    oracle.sigmoid: activation_calls,
    oracle.sigmoid_grad: activation_calls,
    oracle.tanh: activation_calls,
    oracle.tanh_grad: activation_calls,
    oracle.softmax: softmax_calls,
    oracle.softmax_grad: softmax_calls,
    oracle.cross_entropy: cross_entropy_calls,
    oracle.cross_entropy_grad: cross_entropy_calls,
    oracle.linear: linear_calls,
    oracle.linear_grad_input: linear_calls,
    oracle.linear_grad_weight: linear_calls,
    oracle.linear_grad_bias: linear_calls,
    oracle.batch_mean: batch_mean_calls,
    oracle.sgd_step: sgd_step_calls,
}
