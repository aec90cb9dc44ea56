"""The host's part of a CUDA file as C++: launches, `main`, variables of the device."""

import re

from gradoracle.implementations.hostcuda.parts import left_out, parts
from gradoracle.implementations.hostcuda.text import (
    at_file_scope,
    code_only,
    parenthesised,
    split,
    without_comments,
)

_SPACE = r"(?:\s|\\\r?\n)*"
_ENDS_LAUNCH = re.compile(rf">>>{_SPACE}\(")
_TO_VOID = re.compile(
    r"\b(cudaLaunch(?:Cooperative)?Kernel\s*\(\s*)(?:\(\s*(?:const\s+)?void\s*\*\s*\)|"
    r"reinterpret_cast\s*<\s*(?:const\s+)?void\s*\*\s*>)\s*"
)
_IN_MEMORY = re.compile(r"\b(__device__|__managed__|__constant__)\b")
_DECLARATOR = re.compile(r"[\s*&]*(?:[\w:<>,\s*&]*[\s*&>])?(\w+)\s*(?:\[|=|\{|$)")


def as_cpp(code: str) -> str:
    """Return the text with its host code as C++, on the same lines; `main` is left out."""
    for part in reversed(parts(code)):
        if part.name == "main" and part.is_function:
            code = left_out(code, part)
    return with_launches(_TO_VOID.sub(r"\1", with_variables(code)))


def with_launches(code: str) -> str:
    """Return the text with `kernel<<<grid, block>>>(...)` as a call of `hostcuda::launch`."""
    position, plain = len(code), without_comments(code)
    while True:
        begins = plain.rfind("<<<", 0, position)
        if begins < 0:
            return code
        position = begins
        start = _name_before(plain, begins)
        ends = _end_of_sizes(plain, begins + 3)
        if start == begins or ends is None:
            continue
        last = parenthesised(plain, ends.end() - 1).end - 1
        given = ",".join(map(_argument, split(code[ends.end() : last])))
        code = (
            f"{code[:start]}hostcuda::launch(HOSTCUDA_STARTED({code[start:begins]}), "
            f"hostcuda::Sizes({code[begins + 3 : ends.start()]})"
            f"{code[ends.start() + 3 : ends.end() - 1]}{', ' if given.strip() else ''}"
            f"{given}{code[last:]}"
        )


def _argument(text: str) -> str:
    return text.replace(text.strip(), "hostcuda::Null{}") if text.strip() in ("0", "NULL") else text


def _name_before(code: str, end: int) -> int:
    """Return where the expression begins that names a kernel and ends here."""
    at = len(code[:end].rstrip(" \t\r\n\\"))
    if code[at - 1 : at] == ">":
        at = len(code[: _opening(code, at, "<>")].rstrip())
    elif code[at - 1 : at] in (")", "]"):
        at = _opening(code, at, "")
    found = re.search(r"(?:[\w:.]|->|##)*$", code[:at])
    start = found.start() if found else at
    return start if start < at or (at < end and code[at : at + 1] == "(") else end


def _opening(code: str, at: int, more: str) -> int:
    """Return where the bracket opens that closes before `at`; those of `more` count outside ()."""
    depth = angles = 0
    while at:
        at -= 1
        depth += (code[at] in ")]") - (code[at] in "([")
        if more and not depth:
            angles += (code[at] == more[1]) - (code[at] == more[0])
        if not depth and not angles:
            break
    return at


def _end_of_sizes(code: str, at: int) -> re.Match[str] | None:
    depth = 0
    while at < len(code):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if not depth and (found := _ENDS_LAUNCH.match(code, at)):
            return found
        at += 1
    return None


def with_variables(code: str) -> str:
    """Return the text with every variable of the device made known to the checker."""
    plain = code_only(code)
    for found in reversed([*_IN_MEMORY.finditer(plain)]):
        end = plain.find(";", found.end())
        start = max(plain.rfind(mark, 0, found.start()) for mark in ";{}") + 1
        declared = re.sub(r"__align__\s*\([^()]*\)|alignas\s*\([^()]*\)", " ", plain[start:end])
        names = _variables(declared)
        if end < 0 or not names or not at_file_scope(plain[:start]):
            continue
        constant = str(found[1] == "__constant__").lower()
        filled = str(found[1] != "__constant__" or "=" in declared or "{" in declared).lower()
        known = "".join(
            f" static const hostcuda::Variable hostcuda_variable_{name}"
            f'("{name}", (const void *)&{name}, sizeof({name}), {constant}, {filled});'
            for name in names
        )
        code = code[: end + 1] + known + code[end + 1 :]
    return code


def _variables(declared: str) -> list[str]:
    """Return the names that a declaration of the device's memory gives to variables."""
    kind = re.split(r"[=({\[]", declared)[0]
    after = declared[len(kind) : len(kind) + 1]
    constant = re.search(r"\b(const|constexpr)\b", kind.rpartition("*")[2])
    if after == "(" or constant or re.search(r"\b(extern|operator|using|typedef)\b", declared):
        return []
    if re.search(r"\b(struct|class|union|enum)\s*\w*\s*$", kind) and after == "{":
        return []
    found = [_DECLARATOR.match(part) for part in split(declared)]
    return [one[1] for one in found if one and not one[1].isdigit()]
