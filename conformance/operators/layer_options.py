"""The layers of real networks, each with exactly one option, size or flag changed.

Fast paths are written for such a layer, and forget what else may differ.  Every layer meets every
change in every certification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isqrt, prod
from typing import Any, TypeAlias

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.operators.pooling_cover import is_legal
from gradoracle.conformance.operators.record import Geometry, Variant
from gradoracle.oracle.shapes import SIDES, Sides, extent

Sizes: TypeAlias = Mapping[str, int]
# How a change along one axis is called: of an option, and of a kernel.
WORDS = {"depth": "in depth", "height": "downwards", "width": "across"}
LARGER = {"depth": "deeper", "height": "taller", "width": "wider"}


@dataclass(frozen=True)
class Window:
    """How windows lie along every axis: of a convolution or a pooling."""

    kernel: Sides
    stride: Sides
    padding: Sides
    dilation: Sides
    rows: Sides  # windows of a side
    rest: int = 0  # pixels that no window reaches, along the width

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes."""
        return SIDES[len(self.kernel)]

    def sides(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Yield kernel, stride, padding, dilation, rows and rest of every axis."""
        rests = (*[0] * (len(self.kernel) - 1), self.rest)
        of = (self.kernel, self.stride, self.padding, self.dilation, self.rows, rests)
        yield from zip(*of, strict=True)

    @property
    def sizes(self) -> dict[str, int]:
        """The options by their names in sizes."""
        options = {"kernel": self.kernel, "stride": self.stride, "padding": self.padding,
                   "dilation": self.dilation}  # fmt: skip
        return {f"{n}_{side}": p[at] for n, p in options.items() for at, side in self._numbered}

    @property
    def _numbered(self) -> list[tuple[int, str]]:
        return [*enumerate(self.names)]


Change: TypeAlias = Callable[[Window], Window | None]  # None: it would be what it is


def _up(sides: Sides, axis: int | None = None) -> Sides:
    return tuple(n + (axis in (None, at)) for at, n in enumerate(sides))


def _all(value: int, like: Sides) -> Sides:
    return (value,) * len(like)


def _other(sides: Sides, wanted: Sides) -> Sides:
    """Return another dilation, twice as far where the layer has it already."""
    return wanted if wanted != sides else tuple(2 * n for n in sides)


def _full(window: Window) -> Sides:
    return tuple(extent(k, d) - 1 for k, d in zip(window.kernel, window.dilation, strict=True))


def _with(window: Window, option: str, sides: Sides) -> Window:
    changed: dict[str, Any] = {option: sides}
    return replace(window, **changed)


def _set(option: str, value: int) -> Change:
    """Return what gives an option one value along all axes, unless it has it."""

    def change(window: Window) -> Window | None:
        sides: Sides = getattr(window, option)
        wanted = _all(value, sides)
        return _with(window, option, wanted) if sides != wanted else None

    return change


def _one_axis(option: str, axis: int) -> Change:
    """Return what raises an option along one axis, or leaves padding along that axis only."""

    def change(window: Window) -> Window:
        sides: Sides = getattr(window, option)
        if option == "dilation":
            return replace(window, dilation=_other(sides, _up(_all(1, sides), axis)))
        if option == "padding":
            only = tuple(max(1, n) if at == axis else 0 for at, n in enumerate(sides))
            return replace(window, padding=only)
        return _with(window, option, _up(sides, axis))

    return change


def changes(rank: int) -> dict[str, Change]:
    """Return what may be changed of windows of `rank` axes."""
    sides = [*enumerate(SIDES[rank])]
    apart = sides if rank > 1 else []
    dilated = [(axis, _up((1,) * rank, axis)) for axis, _ in apart]
    return {
        "": lambda w: w,
        "dilation 2": lambda w: replace(w, dilation=_other(w.dilation, _all(2, w.kernel))),
        "dilation 3": lambda w: replace(w, dilation=_other(w.dilation, _all(3, w.kernel))),
        **{f"dilation {text}": _one_axis("dilation", axis) for axis, text in dilated},
        "stride 1": _set("stride", 1),
        "stride 2": _set("stride", 2),
        "a larger stride": lambda w: replace(w, stride=_up(w.stride)),
        **{f"a larger stride {WORDS[side]}": _one_axis("stride", axis) for axis, side in apart},
        "no padding": _set("padding", 0),
        "padding 1": _set("padding", 1),
        "more padding": lambda w: replace(w, padding=_up(w.padding)) if any(w.padding) else None,
        **{f"padding {WORDS[side]} only": _one_axis("padding", axis) for axis, side in apart},
        "full padding": lambda w: replace(w, padding=_full(w)),
        **{f"a {LARGER[side]} kernel": _one_axis("kernel", axis) for axis, side in sides},
        "a rest": lambda w: replace(w, rest=1) if w.stride[-1] > 1 else None,
        "one window": lambda w: replace(w, rows=_all(1, w.rows)),
        "a square image": lambda w: replace(w, rows=_all(3, w.rows)) if rank > 1 else None,
    }


# What may be changed of what a convolution has beside its windows.
CHANNELS: Mapping[str, Mapping[str, int]] = {
    "no bias": {"bias": 0}, "groups 2, no bias": {"groups": 2, "bias": 0},
    "groups 2": {"groups": 2}, "groups 3": {"groups": 3},
    "groups 32": {"groups": 32, "group_channels": 1, "multiplier": 1},
    "depthwise": {"groups": 4, "group_channels": 1, "multiplier": 1},
    "depthwise with two filters a channel": {"groups": 4, "group_channels": 1, "multiplier": 2},
    "several images": {"images": 3}, "one channel": {"group_channels": 1},
    "one filter": {"multiplier": 1},
}  # fmt: skip


def convolutions(
    layers: Sequence[tuple[str, Window, int | None]], finish: Callable[[dict[str, int]], Sizes],
) -> tuple[Variant, ...]:  # fmt: skip
    """Return every layer with every change; its groups are a number, or None for depthwise.

    `finish` makes of a convolution's sizes what the operator takes.
    """
    known = changes(len(layers[0][1].kernel))
    pairs = [*product(known, ("",)), *product(("",), CHANNELS)]
    found: list[Variant] = []
    for (name, window, groups), (of_window, of_channels) in product(layers, pairs):
        changed = known[of_window](window)
        more = tuple(CHANNELS.get(of_channels, {}).items())
        if changed is None or (of_window and changed == window):
            continue
        sizes = _Convolution(changed, groups, more, finish)
        if not of_channels or sizes.changes:
            found.append(Variant(name, of_window or of_channels, sizes))
    return _different(found)


def _different(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return the variants without those that are what one before them is."""
    plain_first = sorted(variants, key=lambda one: bool(one.change))
    return tuple({one.sizes: one for one in reversed(plain_first)}.values())[::-1]


@dataclass(frozen=True)
class _Convolution:
    """The sizes of a convolution, whose channels are drawn where nothing says how many."""

    window: Window
    groups: int | None
    more: tuple[tuple[str, int], ...]
    finish: Callable[[dict[str, int]], Sizes]

    @property
    def changes(self) -> bool:
        """Whether the change leaves another layer: a depthwise one is that already."""
        more, groups = dict(self.more), 4 if self.groups is None else self.groups
        return more.get("groups", 0) != groups or more.get("multiplier", 1) > 1

    def __call__(self, draw: Choices) -> Sizes:
        """Return the sizes."""
        group_channels, filters = draw.integer(2, 4), draw.integer(2, 4)
        if self.groups is None:
            group_channels = filters = 1
        sizes = {
            "images": draw.integer(1, 2), "groups": 4 if self.groups is None else self.groups,
            "group_channels": group_channels, "multiplier": filters, "bias": 1,
            **dict(self.more), **self.window.sizes,
        }  # fmt: skip
        for side, (k, s, p, d, rows, rest) in zip(
            self.window.names, self.window.sides(), strict=True
        ):
            span = extent(k, d)
            rows = max(rows, -((span + rest - 2 * p - 1) // s) + 1)  # noqa: PLW2901
            sizes[side] = span + s * (rows - 1) + rest - 2 * p
        return self.finish(sizes)


POOLING: Mapping[str, Mapping[str, int]] = {
    "ceil_mode": {"ceil": 1}, "count_include_pad": {"include": 1}, "several images": {"images": 3},
    "one channel": {"channels": 1},
}  # fmt: skip


def poolings(
    layers: Sequence[tuple[str, Window, bool]], *, dilated: bool, include: bool
) -> tuple[Variant, ...]:
    """Return every layer, a window and its ceil_mode, with every change that a pooling can have."""
    found: list[Variant] = []
    known = changes(len(layers[0][1].kernel))
    for (name, window, ceil), (change, of) in product(layers, known.items()):
        changed = of(window)
        if changed is None or (change and changed == window):
            continue
        if dilated or max(changed.dilation) == 1:
            found += _pooling(name, change, changed, {"ceil": int(ceil), "include": 1})
    for (name, window, ceil), (change, more) in product(layers, POOLING.items()):
        base = {"ceil": int(ceil), "include": 1}
        if change == "ceil_mode":
            leaves = replace(window, rest=max(0, window.stride[-1] - 1))
            found += _pooling(name, "ceil_mode and a rest", leaves, {**base, "ceil": 1})
            found += _pooling(name, "no ceil_mode", leaves, {**base, "ceil": 0})
        elif change == "count_include_pad" and include:
            found += _pooling(name, "padding that does not count", window, {**base, "include": 0})
        elif change != "count_include_pad":
            found += _pooling(name, change, window, {**base, **more})
    return _different(found)


def _pooling(name: str, change: str, window: Window, more: Mapping[str, int]) -> list[Variant]:
    """Return the variant of a pooling, if there is one: padding takes at most half the kernel."""
    sizes: dict[str, int] = {**window.sizes, **more}
    for side, (k, s, p, d, rows, rest) in zip(window.names, window.sides(), strict=True):
        pixels = (extent(k, d) + s * (n - 1) + rest - 2 * p for n in range(rows, rows + 8))
        ceil = bool(more["ceil"])
        legal = next((h for h in pixels if h > 0 and is_legal(h, k, s, p, d, ceil=ceil)), None)
        if legal is None:
            return []
        sizes[side] = legal
    return [Variant(name, change, _Pooling(tuple(sizes.items())))]


@dataclass(frozen=True)
class _Pooling:
    """The sizes of a pooling, with images and channels to be drawn where nothing says how many."""

    fixed: tuple[tuple[str, int], ...]

    def __call__(self, draw: Choices) -> Sizes:
        """Return the sizes."""
        return {"images": draw.integer(1, 2), "channels": draw.integer(2, 4), **dict(self.fixed)}


def window(kernel: Any, stride: Any, padding: Any, dilation: int = 1, *, rank: int = 2) -> Window:
    """Return the windows of a layer; a number stands for one along every axis."""
    kernel, stride, padding = (
        v if isinstance(v, tuple) else (v,) * rank for v in (kernel, stride, padding)
    )
    rows = (*[2] * (len(kernel) - 1), 3)
    return Window(kernel, stride, padding, (dilation,) * len(kernel), rows)


def of_many_channels(layer: Variant, draw: Choices, elements: int) -> Geometry | None:
    """Return a layer with channels in eights and a kernel of more elements than these.

    None: it has no kernel.  Channels in eights are what kernels of NHWC take.
    """
    sizes = dict(layer.sizes(draw))
    if "group_channels" not in sizes:
        return None
    area = prod(size for name, size in sizes.items() if name.startswith("kernel_"))
    channels = 8 * (isqrt(elements // area) // 8 + 1)
    if sizes["groups"] <= 2:
        sizes["group_channels"] = sizes["multiplier"] = channels // sizes["groups"]
    elif sizes["group_channels"] == 1:
        sizes["groups"] = 128
    sizes["images"] = 2
    return Geometry("layers", layer.region, sizes, draw.seed())
