"""Which combinations of options every certification of a pooling meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.coverage import Cover, excluding, with_dtype
from gradoracle.conformance.drawing.covering import Chosen, Factors
from gradoracle.conformance.operators.convolution_cover import APART, NAMES, named
from gradoracle.oracle.shapes import SIDES, extent, pool_shape

KERNEL = "kernel"  # the stride that is the kernel's size
NUMBERS: Mapping[str, Sequence[Any]] = {
    "kernel": ((1,), (2,), (3,), (4,), (5,), (6, 7), (8, 9, 13)),
    "stride": ((1,), (2,), (3,), (4, 5), KERNEL), "padding": ("0", "1", "half"),
    "dilation": ((1,), (2,), (3, 4)), "rest": (False, True), "rows": ("one", "more"),
}  # fmt: skip
FEWER: Mapping[str, Sequence[Any]] = {
    **NUMBERS, "kernel": ((1,), (2,), (3,), (4, 5), (7, 6, 8)),
    "stride": ((1,), (2,), (3, 4), KERNEL), "dilation": ((1,), (2, 3)),
}  # fmt: skip
BOTH: Mapping[str, Sequence[Any]] = {
    "ceil": (False, True), "images": ((1,), (2,), (3, 4, 5)), "channels": ((1,), (2,), (3, 4, 5)),
}  # fmt: skip
INCLUDE: Mapping[str, Sequence[Any]] = {"include": (False, True)}
# One side is past a vector, a tile or a block, and options beside it are not what is usual.
MOST_TAPS = 512  # of a cube
LONG = "long"
SHORT: Mapping[str, int] = {  # the others
    "images": 1, "channels": 2, "depth": 2, "height": 2, "width": 2
}  # fmt: skip
PAST: Mapping[str, Sequence[int]] = {
    "images": (9, 17, 33), "channels": (9, 17, 33, 65), "depth": (17, 33), "height": (33, 65, 129),
    "width": (65, 129, 257, 258),
}  # fmt: skip
BESIDE: Mapping[str, Sequence[Any]] = {
    "kernel": ((2,), (3,), (4, 5)), "stride": ((1,), (2,), (3,)),
    "padding": ("0", "1"), "dilation": ((1,), (2,)), "rest": (False, True), "ceil": (False, True),
}  # fmt: skip
NEUTRAL: Mapping[str, Any] = {
    "kernel": (2,), "stride": KERNEL, "padding": "0", "dilation": (1,), "rest": False,
    "rows": "more", "ceil": False, "include": True, "images": (1,), "channels": (2,),
}  # fmt: skip


def _impossible(name: str) -> list[dict[str, Callable[[Any], bool]]]:
    """Return which classes fit no pooling, along the sides of this name."""
    return [
        {"padding" + name: lambda p: p == "1", "kernel" + name: lambda k: k == (1,)},
        {"stride" + name: lambda s: s == (1,), "rest" + name: lambda r: r},
        {
            "stride" + name: lambda s: s == KERNEL,
            "kernel" + name: lambda k: k == (1,),
            "rest" + name: lambda r: r,
        },
        {  # the only window would have taps in the padding only
            "padding" + name: lambda p: p != "0",
            "kernel" + name: lambda k: k == (2,),
            "rows" + name: lambda r: r == "one",
        },
        {
            "padding" + name: lambda p: p == "half",
            "kernel" + name: lambda k: not all(one % 2 for one in k),
            "rows" + name: lambda r: r == "one",
        },
    ]


def sizes(chosen: Chosen, draw: Choices, *, rank: int) -> dict[str, int]:
    """Return the sizes of a pooling of these classes, `draw` picking what stands for them."""
    ceil = bool(chosen["ceil"])
    found = {
        "images": draw.one_of(chosen["images"]), "channels": draw.one_of(chosen["channels"]),
        "ceil": int(ceil), "include": int(chosen.get("include", 0)),
    }  # fmt: skip
    first, *further = SIDES[rank]
    each = [_side(chosen, first, draw, ceil=ceil)]
    for side in further:
        if "kernel" in chosen:  # the options of all sides are the same
            k, s, p, d, size = (each[0][n] for n in ("kernel", "stride", "padding", "dilation", ""))
            wider = size + s * (draw.integer(0, 1) if chosen["rows"] == "more" else 0)
            is_wider = is_legal(wider, k, s, p, d, ceil=ceil)
            each.append({**each[0], "": wider} if is_wider else each[0])
        else:
            each.append(_side(chosen, side, draw, ceil=ceil))
    return found | named(each, SIDES[rank])


def beside_a_long_side(chosen: Chosen, draw: Choices, *, rank: int) -> dict[str, int]:
    """Return the sizes of a pooling with one side that is long: windows, channels or images."""
    long = chosen[LONG]
    counts = {**SHORT, long: draw.one_of(PAST[long])}
    ceil = bool(chosen["ceil"])
    found = {
        "images": counts["images"], "channels": counts["channels"], "ceil": int(ceil),
        "include": int(chosen.get("include", 0)),
    }  # fmt: skip
    sides = SIDES[rank]
    each = [_side(chosen, s, draw, ceil=ceil, windows=counts[s]) for s in sides]
    return found | named(each, sides)


def _side(
    chosen: Chosen, side: str, draw: Choices, *, ceil: bool, windows: int = 0
) -> dict[str, int]:  # fmt: skip
    """Return the options of one side, and its pixels under the name "".

    Raises:
        ValueError: no pooling has these classes.
    """

    def of(name: str) -> Any:
        return chosen[f"{name}_{side}"] if f"{name}_{side}" in chosen else chosen.get(name, (1,))

    kernel, dilation = draw.one_of(of("kernel")), draw.one_of(of("dilation"))
    stride = kernel if of("stride") == KERNEL else draw.one_of(of("stride"))
    padding = {"0": 0, "1": 1, "half": kernel // 2}[of("padding")]
    span = extent(kernel, dilation)
    one = not windows and of("rows") == "one"
    first = windows or (1 if one else draw.integer(2, 4))
    most = first if one else first + 8
    rests = [draw.integer(1, stride - 1), *range(1, stride)] if of("rest") else [0]
    for rows in range(first, most + 1):
        for rest in rests:
            pixels = span + stride * (rows - 1) + rest - 2 * padding
            if pixels > 0 and is_legal(pixels, kernel, stride, padding, dilation, ceil=ceil):
                return {
                    "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
                    "": pixels,
                }  # fmt: skip
    raise ValueError(f"no pooling along the {side} has {chosen}")


def is_legal(side: int, k: int, s: int, p: int, d: int, *, ceil: bool) -> bool:
    """Return whether a pooling of one side of these sizes is legal."""
    try:
        pool_shape(
            2, (1, 1, 1, side), kernel_size=(1, k), stride=(1, s), padding=(0, p), dilation=(1, d),
            ceil_mode=ceil,
        )  # fmt: skip
    except ValueError:
        return False
    return True


# Combinations of so many classes, of axes that are alike, of each apart, and beside a long one.
STRENGTHS = {1: (3, 0, 2), 2: (4, 3, 4), 3: (2, 2, 2)}


def covers(rank: int, *, dilated: bool) -> tuple[Cover, ...]:
    """Return the covering arrays of max pooling, or of average pooling, which has no dilation."""
    sides = SIDES[rank]
    gone = () if dilated else ("dilation",)
    both = BOTH if dilated else {**BOTH, **INCLUDE}
    same = {n: c for n, c in NUMBERS.items() if n not in gone} | dict(both)
    if rank == 3:
        same["kernel"] = [k for k in NUMBERS["kernel"] if max(k) ** rank <= MOST_TAPS]
    apart = {f"{n}_{s}": c for n, c in FEWER.items() if n not in gone for s in sides} | dict(both)
    symmetric = excluding(*_impossible(""))
    each = excluding(*(one for side in sides for one in _impossible(f"_{side}")))
    long = tuple(n for n in PAST if n in ("images", "channels", *sides))
    beside = {LONG: long, **{n: c for n, c in BESIDE.items() if n not in gone}}
    beside |= {} if dilated else dict(INCLUDE)
    alone = {n: NEUTRAL[n] for n in same}
    alone_apart = {n: NEUTRAL[n if n in both else n.rpartition("_")[0]] for n in apart}
    alike, separate, past = STRENGTHS[rank]
    some, many = partial(sizes, rank=rank), partial(beside_a_long_side, rank=rank)
    name, names = NAMES[rank], APART[rank]
    found = [
        Cover(name, Factors(with_dtype(same), symmetric), some, alike),
        Cover(names, Factors(with_dtype(apart), each), some, separate),
        Cover("a long side", Factors(with_dtype(beside), symmetric), many, past),
        Cover(name, Factors(same, symmetric), some, 0, alone),
        Cover(names, Factors(apart, each), some, 0, alone_apart),
    ]
    return tuple(
        cover
        for cover in found
        if rank == 2 or cover.name != names or (rank == 3 and cover.strength)
    )
