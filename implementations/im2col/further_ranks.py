"""The functions of one and of three spatial axes, and power-average pooling."""

from gradoracle.implementations.im2col import (
    adaptive_max_pool,
    adaptive_pool,
    interpolate,
    lp_pool,
    max_unpool,
    padding,
)

ENDS = ("", "_grad", "_grad_input", "_vjp")
RANKED = tuple(f"{rank}d{end}" for rank in (1, 3) for end in ENDS)
FURTHER_RANKS = [
    function
    for module in (adaptive_max_pool, adaptive_pool, interpolate, lp_pool, max_unpool, padding)
    for name, function in vars(module).items()
    if name.endswith((*RANKED, "lp_pool2d", "lp_pool2d_grad"))
    if name == getattr(function, "__name__", "")
]
