"""The blocks that drawn graphs consist of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradoracle.conformance.operators.graph_builder import Builder


def _residual_batch_norm(build: Builder, x: str) -> str:
    return build.activation(build.add(build.batch_norm(build.conv(x, 3)), x))


def _shared_residual(build: Builder, x: str) -> str:
    first = build.conv(x, 3)
    number = build.nodes[-1].number
    return build.add(x, build.conv(build.activation(first), 3, number))


def _residual_group_norm(build: Builder, x: str) -> str:
    groups = 2 if build.shape(x)[1] % 2 == 0 else 1
    return build.add(x, build.activation(build.norm(x, "group_norm", num_groups=groups)))


def _average(build: Builder, x: str) -> str:
    return build.pool(x, tuple(min(2, side) for side in build.shape(x)[2:]))


def _residual_linear(build: Builder, x: str) -> str:
    features = build.shape(x)[1]
    hidden = build.activation(build.linear(x, features + 1))
    return build.add(x, build.linear(hidden, features))


def _shared_linear(build: Builder, x: str) -> str:
    first = build.linear(x, build.shape(x)[1])
    number = build.nodes[-1].number
    return build.add(x, build.linear(build.activation(first), build.shape(x)[1], number))


def _attention(build: Builder, x: str) -> str:
    query, key, value = (build.linear(x, build.shape(x)[1]) for _ in range(3))
    return build.add(x, build.attention(query, key, value))


def _self_attention(build: Builder, x: str) -> str:
    rows = build.layer_norm(x)
    return build.add(x, build.attention(rows, rows, rows))


def _shared_query(build: Builder, x: str) -> str:
    query = build.linear(x, build.shape(x)[1])
    return build.add(x, build.attention(query, query, x))


def _joined(build: Builder, x: str) -> str:
    return build.linear(build.cat(x, build.activation(x)), build.shape(x)[1])


def _embedding_again(build: Builder, x: str) -> str:
    entries, features = build.arrays["weight_1"]
    return build.add(x, build.embedding(entries, features, 1))


Block = Callable[[Builder, str], str]
# The simplest first: a smaller graph is one with lower numbers.
IMAGE_BLOCKS: Mapping[str, Block] = {
    "activation": Builder.activation,
    "residual": lambda build, x: build.add(x, build.activation(build.conv(x, 3))),
    "average": _average,
    "dense": lambda build, x: build.cat(x, build.activation(build.conv(x, 1))),
    "shared residual": _shared_residual,
    "batch norm": lambda build, x: build.activation(build.batch_norm(x)),
    "residual group norm": _residual_group_norm,
    "residual batch norm": _residual_batch_norm,
    "inception": lambda build, x: build.cat(build.conv(x, 1), build.activation(build.conv(x, 3))),
}
ROW_BLOCKS: Mapping[str, Block] = {
    "activation": Builder.activation,
    "residual linear": _residual_linear,
    "shared linear": _shared_linear,
    "joined": _joined,
    "residual norm": lambda build, x: build.add(x, build.linear(
        build.layer_norm(x), build.shape(x)[1])),
    "embedding again": _embedding_again,
    "self-attention": _self_attention,
    "shared query": _shared_query,
    "attention": _attention,
}  # fmt: skip
