"""Whole networks: which stacks are drawn, and their numbers."""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.values import Arrays, Random, Shapes, small_integers, styles
from gradoracle.conformance.operators.activations import SLOPES
from gradoracle.conformance.operators.record import (
    Arguments,
    Geometry,
    Operator,
    Size,
    Styles,
    rounded,
)
from gradoracle.conformance.operators.update import RATES
from gradoracle.oracle.chains.network import ACTIVATIONS, Step, network_backward
from gradoracle.oracle.declaration import Call
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.shapes import Pair, Shape, check_integer, conv_shapes, pool_shape

FUNCTIONS = tuple(ACTIVATIONS)
POOLS = ("none", "max_pool2d", "avg_pool2d")
SIDES = ("height", "width")
BLOCKS = (1, 2)
# name, blocks, kernel, stride, padding, activation, pool, its kernel, its stride
LAYERS: tuple[tuple[str, int, int, int, int, str, str, int, int], ...] = (
    ("LeNet", 2, 3, 1, 0, "tanh", "avg_pool2d", 2, 2),
    ("LeNet with maxima", 2, 3, 1, 0, "relu", "max_pool2d", 2, 2),
    ("AlexNet", 1, 3, 2, 1, "relu", "max_pool2d", 3, 2),
    ("VGG", 2, 3, 1, 1, "relu", "max_pool2d", 2, 2),
    ("Inception", 1, 3, 1, 1, "relu", "max_pool2d", 3, 1),
    ("all convolutions", 2, 3, 2, 1, "leaky_relu", "none", 1, 1),
    ("logistic", 1, 2, 1, 0, "sigmoid", "avg_pool2d", 2, 1),
)


def geometry(draw: Choices, size: Size) -> Geometry:
    """Return a network of one or two blocks before the fully connected layer."""
    del size
    idiomatic = draw.integer(0, 2) == 2
    name, blocks, *layer = draw.one_of(LAYERS) if idiomatic else ("anything", draw.integer(1, 2))
    sizes = {
        "images": draw.integer(1, 3), "channels": draw.integer(1, 2), "height": draw.integer(4, 8),
        "width": draw.integer(4, 8), "classes": draw.integer(2, 4), "mean": draw.integer(0, 1),
        "rate": draw.integer(0, 4), "blocks": blocks, "bias_3": draw.integer(0, 1),
    }  # fmt: skip
    shape: Shape = (sizes["images"], sizes["channels"], sizes["height"], sizes["width"])
    for block in BLOCKS:
        drawn = _block(draw, layer)
        fitted = _fitted(drawn, shape)
        sizes |= {f"{what}_{block}": value for what, value in fitted.items()}
        if block <= blocks:
            shape = _block_shapes(sizes, block, shape)[-1]
    return Geometry("idiomatic" if idiomatic else "free", name, sizes, draw.seed())


def _block(draw: Choices, layer: list[Any]) -> dict[str, int]:
    """Draw one convolution, activation and pooling; a layer of a real network has no choice."""
    block = {
        "filters": draw.integer(1, 3), "bias": draw.integer(0, 1),
        "groups": 1 + (draw.integer(0, 3) == 3), "slope": draw.integer(0, 3),
        "kernel_height": draw.integer(1, 3), "kernel_width": draw.integer(1, 3),
        "stride": draw.one_of((1, 1, 2)), "padding": draw.integer(0, 1),
        "dilation": draw.one_of((1, 1, 2)), "activation": draw.integer(0, len(FUNCTIONS) - 1),
        "pool": draw.integer(0, len(POOLS) - 1), "pool_kernel": draw.integer(1, 3),
        "pool_stride": draw.integer(1, 2), "pool_padding": draw.integer(0, 1),
        "ceil": draw.integer(0, 1), "include": draw.integer(0, 1),
    }  # fmt: skip
    if layer:
        kernel, stride, padding, activation, pool, pool_kernel, pool_stride = layer
        block |= {
            "kernel_height": kernel, "kernel_width": kernel, "stride": stride, "padding": padding,
            "activation": FUNCTIONS.index(activation), "pool": POOLS.index(pool), "dilation": 1,
            "pool_kernel": pool_kernel, "pool_stride": pool_stride, "pool_padding": 0, "groups": 1,
        }  # fmt: skip
    return block


def _fitted(block: dict[str, int], shape: Shape) -> dict[str, int]:
    """Return the block with whatever does not fit the image made smaller."""
    if shape[1] % block["groups"]:
        block["groups"] = 1
    for change in ({}, {"dilation": 1}, {"pool": 0}, {"kernel_height": 1, "kernel_width": 1}):
        block |= change
        try:
            _block_shapes({f"{what}_1": value for what, value in block.items()}, 1, shape)
        except ValueError:
            continue
        break
    return block


