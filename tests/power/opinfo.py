"""PyTorch's own samples of these operators: the OpInfo database that its test suite runs on.

`op_db` in torch/testing/_internal/common_methods_invocations.py ("OpInfo", by the docstring of
torch/testing/_internal/opinfo/core.py the samples that every operator is tested on).  Forward
pass and gradients are compared with PyTorch's, as test/test_ops.py compares with references: by
`torch.testing.assert_close` with its default tolerances, in float32 and float64.  What the protocol
says otherwise is translated: an image without a batch axis is given one, axes before a matrix are
flattened into one, "same" and "valid" are written as numbers, divisor_override and means of one
number are left out.
"""

import math
from collections.abc import Iterator
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from gradoracle.implementations import im2col as right
from tests.power import derived
from tests.power.derived import RECORDS
from tests.power.layers import Sample, forward, pairs, tensor

DTYPES = (torch.float32, torch.float64)
OF_CROSS_ENTROPY = ("cross_entropy_loss", "soft_target_cross_entropy")
NAMES = {
    "conv2d": "nn.functional.conv2d", "conv_transpose2d": "nn.functional.conv_transpose2d",
    "max_pool2d": "nn.functional.max_pool2d", "avg_pool2d": "nn.functional.avg_pool2d",
    "relu": "nn.functional.relu", "leaky_relu": "nn.functional.leaky_relu", "sigmoid": "sigmoid",
    "tanh": "tanh", "linear": "nn.functional.linear", "softmax": "softmax",
    "cross_entropy": "nn.functional.cross_entropy",
    **{name: f"nn.functional.{name}" for name in RECORDS if name != "batch_norm_update"},
    "log_softmax": "log_softmax",
    **dict.fromkeys(OF_CROSS_ENTROPY, "nn.functional.cross_entropy"),
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
    options = slope if operator == "leaky_relu" else _options(one, operator)
    yield Sample(operator, {"z": one.input.numpy()}, options)


def _options(one: Any, operator: str) -> dict[str, Any]:
    """Return the options of a derived operator, PyTorch's defaults where a sample has none."""
    usual = derived.DEFAULTS.get(operator, {})
    return {name: one.kwargs.get(name, value) for name, value in usual.items()}


def _softmax(one: Any, *, operator: str) -> Iterator[Sample]:
    (axis,) = one.args
    if one.input.ndim:
        yield Sample(operator, {"z": one.input.numpy()}, {"axis": axis})


def _array(given: Any) -> Any:
    return None if given is None else given.numpy()


def _rows(one: Any, *, operator: str) -> Iterator[Sample]:
    """Yield a normalisation of the last axes, which are made one, those before them two."""
    normalized, *arrays = one.args
    width = math.prod(normalized)
    if width == 1:
        return  # the normalised number is 0, or what rounding leaves of it
    names = ("weight", "bias") if operator == "layer_norm" else ("weight",)
    given = dict.fromkeys(names) | dict(zip(names, arrays, strict=False))
    given = {n: one.kwargs.get(n, array) for n, array in given.items()}
    yield Sample(
        operator,
        {
            "x": one.input.reshape(math.prod(one.input.shape) // max(1, width), 1, width).numpy(),
            **{n: None if a is None else a.reshape(width).numpy() for n, a in given.items()},
        },
        _options(one, operator),
    )  # fmt: skip


def _planes(x: Any) -> Any:
    """Return images [N, C, H, W] of any number of axes."""
    channels = x.shape[1] if x.ndim > 1 else 1
    return x.reshape(x.shape[0], channels, 1, math.prod(x.shape[2:])).numpy()


def _normalisation(one: Any, *, operator: str) -> Iterator[Sample]:
    given = dict(one.kwargs)
    if operator == "batch_norm":
        names = ("running_mean", "running_var", "weight", "bias")
        given |= dict(zip(names, one.args, strict=False))
        arrays = {n: _array(given.get(n)) for n in names}
        if arrays["running_mean"] is None:  # not read in training
            channels = one.input.shape[1]
            arrays |= {n: np.ones(channels, one.input.numpy().dtype) for n in names[:2]}
    else:
        arrays = {n: _array(given.get(n)) for n in ("weight", "bias")}
    if operator == "instance_norm" and not given.get("use_input_stats", True):
        return
    if math.prod(one.input.shape[2:]) == 1:
        return  # the normalised number is 0, or what rounding leaves of it
    options = _options(one, operator)
    if operator == "group_norm":
        options["num_groups"] = one.args[0]
    yield Sample(operator, {"x": _planes(one.input), **arrays}, options)


def _prelu(one: Any) -> Iterator[Sample]:
    weight = (*one.args, one.kwargs.get("weight"))[0].reshape(-1)
    if one.input.ndim > 1:
        x = _planes(one.input)
        yield Sample("prelu", {"x": x, "weight": weight.expand(x.shape[1]).numpy()}, {})


def _glu(one: Any) -> Iterator[Sample]:
    (axis,) = one.args
    if one.input.ndim > 1:
        z = one.input.movedim(axis, -1)
        yield Sample("glu", {"z": z.reshape(math.prod(z.shape[:-1]), z.shape[-1]).numpy()}, {})


def _loss_of_pairs(one: Any, *, operator: str) -> Iterator[Sample]:
    """Yield a loss of arrays of one shape, as rows; a weight per element is not the protocol's."""
    (target, *others) = one.args
    options = _options(one, operator)
    others += [v for n, v in one.kwargs.items() if n not in options and n != "pos_weight"]
    known = options["reduction"] in ("mean", "sum", "none")
    if not known or others or target.shape != one.input.shape or not one.input.ndim:
        return
    *rows, width = one.input.shape
    flat = (math.prod(rows), width)
    arrays = {"input": one.input.reshape(flat), "target": target.reshape(flat)}
    if operator == "binary_cross_entropy_with_logits":
        weight = one.kwargs.get("pos_weight")
        arrays["pos_weight"] = None if weight is None else weight.expand(width).contiguous()
    yield Sample(operator, {n: _array(a) for n, a in arrays.items()}, options)


def _nll(one: Any) -> Iterator[Sample]:
    (target,) = one.args
    options = _options(one, "nll_loss")
    if one.input.ndim > 1 and options["reduction"] in ("mean", "sum", "none"):
        last = one.input.movedim(1, -1)
        arrays = {
            "input": last.reshape(math.prod(last.shape[:-1]), last.shape[-1]).numpy(),
            "target": target.reshape(-1).numpy(), "weight": _array(one.kwargs.get("weight")),
        }  # fmt: skip
        yield Sample("nll_loss", arrays, options)


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


def _with_options(one: Any, *, operator: str) -> Iterator[Sample]:
    """Yield a cross-entropy with all of its options, of classes or of probabilities."""
    (target,) = one.args
    soft = operator == "soft_target_cross_entropy"
    options = _options(one, operator)
    if one.input.ndim < 2 or target.dtype.is_floating_point != soft:
        return
    rows = [a.movedim(1, -1).reshape(-1, a.shape[1]) for a in (one.input, target) if a.ndim > 1]
    arrays = {
        "input": rows[0], "target": rows[1] if soft else target.reshape(-1),
        "weight": one.kwargs.get("weight"),
    }  # fmt: skip
    yield Sample(operator, {n: _array(a) for n, a in arrays.items()}, options)


_TRANSLATED = {
    **{n: partial(_convolution, operator=n) for n in ("conv2d", "conv_transpose2d")},
    **{n: partial(_activation, operator=n) for n in ("relu", "leaky_relu", "sigmoid", "tanh")},
    **{n: partial(_activation, operator=n) for n in derived.OF_ANY_SHAPE},
    **{n: partial(_softmax, operator=n) for n in ("softmax", "log_softmax")},
    **{n: partial(_loss_of_pairs, operator=n) for n in derived.LOSSES},
    **{n: partial(_with_options, operator=n) for n in OF_CROSS_ENTROPY},
    **{n: partial(_normalisation, operator=n) for n in derived.NORMALISATIONS},
    **{n: partial(_rows, operator=n) for n in ("layer_norm", "rms_norm")},
    "max_pool2d": _max_pooling, "avg_pool2d": _average_pooling, "linear": _linear,
    "cross_entropy": _loss, "nll_loss": _nll, "glu": _glu, "prelu": _prelu,
}  # fmt: skip
