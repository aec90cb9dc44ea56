"""Equinox's poolings on JAX."""

import equinox
import jax

from gradoracle import adapt


def pooling(kind, rank):
    layer = getattr(equinox.nn, f"{kind}Pool{rank}d")

    def pool(x, *, kernel_size, stride, padding, ceil_mode):
        return jax.vmap(layer(kernel_size, stride, padding, use_ceil=ceil_mode))(x)

    return pool


backend = adapt.jax(
    **{f"max_pool{rank}d": pooling("Max", rank) for rank in (1, 2, 3)},
    **{f"avg_pool{rank}d": pooling("Avg", rank) for rank in (1, 2, 3)},
    contract={"shapes": "expensive"},
)
