"""Graphs of operators: which are drawn, their arrays, and the same in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.values import styles
from gradoracle.conformance.operators.graph_blocks import IMAGE_BLOCKS, ROW_BLOCKS
from gradoracle.conformance.operators.graph_builder import Builder
from gradoracle.conformance.operators.graph_torch import witness
from gradoracle.conformance.operators.network import scaled_normal
from gradoracle.conformance.operators.record import (
    Arguments,
    Geometry,
    Operator,
    Size,
    Styles,
    rounded,
)
from gradoracle.oracle.chains.graph import PARAMETERS, graph_backward
from gradoracle.oracle.chains.links import ACTIVATIONS, WEIGHTED_SUM

BLOCKS = (1, 2, 3)
LOSSES = (WEIGHTED_SUM, "cross_entropy", "cross_entropy", "cross_entropy")
REDUCTIONS = ("sum", "mean")
FACTORS = (1.0, 0.5, 2.0)  # powers of two: times them nothing rounds
SEQUENCE = 1  # of the size "kind"; 0: images
# name, kind of values, blocks, activation, loss, second loss, tied
NAMED: tuple[tuple[str, int, tuple[str, ...], str, int, int, int], ...] = (
    ("ResNet", 0, ("residual", "activation", "average"), "relu", 1, 0, 0),
    ("ResNet with batch norm", 0, ("batch norm", "residual batch norm"), "relu", 1, 0, 0),
    ("ResNet with group norm", 0, ("residual group norm", "residual"), "relu", 2, 0, 0),
    ("Inception", 0, ("inception", "average", "dense"), "relu", 1, 1, 0),
    ("one convolution twice", 0, ("shared residual", "shared residual"), "tanh", 1, 2, 0),
    ("Transformer", 1, ("attention", "residual norm", "self-attention"), "gelu", 2, 0, 0),
    ("tied language model", 1, ("self-attention", "shared linear"), "silu", 2, 1, 1),
    ("one query for key and query", 1, ("shared query", "joined"), "tanh", 1, 2, 1),
)


def geometry(draw: Choices, size: Size) -> Geometry:
    """Return a graph of one to three blocks, on images or on sequences of tokens."""
    del size
    sizes = {
        "kind": draw.integer(0, 1), "images": draw.integer(1, 2), "channels": draw.integer(1, 2),
        "height": draw.integer(2, 4), "width": draw.integer(2, 4), "classes": draw.integer(2, 4),
        "activation": draw.integer(0, len(ACTIVATIONS) - 1), "bias": draw.integer(0, 1),
        "loss": draw.integer(0, 3), "mean": draw.integer(0, 1), "factor": draw.integer(0, 2),
        "second": draw.integer(0, 2), "tied": draw.integer(0, 1),
    }  # fmt: skip
    most = len(ROW_BLOCKS) if sizes["kind"] == SEQUENCE else len(IMAGE_BLOCKS)
    for block in BLOCKS:
        sizes[f"block_{block}"] = draw.integer(0 if block > 1 else 1, most)
    return Geometry("free", "anything", sizes, draw.seed())


def named(operator: Operator, formula: Any) -> list[Geometry]:
    """Return the graphs that every certification meets, as architectures have them."""
    del operator, formula
    return [
        Geometry("idiomatic", name, _named_sizes(at), 7 * at + 1)
        for at, (name, *_) in enumerate(NAMED)
    ]


def _named_sizes(at: int) -> dict[str, int]:
    _, kind, blocks, activation, loss, second, tied = NAMED[at]
    known = [*(ROW_BLOCKS if kind == SEQUENCE else IMAGE_BLOCKS)]
    chosen = [known.index(name) + 1 for name in blocks]
    return {
        "kind": kind, "images": 2, "channels": 2, "height": 3, "width": 4 - at % 2, "classes": 3,
        "activation": ACTIVATIONS.index(activation), "bias": 1, "loss": loss, "mean": at % 2,
        "factor": at % 3, "second": second, "tied": tied,
        **{f"block_{n}": (*chosen, 0, 0)[n - 1] for n in BLOCKS},
    }  # fmt: skip


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes of a graph's arrays, and its nodes.

    Raises:
        ValueError: there is no such graph.
    """
    sides = [sizes[name] for name in ("images", "channels", "height", "width", "classes")]
    if min(sides) < 1:
        raise ValueError(f"a graph needs sides of at least 1, got {sides}")
    build = Builder(
        ACTIVATIONS[min(sizes["activation"], len(ACTIVATIONS) - 1)], bias=bool(sizes["bias"])
    )
    images, channels, height, width, classes = sides
    if sizes["kind"] == SEQUENCE:
        last = _of_tokens(build, sizes)
        table = "weight_1" if sizes["tied"] else ""
        logits = build.linear(last, build.shape(last)[1] if table else classes, shared=table)
    else:
        build.leaf("x", (images, channels, height, width))
        last = _blocks(build, sizes, "x", [*IMAGE_BLOCKS.values()])
        build.pool(last, build.shape(last)[2:])
        rows = build.reshape(build.last, (images, build.shape(build.last)[1]))
        logits = build.linear(rows, classes)
    _losses(build, sizes, last, logits)
    shapes: dict[str, Any] = dict.fromkeys(("x", "wanted", "grad_output", *PARAMETERS))
    return Arguments({**shapes, **build.arrays}, {"nodes": (*build.nodes,), "tokens": None})


