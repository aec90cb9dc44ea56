"""How the host code of a file launches its kernels."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from gradoracle.implementations.cuda_source.names import names_in
from gradoracle.implementations.hostcuda.text import (
    braced,
    code_only,
    parenthesised,
    split,
    without_comments,
)

LAUNCHED = re.compile(r"\b(\w+)\s*(?:<[^<>;]*>)?\s*<<<")
_HEAD_OR_BRACE = re.compile(r"[{}]|\b(\w+)\s*\(")
_LOCAL = re.compile(
    r"\b(?:const\s+|constexpr\s+|static\s+)*(?:int|unsigned|size_t|auto)\s+(\w+)\s*=\s*([\w\s*+/()-]+?)\s*;"
)
_OPENING = re.compile(r"\s*(?:noexcept\s*)?\{")
_TEMPLATE = re.compile(r"\btemplate\s*<")


class Launched(NamedTuple):
    """A launch: the kernel, its blocks, threads and bytes as they are written, its arguments.

    `within` has the parameters of the function that it stands in.
    """

    kernel: str
    sizes: list[str]
    arguments: list[str]
    within: str = ""


class Host(NamedTuple):
    """A function of the host that launches kernels."""

    name: str
    parameters: str
    launches: tuple[str, ...]
    passed: Mapping[str, str]  # by its parameters, those of kernels that are given them
    body: str = ""
    template: str = ""  # what is between the angles of a template


def launches_in(plain: str) -> Iterator[Launched]:
    """Yield the launches of a text without comments."""
    for found in LAUNCHED.finditer(plain):
        end = plain.find(">>>", found.end())
        arguments = parenthesised(plain, plain.find("(", end)).most
        sizes = split(plain[found.end() : end])
        yield Launched(
            found[1], [one.strip() for one in sizes], [one.strip() for one in split(arguments)]
        )


def launch_of(text: str, kernel: str) -> Launched | None:
    """Return the first launch of a kernel, its sizes with the values of the host's variables."""
    plain = without_comments(text)
    found = next((one for one in launches_in(plain) if one.kernel == kernel), None)
    if found is None:
        return None
    launching = re.compile(rf"\b{kernel}\s*(?:<[^<>;]*>)?\s*<<<")
    around = [one for one in functions_in(text) if launching.search(one.body)][:1]
    # The variables of the function that launches it come before those of others.
    here = "".join(f"({one.parameters})\n{one.body}\n" for one in around)
    within = "".join(one.parameters for one in around)
    local = with_numbers_of(here, found.arguments)
    sizes = [local(_value(here + plain, one)) for one in found.sizes]
    return found._replace(sizes=sizes, within=within)


def template_of(text: str, kernel: str) -> str:
    """Return what a template is given where it is launched or called, as in `<256>`; else ""."""
    given = re.compile(rf"\b{kernel}\s*(<[^<>;(){{}}]*>)\s*(?:<<<|\()")
    found = given.search(without_comments(text))
    if found is None:
        return ""
    around = next((one.body for one in functions_in(text) if given.search(one.body)), "")
    return with_numbers_of(around, ())(" ".join(found[1].split()))


def with_numbers_of(body: str, given: Collection[str]) -> Callable[[str], str]:
    """Return what puts a function's own variables into an expression, without those `given`."""
    known = {
        name: of if of.isdigit() else f"({' '.join(of.split())})"
        for name, of in _LOCAL.findall(body) if name not in given
    }  # fmt: skip

    def replaced(expression: str) -> str:
        for _ in range(3):
            expression = re.sub(
                r"(?<![\w.])[A-Za-z_]\w*", lambda one: known.get(one[0], one[0]), expression
            )
        return expression

    return replaced


class Defined(NamedTuple):
    """A function at file scope: its name, parameters and body, and what stands before its name.

    The name includes its namespaces, as in `mine::relu`; `template` is what is between the angles
    of a template.
    """

    name: str
    parameters: str
    body: str
    before: str
    template: str = ""


