"""Calls of the formulas, small and exact, for the tests of the oracle.

A call has every argument of an operator's formulas by name; a formula reads what it needs.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.operators.adaptive_pool import ADAPTIVE_AVG_POOLS, ADAPTIVE_MAX_POOLS
from gradoracle.conformance.operators.interpolate import (
    LINEAR_INTERPOLATIONS,
    NEAREST_INTERPOLATIONS,
)
from gradoracle.conformance.operators.max_unpool import MAX_UNPOOLS
from gradoracle.conformance.operators.moved_pixels import MOVED_PIXELS
from gradoracle.conformance.operators.padding import PADS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.variations import drawn
from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.formulas.avg_pool import AVERAGE_POOLINGS
from gradoracle.oracle.formulas.conv_transpose import TRANSPOSED
from gradoracle.oracle.formulas.convolution import CONVOLUTIONS
from gradoracle.oracle.formulas.max_pool import MAX_POOLINGS
from gradoracle.oracle.shapes import conv_shapes, conv_transpose_shapes, pool_shape

LARGE = {1: 12, 2: 8, 3: 5}  # pixels of a side are fewer


def call(
    x: tuple[int, ...], weight: tuple[int, ...], *, stride=None, padding=None, dilation=None,
    groups=1, seed=0, dtype: Any = object, low=-4, high=5,
) -> dict[str, Any]:  # fmt: skip
    """Return every argument of a convolution's formulas, filled with integers."""
    random, rank = np.random.default_rng(seed), len(x) - 2
    options = {
        "stride": stride or (1,) * rank, "padding": padding or (0,) * rank,
        "dilation": dilation or (1,) * rank, "groups": groups,
    }  # fmt: skip
    shapes = conv_shapes(rank, x, weight, **options)

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


def random_calls(
    count: int, seed: int = 0, *, rank: int = 2, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield legal calls of every kind: general in every option, non-square in everything."""
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        groups = int(random.integers(1, 4))
        depth, multiplier = random.integers(1, 4, 2).tolist()
        options = {
            "stride": tuple(random.integers(1, 4, rank).tolist()),
            "padding": tuple(random.integers(0, 4, rank).tolist()),
            "dilation": tuple(random.integers(1, 4, rank).tolist()),
            "groups": groups,
        }
        x = (
            int(random.integers(0, 4)),
            groups * depth,
            *random.integers(1, LARGE[rank], rank).tolist(),
        )
        weight = (groups * multiplier, depth, *random.integers(1, 4, rank).tolist())
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


def conv_transpose_calls(
    count: int, seed: int = 0, *, rank: int = 2, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield legal calls of a transposed convolution, general in every option."""
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        groups, depth, multiplier = random.integers(1, 4, 3).tolist()
        options = {
            "stride": _sides(random, 1, 3, rank), "padding": _sides(random, 0, 2, rank),
            "output_padding": _sides(random, 0, 2, rank), "dilation": _sides(random, 1, 3, rank),
            "groups": groups,
        }  # fmt: skip
        x = (
            int(random.integers(0, 4)),
            groups * depth,
            *_sides(random, 1, 5 if rank < 3 else 3, rank),
        )
        weight = (groups * depth, multiplier, *_sides(random, 1, 3 if rank < 3 else 2, rank))
        try:
            yield conv_transpose_call(x, weight, options, seed=made, **data)
        except ValueError:
            continue
        made += 1


def conv_transpose_call(
    x: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], **data: Any
) -> dict[str, Any]:
    """Return every argument of a transposed convolution's formulas, filled with integers."""
    shapes = conv_transpose_shapes(len(x) - 2, x, weight, **options)
    arrays = {
        "x": shapes.x,
        "weight": shapes.weight,
        "bias": shapes.y[1:2],
        "grad_output": shapes.y,
    }
    return {
        **filled(arrays, **data), "input_shape": shapes.x, "weight_shape": shapes.weight, **options,
    }  # fmt: skip


