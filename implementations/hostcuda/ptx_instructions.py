"""The instructions of PTX that are understood, each as calls of `hostcuda_ptx.h`."""

import re
from collections.abc import Callable, Sequence

from gradoracle.implementations.hostcuda.ptx_matrices import ldmatrix, mma
from gradoracle.implementations.hostcuda.ptx_registers import (
    HERE,
    TYPES,
    NotTranslated,
    Registers,
    c_type,
)
from gradoracle.implementations.hostcuda.text import split

BINARY = {
    "add": "add", "sub": "sub", "div": "div", "rem": "rem", "min": "min_", "max": "max_",
    "and": "and_", "or": "or_", "xor": "xor_", "shl": "shl", "shr": "shr",
}  # fmt: skip
UNARY = {
    "neg": "neg", "abs": "abs_", "not": "not_", "sqrt": "sqrt_", "rsqrt": "rsqrt_", "rcp": "rcp",
    "ex2": "ex2", "lg2": "lg2", "sin": "sin_", "cos": "cos_", "tanh": "tanh_", "popc": "popc",
    "clz": "clz",
}  # fmt: skip
COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<",
            "ls": "<=", "hi": ">", "hs": ">="}  # fmt: skip
NOTHING = ("prefetch", "prefetchu", "discard", "applypriority", "griddepcontrol", "setmaxnreg")
ATOMS = ("add", "min", "max", "exch", "and", "or", "xor", "inc", "dec")
PLACES = ("global", "shared", "const", "local", "param")


def instruction(opcode: str, operands: str, registers: Registers) -> str:
    """Return the C++ statement of an instruction.

    Raises:
        NotTranslated: there is no such instruction here.
    """
    words = re.split(r"\.|::", opcode)
    given = [one.strip() for one in split(operands)]
    made = (MATRICES if words[0] in MATRICES else TABLE).get(words[0])
    try:
        if words[0] in NOTHING:
            return ";"
        if words[0] in BINARY:
            return _binary(BINARY[words[0]], words, given, registers)
        if words[0] in UNARY:
            return _unary(UNARY[words[0]], words, given, registers)
        if made is not None:
            return made(words, given, registers)
    except (IndexError, NotTranslated) as error:
        raise NotTranslated(opcode) from error
    raise NotTranslated(opcode)


def _kind(words: Sequence[str], at: int = -1) -> str:
    kinds = [word for word in words[1:] if word in TYPES]
    return kinds[at]