def _block_shapes(sizes: Mapping[str, int], block: int, shape: Shape) -> list[Shape]:
    """Return the shapes of a block's weight and result.

    Raises:
        ValueError: it does not fit.
    """
    of = {name[:-2]: size for name, size in sizes.items() if name.endswith(f"_{block}")}
    options = _convolution(of)
    check_integer("groups", of["groups"], smallest=1)
    filters = of["filters"] * of["groups"]
    weight = (filters, shape[1] // of["groups"], of["kernel_height"], of["kernel_width"])
    y = conv_shapes(2, shape, weight, **options).y
    pool = POOLS[of["pool"]]
    return [weight, y if pool == "none" else pool_shape(2, y, **_window(of))]


def _convolution(of: Mapping[str, int]) -> dict[str, Any]:
    return {
        "stride": _both(of["stride"]), "padding": _both(of["padding"]),
        "dilation": _both(of["dilation"]), "groups": of["groups"],
    }  # fmt: skip


def _window(of: Mapping[str, int]) -> dict[str, Any]:
    return {
        "kernel_size": _both(of["pool_kernel"]), "stride": _both(of["pool_stride"]),
        "padding": _both(min(of["pool_padding"], of["pool_kernel"] // 2)),
        "ceil_mode": bool(of["ceil"]),
    }  # fmt: skip


def _both(side: int) -> Pair:
    return side, side


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes of a network's parameters, and its steps.

    Raises:
        ValueError: there is no such network.
    """
    if sizes["classes"] < 1 or not 0 <= sizes["blocks"] <= len(BLOCKS):
        raise ValueError(f"no network of {sizes['blocks']} blocks and {sizes['classes']} classes")
    shape: Shape = (sizes["images"], sizes["channels"], sizes["height"], sizes["width"])
    if min(shape) < 1:
        raise ValueError(f"a network needs an image with pixels, got {[*shape]}")
    shapes: dict[str, Shape | None] = {"x": shape}
    steps: list[Step] = []
    for block in BLOCKS:
        of = {name[:-2]: size for name, size in sizes.items() if name.endswith(f"_{block}")}
        if block > sizes["blocks"]:
            shapes |= {f"weight_{block}": None, f"bias_{block}": None}
            continue
        weight, shape = _block_shapes(sizes, block, shape)
        shapes[f"weight_{block}"] = weight
        shapes[f"bias_{block}"] = weight[:1] if of["bias"] else None
        steps += _block_steps(of, block)
    steps.append(Step("linear", 3, {}))
    shapes["weight_3"] = (sizes["classes"], prod(shape[1:]))
    shapes["bias_3"] = (sizes["classes"],) if sizes["bias_3"] else None
    return Arguments(
        shapes,
        {
            "steps": tuple(steps),
            "reduction": "mean" if sizes["mean"] and sizes["images"] else "sum",
            "learning_rate": RATES[sizes["rate"]],
        },
    )


def _block_steps(of: Mapping[str, int], block: int) -> list[Step]:
    """Return a convolution, an activation and, if the block's sizes `of` say so, a pooling."""
    activation, pool = FUNCTIONS[of["activation"]], POOLS[of["pool"]]
    slope = {"negative_slope": SLOPES[of["slope"]]} if activation == "leaky_relu" else {}
    steps = [Step("conv2d", block, _convolution(of)), Step(activation, 0, slope)]
    if pool == "max_pool2d":
        steps.append(Step(pool, 0, {**_window(of), "dilation": (1, 1)}))
    elif pool == "avg_pool2d":
        steps.append(Step(pool, 0, {**_window(of), "count_include_pad": bool(of["include"])}))
    return steps


def scaled_normal(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal elements; weights over the root of what a filter reads, so that nothing saturates."""
    del limits
    return {
        name: random.standard_normal(shape)
        / (np.sqrt(prod(shape[1:])) if name.startswith("weight") else 1)
        for name, shape in shapes.items()
    }


def integers(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Integers of at most 4, with zeros before activations and ties before pooling."""
    return small_integers(random, shapes, limits)


def _complete(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add targets, and round the steps' slopes to the format as `Operator.call` does options."""
    steps = tuple(s._replace(options=rounded(s.options, call["x"].dtype)) for s in call["steps"])
    call = {**call, "steps": steps}
    if call.get("target") is not None and len(call["target"]) == len(call["x"]):
        return call
    classes = len(call["weight_3"])
    return {**call, "target": np.random.default_rng(seed).integers(0, classes, len(call["x"]))}


def _witness(torch: Any) -> Callable[..., Any]:
    """Return the loss of a network in PyTorch's own functions."""
    functional = torch.nn.functional

    def loss(call: Call) -> Any:
        value = call["x"]
        for step in call["steps"]:
            options = {n: v for n, v in step.options.items() if n != "indices"}
            if step.number:
                weight, bias = call[f"weight_{step.number}"], call[f"bias_{step.number}"]
                flat = value.flatten(1) if step.operator == "linear" else value
                value = getattr(functional, step.operator)(flat, weight, bias, **options)
            else:
                value = getattr(functional, step.operator)(value, **options)
        return functional.cross_entropy(value, call["target"], reduction=call["reduction"])

    return loss


NETWORK = Operator(
    formula=network_backward,
    gradients={},
    geometry=geometry,
    arguments=arguments,
    witness=_witness,
    styles=Styles(exact=(), floats=styles(scaled_normal, integers), slopes=(), not_finite=()),
    complete=_complete,
)
