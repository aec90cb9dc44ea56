"""The fully connected layer: its formulas, its sizes and its PyTorch witness."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradoracle import oracle
from gradoracle.conformance.drawing.choices import LONG, LONGER, MANY, SHORTER
from gradoracle.conformance.drawing.values import fractions_in, halves_that_cancel
from gradoracle.conformance.operators import arrays, shape_cover
from gradoracle.conformance.operators.network_layers import CLASSIFIERS
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Operator,
    Size,
    Workload,
    past_limits,
    two_large,
)

NAMES = ("images", "inputs", "outputs")
LAYERS = (
    ("LeNet C5", (40, 12)), ("LeNet F6", (12, 8)), ("ten classes", (8, 10)),
    ("AlexNet classifier", (64, 16)), ("one output", (9, 1)), ("one input", (1, 9)),
)  # fmt: skip
WORK: dict[Size, int] = {"small": 3_000, "medium": 10_000, "large": 60_000}  # products


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes of a fully connected layer of these sizes; `bias` is 0 or 1.

    Raises:
        ValueError: there is no such layer.
    """
    images, inputs, outputs = (sizes[name] for name in NAMES)
    if min(inputs, outputs) < 1:
        raise ValueError(f"a layer needs inputs and outputs, got {inputs} and {outputs}")
    return Arguments(
        {
            "x": (images, inputs),
            "weight": (outputs, inputs),
            "bias": (outputs,) if sizes["bias"] else None,
            "grad_output": (images, outputs),
        },
        {},
    )


TINY = {"images": 2, "inputs": 2, "outputs": 2, "bias": 1}
PLAIN = {**TINY, "images": 1, "inputs": 1, "outputs": 1}
CORNERS = (
    *past_limits(TINY, NAMES),
    *two_large(TINY, NAMES),
    Corner("more than a tile of all", {"images": 65, "inputs": 66, "outputs": 67, "bias": 1}),
    Corner("two tiles of all", {"images": 129, "inputs": 130, "outputs": 131, "bias": 0}),
    Corner("one image, many of both", {"images": 1, "inputs": 258, "outputs": 259, "bias": 1}),
    # Sides of which some are whole vectors of 4 and some are not, past a tile; long sums of tiles.
    *(
        Corner(
            f"{inputs} inputs and {outputs} outputs",
            {"images": images, "inputs": inputs, "outputs": outputs, "bias": 1},
            in_turn=True,
        )
        for images, inputs, outputs in (
            (9, 130, 132),
            (12, 132, 129),
            (9, 131, 12),
            (12, 10, 135),
            (12, 13, 260),
            (257, 18, 20),
        )
    ),
    Corner(
        "two tiles of all, and a bias",
        {"images": 129, "inputs": 130, "outputs": 131, "bias": 1},
        in_turn=True,
    ),
    *(Corner(f"{name} 1025, no bias", {**TINY, name: 1025, "bias": 0}) for name in NAMES),
    *(
        Corner(f"{name} {SHORTER}, no bias, after more", {**TINY, name: SHORTER, "bias": 0})
        for name in NAMES
    ),
    *(
        Corner(
            f"a sum of {LONGER} {name}", {**PLAIN, name: LONGER}, fractions_in(large), in_turn=True
        )
        for name, large in (("images", "x"), ("inputs", "x"), ("outputs", "grad_output"))
    ),
    Corner("many outputs", {**PLAIN, "images": MANY[0], "outputs": MANY[1]}),
    Corner("a long sum of images", {**PLAIN, "images": LONG}, fractions_in("grad_output")),
    Corner("a long sum of inputs", {**PLAIN, "inputs": LONG}, fractions_in("x")),
    Corner("a long sum of outputs", {**PLAIN, "outputs": LONG}, fractions_in("grad_output")),
    Corner("inputs that cancel", {**PLAIN, "images": 4, "inputs": LONG}, halves_that_cancel("x")),
    Corner(
        "outputs that cancel",
        {**PLAIN, "images": 4, "outputs": LONG},
        halves_that_cancel("grad_output"),
    ),
    Corner(
        "images that cancel",
        {**PLAIN, "images": LONG, "outputs": 4},
        halves_that_cancel("grad_output"),
    ),
    *(
        Corner(
            f"full tiles, fractions in {name}",
            {"images": 64, "inputs": 64, "outputs": 64, "bias": 1},
            fractions_in(name),
        )
        for name in ("x", "weight", "grad_output")
    ),
    Corner("more than a tile", {"images": 33, "inputs": 34, "outputs": 35, "bias": 1}),
)


def _witness(torch: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = torch.nn.functional.linear
    return function


LINEAR = Operator(
    formula=oracle.linear,
    gradients={
        oracle.linear_grad_input: "x",
        oracle.linear_grad_weight: "weight",
        oracle.linear_grad_bias: "bias",
    },
    geometry=partial(
        arrays.matrix, names=NAMES, options={"bias": (0, 1)}, layers=LAYERS, most=WORK
    ),
    arguments=arguments,
    witness=_witness,
    share=0.4,
    covers=shape_cover.matrix(NAMES, {"bias": (0, 1)}, 3),
    corners=CORNERS,
    layers=tuple(
        Workload(
            f"{network} {inputs} -> {outputs}",
            {"images": 1, "inputs": inputs, "outputs": outputs, "bias": 1},
        )
        for network, inputs, outputs in CLASSIFIERS
    ),
)