def _binary(name: str, words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    if {"cc", "sat", "x2", "f16x2", "bf16x2"} & {*words}:
        raise NotTranslated(".".join(words))
    kind = _kind(words)
    by = "u32" if name in ("shl", "shr") else kind
    a, b = r.value(given[1], kind), r.value(given[2], by)
    return f"{r.name(given[0])} = {name}<{c_type(kind)}>({a}, {b});"


def _unary(name: str, words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind = _kind(words)
    return f"{r.name(given[0])} = {name}<{c_type(kind)}>({r.value(given[1], kind)});"


def _mul(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind, how = _kind(words), "_wide" if "wide" in words else "_hi" if "hi" in words else ""
    return (
        f"{r.name(given[0])} = mul{how}<{c_type(kind)}>({r.value(given[1], kind)},"
        f" {r.value(given[2], kind)});"
    )


def _mad(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind = _kind(words)
    a, b, c = (r.value(one, kind) for one in given[1:4])
    kind = c_type(kind)
    if words[0] == "fma" or kind in ("float", "double"):
        return f"{r.name(given[0])} = fma_<{kind}>({a}, {b}, {c});"
    if "wide" in words:
        return f"{r.name(given[0])} = mad_wide<{kind}>({a}, {b}, {c});"
    how = "_hi" if "hi" in words else ""
    return f"{r.name(given[0])} = add<{kind}>(mul{how}<{kind}>({a}, {b}), {c});"


def _mov(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind = _kind(words)
    if given[1].startswith("{"):
        low = r.vector(given[1])
        bits = int(kind[1:]) // len(low)
        value = " | ".join(
            f"({r.value(one, f'b{bits}')} & ((R(1) << {bits}) - 1)) << {i * bits}"
            for i, one in enumerate(low)
        )
        return f"{r.name(given[0])} = {value};"
    if given[0].startswith("{"):
        to = r.vector(given[0])
        bits = int(kind[1:]) // len(to)
        return " ".join(
            f"{r.name(one)} = {r.value(given[1], kind)} >> {i * bits} & ((R(1) << {bits}) - 1);"
            for i, one in enumerate(to)
        )
    return f"{r.name(given[0])} = {r.value(given[1], kind)};"


def _cvt(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kinds = [word for word in words[1:] if word in TYPES]
    if len(kinds) != 2 or {"sat", "relu", "f16x2", "bf16x2"} & {*words}:
        raise NotTranslated(".".join(words))
    mode = next((word[1] for word in words if word in ("rni", "rzi", "rmi", "rpi")), "z")
    to, of = kinds
    if to == "tf32":
        return f"{r.name(given[0])} = bits(Tf32{{as<float>({r.value(given[1], of)})}}) + 0x1000;"
    return (
        f"{r.name(given[0])} = cvt<{c_type(to)}, {c_type(of)}>({r.value(given[1], of)}, '{mode}');"
    )


def _cvta(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    value, to = r.value(given[1], "u64"), r.name(given[0])
    if "shared" not in words:
        return f"{to} = {value};"
    if "to" in words:
        return f"{to} = __cvta_generic_to_shared((const void *){value});"
    return f"{to} = (R)__cvta_shared_to_generic({value});"


def _setp(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind, sign = _kind(words), COMPARED.get(words[1])
    if sign is None or "|" in given[0] or len(given) != 3:
        raise NotTranslated(".".join(words))
    a, b = (f"as<{c_type(kind)}>({r.value(one, kind)})" for one in given[1:])
    return f"{r.name(given[0])} = {a} {sign} {b};"


def _selp(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind = _kind(words)
    a, b = (r.value(one, kind) for one in given[1:3])
    return f"{r.name(given[0])} = {r.value(given[3], 'pred')} ? {a} : {b};"


def _place(words: Sequence[str]) -> bool:
    if "param" in words or "cluster" in words:
        raise NotTranslated(".".join(words))
    return "shared" in words


def _ld(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    kind, at = c_type(_kind(words)), r.address(given[1], shared=_place(words))
    to = r.vector(given[0])
    if len(to) == 1:
        return f"{r.name(to[0])} = ld<{kind}>({at});"
    found = " ".join(f"{r.name(one)} = bits(v.of[{i}]);" for i, one in enumerate(to))
    return f"{{ const auto v = ld_vector<{kind}, {len(to)}>({at}); {found} }}"


def _st(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    name, at = _kind(words), r.address(given[0], shared=_place(words))
    kind, of = c_type(name), r.vector(given[1])
    if len(of) == 1:
        return f"st<{kind}>({at}, {r.value(of[0], name)});"
    values = ", ".join(f"as<{kind}>({r.value(one, name)})" for one in of)
    return f"st_vector<{kind}, {len(of)}>({at}, Vector<{kind}, {len(of)}>{{{{{values}}}}});"


def _atom(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    name, result = _kind(words), ""
    if words[0] == "atom":
        result, given = f"{r.name(given[0])} = ", given[1:]
    at = r.address(given[0], shared=_place(words))
    if "cas" in words:
        e, v = (r.value(one, name) for one in given[1:3])
        return f"{result}atom_cas<{c_type(name)}>({at}, {e}, {v});"
    how = next((word for word in words if word in ATOMS), None)
    if how is None or {"noftz", "v2", "v4"} & {*words}:
        raise NotTranslated(".".join(words))
    return f"{result}atom_{how}<{c_type(name)}>({at}, {r.value(given[1], name)});"


def _shfl(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    how = {"up": "u", "down": "d", "bfly": "b", "idx": "i"}[words[2]]
    to, _, inside = given[0].partition("|")
    a, b, c, mask = (r.value(one, "b32") for one in given[1:5])
    seen = f"&{r.name(inside)}" if inside else "nullptr"
    return f"{r.name(to)} = shfl('{how}', {a}, {b}, {c}, {mask}, {seen}, {HERE});"


def _vote(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    how = {"ballot": "b", "all": "a", "any": "y"}[words[2]]
    p, mask = r.value(given[1], "pred"), r.value(given[2], "b32")
    return f"{r.name(given[0])} = vote('{how}', {p}, {mask}, {HERE});"


def _bar(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    if words[1:2] == ["warp"]:
        return f"warp_barrier(unsigned({r.value(given[0], 'b32')}), true, {HERE});"
    if "sync" not in words or "cluster" in words:
        raise NotTranslated(".".join(words))
    threads = r.value(given[1], "b32") if len(given) > 1 else "0"
    return f"named_barrier({r.value(given[0], 'b32')}, {threads}, {HERE});"


def _fence(words: Sequence[str], given: Sequence[str], r: Registers) -> str:  # noqa: ARG001
    return ";" if {"cta", "mbarrier_init"} & {*words} else "fence();"


def _cp(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    if words[1] != "async" or "bulk" in words or "mbarrier" in words:
        raise NotTranslated(".".join(words))
    if words[2] == "commit_group":
        return "async_committed();"
    if words[2] == "wait_all":
        return "async_committed(); async_waited(0);"
    if words[2] == "wait_group":
        return f"async_waited(unsigned({r.value(given[0], 'u32')}));"
    to, of = r.address(given[0], shared=True), r.address(given[1], shared=False)
    n = r.value(given[2], "u32")
    return (
        f"cp_async({to}, {of}, {n}, {r.value(given[3], 'u32') if len(given) > 3 else n}, {HERE});"
    )


def _lop3(words: Sequence[str], given: Sequence[str], r: Registers) -> str:  # noqa: ARG001
    a, b, c, table = (r.value(one, "b32") for one in given[1:5])
    return f"{r.name(given[0])} = lop3({a}, {b}, {c}, {table});"


def _prmt(words: Sequence[str], given: Sequence[str], r: Registers) -> str:
    if len(words) > 2:
        raise NotTranslated(".".join(words))
    a, b, c = (r.value(one, "b32") for one in given[1:4])
    return f"{r.name(given[0])} = prmt({a}, {b}, {c});"


def _activemask(words: Sequence[str], given: Sequence[str], r: Registers) -> str:  # noqa: ARG001
    return f"{r.name(given[0])} = __activemask();"


def _nanosleep(words: Sequence[str], given: Sequence[str], r: Registers) -> str:  # noqa: ARG001
    return "take_turns();"


def _trap(words: Sequence[str], given: Sequence[str], r: Registers) -> str:  # noqa: ARG001
    return f"stop({HERE});"


def _nop(words: Sequence[str], given: Sequence[str], r: Registers) -> str:  # noqa: ARG001
    return ";"


Maker = Callable[[Sequence[str], Sequence[str], Registers], str]
TABLE: dict[str, Maker] = {
    "mul": _mul, "mad": _mad, "fma": _mad, "mov": _mov, "cvt": _cvt, "cvta": _cvta, "setp": _setp,
    "selp": _selp, "ld": _ld, "ldu": _ld, "st": _st, "atom": _atom, "red": _atom, "shfl": _shfl,
    "vote": _vote, "bar": _bar, "barrier": _bar, "membar": _fence, "fence": _fence, "cp": _cp,
    "lop3": _lop3, "prmt": _prmt, "activemask": _activemask, "nanosleep": _nanosleep,
    "trap": _trap, "nop": _nop,
}  # fmt: skip
MATRICES: dict[str, Maker] = {"ldmatrix": ldmatrix, "stmatrix": ldmatrix, "mma": mma}
