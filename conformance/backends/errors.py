"""What keeps a run from being made; any other exception of the suite is a fault of ours."""

OURS = "this is a fault of gradoracle, not of the backend; please report it with this traceback"


class UsageError(ValueError):
    """An argument is wrong; the message names it and what would be right."""


class CouldNotRunError(RuntimeError):
    """A run cannot begin or go on; the message says why."""
