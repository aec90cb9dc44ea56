"""Average and max pooling to a given size: their records, with PyTorch's functions beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gradoracle.conformance.operators import max_pool
from gradoracle.conformance.operators.moved_pixels import written
from gradoracle.conformance.operators.of_formula import Further, Sizes
from gradoracle.conformance.operators.record import (
    Corner,
    Operator,
    Styles,
    named_function,
)
from gradoracle.conformance.operators.spatial import (
    MOST,
    SHARES,
    images,
    layers_of_rank,
    resized,
    windows,
)
from gradoracle.oracle.float_formats import widened
from gradoracle.oracle.formulas.adaptive_max_pool import ADAPTIVE_MAX_POOLINGS
from gradoracle.oracle.formulas.adaptive_pool import ADAPTIVE_AVERAGINGS
from gradoracle.oracle.ranks import RANKS

# Channels, rows, columns and outputs as networks have them.
LAYERS = (
    ("global, ResNet", (4, 7, 7, 1, 1)), ("VGG at another size", (2, 9, 9, 7, 7)),
    ("AlexNet", (2, 6, 6, 6, 6)), ("PSPNet", (1, 12, 12, 6, 6)), ("SPP", (1, 13, 13, 4, 4)),
)  # fmt: skip
SIDES = (
    (8, 8, 2, 4), (7, 5, 3, 2), (10, 9, 7, 7), (3, 4, 7, 9), (33, 35, 32, 34), (64, 48, 4, 3),
    (181, 182, 1, 1), (5, 7, 5, 7), (2, 3, 33, 65),
)  # fmt: skip


def sized(rank: int, sizes: Sizes) -> Mapping[str, Any]:
    """Return the size of a result, and the shape of the images that it is of."""
    return {
        "output_size": tuple(sizes[letter] for letter in windows(rank)),
        "input_shape": tuple(sizes[letter] for letter in images(rank)),
    }


def drawn(rank: int) -> dict[str, Any]:
    """Return the fields of a record that say what is drawn."""
    corners = tuple(
        Corner(what, {"n": 1, "c": 2, **sides}, in_turn=True)
        for what, sides in resized(rank, SIDES)
    )
    return {
        "further": Further((*images(rank), *windows(rank)), options=partial(sized, rank)),
        "corners": corners, "layers": layers_of_rank(rank, LAYERS), "share": SHARES[rank],
        "most": MOST[rank],
    }  # fmt: skip


def adaptive_averaging(rank: int) -> Operator:
    """Return the record of an average pooling to a given size along `rank` spatial axes."""
    of = ADAPTIVE_AVERAGINGS[rank]
    witness = partial(named_function, of.forward.__name__)
    return written(of.forward, of.grad_input, witness, numbers=Styles(), **drawn(rank))


def _with_indices(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add the indices of the maxima, which the gradient is given."""
    del seed
    x, sides = widened(call["x"]), call["output_size"]
    return {**call, "indices": ADAPTIVE_MAX_POOLINGS[x.ndim - 2].indices(x, output_size=sides)}


def adaptive_maximum(rank: int) -> Operator:
    """Return the record of a max pooling to a given size along `rank` spatial axes."""
    of = ADAPTIVE_MAX_POOLINGS[rank]

    def witness(torch: Any) -> Callable[..., Any]:
        function = getattr(torch.nn.functional, of.forward.__name__)
        return partial(function, return_indices=True)

    record = written(of.values, of.grad_input, witness, numbers=max_pool.STYLES, **drawn(rank))
    return replace(
        record, also=(of.indices,), gradients={of.grad_input: "x", of.vjp: "x"},
        complete=_with_indices, unsettled=max_pool.unsettled,
    )  # fmt: skip


ADAPTIVE_AVG_POOLS = tuple(map(adaptive_averaging, RANKS))
ADAPTIVE_MAX_POOLS = tuple(map(adaptive_maximum, RANKS))
ADAPTIVE_AVG_POOL1D, ADAPTIVE_AVG_POOL2D, ADAPTIVE_AVG_POOL3D = ADAPTIVE_AVG_POOLS
ADAPTIVE_MAX_POOL1D, ADAPTIVE_MAX_POOL2D, ADAPTIVE_MAX_POOL3D = ADAPTIVE_MAX_POOLS
