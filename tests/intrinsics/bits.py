"""Functions of bits and integers, of memory, and of the lanes of a warp."""

import itertools
import math
import struct

from tests.intrinsics.table import Row

WORDS = [0, 1, 2, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF00FF00, 0x12345678, 0x800000, 0x7FFFFF]
LONGS = [*WORDS, 1 << 63, (1 << 63) - 1, (1 << 64) - 1, 0x123456789ABCDEF0, 1 << 32]
PAIRS = [*itertools.product(WORDS, WORDS)]
MASK, WIDE = 2**32 - 1, 2**64 - 1


def _signed(n, bits=32):
    return (n & (1 << bits) - 1) - ((n >> bits - 1 & 1) << bits)


def _as_int(values):
    return [tuple(_signed(v) for v in row) for row in values]


def _low24(n):
    return _signed(n, 24)


def _bytes(n, signed):
    return [_signed(n >> 8 * i & 255, 8) if signed else n >> 8 * i & 255 for i in range(4)]


def _dot(a, b, c, signed):
    total = c + sum(x * y for x, y in zip(_bytes(a, signed), _bytes(b, signed), strict=True))
    return _signed(total) if signed else total & MASK


def _first(n):
    return (n & -n).bit_length()


def _permuted(a, b, s):
    both = (b << 32 | a).to_bytes(8, "little")
    return int.from_bytes(bytes(both[s >> 4 * i & 7] for i in range(4)), "little")


def _unpacked(form, raw, bits):
    return struct.unpack(form, struct.pack(bits, raw))[0]


U, UU, N, NN = "unsigned", "unsigned long long", "int", "long long"
_ONE, _LONG = [(v,) for v in WORDS], [(v,) for v in LONGS]
_SIGNED_LONG = [(_signed(v, 64),) for v in LONGS]
_THREE = [(a, b, s) for a, b in PAIRS for s in (0, 1, 7, 31, 32, 0x3210, 0x7654, 0x6240)]
_NUMBERS = [
    (struct.unpack("f", struct.pack("I", v))[0],) for v in (0, 1 << 31, 0x3F800001, 1, 0x7F800000)
]
_DOUBLES = [(v,) for v in (0.0, -0.0, 1.5, -1e300, 5e-324, math.inf)]

