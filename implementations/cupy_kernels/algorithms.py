"""How convolutions are computed: fast where that is possible, else by the formulas' loops.

What is here knows no protocol: arrays that fit each other, and the struct `Conv` of their shapes.
A convolution and a transposed convolution are made of the same three sums.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import ModuleType, SimpleNamespace
from typing import Any

from gradoracle.implementations.cupy_kernels import gemm
from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.structs import Struct
from gradoracle.implementations.shapes import Array

DIRECT = Source(
    "conv2d.cu", ("conv2d", "conv2d_grad_input", "conv2d_grad_weight", "channel_sums", "add_bias")
)

# Modules with forward(machine, x, weight, bias, p, y), grad_input(machine, dy, weight, p, dx) and
# grad_weight(machine, dy, x, p, dw), which fill their last argument or return False: they decline.
# `gemm` picks among the others by shape; these alone are for tests.
FASTER: Mapping[str, Any] = {"gemm": gemm, **{name: gemm.Only(name) for name in gemm.ALGORITHMS}}
ALGORITHMS = (*FASTER, "direct")

_tried: ContextVar[tuple[str, ...]] = ContextVar("_tried", default=("gemm", "direct"))


@contextmanager
def only(*algorithms: str) -> Iterator[None]:
    """Have convolutions within the block computed by the first of these that does not decline.

    Raises:
        ValueError: there is no algorithm of that name.
    """
    known = (*FASTER, "direct")
    for name in algorithms:
        if name not in known:
            raise ValueError(f"algorithm {name!r} is unknown; pick from {[*known]}")
    token = _tried.set(algorithms)
    try:
        yield
    finally:
        _tried.reset(token)


def backend(module: ModuleType, *algorithms: str) -> SimpleNamespace:
    """Return a backend of a module's functions that computes convolutions as `only` does."""

    def by_it(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def called(*arguments: Any, **options: Any) -> Any:
            with only(*algorithms):
                return function(*arguments, **options)

        return called

    has = {name: getattr(module, name) for name in module.__all__}
    return SimpleNamespace(**{n: by_it(v) if callable(v) else v for n, v in has.items()})


def forward(
    machine: Machine, x: Array, weight: Array, bias: Array | None, p: Struct, y: Array
) -> None:
    """Fill y with the convolution of x, or, for a transposed one, dx with that of dy."""
    if y.size and not _done(machine, "forward", x, weight, bias, p, y):
        arguments = (x, weight, bias, y, p)
        machine.each(DIRECT, "conv2d", arguments, count=y.size, dtype=y.dtype)


def grad_input(
    machine: Machine, grad_output: Array, weight: Array, bias: Array | None, p: Struct, dx: Array
) -> None:
    """Fill dx, or, for a transposed convolution, which has a bias, y.

    What takes half precision adds the bias before it rounds.
    """
    if not dx.size:
        return
    if not _done(machine, "grad_input", grad_output, weight, p, dx):
        arguments = (grad_output, weight, bias, dx, p)
        machine.each(DIRECT, "conv2d_grad_input", arguments, count=dx.size, dtype=dx.dtype)
    elif bias is not None:
        _add_bias(machine, dx, bias)


def grad_weight(machine: Machine, grad_output: Array, x: Array, p: Struct, dw: Array) -> None:
    """Fill dw; a transposed convolution calls its x `grad_output`, and its dy `x`."""
    if not grad_output.size:
        with machine.active():
            dw.fill(0)
    elif not _done(machine, "grad_weight", grad_output, x, p, dw):
        terms = grad_output.size // grad_output.shape[1]
        machine.sums(
            DIRECT, "conv2d_grad_weight", (grad_output, x, dw, p),
            count=dw.size, terms=terms, dtype=dw.dtype,
        )  # fmt: skip


def channel_sums(machine: Machine, grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW]."""
    images, channels, *sides = grad_output.shape
    pixels, dtype = sides[0] * sides[1], grad_output.dtype
    if not grad_output.size:
        return machine.zeros((channels,), dtype)
    db = machine.empty((channels,), dtype)
    machine.sums(
        DIRECT, "channel_sums", (grad_output, db, images, channels, pixels),
        count=channels, terms=images * pixels, dtype=dtype,
    )  # fmt: skip
    return db


def _add_bias(machine: Machine, y: Array, bias: Array) -> None:
    """Add bias [M] to y [N, M, OH, OW], in place."""
    arguments = (y, bias, y.size, y.shape[1], y.shape[2] * y.shape[3])
    machine.each(DIRECT, "add_bias", arguments, count=y.size, dtype=y.dtype)


def _done(machine: Machine, step: str, *arguments: Any) -> bool:
    """Return whether an algorithm before "direct" has done this step."""
    for name in _tried.get():
        if name == "direct":
            return False
        with machine.active():
            if getattr(FASTER[name], step)(machine, *arguments) is not False:
                return True
    raise NotImplementedError(f"{' and '.join(_tried.get())} declined {step}")
