"""Calls and answers in a backend's own conventions: labels and indices of another kind.

The suite has int64 labels and int64 indices that count within a plane.  Where a contract's policies
say otherwise, arguments are converted on their way to the backend and answers on their way back, so
that no property knows.  Conventions about values (which maximum wins, the slope at 0) change what
is right instead: `oracle.formulas.conventions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.oracle.declaration import Call, Formula, is_place
from gradoracle.oracle.shapes import Array, Shape

INTERFACE = ("labels", "indices", "index_origin")  # the policies of this module
LABELS, INDICES = "target", "indices"  # arguments


def as_given(policies: Mapping[str, Any], call: Call) -> Call:
    """Return a call with the arguments as a backend with these policies takes them."""
    if not any(name in policies for name in INTERFACE):
        return call
    changed: dict[str, Any] = {}
    labels, indices = call.get(LABELS), call.get(INDICES)
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "i" and "labels" in policies:
        scores = call["logits"] if "logits" in call else call["input"]  # of PyTorch's losses
        changed[LABELS] = _labels(policies["labels"], labels, scores)
    if isinstance(indices, np.ndarray):
        changed[INDICES] = _counted(policies, call["input_shape"], indices)
    return {**call, **changed}


def _labels(rule: str, labels: Array, logits: Array) -> Array:
    if rule == "one-hot":
        chosen: Array = labels[..., np.newaxis] == np.arange(logits.shape[-1])
        return chosen.astype(logits.dtype)
    return labels.astype(rule)


def as_returned(policies: Mapping[str, Any], formula: Formula, call: Call, answer: Array) -> Array:
    """Return an answer of the suite's as a backend with these policies gives it."""
    return _counted(policies, call["x"].shape, answer) if is_place(formula) else answer


def _counted(policies: Mapping[str, Any], shape: Shape, indices: Array) -> Array:
    counted: Array = indices + _offsets(policies, shape, indices)
    return counted.astype(policies.get("indices", "int64"))


def as_here(policies: Mapping[str, Any], formula: Formula, call: Call, answer: Array) -> Array:
    """Return a backend's answer as the suite has it: int64 indices within a plane.

    Raises:
        Mismatch: indices are of another dtype than the contract says.
    """
    if not (is_place(formula) and any(name in policies for name in INTERFACE)):
        return answer
    wanted = np.dtype(policies.get("indices", "int64"))
    if answer.dtype != wanted:
        raise Mismatch(
            f"{formula.__name__}: got dtype {answer.dtype}, want {wanted} (the contract's indices)"
        )
    counted: Array = answer.astype(np.int64) - _offsets(policies, call["x"].shape, answer)
    return counted


def _offsets(policies: Mapping[str, Any], shape: Shape, indices: Array) -> Any:
    """Return where the plane of each index begins in the whole array; 0 if they count within it."""
    if policies.get("index_origin") != "global" or indices.ndim < 3:
        return 0
    images, channels, *_ = indices.shape
    planes = np.arange(images * channels).reshape(images, channels, *[1] * (indices.ndim - 2))
    return planes * prod(shape[2:])
