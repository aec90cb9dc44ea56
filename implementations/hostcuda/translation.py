"""CUDA C++ kernels as C++: the few things that no macro can express."""

import re
from typing import NamedTuple

from gradoracle.implementations.hostcuda.text import (
    at_file_scope,
    code_only,
    parenthesised,
)

_ALIGNED = r"(?:__align__|alignas|__attribute__)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_DYNAMIC = re.compile(
    rf"(?<![\w>])(?:(?:__shared__|volatile|{_ALIGNED})\s+)*extern\s(?P<type>(?:{_ALIGNED}|[^;{{}}()=\[])*)"
    r"\b(?P<name>\w+)\s*\[\s*\](?P<rows>(?:\s*\[[^\];{}]*\])*)\s*;"
)
_BOUNDS = re.compile(r"__launch_bounds__\s*\(")


class Found(NamedTuple):
    """A kernel that a text spells out."""

    name: str
    start: int
    end: int  # of what is between the kernel's parentheses
    parameters: str
    template: bool


def found_kernels(code: str) -> list[Found]:
    """Return the kernels that the text spells out; `code` is without comments and directives."""
    found = []
    for marked in re.finditer(r"\b__global__\b", code):
        position = marked.end()
        while word := re.compile(r"\s*([\w:]+|<|>|\*|&)").match(code, position):
            position = word.end()
            if not re.compile(r"\s*\(").match(code, position):
                continue
            given, end = parenthesised(code, code.index("(", position))
            if re.compile(r"\s*[{;]").match(code, end):
                template = code[: marked.start()].rsplit(";", 1)[-1].rsplit("}", 1)[-1]
                template_too = re.search(r"\btemplate\b", template.rsplit("{", 1)[-1])
                found.append(Found(word[1], marked.start(), end, given, template_too is not None))
                break
            position = end  # an attribute's
    return found


def plain_kernels(code: str) -> list[str]:
    """Return the kernels that are no templates."""
    return [one.name for one in found_kernels(code_only(code)) if not one.template]


def translated(code: str) -> str:
    """Return the text as C++: the few things that no macro can express, on the same lines."""
    code = re.sub(
        r'extern\s+"C"\s+(?=[^;{}()]*(?:\([^)]*\)[^;{}()]*)*__global__)', _c_linkage, code
    )
    code = re.sub(r"\bstatic[ \t]+__shared__\b", "__shared__", code)
    code = re.sub(r"\b__constant__[ \t]+(?=const(?:expr)?\b)", "", code)
    code = re.sub(r"\b(const(?:expr)?(?:[ \t]+static)?)[ \t]+__constant__\b", r"\1", code)
    for each in reversed(list(_DYNAMIC.finditer(code_only(code)))):
        if "__shared__" in each[0]:
            code = code[: each.start()] + _dynamic(each) + code[each.end() :]
    position = 0
    while found := _BOUNDS.search(code_only(code), position):
        most, end = parenthesised(code, found.end() - 1)
        body = _body(code, end)
        check = f" hostcuda::launch_bounds({_first_argument(most)}, {{__FILE__, __LINE__}});"
        code = (
            code[: found.start()]
            + "\n" * code[found.start() : end].count("\n")
            + code[end:body]
            + (check if body else "")
            + code[body or end :]
        )
        position = found.start() + 1
    return code


def _c_linkage(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def _dynamic(found: re.Match[str]) -> str:
    """Return the C++ for `extern __shared__ T name[];`, or `name[][4]`."""
    words = re.sub(
        rf"{_ALIGNED}|\b__shared__\b|\bextern\b", " ", found[0][: found.end("type") - found.start()]
    )
    kind, rows = " ".join(words.split()), " ".join(found["rows"].split())
    is_global = at_file_scope(found.string[: found.start()])
    static, pointer = ("static ", "*&") if is_global else ("", "*")
    lines = "\n" * found[0].count("\n")
    declared = f"{static}{kind} ({pointer}{found['name']}){rows}"
    return f"{declared} = ({kind} ({pointer}){rows})hostcuda::self.dynamic;{lines}"


def _body(code: str, start: int) -> int:
    """Return where the body of the function declared after `start` begins, or 0: it has none."""
    bare = code_only(code)
    opening = bare.find("(", start)
    if opening < 0:
        return 0
    _, end = parenthesised(bare, opening)
    if re.compile(r"\s*\w+\s*\(").match(bare, end):  # that was an attribute
        return _body(code, end)
    rest = re.compile(r"\s*\{").match(bare, end)
    return rest.end() if rest else 0


def _first_argument(arguments: str) -> str:
    depth = 0
    for i, letter in enumerate(arguments):
        depth += {"(": 1, ")": -1, "<": 0}.get(letter, 0)
        if letter == "," and not depth:
            return arguments[:i]
    return arguments
