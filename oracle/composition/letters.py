"""The axes of every array of a composition, from those of its operators.

Where one operator's result is another's argument, their axes are the same: the channels that
`batch_norm` normalises are the filters of the convolution before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import TypeAlias

from gradoracle.oracle.axes import IMAGES, OF_A_GROUP, Axes
from gradoracle.oracle.composition.expression import (
    Applied,
    Leaf,
    Node,
    Number,
    Pair,
    nodes,
)
from gradoracle.oracle.derive import ANY_MORE, GRAD_OUTPUT

Letters: TypeAlias = tuple[str, ...]


class _Letter:
    """An axis; those that are found to be the same share a root."""

    def __init__(self, wish: str, *, is_derived: bool = False) -> None:
        """Begin as an axis of its own that would like a letter."""
        self.wish, self.is_derived = wish, is_derived
        self._same: _Letter | None = None

    @property
    def root(self) -> _Letter:
        found = self
        while found._same is not None:
            found = found._same
        return found

    def join(self, other: _Letter) -> None:
        """Make this axis and another the same; its length follows if either's does."""
        one, two = self.root, other.root
        if one is two:
            return
        if two.wish == IMAGES:
            one.wish = IMAGES
        one.is_derived = one.is_derived or two.is_derived
        two._same = one  # noqa: SLF001 - our own


@dataclass
class Inference:
    """What is found of the axes while an expression is walked."""

    text: str
    axes: Mapping[str, Axes]  # of every operator
    arguments: Mapping[str, Sequence[str]]  # the names of every operator's arrays
    leaves: dict[str, list[tuple[_Letter, bool]]] = field(default_factory=dict)  # and if of a group
    spatial: dict[str, int] = field(default_factory=dict)  # the first spatial axis of each leaf
    results: dict[int, list[_Letter]] = field(default_factory=dict)  # of each operator in the tree
    bound: dict[int, dict[str, _Letter]] = field(default_factory=dict)  # its letters, and ours

    def visit(self, node: Node | None) -> list[_Letter] | None:
        """Return the axes of a node, None where they are not known yet.

        Raises:
            ValueError: axes do not fit each other, or there is no way to know them.
        """
        match node:
            case Leaf(name) if name in self.leaves:
                return [letter for letter, _ in self.leaves[name]]
            case Number():
                return []
            case Pair(_, _, one, other):
                return self._pair(one, other)
            case Applied():
                return self._applied(node)
        return None

    def _pair(self, one: Node, other: Node) -> list[_Letter] | None:
        sides = [(node, self.visit(node)) for node in (one, other)]
        known = [letters for _, letters in sides if letters]
        if not known:
            return None
        for node, letters in sides:
            if letters is None:
                self._name(node, known[0])
        if len(known) == 2:
            self._join(known[0], known[1], "the two sides of a sum")
        return known[0]

    def _name(self, node: Node, letters: Sequence[_Letter], grouped: Sequence[bool] = ()) -> None:
        """Give the arrays of a node, which are added to each other, their axes."""
        of_a_group = grouped or (False,) * len(letters)
        for one in nodes(node):
            if isinstance(one, Leaf) and one.name not in self.leaves:
                self.leaves[one.name] = list(zip(letters, of_a_group, strict=True))

    def _join(self, one: Sequence[_Letter], other: Sequence[_Letter], what: str) -> None:
        if len(one) != len(other):
            raise ValueError(
                f"{what} in {self.text!r} have {len(one)} and {len(other)} axes; they must have "
                "as many"
            )
        for a, b in zip(one, other, strict=True):
            a.join(b)

    def _applied(self, node: Applied) -> list[_Letter]:
        axes, names = self.axes[node.operator], self.arguments[node.operator]
        bound: dict[str, _Letter] = {}
        rest: list[_Letter] = []
        given = dict(zip(names, node.arrays, strict=False))
        found = {name: self.visit(one) for name, one in given.items()}
        for name, letters in found.items():
            if letters is not None and name in axes.arrays:
                self._bind(axes.arrays[name], letters, bound, rest, f"{node.operator}'s {name}")
        for name, one in given.items():
            if found[name] is None and one is not None and name in axes.arrays:
                self._name_argument(one, axes, name, bound, rest)
        of_result = axes.arrays.get(GRAD_OUTPUT, ())
        result = self._letters(of_result, bound, rest, is_derived=True)
        self._join(self.results.setdefault(id(node), result), result, "the results")
        self.bound[id(node)] = bound
        return self.results[id(node)]

    def _bind(
        self, of: Letters, letters: list[_Letter], bound: dict[str, _Letter],
        rest: list[_Letter], what: str,
    ) -> None:  # fmt: skip
        plain = [one for one in of if one != ANY_MORE]
        if len(letters) < len(plain) or (len(plain) == len(of) != len(letters)):
            raise ValueError(
                f"{what} has the axes [{', '.join(of)}], and is given {len(letters)} axes in "
                f"{self.text!r}"
            )
        for one, letter in zip(plain, letters, strict=False):
            key = one.removesuffix(OF_A_GROUP)
            if key == IMAGES:
                letter.root.wish = IMAGES
            bound.setdefault(key, letter).join(letter)
        rest[:] = rest or letters[len(plain) :]

    def _name_argument(
        self, node: Node, axes: Axes, name: str, bound: dict[str, _Letter], rest: list[_Letter]
    ) -> None:
        """Give the arrays of an argument the axes that its operator says it has."""
        of = axes.arrays[name]
        if ANY_MORE in of and not rest:
            rest.append(_Letter("c"))
        letters = self._letters(of, bound, rest)
        grouped = [one.endswith(OF_A_GROUP) for one in of if one != ANY_MORE]
        grouped += [False] * (len(letters) - len(grouped))
        self._name(node, letters, grouped)
        if axes.space.get(name):
            named = {one.name for one in nodes(node) if isinstance(one, Leaf)}
            self.spatial.update(dict.fromkeys(named, axes.space[name][0]))

    def _letters(
        self, of: Letters, bound: dict[str, _Letter], rest: list[_Letter], *,
        is_derived: bool = False,
    ) -> list[_Letter]:  # fmt: skip
        found: list[_Letter] = []
        for one in of:
            if one == ANY_MORE:
                found += rest
                continue
            key = one.removesuffix(OF_A_GROUP)
            found.append(bound.setdefault(key, _Letter(key, is_derived=is_derived)))
        return found

    def named(self, root: list[_Letter]) -> dict[_Letter, str]:
        """Return a letter for every axis: the one that its first operator has, where it is free."""
        every = [x for of in self.leaves.values() for x, _ in of]
        every += [x for of in self.results.values() for x in of] + root
        found: dict[_Letter, str] = {}
        for letter in dict.fromkeys(one.root for one in every):
            free = (one for one in (letter.wish, *ascii_lowercase) if one not in found.values())
            found[letter] = next(free)
        return found

    def text_of(self, leaf: str, names: Mapping[_Letter, str]) -> str:
        """Return a leaf's axes as `Axes` reads them."""
        of = [names[x.root] + OF_A_GROUP * grouped for x, grouped in self.leaves[leaf]]
        first = self.spatial.get(leaf, len(of))
        return " ".join([*of[:first], f"({' '.join(of[first:])})" if of[first:] else ""]).strip()
