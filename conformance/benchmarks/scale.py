"""What checking a layer costs.

    python -m gradoracle.conformance.benchmarks.scale [NETWORK] [IMAGES ...]

Beside every layer the time that checking PyTorch's answers takes over the time that PyTorch takes
to compute them, on one thread, in float32, the two in turns: below 1 the verdict is there before
the answer would be.  Whole numbers by random weights; of floats some elements, and the making of
the numbers, take as long for a small layer as for a large one, and are told at the end.
"""

from __future__ import annotations

import importlib
import statistics
import sys
from collections.abc import Callable, Sequence
from math import prod
from time import thread_time
from typing import Any

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import Candidate
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.operators.convolution import CONV2D
from gradoracle.conformance.operators.network_layers import Layer, layers
from gradoracle.conformance.properties.scale import require_layer
from gradoracle.conformance.scale.data import LayerCall, Numbers, layer_call
from gradoracle.oracle.declaration import Formula

FORMULAS = CONV2D.formulas[:3]
TURNS = {1: 15, 32: 5}  # by the number of images
DTYPE = "float32"
HEAD = f"{'':26}" + "".join(
    f"{f.__name__.replace('conv2d', 'y').replace('y_grad_', 'd '):>26}" for f in FORMULAS
)


def main(arguments: Sequence[str]) -> None:
    """Print a table per number of images."""
    network = arguments[0] if arguments else "ResNet-50"
    for images in map(int, arguments[1:] or ("1", "32")):
        print(f"{network}, {images} image{'s' * (images > 1)}: ms PyTorch, ms checking, ratio")
        print(HEAD)
        ratios: list[list[float]] = []
        for layer in layers(network):
            cells = [_measured(layer, images, formula) for formula in FORMULAS]
            ratios.append([judging / torch for torch, judging in cells])
            shown = (f"{1e3 * t:10.3f} {1e3 * j:9.3f} {j / t:5.2f}" for t, j in cells)
            print(f"{layer.name:26}" + "".join(shown), flush=True)
        means = [statistics.geometric_mean(column) for column in zip(*ratios, strict=True)]
        most = [max(column) for column in zip(*ratios, strict=True)]
        for name, row in {"geometric mean": means, "largest": most}.items():
            print(f"{name:26}" + "".join(f"{ratio:26.2f}" for ratio in row))
        over = sum(ratio >= 1 for row in ratios for ratio in row)
        print(f"{over} of {prod((len(ratios), len(FORMULAS)))} take longer to check\n", flush=True)


def _measured(layer: Layer, images: int, formula: Formula) -> tuple[float, float]:
    """Return the seconds that PyTorch takes, and checking: the least of some turns."""
    call = _call(layer, images, formula, "whole numbers")
    compute = _torch(call, formula)
    got = compute().numpy()
    backend = Backend("PyTorch", Candidate(object(), ()))
    turns = TURNS.get(images, 7)
    with one_thread():
        times = [
            (_seconds(compute), _seconds(lambda: require_layer(backend, formula, call, got)))
            for _ in range(turns + 1)
        ][1:]
    return min(t for t, _ in times), min(j for _, j in times)


def _call(layer: Layer, images: int, formula: Formula, numbers: Numbers) -> LayerCall:
    return layer_call(
        CONV2D, formula, layer.name, layer.sizes(images), numbers=numbers, seed=1, dtype=DTYPE,
        accumulator=DTYPE,
    )  # fmt: skip


def _seconds(call: Callable[[], Any]) -> float:
    start = thread_time()
    call()
    return thread_time() - start


def _torch(call: LayerCall, formula: Formula) -> Callable[[], Any]:
    """Return what has PyTorch compute a call."""
    torch: Any = importlib.import_module("torch")  # optional, and slow to import
    torch.set_num_threads(1)
    given = {n: torch.from_numpy(v) for n, v in call.items() if hasattr(v, "dtype")}
    options = (call["stride"], call["padding"], call["dilation"], call["groups"])
    if formula is CONV2D.formula:
        return lambda: torch.nn.functional.conv2d(
            given["x"], given["weight"], given.get("bias"), *options
        )
    if "weight" in given:
        return lambda: torch.nn.grad.conv2d_input(
            call["input_shape"], given["weight"], given["grad_output"], *options
        )
    return lambda: torch.nn.grad.conv2d_weight(
        given["x"], call["weight_shape"], given["grad_output"], *options
    )


if __name__ == "__main__":
    main(sys.argv[1:])