ROWS = [
    Row("__popc(a)", (U,), N, _ONE, int.bit_count),
    Row("__popcll(a)", (UU,), N, _LONG, int.bit_count),
    Row("__clz(a)", (N,), N, _as_int(_ONE), lambda a: 32 - (a & MASK).bit_length()),
    Row("__clzll(a)", (NN,), N, _SIGNED_LONG, lambda a: 64 - (a & WIDE).bit_length()),
    Row("__ffs(a)", (N,), N, _as_int(_ONE), lambda a: _first(a & MASK)),
    Row("__ffsll(a)", (NN,), N, _SIGNED_LONG, lambda a: _first(a & WIDE)),
    Row("__brev(a)", (U,), U, _ONE, lambda a: int(f"{a:032b}"[::-1], 2)),
    Row("__brevll(a)", (UU,), UU, _LONG, lambda a: int(f"{a:064b}"[::-1], 2)),
    Row("__mul24(a, b)", (N, N), N, _as_int(PAIRS), lambda a, b: _signed(_low24(a) * _low24(b))),
    Row("__umul24(a, b)", (U, U), U, PAIRS, lambda a, b: (a % 2**24) * (b % 2**24) & MASK),
    Row("__mulhi(a, b)", (N, N), N, _as_int(PAIRS), lambda a, b: a * b >> 32),
    Row("__umulhi(a, b)", (U, U), U, PAIRS, lambda a, b: a * b >> 32),
    Row(
        "__umul64hi(a, b)",
        (UU, UU),
        UU,
        [*itertools.product(LONGS, LONGS)],
        lambda a, b: a * b >> 64,
    ),
    Row(
        "__mul64hi(a, b)",
        (NN, NN),
        NN,
        [(_signed(a, 64), _signed(b, 64)) for a in LONGS for b in LONGS],
        lambda a, b: a * b >> 64,
    ),
    Row("__hadd(a, b)", (N, N), N, _as_int(PAIRS), lambda a, b: a + b >> 1),
    Row("__rhadd(a, b)", (N, N), N, _as_int(PAIRS), lambda a, b: a + b + 1 >> 1),
    Row(
        "__sad(a, b, c)",
        (N, N, U),
        U,
        [(*_as_int([p])[0], c) for p in PAIRS for c in (0, 9, MASK)],
        lambda a, b, c: abs(a - b) + c & MASK,
    ),
    Row(
        "(double)__sad(a, b, 0u)",
        (N, N),
        "double",
        [(-(2**31), 2**31 - 1)],
        lambda a, b: float(b - a),
    ),
    Row(
        "__dp4a(a, b, c)",
        (N, N, N),
        N,
        [(*_as_int([p])[0], c) for p in PAIRS for c in (0, -1, 2**31 - 1)],
        lambda a, b, c: _dot(a, b, c, signed=True),
    ),
    Row(
        "__dp4a(a, b, c)",
        (U, U, U),
        U,
        [(*p, c) for p in PAIRS for c in (0, 5, MASK)],
        lambda a, b, c: _dot(a, b, c, signed=False),
    ),
    Row("__byte_perm(a, b, c)", (U, U, U), U, _THREE, _permuted),
    Row(
        "__funnelshift_l(a, b, c)",
        (U, U, U),
        U,
        _THREE,
        lambda a, b, s: (b << 32 | a) << s % 32 >> 32 & MASK,
    ),
    Row(
        "__funnelshift_r(a, b, c)",
        (U, U, U),
        U,
        _THREE,
        lambda a, b, s: (b << 32 | a) >> s % 32 & MASK,
    ),
    Row("__float_as_int(a)", ("float",), N, _NUMBERS, lambda a: _unpacked("i", a, "f")),
    Row("__float_as_uint(a)", ("float",), U, _NUMBERS, lambda a: _unpacked("I", a, "f")),
    Row(
        "__int_as_float(a)",
        (N,),
        "float",
        [(1,), (-(2**31),), (0x3F800001,)],
        lambda a: _unpacked("f", a, "i"),
        signed_zeros=True,
    ),
    Row(
        "__uint_as_float(a)",
        (U,),
        "float",
        [(1,), (2**31,), (0x3F800001,)],
        lambda a: _unpacked("f", a, "I"),
        signed_zeros=True,
    ),
    Row("__double_as_longlong(a)", ("double",), NN, _DOUBLES, lambda a: _unpacked("q", a, "d")),
    Row(
        "__longlong_as_double(a)",
        (NN,),
        "double",
        [(1,), (-(2**63),), (0x3FF8 << 48,)],
        lambda a: _unpacked("d", a, "q"),
        signed_zeros=True,
    ),
    Row("__double2hiint(a)", ("double",), N, _DOUBLES, lambda a: _unpacked("q", a, "d") >> 32),
    Row("__double2loint(a)", ("double",), N, _DOUBLES, lambda a: _signed(_unpacked("q", a, "d"))),
    Row(
        "__hiloint2double(a, b)",
        (N, N),
        "double",
        [(0x3FF80000, 0), (0, -1), (-(2**31), 1)],
        lambda a, b: _unpacked("d", a << 32 | b & MASK, "q"),
    ),
    Row("min(a, b)", (N, U), U, [(-1, 1), (3, 2)], lambda a, b: min(a & MASK, b)),
    *(
        Row(f"{load}(&a)", (U,), U, _ONE, lambda a: a)
        for load in ("__ldg", "__ldca", "__ldcg", "__ldcs", "__ldcv", "__ldlu")
    ),
    *(
        Row(f"({{ {U} v = 7; {store}(&v, a); v; }})", (U,), U, _ONE, lambda a: a)
        for store in ("__stcg", "__stcs", "__stwb", "__stwt")
    ),
]

ATOMICS = {
    "Add": lambda old, v: old + v & MASK,
    "Sub": lambda old, v: old - v & MASK,
    "Exch": lambda _, v: v,
    "Min": min,
    "Max": max,
    "And": lambda old, v: old & v,
    "Or": lambda old, v: old | v,
    "Xor": lambda old, v: old ^ v,
    "Inc": lambda old, v: 0 if old >= v else old + 1,
    "Dec": lambda old, v: v if old == 0 or old > v else old - 1,
}


