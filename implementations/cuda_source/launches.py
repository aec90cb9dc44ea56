"""How the host code of a file launches its kernels."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gradoracle.implementations.cuda_source.names import names_in
from gradoracle.implementations.hostcuda.text import (
    at_file_scope,
    braced,
    code_only,
    parenthesised,
    split,
    without_comments,
)

LAUNCHED = re.compile(r"\b(\w+)\s*(?:<[^<>;]*>)?\s*<<<")


class Launched(NamedTuple):
    """A launch: the kernel, its blocks, threads and bytes as they are written, its arguments."""

    kernel: str
    sizes: list[str]
    arguments: list[str]


class Host(NamedTuple):
    """A function of the host that launches kernels."""

    name: str
    parameters: str
    launches: tuple[str, ...]
    passed: Mapping[str, str]  # by its parameters, those of kernels that are given them
    body: str = ""


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
    around = (one for one in functions_in(text) if launching.search(one.body))
    # The variables of the function that launches it come before those of others.
    here = next((f"({one.parameters})\n{one.body}\n" for one in around), "")
    return found._replace(sizes=[_value(here + plain, one) for one in found.sizes])


def template_of(text: str, kernel: str) -> str:
    """Return what a kernel's template is given where it is launched, as in `<256>`; else ""."""
    found = re.search(rf"\b{kernel}\s*(<[^<>;]*>)\s*<<<", without_comments(text))
    return found[1] if found else ""


class Defined(NamedTuple):
    """A function at file scope: its name, parameters and body, and what stands before its name.

    The name includes its namespaces, as in `mine::relu`.
    """

    name: str
    parameters: str
    body: str
    before: str


def functions_in(text: str) -> Iterator[Defined]:
    """Yield the functions that a text defines at file scope, kernels too, but no templates."""
    code = code_only(text)
    for found in re.finditer(r"\b(\w+)\s*\(", code):
        given, end = parenthesised(code, found.end() - 1)
        opening = re.compile(r"\s*\{").match(code, end)
        if opening is None or not at_file_scope(code[: found.start()]):
            continue
        before = re.split(r"[;{}]", code[: found.start()])[-1]
        if "template" not in before:
            body = code[opening.end() - 1 : braced(code, opening.end() - 1)]
            yield Defined(f"{namespaces(code[: found.start()])}{found[1]}", given, body, before)


def namespaces(before: str) -> str:
    """Return the namespaces that are open at the end of a text, as in `mine::`."""
    open_ones: list[str] = []
    for brace in re.finditer(r"[{}]", before):
        if brace[0] == "}":
            open_ones = open_ones[:-1]
        else:
            header = re.split(r"[;{}]", before[: brace.start()])[-1]
            named = re.search(r"\bnamespace\s+([\w:]+)\s*$", header)
            open_ones.append(f"{named[1]}::" if named else "")
    return "".join(open_ones)


def hosts(text: str, kernels: Mapping[str, str]) -> Iterator[Host]:
    """Yield the functions at file scope that launch kernels, but `main` and templates.

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
