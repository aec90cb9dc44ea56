"""Bits of an image that depend on no other image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend, is_same
from gradoracle.conformance.backends.mismatch import Mismatch, Outside
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.property import NotJudged, holds, is_function
from gradoracle.conformance.properties.state import differing
from gradoracle.oracle.declaration import Call, Formula, algebra, argument_names
from gradoracle.oracle.shapes import Array

SIZES = (2, 5, 8, 17, 33, 64, 130)  # of batches, in which kernels change to other code
LARGE = 2**15  # numbers of a call, at most
AXIS = "axis"  # an option along which numbers are mixed
ALONE = 3  # images at either end that are asked for alone


class Batch(NamedTuple):
    """A call with other images around those of a call, and which of these its images are."""

    words: str
    call: Call
    images: list[int]


def _keeps_images(operator: Operator, formula: Formula) -> bool:
    """Return whether images are kept apart: always, or where an option is another axis."""
    if not is_function(formula) or not operator.axes.batched:
        return False
    return algebra(formula).images == "kept" or AXIS in argument_names(formula)[1]


@holds(
    where=_keeps_images, kind="floats", share=0.3, claim=("batch", "bitwise"), each_class_once=True
)
def is_batch_invariant(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:  # fmt: skip
    """An image (a row, along the axis n) gives the same bits alone, in any batch, and at any place
    of it.
    """  # noqa: D205 - one sentence
    count = _count(operator, formula, call)
    whole, compared = backend.ask(formula, call), 0
    if whole.shape[:1] != (count,):
        raise Mismatch(f"{formula.__name__}: got shape {[*whole.shape]}, want {count} images")
    for batch in _batches(operator, formula, call, count):
        with suppress(Outside):
            _require_the_same(formula, batch, whole, backend.ask(formula, batch.call))
            compared += 1
    if not compared:
        raise NotJudged("no other batch is inside the domain")
    return 0.0


def _require_the_same(formula: Formula, batch: Batch, whole: Array, got: Array) -> None:
    """Raise Mismatch unless the images of a batch have the bits that they have in the call."""
    if got.shape != (len(batch.images), *whole.shape[1:]):
        raise Mismatch(
            f"{formula.__name__}: got shape {[*got.shape]}, want {len(batch.images)} images"
        )
    for place, image in enumerate(batch.images):
        if not is_same(whole[image], got[place]):
            raise Mismatch(
                f"{formula.__name__} of image {image} of {len(whole)}: "
                f"{differing(whole[image], got[place])} {batch.words} (place {place} of "
                f"{len(got)})",
                shown={"other": batch.call, "image": image, "place": place},
            )


def _batches(operator: Operator, formula: Formula, call: Call, count: int) -> Iterator[Batch]:
    """Yield single images, all images in the opposite order, and them in larger batches."""
    images = operator.axes.images
    ends = sorted({*range(min(ALONE, count)), *range(max(0, count - ALONE), count)})
    for n in ends if count > 1 else []:
        yield Batch("alone", images(call, slice(n, n + 1)), [n])
    if count > 1:
        order = [*range(count)][::-1]
        yield Batch("in the opposite order", images(call, slice(None, None, -1)), order)
    arrays = [call[name] for name in _batched(operator, formula, call)]
    of_one = max(1, sum(array.size for array in arrays) // count)
    for size in SIZES:
        if size > count and size * of_one <= LARGE:
            kept = [at % count for at in range(size)]
            yield Batch(f"in a batch of {size}", _chosen(operator, call, kept), kept)


def _chosen(operator: Operator, call: Call, images: list[int]) -> dict[str, Any]:
    """Return the call on these of its images, some of them more than once."""
    axes, found = operator.axes, dict(call)
    for name in axes.batched:
        if np.ndim(found.get(name, 0)):
            found[name] = found[name][images]
    for option, name in axes.shapes.items():
        if option in found and name in axes.batched:
            found[option] = (len(images), *found[option][1:])
    return found


def _batched(operator: Operator, formula: Formula, call: Call) -> list[str]:
    """Return the arrays of a formula that have one entry for each image."""
    names = argument_names(formula)[0]
    return [n for n in operator.axes.batched if n in names and np.ndim(call.get(n, 0))]


def _count(operator: Operator, formula: Formula, call: Call) -> int:
    """Return how many images a call has.

    Raises:
        NotJudged: it has none, or they are not kept apart.
    """
    arrays = [call[name] for name in _batched(operator, formula, call)]
    counts = {len(array) for array in arrays}
    if len(counts) != 1 or counts == {0}:
        raise NotJudged("its arrays have no images in common")
    if AXIS in call and any(call[AXIS] % array.ndim == 0 for array in arrays):
        raise NotJudged("images are mixed along axis 0")
    return counts.pop()
