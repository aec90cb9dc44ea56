"""What a backend is: the protocol, its contract, and the meaning of every argument.

A backend is any module or object with some of these functions, under these names.  It needs no
base class and imports nothing of ours.  Arrays are NCHW; every pair is (height, width).

    conv2d(x, weight, bias=None, *, stride, padding, dilation, groups) -> y
    conv2d_grad_input(grad_output, weight, *, input_shape, stride, padding, dilation, groups) -> dx
    conv2d_grad_weight(grad_output, x, *, weight_shape, stride, padding, dilation, groups) -> dw
    conv2d_grad_bias(grad_output) -> db

`x` is [N, C, H, W], `weight` [M, C/groups, KH, KW], `bias` [M] or None, `grad_output` dE/dy of y's
shape [N, M, OH, OW] with OH = (H + 2*PH - DH*(KH-1) - 1) // SH + 1.  Each function is called with
its arrays by position and its options by name.

What every backend promises:

- the result is a new array of the documented shape, in the dtype of the inputs, and the inputs
  are as they were;
- gradients are summed over the batch, never averaged; pixels that no window reaches get 0;
- padding adds no term; an empty batch is legal and gives an empty result and zero dw and db;
- illegal arguments (a kernel larger than the padded image, groups that do not divide, a stride
  or dilation of 0, negative padding, shapes that do not fit each other) raise an exception, at
  the latest when the result is read;
- what it cannot do raises NotImplementedError: it is counted as declined, never as passed.

A backend with arrays of its own adds `from_numpy(array)` and `to_numpy(array)`, which reads results
and what `from_numpy` made; without them it is given NumPy arrays and may return NumPy arrays
(exactly `numpy.ndarray`: a subclass can overload what it is compared by) or anything that speaks
DLPack.

`contract`, an optional dict, says what the backend claims:

    contract = {
        "functions": ["conv2d", "conv2d_grad_input"],   # default: every function it has
        "dtypes": ["float32"],                          # default: float32 and float64
        "accumulators": {"float32": "float64"},         # default: the dtype itself
    }

What is not claimed is printed as not claimed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oracle.rounding import FORMATS

DTYPES = ("float32", "float64")
KEYS = ("functions", "dtypes", "accumulators")


@dataclass(frozen=True)
class Contract:
    """What a backend claims; the defaults are what it claims by saying nothing."""

    functions: tuple[str, ...] | None = None  # None: every function of the protocol that it has
    dtypes: tuple[str, ...] = DTYPES
    accumulators: Mapping[str, str] = field(default_factory=dict)

    def accumulator(self, dtype: str) -> str:
        """Return the format that sums of `dtype` products are held in."""
        return self.accumulators.get(dtype, dtype)


def read_contract(value: object, known_functions: Sequence[str]) -> Contract:
    """Return the contract that a backend's `contract` attribute states.

    Raises:
        ValueError: a key, function, dtype or accumulator that the protocol does not have.
    """
    if value is None:
        return Contract()
    if not isinstance(value, Mapping):
        raise ValueError(f"contract must be a dict with keys among {[*KEYS]}, got {value!r}")
    for key in value:
        _require("contract key", key, KEYS)
    functions = value.get("functions")
    if isinstance(functions, str):
        raise ValueError(f"contract's functions must be a list of names, got {functions!r}")
    if functions is not None:
        functions = tuple(_require("function", f, known_functions) for f in functions)
    dtypes = tuple(_require("dtype", d, DTYPES) for d in _given(value, "dtypes", DTYPES))
    if not dtypes:
        raise ValueError(f"contract claims no dtype; pick from {[*DTYPES]}")
    accumulators = dict(_given(value, "accumulators", {}))
    for dtype, accumulator in accumulators.items():
        _require("dtype", dtype, DTYPES)
        _require(f"accumulator of {dtype}", accumulator, tuple(FORMATS))
    return Contract(functions, dtypes, accumulators)


def _given(contract: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return what a contract says of `key`; None and an absent key both say nothing."""
    value = contract.get(key)
    return default if value is None else value


def _require(what: str, value: object, legal: Sequence[str]) -> str:
    if value not in legal:
        raise ValueError(f"{what} {value!r} is unknown; pick from {[*legal]}")
    return str(value)
