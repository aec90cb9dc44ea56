"""What parameters a function of C, C++ or CUDA has, read from its declaration."""

import ast
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.cuda_source.comments import SLOT, Launch, Plan
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.results import arrays_of, operator_of
from gradoracle.implementations.cupy_kernels.machine import HALVES

Aliases: TypeAlias = Mapping[str, list[str]]
VOID = "void"
QUALIFIERS = frozenset(
    ("const", "volatile", "restrict", "__restrict", "__restrict__", "register", "struct", "enum")
)
BFLOAT16 = "bfloat16"
_INTEGERS = {"char": "b", "short": "h", "int": "i", "long": "l", "long long": "q"}
_TYPES = {
    "float": "f", "double": "d", "bool": "?", "_Bool": "?", "size_t": "P", "uintptr_t": "P",
    "ssize_t": "p", "ptrdiff_t": "p", "intptr_t": "p", "half": "float16", "__half": "float16",
    "half2": "float16", "__half2": "float16",  # pointers to pairs are given the same arrays
    **dict.fromkeys(("nv_bfloat16", "__nv_bfloat16", "nv_bfloat162", "__nv_bfloat162"), BFLOAT16),
    **{f"{sign}int{bits}_t": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_IGNORED = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:[^\\\n]|\\.)*""", re.DOTALL | re.MULTILINE
)
_TYPEDEF = re.compile(r"\btypedef\s+([\w:][\w\s:]*?)\s+(\w+)\s*;")
_USING = re.compile(r"\busing\s+(\w+)\s*=\s*([\w:][\w\s:]*?)\s*;")
_ENUM = re.compile(r"\benum\s*(\w*)\s*\{[^{}]*\}\s*(\w*)\s*;")
_TEMPLATE = re.compile(r"\btemplate\s*<([^<>]*)>")
_BODY = re.compile(r"\s*(?:noexcept\s*)?(?:__attribute__\s*\(\(.*?\)\)\s*)?[{;]")
POLICY_OF = {"target": "labels", "indices": "indices"}  # arguments that hold integers


@dataclass(frozen=True)
class Parameter:
    """A number, or a pointer to numbers; `dtype` is None for types that are not NumPy's."""

    text: str
    dtype: np.dtype[Any] | None
    pointer: bool

    @property
    def is_pointer_to_pointers(self) -> bool:
        """Whether it is a pointer to pointers: no argument of a call is one."""
        kind = self.text.partition("[")[0]
        return kind.count("*") + (kind != self.text) > 1 and "(" not in self.text


@dataclass(frozen=True)
class Signature:
    """The parameters of a function; `returns` is None for void."""

    parameters: tuple[Parameter, ...]
    returns: Parameter | None


def plain(text: str) -> str:
    """Return a text without comments, strings and what is for the preprocessor."""
    return _IGNORED.sub(" ", text)


def signature(text: str, name: str) -> Signature | None:
    """Return the signature of the function `name`, such as `scaled<float>`, in a plain text.

    None: the text does not declare it.
    """
    return next(signatures(text, name), None)


def signatures(text: str, name: str) -> Iterator[Signature]:
    """Yield the signatures of all functions of a name, as they are declared in a plain text."""
    simple, _, given = name.rstrip("> ").partition("<")
    aliases = {alias: words.split() for words, alias in _TYPEDEF.findall(text)}
    aliases |= {alias: words.split() for alias, words in _USING.findall(text)}
    aliases |= {name: ["int"] for pair in _ENUM.findall(text) for name in pair if name}
    for found in re.finditer(rf"\b{simple.rpartition('::')[2]}\s*\(", text):
        end = _closing(text, found.end())
        before = re.split(r"[;{}]", text[max(0, found.start() - 400) : found.start()])[-1]
        if not _BODY.match(text, end) or re.search(r"\breturn\b", before):
            continue
        template = _TEMPLATE.search(before)
        bound = _bound(template[1] if template else "", given)
        returns = _returned(_TEMPLATE.sub(" ", before), {**aliases, **bound})
        if returns is None:
            continue
        parameters = _split(text[found.end() : end - 1])
        yield Signature(
            tuple(_parameter(p, {**aliases, **bound}) for p in parameters),
            None if returns.text == VOID else returns,
        )


def _closing(text: str, at: int) -> int:
    """Return where the parenthesis that is open at `at` has been closed."""
    depth = 1
    while depth and at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at


def _split(text: str) -> list[str]:
    parts = [" ".join(part.partition("=")[0].split()) for part in text.split(",")]
    return [] if parts in ([""], [VOID]) else parts


def _bound(template: str, given: str) -> dict[str, list[str]]:
    """Return what the parameters of a template stand for."""
    names = [part.partition("=")[0].split()[-1:] for part in template.split(",")]
    values = [value.split() for value in given.split(",")]
    return {name[0]: value for name, value in zip(names, values, strict=False) if name and value}


def _returned(before: str, aliases: Aliases) -> Parameter | None:
    """Return what a function gives, or None where the text before its name is no type."""
    if "=" in before:
        return None
    pointer = before.rstrip().endswith("*")
    words = re.findall(r"[\w:]+", before)
    if VOID in words and not pointer:
        return Parameter(VOID, None, pointer=False)
    last = (words[i:] for i in range(len(words)))  # what precedes the type are macros and linkage
    dtype = next((found for one in last if (found := _dtype(one, aliases)) is not None), None)
    if dtype is None and not pointer:
        return None
    return Parameter(" ".join(before.split()), dtype, pointer)


def _parameter(text: str, aliases: Aliases) -> Parameter:
    kind = text.partition("[")[0]
    pointer = kind.count("*") + ("[" in text)
    words = re.findall(r"[\w:]+", kind.partition("*")[0])
    dtype = None
    if pointer <= 1 and "&" not in kind:
        dtype = _dtype(words, aliases) or _dtype(words[:-1], aliases)
    return Parameter(text, dtype, pointer > 0)


def _dtype(words: Iterable[str], aliases: Aliases) -> np.dtype[Any] | None:
    """Return the dtype that the words of a type stand for, if there is one."""
    for _ in range(9):  # a typedef of a typedef
        words = [
            one.removeprefix("std::")
            for word in words
            for one in ([word] if word in _TYPES else aliases.get(word, [word]))
        ]
    words = [word for word in words if word not in QUALIFIERS]
    known = " ".join(words)
    if known in _TYPES:
        return _named(_TYPES[known])
    signs = [word for word in words if word in ("signed", "unsigned")]
    integer = " ".join(word for word in words if word not in signs)
    if integer != "int":
        integer = integer.removesuffix(" int") or ("int" if signs else "")
    if integer not in _INTEGERS:
        return None
    letter = _INTEGERS[integer]
    return np.dtype(letter.upper() if "unsigned" in signs else letter)


def _named(name: str) -> np.dtype[Any]:
    """Return the dtype of a name; NumPy has bfloat16 from ml_dtypes only.

    Raises:
        SourceError: it is bfloat16, and ml_dtypes is not installed.
    """
    if name != BFLOAT16:
        return np.dtype(name)
    if BFLOAT16 not in HALVES:
        raise SourceError("arrays of bfloat16 need ml_dtypes: pip install 'gradoracle[bfloat16]'")
    found: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16)
    return found


