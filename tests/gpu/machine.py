"""What the evidence was gathered on, and from which sources."""

import hashlib
import importlib.metadata
import platform
import re
import sys
from pathlib import Path

from tests.gpu.processes import ROOT, run

PACKAGES = ("numpy", "torch", "numba", "hypothesis", "mpmath", "msgpack")
SOURCES = ("oracle", "conformance", "implementations", "tests/gpu", "tests/cuda")
READ = (".py", ".cu", ".cuh", ".cpp", ".h")
FIELDS = (
    "name", "driver_version", "memory.total", "compute_cap", "clocks.sm", "clocks.mem",
    "clocks.max.sm", "clocks.max.mem", "power.limit", "temperature.gpu",
)  # fmt: skip


def slug(name):
    """Return a GPU's name as a file's: `nvidia-h200`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "gpu"


def described(cupy):
    """Return the GPU and what drives it, as plain data."""
    runtime = cupy.cuda.runtime
    number = cupy.cuda.Device().id
    found = runtime.getDeviceProperties(number)
    version = runtime.runtimeGetVersion()
    told = {
        "gpu": found["name"].decode(errors="replace"),
        "compute_capability": f"{found['major']}.{found['minor']}",
        "multiprocessors": int(found["multiProcessorCount"]),
        "memory_bytes": int(found["totalGlobalMem"]),
        "cuda": f"{version // 1000}.{version % 1000 // 10}",
        "cupy": cupy.__version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "nvidia_smi": smi(number),
    }
    for package in PACKAGES:
        try:
            told[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            told[package] = "not installed"
    try:
        import torch

        told |= {
            "torch_cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
    except Exception as error:  # noqa: BLE001 - a library that does not load raises anything
        told["torch_cuda"] = f"PyTorch cannot be imported: {error}"[:200]
    return told


def smi(number=0):
    """Return what nvidia-smi says of a GPU now, or in words that it does not."""
    command = ["nvidia-smi", f"--id={number}", f"--query-gpu={','.join(FIELDS)}"]
    try:
        end = run([*command, "--format=csv,noheader"], 20)
    except OSError as error:
        return {"not_told": str(error)}
    values = [value.strip() for value in end.output.strip().split(",")]
    if end.code != 0 or len(values) != len(FIELDS):
        return {"not_told": end.output.strip()[:200]}
    return dict(zip(FIELDS, values, strict=True))


def sources(root: Path = ROOT) -> str:
    """Return the SHA-256 of all code that the evidence is about, and of what gathers it."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in READ:
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode())
                digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()
