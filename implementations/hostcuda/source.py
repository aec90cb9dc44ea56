"""A CUDA C++ text as g++ compiles it, with what the CPU does not model left out.

A function that uses what is not modelled, or that g++ refuses, only says so when it is called: the
others of the file run.
"""

import re
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from gradoracle.implementations.hostcuda import build, ptx
from gradoracle.implementations.hostcuda.field import with_elements
from gradoracle.implementations.hostcuda.host_code import as_cpp
from gradoracle.implementations.hostcuda.parts import (
    Part,
    classes,
    left_out,
    needed,
    part_at,
    parts,
    without_body,
)
from gradoracle.implementations.hostcuda.text import (
    blank,
    braced,
    code_only,
    directives,
    split,
)
from gradoracle.implementations.hostcuda.translation import Found, found_kernels, translated

_LIBCUXX = (
    r"std|barrier|pipeline\w*|make_pipeline|memcpy_async|aligned_size_t|thread_scope\w*|atomic_ref|"
    r"memory_order\w*|atomic_thread_fence"
)
# What no CPU does for us: a pattern, and the words for it.
NOT_MODELLED = (
    (r"\b(asm|__asm__|__asm)\b", "inline PTX"),
    (
        rf"(?<![\w:])cuda::(?!(?:{_LIBCUXX})\b)",
        "libcu++ (but for barriers, pipelines and atomic_ref)",
    ),
    (r"\b(tex2DLayered|texCubemap\w*|tex2Dgather|tex[123]DLod|surf[123]D\w*)\b", "these textures"),
)
PTX = "hostcuda_inline_PTX"
_DEFINED = re.compile(r"^[ \t]*#[ \t]*define\b(?:[^\\\n]|\\\r?\n|\\.)*", re.MULTILINE)
COVERED = (  # by hostcuda.h
    "builtin_types.h", "cuda_device_runtime_api.h", "cuda_profiler_api.h",
    "device_atomic_functions.h", "device_functions.h", "driver_types.h", "math_functions.h",
    "cuda/atomic", "cuda/barrier", "cuda/pipeline", "cuda/std/barrier",
    "vector_functions.h", "vector_types.h", "sm_20_atomic_functions.h", "sm_30_intrinsics.h",
)  # fmt: skip
ROUNDS = 12  # of compiling, each with less of the text
_INCLUDE = re.compile(r"[ \t]*#[ \t]*include[ \t]*([<\"][^>\"\n]+[>\"])")
_STANDARD = re.compile(
    r"<(?!cassert|cuda)[a-z_]+>|<bits/stdc\+\+\.h>"
)  # C++: its headers use names that CUDA defines
_LINE = re.compile(r'[ \t]*#[ \t]*(?:line[ \t]+)?(\d+)(?:[ \t]+"([^"]*)")?')
_ERROR = re.compile(
    r"^(?P<from>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)?\s+required (?:from|by)|"
    r"^(?:\S*ld: )?(?P<at>[^\s:][^:\n]*):(?P<row>\d+):(?:\d+:)? ?"
    r"(?:fatal )?(?:error: |undefined reference to ).*$|"
    r"^(?P<used>[^\s:][^:\n]*):(?P<use>\d+):\d+: note: in expansion of macro",
    re.MULTILINE,
)


_PLACES = (("from", "line"), ("at", "row"), ("used", "use"))


class NotModelled(NotImplementedError):
    """The text uses something of CUDA that does not exist on the CPU."""


class NotInField(NotImplementedError):
    """The text does more with numbers than a field has: it compares them, or takes a function."""


class LeftOut(NamedTuple):
    """Why a part of a text was left out."""

    why: str
    modelled: bool  # whether the CPU could run it, were it right


