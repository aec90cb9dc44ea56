"""What graphs are built with: nodes and the shapes of their arrays, added one by one."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from gradoracle.oracle.chains.links import ATTENTION, Node
from gradoracle.oracle.shapes import Shape

EPS = 1e-3
ADD = {"alpha": 1.0}
ATTEND: Mapping[str, Any] = {"is_causal": False, "scale": None, "enable_gqa": False}


class Builder:
    """Nodes of a graph and the shapes of its arrays, as blocks add them."""

    def __init__(self, activation: str, *, bias: bool) -> None:
        """Begin with none; `activation` is that of every block, `bias` whether layers have one."""
        self.nodes: list[Node] = []
        self.arrays: dict[str, Shape] = {}
        self.tokens: Shape = (1, 1)
        self._activation, self._bias, self._numbers = activation, bias, 0

    @property
    def last(self) -> str:
        """The name of the last node's result."""
        return str(len(self.nodes))

    def shape(self, name: str) -> Shape:
        """Return the shape of an array or of a node's result."""
        return self.arrays[name] if name in self.arrays else self.nodes[int(name) - 1].shape

    def leaf(self, name: str, shape: Shape) -> None:
        """Add an array of the graph."""
        self.arrays[name] = shape

    def node(
        self, operator: str, inputs: tuple[str, ...], shape: Shape, number: int = 0, /,
        **options: Any,
    ) -> str:  # fmt: skip
        """Add a node and return its name."""
        self.nodes.append(Node(operator, inputs, number, options, shape))
        return self.last

    def parameters(self, weight: Shape, *, bias: bool) -> int:
        """Add a weight, and a bias of its first axis if layers have them; return their number."""
        self._numbers += 1
        self.arrays[f"weight_{self._numbers}"] = weight
        if bias and self._bias:
            self.arrays[f"bias_{self._numbers}"] = weight[:1]
        return self._numbers

    def reshape(self, value: str, shape: Shape) -> str:
        """Add the same elements in another shape; -1 stands for what is left."""
        if -1 in shape:
            rest = prod(self.shape(value)) // prod(side for side in shape if side > 0)
            shape = tuple(rest if side == -1 else side for side in shape)
        return self.node("reshape", (value,), shape)

    def loss(self, operator: str, value: str, options: Mapping[str, Any]) -> None:
        """Add a loss."""
        self.node(operator, (value,), (), **options)

    def activation(self, value: str) -> str:
        """Add the graph's activation."""
        options = {"approximate": "tanh"} if self._activation == "gelu" else {}
        return self.node(self._activation, (value,), self.shape(value), 0, **options)

    def add(self, one: str, other: str) -> str:
        """Add a sum."""
        return self.node("add", (one, other), self.shape(one), 0, **ADD)

    def cat(self, one: str, other: str) -> str:
        """Add two values side by side along axis 1."""
        a, b = self.shape(one), self.shape(other)
        return self.node("cat", (one, other), (a[0], a[1] + b[1], *a[2:]), axis=1)

    def conv(
        self, value: str, taps: int, number: int = 0, *, filters: int = 0, stride: int = 1
    ) -> str:
        """Add a convolution of an odd kernel; `number` is that of a weight there already.

        It keeps the shape, unless it has other `filters` or a `stride`.
        """
        images, channels, *pixels = self.shape(value)
        filters = filters or channels
        number = number or self.parameters((filters, channels, taps, taps), bias=True)
        sides = ((side - 1) // stride + 1 for side in pixels)
        return self.node(
            "conv2d", (value,), (images, filters, *sides), number, stride=(stride, stride),
            padding=(taps // 2,) * 2, dilation=(1, 1), groups=1,
        )  # fmt: skip

    def norm(self, value: str, operator: str, **options: Any) -> str:
        """Add a normalisation with a weight."""
        shape = self.shape(value)
        length = shape[-1] if operator == "layer_norm" else shape[1]
        number = self.parameters((length,), bias=True)
        return self.node(operator, (value,), shape, number, **options, eps=EPS)

    def batch_norm(self, value: str) -> str:
        """Add a batch normalisation in training."""
        return self.norm(value, "batch_norm", training=True)

    def layer_norm(self, rows: str) -> str:
        """Add a layer normalisation of rows."""
        images, steps = self.tokens
        shape = self.shape(rows)
        sequence = self.reshape(rows, (images, steps, shape[1]))
        return self.reshape(self.norm(sequence, "layer_norm"), shape)

    def pool(self, value: str, kernel: Shape) -> str:
        """Add an average pooling without overlap."""
        shape = self.shape(value)
        sides = tuple(n // k for n, k in zip(shape[2:], kernel, strict=True))
        return self.node(
            "avg_pool2d", (value,), (*shape[:2], *sides), kernel_size=kernel, stride=kernel,
            padding=(0, 0), ceil_mode=False, count_include_pad=True,
        )  # fmt: skip

    def linear(self, rows: str, outputs: int, number: int = 0, shared: str = "") -> str:
        """Add a linear layer; `shared` names a weight that another operator has, too."""
        shape = self.shape(rows)
        if shared:
            number, outputs = int(shared.rpartition("_")[2]), self.arrays[shared][0]
        number = number or self.parameters((outputs, shape[1]), bias=True)
        return self.node("linear", (rows,), (shape[0], outputs), number)

    def embedding(self, entries: int, features: int, number: int = 0) -> str:
        """Add the rows of a table for the tokens, as a matrix of all of them."""
        number = number or self.parameters((entries, features), bias=False)
        shape = (*self.tokens, features)
        found = self.node("embedding", ("tokens",), shape, number, padding_idx=None)
        return self.reshape(found, (prod(self.tokens), features))

    def attention(self, query: str, key: str, value: str) -> str:
        """Add attention of one head, or of two where features are even, to rows."""
        images, steps = self.tokens
        shape = self.shape(value)
        heads = 2 if shape[1] % 2 == 0 else 1
        split = (images, steps, heads, shape[1] // heads)
        axes = (images, heads, steps, shape[1] // heads)
        given = tuple(
            self.node("swapaxes", (self.reshape(one, split),), axes) for one in (query, key, value)
        )
        attended = self.node(ATTENTION, given, axes, **ATTEND)
        return self.reshape(self.node("swapaxes", (attended,), split), shape)
