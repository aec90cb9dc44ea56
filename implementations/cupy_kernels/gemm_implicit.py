"""Launching the kernels of `conv2d_gemm.cu`: convolutions as products of matrices nobody stores."""

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.implementations.cupy_kernels import gemm_plan, gemm_tables
from gradoracle.implementations.cupy_kernels.gemm_plan import Plan, Product
from gradoracle.implementations.cupy_kernels.gemm_tables import (
    DEPTH,
    MOST_TAPS,
    Conv,
    Part,
    conv_of,
)

Array: TypeAlias = Any  # NumPy's or CuPy's
FILE = "conv2d_gemm.cu"
TYPES = {"float32": "float"}
THREADS = 256  # of a block, where no tile decides
MOST_PARTS = 64  # each block looks for its own among them
MOST = 2**31 - 2**10  # what an int counts, and a tile's overhang


class _Tables(NamedTuple):
    """What `convolve` reads besides the arrays."""

    parts: Array
    lanes: Array
    origins: Array
    blocks: int


@lru_cache(maxsize=4096)
def applies(conv: Conv, dtype: Any, of: str) -> bool:
    """Return whether every number that the kernels hold in an int fits there."""
    dtype = np.dtype(dtype)
    height = max(conv.H, conv.OH) + 2 * conv.PH + conv.KH * conv.DH
    width = max(conv.W, conv.OW) + 2 * conv.PW + conv.KW * conv.DW
    channels = max(conv.C, conv.M)
    counts = (
        channels // conv.G * height * width * dtype.itemsize,  # bytes of a group of an image
        conv.N * max(conv.H * conv.W, conv.OH * conv.OW),
        conv.N * channels,
        conv.M * (conv.C // conv.G + 1) * conv.KH * conv.KW,
    )
    return (
        dtype.name in TYPES
        and max(conv.KH, conv.KW) <= MOST_TAPS
        and max(counts) < MOST
        and (of != "grad_input" or min(conv.SH, conv.H) * min(conv.SW, conv.W) <= MOST_PARTS)
        and (of != "grad_weight" or _weights_apply(conv))
    )


def _weights_apply(conv: Conv) -> bool:
    """Return whether an int counts dy and x, and whether a step meets two images at most."""
    pixels = conv.OH * conv.OW
    numbers = max(conv.C * conv.H * conv.W, (conv.M + 128) * pixels)  # 128 for a tile's overhang
    return (conv.N + 1) * numbers < MOST and pixels >= DEPTH


def forward(
    machine: Any, x: Array, weight: Array, bias: Array | None, p: Any, y: Array,
    plan: Plan | None = None,
) -> None:  # fmt: skip
    """Fill y [N, M, OH, OW]."""
    _convolve(machine, x, weight, bias, p, y, plan, gradient=False)


def grad_input(
    machine: Any, grad_output: Array, weight: Array, p: Any, dx: Array, plan: Plan | None = None
) -> None:
    """Fill dx [N, C, H, W]."""
    _convolve(machine, grad_output, weight, None, p, dx, plan, gradient=True)


def grad_weight(
    machine: Any, grad_output: Array, x: Array, p: Any, dw: Array, plan: Plan | None = None
) -> None:
    """Fill dw [M, C/G, KH, KW]."""
    conv = conv_of(p)
    product = gemm_plan.weight_product(conv)
    plan = plan or gemm_plan.best((product,))
    lanes, pixels = _weight_tables(machine.xp, _stream(machine.xp), conv)
    copies = _copies(machine, dw, plan)
    _kernel(machine, "grad_weight", dw, plan)(
        (product.blocks(plan.tile) * plan.splits,),
        (plan.threads,),
        (grad_output, x, copies, lanes, pixels, p, np.int32(plan.splits)),
    )
    _add_up(machine, copies, None, dw, plan)


def _convolve(
    machine: Any, source: Array, weight: Array, bias: Array | None, p: Any, result: Array,
    plan: Plan | None, *, gradient: bool,
) -> None:  # fmt: skip
    conv = conv_of(p)
    plan = plan or gemm_plan.best(_products(conv, gradient))
    tables = _tables(machine.xp, _stream(machine.xp), conv, result.itemsize, gradient, plan)
    packed = _packed(machine, weight, tables.origins, conv, plan, gradient=gradient)
    copies = _copies(machine, result, plan)
    numbers = (gradient, len(tables.parts), plan.splits, *packed.shape[1:])
    _kernel(machine, "convolve", result, plan)(
        (tables.blocks,),
        (plan.threads,),
        (
            *(source, packed, _pointer(bias if plan.splits == 1 else None), copies),
            *(tables.lanes, tables.parts, p, *map(np.int32, numbers)),
        ),
    )
    _add_up(machine, copies, bias, result, plan)


def _packed(
    machine: Any, weight: Array, origins: Array, conv: Conv, plan: Plan, *, gradient: bool
) -> Array:
    """Return the weights in the order of the terms, [groups, terms, rows up to whole tiles]."""
    rows = (conv.C if gradient else conv.M) // conv.G
    taps = conv.KH * conv.KW
    width = -(-rows // plan.tile[0]) * plan.tile[0]
    terms = len(origins)
    packed = machine.xp.empty((conv.G, terms, width), weight.dtype)
    stride = taps if gradient else taps * (conv.C // conv.G)
    numbers = (conv.G, weight.size // conv.G, terms, rows, width, stride)
    _kernel(machine, "pack", weight)(
        (-(-packed.size // DEPTH // THREADS),),
        (THREADS,),
        (weight, packed, origins, *map(np.int32, numbers)),
    )
    return packed


def _copies(machine: Any, result: Array, plan: Plan) -> Array:
    """Return where the splits store their sums: a copy of the result for each."""
    if plan.splits == 1:
        return result
    return machine.xp.empty((plan.splits, *result.shape), result.dtype)


def _add_up(machine: Any, copies: Array, bias: Array | None, result: Array, plan: Plan) -> None:
    if plan.splits > 1:
        plane = result.shape[2] * result.shape[3]
        numbers = map(np.int32, (plan.splits, plane, result.shape[1]))
        _kernel(machine, "add_up", result)(
            (-(-result.size // THREADS),),
            (THREADS,),
            (copies, _pointer(bias), result, np.int64(result.size), *numbers),
        )


def _pointer(array: Array | None) -> Any:
    """Return what a kernel gets for an array: to some versions of CuPy None is no null pointer."""
    return np.uint64(0) if array is None else array


def _kernel(machine: Any, name: str, array: Array, plan: Plan | None = None) -> Any:
    expression = expression_of(name, array.dtype, plan)
    return machine.kernel(FILE, expression, (expression,))


def expression_of(name: str, dtype: Any, plan: Plan | None = None) -> str:
    """Return what C++ calls a kernel."""
    return (
        f"{name}<{', '.join((TYPES[np.dtype(dtype).name], *map(str, plan.tile if plan else ())))}>"
    )


def expressions() -> tuple[str, ...]:
    """Return what C++ calls every kernel that a convolution can ask for."""
    plans = [Plan(tile, 1) for tile in gemm_plan.TILES]
    return tuple(
        expression_of(name, dtype, plan)
        for dtype in TYPES
        for name in ("convolve", "grad_weight", "pack", "add_up")
        for plan in (plans if name in ("convolve", "grad_weight") else [None])
    )


@lru_cache(maxsize=1024)
def _products(conv: Conv, gradient: bool) -> tuple[Product, ...]:  # noqa: FBT001 - lru_cache's keys
    walk = gemm_tables.gradient_walk(conv, 1) if gradient else gemm_tables.forward_walk(conv, 1)
    rows = (conv.C if gradient else conv.M) // conv.G
    return tuple(
        Product(conv.G, rows, conv.N * part.height * part.width, part.steps) for part in walk.parts
    )


@lru_cache(maxsize=256)
def _tables(
    xp: Any, stream: object, conv: Conv, itemsize: int, gradient: bool, plan: Plan  # noqa: FBT001
) -> _Tables:  # fmt: skip
    """Return the tables on the device; they are the same for every call of a shape."""
    del stream  # in the key only: another stream might read before they have arrived
    make = gemm_tables.gradient_walk if gradient else gemm_tables.forward_walk
    walk, blocks = make(conv, itemsize), 0
    parts = np.empty((len(walk.parts), len(Part._fields)), np.int32)
    for i, product in enumerate(_products(conv, gradient)):
        parts[i] = walk.parts[i]._replace(block=blocks)
        blocks += product.blocks(plan.tile) * plan.splits
    return _Tables(xp.asarray(parts), xp.asarray(walk.lanes), xp.asarray(walk.origins), blocks)


@lru_cache(maxsize=256)
def _weight_tables(xp: Any, stream: object, conv: Conv) -> tuple[Array, Array]:
    """Return the lanes of the taps and of the output pixels on the device."""
    del stream
    lanes = gemm_tables.forward_walk(conv, 1).lanes
    return xp.asarray(lanes), xp.asarray(gemm_tables.pixel_lanes(conv))


def _stream(xp: Any) -> object:
    """Return what tells devices and streams apart."""
    cuda = getattr(xp, "cuda", None)
    return (cuda.Device().id, cuda.get_current_stream().ptr) if cuda else None
