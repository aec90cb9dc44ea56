"""Functions of float that CUDA calls fast, and the vectors' constructors."""

import itertools
import math

import mpmath
import numpy as np

from tests.intrinsics.numbers import DOUBLE, FLOAT
from tests.intrinsics.singles import _mp
from tests.intrinsics.table import Row

_X = [(np.float32(v).item(),) for v in (0.1, 0.5, 0.75, 1.0, 1.5, 2.0, 3.25, 10.5, 1e-3, 20.0)]
_SIGNED = [*_X, *((-v,) for (v,) in _X)]
_POWERS = [(a, b) for (a,), (b,) in itertools.product(_X, _SIGNED) if abs(b * math.log(a)) < 80]
# Bounds of the functions that stand for them here: CUDA C++ Programming Guide, "Mathematical
# Functions", maximum ULP error of expf, logf, ... .
FAST = {
    "__expf(a)": (mpmath.exp, _SIGNED, 2),
    "__exp10f(a)": (lambda x: mpmath.power(10, x), _SIGNED, 2),
    "__logf(a)": (mpmath.log, _X, 1), "__log2f(a)": (lambda x: mpmath.log(x, 2), _X, 1),
    "__log10f(a)": (mpmath.log10, _X, 2), "__sinf(a)": (mpmath.sin, _SIGNED, 2),
    "__cosf(a)": (mpmath.cos, _SIGNED, 2), "__tanf(a)": (mpmath.tan, _SIGNED, 4),
    "__tanhf(a)": (mpmath.tanh, _SIGNED, 2),
    "({ float s, c; __sincosf(a, &s, &c); s; })": (mpmath.sin, _SIGNED, 2),
    "({ float s, c; __sincosf(a, &s, &c); c; })": (mpmath.cos, _SIGNED, 2),
    "({ float s, c; sincospif(a, &s, &c); s; })": (mpmath.sinpi, _SIGNED, 2),
    "({ float s, c; sincospif(a, &s, &c); c; })": (mpmath.cospi, _SIGNED, 2),
}  # fmt: skip
VECTORS = (
    "float", "double", "int", "uint", "short", "ushort", "char", "uchar", "longlong", "ulonglong",
)  # fmt: skip


def _vectors():
    names = "xyzw"
    values = [(1, 2, 3, 4), (9, 8, 7, 6)]
    for kind, size in itertools.product(VECTORS, (2, 3, 4)):
        arguments = ", ".join("abcd"[:size])
        for at in range(size):
            expression = f"(int)make_{kind}{size}({arguments}).{names[at]}"
            yield Row(expression, ("int",) * 4, "int", values, lambda *given, at=at: given[at])


ROWS = [
    *(Row(expression, ("float",), "float", values, _mp(of, FLOAT), ulps, FLOAT)
      for expression, (of, values, ulps) in FAST.items()),
    Row("__powf(a, b)", ("float", "float"), "float", _POWERS, _mp(mpmath.power, FLOAT), 4, FLOAT),
    Row("normcdf(a)", ("double",), "double", [(v,) for v in (0.0, 0.5, -0.5, 1.0, -2.0, 3.0)],
        _mp(mpmath.ncdf, DOUBLE), 5, DOUBLE),
    *_vectors(),
]  # fmt: skip