class Source:
    """A text, its kernels and host functions by number, and what was left out of it."""

    def __init__(
        self, code: str, file: str, options: tuple[str, ...], asked: Sequence[str],
        functions: Sequence[str],
    ) -> None:  # fmt: skip
        """Translate; `asked` are templates' names, `functions` those of host functions."""
        self.file, self.options = file, options
        self.left_out: dict[str, LeftOut] = {}
        places = ((file.rpartition("/")[2], number) for file, number in _lines(code))
        self.lines = dict(zip(places, code.split("\n"), strict=True))  # as the author wrote them
        self._functions, self.extra = tuple(functions), ""
        self._prime, self._modulo = 0, dict[int, Source]()
        self._dropped: set[str] = set()  # names that are not there once other parts are left out
        self._code = as_cpp(ptx.with_ptx(self._with_known_headers(code)))
        names = [*asked, *functions, *_overloads(found_kernels(code_only(self._code)), self._code)]
        self.numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self._leave_out_what_is_not_modelled()

    def with_export(self, name: str, number: int) -> "Source":
        """Return the text with one more kernel, which only the preprocessor knows."""
        other = copy(self)
        other.extra = f"HOSTCUDA_EXPORT({number}, {name})\n"
        return other

    def modulo(self, prime: int) -> "Source":
        """Return the text on the elements of a field; of no prime, itself."""
        if prime and prime not in self._modulo:
            self._modulo[prime] = copy(self)
            self._modulo[prime].take(prime)
        return self._modulo[prime] if prime else self

    def take(self, prime: int) -> None:
        """Make every number of the text an element of a field."""
        self._prime, self.options = prime, (*self.options, f"-DHOSTCUDA_PRIME={prime}ull")
        self._code = with_elements(self._code, prime)
        self.left_out, self._dropped = {**self.left_out}, {*self._dropped}

    @property
    def text(self) -> str:
        """The text as C++."""
        numbers = {n: k for n, k in self.numbers.items() if n not in self._dropped}
        code, exported = _with_exports(self._code, numbers)
        exports = "".join(
            f"\nHOSTCUDA_{'HOST_' if name in self._functions else ''}EXPORT({number}, {name})"
            for name, number in numbers.items()
            if name not in exported and "#" not in name and name not in self._gone
        )
        head = "".join(f"#include {name}\n" for name in self._standard)
        head = f"#define HOSTCUDA_LATER\n{head}#undef HOSTCUDA_LATER\n"
        line = "" if code.lstrip().startswith("#line") else f'#line 1 "{self.file}"\n'
        ours = '#include "hostcuda.h"\n'
        if self._prime:  # in our own headers, floats are floats
            ours += "".join(f"#include {name}\n" for name in self._cudas)
            ours += '#include "hostcuda_field.h"\n'
        return f"{head}{ours}{line}{translated(code)}{exports}\n{self.extra}"

    @property
    def _gone(self) -> set[str]:
        there = {part.name for part in parts(self._code)}
        return {name for name in self.left_out if name not in there}

    @cached_property
    def _standard(self) -> list[str]:
        return [name for name in self._included if _STANDARD.fullmatch(name)]

    @cached_property
    def _cudas(self) -> list[str]:
        return [name for name in self._included if (build.INCLUDE / name[1:-1]).is_file()]

    @property
    def _included(self) -> list[str]:
        names = [d[1] for d in map(_INCLUDE.match, self._directives(self._code)) if d]
        return [*dict.fromkeys(names)]

    @staticmethod
    def _directives(code: str) -> list[str]:
        return [code[d.start() : d.end()] for d in directives(code)]

    def library(self, mode: str) -> Path:
        """Return the library that it is compiled to, without the functions that g++ refuses.

        Raises:
            NoCompiler: there is no g++.
            CompileError: g++ refuses it, and no function can be left out for that.
        """
        name, before = self.file.partition(".")[0], self.text
        if found := build.remembered(before, self.options):
            self._code, self.left_out = found[0], {n: LeftOut(*why) for n, why in found[1].items()}
        for _ in range(ROUNDS):
            try:
                library = build.kernels(name, self.text, mode, self.options)
            except build.CompileError as error:
                if not self._without_errors(str(error)):
                    raise NotInField(str(error)) if self._prime else error from error
            else:
                if self.text != before:
                    build.remember(before, self.options, (self._code, self.left_out))
                return library
        raise build.CompileError(f"g++ refuses {self.file} with ever more functions left out")

    def check_modelled(self, name: str) -> None:
        """Raise what keeps a kernel from running, if anything does.

        Raises:
            NotModelled: it needs what the CPU does not model.
            NotInField: it is compiled for a field, and needs more.
            CompileError: it needs what g++ refuses.
        """
        if not self.left_out:
            return
        for one in sorted(needed(self._original, {name}) & self.left_out.keys()):
            why, modelled = self.left_out[one]
            if modelled and self._prime:
                raise NotInField(why)
            if modelled:
                raise build.CompileError(f"g++ does not compile it:\n{why}")
            raise NotModelled(f"{why}: not modelled on the CPU, only a GPU can run it")

    def _with_known_headers(self, code: str) -> str:
        """Return the text without the headers that are not there."""
        found = [(d, _INCLUDE.match(code, d.start())) for d in directives(code)]
        named = {d.start(): name[1] for d, name in found if name}
        there = build.headers([*dict.fromkeys(named.values())], self.options)
        self.missing_headers = [
            name for name in dict.fromkeys(named.values())
            if name not in there and name[1:-1] not in COVERED
        ]  # fmt: skip
        for d, name in reversed(found):
            if name and name[1] not in there:
                code = code[: d.start()] + blank(code[d.start() : d.end()]) + code[d.end() :]
        return code

    def _leave_out_what_is_not_modelled(self) -> None:
        self._original = self._code = _DEFINED.sub(_without_asm, self._code)
        for pattern, words in NOT_MODELLED:
            while found := re.search(pattern, code_only(self._code)):
                what = words
                where = "{}:{}".format(
                    *_lines(self._code)[self._code.count("\n", 0, found.start())]
                )
                what += f": {name}" if (name := ptx.refusal(self._code, found.start())) else ""
                part = part_at(self._code, found.start())
                if part is None:
                    raise NotModelled(
                        f"{where}: {what}: not modelled on the CPU, only a GPU can run it"
                    )
                self._leave_out(part, LeftOut(f"{where}: {what}", modelled=False))

    def _leave_out(self, part: Part, why: LeftOut) -> None:
        self.left_out.setdefault(part.name, why)
        whole = (
            not part.is_function
            or part in classes(self._code)
            or "hostcuda::missing(" in self._code[part.start : part.end]
        )
        self._code = (
            left_out(self._code, part) if whole else without_body(self._code, part, why.why)
        )

    def _without_errors(self, told: str) -> bool:
        """Leave out the parts that a compiler's errors are in; return whether there are any."""
        places = {place: number for number, place in enumerate(_lines(self._code))}
        wrong: dict[int, str] = {}
        last: tuple[str, int] | None = None
        macro = ""  # an error in a macro, which belongs to the function that uses it
        for found in _ERROR.finditer(told):
            where, row = next((found[k], found[n]) for k, n in _PLACES if found[k])
            here = Path(where).name, int(row)
            if found["from"]:
                last = here if here in places else last
            elif found["used"]:
                if macro and here in places:
                    wrong.setdefault(places[here], macro)
            else:
                place = here if here in places else last
                inside = place is not None and self._in_line(places[place])
                macro, last = "" if inside else found[0], None
                if place is not None:
                    wrong.setdefault(places[place], found[0])
        hit = {part: text for number, text in wrong.items() for part in self._in_line(number)}
        lacks = ", ".join(self.missing_headers)
        without = f" ({lacks}: no such header)" if lacks else ""
        for part in sorted(hit, key=lambda part: -part.start):
            modelled = not lacks and PTX not in hit[part]
            self._leave_out(part, LeftOut(hit[part] + without, modelled))
        return bool(hit) or self._without_exports(told, without)

    def _without_exports(self, told: str, without: str) -> bool:
        """Drop the kernels whose export a compiler refuses; return whether there are any."""
        numbers = {
            int(number) for number in re.findall(r"hostcuda_(?:kernel|one|type)_(\d+)", told)
        }
        error = next((found[0] for found in _ERROR.finditer(told) if found["at"]), told[:200])
        names = {n for n, number in self.numbers.items() if number in numbers} - self._dropped
        for name in names:
            self.left_out.setdefault(name, LeftOut(error + without, not without))
        self._dropped |= names
        return bool(names)

    def _in_line(self, number: int) -> list[Part]:
        """Return the parts that a line has something of."""
        lines = self._code.split("\n")
        start = sum(len(line) + 1 for line in lines[:number])
        end = start + len(lines[number])
        found = [
            part for part in parts(self._code)
            if self._code[max(part.start, start) : min(part.end, end)].strip()
        ]  # fmt: skip
        return found or [
            one for one in classes(self._code) if one.start < end and start <= one.body
        ]


