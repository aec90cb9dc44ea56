"""Train a small LeNet on scikit-learn's handwritten digits with a backend's own functions.

    python -m gradoracle.conformance.examples.lenet --backend im2col

The backend's functions are checked first; then the same chain that `network_backward` checks learns
to read digits from 8x8 pixels.  Needs scikit-learn: pip install 'gradoracle[examples]'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console

from gradoracle import check, oracle
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.registry import UnknownBackend, UnusableBackend
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.runs.loading import load
from gradoracle.oracle.chains.network import Step, backward, forward
from gradoracle.oracle.shapes import Array

NO_SKLEARN = "scikit-learn is not installed: pip install 'gradoracle[examples]'"
OPERATORS = ("conv2d", "tanh", "avg_pool2d", "linear", "cross_entropy", "sgd_step")
CONVOLUTION = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
POOLING = {
    "kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False,
    "count_include_pad": True,
}  # fmt: skip
LENET = (
    Step("conv2d", 1, {**CONVOLUTION, "padding": (1, 1)}),  # 8x8, 6 maps
    Step("tanh", 0, {}),
    Step("avg_pool2d", 0, POOLING),  # 4x4
    Step("conv2d", 2, {**CONVOLUTION, "padding": (1, 1)}),  # 4x4, 16 maps
    Step("tanh", 0, {}),
    Step("avg_pool2d", 0, POOLING),  # 2x2
    Step("linear", 3, {}),  # ten classes
)
SHAPES = {
    "weight_1": (6, 1, 3, 3), "bias_1": (6,), "weight_2": (16, 6, 3, 3), "bias_2": (16,),
    "weight_3": (10, 64), "bias_3": (10,),
}  # fmt: skip


class Digits(NamedTuple):
    """Images [N, 1, 8, 8] from -1 to 1, and their digits [N]."""

    images: Array
    digits: Array


class Epoch(NamedTuple):
    """What a network was like after one pass over the training images."""

    loss: float  # the mean over the batches, as they were trained
    accuracy: float  # on images it never saw


def load_digits() -> tuple[Digits, Digits]:
    """Return 1437 images to learn from and 360 to be tested on.

    Raises:
        ImportError: scikit-learn is missing; the message says how to install it.
    """
    try:
        from sklearn.datasets import load_digits as bundled  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(NO_SKLEARN) from error
    data: Any = bundled()
    images = (data.images[:, np.newaxis] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    images, digits = images[order], data.target[order].astype(np.int64)
    return Digits(images[:1437], digits[:1437]), Digits(images[1437:], digits[1437:])


def train(
    backend: Backend, learned: Digits, tested: Digits, *, epochs: int, learning_rate: float,
    batch: int = 32, seed: int = 0,
) -> Iterator[Epoch]:  # fmt: skip
    """Train LeNet by gradient descent in the backend's functions; yield how it goes."""
    random = np.random.default_rng(seed)
    parameters: dict[str, Any] = {
        name: np.zeros(shape, np.float32)
        if name.startswith("bias")
        else (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    for _ in range(epochs):
        order = random.permutation(len(learned.images))
        losses = []
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            call = {
                "x": learned.images[chosen], "target": learned.digits[chosen],
                "reduction": "mean", **parameters,
            }  # fmt: skip
            passed = forward(backend.ask, LENET, call)
            gradients = backward(backend.ask, LENET, call, passed)
            losses.append(float(passed.loss))
            for name, parameter in parameters.items():
                step = {
                    "parameter": parameter, "gradient": gradients[name],
                    "learning_rate": learning_rate,
                }  # fmt: skip
                parameters[name] = backend.ask(oracle.sgd_step, step)
            backend.answers.clear()
        yield Epoch(float(np.mean(losses)), accuracy(backend, tested, parameters))


def accuracy(backend: Backend, tested: Digits, parameters: dict[str, Any]) -> float:
    """Return the share of images whose digit has the largest logit."""
    call = {"x": tested.images, "target": tested.digits, "reduction": "mean", **parameters}
    logits = forward(backend.ask, LENET, call).logits
    backend.answers.clear()
    return float((logits.argmax(axis=1) == tested.digits).mean())


def main(
    *,
    backend: Annotated[str, typer.Option(help="registered name or import path")] = "im2col",
    epochs: Annotated[int, typer.Option(min=1, help="passes over the images")] = 10,
    learning_rate: Annotated[float, typer.Option(help="eta of the step")] = 1.0,
    examples: Annotated[int, typer.Option(min=1, help="of every check before training")] = 25,
) -> None:
    """Check a backend's functions, then train a small LeNet on handwritten digits with them."""
    console = Console(highlight=False)
    try:
        judged, (learned, tested) = load(backend), load_digits()
    except (UnknownBackend, UnusableBackend, ImportError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    certificate = check(judged, operators=OPERATORS, examples=examples)
    for found in certificate.mismatches:
        console.print(found.text, style="red", markup=False)
        raise typer.Exit(1)
    calls = sum(outcome.judged for outcome in certificate.outcomes)
    but = f" but for {certificate.why_not}" if certificate.deviations else ""
    console.print(f"{backend}: {', '.join(OPERATORS)} found right on {calls} calls{but}")
    with one_thread():
        epochs_ = train(judged, learned, tested, epochs=epochs, learning_rate=learning_rate)
        for number, epoch in enumerate(epochs_, 1):
            console.print(
                f"epoch {number:3}  loss {epoch.loss:.3f}  {epoch.accuracy:6.1%} of "
                f"{len(tested.images)} digits never seen are read right"
            )


if __name__ == "__main__":
    typer.run(main)
