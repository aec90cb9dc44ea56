"""`RawModule` and `RawKernel`: CuPy's names for CUDA C++ text that becomes functions."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from gradoracle.implementations.hostcuda.kernel import Kernel
from gradoracle.implementations.hostcuda.settings import settings

# What no CPU does for us: a pattern, and the words for it.
NOT_MODELLED = (
    (r"\basm\b", "inline PTX"),
    (r"\b(nvcuda|wmma)\b|mma\.h", "tensor cores (wmma)"),
    (r"\bcooperative_groups\b", "cooperative groups"),
    (r"\b__pipeline_|cuda/(pipeline|barrier)|\bcuda::", "asynchronous copies and libcu++"),
    (r"\b(tex[123]D\w*|cudaTextureObject_t|surf[123]D\w*)\b", "textures"),
    (r"<<<", "launching kernels from the text (launch them through CuPy's names)"),
    (r"#\s*include\s*<(cub|thrust|curand|cublas|cudnn)", "NVIDIA's libraries"),
)  # fmt: skip
_COMMENT = re.compile(
    r"""//(?:[^\\\n]|\\\r?\n|\\.)*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.[^'\n]*|[^'\\\n])'""",
    re.DOTALL,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\\\n]|\\\r?\n|\\.)*", re.MULTILINE)
_IN_MEMORY = (
    (re.compile(r"\b(__device__|__managed__)\b([^(){};=]*)[=;]"),
     "variables in __device__ memory (pass an array)"),
    (re.compile(r"\b(__constant__)\b([^(){};=]*);"), "constant memory that the host fills"),
)  # fmt: skip
_ALIGNED = r"(?:__align__|alignas|__attribute__)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_DYNAMIC = re.compile(
    rf"(?<![\w>])(?:(?:__shared__|volatile|{_ALIGNED})\s+)*extern\s(?P<type>(?:{_ALIGNED}|[^;{{}}()=\[])*)"
    r"\b(?P<name>\w+)\s*\[\s*\]\s*;"
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
        # `get_function` finds plain names, or tells that there is no such kernel.
        asked = [name for name in name_expressions or () if not name.isidentifier()]
        self._names = list(dict.fromkeys([*asked, *_plain_kernels(code)]))
        # What only the preprocessor knows: kernels that a macro defines.
        self._macros = any("__global__" in code[d.start() : d.end()] for d in _directives(code))
        self.options = tuple(o for o in options if o.startswith(("-D", "-I", "-U")))
        _require_modelled(code, self.file)
        code, exported = _with_exports(code, {name: i for i, name in enumerate(self._names)})
        exports = "".join(
            f"\nHOSTCUDA_EXPORT({i}, {name})"
            for i, name in enumerate(self._names) if name not in exported
        )  # fmt: skip
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
        if name not in self._kernels and self._macros and re.fullmatch(r"[\w:]+", name):
            number = len(self._kernels)
            text = f"{self.text}HOSTCUDA_EXPORT({number}, {name})\n"
            self._kernels[name] = Kernel(name, self.file, text, self.options, number)
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


class _Found(NamedTuple):
    name: str
    start: int
    end: int  # of what is between the kernel's parentheses
    template: bool


def _found_kernels(code: str) -> list[_Found]:
    """Return the kernels that the text spells out; `code` is without comments and directives."""
    found = []
    for marked in re.finditer(r"\b__global__\b", code):
        position = marked.end()
        while word := re.compile(r"\s*([\w:]+|<|>|\*|&)").match(code, position):
            position = word.end()
            if not re.compile(r"\s*\(").match(code, position):
                continue
            _, end = _parenthesised(code, code.index("(", position))
            if re.compile(r"\s*[{;]").match(code, end):
                template = code[: marked.start()].rsplit(";", 1)[-1].rsplit("}", 1)[-1]
                template_too = re.search(r"\btemplate\b", template.rsplit("{", 1)[-1])
                found.append(_Found(word[1], marked.start(), end, template_too is not None))
                break
            position = end  # an attribute's
    return found


def _plain_kernels(code: str) -> list[str]:
    """Return the kernels that are no templates."""
    return [kernel.name for kernel in _found_kernels(_bare(code)) if not kernel.template]


