"""Matrix products, the bilinear layer and the rotary embedding: their records."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gradoracle import oracle
from gradoracle.conformance.drawing.choices import LONG, LONGER, Choices
from gradoracle.conformance.drawing.values import (
    all_negative,
    fractions_in,
    halves_that_cancel,
    increasing,
    nearly_cancelling,
    next_to_powers,
    normal,
    one_hot,
    ones,
    small_integers,
    styles,
    wide_range,
)
from gradoracle.conformance.operators import arrays, shape_cover
from gradoracle.conformance.operators.of_formula import NUMBERS, of_formula
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Geometry,
    Operator,
    Size,
    no_witness,
    past_limits,
    two_large,
)
from gradoracle.oracle.formulas import position
from gradoracle.oracle.shapes import Shape

WORK: dict[Size, int] = {"small": 1_500, "medium": 5_000, "large": 30_000}  # products
TILES = ((65, 66, 67), (129, 130, 131), (33, 34, 35), (64, 128, 16), (9, 130, 132))


def _arguments(
    shapes: Mapping[str, str], names: Mapping[str, str], sizes: Mapping[str, int]
) -> Arguments:
    """Return the arrays whose axes are these letters, each as long as the size of its name.

    Raises:
        ValueError: there is no such product.
    """
    of = {letter: sizes[name] for letter, name in names.items()}
    short = next((names[one] for one, side in of.items() if side < (one != "n")), None)
    if short is not None:
        raise ValueError(f"{short} must be 1 at least, got {sizes[short]}")
    return Arguments({n: tuple(of[one] for one in axes) for n, axes in shapes.items()}, {})


def _corners(names: Mapping[str, str], sums: Mapping[str, tuple[str, str]]) -> tuple[Corner, ...]:
    """Return long sides, whole tiles and tails, and long sums along each side that one is along.

    `sums` says of a side the array that then holds long fractions, and the one that cancels.
    """
    named = (*names.values(),)
    tiny = {**dict.fromkeys(named, 2)}
    plain = {**tiny, **dict.fromkeys(named, 1)}
    last = named[-3:]
    return (
        *past_limits(tiny, named),
        *two_large(plain, last),
        *(
            Corner(
                f"tiles of {' x '.join(map(str, sides))}",
                {**tiny, **dict(zip(last, sides, strict=True))},
                in_turn=True,
            )
            for sides in TILES
        ),
        *(
            Corner(f"a sum of {n} {name}", {**plain, name: n}, fractions_in(large), in_turn=True)
            for name, (large, _) in sums.items()
            for n in (LONG, LONGER)
        ),
        *(
            Corner(f"{name} that cancel", {**plain, name: LONG}, halves_that_cancel(cancels))
            for name, (_, cancels) in sums.items()
        ),
    )


MATRICES = {"n": "images", "k": "inner", "m": "columns"}
BATCHES = {"n": "images", "p": "rows", "k": "inner", "q": "columns"}
LAYERS = (("a head of attention", (16, 12)), ("an odd width", (33, 5)), ("one column", (24, 1)))
HEADS = (("scores", (7, 16, 9)), ("values", (9, 7, 16)), ("one row", (1, 24, 5)))

MATMUL = Operator(
    formula=oracle.matmul,
    gradients={oracle.matmul_grad_input: "input", oracle.matmul_grad_other: "other"},
    geometry=partial(
        arrays.matrix, names=(*MATRICES.values(),), options={}, layers=LAYERS, most=WORK
    ),
    arguments=partial(
        _arguments, {"input": "nk", "other": "km", "grad_output": "nm"}, MATRICES
    ),
    witness=lambda torch: torch.matmul,
    share=0.4,
    covers=shape_cover.matrix((*MATRICES.values(),), {}, 3),
    corners=_corners(
        MATRICES,
        {
            "images": ("input", "grad_output"),
            "inner": ("input", "input"),
            "columns": ("grad_output", "grad_output"),
        },
    ),
)  # fmt: skip
BMM = Operator(
    formula=oracle.bmm,
    gradients={oracle.bmm_grad_input: "input", oracle.bmm_grad_mat2: "mat2"},
    geometry=partial(
        arrays.matrix, names=(*BATCHES.values(),), options={}, layers=HEADS, most=WORK
    ),
    arguments=partial(
        _arguments, {"input": "npk", "mat2": "nkq", "grad_output": "npq"}, BATCHES
    ),
    witness=lambda torch: torch.bmm,
    share=0.4,
    covers=shape_cover.matrix((*BATCHES.values(),), {}, 3),
    corners=_corners(
        BATCHES,
        {
            "rows": ("input", "grad_output"),
            "inner": ("input", "input"),
            "columns": ("grad_output", "grad_output"),
        },
    ),
)  # fmt: skip

# -- as torch.matmul broadcasts --------------------------------------------------------------------

SIDES = ("rows", "inner", "columns", "outer", "batch")
FLAGS = ("input_axes", "other_axes", "input_ones", "other_ones")
MOST_AXES = 4


def _broadcast(sizes: Mapping[str, int]) -> Arguments:
    """Return two arrays of one to four axes, of whose batches some sides are 1 or left out.

    Raises:
        ValueError: there is no such product.
    """
    short = next((name for name in SIDES[:3] if sizes[name] < 1), None)
    if short is not None:
        raise ValueError(f"{short} must be 1 at least, got {sizes[short]}")
    batch = sizes["outer"], sizes["batch"]
    one = _operand(sizes, "input", batch, (sizes["rows"], sizes["inner"]))
    other = _operand(sizes, "other", batch, (sizes["inner"], sizes["columns"]))
    y = broadcast_shape(one, other)
    shapes = {"input": one, "other": other, "grad_output": y}
    return Arguments(shapes, {"input_shape": one, "other_shape": other})


def _operand(sizes: Mapping[str, int], name: str, batch: Shape, matrix: Shape) -> Shape:
    """Return the shape of an operand: a vector, a matrix, or a batch of matrices.

    Raises:
        ValueError: there are not so many axes.
    """
    axes = sizes[f"{name}_axes"]
    if not 1 <= axes <= MOST_AXES:
        raise ValueError(f"{name} must have 1 to {MOST_AXES} axes, got {axes}")
    if axes == 1:
        return matrix[1:] if name == "input" else matrix[:1]
    kept = [1 if sizes[f"{name}_ones"] >> at & 1 else side for at, side in enumerate(batch)]
    return (*kept[MOST_AXES - axes :], *matrix)


def broadcast_shape(one: Shape, other: Shape) -> Shape:
    """Return the shape of a product of arrays of these shapes."""
    if len(one) == 1 == len(other):
        return ()
    batch: Shape = (1,) * (max(len(one), len(other), 2) - 2)
    if min(len(one), len(other)) > 1:
        pairs = zip((1, 1, *one[:-2])[-2:], (1, 1, *other[:-2])[-2:], strict=True)
        sides = [b if a == 1 else a for a, b in pairs]
        batch = (*sides[len(sides) - len(batch) :],)
    else:
        batch = max(one, other, key=len)[:-2]
    rows = one[-2:-1] if len(one) > 1 else ()
    return (*batch, *rows, *(other[-1:] if len(other) > 1 else ()))


def _geometry(draw: Choices, size: Size) -> Geometry:
    """Return sides, how many axes each array has, and which sides of its batch are 1."""
    work = {name: most // 4 for name, most in WORK.items()}
    return arrays.matrix(
        draw, size, names=("batch", *SIDES[:3]), options={"outer": (1, 3), **_flags()},
        layers=HEADS, most=work,
    )  # fmt: skip


def _flags() -> dict[str, tuple[int, int]]:
    return {"input_axes": (1, 4), "other_axes": (1, 4), "input_ones": (0, 3), "other_ones": (0, 3)}


PLAIN = {"outer": 1, "batch": 2, "rows": 2, "inner": 2, "columns": 2, "input_axes": 3,
         "other_axes": 3, "input_ones": 0, "other_ones": 0}  # fmt: skip
LETTERS = ("batch", "rows", "inner", "columns")
BROADCAST = (
    *past_limits(PLAIN, LETTERS),
    *(
        Corner(
            f"{one} axes by {other}",
            {**PLAIN, "outer": 3, "rows": 4, "inner": 5, "columns": 6, "input_axes": one,
             "other_axes": other},
        )
        for one in range(1, MOST_AXES + 1)
        for other in range(1, MOST_AXES + 1)
    ),
    *(
        Corner(
            f"batches of which {one:02b} and {other:02b} are 1",
            {**PLAIN, "outer": 3, "input_axes": 4, "other_axes": 4, "input_ones": one,
             "other_ones": other},
        )
        for one in range(4)
        for other in range(4)
    ),
    *(
        Corner(f"{name} {side}, {axes} axes", {**PLAIN, name: side, **of}, in_turn=True)
        for name in LETTERS
        for side in (65, 257, 1025)
        for axes, of in (
            ("3 and 3", {}),
            ("3 and 2", {"other_axes": 2}),
            ("2 and 3", {"input_axes": 2}),
            ("1 and 3", {"input_axes": 1}),
            ("3 and 1", {"other_axes": 1}),
        )
    ),
)  # fmt: skip
BROADCAST_MATMUL = Operator(
    formula=oracle.broadcast_matmul,
    gradients={
        oracle.broadcast_matmul_grad_input: "input",
        oracle.broadcast_matmul_grad_other: "other",
    },
    geometry=_geometry,
    arguments=_broadcast,
    witness=lambda torch: torch.matmul,
    share=0.4,
    corners=BROADCAST,
)

# -- derived ---------------------------------------------------------------------------------------

FEW_FACTORS = replace(
    NUMBERS,
    floats=styles(normal, nearly_cancelling, small_integers, ones, one_hot, all_negative),
    slopes=styles(small_integers),
)
BILINEAR = of_formula(
    position.bilinear, "bilinear", numbers=FEW_FACTORS,
    layers=(("a pair of vectors", (5, 9, 7)), ("one output", (16, 8, 1))),
)  # fmt: skip


def _tables(sizes: dict[str, int], options: Mapping[str, Any]) -> dict[str, int]:
    """Return lengths with a row of the tables for each step, and two features for each pair."""
    return {
        **sizes,
        "m": max(sizes["m"], sizes["t"] + options["offset"]),
        "e": max(sizes["e"], 2 * sizes["d"]),
    }


ROTARY = of_formula(
        position.rotary_embedding, no_witness,
        options={"interleaved": (False, True), "offset": (0, 1, 5)},
        lengths=_tables,
        numbers=replace(
            NUMBERS,
            floats=styles(
                normal, wide_range, nearly_cancelling, small_integers, ones, one_hot, increasing,
                next_to_powers,
            ),
            slopes=styles(small_integers),
        ),
        layers=(("a head of Llama", (3, 7, 16, 9, 8)), ("a quarter turned", (2, 5, 16, 5, 2))),
)  # fmt: skip

PRODUCTS = (MATMUL, BMM, BROADCAST_MATMUL, BILINEAR, ROTARY)
