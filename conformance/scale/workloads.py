"""Which layers are checked: few in every run, all of them where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf, prod
from typing import NamedTuple

from gradoracle.conformance.operators.record import Arguments, Operator

SMALL = 400_000  # products of a call that every run makes, at most
BATCHES = (1, 2, 4, 8, 16, 32)
ELEMENTS = 2**25  # of the largest array of a call


SHOWN = 2**17  # elements of a call that a report can print
TOO_LARGE = "every layer of the operator takes more than a run makes by default: --at-scale"


class Batch(NamedTuple):
    """A layer with a number of images."""

    layer: str
    sizes: Mapping[str, int]
    always: bool

    @property
    def name(self) -> str:
        """The layer and its images, in words."""
        images = self.sizes["images"]
        return f"{self.layer}, {images} image{'s' * (images > 1)}"


def batches(operator: Operator) -> Iterator[Batch]:
    """Yield every layer of an operator, for one image and for as many as fit, up to 32."""
    for layer in operator.layers:
        fitting = [n for n in BATCHES if _largest(operator, layer.sizes, n) <= ELEMENTS]
        for images in sorted({*fitting[:1], *fitting[-1:]}):
            always = layer.always and images == 1
            yield Batch(layer.name, {**layer.sizes, "images": images}, always)


def chosen(operator: Operator, *, at_scale: bool) -> tuple[list[Batch], int]:
    """Return the layers that a run checks, and how many it leaves out.

    Without `at_scale` they are those of at most SMALL products and those that are always checked.
    """
    all_ = [*batches(operator)]
    some = [one for one in all_ if at_scale or one.always or products(operator, one.sizes) <= SMALL]
    return some, len(all_) - len(some)


def products(operator: Operator, sizes: Mapping[str, int]) -> int:
    """Return about how many products a formula of the operator adds up: of a layer, exactly."""
    shapes = operator.arguments(sizes).shapes
    x, weight, y = (shapes[name] or () for name in ("x", "weight", "grad_output"))
    return x[0] * min(prod(x[2:]), prod(y[2:])) * prod(weight)


def is_small(operator: Operator, sizes: Mapping[str, int], arguments: Arguments) -> bool:
    """Return whether the oracle checks a call in no time, and a report can print it."""
    return products(operator, sizes) <= 2**20 and elements(arguments) <= SHOWN


def elements(arguments: Arguments) -> int:
    """Return the elements of the largest array of a call."""
    return max(prod(shape) for shape in arguments.shapes.values() if shape is not None)


def _largest(operator: Operator, sizes: Mapping[str, int], images: int) -> float:
    """Return the elements of the largest array for so many images, inf where they are illegal."""
    try:
        return elements(operator.arguments({**sizes, "images": images}))
    except ValueError:  # so many are outside a domain
        return inf