def _without_asm(found: re.Match[str]) -> str:
    """Return a macro that g++ refuses in the function that uses it, not in the assembler."""
    return re.sub(r"\b(asm|__asm__)\b", PTX, found[0])


def _lines(code: str) -> list[tuple[str, int]]:
    """Return the file and number that each line of a text says it is."""
    file, number, found = "kernel.cu", 0, []
    for line in code.split("\n"):
        number += 1
        found.append((file, number))
        if told := _LINE.match(line):
            file, number = told[2] or file, int(told[1]) - 1
    return found


def _overloads(kernels: Sequence[Found], code: str) -> list[str]:
    """Return the names of a text's plain kernels, numbered from the second of a name on."""
    return [name for kernel, name in _named(kernels, code) if not kernel.template]


def _named(kernels: Sequence[Found], code: str) -> list[tuple[Found, str]]:
    """Return kernels with their names, which are the same in the branches of an #if."""
    found: list[tuple[Found, str]] = []
    last: dict[str, tuple[int, int]] = {}
    for kernel in kernels:
        count, end = last.get(kernel.name, (0, 0))
        apart = re.search(r"^[ \t]*#\s*(el|endif|if)", code[end : kernel.end], re.MULTILINE)
        declared = code[kernel.end :].lstrip().startswith(";")
        if not kernel.template and not declared and end and not apart:
            count += 1
        if not declared:
            last[kernel.name] = count, kernel.end
        found.append((kernel, f"{kernel.name}#{count}" if count else kernel.name))
    return found


def _with_exports(code: str, numbers: dict[str, int]) -> tuple[str, set[str]]:
    """Return the text with every plain kernel handed out behind its body, and their names.

    There its name is known, whatever namespace or #if it is in.
    """
    bare = code_only(code)
    places: list[tuple[int, str]] = []
    exported: set[str] = set()
    for kernel, name in _named(found_kernels(bare), code):
        opening = re.compile(r"\s*\{").match(bare, kernel.end)
        end = braced(bare, opening.end() - 1) if opening else 0
        if kernel.template or not end or name not in numbers:
            continue
        export = f" HOSTCUDA_EXPORT({numbers[name]}, {name})"
        if name + "#1" in numbers or "#" in name:
            kinds = ", ".join(one.partition("=")[0] for one in split(kernel.parameters))
            export = (
                f" HOSTCUDA_EXPORT_OF({numbers[name]}, {kernel.name}, {' '.join(kinds.split())})"
            )
        places.append((end, export))
        exported.add(name)
    for end, export in reversed(places):
        code = code[:end] + export + code[end:]
    return code, exported
