"""NumPy functions as courses write them, in other layouts or of one image, as a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.conformance.backends.adapters.base import (
    FORMULAS,
    GRADIENT,
    Function,
    among,
    arguments_of,
    backend,
    forward,
    require_known,
)
from gradoracle.conformance.backends.adapters.parameters import Taken, taken
from gradoracle.oracle.declaration import algebra

LAYOUTS = ("NCHW", "NHWC", "CHW", "HWC")
# Where a weight's filters (O), channels (I) and taps (HW) lie; the first is the protocol's.
WEIGHTS = ("OIHW", "HWIO", "OHWI")
OF_A_PAIR = ("tuple", "sequence")  # what Python and NumPy say where a number is expected
PAIRS = "options are passed as pairs: pairs=False, or --no-pairs, passes one number"


@dataclass(frozen=True)
class Layout:
    """How the arrays and options of one function of the protocol are handed to a callable."""

    name: str
    it: Taken
    last: bool  # whether channels are the last axis
    weights: str
    batch: bool
    flipped: bool
    pairs: bool

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Call it with the arguments of the protocol, and return the protocol's result."""
        operator, formula = FORMULAS[self.name]
        images = [n for n in operator.axes.batched if isinstance(values.get(n), np.ndarray)]
        kind = algebra(formula).images
        if self.batch or not images or kind == "mixed" or "*" in operator.axes.arrays[images[0]]:
            return self._one(values)
        counts = {n: len(values[n]) for n in images}
        if len({*counts.values()}) > 1:
            raise ValueError(f"arrays of different numbers of images: {counts}")
        count = counts[images[0]]
        ours = {
            n: values[n] if count else np.zeros_like(values[n], shape=(1, *values[n].shape[1:]))
            for n in images
        }
        results = [
            self._one({**values, **{n: array[at] for n, array in ours.items()}})
            for at in range(count or 1)
        ]
        together = _stacked if kind == "kept" else _summed
        if isinstance(results[0], tuple):
            return tuple(together(part, count) for part in zip(*results, strict=True))
        return together(results, count)

    def _one(self, values: Mapping[str, Any]) -> Any:
        """Call it once: with the batch, or with one image."""
        shapes = FORMULAS[self.name][0].axes.shapes
        given = {}
        for name, value in values.items():
            if name in shapes:
                given[name] = self._shape(shapes[name], value)
            elif isinstance(value, np.ndarray):
                given[name] = self._own(name, value)
            else:
                given[name] = self._option(name, value)
        try:
            result = self.it(given)
        except (TypeError, ValueError) as error:
            of_a_pair = any(word in str(error) for word in OF_A_PAIR)
            if of_a_pair and any(isinstance(given.get(n), tuple) for n in self.it.options):
                raise TypeError(f"{error} ({PAIRS})") from error
            raise
        if isinstance(result, tuple):
            return tuple(self._back(one) for one in result)
        return self._back(result)

    def _places(self, name: str) -> tuple[int, ...]:
        """Return for every axis of an array as the callable has it, which one of ours it is."""
        axes = FORMULAS[self.name][0].axes
        space, count = axes.space.get(name, ()), len(axes.arrays[name])
        if name in axes.batched:
            ours = (0, *space, 1) if self.last and space else tuple(range(count))
            return ours if self.batch else tuple(at - 1 for at in ours if at)
        if not space or self.weights == WEIGHTS[0]:
            return tuple(range(count))
        return (*space, 1, 0) if self.weights == "HWIO" else (0, *space, 1)

    def _turned(self, name: str, array: Any) -> Any:
        """Return an array with its taps turned round, where the callable convolves."""
        axes = FORMULAS[self.name][0].axes
        space = () if name in axes.batched else axes.space.get(name, ())
        return np.flip(array, space) if self.flipped and space else array

    def _own(self, name: str, array: Any) -> Any:
        places = self._places(name)
        if array.ndim != len(places):  # it does not fit: the callable is to say so
            return array
        return np.transpose(self._turned(name, array), places)

    def _back(self, result: Any) -> Any:
        operator = FORMULAS[self.name][0]
        gradients = {f.__name__: by for f, by in operator.gradients.items()}
        name = gradients.get(self.name, GRADIENT)
        if not isinstance(result, np.ndarray) or name not in operator.axes.arrays:
            return result
        places = self._places(name)
        if result.ndim != len(places):
            return result
        return self._turned(name, np.transpose(result, np.argsort(places)))

    def _shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        batched = name in FORMULAS[self.name][0].axes.batched
        ours = shape[1:] if batched and not self.batch else shape
        places = self._places(name)
        return tuple(ours[at] for at in places) if len(ours) == len(places) else ours

    def _option(self, name: str, value: Any) -> Any:
        """Return an option, of a tuple of equal numbers the number where pairs are not taken."""
        if self.pairs or not isinstance(value, tuple):
            return value
        if len({*value}) > 1:
            raise NotImplementedError(f"{name}={value}: {self.it.label} takes one number")
        return value[0]


def adapt(
    *namespaces: Any, layout: str = "NCHW", weights: str | None = None, batch: bool | None = None,
    flipped: bool = False, pairs: bool = True, dtypes: Sequence[str] | None = None,
    contract: Mapping[str, Any] | None = None, **functions: Function,
) -> SimpleNamespace:  # fmt: skip
    """Return the backend of some functions on NumPy arrays; gradients have the protocol's names.

    `layout` is that of images, `weights` that of filters: HWIO beside NHWC and HWC unless given,
    OIHW beside the others.  Without `batch`, as in CHW and HWC, a function is given one image at a
    time; results are stacked, and gradients by weight and bias added up.  `flipped`: it turns the
    kernel round, as a true convolution does.  Without `pairs`, it takes one number for a pair.

    Raises:
        ValueError: a name, layout or signature that there is not.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    last, has_batch = layout.endswith("C"), layout.startswith("N")
    weights = WEIGHTS[last] if weights is None else weights
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {weights!r}")
    if batch and not has_batch:
        raise ValueError(f"images of the layout {layout} have no batch axis N: batch must be False")
    given = among(namespaces, functions)
    require_known(given, "numpy")
    made = {}
    for name, function in given.items():
        it = taken(function, *arguments_of(name))
        batched = has_batch if batch is None else batch
        called = Layout(name, it, last, weights, batched, flipped, pairs)
        made[name] = forward(name, it, called)
    return backend("numpy", made, dtypes=dtypes, contract=contract)


def _stacked(results: Sequence[Any], count: int) -> Any:
    return np.stack(results)[:count]


def _summed(results: Sequence[Any], count: int) -> Any:
    plus: Callable[[Any, Any], Any] = np.add
    return reduce(plus, results) if count else np.zeros_like(results[0])