def max_pool_calls(
    count: int, seed: int = 0, *, rank: int = 2, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield legal calls of max pooling with many ties, the indices of the maxima among them."""
    for shape, options, number in _poolings(count, seed, rank, dilated=True):
        yield pool_call(shape, options, seed=number, **{"low": -2, "high": 3, **data})


def avg_pool_calls(
    count: int, seed: int = 0, *, rank: int = 2, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield legal calls of average pooling, with both divisors."""
    for shape, options, number in _poolings(count, seed, rank, dilated=False):
        made = pool_call(shape, options, seed=number, **data)
        yield {**made, "count_include_pad": bool(number % 2)}


def _poolings(count: int, seed: int, rank: int, *, dilated: bool) -> Iterator[tuple[Any, Any, int]]:
    random = np.random.default_rng(seed)
    made = 0
    while made < count:
        options = {
            "kernel_size": _sides(random, 1, 4, rank), "stride": _sides(random, 1, 4, rank),
            "padding": _sides(random, 0, 2, rank), "dilation": _sides(random, 1,
            2 if dilated else 1, rank),
            "ceil_mode": bool(random.integers(2)),
        }  # fmt: skip
        shape = (
            int(random.integers(0, 3)),
            int(random.integers(1, 4)),
            *_sides(random, 1, 8, rank),
        )
        try:
            pool_shape(len(shape) - 2, shape, **options)
        except ValueError:
            continue
        yield shape, options, made
        made += 1


def pool_call(shape: tuple[int, ...], options: dict[str, Any], **data: Any) -> dict[str, Any]:
    """Return every argument of a pooling's formulas, filled with integers."""
    made = filled({"x": shape, "grad_output": pool_shape(len(shape) - 2, shape, **options)}, **data)
    indices = MAX_POOLINGS[len(shape) - 2].indices(
        made["x"], **{name: options[name] for name in POOLING}
    )
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
        rows, inputs, outputs = int(random.integers(0, 5)), *_sides(random, 1, 5, 2)
        shapes = {
            "x": (rows, inputs), "weight": (outputs, inputs), "bias": (outputs,),
            "grad_output": (rows, outputs),
        }  # fmt: skip
        yield filled(shapes, seed=number, **data)


def matmul_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of matmul, empty batches among them."""
    random = np.random.default_rng(seed)
    for number in range(count):
        n, (k, m) = int(random.integers(0, 5)), _sides(random, 1, 5, 2)
        shapes = {"input": (n, k), "other": (k, m), "grad_output": (n, m)}
        yield filled(shapes, seed=number, **data)


def bmm_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of bmm, empty batches among them."""
    random = np.random.default_rng(seed)
    for number in range(count):
        n, (p, k, q) = int(random.integers(0, 4)), _sides(random, 1, 4, 3)
        shapes = {"input": (n, p, k), "mat2": (n, k, q), "grad_output": (n, p, q)}
        yield filled(shapes, seed=number, **data)


def broadcast_matmul_calls(count: int, seed: int = 0, **data: Any) -> Iterator[dict[str, Any]]:
    """Yield calls of broadcast_matmul: vectors, matrices, and batches of which some are 1."""
    random = np.random.default_rng(seed)
    for number in range(count):
        batch, (p, k, q) = _sides(random, 1, 3, 2), _sides(random, 1, 4, 3)
        shapes: dict[str, tuple[int, ...]] = {}
        for name, matrix, vector in (("input", (p, k), (k,)), ("other", (k, q), (k,))):
            kept = [side if random.integers(0, 2) else 1 for side in batch]
            axes = int(random.integers(0, 4))
            shapes[name] = (*kept[3 - axes :], *matrix) if axes else vector
        y = np.matmul(*(np.zeros(shape) for shape in shapes.values()))
        made = filled({**shapes, "grad_output": np.shape(y)}, seed=number, **data)
        made |= {"input_shape": shapes["input"], "other_shape": shapes["other"]}
        made["grad_output"] = np.asarray(made["grad_output"], made["input"].dtype)
        yield made


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


def drawn_calls(
    operator: Operator, count: int, seed: int = 0, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield small calls as an operator's record draws them."""
    for number in range(count):
        made = operator.arguments(drawn(operator, 1000 * seed + number).sizes)
        shapes = {name: shape for name, shape in made.shapes.items() if shape is not None}
        yield {**filled(shapes, seed=number, **data), **made.options}


def adaptive_max_pool_calls(
    operator: Operator, count: int, seed: int = 0, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield calls of max pooling to a given size with many ties, and the maxima's indices."""
    (indices,) = operator.also
    numbers = {"low": -2, "high": 3, **data}
    for made in drawn_calls(operator, count, seed, **numbers):
        yield {**made, "indices": indices(made["x"], output_size=made["output_size"])}


def max_unpool_calls(
    operator: Operator, count: int, seed: int = 0, **data: Any
) -> Iterator[dict[str, Any]]:
    """Yield calls of max unpooling with indices that differ within each plane."""
    for number, made in enumerate(drawn_calls(operator, count, seed, **data)):
        yield operator.complete(made, number)


def filled(
    shapes: dict[str, tuple[int, ...]], *, seed=0, dtype: Any = object, low=-4, high=5
) -> dict[str, Any]:
    """Return arrays of integers."""
    random = np.random.default_rng(seed)
    return {
        name: np.asarray(random.integers(low, high, shape)).astype(dtype)
        for name, shape in shapes.items()
    }


def _sides(random: Any, smallest: int, largest: int, rank: int) -> tuple[int, ...]:
    return tuple(random.integers(smallest, largest + 1, rank).tolist())


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
    **{
        formula: calls if rank == 2 else partial(calls, rank=rank)
        for of, calls in (
            (CONVOLUTIONS, random_calls),
            (TRANSPOSED, conv_transpose_calls),
            ({rank: of[1:] for rank, of in MAX_POOLINGS.items()}, max_pool_calls),
            (AVERAGE_POOLINGS, avg_pool_calls),
        )
        for rank, formulas in of.items()
        for formula in formulas
    },
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
    oracle.matmul: matmul_calls,
    oracle.matmul_grad_input: matmul_calls,
    oracle.matmul_grad_other: matmul_calls,
    oracle.bmm: bmm_calls,
    oracle.bmm_grad_input: bmm_calls,
    oracle.bmm_grad_mat2: bmm_calls,
    oracle.broadcast_matmul: broadcast_matmul_calls,
    oracle.broadcast_matmul_grad_input: broadcast_matmul_calls,
    oracle.broadcast_matmul_grad_other: broadcast_matmul_calls,
    oracle.batch_mean: batch_mean_calls,
    oracle.sgd_step: sgd_step_calls,
    **{
        formula: partial(drawn_calls, operator)
        for operator in (
            *MOVED_PIXELS,
            *PADS,
            *ADAPTIVE_AVG_POOLS,
            *LINEAR_INTERPOLATIONS,
            *NEAREST_INTERPOLATIONS,
        )
        for formula in operator.formulas
    },
    **{
        formula: partial(calls, operator)
        for operators, calls in (
            (ADAPTIVE_MAX_POOLS, adaptive_max_pool_calls),
            (MAX_UNPOOLS, max_unpool_calls),
        )
        for operator in operators
        for formula in operator.formulas
    },
}
