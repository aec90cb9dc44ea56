"""`torch.autograd.gradcheck` in float64, on a few shapes, and the forward pass beside PyTorch.

As PyTorch's tutorials have it ("Extending PyTorch", docs/source/notes/extending.rst, whose example
ends in `gradcheck(linear, input, eps=1e-6, atol=1e-4)`): the functions are wrapped in a
`torch.autograd.Function`, and analytical and numerical Jacobians compared with the defaults of
gradcheck.  A careful user writes four small layers, with stride, padding, dilation and groups among
them and sides that differ, and asks for the forward pass too, by `torch.testing.assert_close`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from tests.power import derived
from tests.power.layers import (
    Sample,
    differentiable,
    expected,
    forward,
    gradient_functions,
    gradients,
    normals,
    tensor,
)

WINDOW = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
MAXIMA = {"stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}
MEANS = {"stride": (2, 2), "padding": (0, 0), "ceil_mode": False, "count_include_pad": True}
ANY_SHAPE = ({"z": (3, 4)}, {"z": (2, 3, 4)}, {"z": (7,)}, {"z": (2, 3, 2, 2)})
SIDES = (
    {"n": 3, "c": 4, "t": 2, "h": 2, "w": 3, "k": 6},
    {"n": 2, "c": 8, "t": 3, "h": 3, "w": 2, "k": 4},
)
CASES: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    "conv2d": [
        ({"x": (2, 3, 5, 4), "weight": (4, 3, 3, 3), "bias": (4,)}, WINDOW),
        (
            {"x": (2, 4, 6, 5), "weight": (6, 2, 3, 2), "bias": (6,)},
            {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2},
        ),
        (
            {"x": (1, 3, 5, 6), "weight": (3, 1, 3, 3), "bias": None},
            {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 3},
        ),
        ({"x": (2, 3, 3, 4), "weight": (2, 3, 1, 1), "bias": (2,)}, WINDOW),
    ],
    "conv_transpose2d": [
        (
            {"x": (2, 3, 4, 3), "weight": (3, 2, 3, 3), "bias": (2,)},
            {**WINDOW, "output_padding": (0, 0)},
        ),
        (
            {"x": (2, 4, 3, 3), "weight": (4, 2, 3, 2), "bias": (4,)},
            {
                "stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "dilation": (1, 2),
                "groups": 2,
            },
        ),
        (
            {"x": (1, 3, 3, 4), "weight": (3, 1, 3, 3), "bias": None},
            {
                "stride": (2, 2), "padding": (1, 1), "output_padding": (0, 0), "dilation": (1, 1),
                "groups": 3,
            },
        ),
    ],
    "max_pool2d": [
        ({"x": (2, 2, 6, 5)}, {"kernel_size": (2, 2), **MAXIMA}),
        ({"x": (2, 2, 7, 6)}, {"kernel_size": (3, 3), **MAXIMA, "padding": (1, 1)}),
        (
            {"x": (1, 2, 7, 8)},
            {"kernel_size": (3, 2), **MAXIMA, "stride": (1, 2), "dilation": (2, 1)},
        ),
        ({"x": (1, 2, 6, 6)}, {"kernel_size": (3, 3), **MAXIMA, "ceil_mode": True}),
    ],
    "avg_pool2d": [
        ({"x": (2, 2, 6, 5)}, {"kernel_size": (2, 2), **MEANS}),
        ({"x": (2, 2, 7, 6)}, {"kernel_size": (3, 3), **MEANS, "padding": (1, 1)}),
        (
            {"x": (1, 2, 7, 8)},
            {
                "kernel_size": (3, 2), **MEANS, "stride": (1, 2), "padding": (1, 1),
                "count_include_pad": False,
            },
        ),
        ({"x": (1, 2, 6, 6)}, {"kernel_size": (3, 3), **MEANS, "ceil_mode": True}),
    ],
    **{name: [(shapes, {}) for shapes in ANY_SHAPE] for name in ("relu", "sigmoid", "tanh")},
    "leaky_relu": [(shapes, {"negative_slope": 0.01}) for shapes in ANY_SHAPE],
    "softmax": [
        ({"z": (3, 5)}, {"axis": 1}), ({"z": (3, 4)}, {"axis": 0}),
        ({"z": (2, 3, 4)}, {"axis": -1}), ({"z": (2, 4, 3)}, {"axis": 1}),
    ],
    "linear": [
        ({"x": (4, 5), "weight": (3, 5), "bias": (3,)}, {}),
        ({"x": (1, 6), "weight": (2, 6), "bias": None}, {}),
        ({"x": (3, 3), "weight": (3, 3), "bias": (3,)}, {}),
    ],
    "cross_entropy": [
        ({"logits": (4, 5)}, {"reduction": "mean"}), ({"logits": (4, 5)}, {"reduction": "sum"}),
        ({"logits": (1, 3)}, {"reduction": "mean"}),
    ],
    # There is no gradient to be checked of these: what is left is the forward pass.
    "batch_mean": [({"gradient_per_image": (4, 3, 2)}, {}), ({"gradient_per_image": (1, 5)}, {})],
    "sgd_step": [({"parameter": (3, 4), "gradient": (3, 4)}, {"learning_rate": 0.1})],
    **{
        name: [(shapes, options) for options in derived.options(name) for shapes in ANY_SHAPE]
        for name in derived.OF_ANY_SHAPE if name != "log_softmax"
    },
    "log_softmax": [
        ({"z": (3, 5)}, {"axis": 1}), ({"z": (3, 4)}, {"axis": 0}),
        ({"z": (2, 3, 4)}, {"axis": -1}), ({"z": (2, 4, 3)}, {"axis": 1}),
    ],
    **{
        name: [
            (derived.shapes(name, sides, optional=not number), options)
            for number, sides in enumerate(SIDES)
            for options in derived.options(name)
        ]
        for name in derived.OF_AXES
    },
}  # fmt: skip


class _Wrapped(torch.autograd.Function):
    """The backend's forward pass, and of its gradients those in `functions`."""

    @staticmethod
    def forward(ctx: Any, backend: Any, sample: Sample, functions: Any, *leaves: Any) -> Any:
        ctx.asked = backend, _with(sample, leaves), functions
        ctx.names = differentiable(sample)
        return tensor(forward(backend, ctx.asked[1])[0])

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        backend, sample, functions = ctx.asked
        found = gradients(backend, sample, dy.numpy(), functions)
        by = {argument: tensor(result) for _, argument, result in found}
        return None, None, None, *(by[name] for name in ctx.names)