def _atomics():
    for (name, new), scope in itertools.product(ATOMICS.items(), ("", "_block", "_system")):
        call = f"unsigned v = a, old = atomic{name}{scope}(&v, b);"
        yield Row(f"({{ {call} v; }})", (U, U), U, PAIRS, new)
        yield Row(f"({{ {call} old; }})", (U, U), U, PAIRS, lambda old, _: old)
    for scope in ("", "_block", "_system"):
        call = f"unsigned v = a, old = atomicCAS{scope}(&v, b, c);"
        triples = [(a, b, 9) for a, b in PAIRS]
        yield Row(f"({{ {call} v; }})", (U,) * 3, U, triples, lambda a, b, c: c if a == b else a)
        yield Row(f"({{ {call} old; }})", (U,) * 3, U, triples, lambda a, *_: a)
    for name, of in (("Min", min), ("Max", max)):
        yield Row(f"({{ int v = a; atomic{name}(&v, b); v; }})", (N, N), N, _as_int(PAIRS), of)


ROWS += _atomics()

# Of a whole warp: `a` is a lane's value, and `want` gets those of the 32 lanes.
LANES = [_signed(v * 0x9E3779B9 + 5) for v in range(31)] + [-5]
FULL = "0xffffffffu"
WARP = {
    "__reduce_add_sync({m}, a)": lambda v: [_signed(sum(v))] * 32,
    "__reduce_min_sync({m}, a)": lambda v: [min(v)] * 32,
    "__reduce_max_sync({m}, a)": lambda v: [max(v)] * 32,
    "(int)__reduce_min_sync({m}, (unsigned)a)": lambda v: [_signed(min(x & MASK for x in v))] * 32,
    "(int)__reduce_max_sync({m}, (unsigned)a)": lambda v: [_signed(max(x & MASK for x in v))] * 32,
    "(int)__reduce_and_sync({m}, (unsigned)a | 4u)": lambda v: [_folded(v, int.__and__, 4)] * 32,
    "(int)__reduce_or_sync({m}, (unsigned)a & 255u)": lambda v: (
        [_folded([x & 255 for x in v], int.__or__, 0)] * 32
    ),
    "(int)__reduce_xor_sync({m}, (unsigned)a)": lambda v: [_folded(v, int.__xor__, 0)] * 32,
    "__any_sync({m}, a == -5)": lambda _: [1] * 32,
    "__any_sync({m}, a == 6)": lambda v: [int(6 in v)] * 32,
    "__all_sync({m}, a != 6)": lambda v: [int(6 not in v)] * 32,
    "__all_sync({m}, a != -5)": lambda _: [0] * 32,
    "(int)__ballot_sync({m}, a < 0)": lambda v: (
        [_signed(sum(int(x < 0) << i for i, x in enumerate(v)))] * 32
    ),
    "(int)__match_any_sync({m}, a & 3)": lambda v: [_same(v, x & 3) for x in v],
    "({{ int all; __match_all_sync({m}, a | -1, &all) == {m} && all; }})": lambda _: [1] * 32,
    "({{ int all; __match_all_sync({m}, a, &all) == 0 && !all; }})": lambda _: [1] * 32,
    "__shfl_sync({m}, a, 7)": lambda v: [v[7]] * 32,
    "__shfl_sync({m}, a, 35)": lambda v: [v[3]] * 32,
    "__shfl_sync({m}, a, 2, 8)": lambda v: [v[(i & ~7) + 2] for i in range(32)],
    "__shfl_up_sync({m}, a, 3, 16)": lambda v: [v[i - 3 if i % 16 >= 3 else i] for i in range(32)],
    "__shfl_down_sync({m}, a, 3, 16)": lambda v: [
        v[i + 3 if i % 16 < 13 else i] for i in range(32)
    ],
    "__shfl_xor_sync({m}, a, 5)": lambda v: [v[i ^ 5] for i in range(32)],
}


def _folded(values, operation, start):
    """Return the fold of the values, each with the bits of `start` set."""
    result = None
    for value in values:
        bits = value & MASK | start
        result = bits if result is None else operation(result, bits)
    return _signed(result)


def _same(values, rest):
    return _signed(sum(int(v & 3 == rest) << i for i, v in enumerate(values)))
