"""A CUDA C++ file as functions and declarations, which can be left out one by one."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from gradoracle.implementations.hostcuda.text import (
    blank,
    braced,
    code_only,
    directives,
    parenthesised,
)

_SCOPE = re.compile(
    r"\s*(?:(?:inline\s+)?namespace\b|extern\s*$|(?:template\s*<[^{}();]*>\s*)?(?:struct|class|union)\b)"
)
_CLASS = re.compile(
    r"(?:\btemplate\s*<[^;{}()]*>\s*)?\b(?:struct|class)\s+(?P<name>\w+)[^;{}()=]*\{"
)
_ATTRIBUTES = r"(?!(?:__launch_bounds__|__attribute__|__align__|alignas|decltype|defined)\b)"
_FUNCTION = re.compile(rf"\b{_ATTRIBUTES}(operator\s*\S{{1,3}}|[A-Za-z_]\w*)\s*\(")
_VARIABLE = re.compile(r"([A-Za-z_]\w*)\s*(?:\[[^;]*|=[^;]*|\{{[^;]*)?;?\s*$")
_ENDS = re.compile(r"[;{}()]")


@dataclass(frozen=True)
class Part:
    """A function with its body, or a declaration without one."""

    name: str
    start: int
    end: int
    body: int  # where the opening brace is; `end` where there is none

    @property
    def is_function(self) -> bool:
        """Whether it has a body to leave out."""
        return self.body < self.end


@lru_cache(maxsize=8)
def parts(code: str) -> tuple[Part, ...]:
    """Return the parts of a text at the scope of the file, of namespaces and of classes."""
    return tuple(_parts(code_only(code)))


def _parts(code: str) -> Iterator[Part]:
    start = at = 0
    while found := _ENDS.search(code, at):
        at = found.end()
        header = code[start : found.start()]
        start += len(header) - len(header.lstrip())  # what is before it for the preprocessor stays
        header = header.lstrip()
        if found[0] == "(":
            at = parenthesised(code, found.start()).end
        elif found[0] == ";":
            if header.strip():
                yield _declaration(code, start, at)
            start = at
        elif found[0] == "{" and _is_scope(header):
            start = at
        elif found[0] == "{":
            end = braced(code, found.start()) or len(code)
            at = end
            if function := _function(header):
                yield Part(function, start, end, found.start())
                start = end
        elif found[0] == "}":
            yield from _macro(code, start, found.start())
            start = at
    yield from _macro(code, start, len(code))


def _function(header: str) -> str:
    """Return the name of the function that a header is of; "" if it is that of a variable."""
    found = _FUNCTION.search(header)
    before = header[_past_template(header) : found.start()] if found else ""
    return found[1] if found and not re.search(r"(?<![=!<>])=(?!=)", before) else ""


def _macro(code: str, start: int, end: int) -> Iterator[Part]:
    """Yield a macro that is used as a declaration, without a semicolon, if there is one."""
    if macro := _FUNCTION.match(code[start:end].lstrip()):
        yield Part(macro[1], start, end, end)


def _past_template(header: str) -> int:
    """Return where `template <...>`, at the start of a header, ends: defaults are no values."""
    opening = re.match(r"template\s*<", header)
    depth, at = (1, opening.end()) if opening else (0, 0)
    while depth and at < len(header):
        depth += {"<": 1, ">": -1}.get(header[at], 0)
        at += 1
    return at


def classes(code: str) -> list[Part]:
    """Return the classes of a text, each with the braces and what its header says."""
    plain = code_only(code)
    found = _CLASS.finditer(plain)
    ends = ((one, braced(plain, one.end() - 1)) for one in found)
    return [
        Part(one["name"], one.start(), end + plain[end:].startswith(";"), one.end() - 1)
        for one, end in ends
        if end
    ]


def _is_scope(header: str) -> bool:
    within = header.rstrip().endswith((")", "const", "noexcept", "override"))
    return bool(_SCOPE.match(header)) and not within


def _declaration(code: str, start: int, end: int) -> Part:
    text = code[start:end]
    found = _FUNCTION.search(text) if "=" not in text else None
    found = found or _VARIABLE.search(text.rstrip("; \n"))
    return Part(found[1] if found else "", start, end, end)


def part_at(code: str, position: int) -> Part | None:
    """Return the part of a text that holds a position."""
    return next((part for part in parts(code) if part.start <= position < part.end), None)


def left_out(code: str, part: Part) -> str:
    """Return the text without a part, on the same lines; what is for the preprocessor stays."""
    kept, at = code[: part.start], part.start
    for one in directives(code):
        if part.start <= one.start() < part.end:
            kept += blank(code[at : one.start()]) + code[one.start() : one.end()]
            at = one.end()
    return kept + blank(code[at : part.end]) + code[max(at, part.end) :]


def without_body(code: str, part: Part, why: str) -> str:
    """Return the text with a function that only says why it cannot run, on the same lines."""
    lines = "\n" * code.count("\n", part.body, part.end)
    says = f"{{ hostcuda::missing({json.dumps(why)}, {{__FILE__, __LINE__}}); {lines}}}"
    return code[: part.body] + says + code[part.end :]


def needed(code: str, names: set[str]) -> set[str]:
    """Return the names of the functions that functions come to call, themselves among them."""
    bodies: dict[str, set[str]] = {}
    plain = code_only(code)
    for part in parts(code):
        words = set(re.findall(r"([A-Za-z_]\w*)\s*[(<]", plain[part.start : part.end]))
        bodies.setdefault(part.name, set()).update(words)
    found, todo = set(), {name.partition("<")[0].rpartition("::")[2] for name in names}
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= {word for word in bodies.get(name, ()) if word in bodies} - found
    return found
