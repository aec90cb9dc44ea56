"""Flax's poolings on JAX: channels last."""

import flax.linen as nn
import jax.numpy as jnp

from gradoracle import adapt


def by_channels_last(pool, x, *given, **more):
    return jnp.moveaxis(pool(jnp.moveaxis(x, 1, -1), *given, **more), -1, 1)


def max_pool(x, *, kernel_size, stride, padding):
    pads = [(p, p) for p in padding]
    return by_channels_last(nn.max_pool, x, kernel_size, stride, pads)


def avg_pool(x, *, kernel_size, stride, padding, count_include_pad):
    pads = [(p, p) for p in padding]
    return by_channels_last(nn.avg_pool, x, kernel_size, stride, pads, count_include_pad)


ranks = (1, 2, 3)
backend = adapt.jax(
    **{f"max_pool{rank}d": max_pool for rank in ranks},
    **{f"avg_pool{rank}d": avg_pool for rank in ranks},
    contract={"shapes": "expensive"},
)
