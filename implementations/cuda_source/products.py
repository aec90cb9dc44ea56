"""How the code of a matrix product lays out its matrices: which size is which side.

Names of sizes say little: K is the common side here and the filters there.  The code says more.
In `C[row * N + col] += A[row * K + k] * B[k * N + col]` the rows of A are K long, those of B and C
are N long, and A is no transpose, for its row is the result's.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gradoracle.implementations.hostcuda.text import parenthesised

WRITTEN = r"\b{0}\s*\[[^;=]*\]\s*[-+*/]?=[^=]"
_LEADING = re.compile(r"(?i)ld_?[abc]\d?|(?:a|b|c)_?stride|stride_?[abc]")


class Place(NamedTuple):
    """An index as row * length + column; "" for a part that the code does not have."""

    row: str
    length: str
    column: str


class Product(NamedTuple):
    """Which operands are transposed, and the sizes of a product; "" is a side of one element."""

    kind: str  # "nn"; "nt" and "tn" where the second and the first are transposed
    rows: str
    columns: str
    common: str


def product_of(
    body: str, first: str, second: str, result: str, sizes: Sequence[str]
) -> Product | None:
    """Return how code computes a product of arrays with these names; None where it is not clear.

    `sizes` are the integers that it is given, of which some may be lengths of rows.
    """
    one, other, y = (_place(body, name, sizes) for name in (first, second, result))
    if one is None or other is None or y is None:
        return None
    if not one.length and not y.length:  # a row times a matrix
        if y.column and y.column in (other.row, other.column):
            return _of_row(other, y, sizes)
        return None
    if not other.length and not y.length:  # a matrix times a column
        rows = _remaining(sizes, one.length)
        is_row = bool(y.column) and one.row == y.column
        return Product("nn", rows, "", one.length) if is_row and rows else None
    if not (one.length and other.length and y.length):
        return None
    return _of_matrices(one, other, y, sizes)


def _of_row(other: Place, y: Place, sizes: Sequence[str]) -> Product | None:
    rest = _remaining(sizes, other.length)
    if not rest or other.row == other.column:
        return None
    if y.column == other.row:
        return Product("nt", "", rest, other.length)
    return Product("nn", "", other.length, rest)


def _of_matrices(one: Place, other: Place, y: Place, sizes: Sequence[str]) -> Product | None:
    transposed = [_is_transposed(one, y.row), _is_transposed(other, y.column, by_row=True)]
    if None in transposed:
        transposed = [False, False] if _is_plain(one, other, y, sizes) else transposed
    kind = "".join("?" if of is None else "nt"[of] for of in transposed)
    if "?" in kind or kind == "tt":
        return None
    if all(map(_LEADING.fullmatch, (one.length, other.length, y.length))):
        return _by_blas(kind, sizes)
    columns, common = y.length, one.length if kind[0] == "n" else ""
    if kind == "nn":
        fits, rows = other.length == columns, _remaining(sizes, columns, common)
    elif kind == "nt":
        fits, rows = other.length == common, _remaining(sizes, columns, common)
    else:
        rows, fits = one.length, other.length == columns
        common = _remaining(sizes, columns, rows)
    return Product(kind, rows, columns, common) if fits and rows and common else None


def _is_transposed(of: Place, side: str, *, by_row: bool = False) -> bool | None:
    """Return whether an operand has the result's index `side` at the other place."""
    plain, turned = (of.column, of.row) if by_row else (of.row, of.column)
    if side and (side == plain) != (side == turned):
        return side == turned
    return None


def _is_plain(one: Place, other: Place, y: Place, sizes: Sequence[str]) -> bool:
    """Return whether lengths of rows fit a product without transposes, by the names of BLAS."""
    of_blas = {name.upper() for name in sizes} >= {"M", "N", "K"}
    lengths = [of.length.upper() for of in (one, other, y)]
    return of_blas and lengths == ["K", "N", "N"]


def _by_blas(kind: str, sizes: Sequence[str]) -> Product | None:
    """Return the product of BLAS's sizes M, N and K; its rows' lengths are separate."""
    known = {name.upper(): name for name in sizes}
    if not {"M", "N", "K"} <= known.keys():
        return None
    return Product(kind, known["M"], known["N"], known["K"])


def leading(product: Product, letter: str) -> str:
    """Return the size that is the length of rows of A, B or C: what BLAS calls lda, ldb, ldc."""
    transposed = product.kind["ab".index(letter)] == "t" if letter in "ab" else False
    if letter == "a":
        return product.rows if transposed else product.common
    if letter == "b":
        return product.common if transposed else product.columns
    return product.columns


