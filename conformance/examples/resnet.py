"""Train a small ResNet on scikit-learn's handwritten digits with a backend's own functions.

    python -m gradoracle.conformance.examples.resnet --backend im2col

Residual blocks with batch normalisation, global average pooling, a linear layer, cross-entropy and
Adam.  The functions are checked first.  Needs scikit-learn: pip install 'gradoracle[examples]'.
"""

from __future__ import annotations

import typer

from gradoracle.conformance.examples.training import CLASSES, Network, command
from gradoracle.conformance.operators.graph_builder import Builder

FILTERS = (8, 16)  # of the two stages; the second has half as many rows and columns


def build(images: int) -> Builder:
    """Return a ResNet of two stages (He et al. 2016, figure 2) for images of 8 by 8 pixels."""
    made = Builder("relu", bias=True)
    made.leaf("x", (images, 1, 8, 8))
    value = _normed(made, "x", FILTERS[0], 1)
    value = _block(made, made.activation(value), FILTERS[0], 1)
    value = _block(made, value, FILTERS[1], 2)
    pooled = made.pool(value, made.shape(value)[2:])
    logits = made.linear(made.reshape(pooled, (images, FILTERS[1])), CLASSES)
    made.loss("cross_entropy", logits, {"reduction": "mean", "factor": 1.0})
    return made


def _block(made: Builder, value: str, filters: int, stride: int) -> str:
    """Add relu(f(x) + x), f = norm(conv(relu(norm(conv(x))))); a stride takes x by a 1x1 kernel."""
    inner = made.activation(_normed(made, value, filters, stride))
    inner = _normed(made, inner, filters, 1)
    if stride > 1:
        value = made.batch_norm(made.conv(value, 1, filters=filters, stride=stride))
    return made.activation(made.add(inner, value))


def _normed(made: Builder, value: str, filters: int, stride: int) -> str:
    return made.batch_norm(made.conv(value, 3, filters=filters, stride=stride))


NETWORK = Network(
    build,
    lambda images: {"x": images, "tokens": None},
    (
        "conv2d", "batch_norm", "batch_norm_update", "relu", "add", "avg_pool2d", "linear",
        "cross_entropy", "adam_step", "graph_backward",
    ),
)  # fmt: skip

main = command(
    NETWORK,
    "Check a backend's functions, then train a small ResNet on handwritten digits with them.",
    epochs=8,
    learning_rate=0.02,
)

if __name__ == "__main__":
    typer.run(main)
