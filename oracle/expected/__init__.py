"""The value that a call must have, and how far rounding may take it."""
