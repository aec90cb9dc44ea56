"""The CUDA compilers and disassembler that are here: none of them needs a GPU.

NVRTC is looked for in the pip wheels of NVIDIA (`nvidia-cuda-nvrtc-cu12`, which `cupy-cuda12x[ctk]`
brings along), then where CUDA is installed; after it comes nvcc.
"""

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PATHS = tuple(os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH"))


class NotRun(Exception):
    """What is asked for cannot be done here, for the reason that the message says."""


@dataclass(frozen=True)
class Compiled:
    """The machine code of one text for one architecture, and what the assembler said of it."""

    cubin: bytes
    log: str


class Nvrtc:
    """The compiler that CuPy uses, called as a library."""

    def __init__(self, library: Path):
        self.library = ctypes.CDLL(str(library))
        major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.name = f"NVRTC {major.value}.{minor.value}"
        self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        archs = (ctypes.c_int * count.value)()
        self.library.nvrtcGetSupportedArchs(archs)
        self.archs = tuple(archs)

    def compile(self, text, expressions, options, arch):
        program = ctypes.c_void_p()
        self.library.nvrtcCreateProgram(
            ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None
        )
        for expression in expressions:
            self.library.nvrtcAddNameExpression(program, expression.encode())
        includes = [f"-I{path}" for path in _folders("include")]
        asked = ["--std=c++17", f"-arch=sm_{arch}", "--ptxas-options=-v", *includes, *options]
        flags = (ctypes.c_char_p * len(asked))(*(option.encode() for option in asked))
        failed = self.library.nvrtcCompileProgram(program, len(asked), flags)
        log = self._text(program, "nvrtcGetProgramLog").decode()
        if failed:
            raise _refusal(f"{self.name} for sm_{arch}", log)
        cubin = self._text(program, "nvrtcGetCUBIN")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return Compiled(cubin, log)

    def _text(self, program, function):
        size = ctypes.c_size_t()
        getattr(self.library, f"{function}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.library, function)(program, text)
        return text.raw


class Nvcc:
    """The compiler of the CUDA toolkit."""

    def __init__(self, path: str):
        self.path = path
        version = re.search(r"release ([\d.]+)", _output(path, "--version"))
        self.name = f"nvcc {version[1] if version else ''}".strip()
        self.archs = tuple(
            int(a) for a in re.findall(r"sm_(\d+)$", _output(path, "--list-gpu-code"), re.MULTILINE)
        )

    def compile(self, text, expressions, options, arch):
        """Compile; kernels exist where somebody takes their address."""
        uses = ", ".join(f"(void *){expression}" for expression in expressions)
        with tempfile.TemporaryDirectory() as folder:
            source, cubin = Path(folder, "kernels.cu"), Path(folder, "kernels.cubin")
            source.write_text(f"{text}\nvoid *kernels_in_use[] = {{{uses}}};\n", encoding="utf-8")
            done = subprocess.run(
                [self.path, "-std=c++17", "-cubin", f"-arch=sm_{arch}", "-Xptxas=-v", *options,
                 "-o", cubin, source],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise _refusal(f"{self.name} for sm_{arch}", done.stderr)
            return Compiled(cubin.read_bytes(), done.stderr)


def compiler():
    """Return the first compiler that is here.

    Raises:
        NotRun: there is none.
    """
    for folder in (*_folders("lib"), *_folders("lib64")):
        for library in sorted(folder.glob("libnvrtc.so.*")):
            if library.name.count(".") == 2:  # and not libnvrtc.so.12.9.86, the same once more
                return Nvrtc(library)
    nvcc = shutil.which("nvcc") or _tool("nvcc")
    if nvcc:
        return Nvcc(nvcc)
    raise NotRun("no CUDA compiler is here (pip install nvidia-cuda-nvrtc-cu12 brings one)")


def disassembler() -> str:
    """Return the path of nvdisasm.

    Raises:
        NotRun: there is none.
    """
    tool = os.environ.get("NVDISASM") or shutil.which("nvdisasm") or _tool("nvdisasm")
    if not tool:
        raise NotRun("no nvdisasm is here (pip install nvidia-cuda-nvdisasm, or triton, has one)")
    return tool


def disassemble(cubin: bytes) -> str:
    """Return a cubin's machine code as text.

    Raises:
        NotRun: there is no disassembler, or it is older than the compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernels.cubin")
        file.write_bytes(cubin)
        done = subprocess.run(
            [disassembler(), "-c", file], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise NotRun(f"{done.stderr.strip() or 'nvdisasm reads nothing'}")
    return done.stdout


def _refusal(who, log):
    """Return the error of a compiler: a missing header is a lack of this machine, no fault."""
    missing = re.search(r'could not open source file "(\S+)"|(\S+): No such file', log)
    if missing:
        return NotRun(f"{who}: {missing[1] or missing[2]} is not installed")
    return AssertionError(f"{who} refuses it:\n{log}")


def _folders(name):
    """Return the folders of that name in NVIDIA's wheels and in CUDA's installations."""
    spec = importlib.util.find_spec("nvidia")
    wheels = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    found = [folder for root in wheels for folder in sorted(root.glob(f"*/{name}"))]
    found += [Path(root, name) for root in (*PATHS, "/usr/local/cuda") if root]
    return [folder for folder in found if folder.is_dir()]


def _tool(name):
    """Return the path of a program in the wheels of NVIDIA or of Triton, or None."""
    folders = _folders("bin")
    spec = importlib.util.find_spec("triton")
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent / "backends" / "nvidia" / "bin")
    return next((str(f / name) for f in folders if os.access(f / name, os.X_OK)), None)


def _output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
