"""This suite, as a program that writes kernels calls it: until the first mismatch, by default."""

from typing import Any

import gradoracle


def judge(backend: Any, operator: str, seed: int) -> None:
    """Raise AssertionError with the first mismatch's headline."""
    certificate = gradoracle.check(
        backend, operators=[operator], seed=seed, stop_at_first_mismatch=True
    )
    assert not certificate.mismatches, certificate.mismatches[0].headline
