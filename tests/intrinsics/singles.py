"""Arithmetic, conversions and functions of float and double."""

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np

from tests.intrinsics.numbers import DOUBLE, FLOAT, WAYS, exactly, rounded
from tests.intrinsics.table import Row

INF, NAN = math.inf, math.nan
FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    -2.5,
    3.0,
    1 / 3,
    -0.1,
    1 + 2.0**-23,
    1 - 2.0**-24,
    2.0**24 + 2,
    2.0**-126,
    2.0**-149,
    -(2.0**-149),
    3.4028234663852886e38,
    -3.4028234663852886e38,
    1e-30,
    7e30,
    2.0**31,
    INF,
    -INF,
    NAN,
]
DOUBLES = [
    *FLOATS[:10],
    1 + 2.0**-52,
    1 - 2.0**-53,
    2.0**53,
    2.0**-1022,
    5e-324,
    -5e-324,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    1e-200,
    1e200,
    INF,
    -INF,
    NAN,
]
OF = {"float": (FLOATS, FLOAT, "f"), "double": (DOUBLES, DOUBLE, "d")}
NAMES = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def _pairs(values):
    return [*itertools.product(values, values)]


def _arithmetic():
    for kind, (values, form, letter) in OF.items():
        for name, way in itertools.product(NAMES, WAYS):
            yield Row(
                f"__{letter}{name}_{way}(a, b)",
                (kind, kind),
                kind,
                _pairs(values),
                lambda a, b, op=NAMES[name], form=form, way=way: rounded(
                    exactly(op, a, b), form, way
                ),
            )
        few = [*values[:8], *values[-6:]]
        for name in {"f": ("__fmaf_rn",), "d": ("__fma_rn",)}[letter]:
            yield Row(
                f"{name}(a, b, c)",
                (kind,) * 3,
                kind,
                [*itertools.product(few, few, few)],
                lambda a, b, c, form=form: rounded(exactly("fma", a, b, c), form),
            )
        one = [(v,) for v in values]
        for name in {"f": ("__frcp_rn",), "d": ("__drcp_rn",)}[letter]:
            yield Row(
                f"{name}(a)",
                (kind,),
                kind,
                one,
                lambda a, form=form: (
                    rounded(exactly("/", 1.0, a), form) if a else math.copysign(INF, a)
                ),
            )
        for name in {"f": ("__fsqrt_rn",), "d": ("__dsqrt_rn",)}[letter]:
            yield Row(f"{name}(a)", (kind,), kind, one, lambda a, form=form: _root(a, form))
    for name in ("fdividef", "__fdividef"):  # of divisors up to 2^126; CUDA's has 2 ulp
        values = [(a, b) for a, b in _pairs(FLOATS) if 2.0**-126 <= abs(b) <= 2.0**126]
        yield Row(
            f"{name}(a, b)",
            ("float", "float"),
            "float",
            values,
            lambda a, b: rounded(exactly("/", a, b), FLOAT),
            ulps=2,
            form=FLOAT,
        )


def _root(a, form):
    if not (a > 0 and math.isfinite(a)):
        return a if a >= 0 else NAN
    with mpmath.workprec(200):
        return rounded(_fraction(mpmath.sqrt(mpmath.mpf(a))), form)


def _fraction(x):
    """Return mpmath's number as a Fraction; what is beyond every format, as what is just beyond."""
    if not mpmath.isfinite(x):
        return float(x)
    sign, man, exp, bits = x._mpf_
    exp = max(min(exp, 5000 - bits), -5000 - bits)
    return (-1) ** sign * Fraction(man) * Fraction(2) ** exp


INTEGERS = {
    "int": (-(2**31), 2**31 - 1),
    "uint": (0, 2**32 - 1),
    "ll": (-(2**63), 2**63 - 1),
    "ull": (0, 2**64 - 1),
}
C = {"int": "int", "uint": "unsigned", "ll": "long long", "ull": "unsigned long long"}


def _to(value, way, low, high):
    return (
        min(max(WAYS[way](Fraction(value)), low), high)
        if math.isfinite(value)
        else high
        if value > 0
        else low
    )