def _of_tokens(build: Builder, sizes: Mapping[str, int]) -> str:
    """Add an embedding of tokens and the blocks after it; return the rows that they make."""
    images, steps, features = sizes["images"], sizes["height"], 2 * sizes["channels"]
    build.tokens = (images, steps)
    rows = build.embedding(sizes["classes"], features)
    return _blocks(build, sizes, rows, [*ROW_BLOCKS.values()])


def _blocks(
    build: Builder, sizes: Mapping[str, int], value: str, known: list[Callable[..., str]]
) -> str:  # fmt: skip
    for block in BLOCKS:
        which = sizes[f"block_{block}"]
        if not 0 <= which <= len(known):
            raise ValueError(f"there is no block {which}; there are {len(known)}")
        if which:
            value = known[which - 1](build, value)
    return value


def _losses(build: Builder, sizes: Mapping[str, int], last: str, logits: str) -> None:
    """Add one loss of the logits, and maybe a second one of what the last block made."""
    reduction = REDUCTIONS[sizes["mean"]]
    factor, kind = FACTORS[sizes["factor"]], LOSSES[sizes["loss"]]
    build.arrays["grad_output"] = build.shape(logits)
    if sizes["second"] and last != "x":
        flat = build.reshape(last, (build.shape(last)[0], -1))
        build.arrays["wanted"] = build.shape(flat)
        other = FACTORS[sizes["second"]]
        build.loss("mse_loss", flat, {"reduction": reduction, "factor": other})
    options = {} if kind == WEIGHTED_SUM else {"reduction": reduction}
    build.loss(kind, logits, {**options, "factor": factor})


def _complete(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add tokens and targets, and round what options there are to the format."""
    random, nodes = np.random.default_rng(seed), call["nodes"]
    dtype = call["grad_output"].dtype
    call = {**call, "nodes": tuple(n._replace(options=rounded(n.options, dtype)) for n in nodes)}
    rows, classes = call["grad_output"].shape
    table = next((n for n in nodes if n.operator == "embedding"), None)
    if table is None:
        call["tokens"] = None
    elif not _fits(call.get("tokens"), table.shape[:2], len(call["weight_1"])):
        call["tokens"] = random.integers(0, len(call["weight_1"]), table.shape[:2])
    if not _fits(call.get("target"), (rows,), classes):
        call["target"] = random.integers(0, classes, rows)
    return call


def _fits(labels: Any, shape: tuple[int, ...], most: int) -> bool:
    return labels is not None and labels.shape == shape and labels.max(initial=0) < most


GRAPH = Operator(
    formula=graph_backward,
    gradients={},
    geometry=geometry,
    arguments=arguments,
    witness=witness,
    styles=Styles(exact=(), floats=styles(scaled_normal), slopes=(), not_finite=()),
    complete=_complete,
)
