"""Reading CUDA C++ as text: comments, directives, braces."""

import re
from functools import lru_cache
from typing import NamedTuple

_COMMENT = re.compile(
    r"""//(?:[^\\\n]|\\\r?\n|\\.)*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.[^'\n]*|[^'\\\n])'""",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\\\n]|\\\r?\n|\\.)*", re.MULTILINE)


def blank(text: str) -> str:
    """Return spaces in place of all but the ends of lines."""
    return re.sub(r"[^\r\n]", " ", text)


def _blank(found: re.Match[str]) -> str:
    return blank(found[0])


@lru_cache(maxsize=16)
def without_comments(code: str) -> str:
    """Return the text with comments and strings blanked, letter for letter."""
    return _COMMENT.sub(_blank, code)


def directives(code: str) -> list[re.Match[str]]:
    """Return what is for the preprocessor, as it stands in the text without comments."""
    return list(_DIRECTIVE.finditer(without_comments(code)))


@lru_cache(maxsize=16)
def code_only(code: str) -> str:
    """Return the text with comments, strings and directives blanked, letter for letter."""
    return _DIRECTIVE.sub(_blank, without_comments(code))


def braced(code: str, opening: int) -> int:
    """Return where the block ends that begins at `opening`; 0 where it does not."""
    depth = 0
    for brace in re.compile(r"[{}]").finditer(code, opening):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    return 0


def at_file_scope(before: str) -> bool:
    """Return whether a text ends outside all functions and classes."""
    functions: list[bool] = []
    for brace in re.finditer(r"[{}]", before):
        if brace[0] == "}":
            functions = functions[:-1]
        else:
            header = re.split(r"[;{}]", before[: brace.start()])[-1]
            functions.append(not re.search(r"\bnamespace\b|\bextern\s*$", header))
    return not any(functions)


class Bounded(NamedTuple):
    """What is within parentheses, and where they end."""

    most: str
    end: int


def parenthesised(code: str, opening: int) -> Bounded:
    """Return what is within the parentheses that open there."""
    depth = 0
    for i in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if not depth:
            return Bounded(code[opening + 1 : i], i + 1)
    return Bounded(code[opening + 1 :], len(code))


def split(text: str) -> list[str]:
    """Return the parts between the commas that are outside all brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts if text.strip() else []
