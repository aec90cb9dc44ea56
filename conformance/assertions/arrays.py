"""Arrays of any library as NumPy's, and dtypes of any library by name."""

from contextlib import suppress
from typing import Any

import numpy as np

from gradoracle.oracle.float_formats import FORMATS, dtype_of
from gradoracle.oracle.shapes import Array

BFLOAT16 = "bfloat16"
FROM_DEVICE = ("get", "copy_to_host")  # methods of CuPy's and Numba's arrays


def as_numpy(name: str, value: Any) -> Array:
    """Return the elements of an array of any library, also on a GPU or with `requires_grad`.

    PyTorch's tensors are detached and copied to the CPU; its bfloat16 becomes that of ml_dtypes.

    Raises:
        TypeError: `value` is no array of numbers.
        ImportError: it is a tensor of bfloat16, and ml_dtypes is not installed.
    """
    try:
        array = np.asarray(_readable(value))
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != BFLOAT16:
        kind = type(value).__name__
        raise TypeError(f"{name} must be an array of numbers, got {kind} of {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _readable(value: Any) -> Any:
    """Return what NumPy reads: it knows no gradients, no memory of a GPU and no bfloat16."""
    if callable(getattr(value, "detach", None)):
        tensor = value.detach().cpu()
        if str(tensor.dtype) == f"torch.{BFLOAT16}":
            return tensor.float().numpy().astype(dtype_of(BFLOAT16))
        return tensor.numpy()
    if hasattr(value, "__cuda_array_interface__"):
        copy = next((getattr(value, name) for name in FROM_DEVICE if hasattr(value, name)), None)
        return value if copy is None else copy()
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    return value


def format_named(what: str, dtype: Any) -> str:
    """Return the name of a floating-point format, given by name or as any library's dtype.

    Raises:
        ValueError: it is none of the formats that are checked.
    """
    name = dtype_name(dtype)
    if name not in FORMATS:
        raise ValueError(f"{what} must be one of {[*FORMATS]}, got {dtype!r}")
    return name


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype of any library, such as torch.float32; a name is its own."""
    name = str(dtype).removeprefix("torch.")
    if name not in FORMATS and dtype is not None:
        with suppress(TypeError, ValueError):
            name = str(np.dtype(dtype).name)
    return name
