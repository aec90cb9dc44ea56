"""What is timed: functions of the protocol on layers of real networks, and how it is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.benchmarks.case import SEED, Case, Verify
from gradoracle.conformance.benchmarks.large_calls import LARGE, large_calls
from gradoracle.conformance.benchmarks.measure import Sides
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.operators.network_layers import CLASSIFIERS, NETWORKS, UP_CONVOLUTIONS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.properties.scale import require_layer
from gradoracle.conformance.scale import workloads
from gradoracle.conformance.scale.convolution import ROLES
from gradoracle.conformance.scale.data import layer_call
from gradoracle.oracle.declaration import Call, Formula, is_data, output_of
from gradoracle.oracle.formulas.max_pool import max_pool2d_values
from gradoracle.oracle.shapes import Array

SUMS = tuple(one for one in OPERATORS if one.layers and one.formula in ROLES)
FURTHER = "sequences and volumes"  # in place of a network, of layers of one and three axes
BATCHES = (1, 8)
DTYPES = ("float32", "float64")
PLANES = 2  # of a pooling that are checked, element by element
ELEMENTS = 256  # of an array that any formula is applied to one by one


def cases(
    networks: tuple[str, ...], batches: tuple[int, ...], dtypes: tuple[str, ...]
) -> Iterator[Case]:
    """Yield every case of these networks."""
    for images in batches:
        for dtype in dtypes:
            for network in networks:
                yield from _sums(network, images, dtype)
                yield from _others(network, images, dtype)
            if LARGE in networks:
                yield from large_calls(_on_networks(), images, dtype)


def all_networks() -> tuple[str, ...]:
    """Return the networks whose layers there are, and what stands in place of one."""
    others = [one.network for one in UP_CONVOLUTIONS] + [name for name, *_ in CLASSIFIERS]
    return tuple(dict.fromkeys((*NETWORKS, *others, FURTHER, LARGE)))


def _sums(network: str, images: int, dtype: str) -> Iterator[Case]:
    """Yield convolutions and fully connected layers, each of whose answers is checked whole."""
    for operator in SUMS:
        for layer in operator.layers:
            if not _is_of(network, operator, layer.name):
                continue
            sizes = {**layer.sizes, "images": images}
            products = workloads.products(operator, sizes)
            for formula in operator.formulas:
                sides = _sides(operator, formula, sizes)
                yield Case(
                    network, layer.name.removeprefix(network + " "), formula, images, dtype,
                    partial(_whole_numbers, operator, formula, layer.name, sizes), _layer,
                    0 if sides is None else products, sides,
                )  # fmt: skip


def _is_of(network: str, operator: Operator, layer: str) -> bool:
    """Return whether a layer is one of a network's, or of those that stand in place of one."""
    if operator.axes.rank in (1, 3):
        return network == FURTHER
    return layer.startswith(f"{network} ")


def _on_networks() -> set[str]:
    """Return the functions that are timed on layers of networks."""
    sums = [formula for operator in SUMS for formula in operator.formulas]
    others = [formula for other in OTHERS for formula in other.formulas]
    return {output_of(formula).function for formula in (*sums, *others)}


def _sides(operator: Operator, formula: Formula, sizes: Mapping[str, int]) -> Sides | None:
    """Return the matrices of a convolution or its like; a fully connected layer has images in one.

    None: of a bias, which multiplies nothing.
    """
    weight = operator.arguments(sizes).shapes["weight"] or ()
    images, groups = sizes["images"], sizes.get("groups", 1)
    windows = workloads.products(operator, sizes) // (images * prod(weight))
    filters, taps = weight[0] // groups, prod(weight[1:])
    if operator is LINEAR:
        images, windows = 1, images
    gives = ROLES[formula].gives
    if gives == "db":
        return None
    rows, terms, columns = {
        "y": (filters, taps, windows),
        "dx": (taps, filters, windows),
        "dw": (filters, windows, taps),
    }[gives]
    return Sides(images, groups, rows, terms, columns)


def _whole_numbers(
    operator: Operator, formula: Formula, layer: str, sizes: Mapping[str, int], images: int,
    dtype: str,
) -> dict[str, Any]:  # fmt: skip
    return layer_call(
        operator, formula, layer, {**sizes, "images": images}, numbers="whole numbers", seed=SEED,
        dtype=dtype, accumulator=dtype,
    )  # fmt: skip


