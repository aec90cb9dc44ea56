"""Matrix products and linear layers: what their parameters are given, by the code's indices."""

import re

from gradoracle.implementations.cuda_source.arguments import (
    Code,
    Guess,
    integers_for,
    is_added_to,
    is_pointer,
)
from gradoracle.implementations.cuda_source.names import name_of, plain_name
from gradoracle.implementations.cuda_source.products import (
    Product,
    is_leading,
    leading,
    product_of,
    written_in,
)
from gradoracle.implementations.cuda_source.words import (
    FACTORS,
    GIVEN,
    OUTPUTS,
    SECOND,
    STREAM,
    THREADS,
)

SIDES = "which of its sizes are rows, columns and the common side"
TURNED = (
    "a layer with a bias whose weight is [C, M]: the protocol's is [M, C], so no function fits it"
)
# By kind, the function, its first and second argument, and what rows, columns and terms are.
_OF_KIND = {
    "nn": ("matmul", ("input", "other", "y"), ("N", "M", "K")),
    "nt": ("linear", ("x", "weight", "y"), ("N", "M", "C")),
    "tn": ("linear_grad_weight", ("grad_output", "x", "dw"), ("M", "C", "N")),
}
# What conditions call the sides.
_AXES = {"nn": ("n", "m", "k"), "nt": ("n", "m", "k"), "tn": ("m", "k", "n")}


def product_guess(code: Code, function: str, *, blas: bool) -> Guess | None:
    """Return what a product's parameters are given; None where its code says too little.

    `blas`: where the code says nothing, M, N and K are what BLAS calls so.
    """
    if function not in ("matmul", "linear"):
        return None
    roles = _roles(code)
    if roles is None:
        return None
    product = _product(code, roles, blas=blas and function == "matmul")
    if product is None:
        return None
    guess = Guess(_OF_KIND[product.kind][0])
    has_bias = "bias" in roles.values()
    if has_bias and product.kind != "nt":
        guess.unknown.append(TURNED)
    guess.arguments = [_argument(code, one, roles, product) for one in code.each]
    pairs = zip(code.each, guess.arguments, strict=True)
    guess.unknown += [f"the parameter {one!r}" for one, argument in pairs if argument == "?"]
    guess.unknown += integers_for(code, guess)
    guess.conditions = _conditions(product)
    if product.kind == "nt" and not has_bias:
        guess.conditions.append("bias absent")
    return guess


def _roles(code: Code) -> dict[str, str] | None:
    """Return what each pointer is by its name: "first", "second", "result", "bias" or "NULL"."""
    roles: dict[str, str] = {}
    names = [name_of(one) for one in code.pointers if one.count("*") <= 1]
    if len(names) < len(code.pointers):
        return None
    for name in names:
        if GIVEN.get(plain_name(name)) == "bias":
            roles[name] = "bias"
    left = [name for name in names if name not in roles]
    written = [n for n in left if written_in(code.body, [*code.names(n)])]
    if not written:
        written = [n for n in left if plain_name(n) in OUTPUTS or plain_name(n).startswith("out")]
    operands = [name for name in left if name not in written]
    if len(written) != 1 or len(operands) != 2:
        return None
    if plain_name(operands[0]) in SECOND or GIVEN.get(plain_name(operands[0])) == "weight":
        operands.reverse()
    return {**roles, operands[0]: "first", operands[1]: "second", written[0]: "result"}


def _product(code: Code, roles: dict[str, str], *, blas: bool) -> Product | None:
    """Return the product of the code, or the one that names of BLAS stand for."""
    kernel = {role: code.passed.get(name, name) for name, role in roles.items()}
    own = {code.passed.get(name, name): name for name in code.numbers}
    operands = [name for name, role in roles.items() if role in ("first", "second")]
    for first, second in (("first", "second"), ("second", "first")):
        found = product_of(code.body, kernel[first], kernel[second], kernel["result"], [*own])
        if found is None:
            continue
        if first == "second":
            one, other = (n for n, r in roles.items() if r in ("first", "second"))
            roles[one], roles[other] = roles[other], roles[one]
        return Product(found.kind, *(own.get(size, "") for size in found[1:]))
    is_indexed = any(
        re.search(rf"\b{code.passed.get(name, name)}\s*\[", code.body) for name in operands
    )
    known = {name.upper(): name for name in code.numbers}
    if is_indexed or not blas or not {"M", "N", "K"} <= known.keys():
        return None
    return Product("nn", known["M"], known["N"], known["K"])


def _argument(code: Code, parameter: str, roles: dict[str, str], product: Product) -> str:
    """Return what a parameter of a product is given."""
    name = name_of(parameter)
    _, arrays, sides = _OF_KIND[product.kind]
    if is_pointer(parameter):
        role = roles.get(name, "?")
        if role == "result":
            # Where another function scales the result by beta, it reads it.
            scaled = not written_in(code.body, [*code.names(parameter)]) and _has_beta(code)
            added = scaled or is_added_to(code.body, code.names(parameter))
            return f"zero({arrays[2]})" if added else arrays[2]
        return {"first": arrays[0], "second": arrays[1], "bias": "bias"}.get(role, "?")
    return "0" if STREAM.search(parameter) else _number(name, product, sides)


def _number(name: str, product: Product, sides: tuple[str, ...]) -> str:
    """Return the number that a parameter of a product is given."""
    of_size = dict(zip(product[1:], sides, strict=True))
    if name in of_size:
        return of_size[name]
    if is_leading(name):
        letter = re.sub(r"(?i)stride|ld|_|\d", "", name).lower()
        return of_size.get(leading(product, letter), "?")
    if THREADS.fullmatch(name):
        return "256"
    return FACTORS.get(name.upper(), "?")


def _has_beta(code: Code) -> bool:
    return any(name.upper() == "BETA" for name in code.numbers)


def _conditions(product: Product) -> list[str]:
    """Return the conditions of a product with sides of one element, or of square matrices."""
    axes = _AXES[product.kind]
    sides = (product.rows, product.columns, product.common)
    found = [f"{axis} = 1" for axis, size in zip(axes, sides, strict=True) if not size]
    first = {size: axis for size, axis in zip(reversed(sides), reversed(axes), strict=True) if size}
    found += [
        f"{axis} == {first[size]}" for size, axis in zip(sides, axes, strict=True)
        if size and first[size] != axis
    ]  # fmt: skip
    return found