def _array_of(node: ast.expr, known: Container[str]) -> str:
    """Return the name of the array that an argument is; "" where it is none of those known."""
    match node:
        case ast.Call(func=ast.Name(id="zero" | "copy"), args=[given]):
            return _array_of(given, known)
        case ast.Name(id=name) if name in known or name.startswith(SLOT):
            return name
    return ""


def fitting(
    launch: Launch, found: Iterable[Signature], held: Mapping[str, str]
) -> Signature | None:
    """Return the signature that the arguments of a launch fit; None where there is none at all.

    `held` says by name which dtype arrays have, or that they hold integers; "" is for all others.

    Raises:
        SourceError: they fit none; the message names the first one's parameter and the argument.
    """
    wrong = ""
    for one in found:
        misfit = _misfit(launch, one, held)
        if not misfit:
            return one
        wrong = wrong or misfit
    if wrong:
        raise SourceError(f"{launch.where}: {launch.kernel}: {wrong}")
    return None


def _misfit(launch: Launch, of: Signature, held: Mapping[str, str]) -> str:
    """Return in words what does not fit; "" where everything does."""
    if len(launch.arguments) != len(of.parameters):
        return f"it takes {len(of.parameters)} arguments, {len(launch.arguments)} are given"
    known = arrays_of({operator_of(function) for function in launch.results})
    for i, (node, parameter) in enumerate(zip(launch.arguments, of.parameters, strict=True)):
        name = _array_of(node, known)
        if name and parameter.is_pointer_to_pointers:
            why = f"an array for {parameter.text!r}, a pointer to pointers"
        elif name:
            why = _no_pointer_to(held.get(name, held[""]), parameter)
        else:
            number = isinstance(node, ast.Constant) and node.value != 0
            why = f"a number for the pointer {parameter.text!r}" * (number and parameter.pointer)
        if why:
            return f"argument {i}, {ast.unparse(node).replace(SLOT, 'result ')}, is {why}"
    return ""


