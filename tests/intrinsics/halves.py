"""Functions of float16 and bfloat16, and of pairs of them."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import mpmath
import numpy as np

from tests.intrinsics.numbers import (
    BFLOAT16,
    HALF,
    WAYS,
    exactly,
    from_bits,
    rounded,
    to_bits,
)
from tests.intrinsics.singles import DOUBLES, FLOATS, NAN, _fraction, _to
from tests.intrinsics.table import Row

KINDS = {"half": ("__half", HALF), "bfloat16": ("__nv_bfloat16", BFLOAT16)}
# 0, 1, 1.5, the least and the largest, their neighbours, and some between; of both signs.
PATTERNS = {
    "half": (
        0,
        1,
        2,
        0x3FF,
        0x400,
        0x3555,
        0x3800,
        0x3C00,
        0x3C01,
        0x3E00,
        0x4200,
        0x5BFF,
        0x7BFE,
        0x7BFF,
        0x7C00,
        0x7E00,
    ),
    "bfloat16": (
        0,
        1,
        2,
        0x7F,
        0x80,
        0x3EAB,
        0x3F00,
        0x3F80,
        0x3F81,
        0x3FC0,
        0x4040,
        0x4B7F,
        0x7F7E,
        0x7F7F,
        0x7F80,
        0x7FC0,
    ),
}
FAR = {  # a product beside the middle of two numbers, and a sum that only tells to which side
    "half": (0x3E00, 0x3955, 0x0001),
    "bfloat16": (0x3FC0, 0x3F2B, 0x0001),
}


MADE = {"half": "__halves2half2", "bfloat16": "__halves2bfloat162"}
BOTH = {"half": "__half2half2", "bfloat16": "__bfloat162bfloat162"}


def _bits(name: str) -> list[int]:
    return [bits | sign for bits in PATTERNS[name] for sign in (0, 0x8000)]


def _ordered(a, b, pick, nan):
    if a != a or b != b:
        return NAN if nan or (a != a and b != b) else (b if a != a else a)
    return pick((a, b), key=lambda v: (v, math.copysign(1, v)))


def _saturated(value):
    return min(max(value, 0.0), 1.0) if value == value else 0.0


def _two(form):
    """Return what functions of two numbers are."""
    one = {
        "hadd": "+",
        "hsub": "-",
        "hmul": "*",
        "hdiv": "/",
        "hadd_rn": "+",
        "hmul_rn": "*",
    }
    found = {
        name: (lambda a, b, op=op: rounded(exactly(op, a, b), form)) for name, op in one.items()
    }
    found |= {
        "hadd_sat": lambda a, b: _saturated(rounded(exactly("+", a, b), form)),
        "hmul_sat": lambda a, b: _saturated(rounded(exactly("*", a, b), form)),
        "hmax": lambda a, b: _ordered(a, b, max, nan=False),
        "hmin": lambda a, b: _ordered(a, b, min, nan=False),
        "hmax_nan": lambda a, b: _ordered(a, b, max, nan=True),
        "hmin_nan": lambda a, b: _ordered(a, b, min, nan=True),
    }
    return found


COMPARED = {
    "heq": lambda a, b: a == b,
    "hne": lambda a, b: a < b or a > b,
    "hneu": lambda a, b: a != b,
    "hgt": lambda a, b: a > b,
    "hge": lambda a, b: a >= b,
    "hlt": lambda a, b: a < b,
    "hle": lambda a, b: a <= b,
}
OF_PAIRS = {
    "hadd2": "hadd",
    "hsub2": "hsub",
    "hmul2": "hmul",
    "h2div": "hdiv",
    "hadd2_rn": "hadd_rn",
    "hmul2_rn": "hmul_rn",
    "hadd2_sat": "hadd_sat",
    "hmax2": "hmax",
    "hmin2": "hmin",
    "hmax2_nan": "hmax_nan",
    "hmin2_nan": "hmin_nan",
}


def _of_two(name, kind, form) -> Iterator[Row]:
    pairs = [*itertools.product(_bits(name), _bits(name))]
    two = _two(form)
    for function, want in two.items():
        yield Row(
            f"__{function}(a, b)",
            (kind, kind),
            kind,
            pairs,
            want,
            signed_zeros="max" in function or "min" in function,
        )
    for function, want in COMPARED.items():
        yield Row(f"__{function}(a, b)", (kind, kind), "bool", pairs, want)
    for function, of in OF_PAIRS.items():
        for part in ("low", "high"):
            each = f"make_{name}2(a, b)", f"make_{name}2(b, a)"
            yield Row(
                f"__{part}2{name}(__{function}({each[0]}, {each[1]}))",
                (kind, kind),
                kind,
                pairs,
                two[of] if part == "low" else lambda a, b, of=of: two[of](b, a),
            )
    for function in ("heq2", "hgt2", "hlt2"):
        want = COMPARED[function[:-1]]
        pair = f"__{function}(__halves2{name}2(a, b), __halves2{name}2(b, a))"
        for part in ("low", "high"):
            yield Row(
                f"__{part}2{name}({pair})",
                (kind, kind),
                kind,
                pairs,
                lambda a, b, w=want, low=part == "low": float(w(a, b) if low else w(b, a)),
            )
        yield Row(
            f"__hb{function[1:]}(__halves2{name}2(a, b), __halves2{name}2(b, a))",
            (kind, kind),
            "bool",
            pairs,
            lambda a, b, w=want: w(a, b) and w(b, a),
        )


def _of_three(name, kind, form) -> Iterator[Row]:
    few = _bits(name)[::3]
    rng = np.random.default_rng(1)
    drawn = [tuple(int(v) for v in row) for row in rng.integers(0, 1 << 16, (500, 3))]
    far = [FAR[name], (*FAR[name][:2], FAR[name][2] | 0x8000)]
    triples = [*itertools.product(few, few, few), *drawn, *far]

    def fused(a, b, c):
        return rounded(exactly("fma", a, b, c), form)

    def positive(a, b, c):
        return fused(a, b, c) if not fused(a, b, c) < 0 else 0.0

    for end, want in (("", fused), ("_relu", positive)):
        yield Row(f"__hfma{end}(a, b, c)", (kind,) * 3, kind, triples, want)
        pairs = ", ".join(_pair(name, v) for v in "abc")
        for part in ("low", "high"):
            yield Row(f"__{part}2{name}(__hfma2{end}({pairs}))", (kind,) * 3, kind, triples, want)


def _mp(function, form):
    def want(a):
        with mpmath.workprec(300):
            try:
                value = function(mpmath.mpf(a))
            except (ValueError, ZeroDivisionError):
                return NAN
            return NAN if isinstance(value, mpmath.mpc) else rounded(_fraction(value), form)

    return want


def _whole(way):
    return lambda a: float(WAYS[way](Fraction(a))) if math.isfinite(a) else a


SMOOTH = {
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "sqrt": mpmath.sqrt,
    "rsqrt": lambda x: 1 / mpmath.sqrt(x),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tanh": mpmath.tanh,
    "rcp": lambda x: 1 / x,
}
WHOLE = {"floor": "rd", "ceil": "ru", "trunc": "rz", "rint": "rn"}


def _of_one(name, kind, form) -> Iterator[Row]:
    numbers = [
        (b,) for b in _bits(name) if math.isfinite(from_bits(b, form)) and from_bits(b, form)
    ]
    everything = [(b,) for b in _bits(name)]
    rows = {f"h{f}": (_mp(of, form), numbers) for f, of in SMOOTH.items()}
    rows |= {f"h{f}": (_whole(way), everything) for f, way in WHOLE.items()}
    rows |= {"__hneg": (lambda a: -a, everything), "__habs": (abs, everything)}
    positive = ("hlog", "hlog2", "hlog10", "hsqrt", "hrsqrt")
    for function, (want, given) in rows.items():
        values = [v for v in given if function not in positive or not v[0] & 0x8000]
        signed = function.startswith("__")
        yield Row(f"{function}(a)", (kind,), kind, values, want, signed_zeros=signed)
        two = f"{function}2" if signed else f"h2{function[1:]}"
        yield Row(f"__high2{name}({two}({_pair(name, 'a')}))", (kind,), kind, values, want)
    yield Row("__hisnan(a)", (kind,), "bool", everything, lambda a: a != a)
    yield Row(
        "__hisinf(a)",
        (kind,),
        "int",
        everything,
        lambda a: 0 if not math.isinf(a) else 1 if a > 0 else -1,
    )


def _pair(name, of):
    return f"{BOTH[name]}({of})"


def _conversions(name, kind, form) -> Iterator[Row]:
    numbers = [(b,) for b in _bits(name) if from_bits(b, form) == from_bits(b, form)]
    everything = [(b,) for b in _bits(name)]
    yield Row(f"__{name}2float(a)", (kind,), "float", everything, lambda a: a)
    for way in WAYS:
        yield Row(
            f"__{name}2int_{way}(a)",
            (kind,),
            "int",
            numbers,
            lambda a, way=way: _to(a, way, -(2**31), 2**31 - 1),
        )
    yield Row(
        f"__{name}2uint_rn(a)", (kind,), "unsigned", numbers, lambda a: _to(a, "rn", 0, 2**32 - 1)
    )
    middles = [(from_bits(b, form) + from_bits(b + 1, form)) / 2 for b in PATTERNS[name][:-3]]
    floats = [(np.float32(v).item(),) for v in (*FLOATS, *middles)]
    for function in (f"__float2{name}", f"__float2{name}_rn"):
        yield Row(f"{function}(a)", ("float",), kind, floats, lambda a: _narrowed(a, form))
    doubles = [(v,) for v in (*DOUBLES, *middles, *(np.nextafter(m, 9) for m in middles))]
    yield Row(f"__double2{name}(a)", ("double",), kind, doubles, lambda a: _narrowed(a, form))
    for of, c, low, high in (
        ("int", "int", -(2**31), 2**31 - 1),
        ("uint", "unsigned", 0, 2**32 - 1),
        ("short", "short", -(2**15), 2**15 - 1),
        ("ushort", "unsigned short", 0, 2**16 - 1),
    ):
        values = [
            (v,) for v in (0, 1, 257, 2049, 2051, low, high, high - 1, 65519) if low <= v <= high
        ]
        yield Row(f"__{of}2{name}_rn(a)", (c,), kind, values, lambda a: rounded(Fraction(a), form))
    for c, of in (("short", "short"), ("unsigned short", "ushort")):
        signed = (lambda b: b - (b >> 15 << 16)) if of == "short" else (lambda b: b)
        bits = [(signed(b),) for (b,) in numbers]
        yield Row(
            f"__{of}_as_{name}(a)",
            (c,),
            kind,
            bits,
            lambda a: from_bits(a & 0xFFFF, form),
            signed_zeros=True,
        )
        yield Row(
            f"__{name}_as_{of}(a)", (kind,), c, numbers, lambda a, s=signed: s(to_bits(a, form))
        )


def _narrowed(value, form):
    return rounded(Fraction(value) if math.isfinite(value) else value, form)


def _pairs(name, kind, form) -> Iterator[Row]:
    values = [*itertools.product(_bits(name)[:-2], _bits(name)[-9:-2])]
    pair = f"make_{name}2(a, b)"
    other = f"make_{name}2(b, a)"
    made = {
        pair: "ab",
        f"{MADE[name]}(a, b)": "ab",
        f"__lowhigh2highlow({pair})": "ba",
        f"__low2{name}2({pair})": "aa",
        f"__high2{name}2({pair})": "bb",
        f"{_pair(name, 'b')}": "bb",
        f"__lows2{name}2({pair}, {_pair(name, 'b')})": "ab",
        f"__highs2{name}2({pair}, {other})": "ba",
    }
    for expression, (low, high) in made.items():
        for part, which in (("low", low), ("high", high)):
            want = (lambda a, b: a) if which == "a" else (lambda a, b: b)
            yield Row(
                f"__{part}2{name}({expression})",
                (kind, kind),
                kind,
                values,
                want,
                signed_zeros=True,
            )
            yield Row(
                f"__{part}2float({expression})",
                (kind, kind),
                "float",
                values,
                want,
                signed_zeros=True,
            )
    floats = [(a, b) for a in FLOATS[:-1] for b in FLOATS[:-1]]
    for expression, high in (
        (f"__floats2{name}2_rn(a, b)", "b"),
        (f"__float22{name}2_rn(make_float2(a, b))", "b"),
        (f"__float2{name}2_rn(a)", "a"),
    ):
        for part, which in (("x", "a"), ("y", high)):
            want = (
                (lambda a, b: _narrowed(a, form))
                if which == "a"
                else (lambda a, b: _narrowed(b, form))
            )
            yield Row(f"({expression}).{part}", ("float", "float"), kind, floats, want)
            yield Row(
                f"__{name}22float2({expression}).{part}", ("float", "float"), "float", floats, want
            )


ROWS = [
    row
    for name, (kind, form) in KINDS.items()
    for made in (_of_one, _of_two, _of_three, _conversions, _pairs)
    for row in made(name, kind, form)
]
