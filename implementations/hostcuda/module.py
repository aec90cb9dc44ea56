"""`RawModule` and `RawKernel`: CuPy's names for CUDA C++ text that becomes functions."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from implementations.hostcuda.kernel import Kernel
from implementations.hostcuda.settings import settings

# What no CPU does for us: a pattern, and the words for it.
NOT_MODELLED = (
    (r"\basm\b", "inline PTX"),
    (r"\b(nvcuda|wmma)\b|mma\.h", "tensor cores (wmma)"),
    (r"\bcooperative_groups\b", "cooperative groups"),
    (r"\b__pipeline_|cuda/(pipeline|barrier)|\bcuda::", "asynchronous copies and libcu++"),
    (r"\b(tex[123]D\w*|cudaTextureObject_t|surf[123]D\w*)\b", "textures"),
    (r"<<<", "launching kernels from the text (launch them through CuPy's names)"),
    (r"#\s*include\s*<(cub|thrust|curand|cublas|cudnn)", "NVIDIA's libraries"),
    (r"\b__device__\s+(?!static\s+constexpr)[\w:<>]+\s+\w+\s*(\[[^\]]*\]\s*)*(=|;)",
     "variables in __device__ memory (pass an array)"),
    (r"\b__constant__\s+[\w:<>]+\s+\w+\s*(\[[^\]]*\]\s*)*;", "constant memory that the host fills"),
)  # fmt: skip
_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_KERNEL = re.compile(
    r"__global__(?P<attributes>(?:\s|\w+\s*\([^;{]*?\)\s*(?=\w)|\b(?!void\b)\w+)*)\bvoid\b"
)
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:(?:__align__|alignas)\s*\([^)]*\)\s*)?([\w:<>]+(?:\s+[\w:<>]+)*?)\s+"
    r"((?:__align__\s*\(\s*\d+\s*\)\s*)?)(\w+)\s*\[\s*\]\s*;"
)
_BOUNDS = re.compile(r"__launch_bounds__\s*\(")


class NotModelled(NotImplementedError):
    """The text uses something of CUDA that does not exist on the CPU."""


class RawModule:
    """CUDA C++ text whose kernels run on NumPy arrays; the arguments are `cupy.RawModule`'s.

    Raises:
        NotModelled: the text uses what the CPU does not model.
        NoCompiler: there is no g++.
        ValueError: g++ refuses the text, at the first use of a kernel.
    """

    def __init__(
        self,
        *,
        code: str,
        options: Sequence[str] = (),
        name_expressions: Sequence[str] | None = None,
        backend: str = "nvrtc",  # noqa: ARG002 - CuPy's; there is one compiler here
        **_others: object,
    ) -> None:
        """Translate the text; nothing is compiled before a kernel is called."""
        self.file = _file_of(code)
        self._names = list(dict.fromkeys([*(name_expressions or ()), *_plain_kernels(code)]))
        self.options = tuple(o for o in options if o.startswith(("-D", "-I", "-U")))
        _require_modelled(code, self.file)
        exports = "".join(f"\nHOSTCUDA_EXPORT({i}, {name})" for i, name in enumerate(self._names))
        line = "" if code.lstrip().startswith("#line") else f'#line 1 "{self.file}"\n'
        self.text = f'#include "hostcuda.h"\n{line}{_translated(code)}{exports}\n'

    @cached_property
    def _kernels(self) -> dict[str, Kernel]:
        return {
            name: Kernel(name, self.file, self.text, self.options, number)
            for number, name in enumerate(self._names)
        }

    def compile(self, log_stream: object = None) -> None:  # noqa: ARG002 - CuPy's
        """Compile the text now, as the settings in force ask for, not at the first launch.

        Raises:
            NoCompiler: there is no g++.
            ValueError: g++ refuses the text.
        """
        for kernel in self._kernels.values():
            kernel.compiled(settings().mode)

    def get_function(self, name: str) -> Kernel:
        """Return the kernel of that name, which must be plain or among the `name_expressions`.

        Raises:
            ValueError: there is none.
        """
        if name not in self._kernels:
            raise ValueError(f"there is no kernel {name!r}; there are: {', '.join(self._names)}")
        return self._kernels[name]


def RawKernel(code: str, name: str, options: Sequence[str] = (), **_others: object) -> Kernel:  # noqa: N802
    """Return one kernel of a text, callable at once; the arguments are `cupy.RawKernel`'s."""
    return RawModule(code=code, options=options).get_function(name)


class _Bounded(NamedTuple):
    most: str
    end: int


def _file_of(code: str) -> str:
    """Return the name that the text gives itself with a #line directive."""
    told = re.match(r'\s*#\s*line\s+\d+\s+"([^"]+)"', code)
    return told[1] if told else "kernel.cu"


def _plain_kernels(code: str) -> list[str]:
    """Return the kernels that are no templates."""
    code = _without_comments(code)
    names = []
    for kernel in _KERNEL.finditer(code):
        declared = re.match(
            r"\s*(?:__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\(",
            code[kernel.end() :],
        )
        before = code[: kernel.start()].rstrip()
        if declared and not before.endswith(">"):
            names.append(declared[1])
    return names


def _require_modelled(code: str, file: str) -> None:
    bare = _without_comments(code)
    for pattern, what in NOT_MODELLED:
        found = re.search(pattern, bare)
        if found:
            line = bare.count("\n", 0, found.start()) + 1
            raise NotModelled(
                f"{file}:{line}: {what}: not modelled on the CPU, only a GPU can run it"
            )


def _without_comments(code: str) -> str:
    """Return the text with comments and strings blanked, line for line."""
    return _COMMENT.sub(lambda found: "\n" * found[0].count("\n") or " ", code)


def _translated(code: str) -> str:
    """Return the text as C++: the few things that no macro can express, on the same lines."""
    code = re.sub(r'extern\s+"C"\s+(?=(?:\w+\s*\([^)]*\)\s*)*__global__)', "", code)
    code = _DYNAMIC.sub(r"\1 *\3 = (\1 *)hostcuda::self.dynamic;", code)
    position = 0
    while found := _BOUNDS.search(code, position):
        most, end = _parenthesised(code, found.end() - 1)
        body = _body(code, end)
        first = _first_argument(most)
        check = f" hostcuda::launch_bounds({first}, {{__FILE__, __LINE__}});" if body else ""
        middle = code[end:body] + check
        code = (
            code[: found.start()]
            + "\n" * code[found.start() : end].count("\n")
            + middle
            + code[body or end :]
        )
        position = found.start() + 1
    return code


def _body(code: str, start: int) -> int:
    """Return where the body of the function declared after `start` begins, or 0: it has none."""
    opening = code.find("(", start)
    if opening < 0:
        return 0
    _, end = _parenthesised(code, opening)
    rest = re.match(r"\s*\{", code[end:])
    return end + rest.end() if rest else 0


def _parenthesised(code: str, opening: int) -> _Bounded:
    depth = 0
    for i in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if not depth:
            return _Bounded(code[opening + 1 : i], i + 1)
    return _Bounded(code[opening + 1 :], len(code))


def _first_argument(arguments: str) -> str:
    depth = 0
    for i, letter in enumerate(arguments):
        depth += {"(": 1, ")": -1, "<": 0}.get(letter, 0)
        if letter == "," and not depth:
            return arguments[:i]
    return arguments
