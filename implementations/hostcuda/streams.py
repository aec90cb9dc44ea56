"""`cupy.cuda` on the CPU: everything has ended when a call returns, so waiting is nothing."""

from types import TracebackType
from typing import Self


class Stream:
    """A stream: what is launched on it runs at once."""

    null: "Stream"

    def __init__(self, null: object = None, **_others: object) -> None:  # noqa: ARG002 - CuPy's
        """Make one; the arguments are CuPy's."""
        self.ptr = 0
        self.done = True

    def __enter__(self) -> Self:
        """Make it the current one."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        """Leave it."""

    def use(self) -> Self:
        """Make it the current one."""
        return self

    def synchronize(self) -> None:
        """Wait for nothing."""

    def wait_event(self, event: "Event") -> None:
        """Wait for nothing."""

    def record(self, event: "Event | None" = None) -> "Event":
        """Return an event, which has happened."""
        return event or Event()


Stream.null = Stream(null=True)


class Event:
    """An event, which has happened; times mean nothing here."""

    def __init__(self, block: object = None, **_others: object) -> None:  # noqa: ARG002 - CuPy's
        """Make one; the arguments are CuPy's."""
        self.done = True

    def record(self, stream: Stream | None = None) -> None:
        """Record it."""

    def synchronize(self) -> None:
        """Wait for nothing."""


class Device:
    """The one device, as a context manager and to wait for."""

    def __init__(self, device: int = 0) -> None:
        """Take its number.

        Raises:
            ValueError: it is not 0.
        """
        if device:
            raise ValueError(f"there is one device on the CPU, number 0, got {device}")
        self.id = device
        self.compute_capability = "90"
        self.attributes = {"MultiProcessorCount": 132, "MaxThreadsPerBlock": 1024, "WarpSize": 32}

    def __enter__(self) -> Self:
        """Make it the current one."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it."""

    def use(self) -> None:
        """Make it the current one."""

    def synchronize(self) -> None:
        """Wait for nothing."""


def get_elapsed_time(start_event: Event, end_event: Event) -> float:  # noqa: ARG001 - CuPy's
    """Return 1.0 ms: time is not modelled."""
    return 1.0


def get_current_stream() -> Stream:
    """Return the only stream."""
    return Stream.null


def is_available() -> bool:
    """Return False: no GPU is used."""
    return False


class Runtime:
    """The functions of the CUDA runtime that host code asks CuPy for."""

    @staticmethod
    def getDeviceCount() -> int:  # noqa: N802 - CuPy's name
        """Return 1."""
        return 1

    @staticmethod
    def deviceSynchronize() -> None:  # noqa: N802 - CuPy's name
        """Wait for nothing."""


runtime = Runtime()
