"""Train a small transformer on scikit-learn's handwritten digits with a backend's own functions.

    python -m gradoracle.conformance.examples.transformer --backend im2col

Every row of pixels is a token; learned positions are added, and blocks of attention and of two
linear layers follow, each with a layer normalisation and a residual.  The functions are checked
first.  Needs scikit-learn: pip install 'gradoracle[examples]'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import typer

from gradoracle.conformance.examples.training import CLASSES, Network, command
from gradoracle.conformance.operators.graph_builder import Builder
from gradoracle.oracle.chains.links import ATTENTION
from gradoracle.oracle.shapes import Array

TOKENS, PIXELS, FEATURES = 8, 8, 16
BLOCKS = 2


def build(images: int) -> Builder:
    """Return a transformer that normalises first (Xiong et al. 2020, figure 1b)."""
    made = Builder("gelu", bias=True)
    made.leaf("x", (images * TOKENS, PIXELS))
    made.tokens = (images, TOKENS)
    value = made.linear("x", FEATURES)
    value = made.add(value, made.embedding(TOKENS, FEATURES))
    for _ in range(BLOCKS):
        value = _mixed(made, _attended(made, value))
    planes = made.reshape(made.layer_norm(value), (images, 1, TOKENS, FEATURES))
    mean = made.pool(planes, (TOKENS, 1))
    logits = made.linear(made.reshape(mean, (images, FEATURES)), CLASSES)
    made.loss("cross_entropy", logits, {"reduction": "mean", "factor": 1.0})
    return made


def _attended(made: Builder, value: str) -> str:
    """Add x + linear(attention(linear(n), linear(n), linear(n))), n = layer_norm(x)."""
    normed = made.layer_norm(value)
    query, key, values = (made.linear(normed, FEATURES) for _ in range(3))
    return made.add(value, made.linear(made.attention(query, key, values), FEATURES))


def _mixed(made: Builder, value: str) -> str:
    """Add x + linear(gelu(linear(layer_norm(x))))."""
    hidden = made.activation(made.linear(made.layer_norm(value), 2 * FEATURES))
    return made.add(value, made.linear(hidden, FEATURES))


def _inputs(images: Array) -> dict[str, Any]:
    positions = np.broadcast_to(np.arange(TOKENS), (len(images), TOKENS)).copy()
    return {"x": images.reshape(-1, PIXELS), "tokens": positions}


NETWORK = Network(
    build,
    _inputs,
    (
        "linear", "embedding", "add", "layer_norm", ATTENTION, "gelu", "avg_pool2d",
        "cross_entropy", "adam_step", "graph_backward",
    ),
)  # fmt: skip

main = command(
    NETWORK,
    "Check a backend's functions, then train a small transformer on handwritten digits.",
    epochs=15,
    learning_rate=0.01,
)

if __name__ == "__main__":
    typer.run(main)
