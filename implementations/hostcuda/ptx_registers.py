"""The registers and operands of an asm statement, as variables of C++."""

import re
from collections.abc import Sequence

HERE = "{__FILE__, __LINE__}"  # of the statement, for what is reported
TYPES = {
    **{f"{k}{b}": f"uint{b}_t" for k in "bu" for b in (8, 16, 32, 64)},
    **{f"s{b}": f"int{b}_t" for b in (8, 16, 32, 64)},
    "f32": "float", "f64": "double", "f16": "Narrow<5>", "bf16": "Narrow<8>", "pred": "R",
    "tf32": "Tf32",
}  # fmt: skip
SPECIAL = {
    **{f"{name}.{axis}": f"self.{of}.{axis}" for name, of in
       (("tid", "thread"), ("ntid", "threads"), ("ctaid", "block"), ("nctaid", "blocks"))
       for axis in "xyz"},
    "laneid": "lane()", "warpid": "self.number / 32", "clock": "R(uint32_t(ticks()))",
    "clock64": "R(ticks())", "globaltimer": "R(ticks())", "globaltimer_lo": "R(uint32_t(ticks()))",
    "smid": "0", "nsmid": "132", "WARP_SZ": "32", "lanemask_lt": "(1u << lane()) - 1",
    "lanemask_le": "(2u << lane()) - 1", "lanemask_eq": "1u << lane()",
    "lanemask_ge": "~((1u << lane()) - 1)", "lanemask_gt": "~((2u << lane()) - 1)",
}  # fmt: skip


class NotTranslated(ValueError):
    """An instruction is not understood; the message is its name."""


class Registers:
    """The registers that one asm statement speaks of, as C++ variables of 64 bits."""

    def __init__(self, operands: Sequence[tuple[str, str]]) -> None:
        """Take the operands with their constraints."""
        self._operands, self._named = operands, set[str]()

    def inputs(self) -> list[str]:
        """Return the declarations of the operands' registers."""
        return [
            f"::hostcuda::ptx::R hostcuda_r{i} = 0;"
            if c.startswith("=")
            else f"::hostcuda::ptx::R hostcuda_r{i} = ::hostcuda::ptx::in({_typed(c, value)});"
            for i, (c, value) in enumerate(self._operands)
        ]

    def outputs(self) -> list[str]:
        """Return the assignments to what outputs are."""
        return [
            f"::hostcuda::ptx::out({value}, hostcuda_r{i});"
            for i, (c, value) in enumerate(self._operands)
            if c[:1] in ("=", "+")
        ]

    def declare(self, names: str) -> str:
        """Return the declaration of registers that the text itself names."""
        found = [name.strip() for name in names.split(",")]
        if not all(re.fullmatch(r"[%$\w]+", name) for name in found):
            raise NotTranslated(f".reg {names}")
        self._named |= {*found}
        return "".join(f"R {_variable(name)} = 0; " for name in found)

    def name(self, operand: str) -> str:
        """Return the variable that an operand is written to."""
        operand = operand.strip()
        if re.fullmatch(r"%\d+", operand) and int(operand[1:]) < len(self._operands):
            return f"hostcuda_r{operand[1:]}"
        if operand in self._named:
            return _variable(operand)
        raise NotTranslated(operand)

    def value(self, operand: str, kind: str) -> str:
        """Return what an operand is worth, as the bits of a type."""
        operand = operand.strip()
        bare = operand.lstrip("%")
        if bare in SPECIAL and (operand.startswith("%") or bare == "WARP_SZ"):
            return f"R({SPECIAL[bare]})"
        if found := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})|0[dD]([0-9A-Fa-f]{16})", operand):
            return f"R(0x{found[1] or found[2]}ull)"
        if re.fullmatch(r"[+-]?(0[xX][0-9A-Fa-f]+|\d+)[uU]?", operand):
            return f"bits<{c_type(kind)}>({c_type(kind)}({operand}))"
        if re.fullmatch(r"[+-]?\d+\.\d*(e[+-]?\d+)?", operand):
            return f"bits<{c_type(kind)}>({operand})"
        if operand.startswith("!"):
            return f"R(!{self.name(operand[1:])})"
        return self.name(operand)

    def address(self, operand: str, *, shared: bool) -> str:
        """Return the pointer that `[register + offset]` is."""
        found = re.fullmatch(r"\[\s*([%$\w]+)\s*(?:\+\s*([%$\w+* -]+?))?\s*\]", operand.strip())
        if not found:
            raise NotTranslated(operand)
        offset = found[2] or "0"
        if not re.fullmatch(r"[-\d+* ]+|0[xX][0-9a-fA-F]+", offset):
            offset = self.value(offset, "s32")
        return f"at({self.value(found[1], 'u64')} + ({offset}), {str(shared).lower()})"

    def vector(self, operand: str) -> list[str]:
        """Return the operands within braces, or the one without."""
        operand = operand.strip()
        if operand.startswith("{"):
            return [one.strip() for one in operand.strip("{} ").split(",")]
        return [operand]


def _typed(constraint: str, value: str) -> str:
    """Return an input as its constraint's letter says; pointers and immediates are 64 bits."""
    letter = constraint[-1:]
    if letter == "f":
        return f"float({value})"
    if letter == "d":
        return f"double({value})"
    if letter in "rhn" and letter:
        return f"{ {'r': 'uint32_t', 'h': 'uint16_t', 'n': 'int64_t'}[letter] }({value})"
    if letter == "l":
        return f"(unsigned long long)({value})"
    raise NotTranslated(f'the constraint "{constraint}"')


def _variable(name: str) -> str:
    return "hostcuda_p_" + re.sub(r"\W", "_", name)


def c_type(kind: str) -> str:
    """Return the C++ type of a PTX type."""
    if kind not in TYPES:
        raise NotTranslated(f".{kind}")
    return TYPES[kind]