def _layer(backend: Backend, formula: Formula, call: Call, got: Array) -> object:
    return require_layer(backend, formula, call, got)  # type: ignore[arg-type]


def _others(network: str, images: int, dtype: str) -> Iterator[Case]:
    for other in OTHERS:
        for formula in other.formulas if other.network == network else ():
            yield Case(network, other.layer, formula, images, dtype, other.make, other.verify)


def _title(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _normal(shape: tuple[int, ...], dtype: str, salt: int = 0) -> Array:
    return np.random.default_rng([SEED, salt]).standard_normal(shape).astype(dtype)


def _activated(shape: tuple[int, ...], images: int, dtype: str) -> dict[str, Any]:
    whole = (images, *shape)
    slope = float(np.dtype(dtype).type(0.01))
    return {
        "z": _normal(whole, dtype), "grad_output": _normal(whole, dtype, 1), "negative_slope": slope
    }  # fmt: skip


def _max_pooled(
    shape: tuple[int, ...], kernel: int, stride: int, padding: int, images: int, dtype: str
) -> dict[str, Any]:
    x = _normal((images, *shape), dtype)
    options = {
        "kernel_size": (kernel, kernel), "stride": (stride, stride), "dilation": (1, 1),
        "padding": (padding, padding), "ceil_mode": False,
    }  # fmt: skip
    indices = _max_indices(x, kernel, stride, padding)
    dy = _normal(indices.shape, dtype, 1)
    return {"x": x, "grad_output": dy, "indices": indices, "input_shape": x.shape, **options}


def _max_indices(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """Return where the maxima are; the numbers are all different."""
    sides = [(side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:]]
    best = np.full((*x.shape[:2], *sides), -np.inf, x.dtype)
    found = np.zeros(best.shape, np.int64)
    margin = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x, margin, constant_values=-np.inf)
    rows, columns = (np.arange(n) * stride - padding for n in sides)
    for p, q in np.ndindex(kernel, kernel):
        seen = padded[:, :, p : p + sides[0] * stride : stride, q : q + sides[1] * stride : stride]
        seen = seen[:, :, : sides[0], : sides[1]]
        place = (rows[:, None] + p) * x.shape[3] + columns + q
        found = np.where(seen > best, place, found)
        best = np.maximum(best, seen)
    return found


def _averaged(
    shape: tuple[int, ...], kernel: int, stride: int, images: int, dtype: str
) -> dict[str, Any]:
    x = _normal((images, *shape), dtype)
    sides = [(side - kernel) // stride + 1 for side in shape[1:]]
    return {
        "x": x, "grad_output": _normal((*x.shape[:2], *sides), dtype, 1), "input_shape": x.shape,
        "kernel_size": (kernel, kernel), "stride": (stride, stride), "padding": (0, 0),
        "ceil_mode": False, "count_include_pad": True,
    }  # fmt: skip


def _rows(classes: int, images: int, dtype: str) -> dict[str, Any]:
    z = _normal((images, classes), dtype)
    target = np.random.default_rng(SEED).integers(classes, size=images)
    return {
        "z": z, "logits": z, "grad_output": _normal(z.shape, dtype, 1), "target": target,
        "reduction": "mean", "axis": 1,
    }  # fmt: skip


def _update(parameter: tuple[int, ...], images: int, dtype: str) -> dict[str, Any]:
    del images
    return {
        "parameter": _normal(parameter, dtype), "gradient": _normal(parameter, dtype, 1),
        "learning_rate": float(np.dtype(dtype).type(0.1)),
    }  # fmt: skip


def _gradients(parameter: tuple[int, ...], images: int, dtype: str) -> dict[str, Any]:
    return {"gradient_per_image": _normal((images, *parameter), dtype)}


def _mean(backend: Backend, formula: Formula, call: Call, got: Array) -> object:
    """Check elements of a mean over images."""
    places = np.random.default_rng().integers(got.size, size=ELEMENTS)
    each = call["gradient_per_image"]
    part = {"gradient_per_image": each.reshape(len(each), -1)[:, places]}
    return require_truth(backend, formula, part, got.ravel()[places])


def _some(backend: Backend, formula: Formula, call: Call, got: Array) -> object:
    """Check elements of a formula that makes each of those in the same place."""
    places = np.random.default_rng().integers(got.size, size=ELEMENTS)
    part = {n: v.ravel()[places] if is_data(v) else v for n, v in call.items()}
    return require_truth(backend, formula, part, got.ravel()[places])


def _planes(backend: Backend, formula: Formula, call: Call, got: Array) -> object:
    """Check a few planes of a pooling, which are made one by one."""
    image = int(np.random.default_rng().integers(len(got)))
    channel = int(np.random.default_rng().integers(max(1, got.shape[1] - PLANES)))
    at = np.s_[image : image + 1, channel : channel + PLANES]
    part = {n: v[at] if isinstance(v, np.ndarray) else v for n, v in call.items()}
    if "input_shape" in part:
        count = part["grad_output"].shape[1]
        part["input_shape"] = (1, count, *part["input_shape"][2:])
    return require_truth(backend, formula, part, got[at])


def _a_row(backend: Backend, formula: Formula, call: Call, got: Array) -> object:
    """Check one row, of which each is made by itself."""
    row = int(np.random.default_rng().integers(len(got)))
    part = {n: v[row : row + 1] if is_data(v) else v for n, v in call.items()}
    return require_truth(backend, formula, part, got[row : row + 1])


class Other(NamedTuple):
    """What stands between the sums of a network."""

    network: str
    layer: str
    formulas: tuple[Formula, ...]
    make: Callable[..., dict[str, Any]]
    verify: Verify


# Of what comes in: [C, H, W]; of poolings also the kernel, the stride and the padding.
ACTIVATED = (
    ("LeNet", (6, 28, 28)), ("VGG-16", (64, 224, 224)), ("ResNet-50", (64, 112, 112)),
    ("MobileNet v2", (96, 112, 112)), ("U-Net", (512, 52, 52)),
)  # fmt: skip
MAX_POOLED = (
    ("LeNet", (6, 28, 28), 2, 2, 0), ("VGG-16", (64, 224, 224), 2, 2, 0),
    ("ResNet-50", (64, 112, 112), 3, 2, 1), ("U-Net", (512, 64, 64), 2, 2, 0),
)  # fmt: skip
AVERAGED = (
    ("LeNet", (16, 10, 10), 2, 2), ("ResNet-50", (2048, 7, 7), 7, 1),
    ("MobileNet v2", (1280, 7, 7), 7, 1),
)  # fmt: skip
CLASSES = (("LeNet", 10), ("VGG-16", 1000), ("ResNet-50", 1000))
PARAMETERS = (("LeNet", (120, 400)), ("ResNet-50", (512, 512, 3, 3)))
ACTIVATIONS: tuple[Formula, ...] = (
    oracle.relu, oracle.relu_grad, oracle.leaky_relu, oracle.leaky_relu_grad, oracle.sigmoid,
    oracle.sigmoid_grad, oracle.tanh, oracle.tanh_grad,
)  # fmt: skip
OTHERS = (
    *(
        Other(network, _title(shape), ACTIVATIONS, partial(_activated, shape), _some)
        for network, shape in ACTIVATED
    ),
    *(
        Other(
            network, f"{_title(shape)} {kernel}x{kernel}/{stride}",
            (max_pool2d_values, oracle.max_pool2d_grad_input),
            partial(_max_pooled, shape, kernel, stride, padding), _planes,
        )
        for network, shape, kernel, stride, padding in MAX_POOLED
    ),
    *(
        Other(
            network, f"{_title(shape)} {kernel}x{kernel}/{stride}",
            (oracle.avg_pool2d, oracle.avg_pool2d_grad_input),
            partial(_averaged, shape, kernel, stride), _planes,
        )
        for network, shape, kernel, stride in AVERAGED
    ),
    *(
        Other(network, f"{classes} classes", formulas, partial(_rows, classes), verify)
        for network, classes in CLASSES
        for formulas, verify in (
            ((oracle.softmax, oracle.softmax_grad), _a_row),
            ((oracle.cross_entropy, oracle.cross_entropy_grad), require_truth),
        )
    ),
    *(
        Other(network, _title(shape), (oracle.sgd_step,), partial(_update, shape), _some)
        for network, shape in PARAMETERS
    ),
    *(
        Other(network, _title(shape), (oracle.batch_mean,), partial(_gradients, shape), _mean)
        for network, shape in PARAMETERS
    ),
)  # fmt: skip