def _with_exports(code: str, numbers: Mapping[str, int]) -> tuple[str, set[str]]:
    """Return the text with every plain kernel handed out behind its body, and their names.

    There its name is known, whatever namespace or #if it is in.
    """
    bare = _bare(code)
    if not re.search(r"#\s*if|\bnamespace\s+\w", _without_comments(code)):
        return code, set()
    places: list[tuple[int, str]] = []
    last: dict[str, int] = {}
    for kernel in _found_kernels(bare):
        opening = re.compile(r"\s*\{").match(bare, kernel.end)
        if kernel.template or opening is None:
            continue
        end = _braced(bare, opening.end() - 1)
        if not end:
            continue
        name = kernel.name
        if name in last and not re.search(
            r"^[ \t]*#\s*(el|endif|if)", code[last[name] : end], re.MULTILINE
        ):
            continue  # another of that name, in another namespace or with other arguments
        places.append((end, f" HOSTCUDA_EXPORT({numbers[name]}, {name})"))
        last[name] = end
    for end, export in reversed(places):
        code = code[:end] + export + code[end:]
    return code, {*last}


def _braced(code: str, opening: int) -> int:
    """Return where the block ends that begins at `opening`; 0 where it does not."""
    depth = 0
    for brace in re.compile(r"[{}]").finditer(code, opening):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.end()
    return 0


def _require_modelled(code: str, file: str) -> None:
    bare, text = _without_comments(code), _bare(code)
    told = [(re.search(pattern, bare), what) for pattern, what in NOT_MODELLED]
    told += [(_variable(pattern, text), what) for pattern, what in _IN_MEMORY]
    for found, what in told:
        if found:
            line = bare.count("\n", 0, found.start()) + 1
            raise NotModelled(
                f"{file}:{line}: {what}: not modelled on the CPU, only a GPU can run it"
            )


def _variable(pattern: re.Pattern[str], code: str) -> re.Match[str] | None:
    """Return the first declaration of a variable that a kernel, or the host, could write."""
    for found in pattern.finditer(code):
        before = re.split(r"[;{}]", code[: found.start()])[-1]
        declared = f"{before} {found[2]}"
        constant = re.search(r"\b(const|constexpr)\b", declared.rpartition("*")[2])
        spared = constant or "__constant__" in declared or "operator" in declared
        if not spared and found[2].strip():
            return found
    return None


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\r\n]", " ", found[0])


def _without_comments(code: str) -> str:
    """Return the text with comments and strings blanked, letter for letter."""
    return _COMMENT.sub(_blank, code)


def _directives(code: str) -> list[re.Match[str]]:
    return list(_DIRECTIVE.finditer(_without_comments(code)))


def _bare(code: str) -> str:
    """Return the text with comments, strings and directives blanked, letter for letter."""
    return _DIRECTIVE.sub(_blank, _without_comments(code))


def _translated(code: str) -> str:
    """Return the text as C++: the few things that no macro can express, on the same lines."""
    code = re.sub(
        r'extern\s+"C"\s+(?=[^;{}()]*(?:\([^)]*\)[^;{}()]*)*__global__)', _c_linkage, code
    )
    code = re.sub(r"\bstatic[ \t]+__shared__\b", "__shared__", code)
    code = re.sub(r"\b__constant__[ \t]+(?=const(?:expr)?\b)", "", code)
    code = re.sub(r"\b(const(?:expr)?(?:[ \t]+static)?)[ \t]+__constant__\b", r"\1", code)
    for each in reversed(list(_DYNAMIC.finditer(_bare(code)))):
        if "__shared__" in each[0]:
            code = code[: each.start()] + _dynamic(each) + code[each.end() :]
    position = 0
    while found := _BOUNDS.search(_bare(code), position):
        most, end = _parenthesised(code, found.end() - 1)
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
    """Return the C++ for `extern __shared__ T name[];`."""
    words = re.sub(
        rf"{_ALIGNED}|\b__shared__\b|\bextern\b", " ", found[0][: found.end("type") - found.start()]
    )
    kind, name = " ".join(words.split()), found["name"]
    lines = "\n" * found[0].count("\n")
    if _at_file_scope(found.string[: found.start()]):
        return f"static {kind} *&{name} = ({kind} *&)hostcuda::self.dynamic;{lines}"
    return f"{kind} *{name} = ({kind} *)hostcuda::self.dynamic;{lines}"


def _at_file_scope(before: str) -> bool:
    functions: list[bool] = []
    for brace in re.finditer(r"[{}]", before):
        if brace[0] == "}":
            functions = functions[:-1]
        else:
            header = re.split(r"[;{}]", before[: brace.start()])[-1]
            functions.append(not re.search(r"\bnamespace\b|\bextern\s*$", header))
    return not any(functions)


def _body(code: str, start: int) -> int:
    """Return where the body of the function declared after `start` begins, or 0: it has none."""
    bare = _bare(code)
    opening = bare.find("(", start)
    if opening < 0:
        return 0
    _, end = _parenthesised(bare, opening)
    if re.compile(r"\s*\w+\s*\(").match(bare, end):  # that was an attribute
        return _body(code, end)
    rest = re.compile(r"\s*\{").match(bare, end)
    return rest.end() if rest else 0


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
