"""Inline PTX as C++: each `asm` statement becomes a block of calls of `hostcuda_ptx.h`.

    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" :: "r"(to), "l"(from));

An instruction that is not in the tables stays as it is, and the function that has it is refused by
the instruction's name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gradoracle.implementations.hostcuda.ptx_instructions import instruction
from gradoracle.implementations.hostcuda.ptx_registers import NotTranslated, Registers
from gradoracle.implementations.hostcuda.text import parenthesised, without_comments

_ASM = re.compile(
    r"\b(?:asm|__asm__|__asm)\b(?:\s|\\\n)*(?:(?:volatile|__volatile__)\b)?(?:\s|\\\n)*\("
)
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_OPERAND = re.compile(r'\s*(?:\[\w+\])?\s*"([^"]*)"\s*\(')
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "", r"\"": '"', r"\\": "\\"}
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
# Names that statements use; registers and C++'s own words are no such names.
_OURS = re.compile(
    r"(?<![\w:.'])(?!hostcuda_|u?int\d+_t\b|unsigned\b|float\b|double\b|const\b|auto\b|if\b|true\b|"
    r"false\b|nullptr\b|v\b|m\b|m\d\b|md\b|of\b|void\b|ull\b|x\b|y\b|z\b|__)([A-Za-z_]\w*)"
)
_DECLARED = re.compile(r"\.reg\s+\.(\w+)\s+(.+)$", re.DOTALL)
_INSTRUCTION = re.compile(r"(?:@(!?)\s*([\w%$]+)\s+)?([a-z][\w.:]*)\s*(.*)$", re.DOTALL)


@dataclass
class _Asm:
    """An asm statement: the instructions, and its operands with their constraints."""

    text: str
    operands: list[tuple[str, str]] = field(default_factory=list)


def with_ptx(code: str) -> str:
    """Return the text with its inline PTX as C++, on the same lines, where that is understood."""
    plain = without_comments(code)
    for found in reversed([*_ASM.finditer(plain)]):
        end = parenthesised(plain, found.end() - 1).end
        given = code[found.end() : end - 1]
        try:
            made = block(given)
        except NotTranslated:
            continue
        lines = re.findall(r"\\?\n", code[found.start() : end])
        code = code[: found.start()] + made + "".join(lines) + code[end:]
    return code


def refusal(code: str, position: int) -> str:
    """Return the name of the instruction that the asm statement at `position` is refused for."""
    found = _ASM.match(code, position)
    if not found:
        return ""
    try:
        block(code[found.end() : parenthesised(without_comments(code), found.end() - 1).end - 1])
    except NotTranslated as error:
        return str(error)
    return ""


def _quiet(code: str) -> str:
    """Return the text with what strings hold blanked: a parenthesis there closes nothing."""
    return _STRING.sub(lambda found: '"' + re.sub(r"[^\n]", " ", found[1]) + '"', code)


def block(given: str) -> str:
    """Return the C++ of what is within an asm statement's parentheses.

    Raises:
        NotTranslated: an instruction or an operand is not understood.
    """
    asm = _parsed(_COMMENT.sub(_dropped, given.replace("\\\n", " ")))
    registers = Registers(asm.operands)
    statements = [_statement(one, registers) for one in _instructions(asm.text)]
    made = _OURS.sub(r"::hostcuda::ptx::\1", " ".join(filter(None, statements)))
    return " ".join(["do {", *registers.inputs(), made, *registers.outputs(), "} while (0)"])


def _dropped(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else " "


def _parsed(given: str) -> _Asm:
    """Return the parts of an asm statement, which colons separate."""
    at, text = 0, ""
    while found := re.compile(r'\s*"((?:\\.|[^"\\])*)"', re.DOTALL).match(given, at):
        text, at = text + re.sub(r"\\.", lambda e: _ESCAPES.get(e[0], e[0]), found[1]), found.end()
    if not text and given.strip():
        raise NotTranslated("an asm statement whose text a macro makes")
    asm = _Asm(text)
    for _ in range(2):  # outputs, inputs; clobbers mean nothing here
        colon = re.compile(r"\s*:").match(given, at)
        if not colon:
            break
        at = colon.end()
        at = _operands(given, at, asm)
    return asm


def _operands(given: str, at: int, asm: _Asm) -> int:
    """Add the operands from `at` on; return where they end."""
    quiet = _quiet(given)
    while found := _OPERAND.match(given, at):
        value, at = parenthesised(quiet, found.end() - 1)
        value = given[found.end() : at - 1]
        asm.operands.append((found[1], value))
        comma = re.compile(r"\s*,").match(given, at)
        if not comma:
            break
        at = comma.end()
    return at


def _instructions(text: str) -> Sequence[str]:
    """Return the instructions of a text, without comments and braces of a scope."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    found = []
    for one in re.split(r";", text):
        line = " ".join(one.split())
        while line[:1] in ("{", "}"):  # of a scope, not of a vector: those follow an opcode
            line = line[1:].strip()
        if line and line != "}":
            found.append(line)
    return found


def _statement(line: str, registers: Registers) -> str:
    """Return the C++ of one instruction or declaration.

    Raises:
        NotTranslated: it is not understood.
    """
    if declared := _DECLARED.match(line):
        return registers.declare(declared[2])
    found = _INSTRUCTION.match(line)
    if not found or line.split(maxsplit=1)[0].endswith(":"):
        raise NotTranslated(line.split(maxsplit=1)[0])
    made = instruction(found[3], found[4].strip(), registers)
    if found[2]:
        return f"if ({'!' if found[1] else ''}{registers.value(found[2], 'pred')}) {{ {made} }}"
    return made
