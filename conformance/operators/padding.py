"""Padding by zeros, by reflection, by the nearest pixel and around the edge: their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from gradoracle.conformance.operators.moved_pixels import PLANES, written
from gradoracle.conformance.operators.of_formula import Further, Sizes
from gradoracle.conformance.operators.record import Corner, Operator
from gradoracle.conformance.operators.spatial import MOST, SHARES, images, pixels, windows
from gradoracle.oracle.formulas.padding import PADDINGS, by_axis, ends_of
from gradoracle.oracle.ranks import RANKS

FAR_PADDING = 34  # past a warp of 32 threads
BLOCK = 67  # pixels that padding so far may be beside, whatever its kind
USUAL = (1, 0, 0, 1, 1, 0)  # of the ends, in a corner that looks at something else


class Kind(NamedTuple):
    """PyTorch's name of a padding, and the most padding beside so many pixels."""

    mode: str
    most: Callable[[int], int]


KINDS = (
    Kind("constant", lambda _: FAR_PADDING), Kind("reflect", lambda size: size - 1),
    Kind("replicate", lambda _: FAR_PADDING), Kind("circular", lambda size: size),
)  # fmt: skip


def _names(rank: int) -> tuple[str, ...]:
    return tuple(f"padding_{end}" for end in ends_of(rank))


def _padded(rank: int, most: Callable[[int], int], sizes: Sizes) -> Sizes:
    """Return legal sizes, with the lengths of the result, from drawn ones."""
    found = dict(sizes)
    axes = zip(by_axis(_names(rank)), pixels(rank), windows(rank), strict=True)
    for names, side, padded in axes:
        pads = {name: min(sizes[name], most(sizes[side])) for name in names}
        found |= {**pads, padded: sizes[side] + sum(pads.values())}
    return found


def _pads(rank: int, sizes: Sizes) -> Mapping[str, Any]:
    return {"padding": tuple(sizes[name] for name in _names(rank))}


def padding_of(kind: int, rank: int) -> Operator:
    """Return the record of a padding of images of `rank` spatial axes."""
    of, (mode, most) = PADDINGS[rank][kind], KINDS[kind]

    def witness(torch: Any) -> Callable[..., Any]:
        def pad(x: Any, *, padding: Any) -> Any:
            return torch.nn.functional.pad(x, padding, mode)

        return pad

    most_drawn = 2 if rank == 3 else 5
    more = {name: (0, most_drawn, usual) for name, usual in zip(_names(rank), USUAL, strict=False)}
    further = Further(images(rank), more, partial(_padded, rank, most), partial(_pads, rank))
    return written(
        of.forward, of.grad_input, witness, further=further, corners=(*_far(rank), *_most(rank)),
        layers=tuple((name, (c, *_sides(rank, *plane))) for name, (c, *plane) in PLANES),
        share=SHARES[rank], most=MOST[rank],
    )  # fmt: skip


def _sides(rank: int, height: int, width: int) -> tuple[int, ...]:
    return (2, height, width)[-rank:]


def _tiny(rank: int) -> dict[str, int]:
    return {"n": 1, "c": 2, **dict.fromkeys(_names(rank), 0)}


def _far(rank: int) -> list[Corner]:
    """Return padding past a limit at each end; of volumes, beside one long axis."""
    found = []
    for at, names in enumerate(by_axis(_names(rank))):
        sides = dict(zip(pixels(rank), _sides(rank, BLOCK, BLOCK + 1), strict=True))
        if rank == 3:
            sides = dict(zip(pixels(rank), (2, 3, 4), strict=True)) | {pixels(rank)[at]: BLOCK}
        found += [
            Corner(
                f"{name.removeprefix('padding_')} {FAR_PADDING}",
                {**_tiny(rank), **sides, name: FAR_PADDING}, in_turn=True,
            )
            for name in names
        ]  # fmt: skip
    return found


def _most(rank: int) -> list[Corner]:
    """Return as much padding as there may be, beside few pixels."""
    return [
        Corner(
            f"as much padding as {side} pixels allow",
            {**_tiny(rank), **dict.fromkeys(pixels(rank), side), pixels(rank)[-1]: side + 1,
             **dict.fromkeys(_names(rank), side + 1)},
            in_turn=True,
        )
        for side in (1, 2, 3, 5)
    ]  # fmt: skip


ZERO_PADS, REFLECTION_PADS, REPLICATION_PADS, CIRCULAR_PADS = (
    {rank: padding_of(kind, rank) for rank in RANKS} for kind in range(len(KINDS))
)
KINDS_OF_PADS = (CIRCULAR_PADS, REFLECTION_PADS, REPLICATION_PADS, ZERO_PADS)
PADS2D = tuple(of[2] for of in KINDS_OF_PADS)
PADS = tuple(of[rank] for rank in RANKS for of in KINDS_OF_PADS)
