"""The smallest calls of an operator, derived from its record: sizes that are legal, lowest first.

Sizes whose names end in _depth, _height and _width go together here, and so do the image's sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from math import prod

import numpy as np

from gradoracle.conformance.operators.record import Arguments, Geometry, Operator
from gradoracle.conformance.operators.variations import drawn
from gradoracle.oracle.declaration import Chained, Formula, algebra
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.ranks import PIXELS, WINDOWS
from gradoracle.oracle.shapes import SIDES

Sizes = Mapping[str, int]
Names = tuple[str, ...]  # of sizes that are raised together

STRATUM, REGION = "boundary", "textbook"
SEED = 1
MOST = 3  # sizes that are raised at once

_known: dict[Operator, tuple[Geometry, ...]] = {}
_known_ones: dict[Operator, tuple[Geometry, ...]] = {}


def textbook(operator: Operator) -> tuple[Geometry, ...]:
    """Return the smallest call, and with each size raised by one the smallest that shows it.

    A size may be legal with others raised only, as a kernel of 2 is on an image of 2; or show with
    others only, as `count_include_pad` does with padding.  Where an image had to grow, the next
    larger one is among them: a kernel of 2 on an image of 3.
    """
    if operator not in _known:
        found = [Geometry(STRATUM, REGION, sizes, SEED) for sizes in _textbook(operator)]
        _known[operator] = tuple(found)
    return _known[operator]


def with_ones(operator: Operator, formula: Formula) -> tuple[Geometry, ...]:
    """Return calls all of whose axes have several entries, and then one axis after the other one.

    Beside them with an option raised; and the same with so many entries that tiles are full.
    """
    del formula
    if operator not in _known_ones:
        found = [
            Geometry(STRATUM, what, sizes, SEED + at)
            for at, (what, sizes) in enumerate(_with_ones(operator))
        ]
        _known_ones[operator] = tuple(found)
    return _known_ones[operator]


def smallest(operator: Operator) -> dict[str, int]:
    """Return sizes of which none can be lower, and every array has an element."""
    start = {name: min(size, 1) for name, size in drawn(operator, 0).sizes.items()}
    ways = (
        _raised(start, names) for count in range(MOST + 1) for names in combinations(start, count)
    )
    found = (operator.inside(sizes) for sizes in ways)
    return next(one for one in found if one is not None and elements(one, operator))


def _textbook(operator: Operator) -> list[dict[str, int]]:
    base = smallest(operator)
    groups = _groups(base)
    chosen = [base]
    if isinstance(algebra(operator.formula), Chained):
        return chosen
    for names in groups:
        found = next(_showing(operator, base, names, groups), None)
        if found is None:
            continue
        chosen.append(found)
        image = {
            side: found[side] + 1 for side in SIDES[3] if found.get(side, 0) > base.get(side, 0)
        }
        if (
            image
            and names != tuple(n for n in SIDES[3] if n in base)
            and elements({**found, **image}, operator)
        ):
            chosen.append({**found, **image})
    return [dict(sizes) for sizes in dict.fromkeys(tuple(c.items()) for c in chosen)]


def _showing(
    operator: Operator, base: Sizes, names: Names, groups: list[Names]
) -> Iterator[dict[str, int]]:
    """Yield sizes with these raised that are legal and tell it, the fewest others raised first."""
    others = [group for group in groups if group != names]
    for count in range(MOST):
        for more in combinations(others, count):
            without = operator.inside(_raised(base, *more))
            sizes = operator.inside(_raised(without or base, names))
            if without is None or sizes is None:
                continue
            if elements(sizes, operator) and not _is_same(operator, without, sizes):
                yield sizes


def _raised(sizes: Sizes, *groups: Names) -> dict[str, int]:
    raised = {name for group in groups for name in group}
    return {name: size + (name in raised) for name, size in sizes.items()}


def _groups(sizes: Sizes) -> list[Names]:
    """Return the names of the sizes, those of both sides together."""
    found: dict[str, list[str]] = {}
    for name in sizes:
        key = name
        for side in SIDES[3]:
            key = key.removesuffix(f"_{side}") if name != side else "image"
        found.setdefault(key, []).append(name)
    return [tuple(names) for names in found.values()]


def _arguments(sizes: Sizes, operator: Operator) -> Arguments | None:
    try:
        return operator.arguments(sizes)
    except (ValueError, IndexError):
        return None


def elements(sizes: Sizes, operator: Operator) -> int:
    """Return how many elements the call has; 0: there is none, or an array has none."""
    arguments = _arguments(sizes, operator)
    if arguments is None:
        return 0
    counts = [prod(shape) for shape in arguments.shapes.values() if shape is not None]
    return sum(counts) if all(counts) else 0


def _is_same(operator: Operator, one: Sizes, other: Sizes) -> bool:
    """Return whether two calls have the same shapes and, on the same numbers, the same answer."""
    before, after = _arguments(one, operator), _arguments(other, operator)
    if before is None or after is None or before.shapes != after.shapes:
        return False
    if before.options == after.options:
        return True
    for sign in (1, -1):
        answers = []
        for sizes in (one, other):
            call = operator.call(sizes, operator.styles.of("any")[0], SEED, "float64")
            call = {
                n: sign * abs(v) - (sign < 0) if n in ("x", "z") else v for n, v in call.items()
            }
            call = operator.complete(call, SEED)
            answers.append(truth(operator.formula, call).as_float(np.dtype(np.float64)))
        if not np.array_equal(answers[0], answers[1], equal_nan=True):
            return False
    return True


# -- axes of several entries, and of one ----------------------------------------------------------

TILES = (65, 129)  # entries of two axes
MANY = 4096  # elements that a call of full tiles has more of
BESIDE_TILES = ", beside tiles"


def _with_ones(operator: Operator) -> Iterator[tuple[str, dict[str, int]]]:
    base = smallest(operator)
    full = _with_several(operator, base)
    seen = [_arguments(full, operator)]
    yield "several entries in every axis", full
    groups = _groups(base)
    for names in (*_sides_apart(groups), *_planes(base)):
        what, sizes = (
            f"{'+'.join(names)} as small as it gets",
            _lowered(operator, full, base, names),
        )
        if is_raised := sizes == full:
            what, sizes = f"{'+'.join(names)} larger", _raised(full, names)
        arguments = _arguments(sizes, operator)
        if not elements(sizes, operator) or arguments in seen:
            continue
        seen.append(arguments)
        yield what, sizes
        if not is_raised and names in groups:
            yield f"{what}{BESIDE_TILES}", _with_tiles(operator, sizes, names)


def _lowered(operator: Operator, full: Sizes, base: Sizes, names: Names) -> dict[str, int]:
    """Return the sizes with these as low as is legal."""
    steps = max(full[name] - base[name] for name in names)
    for step in range(steps):
        lower = {name: min(full[name], base[name] + step) for name in names}
        if elements({**full, **lower}, operator):
            return {**full, **lower}
    return dict(full)


def _with_tiles(operator: Operator, sizes: dict[str, int], lowered: Names) -> dict[str, int]:
    """Return the sizes with two others, which no option says, so large that tiles are full."""
    before, raised = _options(sizes, operator), ""
    tiles = [*TILES]
    for name in sizes:
        tile = {**sizes, name: tiles[0]}
        if name in lowered or name in SIDES[3] or not elements(tile, operator):
            continue
        if _options(tile, operator) != before or elements(tile, operator) <= elements(
            sizes, operator
        ):
            continue
        sizes, raised = tile, name
        if not tiles[1:]:
            break
        del tiles[0]
    while raised and _largest(operator, sizes) <= MANY:
        sizes = {**sizes, raised: 2 * sizes[raised] - 1}
    return sizes


def _largest(operator: Operator, sizes: Sizes) -> int:
    shapes = operator.arguments(sizes).shapes.values()
    return max(prod(shape) for shape in shapes if shape is not None)


def _options(sizes: Sizes, operator: Operator) -> dict[str, object]:
    """Return the options that say no shape."""
    arguments = operator.arguments(sizes)
    shapes = [*arguments.shapes.values()]
    return {name: value for name, value in arguments.options.items() if value not in shapes}


def _sides_apart(groups: Iterable[Names]) -> Iterator[Names]:
    for names in groups:
        yield names
        if len(names) > 1 and not names[0].startswith(("stride", "padding", "dilation")):
            yield from ((name,) for name in names)


def _planes(sizes: Sizes) -> Iterator[Names]:
    """Yield the letters of all pixels of an image and of all windows, where sizes have letters.

    An image of one pixel is dense in several orders of its axes, and takes another path.
    """
    for letters in (PIXELS, WINDOWS):
        known = tuple(one for one in letters[3].split() if one in sizes)
        if {*letters[2].split()} <= {*known}:
            yield known if PIXELS[3][0] in sizes else tuple(letters[2].split())


def _with_several(operator: Operator, base: Sizes) -> dict[str, int]:
    """Return sizes that give as many axes as possible several entries."""
    sizes = dict(base)
    plain = _options(sizes, operator)
    while True:
        ways = [_raised(sizes, names) for count in (1, 2) for names in combinations(sizes, count)]
        better = [s for s in ways if _several(operator, s) > _several(operator, sizes)]
        if not better:
            return sizes
        sizes = min(better, key=lambda s: _options(s, operator) != plain)


def _several(operator: Operator, sizes: Sizes) -> int:
    """Return how many axes of a call have several entries; -1: there is no such call."""
    if not elements(sizes, operator):
        return -1
    arguments = operator.arguments(sizes)
    return sum(n > 1 for shape in arguments.shapes.values() for n in shape or ())