@lru_cache(maxsize=16)
def functions_in(text: str) -> tuple[Defined, ...]:
    """Return the functions that a text defines at file scope, kernels and templates too."""
    code = code_only(text)
    found: list[Defined] = []
    scopes: list[str | None] = []  # the namespaces that are open; None: a function or a class
    for one in _HEAD_OR_BRACE.finditer(code):
        if one[0] == "}":
            scopes = scopes[:-1]
        elif one[0] == "{":
            scopes.append(_namespace(_before(code, one.start())))
        elif None not in scopes:
            within = "".join(name for name in scopes if name)
            found += _defined(code, one, within)
    return (*found,)


def _defined(code: str, head: re.Match[str], within: str) -> Iterator[Defined]:
    """Yield the function that begins with a name and a parenthesis, where that is one."""
    given, end = parenthesised(code, head.end() - 1)
    opening = _OPENING.match(code, end)
    if opening is None:
        return
    before = _before(code, head.start())
    body = code[opening.end() - 1 : braced(code, opening.end() - 1)]
    template = _TEMPLATE.search(before)
    parameters = angled(before, template.end() - 1) if template else ""
    yield Defined(f"{within}{head[1]}", given, body, before, parameters)


def angled(text: str, opening: int) -> str:
    """Return what is between the angles that open there."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"<": 1, ">": -1}.get(text[i], 0)
        if not depth:
            return text[opening + 1 : i]
    return text[opening + 1 :]


def _before(code: str, at: int) -> str:
    """Return what stands before a place since the last statement or block."""
    return code[max(code.rfind(end, 0, at) for end in ";{}") + 1 : at]


def _namespace(header: str) -> str | None:
    """Return the namespace that a block's header opens, as in `mine::`; None of other blocks."""
    named = re.search(r"\bnamespace\s+([\w:]+)\s*$", header)
    if named is not None:
        return f"{named[1]}::"
    return "" if re.search(r"\bnamespace\b|\bextern\s*$", header) else None


def namespaces(before: str) -> str:
    """Return the namespaces that are open at the end of a text, as in `mine::`."""
    open_ones: list[str] = []
    for brace in re.finditer(r"[{}]", before):
        if brace[0] == "}":
            open_ones = open_ones[:-1]
        else:
            open_ones.append(_namespace(_before(before, brace.start())) or "")
    return "".join(open_ones)


def hosts(text: str, kernels: Mapping[str, str]) -> Iterator[Host]:
    """Yield the functions at file scope that launch kernels, but `main`.

    `kernels` has the parameters of each.
    """
    for one in functions_in(text):
        if "__global__" in one.before or one.name == "main":
            continue
        launched = [*launches_in(one.body)]
        if launched and all(of.kernel in kernels for of in launched):
            passed: dict[str, str] = {}
            for of in launched:
                passed |= zip(of.arguments, names_in(kernels[of.kernel]), strict=False)
            yield Host(
                one.name,
                one.parameters,
                (*dict.fromkeys(of.kernel for of in launched),),
                passed,
                one.body,
                one.template,
            )


def _value(plain: str, expression: str) -> str:
    """Return an expression of the host's code with its variables' values put in."""
    for _ in range(4):
        if not re.fullmatch(r"[A-Za-z_]\w*", expression):
            break
        if re.search(rf"\b(?:int|unsigned|size_t|long)\s+{expression}\s*[,)]", plain):
            break  # a function is given it: what one of its callers gives is not every call's
        found = re.search(
            rf"\b(?:const\s+|constexpr\s+)*(?:int|unsigned|size_t|auto|dim3)\s+{expression}\s*"
            rf"(?:=\s*([^;]+)|(\())|#\s*define\s+{expression}\s+(\S+)",
            plain,
        )
        if not found:
            break
        if found[2]:
            return f"dim3({parenthesised(plain, found.end() - 1).most})"
        expression = (split(found[1])[0] if found[1] else found[3]).strip()
    return expression
