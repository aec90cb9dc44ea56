"""PyTorch's own samples of these operators: the OpInfo database that its test suite runs on.

`op_db` in torch/testing/_internal/common_methods_invocations.py ("OpInfo", by the docstring of
torch/testing/_internal/opinfo/core.py the samples that every operator is tested on).  Forward
pass and gradients are compared with PyTorch's, as test/test_ops.py compares with references: by
`torch.testing.assert_close` with its default tolerances, in float32 and float64.  What the protocol
says otherwise is translated: an image without a batch axis is given one, axes before a matrix are
flattened into one, "same" and "valid" are written as numbers, divisor_override is left out.
"""

from collections.abc import Iterator
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch

from gradoracle.implementations import im2col as right
from tests.power.layers import Sample, forward, pairs, tensor

DTYPES = (torch.float32, torch.float64)
NAMES = {
    "conv2d": "nn.functional.conv2d", "conv_transpose2d": "nn.functional.conv_transpose2d",
    "max_pool2d": "nn.functional.max_pool2d", "avg_pool2d": "nn.functional.avg_pool2d",
    "relu": "nn.functional.relu", "leaky_relu": "nn.functional.leaky_relu", "sigmoid": "sigmoid",
    "tanh": "tanh", "linear": "nn.functional.linear", "softmax": "softmax",
    "cross_entropy": "nn.functional.cross_entropy",
}  # fmt: skip
NEEDS = "OpInfo needs expecttest: pip install 'gradoracle[test]'"


def judge(backend: Any, operator: str, seed: int) -> None:
    """Raise if an answer is not close to PyTorch's on a sample."""
    for sample in samples(operator, seed):
        for _, got, want in pairs(backend, sample, seed, backward=True):
            torch.testing.assert_close(tensor(got), tensor(want))


@cache
def samples(operator: str, seed: int) -> list[Sample]:
    """Return the samples of an operator that the protocol has a call for.

    Raises:
        ModuleNotFoundError: what PyTorch's test suite needs is not installed.
    """
    if find_spec("expecttest") is None:
        raise ModuleNotFoundError(NEEDS)
    from torch.testing._internal.common_methods_invocations import op_db

    torch.manual_seed(seed)
    (info,) = (i for i in op_db if i.name == NAMES[operator] and not i.variant_test_name)
    drawn = (one for dtype in DTYPES for one in info.sample_inputs("cpu", dtype))
    found = (sample for one in drawn for sample in _TRANSLATED[operator](one))
    return [sample for sample in found if _is_legal(sample)]


def _is_legal(sample: Sample) -> bool:
    """Return whether the protocol has such a call: PyTorch takes windows without a pixel."""
    try:
        forward(right, sample)
    except ValueError:
        return False
    return True


def _both(value: Any) -> tuple[int, int]:
    sides = tuple(value) if isinstance(value, tuple | list) else (value,)
    return sides if len(sides) == 2 else sides * 2


def _image(x: Any) -> Any:
    return (x if x.ndim == 4 else x[None]).numpy()


def _convolution(one: Any, *, operator: str) -> Iterator[Sample]:
    weight, bias = one.args
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **one.kwargs}
    stride, dilation = _both(given["stride"]), _both(given["dilation"])
    taps = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if given["padding"] == "same" and any(around % 2 for around in taps):
        return  # one side would be padded more than the other
    named = {"valid": (0, 0), "same": tuple(around // 2 for around in taps)}
    padding = named.get(given["padding"]) if isinstance(given["padding"], str) else None
    options = {
        "stride": stride, "padding": padding or _both(given["padding"]), "dilation": dilation,
        "groups": given["groups"],
    }  # fmt: skip
    if operator == "conv_transpose2d":
        options["output_padding"] = _both(given.get("output_padding", 0))
    arrays = {
        "x": _image(one.input), "weight": weight.numpy(),
        "bias": None if bias is None else bias.numpy(),
    }  # fmt: skip
    yield Sample(operator, arrays, options)


def _max_pooling(one: Any) -> Iterator[Sample]:
    given = dict(one.kwargs)
    if not given.pop("return_indices"):
        return  # the same options come with indices too
    given["stride"] = given["stride"] or given["kernel_size"]
    sides = {n: _both(given[n]) for n in ("kernel_size", "stride", "padding", "dilation")}
    yield Sample("max_pool2d", {"x": _image(one.input)}, given | sides)


def _average_pooling(one: Any) -> Iterator[Sample]:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    given = dict(zip(names, one.args, strict=False))
    given = {"stride": (), "padding": 0, "ceil_mode": False, "count_include_pad": True} | given
    given["stride"] = given["stride"] or given["kernel_size"]
    sides = {n: _both(given[n]) for n in ("kernel_size", "stride", "padding")}
    yield Sample("avg_pool2d", {"x": _image(one.input)}, given | sides)


def _activation(one: Any, *, operator: str) -> Iterator[Sample]:
    slope = {"negative_slope": one.kwargs.get("negative_slope", 0.01)}
    options = slope if operator == "leaky_relu" else {}
    yield Sample(operator, {"z": one.input.numpy()}, options)


def _softmax(one: Any) -> Iterator[Sample]:
    (axis,) = one.args
    if one.input.ndim:
        yield Sample("softmax", {"z": one.input.numpy()}, {"axis": axis})


def _linear(one: Any) -> Iterator[Sample]:
    weight, *bias = (array.numpy() for array in one.args)
    x = one.input.reshape(-1, one.input.shape[-1]).numpy()
    yield Sample("linear", {"x": x, "weight": weight, "bias": bias[0] if bias else None}, {})


def _loss(one: Any) -> Iterator[Sample]:
    (target,) = one.args
    options = {"reduction": "mean", **one.kwargs}
    if (
        {*options} == {"reduction"}
        and options["reduction"] != "none"
        and not target.dtype.is_floating_point
    ):
        logits = one.input.movedim(1, -1).reshape(-1, one.input.shape[1]).numpy()
        arrays = {"logits": logits, "target": target.reshape(-1).numpy()}
        yield Sample("cross_entropy", arrays, options)


_TRANSLATED = {
    **{n: partial(_convolution, operator=n) for n in ("conv2d", "conv_transpose2d")},
    **{n: partial(_activation, operator=n) for n in ("relu", "leaky_relu", "sigmoid", "tanh")},
    "max_pool2d": _max_pooling, "avg_pool2d": _average_pooling, "softmax": _softmax,
    "linear": _linear, "cross_entropy": _loss,
}  # fmt: skip