def _no_pointer_to(held: str, parameter: Parameter) -> str:
    """Return in words why an array of a dtype, or of integers, does not fit; "" if it does."""
    if not parameter.pointer:
        return f"an array for {parameter.text!r}, which is no pointer"
    points = parameter.dtype
    kinds = {"integers": "iu", "bool": "iub"}.get(held)  # that arrays of these are converted to
    fits = points is None or (points.kind in kinds if kinds else points.name == held)
    return "" if fits else f"an array of {held} for {parameter.text!r}, which points to {points}"


def scratch_types(plan: Plan, found: Callable[[str], Signature | None]) -> dict[str, np.dtype[Any]]:
    """Return what the arrays of `scratch(NAME, COUNT)` hold, as parameters that take them say."""
    types: dict[str, np.dtype[Any]] = {}
    for launch in plan.launches:
        of = found(launch.kernel)
        for node, parameter in zip(launch.arguments, of.parameters if of else (), strict=False):
            match node:
                case ast.Call(func=ast.Name(id="scratch"), args=[ast.Name(id=name), _]):
                    if parameter.dtype is not None:
                        types.setdefault(name, parameter.dtype)
    return types


def dtypes_held(
    plans: Mapping[str, Plan], found: Callable[[str], Iterable[Signature]]
) -> dict[str, str]:
    """Return by function the dtype that the pointers of its kernels hold, without templates.

    A kernel with half precision may hold sums in float beside it.
    """
    held: dict[str, str] = {}
    for name, plan in plans.items():
        kinds = {
            parameter.dtype.name
            for launch in plan.launches if not launch.reduces and "{T}" not in launch.kernel
            for one in found(launch.kernel) for parameter in one.parameters
            if parameter.pointer and parameter.dtype is not None
        }  # fmt: skip
        first = (dtype for dtype in (*HALVES, "float32", "float64") if dtype in kinds)
        held[name] = next(first, "float32")
    return held


def converted(value: Any, parameter: Parameter) -> Any:
    """Return an argument as a parameter takes it: numbers, and arrays of integers, of its type.

    Raises:
        SourceError: it does not fit.
    """
    dtype = parameter.dtype
    if dtype is None or (value is None and parameter.pointer):
        return value
    if parameter.pointer:
        integers = dtype.kind in "iub" and getattr(value, "dtype", dtype).kind in "iub"
        return value.astype(dtype) if integers and value.dtype != dtype else value
    if not isinstance(value, (bool, int, float, np.generic)):
        raise SourceError(
            f"{type(value).__name__} is no number for the parameter {parameter.text!r}"
        )
    if dtype.kind in "iub" and value != int(value):
        raise SourceError(f"{value} is no integer for the parameter {parameter.text!r}")
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if limits and not limits.min <= int(value) <= limits.max:
        raise SourceError(f"{value} does not fit into the parameter {parameter.text!r}")
    return dtype.type(value)


def integer_policies(
    plans: Mapping[str, Plan], found: Callable[[str], Signature | None], said: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the policies `said`, and those that parameters for labels and indices imply.

    Raises:
        SourceError: a parameter is of another integer type than what was said.
    """
    policies = dict(said)
    for launch in (launch for plan in plans.values() for launch in plan.launches):
        of = found(launch.kernel)
        for node, parameter in zip(launch.arguments, of.parameters if of else (), strict=False):
            if not (isinstance(node, ast.Name) and node.id in POLICY_OF and parameter.pointer):
                continue
            name = parameter.dtype.name if parameter.dtype else ""
            if name not in ("int32", "int64"):
                continue
            rule = policies.setdefault(POLICY_OF[node.id], name)
            if rule != name:
                raise SourceError(
                    f"{launch.where}: {launch.kernel} takes {node.id} as {parameter.text!r}, "
                    f"{name}, but the contract says {POLICY_OF[node.id]} = {rule}"
                )
    return policies
