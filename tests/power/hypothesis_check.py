"""A plain Hypothesis test, as a good engineer writes it in an afternoon.

Uniform small shapes and options, legal by construction; standard normal numbers from a drawn seed,
which gives many times the examples a second of `hypothesis.extra.numpy.arrays`; shape, dtype and
`numpy.testing.assert_allclose` beside PyTorch's forward pass and autograd, in float32 and float64;
200 examples, twice the default of Hypothesis.  Nothing is made smaller: it is the verdict that is
timed.
"""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded

from tests.power import derived
from tests.power.layers import ACTIVATIONS, CONVOLUTIONS, Sample, normals, pairs

EXAMPLES = 200
TOLERANCES = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-9, "atol": 1e-12}}
Draw = Callable[[st.SearchStrategy[Any]], Any]


def judge(backend: Any, operator: str, seed: int) -> None:
    """Raise what the first example that fails raises."""

    @seeded(seed)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet, print_blob=False,
    )  # fmt: skip
    @given(samples(operator), seeds)
    def agrees_with_pytorch(sample: Sample, dy: int) -> None:
        for function, got, want in pairs(backend, sample, dy, backward=True):
            assert got.shape == want.shape, f"{function}: shape {got.shape}, want {want.shape}"
            assert got.dtype == want.dtype, f"{function}: {got.dtype}, want {want.dtype}"
            tolerance = TOLERANCES.get(want.dtype.name, {"rtol": 0, "atol": 0})
            np.testing.assert_allclose(got, want, **tolerance)

    agrees_with_pytorch()


seeds = st.integers(0, 2**32 - 1)


def integers(draw: Draw, smallest: int, largest: int) -> int:
    return int(draw(st.integers(smallest, largest)))


def pair(draw: Draw, smallest: int, largest: int) -> tuple[int, int]:
    return integers(draw, smallest, largest), integers(draw, smallest, largest)


@st.composite
def samples(draw: Draw, operator: str) -> Sample:
    """Return any small call of an operator."""
    kinds = {**dict.fromkeys(ACTIVATIONS, _activation), **dict.fromkeys(CONVOLUTIONS, _convolution)}
    kinds |= dict.fromkeys(("max_pool2d", "avg_pool2d"), _pooling)
    kinds |= dict.fromkeys(derived.OF_ANY_SHAPE, _activation)
    kinds |= dict.fromkeys(derived.OF_AXES, _of_axes)
    shapes, options = kinds.get(operator, _dense)(draw, operator)
    dtype = draw(st.sampled_from(("float32", "float64")))
    return normals(operator, draw(seeds), shapes, dtype, **options)


def _convolution(draw: Draw, operator: str) -> Any:
    kernel, stride, dilation = pair(draw, 1, 4), pair(draw, 1, 3), pair(draw, 1, 3)
    groups, depth, filters = integers(draw, 1, 3), integers(draw, 1, 4), integers(draw, 1, 4)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    images, channels = integers(draw, 1, 4), groups * depth
    has_bias = draw(st.booleans())
    if operator == "conv2d":
        padding = pair(draw, 0, 3)
        sides = [max(1, s - 2 * p) for s, p in zip(spans, padding, strict=True)]
        sides = [side + integers(draw, 0, 7) for side in sides]
        weight, bias = (groups * filters, depth, *kernel), (groups * filters,)
    else:
        sides = pair(draw, 1, 6)
        whole = [(n - 1) * s + span for n, s, span in zip(sides, stride, spans, strict=True)]
        padding = tuple(integers(draw, 0, min(3, (n - 1) // 2)) for n in whole)
        output_padding = tuple(
            integers(draw, 0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)
        )
        options["output_padding"] = output_padding
        weight, bias = (channels, filters, *kernel), (groups * filters,)
    shapes = {
        "x": (images, channels, *sides), "weight": weight, "bias": bias if has_bias else None,
    }  # fmt: skip
    return shapes, {**options, "padding": padding}


def _pooling(draw: Draw, operator: str) -> Any:
    kernel, stride = pair(draw, 1, 4), pair(draw, 1, 4)
    dilation = pair(draw, 1, 2) if operator == "max_pool2d" else (1, 1)
    padding = tuple(integers(draw, 0, k // 2) for k in kernel)
    # As large as a dilated kernel, so that no window lies in the padding altogether.
    sides = [d * (k - 1) + 1 + integers(draw, 0, 8) for d, k in zip(dilation, kernel, strict=True)]
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    options["ceil_mode"] = draw(st.booleans())
    if operator == "max_pool2d":
        options["dilation"] = dilation
    else:
        options["count_include_pad"] = draw(st.booleans())
    return {"x": (integers(draw, 1, 4), integers(draw, 1, 4), *sides)}, options


def _activation(draw: Draw, operator: str) -> Any:
    shape = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4).map(tuple))
    if operator in ("softmax", "log_softmax"):
        return {"z": shape}, {"axis": integers(draw, -len(shape), len(shape) - 1)}
    if operator == "leaky_relu":
        return {"z": shape}, {"negative_slope": draw(st.sampled_from((0.01, 0.1, 0.2, 0.5)))}
    return {"z": shape}, draw(st.sampled_from(derived.options(operator))) if (
        operator in derived.RECORDS
    ) else {}


def _of_axes(draw: Draw, operator: str) -> Any:
    options = draw(st.sampled_from(derived.options(operator)))
    # Normalised are 4 numbers at least: of 2 that nearly agree, rounding leaves a few digits.
    least = {"h": 2, "w": 2, "c": 4} if operator in derived.OF_MEANS else {}
    sides = {letter: integers(draw, least.get(letter, 1), 8) for letter in "nthwc"}
    sides["c"] *= options.get("num_groups", 1)
    sides["k"] = 2 * integers(draw, 1, 8)
    return derived.shapes(operator, sides, optional=draw(st.booleans())), options


def _dense(draw: Draw, operator: str) -> Any:
    rows, inputs, outputs = (integers(draw, 1, 8) for _ in range(3))
    if operator == "linear":
        bias = (outputs,) if draw(st.booleans()) else None
        return {"x": (rows, inputs), "weight": (outputs, inputs), "bias": bias}, {}
    if operator == "cross_entropy":
        return {"logits": (rows, outputs)}, {"reduction": draw(st.sampled_from(("mean", "sum")))}
    if operator == "batch_mean":
        return {"gradient_per_image": (rows, inputs, outputs)}, {}
    rate = draw(st.sampled_from((0.001, 0.01, 0.1, 1.0)))
    return {"parameter": (rows, inputs), "gradient": (rows, inputs)}, {"learning_rate": rate}