def _with(sample: Sample, leaves: Any) -> Sample:
    """Return a call on the numbers that gradcheck has moved."""
    moved = {n: v.detach().numpy() for n, v in zip(differentiable(sample), leaves, strict=True)}
    return sample._replace(arrays={**sample.arrays, **moved})


def judge(backend: Any, operator: str, seed: int) -> None:
    """Raise if a forward pass is not PyTorch's or a Jacobian not the numerical one."""
    for number, (shapes, options) in enumerate(CASES[operator]):
        sample = normals(operator, 100 * seed + number, shapes, "float64", **options)
        right = expected(sample, seed)
        for got, want in zip(forward(backend, sample), right.outputs, strict=True):
            torch.testing.assert_close(tensor(got), tensor(want))
        for functions in _ways(sample):
            names = differentiable(sample)
            leaves = [torch.from_numpy(sample.arrays[n].copy()).requires_grad_() for n in names]
            torch.autograd.gradcheck(partial(_Wrapped.apply, backend, sample, functions), leaves)


def _ways(sample: Sample) -> Iterator[list[str]]:
    """Yield functions that give every argument's gradient once: max pooling has two ways."""
    functions = gradient_functions(sample)
    if sample.operator == "max_pool2d":
        yield from ([function] for function in functions)
    elif functions:
        yield functions
