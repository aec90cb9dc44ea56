"""A composition: the formula of an expression of operators, and of every gradient of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import Parameter, Signature
from typing import Any

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.composition.blocks import BLOCKS
from gradoracle.oracle.composition.expression import (
    Applied,
    Leaf,
    Node,
    Option,
    Pair,
    evaluated,
    leaves,
    nodes,
    options_of,
    parsed,
)
from gradoracle.oracle.composition.letters import Inference
from gradoracle.oracle.declaration import (
    Composed,
    Formula,
    Images,
    algebra,
    argument_names,
    axes_of,
    displayed,
    optional,
    parts_of,
    whole_of,
)
from gradoracle.oracle.derive import GRAD_OUTPUT, Derived, body_of, derived
from gradoracle.oracle.numbers.branches import each_element


@dataclass(frozen=True)
class Component:
    """An operator that can be composed: its forward formula, and what it has gradients by."""

    name: str
    formula: Formula
    by: frozenset[str]

    @property
    def axes(self) -> Axes:
        """The axes of its arrays."""
        return axes_of(self.formula)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What it takes by position, in order."""
        return argument_names(self.formula)[0]

    @property
    def options(self) -> tuple[str, ...]:
        """What it takes by keyword."""
        return argument_names(self.formula)[1]

    @cached_property
    def body(self) -> Callable[..., Any]:
        """The formula as a function of whole arrays."""
        if self.name in BLOCKS:
            return BLOCKS[self.name]
        body, kind = body_of(self.formula), algebra(self.formula)
        assert body is not None  # noqa: S101 - `component` refuses others
        if isinstance(kind, Composed) and kind.pointwise:
            return lambda z, **options: each_element(partial(body, **options), z)
        return body


def component(name: str, formula: Formula, by: frozenset[str]) -> Component:
    """Return an operator as a part of compositions.

    Raises:
        ValueError: it is no function of whole arrays with one result.
    """
    derives = body_of(formula) is not None and whole_of(formula) is formula
    if name in BLOCKS or (derives and parts_of(formula) == (formula,)):
        return Component(name, formula, by)
    raise ValueError(
        f"{name} cannot be composed: take one of {', '.join(BLOCKS)}, or an operator of one result "
        "whose gradients are derived from its forward formula"
    )


