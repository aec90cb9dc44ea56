"""Which tile and how many splits a product gets: what an estimate of its time says is best.

Both follow from the shape alone, never from the device, so that sums are added in the same order
everywhere.  The numbers are those of a large GPU; on a smaller one the plan is as right.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from gradoracle.implementations.cupy_kernels.gemm_tables import DEPTH, Conv

Tile: TypeAlias = tuple[int, int]

# Of each tile, the share of its time that multiplies: less in small ones, which load more for it.
TILES: dict[Tile, float] = {(128, 128): 0.84, (64, 128): 0.80, (128, 64): 0.80, (64, 64): 0.74}
SPLITS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256)
SHORTEST = 16  # steps of a split
PROCESSORS = 132
BUSY = 16  # warps that keep a multiprocessor busy while some of them wait
START = 4  # steps that filling the pipeline and storing the tile cost
MOVE = 40  # products that are computed in the time that one number is read or written


class Plan(NamedTuple):
    """The tile of sums that a block owns, and the number of copies that share the terms."""

    tile: Tile
    splits: int

    @property
    def threads(self) -> int:
        """Return the threads of a block."""
        return self.tile[0] * self.tile[1] // 64


class Product(NamedTuple):
    """A matrix product of `groups` times [rows, terms] by [terms, columns]."""

    groups: int
    rows: int
    columns: int
    steps: int  # terms / DEPTH

    def blocks(self, tile: Tile) -> int:
        """Return the tiles of its result."""
        return self.groups * -(-self.rows // tile[0]) * -(-self.columns // tile[1])


@lru_cache(maxsize=4096)
def best(products: tuple[Product, ...]) -> Plan:
    """Return the plan of products that run together; among equals, the one with fewer splits."""
    return min(_plans(products), key=lambda plan: estimate(products, plan))


def estimate(products: Sequence[Product], plan: Plan) -> float:
    """Return the time that a GPU takes, in products of two numbers."""
    rows, columns = plan.tile
    tiles = [product.blocks(plan.tile) for product in products]
    blocks = sum(tiles) * plan.splits
    steps = sum(
        n * (product.steps + START * plan.splits)
        for n, product in zip(tiles, products, strict=True)
    )
    work = steps * DEPTH * rows * columns / TILES[plan.tile]
    # The processor with the most blocks ends last.  With fewer warps more of the waiting shows.
    most = -(-blocks // PROCESSORS)
    uneven = most * PROCESSORS / blocks
    idle = math.sqrt(max(1.0, BUSY / (most * plan.threads / 32)))
    numbers = sum(product.groups * product.rows * product.columns for product in products)
    moved = numbers * (1 if plan.splits == 1 else 2 * plan.splits + 1)
    return work * uneven * idle + moved * MOVE


def weight_product(conv: Conv) -> Product:
    """Return the product that is the gradient of the weights."""
    columns = conv.C // conv.G * conv.KH * conv.KW
    return Product(conv.G, conv.M // conv.G, columns, -(-conv.N * conv.OH * conv.OW // DEPTH))


def _plans(products: Sequence[Product]) -> Iterator[Plan]:
    longest = max(product.steps for product in products)
    for splits in SPLITS:
        if splits == 1 or longest >= splits * SHORTEST:
            yield from (Plan(tile, splits) for tile in TILES)
