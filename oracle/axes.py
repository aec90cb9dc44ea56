"""Named axes of the arrays of a formula, from which properties know what lies along them.

    Axes("x: n c (h w); weight: m c/g (p q); bias?: m; grad_output: n m (i j)")

One letter is one axis.  `n` counts images; `c/g` is the channels of one group; `(h w)` are spatial
axes, of pixels or of taps; `?` marks an array that may be None; `*` stands for any further axes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

IMAGES, OF_A_GROUP = "n", "/g"
PART = re.compile(r"(\w+)(\??): ?([\w/* ]*?)(?: ?\(([\w ]+)\))?")

Places: TypeAlias = Mapping[str, tuple[int, ...]]  # of arrays by name, some of their axes


@dataclass(frozen=True)
class Axes:
    """The axes of a call's arrays, by the name of the argument.

    `words` says what lies along the axes that can be put in another order.  `shapes` maps an option
    that is the shape of an array to that array.  `strided` is the array whose pixels are a stride
    apart; `window` the option that is a window's size, where no array has it.  `neutral` is the
    value with which an option changes nothing, one number for all spatial axes.  `absent` is what
    the elements of an array that may be None are then, if not 0.

    Raises:
        ValueError: the text is not as above.
    """

    text: str
    words: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)
    strided: str = ""
    window: str = ""
    neutral: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the text."""
        letters: dict[str, tuple[str, ...]] = {}
        space: dict[str, tuple[int, ...]] = {}
        optional = []
        for part in self.text.split(";"):
            found = PART.fullmatch(part.strip())
            if found is None:
                raise ValueError(f"{part.strip()!r} does not say axes, such as 'x: n c (h w)'")
            name, mark, plain, spatial = found.groups()
            front, back = plain.split(), (spatial or "").split()
            letters[name] = (*front, *back)
            space[name] = (*range(len(front), len(front) + len(back)),)
            optional += [name] * bool(mark)
        self.__dict__.update(arrays=letters, space=space, optional=(*optional,))

    arrays: Mapping[str, tuple[str, ...]] = field(init=False)  # letters, those of a group as `c/g`
    space: Places = field(init=False)  # the spatial axes of each array
    optional: tuple[str, ...] = field(init=False)  # arrays that may be None

    def along(self, *letters: str) -> dict[str, tuple[int, ...]]:
        """Return the axes of each array that are one of some letters, of a group or of all."""
        found = {
            name: tuple(at for at, one in enumerate(of) if one.removesuffix(OF_A_GROUP) in letters)
            for name, of in self.arrays.items()
        }
        return {name: places for name, places in found.items() if places}

    @cached_property
    def grouped(self) -> tuple[str, ...]:
        """The letters of the axes along which groups follow each other, such as c and m."""
        arrays = [of for of in self.arrays.values() if any(OF_A_GROUP in one for one in of)]
        flat = [
            one.removesuffix(OF_A_GROUP)
            for name, of in self.arrays.items()
            if of in arrays
            for at, one in enumerate(of)
            if at not in self.space[name]
        ]
        return tuple(dict.fromkeys(flat))

    @cached_property
    def by_group(self) -> dict[str, int]:
        """The axis of each array along which groups follow each other."""
        return {
            name: at
            for name, of in self.arrays.items()
            for at, one in enumerate(of)
            if one in self.grouped
        }

    def sizes(self, call: Mapping[str, Any]) -> dict[str, int]:
        """Return how long the axes of a call's arrays are, by letter."""
        found: dict[str, int] = {}
        for name, of in self.arrays.items():
            if isinstance(call.get(name), np.ndarray):
                for one, size in zip(of, call[name].shape, strict=False):
                    found.setdefault(one, size)
        return found

    def shaped(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return the call with the shapes among its options as its arrays are."""
        here = {option: name for option, name in self.shapes.items() if option in call}
        return {**call, **{option: call[name].shape for option, name in here.items()}}

    def images(self, call: Mapping[str, Any], chosen: slice) -> dict[str, Any]:
        """Return the call on some of its images: arrays of the batch and shapes that count it."""
        part = dict(call)
        for name in self.batched:
            if np.ndim(part.get(name, 0)):
                part[name] = part[name][chosen]
        for option, name in self.shapes.items():
            if option in part and name in self.batched:
                batch, *rest = part[option]
                part[option] = (len(range(batch)[chosen]), *rest)
        return part

    def with_neutral(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return the call with every option that has a neutral value at that value."""
        return {**call, **{n: self.neutral_of(n, v) for n, v in call.items() if n in self.neutral}}

    def neutral_of(self, name: str, like: Any) -> Any:
        """Return an option's neutral value, for every axis where it has a number for each."""
        value = self.neutral[name]
        return (value,) * len(like) if isinstance(like, tuple) else value

    @cached_property
    def rank(self) -> int:
        """The number of spatial axes."""
        return max(map(len, self.space.values()))

    @cached_property
    def batched(self) -> tuple[str, ...]:
        """The arrays that have one entry per image, on axis 0."""
        return tuple(name for name, of in self.arrays.items() if of[:1] == (IMAGES,))
