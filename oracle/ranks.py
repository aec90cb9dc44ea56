"""Formulas of one, two or three spatial axes, written once for two.

A factory makes the formulas of a rank from functions whose docstrings are those of two dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any, TypeVar, get_args, get_type_hints

from gradoracle.oracle.axes import Axes

RANKS = (1, 2, 3)
# The letters of windows, of taps and of pixels, the last spatial axis last.
WINDOWS = {1: "i", 2: "i j", 3: "k i j"}
TAPS = {1: "p", 2: "p q", 3: "l p q"}
PIXELS = {1: "h", 2: "h w", 3: "t h w"}

# What is written for two axes, for one and for three.
TEXTS = (
    (r"\b([OK]?)H, \1W\b", r"\1W", r"\1T, \1H, \1W"),
    *(
        (rf"\({'(,?)( ?)'.join(pair)}\)", pair[0], rf"({third}\1\2{pair[0]}\1\2{pair[1]})")
        for pair, third in (("ij", "k"), ("pq", "l"), ("hw", "t"))
    ),
    *(
        (rf"\b{','.join(pair)}\b", pair[0], rf"{third},{','.join(pair)}")
        for pair, third in (("ij", "k"), ("pq", "l"), ("hw", "t"))
    ),
    (r"i\*S(\S*)-P, j\*S\S*-P", r"i*S\1-P", None),
    (r"i\*S\+p, j\*S\+q", "i*S+p", "k*S+l, i*S+p, j*S+q"),
    (
        r"( *)i\*H // OH <= h < ceil\(\(i\+1\)\*H / OH\) and (j\*W // OW <= w < .*)",
        r"\1i*W // OW <= h < ceil((i+1)*W / OW)",
        r"\1k*T // OT <= t < ceil((k+1)*T / OT),\n\1i*H // OH <= h < ceil((i+1)*H / OH) and \2",
    ),
    (r"with i\*S( ?.*) = h\s+and j\*S.* = w", r"with i*S\1 = h", None),
    (r"h\*W \+ w", "h", "(t*H + h)*W + w"),
    (r"i\*OW \+ j", "i", "(k*OH + i)*OW + j"),
)
NAMES = re.compile(
    r"\b(conv|conv_transpose|(?:adaptive_)?(?:max|avg)_pool|max_unpool|lp_pool|torch\.nn\.\w+?)2d"
)
ERRATA = re.compile(r"\n *Erratum:.*?(?=\n\n|$)", re.DOTALL)  # of formulas of two dimensions

F = TypeVar("F", bound=Callable[..., Any])


def text_of_rank(rank: int, text: str) -> str:
    """Return a text that is written for two spatial axes, for `rank` of them."""
    if rank == 2:
        return text
    for pattern, one, three in TEXTS:
        if rank == 1:
            text = re.sub(pattern, one, text)
        elif three is not None:
            text = re.sub(pattern, three, text)
        else:
            text = re.sub(pattern, _with_third, text)
    text = NAMES.sub(rf"\g<1>{rank}d", ERRATA.sub("", text))
    return text.replace("4 axes", f"{rank + 2} axes")


def _with_third(found: re.Match[str]) -> str:
    """Return places in a plane with those along the third axis before them."""
    first = found[0].partition(", j")[0] if ", j" in found[0] else found[0].partition(" and j")[0]
    third = first.removeprefix("with ").replace("i*", "k*").replace("p", "l").replace("= h", "= t")
    return found[0].replace(first.removeprefix("with "), f"{third}, {first.removeprefix('with ')}")


def of_pixels(text: str) -> str:
    """Return a text about windows of a convolution, for a transposed one: they are pixels there."""
    for rank in RANKS:
        windows, pixels = (letters[rank].replace(" ", ",") for letters in (WINDOWS, PIXELS))
        text = re.sub(rf"(?<=n,|m,){windows}(?=[]}}])", pixels, text)
    return ERRATA.sub("", text)


def named(name: str, rank: int) -> Callable[[F], F]:
    """Give a formula its name, its options as keywords, and its docstring `rank` axes' letters."""

    def name_it(function: F) -> F:
        function.__signature__ = _written_out(function)  # type: ignore[attr-defined]
        function.__name__ = function.__qualname__ = name.replace("2d", f"{rank}d")
        function.__doc__ = text_of_rank(rank, function.__doc__ or "")
        return function

    return name_it


def _written_out(function: Callable[..., Any]) -> Signature:
    """Return a signature with each of the options that `**options: Unpack[...]` stands for."""
    short = signature(function)
    *arguments, last = short.parameters.values()
    if last.kind is not Parameter.VAR_KEYWORD:
        return short
    (options,) = get_args(last.annotation)
    keywords = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind)
        for name, kind in get_type_hints(options).items()
    ]
    return short.replace(parameters=[*arguments, *keywords])


def axes_of_rank(rank: int, text: str, *more: Any, **options: Any) -> Axes:
    """Return axes of which {pixels}, {taps} and {windows} stand for as many letters."""
    letters = {"pixels": PIXELS[rank], "taps": TAPS[rank], "windows": WINDOWS[rank]}
    return Axes(text.format(**letters), *more, **options)
