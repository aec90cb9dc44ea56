"""The floating-point formats the suite checks: IEEE 754's, and bfloat16 beside its float16."""

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

import numpy as np

DType: TypeAlias = np.dtype[Any]

NO_BFLOAT16 = "ml_dtypes is not installed: pip install 'gradoracle[bfloat16]'"


class Format(NamedTuple):
    """A binary format: significant bits and the exponents of its smallest and largest numbers."""

    bits: int  # of the significand; the unit roundoff is 2**-bits
    largest_exponent: int  # every number is below 2**(largest_exponent + 1)
    smallest_exponent: int  # of the smallest normal number
    subnormal_scale: int  # the smallest subnormal number is 2**-subnormal_scale

    @property
    def overflow(self) -> int:
        """The smallest number that is rounded to infinity: half a unit above the largest.

        2**(e + 1) - 2**(e - bits), e the largest exponent (IEEE 754-2019, section 4.3.1).
        """
        return (1 << self.largest_exponent + 1) - (1 << self.largest_exponent - self.bits)


# bfloat16 is float32 without the last 16 bits of its significand.
FORMATS = {
    "float16": Format(11, 15, -14, 24),
    "bfloat16": Format(8, 127, -126, 133),
    "float32": Format(24, 127, -126, 149),
    "float64": Format(53, 1023, -1022, 1074),
}
HALVES = ("float16", "bfloat16")


@cache
def dtype_of(name: str) -> DType:
    """Return NumPy's dtype of a format.

    Raises:
        ImportError: it is bfloat16, which NumPy has from ml_dtypes only.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        dtype: DType = np.dtype(import_module("ml_dtypes").bfloat16)
    except ImportError as error:
        raise ImportError(NO_BFLOAT16) from error
    return dtype


@cache
def name_of(dtype: DType) -> str:
    """Return NumPy's name of a dtype, which NumPy makes anew whenever it is asked."""
    return str(dtype.name)


@cache
def flushed(name: str) -> float:
    """Return what a result may lose when it is rounded to a format and is too small for it.

    A result below the smallest normal number may become 0, but conversions to float16 do not flush
    (OpenCL C 3.0, "The half Data Type"): there it is less than a step.
    """
    limits = FORMATS[name]
    exponent = -limits.subnormal_scale if name == "float16" else limits.smallest_exponent
    return 2.0**exponent


def is_real(dtype: DType) -> bool:
    """Return whether a dtype holds floating-point numbers; NumPy calls bfloat16 a kind of void."""
    return dtype.kind == "f" or (dtype.kind == "V" and name_of(dtype) == "bfloat16")


def widened(array: np.ndarray[Any, DType]) -> np.ndarray[Any, DType]:
    """Return a half-precision array in float32, which holds all its numbers; any other as it is.

    Loops run compiled there, and NumPy knows every function of it.
    """
    is_half = array.itemsize == 2 and name_of(array.dtype) in HALVES
    return array.astype(np.float32) if is_half else array