def is_leading(name: str) -> bool:
    """Return whether a parameter's name is that of a length of rows, as in BLAS."""
    return _LEADING.fullmatch(name) is not None


def written_in(body: str, names: Sequence[str]) -> list[str]:
    """Return the arrays of some names that code writes to."""
    return [name for name in names if re.search(WRITTEN.format(re.escape(name)), body)]


def _remaining(sizes: Sequence[str], *known: str) -> str:
    """Return the one size that is left; of a square matrix the only one there is."""
    plain = [name for name in sizes if not is_leading(name)]
    left = [name for name in plain if name not in known]
    if not left and len(plain) == 1:
        return plain[0]
    return left[0] if len(left) == 1 else ""


def _place(body: str, array: str, sizes: Sequence[str]) -> Place | None:
    """Return where code finds the elements of an array, if it is the same everywhere."""
    found = [*dict.fromkeys(_places(body, array, sizes))]
    lengths = {one.length for one in found if one.length}
    if not found or len(lengths) > 1:
        return None
    of_rows = [one for one in found if one.length]
    if not of_rows:
        return found[0] if len(found) == 1 else None
    whole = [one for one in of_rows if one.column] or of_rows
    return whole[0] if len(whole) == 1 else Place("", whole[0].length, "")


def _places(body: str, array: str, sizes: Sequence[str]) -> Iterator[Place]:
    """Yield where code finds the elements of an array, through pointers to its rows, too."""
    for found in re.finditer(rf"(?<![\w.>]){re.escape(array)}\s*\[", body):
        yield _split(body, _within(body, found.end()), sizes)
    for found in re.finditer(rf"(?<![\w.>]){re.escape(array)}\s*\+=\s*([^;]+);", body):
        place = _split(body, found[1], sizes)
        if place.length:
            yield Place("", place.length, "")
    pointing = (
        rf"(\w+)\s*=\s*(?:\([^()]*\)\s*)?&?\s*{re.escape(array)}\s*(?:\+\s*([^;,]+)|\[([^\]]+)\])"
    )
    for found in re.finditer(rf"\*\s*(?:const\s+|__restrict__\s+)*{pointing}", body):
        row = _split(body, found[2] or found[3], sizes)
        for used in re.finditer(rf"(?<![\w.>]){re.escape(found[1])}\s*\[", body):
            column = _plain(_within(body, used.end()))
            yield Place(row.row, row.length, column if row.column in ("", "0") else "")


def _within(body: str, at: int) -> str:
    """Return what is between the brackets that are open at a place."""
    depth, end = 1, at
    while depth and end < len(body):
        depth += {"[": 1, "]": -1}.get(body[end], 0)
        end += 1
    return body[at : end - 1]


def _split(body: str, index: str, sizes: Sequence[str]) -> Place:
    """Return an index as a row, its length and what is added; a variable for it is looked up."""
    index = _plain(index)
    if index.isidentifier() and index not in sizes:
        said = re.findall(rf"\b{index}\s*=\s*([^;,=]+)[;,]", body)
        index = _plain(said[0]) if len(said) == 1 and "*" in said[0] else index
    rows, columns = list[tuple[str, str]](), list[str]()
    for term in _parts(index, "+"):
        factors = _parts(term, "*")
        length = next((one for one in factors if one in sizes), "")
        rest = [one for one in factors if one != length]
        if length and len(factors) > 1:
            rows.append(("*".join(rest) or length, length))
        else:
            columns.append(term)
    if len(rows) != 1:
        return Place("", "", "" if rows else "+".join(columns))
    return Place(*rows[0], "+".join(columns))


def _plain(expression: str) -> str:
    """Return an expression without spaces, casts and parentheses around all of it."""
    expression = re.sub(r"\s+", "", re.sub(r"\((?:size_t|int|long|unsigned)\)", "", expression))
    while expression.startswith("(") and parenthesised(expression, 0).end == len(expression):
        expression = expression[1:-1]
    return expression


def _parts(expression: str, sign: str) -> list[str]:
    """Return the parts of an expression between a sign that is outside all parentheses."""
    parts, depth = [""], 0
    for letter in expression:
        depth += (letter in "([") - (letter in ")]")
        if letter == sign and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [_plain(one) for one in parts]
