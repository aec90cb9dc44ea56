"""`RawModule` and `RawKernel`: CuPy's names for CUDA C++ text that becomes functions."""

import re
from collections.abc import Sequence
from pathlib import Path

from gradoracle.implementations.hostcuda.kernel import HostFunction, Kernel, Overloads
from gradoracle.implementations.hostcuda.settings import settings
from gradoracle.implementations.hostcuda.source import Source
from gradoracle.implementations.hostcuda.text import directives


class RawModule:
    """CUDA C++ text whose kernels run on NumPy arrays; the arguments are `cupy.RawModule`'s.

    The text may hold host code as well: the host functions named in `functions` can be called.

    Raises:
        NoCompiler: there is no g++.
        ValueError: g++ refuses the text, at the first use of a kernel.
    """

    def __init__(
        self,
        *,
        code: str = "",
        path: str = "",
        options: Sequence[str] = (),
        name_expressions: Sequence[str] | None = None,
        functions: Sequence[str] = (),
        backend: str = "nvrtc",  # noqa: ARG002 - CuPy's; there is one compiler here
        **_others: object,
    ) -> None:
        """Translate the text; nothing is compiled before a kernel is called."""
        if path:
            code = Path(path).read_text(encoding="utf-8")
        told = re.match(r'\s*#\s*line\s+\d+\s+"([^"]+)"', code)
        self.file = told[1] if told else "kernel.cu"  # the name that the text gives itself
        # `get_function` finds plain names, or tells that there is no such kernel.
        asked = [name for name in name_expressions or () if not name.isidentifier()]
        chosen = tuple(o for o in options if o.startswith(("-D", "-I", "-U")))
        self._source = Source(code, self.file, chosen, asked, functions)
        # What only the preprocessor knows: kernels that a macro defines.
        self._macros = any("__global__" in code[d.start() : d.end()] for d in directives(code))
        self._kernels = {
            name: (HostFunction if name in functions else Kernel)(name, self._source, number)
            for name, number in self._source.numbers.items()
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
            NotModelled: it uses what the CPU does not model.
        """
        if name not in self._kernels and self._macros and re.fullmatch(r"[\w:]+", name):
            number = len(self._kernels)
            self._kernels[name] = Kernel(name, self._source.with_export(name, number), number)
        if name not in self._kernels:
            known = [one for one in self._kernels if "#" not in one]
            raise ValueError(f"there is no kernel {name!r}; there are: {', '.join(known)}")
        self._source.check_modelled(name)
        others = [one for key, one in self._kernels.items() if key.startswith(f"{name}#")]
        return Overloads(self._kernels[name], others) if others else self._kernels[name]


def RawKernel(code: str, name: str, options: Sequence[str] = (), **_others: object) -> Kernel:  # noqa: N802
    """Return one kernel of a text, callable at once; the arguments are `cupy.RawKernel`'s."""
    return RawModule(code=code, options=options).get_function(name)
