"""Planted faults and controls of power-average pooling, of every rank."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Function, checked, half, target
from tests.planted.moved_pixels import first_image_for_all, without_tail
from tests.planted.ranks import NAMES, along, misread, plant
from tests.planted.table import plant as plant_of_two
from tests.planted.table import quietly

Array = Any


def windows(x: Array, o: dict[str, Any]) -> Array:
    """Return a view of every window: [N, C, windows, taps]."""
    spatial = (*range(2, x.ndim),)
    found = np.lib.stride_tricks.sliding_window_view(x, o["kernel_size"], axis=spatial)
    return found[(..., *(slice(None, None, s) for s in o["stride"]), *[slice(None)] * len(spatial))]


def forward(norm: Callable[[Array, float, tuple[int, ...]], Array]) -> Function:
    """Return a pooling by a function of windows, p, and the axes of their taps."""

    def pooled(x: Array, *, norm_type: float, **o: Any) -> Array:
        seen = windows(x, o)
        return norm(seen, norm_type, (*range(x.ndim, seen.ndim),))

    return pooled


def norm_of(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    return (seen**p).sum(axes) ** (1 / p)


def mean_of_powers(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    return (seen**p).mean(axes) ** (1 / p)


def without_root(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    return (seen**p).sum(axes)


def always_of_squares(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    del p
    return norm_of(seen, 2, axes)


def of_whole_powers(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    return norm_of(seen, int(p), axes)


def scaled(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    """By the largest of a window, as norms are computed that must not overflow."""
    top = abs(seen).max(axes, keepdims=True)
    safe = np.where(top == 0, 1, top)
    return top.reshape(top.shape[: seen.ndim - len(axes)]) * norm_of(seen / safe, p, axes)


def by_means(seen: Array, p: float, axes: tuple[int, ...]) -> Array:
    """The mean times the number of taps, as PyTorch has it."""
    taps = prod(seen.shape[axis] for axis in axes)
    return ((seen**p).mean(axes, dtype=seen.dtype) * seen.dtype.type(taps)) ** (1 / p)


def backward(name: str, share: Callable[..., Array], *, assigned: bool = False) -> Function:
    """Return a gradient by what goes back of dy to each pixel of a window: of x, y, p and taps."""

    def sent(dy: Array, x: Array, *, norm_type: float, **o: Any) -> Array:
        y, dx = getattr(good, name)(x, norm_type=norm_type, **o), np.zeros(x.shape, x.dtype)
        for tap in np.ndindex(*o["kernel_size"]):
            sides = zip(tap, o["stride"], y.shape[2:], strict=True)
            seen = (..., *(slice(p, p + (n - 1) * s + 1, s) for p, s, n in sides))
            part = dy * share(x[seen], y, norm_type, prod(o["kernel_size"]))
            dx[seen] = part if assigned else dx[seen] + part
        return dx

    return sent


def right_share(x: Array, y: Array, p: float, taps: int) -> Array:
    del taps
    return np.where(y == 0, 0, (x / np.where(y == 0, 1, y)) ** (p - 1))


def by_powers_of_the_norm(x: Array, y: Array, p: float, taps: int) -> Array:
    """y^(1 - p) x^(p - 1), as autograd has it."""
    del taps
    return np.where(y == 0, 0, x ** (p - 1) * np.where(y == 0, 1, y) ** (1 - p))


def nothing_where_zero(x: Array, y: Array, p: float, taps: int) -> Array:
    del taps
    return (x / y) ** (p - 1)


def with_the_exponent(x: Array, y: Array, p: float, taps: int) -> Array:
    return p * right_share(x, y, p, taps)


def without_the_norm(x: Array, y: Array, p: float, taps: int) -> Array:
    del y, taps
    return x ** (p - 1)


def of_the_mean(x: Array, y: Array, p: float, taps: int) -> Array:
    return right_share(x, y, p, taps) / taps


def of_squares(x: Array, y: Array, p: float, taps: int) -> Array:
    del p
    return right_share(x, y, 2, taps)


def faults(rank: int) -> dict[str, tuple[str, str, Function]]:
    """Return what goes wrong in power-average pooling of `rank` spatial axes."""
    f = f"lp_pool{rank}d"
    g = f"{f}_grad"
    norms = (
        ("takes_the_mean", "normalisation", mean_of_powers),
        ("forgets_the_root", "formula", without_root),
        ("is_always_of_squares", "option", always_of_squares),
        ("rounds_the_exponent_down", "option", of_whole_powers),
    )
    shares = (
        ("divides_by_a_norm_of_zero", "nan", nothing_where_zero),
        ("keeps_the_exponent", "gradient", with_the_exponent),
        ("forgets_the_norm", "gradient", without_the_norm),
        ("is_of_the_mean", "normalisation", of_the_mean),
        ("is_always_of_squares", "option", of_squares),
    )
    spoilt = (
        ("of_the_first_image", "batch", first_image_for_all),
        ("leaves_the_tail_of_a_row", "tail", without_tail),
        ("rounds_to_half", "precision", half),
    )
    found = {
        **{f"{f}_{what}": (kind, "", forward(norm)) for what, kind, norm in norms},
        **{f"{g}_{what}": (kind, "", backward(f, share)) for what, kind, share in shares},
        f"{g}_assigns_where_windows_overlap": (
            "overlap", "", backward(f, right_share, assigned=True)),
        f"{f}_forgets_stride_across": ("stride", "", misread(f, "stride", along(rank - 1, 1))),
        **{
            f"{of}_{what}": (kind, "", lambda *a, n=of, s=spoil, **o: s(getattr(good, n)(*a, **o)))
            for of in (f, g)
            for what, kind, spoil in spoilt
        },
    }  # fmt: skip
    if rank > 1:
        found[f"{f}_takes_the_first_side_of_kernels_for_all"] = (
            "height for width", "",
            misread(f, "kernel_size", lambda sides: (sides[0],) * len(sides)),
        )  # fmt: skip
    return found


RIGHT_OF_TWO = {
    "lp_pool2d_by_the_largest_of_a_window": forward(scaled),
    "lp_pool2d_by_means": forward(by_means),
    "lp_pool2d_grad_by_powers_of_the_norm": backward("lp_pool2d", by_powers_of_the_norm),
}
plant_of_two(faults(2), RIGHT_OF_TWO)
RIGHT: dict[str, Function] = {}
for _rank in (1, 3):
    for _name, (_kind, _, _wrong) in faults(_rank).items():
        plant(_kind, _name, lambda f=_wrong, n=_name: checked(target(n, NAMES), quietly(f)))
    RIGHT[f"lp_pool{_rank}d"] = checked(f"lp_pool{_rank}d", quietly(forward(scaled)))