class Composition:
    """The expression, its axes, its signature and its formulas."""

    def __init__(
        self, name: str, text: str, find: Callable[[str], Component], module: str
    ) -> None:  # fmt: skip
        """Read the expression; `find` returns an operator by its name.

        Raises:
            ValueError: it cannot be read, an operator is given what it does not take, or axes do
                not fit.
        """
        self.name, self.text, self.module = name, text, module
        tree = parsed(text)
        self.components = {
            node.operator: find(node.operator) for node in nodes(tree) if isinstance(node, Applied)
        }
        if not self.components:
            raise ValueError(f"{text!r} names no operator")
        self.tree = self._with_options(tree)
        self.applied = [node for node in nodes(self.tree) if isinstance(node, Applied)]
        self.arrays = leaves(self.tree)
        self._check_arguments()
        self.uses = self._uses()
        self._infer()

    def _with_options(self, tree: Node) -> Node:
        """Return the tree with options that it leaves out as the composition's own."""
        counts: dict[str, int] = {}
        for node in nodes(tree):
            if isinstance(node, Applied):
                for option in self.components[node.operator].options:
                    if option not in node.options:
                        counts[option] = counts.get(option, 0) + 1
        twice = next((n for n, count in counts.items() if count > 1), None)
        if twice is not None:
            raise ValueError(
                f"several operators of {self.text!r} take {twice}: give each one a value or a "
                f"name of its own, such as {twice}={twice}_1"
            )
        filled: Node = _mapped(tree, self._filled)
        return filled

    def _filled(self, node: Applied, arrays: tuple[Node | None, ...]) -> Applied:
        given = {n: node.options.get(n, Option(n)) for n in self.components[node.operator].options}
        unknown = [n for n in node.options if n not in given]
        if unknown:
            takes = ", ".join(given) or "none"
            raise ValueError(f"{node.operator} has no option {unknown[0]!r}; it takes {takes}")
        return Applied(node.operator, arrays, given)

    def _check_arguments(self) -> None:
        for node in self.applied:
            found = self.components[node.operator]
            least = len(found.arguments) - len(optional(found.formula))
            if not least <= len(node.arrays) <= len(found.arguments):
                raise ValueError(
                    f"{node.operator} takes {', '.join(found.arguments)}, and is given "
                    f"{len(node.arrays)} arrays in {self.text!r}"
                )
        both = {*self.arrays} & {*self.options}
        if both:
            raise ValueError(f"{min(both)!r} is an array and an option in {self.text!r}")

    @cached_property
    def options(self) -> dict[str, tuple[str, str]]:
        """The options by name, each with an operator that takes it and its name there."""
        return {
            value.name: (node.operator, option)
            for node in reversed(self.applied)
            for option, value in node.options.items()
            if isinstance(value, Option)
        }

    def _uses(self) -> dict[str, list[tuple[Component, str]]]:
        """Return the operators that take each array, and as which of their arguments."""
        found: dict[str, list[tuple[Component, str]]] = {name: [] for name in self.arrays}
        for node in self.applied:
            part = self.components[node.operator]
            for argument, one in zip(part.arguments, node.arrays, strict=False):
                if isinstance(one, Leaf):
                    found[one.name].append((part, argument))
        return found

    def _infer(self) -> None:
        """Find the axes of arrays, and the letters that operators' axes have here."""
        of = {n: part.axes for n, part in self.components.items()}
        walk = Inference(self.text, of, {n: c.arguments for n, c in self.components.items()})
        walk.visit(self.tree)
        root = walk.visit(self.tree)  # with what a later operand made known
        if root is None:
            raise ValueError(f"the axes of {self.text!r} are not known: it must name an operator")
        names = walk.named(root)
        self.letters = [n for x, n in names.items() if not x.is_derived]
        self.labels = [n for n in self.arrays if n not in walk.leaves]
        unknown = [n for n in self.labels if not self.uses[n]]
        if unknown:
            raise ValueError(f"the axes of {unknown[0]} in {self.text!r} are not known")
        self.result = [names[one.root] for one in root]
        self._texts = {n: walk.text_of(n, names) for n in self.arrays if n in walk.leaves}
        self.results = {at: [names[x.root] for x in of] for at, of in walk.results.items()}
        self.bound = {
            at: {key: names[x.root] for key, x in of.items()} for at, of in walk.bound.items()
        }

    @property
    def arrays_of(self) -> list[str]:
        """The arrays whose axes are known: all but labels that have none."""
        return [n for n in self.parameters if n in self._texts]

    def user_of(self, array: str) -> Applied:
        """Return the first operator that takes an array."""
        return next(node for node in self.applied if Leaf(array) in node.arrays)

    def letters_at(self, option: str) -> Mapping[str, str]:
        """Return the letters of an option's operator, with those of the composition."""
        user = next(node for node in self.applied if Option(option) in node.options.values())
        return self.bound[id(user)]

    @cached_property
    def pixels(self) -> list[str]:
        """The letters of axes that windows move along."""
        found: list[str] = []
        for node in self.applied:
            axes = self.components[node.operator].axes
            if axes.strided:
                of = axes.arrays[axes.strided]
                found += [self.bound[id(node)][of[at]] for at in axes.space[axes.strided]]
        return [n for n in dict.fromkeys(found) if n in self.letters]

    @cached_property
    def optional(self) -> list[str]:
        """The arrays that may be None wherever they are taken, and stand after all others."""
        return [
            n for n, uses in self.uses.items()
            if uses and all(argument in optional(part.formula) for part, argument in uses)
            and n not in {leaf.name for leaf in self._operands()}
        ]  # fmt: skip

    def _operands(self) -> list[Leaf]:
        """Return the arrays that are added or multiplied."""
        pairs = [node for node in nodes(self.tree) if isinstance(node, Pair)]
        return [x for pair in pairs for x in (pair.one, pair.other) if isinstance(x, Leaf)]

    @property
    def axes(self) -> str:
        """The axes of all arrays, as `Axes` reads them."""
        of = [f"{n}{'?' * (n in self.optional)}: {self._texts[n]}" for n in self.parameters
              if n in self._texts]  # fmt: skip
        return "; ".join([*of, f"{GRAD_OUTPUT}: {' '.join(self.result)}"])

    @cached_property
    def parameters(self) -> list[str]:
        """The arrays in the order in which a backend takes them, those that may be None last."""
        return sorted(self.arrays, key=lambda n: n in self.optional)

    @property
    def by(self) -> list[str]:
        """The arrays that gradients are by."""
        return [
            n for n in self.parameters
            if n in self._texts and all(argument in part.by for part, argument in self.uses[n])
        ]  # fmt: skip

    def evaluated(
        self, arrays: Mapping[str, Any], options: Mapping[str, Any],
        function: Callable[[Component], Callable[..., Any]],
    ) -> Any:  # fmt: skip
        """Return the result, where `function` gives what an operator is computed by."""

        def apply(node: Applied, given: list[Any]) -> Any:
            return function(self.components[node.operator])(*given, **options_of(node, options))

        return evaluated(self.tree, arrays, apply)

    def derived(self) -> Derived:
        """Return the formulas of the composition and its gradients."""

        def body(*arrays: Any, **named: Any) -> Any:
            bound = body.__signature__.bind(*arrays, **named)  # type: ignore[attr-defined]
            bound.apply_defaults()
            return self.evaluated(bound.arguments, bound.arguments, lambda part: part.body)

        body.__signature__ = self._signature()  # type: ignore[attr-defined]
        body.__name__ = body.__qualname__ = self.name
        body.__doc__, body.__module__ = self._doc(), self.module
        body.__gradoracle_parts__ = [part.formula for part in self.components.values()]  # type: ignore[attr-defined]
        kinds = [getattr(algebra(p.formula), "images", "mixed") for p in self.components.values()]
        images: Images = "kept" if {*kinds} == {"kept"} and self.result[:1] == ["n"] else "mixed"
        neutral = {n: self.components[of].axes.neutral[as_] for n, (of, as_) in self.options.items()
                   if as_ in self.components[of].axes.neutral}  # fmt: skip
        absent = {n: part.axes.absent[as_] for n in self.optional for part, as_ in self.uses[n]
                  if as_ in part.axes.absent}  # fmt: skip
        return derived(self.axes, self.by, images=images, neutral=neutral, absent=absent)(body)

    def _signature(self) -> Signature:
        kind = Parameter.POSITIONAL_OR_KEYWORD
        arrays = [
            Parameter(n, kind, default=None if n in self.optional else Parameter.empty)
            for n in self.parameters
        ]
        options = [Parameter(n, Parameter.KEYWORD_ONLY) for n in self.options]
        return Signature([*arrays, *options])

    def _doc(self) -> str:
        shapes = [
            f"{n} [{', '.join(self._letters_of(n))}]" for n in self.parameters if n in self._texts
        ]
        equations: list[str] = []
        for name, part in self.components.items():
            first, *more = displayed(part.formula)[0].splitlines()
            equations[-1:] = [f"{one}; " for one in equations[-1:]]
            equations += [f"        {name}: {first}", *(f"            {line}" for line in more)]
        result = f"y [{', '.join(self.result)}]" if self.result else "one number y"
        lines = [
            f"Return {result} from {', '.join(shapes)}.", "",
            f"        y = {self.text}, with", *(line.rstrip() for line in equations), "",
            f"    (the formulas of {', '.join(self.components)}, composed).", "",
            "    Raises:", "        ValueError: as these formulas.", "    ",
        ]  # fmt: skip
        return "\n".join(lines)

    def _letters_of(self, name: str) -> list[str]:
        return self._texts[name].replace("(", "").replace(")", "").split()


def _mapped(
    node: Node | None, change: Callable[[Applied, tuple[Node | None, ...]], Applied]
) -> Any:  # fmt: skip
    """Return a tree with its operators changed."""
    if isinstance(node, Applied):
        return change(node, tuple(_mapped(one, change) for one in node.arrays))
    if isinstance(node, Pair):
        sides = (_mapped(node.one, change), _mapped(node.other, change))
        return Pair(node.sign, node.function, *sides)
    return node
