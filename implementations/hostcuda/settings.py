"""How kernels run on the CPU: the mode, and the orders in which their threads take turns."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

MODES = ("fast", "check")
ORDERS = ("forward", "reverse", "shuffle")


@dataclass(frozen=True)
class Settings:
    """`fast` or `check`, and the orders that `check` runs every launch in, with the same result."""

    mode: str = "fast"
    orders: tuple[str, ...] = ("forward",)
    seed: int = 1  # of the shuffled order
    prime: int = 0  # of the field that numbers are elements of, see `field`; 0: they are floats

    def __post_init__(self) -> None:
        """Raise ValueError for what there is not."""
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if not self.orders or not set(self.orders) <= set(ORDERS):
            raise ValueError(f"orders must be some of {', '.join(ORDERS)}, got {self.orders!r}")


def _asked_for() -> Settings:
    """Return what the environment's HOSTCUDA_MODE asks for."""
    mode = os.environ.get("HOSTCUDA_MODE") or "fast"
    if mode not in MODES:
        raise ImportError(f"HOSTCUDA_MODE must be one of {', '.join(MODES)}, got {mode!r}")
    return Settings(mode, ORDERS) if mode == "check" else Settings()


_in_force = [_asked_for()]


def settings() -> Settings:
    """Return the settings in force."""
    return _in_force[-1]


def described() -> str:
    """Return in words what kernels run on under the settings in force."""
    how = "looked at access by access" if settings().mode == "check" else "at speed"
    return f"the CPU: CUDA C++ compiled by g++ (hostcuda), {how}"


@contextmanager
def using(chosen: Settings) -> Iterator[None]:
    """Run kernels so within the block."""
    _in_force.append(chosen)
    try:
        yield
    finally:
        # Its own entry, the last: an equal one further out stays in force.
        last = len(_in_force) - 1 - _in_force[::-1].index(chosen)
        del _in_force[last]


def checking(*orders: str, seed: int = 1) -> AbstractContextManager[None]:
    """Look at every access within the block, in the orders given, or in all three.

    Raises:
        ValueError: there is no such order.
    """
    return using(Settings("check", orders or ORDERS, seed, settings().prime))
