"""The functions of one and of three spatial axes, and power-average pooling."""

from gradoracle.implementations.torch_reference import (
    adaptive_max_pool,
    adaptive_pool,
    interpolate,
    lp_pool,
    max_unpool,
)
from gradoracle.implementations.torch_reference.moved_pixels import padding_of

ENDS = ("", "_grad", "_grad_input", "_vjp")
RANKED = tuple(f"{rank}d{end}" for rank in (1, 3) for end in ENDS)
PADDINGS = {
    "zero_pad": "constant", "reflection_pad": "reflect", "replication_pad": "replicate",
    "circular_pad": "circular",
}  # fmt: skip
PADS = [
    function
    for name, mode in PADDINGS.items()
    for rank in (1, 3)
    for function in padding_of(f"{name}{rank}d", mode, rank)
]
FURTHER_RANKS = [
    function
    for module in (adaptive_max_pool, adaptive_pool, interpolate, lp_pool, max_unpool)
    for name, function in vars(module).items()
    if name.endswith((*RANKED, "lp_pool2d", "lp_pool2d_grad"))
    if name == getattr(function, "__name__", "")
] + PADS