def _conversions():
    """What is outside an integer's range is undefined in CUDA; here it is the nearest."""
    for (kind, (values, _, _)), to, way in itertools.product(OF.items(), INTEGERS, WAYS):
        more = [0.49999997, 2147483520.0, 2147483647.0, -2147483648.0, 4294967040.0, 9.2e18, 1.8e19]
        given = [(v,) for v in (*values, *more) if not math.isnan(v)]
        yield Row(
            f"__{kind}2{to}_{way}(a)",
            (kind,),
            C[to],
            given,
            lambda a, way=way, ends=INTEGERS[to]: _to(a, way, *ends),
        )
    for to, kind, form in itertools.product(INTEGERS, OF, [FLOAT, DOUBLE]):
        if OF[kind][1] is not form or (to, kind) == ("ull", "double"):
            continue
        low, high = INTEGERS[to]
        given = [
            (v,)
            for v in (low, high, 0, 1, 2**24 + 1, 2**24 + 3, high - 1, high // 3)
            if low <= v <= high
        ]
        yield Row(
            f"__{to}2{kind}_rn(a)",
            (C[to],),
            kind,
            given,
            lambda a, form=form: rounded(Fraction(a), form),
        )
    singles = [
        (v,)
        for v in (
            *DOUBLES,
            1 + 2.0**-24,
            1 + 3 * 2.0**-24,
            1e39,
            3.4028235677973366e38,
            1e-46,
            2.0**-150,
        )
    ]
    yield Row(
        "__double2float_rn(a)",
        ("double",),
        "float",
        singles,
        lambda a: rounded(Fraction(a) if math.isfinite(a) else a, FLOAT),
    )


def _mp(function, form):
    def want(*arguments):
        with mpmath.workprec(300):
            return rounded(_fraction(mpmath.mpf(function(*map(mpmath.mpf, arguments)))), form)

    return want


def _guarded(function, special):
    return lambda *a: (
        special(*a) if any(not math.isfinite(v) for v in a) or not any(a) else function(*a)
    )


SMALL = [
    0.1,
    -0.1,
    0.25,
    0.75,
    1.0,
    -1.5,
    2.0,
    3.25,
    -7.0,
    10.5,
    1e-20,
    -1e-20,
    2.0**22 + 0.5,
    1234567.0,
]
LENGTHS = [0.0, -0.0, 3.0, -4.0, 1e-30, 12.0, 1e15, INF, -INF, NAN]


def _length(*sides):
    return INF if any(map(math.isinf, sides)) else NAN if any(map(math.isnan, sides)) else 0.0


def _over(*sides):
    return 1 / _length(*sides) if _length(*sides) else INF


def _norm(*sides):
    return mpmath.sqrt(sum(side**2 for side in sides))


def _functions():
    """Bounds: CUDA C++ Programming Guide, "Mathematical Functions", maximum ULP error."""
    for end, form, kind in (("f", FLOAT, "float"), ("", DOUBLE, "double")):
        for name, of, ulps, special in (
            ("sinpi", mpmath.sinpi, 2, lambda a: a if not a else NAN),
            ("cospi", mpmath.cospi, 2, lambda a: NAN if a else 1.0),
            (
                "rcbrt",
                lambda x: mpmath.sign(x) / mpmath.cbrt(abs(x)),
                1,
                lambda a: 1 / a if a else math.copysign(INF, a),
            ),
            (
                "rsqrt",
                lambda x: 1 / mpmath.sqrt(x),
                2,
                lambda a: (0.0 if a == INF else NAN) if a else math.copysign(INF, a),
            ),
        ):
            values = [
                v
                for v in (*SMALL, 0.0, -0.0, INF, -INF, NAN)
                if name != "rsqrt" or v >= 0 or v != v
            ]
            yield Row(
                f"{name}{end}(a)",
                (kind,),
                kind,
                [(v,) for v in map(DTYPE[kind], values)],
                _guarded(_mp(of, form), special),
                ulps=ulps,
                form=form,
            )
        lengths = [*itertools.product(LENGTHS, LENGTHS)]
        yield Row(
            f"rhypot{end}(a, b)",
            (kind, kind),
            kind,
            lengths,
            _guarded(_mp(lambda *s: 1 / _norm(*s), form), _over),
            ulps=2,
            form=form,
        )
    three = [*itertools.product(LENGTHS, LENGTHS, LENGTHS)]
    for name, count, of, special, ulps in (
        ("norm3df", 3, _norm, _length, 3),
        ("rnorm3df", 3, lambda *s: 1 / _norm(*s), _over, 2),
        ("norm4df", 4, _norm, _length, 3),
    ):
        given = [v if count == 3 else (*v, v[0]) for v in three]
        yield Row(
            f"{name}({', '.join('abcd'[:count])})",
            ("float",) * count,
            "float",
            given,
            _guarded(_mp(of, FLOAT), special),
            ulps=ulps,
            form=FLOAT,
        )
    tails = [
        (np.float32(v).item(),) for v in (*SMALL[:10], -5.0, -12.5, 5.0, 9.99, 10.01, 30.0, 1e6)
    ]
    yield Row(
        "normcdff(a)", ("float",), "float", tails, _mp(mpmath.ncdf, FLOAT), ulps=5, form=FLOAT
    )
    yield Row(
        "erfcxf(a)",
        ("float",),
        "float",
        [v for v in tails if v[0] > -9],
        _mp(lambda x: mpmath.exp(x * x) * mpmath.erfc(x), FLOAT),
        ulps=4,
        form=FLOAT,
    )
    for name, other in (("max", max), ("min", min)):
        yield from (
            Row(
                f"{name}(a, b)",
                (kind, kind),
                kind,
                _pairs(values),
                lambda a, b, other=other: (
                    other((a, b), key=lambda v: (v, math.copysign(1, v)))
                    if a == a and b == b
                    else b
                    if a != a
                    else a
                ),
                signed_zeros=True,
            )
            for kind, (values, _, _) in OF.items()
        )
    yield Row(
        "__saturatef(a)",
        ("float",),
        "float",
        [(v,) for v in FLOATS],
        lambda a: min(max(a, 0.0), 1.0) if a == a else 0.0,
    )
    yield Row(
        "__frsqrt_rn(a)",
        ("float",),
        "float",
        [(v,) for v in FLOATS if v > 0],
        _guarded(_mp(lambda x: 1 / mpmath.sqrt(x), FLOAT), lambda a: 0.0),
    )


DTYPE = {"float": lambda v: np.float32(v).item(), "double": float}
ROWS = [*_arithmetic(), *_conversions(), *_functions()]
