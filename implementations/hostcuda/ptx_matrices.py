"""The instructions of PTX on matrices that the lanes of a warp share."""

import re
from collections.abc import Sequence

from gradoracle.implementations.hostcuda.ptx_registers import (
    HERE,
    TYPES,
    NotTranslated,
    Registers,
    c_type,
)


def ldmatrix(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    """Return the statement of a load or store of 8 x 8 matrices."""
    if "m8n8" not in words or "b16" not in words or not {"x1", "x2", "x4"} & {*words}:
        raise NotTranslated(".".join(words))
    trans = str("trans" in words).lower()
    memory, names = (given[0], given[1]) if words[0] == "stmatrix" else (given[1], given[0])
    all_of = r.vector(names)
    at = r.address(memory, shared=True)
    if words[0] == "stmatrix":
        values = ", ".join(r.value(one, "b32") for one in all_of)
        return (
            f"{{ const R m[] = {{{values}}}; stmatrix<{len(all_of)}, {trans}>({at}, m, {HERE}); }}"
        )
    found = " ".join(f"{r.name(one)} = m[{i}];" for i, one in enumerate(all_of))
    return f"{{ R m[{len(all_of)}]; ldmatrix<{len(all_of)}, {trans}>({at}, m, {HERE}); {found} }}"


SHAPES = {
    ("m16n8k16", "f16"), ("m16n8k8", "f16"), ("m16n8k16", "bf16"), ("m16n8k8", "bf16"),
    ("m16n8k8", "tf32"), ("m16n8k4", "tf32"), ("m8n8k4", "f64"), ("m16n8k32", "s8"),
    ("m16n8k16", "s8"), ("m16n8k32", "u8"), ("m16n8k16", "u8"),
}  # fmt: skip


def mma(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    """Return the statement of a product of matrices."""
    shape = next((word for word in words if re.fullmatch(r"m\d+n\d+k\d+", word)), "")
    kinds = [word for word in words if word in TYPES]
    plain = {"mma", "sync", "aligned", "row", "col", shape, *kinds}
    if {*words} - plain - {"satfinite"} or len(kinds) != 4 or (shape, kinds[1]) not in SHAPES:
        raise NotTranslated(".".join(words))
    m, n, k = re.findall(r"\d+", shape)
    arrays = [
        f"R m{i}[] = {{{', '.join(r.value(v, 'b32') for v in r.vector(one))}}};"
        for i, one in enumerate(given[1:4])
    ]
    to = r.vector(given[0])
    back = " ".join(f"{r.name(one)} = md[{i}];" for i, one in enumerate(to))
    types = ", ".join(c_type(kinds[i]) for i in (1, 2, 3))
    return (
        f"{{ {' '.join(arrays)} R md[{len(to)}] = {{}}; "
        f"mma<{m}, {n}, {k}, {types}>(md, m0, m1, m2, {HERE}); {back} }}"
    )
