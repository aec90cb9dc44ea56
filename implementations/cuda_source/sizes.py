"""What sizes among the parameters of a function are given, by their names."""

from collections.abc import Mapping, Sequence

from gradoracle.implementations.cuda_source.names import in_words, letter_of
from gradoracle.implementations.cuda_source.results import operator_of
from gradoracle.implementations.cuda_source.words import (
    ATTENDED,
    BOTH_SIDES,
    BY_TOKENS,
    COMPARING,
    COUNTED,
    COUNTS,
    OF_CUDNN,
    OF_IMAGES,
    ROWWISE,
    SIZES,
    STEPS,
)

ROWS, COLUMNS = "z.size / z.shape[axis]", "z.shape[axis]"


def count_of(function: str) -> str:
    """Return the number of elements of an element-wise function's arrays, as comments have it."""
    operator = operator_of(function)
    first = "parameter" if operator in STEPS else "input" if operator == "add" else "z"
    return f"{first}.size"


def sizes_among(function: str, names: Sequence[str], conditions: list[str]) -> dict[str, str]:
    """Return the sizes that parameters are given, and add the conditions that follow."""
    operator = operator_of(function)
    found = {n: n if n in SIZES else letter_of(n) for n in names}
    if operator in OF_IMAGES:
        of_images = {n: n.upper() if n.upper() in (*SIZES, *"KSPRQ") else found[n] for n in names}
        return _of_images(operator, of_images, conditions)
    if operator == "scaled_dot_product_attention":
        attended = {n: _attended(n) for n in names}
        return {n: of for n, of in attended.items() if of}
    found |= {n: "N" for n in names if not found[n] and n.lower() in COUNTS}
    found = {n: letter for n, letter in found.items() if letter in (*SIZES, "HW")}
    if operator in COUNTED:
        first = next(iter(found), "")
        return {n: count_of(function) if n == first else "1" for n in found}
    if operator in ROWWISE:
        return _of_rows(found)
    if operator in BY_TOKENS and [*found.values()] == ["N"] and next(iter(found)).lower() in COUNTS:
        conditions += ["n = 1", "t = 1"]
        return dict.fromkeys(found, "C")
    return {n: _of_matrix(operator, letter, {*found.values()}) for n, letter in found.items()}


def _of_matrix(operator: str, letter: str, letters: set[str]) -> str:
    """Return what the size of a letter is given, where an array has rows, or rows of rows."""
    if operator in BY_TOKENS and "T" not in letters and letter == "N":
        return "N * T"
    if operator in COMPARING and letters == {"N"}:
        return "N * C"
    of_rows = operator in ("linear", "cross_entropy", "cross_entropy_loss")
    return "1" if of_rows and letter == "T" and "N" in letters else letter


def _of_rows(found: Mapping[str, str]) -> dict[str, str]:
    """Return the sizes of an operator of rows: of one row, or of rows and columns."""
    if len(found) == 1:
        return {n: "z.size" for n, of in found.items() if n.lower() in COUNTS or of == "C"}
    if "C" not in found.values():
        return {}
    rows = next((n for n, letter in found.items() if letter != "C"), "")
    return {n: COLUMNS if of == "C" else ROWS if n == rows else "1" for n, of in found.items()}


def _attended(name: str) -> str:
    words = in_words(name)
    return next((of for pattern, of in ATTENDED.items() if pattern.fullmatch(words)), "")


def _of_images(operator: str, found: Mapping[str, str], conditions: list[str]) -> dict[str, str]:
    """Return the sizes of an operator of images; one number for both sides is a condition."""
    letters = {*found.values()}
    if {"R", "S"} <= letters and {"R", "S"} <= {*found}:
        found = {n: OF_CUDNN.get(n, of) for n, of in found.items()}
    elif "M" not in letters and operator.startswith("conv") and found.get("K") == "K":
        found = {n: of for n, of in found.items() if n != "K"}  # filters, or how large they are
    given = {n: of for n, of in found.items() if of in (*SIZES, "G", "HW", *BOTH_SIDES)}
    given |= {n: "N" for n, of in found.items() if not of and n in ("n", "B")}
    conditions += [_square(operator, of) for of in given.values() if of in BOTH_SIDES]
    if not {"H", "W", "HW"} & {*given.values()} and operator.endswith("_norm"):
        conditions += ["h = 1", "w = 1"]
    return {n: "H * W" if of == "HW" else BOTH_SIDES.get(of, of) for n, of in given.items()}


def _square(operator: str, letter: str) -> str:
    """Return the condition that one number for both sides makes."""
    if letter == "K" and operator.startswith("conv"):
        return "p == q"
    name = {"K": "kernel_size", "S": "stride", "P": "padding", "D": "dilation"}[letter]
    first = 0 if letter == "P" else 1
    return f"{name} = {' or '.join(f'({side}, {side})' for side in range(first, first + 3))}"
