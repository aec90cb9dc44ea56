"""The layers of real networks, each with exactly one option, size or flag changed.

Fast paths are written for such a layer, and forget what else may differ.  Every layer meets every
change in every certification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isqrt
from typing import Any, TypeAlias

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.operators.pooling_cover import is_legal
from gradoracle.conformance.operators.record import Geometry, Variant
from gradoracle.oracle.shapes import Pair, extent

SIDES = ("height", "width")
Sizes: TypeAlias = Mapping[str, int]


@dataclass(frozen=True)
class Window:
    """How windows lie along both sides: of a convolution or a pooling."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    rows: Pair = (2, 3)  # windows of a side
    rest: int = 0  # pixels that no window reaches, along the width

    def sides(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Yield kernel, stride, padding, dilation, rows and rest of the height and the width."""
        of = (self.kernel, self.stride, self.padding, self.dilation, self.rows, (0, self.rest))
        yield from zip(*of, strict=True)

    @property
    def sizes(self) -> dict[str, int]:
        """The options by their names in sizes."""
        options = {"kernel": self.kernel, "stride": self.stride, "padding": self.padding,
                   "dilation": self.dilation}  # fmt: skip
        return {f"{n}_{side}": p[at] for n, p in options.items() for at, side in enumerate(SIDES)}


def _up(pair: Pair, *, first: bool = True, second: bool = True) -> Pair:
    return pair[0] + first, pair[1] + second


# What may be changed of windows; None: it would be what it is.
WINDOWS: Mapping[str, Callable[[Window], Window | None]] = {
    "": lambda w: w,
    "dilation 2": lambda w: replace(w, dilation=_other(w.dilation, (2, 2))),
    "dilation 3": lambda w: replace(w, dilation=_other(w.dilation, (3, 3))),
    "dilation (2, 1)": lambda w: replace(w, dilation=_other(w.dilation, (2, 1))),
    "dilation (1, 2)": lambda w: replace(w, dilation=_other(w.dilation, (1, 2))),
    "stride 1": lambda w: replace(w, stride=(1, 1)) if w.stride != (1, 1) else None,
    "stride 2": lambda w: replace(w, stride=(2, 2)) if w.stride != (2, 2) else None,
    "a larger stride": lambda w: replace(w, stride=_up(w.stride)),
    "a larger stride downwards": lambda w: replace(w, stride=_up(w.stride, second=False)),
    "a larger stride across": lambda w: replace(w, stride=_up(w.stride, first=False)),
    "no padding": lambda w: replace(w, padding=(0, 0)) if any(w.padding) else None,
    "padding 1": lambda w: replace(w, padding=(1, 1)) if w.padding != (1, 1) else None,
    "more padding": lambda w: replace(w, padding=_up(w.padding)) if any(w.padding) else None,
    "padding downwards only": lambda w: replace(w, padding=(max(1, w.padding[0]), 0)),
    "padding across only": lambda w: replace(w, padding=(0, max(1, w.padding[1]))),
    "full padding": lambda w: replace(w, padding=(_full(w, 0), _full(w, 1))),
    "a taller kernel": lambda w: replace(w, kernel=_up(w.kernel, second=False)),
    "a wider kernel": lambda w: replace(w, kernel=_up(w.kernel, first=False)),
    "a rest": lambda w: replace(w, rest=1) if w.stride[1] > 1 else None,
    "one window": lambda w: replace(w, rows=(1, 1)),
    "a square image": lambda w: replace(w, rows=(3, 3)),
}  # fmt: skip


def _other(pair: Pair, wanted: Pair) -> Pair:
    """Return another dilation, twice as far where the layer has it already."""
    return wanted if wanted != pair else (2 * pair[0], 2 * pair[1])


def _full(window: Window, at: int) -> int:
    return extent(window.kernel[at], window.dilation[at]) - 1


# What may be changed of what a convolution has beside its windows.
CHANNELS: Mapping[str, Mapping[str, int]] = {
    "no bias": {"bias": 0}, "groups 2, no bias": {"groups": 2, "bias": 0},
    "groups 2": {"groups": 2}, "groups 3": {"groups": 3},
    "groups 32": {"groups": 32, "depth": 1, "multiplier": 1},
    "depthwise": {"groups": 4, "depth": 1, "multiplier": 1},
    "depthwise with two filters a channel": {"groups": 4, "depth": 1, "multiplier": 2},
    "several images": {"images": 3}, "one channel": {"depth": 1}, "one filter": {"multiplier": 1},
}  # fmt: skip


def convolutions(
    layers: Sequence[tuple[str, Window, int | None]], finish: Callable[[dict[str, int]], Sizes],
) -> tuple[Variant, ...]:  # fmt: skip
    """Return every layer with every change; its groups are a number, or None for depthwise.

    `finish` makes of a convolution's sizes what the operator takes.
    """
    changes = [*product(WINDOWS, ("",)), *product(("",), CHANNELS)]
    found: list[Variant] = []
    for (name, window, groups), (of_window, of_channels) in product(layers, changes):
        changed = WINDOWS[of_window](window)
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
        depth, filters = draw.integer(2, 4), draw.integer(2, 4)
        if self.groups is None:
            depth = filters = 1
        sizes = {
            "images": draw.integer(1, 2), "groups": 4 if self.groups is None else self.groups,
            "depth": depth, "multiplier": filters, "bias": 1,
            **dict(self.more), **self.window.sizes,
        }  # fmt: skip
        for side, (k, s, p, d, rows, rest) in zip(SIDES, self.window.sides(), strict=True):
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
    for (name, window, ceil), (change, of) in product(layers, WINDOWS.items()):
        changed = of(window)
        if changed is None or (change and changed == window):
            continue
        if dilated or changed.dilation == (1, 1):
            found += _pooling(name, change, changed, {"ceil": int(ceil), "include": 1})
    for (name, window, ceil), (change, more) in product(layers, POOLING.items()):
        base = {"ceil": int(ceil), "include": 1}
        if change == "ceil_mode":
            leaves = replace(window, rest=max(0, window.stride[1] - 1))
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
    for side, (k, s, p, d, rows, rest) in zip(SIDES, window.sides(), strict=True):
        pixels = (extent(k, d) + s * (n - 1) + rest - 2 * p for n in range(rows, rows + 8))
        ceil = bool(more["ceil"])
        legal = [h for h in pixels if h > 0 and is_legal(h, k, s, p, d, ceil=ceil)]
        if not legal:
            return []
        sizes[side] = legal[0]
    return [Variant(name, change, _Pooling(tuple(sizes.items())))]


@dataclass(frozen=True)
class _Pooling:
    """The sizes of a pooling, with images and channels to be drawn where nothing says how many."""

    fixed: tuple[tuple[str, int], ...]

    def __call__(self, draw: Choices) -> Sizes:
        """Return the sizes."""
        return {"images": draw.integer(1, 2), "channels": draw.integer(2, 4), **dict(self.fixed)}


def both(side: int) -> Pair:
    """Return a side twice."""
    return side, side


def window(kernel: Any, stride: int, padding: Any, dilation: int = 1) -> Window:
    """Return the windows of a layer whose sides are the same, or pairs."""
    kernel, padding = (v if isinstance(v, tuple) else both(v) for v in (kernel, padding))
    return Window(kernel, both(stride), padding, both(dilation))


def of_many_channels(layer: Variant, draw: Choices, elements: int) -> Geometry | None:
    """Return a layer with channels in eights and a kernel of more elements than these.

    None: it has no kernel.  Channels in eights are what kernels of NHWC take.
    """
    sizes = dict(layer.sizes(draw))
    if "depth" not in sizes:
        return None
    area = sizes["kernel_height"] * sizes["kernel_width"]
    channels = 8 * (isqrt(elements // area) // 8 + 1)
    if sizes["groups"] <= 2:
        sizes["depth"] = sizes["multiplier"] = channels // sizes["groups"]
    elif sizes["depth"] == 1:
        sizes["groups"] = 128
    sizes["images"] = 2
    return Geometry("layers", layer.region, sizes, draw.seed())
