"""The element types of a function's pointers, and the template arguments that give them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gradoracle.implementations.cuda_source.comments import CUDA_TYPES
from gradoracle.implementations.hostcuda.text import split, without_comments

FLOATS = {
    "float": "float32", "float2": "float32", "float3": "float32", "float4": "float32",
    "double": "float64", "double2": "float64",
    **dict.fromkeys(("half", "__half", "half2", "__half2"), "float16"),
    **dict.fromkeys(
        ("nv_bfloat16", "__nv_bfloat16", "nv_bfloat162", "__nv_bfloat162"), "bfloat16"
    ),
}  # fmt: skip
BOTH = ("float32", "float64")
OF_NUMBERS = frozenset(FLOATS.values())
C_NAMES = {**CUDA_TYPES, "T": "{T}"}
INTEGERS = frozenset((
    "char", "short", "int", "long", "unsigned", "signed", "bool", "size_t", "int2", "int4",
    *(f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)),
))  # fmt: skip
QUALIFIERS = frozenset((
    "const", "volatile", "restrict", "__restrict", "__restrict__", "struct", "std", "static",
    "in", "out", "__global", "register",
))  # fmt: skip
_ALIAS = re.compile(
    r"\btypedef\s+(?P<of>OF)\s+(?P<name>\w+)\s*;"
    r"|\busing\s+(?P<name2>\w+)\s*=\s*(?P<of2>OF)\s*;"
    r"|^[ \t]*#[ \t]*define[ \t]+(?P<name3>\w+)[ \t]+(?P<of3>OF)[ \t]*$".replace(
        "OF", "float|double|(?:__)?half|(?:__)?nv_bfloat16"
    ),
    re.MULTILINE,
)
# What of a template's body is of float, whatever its type is: in double it would be inexact.
_OF_FLOAT = re.compile(
    r"\bfloat\d?\b|\bFLT_|\b(?:exp|log|sqrt|tanh|pow|erf|sin|cos|rsqrt|exp2|log1p|expm1|fmax|fmin"
    r"|fabs)f\s*\(|\b__\w+f\s*\("
)
_LITERAL = re.compile(r"(?<![\w.])(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)[fF]\b")


class Types(NamedTuple):
    """What a template is given, the dtypes of its arrays, and what is not known of them."""

    template: str  # such as "<{T}, 256>"; "" where it is none
    dtypes: tuple[str, ...]
    unknown: tuple[str, ...]


# What computes in half precision, beside what converts it.
_OF_HALF = re.compile(
    r"\bh(?:exp|log|sqrt|rsqrt|sin|cos|tanh|rcp)\w*\s*\(|\b__h(?:add|sub|mul|fma|div)\w*\s*\("
    r"|\b(?:half2?|__half2?|__nv_bfloat162?|nv_bfloat162?)\s+\w+\s*=\s*(?:0|__float2)"
)


def sums_in_float(body: str) -> bool:
    """Return whether code on half precision computes in float, and in nothing else."""
    return re.search(r"\bfloat\d?\b", body) is not None and _OF_HALF.search(body) is None


class _Of(NamedTuple):
    """A parameter of a template."""

    name: str
    is_type: bool
    default: str


@lru_cache(maxsize=16)
def aliases(text: str) -> dict[str, str]:
    """Return the names that a text gives to types of numbers: by typedef, using and #define.

    A name that is one or the other, by an #if, stands for nothing.
    """
    found: dict[str, str] = {}
    for one in _ALIAS.finditer(without_comments(text)):
        name, of = (
            one["name"] or one["name2"] or one["name3"],
            one["of"] or one["of2"] or one["of3"],
        )
        found[name] = of if found.get(name, of) == of else ""
    return found


def types_of(
    text: str, parameters: str, template: str, body: str, given: Sequence[str] = ()
) -> Types:
    """Return the types of a function: `template` is in its angles, `given` what a launch has."""
    of = _parameters(template)
    kinds, unknown = _held(text, parameters, {one.name for one in of if one.is_type})
    floats = kinds & OF_NUMBERS
    if len(floats) > 1:
        names = " or ".join(C_NAMES[one] for one in CUDA_TYPES if one in floats)
        unknown.append(f"whether its arrays hold {names}: pointers to both are among them")
    if not of:
        return Types("", (*floats,) if len(floats) == 1 else ("float32",), (*unknown,))
    element = next(iter(floats), "") or ("float32" if _is_of_float(body) else "T")
    values, more = _values(of, kinds - OF_NUMBERS, element, given)
    is_open = any("{T}" in one for one in values)
    dtypes = BOTH if is_open else (element if element != "T" else "float32",)
    return Types(f"<{', '.join(values)}>" if values else "", dtypes, (*unknown, *more))


def _held(text: str, parameters: str, of_template: set[str]) -> tuple[set[str], list[str]]:
    """Return the dtypes that pointers hold, or their names in a template, and what is neither."""
    known, kinds, unknown = aliases(text), set[str](), list[str]()
    for one in split(parameters):
        kind = one.partition("=")[0]
        if "*" not in kind and "[" not in kind:
            continue
        words = re.findall(r"\w+", re.split(r"[*\[]", kind)[0])
        words = [word for word in words if word not in QUALIFIERS]
        word = known.get(words[0], words[0]) if words else ""
        if word in FLOATS:
            kinds.add(FLOATS[word])
        elif word in of_template:
            kinds.add(word)
        elif word not in INTEGERS and word != "void":
            unknown.append(f"arrays of {word}: they hold float, double, half or integers here")
    return kinds, unknown


def _parameters(template: str) -> list[_Of]:
    """Return the parameters of a template."""
    found = []
    for one in _apart(template):
        said, _, default = (part.strip() for part in one.partition("="))
        words = re.findall(r"[\w.]+", said)
        if words:
            is_type = words[0] in ("typename", "class")
            found.append(_Of(words[-1], is_type, default))
    return found


def _values(
    of: Sequence[_Of], held: set[str], element: str, given: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return what the parameters of a template are given, and what is not known of it.

    Those at the end that have defaults are left out, if no launch gives them.
    """
    values, unknown = list[str](), list[str]()
    for i, one in enumerate(of):
        said = given[i] if i < len(given) else ""
        if one.is_type and (one.name in held or not (said or one.default)):
            values.append(C_NAMES[element])
        elif said and (one.is_type or re.fullmatch(r"[\w\s()*/+-]+", said)):
            values.append(said if said in FLOATS or not one.is_type else C_NAMES[element])
        elif one.default and not any(later.name in held for later in of[i:]):
            break
        elif one.default:
            values.append(one.default)
        else:
            values.append("?")
            unknown.append(f"what {one.name} of its template is")
    return values, unknown


def given_to(angles: str) -> list[str]:
    """Return the arguments between the angles of a launch, as in `<float, 256>`."""
    return [" ".join(one.split()) for one in _apart(angles.strip()[1:-1])]


def _apart(text: str) -> list[str]:
    """Return the parts between commas that are outside angles and parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "<([{") - (letter in ">)]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [one.strip() for one in parts if one.strip()]


def _is_of_float(body: str) -> bool:
    """Return whether code names float beside its template's type."""
    inexact = any(float(np.float32(one)) != float(one) for one in _LITERAL.findall(body))
    return inexact or _OF_FLOAT.search(body) is not None


def template_names(template: str) -> list[str]:
    """Return the types among the parameters of a template."""
    return [one.name for one in _parameters(template) if one.is_type]
