"""Count which published CUDA files load: `python -m tests.studies.published FOLDER`.

Every file of the folder with a kernel is read with its neighbours' headers and compiled by g++ as
`gradoracle certify FILE.cu` does, without running it.  `main` is kept as an ordinary function, so
that the templates that it launches are compiled.  A file counts by how many of its kernels load;
what refuses the others is counted by feature.  Nothing of the files is kept.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from gradoracle.implementations.cuda_source.includes import whole
from gradoracle.implementations.hostcuda.build import CompileError
from gradoracle.implementations.hostcuda.source import NotModelled, Source
from gradoracle.implementations.hostcuda.text import code_only, without_comments
from gradoracle.implementations.hostcuda.translation import found_kernels

MOST_SECONDS = 60.0
MOST_FOLDERS = 60  # of a project's headers
_KERNEL = re.compile(r"\b__global__\b")
_MAIN = re.compile(r"\bmain(?=\s*\()")
_WORDS = (  # what a compiler's refusal is about, the most telling first
    re.compile(r"\(([^()]+): no such header\)"),
    re.compile("\u2018([^\u2019]+)\u2019 (?:was not declared|is not a member|does not name)"),
    re.compile(r"\d: (inline PTX: \S+|[^:]+)$"),
    re.compile(r"error: (.+)$", re.MULTILINE),
)


FEATURES = {
    "inline PTX": r"\basm\b", "cooperative groups": r"\bcooperative_groups\b|\bcg::",
    "shuffles": r"\b__shfl_",
    "votes, match, __reduce_*_sync": r"\b__(ballot|any|all|match|reduce)_",
    "atomics": r"\batomic[A-Z]",
    "dynamic shared memory": r"\bextern\s+(__align__\(\d+\)\s*)?__shared__",
    "float16": r"\b(__)?half2?\b", "bfloat16": r"\b(__)?nv_bfloat162?\b", "float8": r"\b__nv_fp8",
    "wmma": r"\bwmma\b", "asynchronous copies": r"\b__pipeline_|\bcuda::(pipeline|memcpy_async)",
    "cuda::barrier": r"\bcuda::barrier\b", "barrier of a grid": r"\bgrid\.sync\(|\bthis_grid\b",
    "clusters": r"\bcluster_group\b|\bthis_cluster\b|__cluster_dims__",
    "textures": r"\b(tex[123]D\w*|cudaTextureObject_t)\b", "surfaces": r"\bsurf[123]D\w*",
    "cache hints": r"\b__(ldg|ldc[agsv]|ldlu|st(cg|cs|wb|wt))\b", "clock": r"\bclock(64)?\(\)",
    "constant memory": r"\b__constant__\b", "managed memory": r"\bcudaMallocManaged\b",
    "streams": r"\bcudaStream_t\b", "graphs": r"\bcudaGraph", "cuBLAS": r"\bcublas[A-Z]",
    "cuBLASLt": r"\bcublasLt", "cuRAND": r"\bcurand", "cuDNN": r"\bcudnn",
    "cuSPARSE": r"\bcusparse",
    "Thrust or CUB": r"\b(thrust|cub)::", "PyTorch": r"\btorch::|\bat::", "CuTe": r"\bcute::",
    "templates": r"\btemplate\s*<[^<>;{}]{1,200}>\s*__global__",
}  # fmt: skip


@dataclass
class File:
    """What became of one file: its kernels, and why some of them do not load."""

    path: str
    kernels: list[str]
    refused: dict[str, str] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)  # functions of the host left out
    seconds: float = 0.0


def main() -> None:
    """Count the files of a folder and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies.published")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, help="at most so many files of each subfolder, drawn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--features", action="store_true", help="count words only; compile nothing")
    parser.add_argument("--json", type=Path, help="also write what became of every file")
    given = parser.parse_args()
    paths = [*chosen(given.folder, given.each, given.seed)]
    random.Random(given.seed).shuffle(paths)  # noqa: S311 - so that the first are of all folders
    if not paths:
        parser.error(f"{given.folder} has no .cu file with a __global__ function")
    if given.features:
        print(features(paths))
        return
    with ProcessPoolExecutor(given.jobs) as pool:
        files = []
        for one in pool.map(partial(studied, given.folder), paths):
            files.append(one)
            print(line(one), file=sys.stderr, flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in files], indent=1))
    print(tables(files))


def chosen(folder: Path, each: int | None, seed: int) -> Iterator[Path]:
    """Yield the files with kernels, at most `each` of every direct subfolder."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.cu")):
        if path.is_file() and _KERNEL.search(path.read_text(errors="replace")):
            groups.setdefault(path.relative_to(folder).parts[0], []).append(path)
    for name, paths in sorted(groups.items()):
        few = each is not None and each < len(paths)
        yield from random.Random(f"{seed} {name}").sample(paths, each or 0) if few else paths  # noqa: S311


def studied(folder: Path, path: Path) -> File:
    """Return what becomes of one file, within `MOST_SECONDS` of processor time."""
    signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        return _studied(folder, path)
    except TimeoutError:
        names = [one.name for one in found_kernels(code_only(path.read_text(errors="replace")))]
        return File(str(path.relative_to(folder)), names, dict.fromkeys(names, "takes too long"))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _too_long(*_: object) -> None:
    raise TimeoutError


def _studied(folder: Path, path: Path) -> File:
    begun = time.monotonic()
    headers = folders(folder / path.relative_to(folder).parts[0], path)
    text = _MAIN.sub("main_", whole(path, headers))
    names = [one.name for one in found_kernels(code_only(text))]
    found = File(str(path.relative_to(folder)), [*dict.fromkeys(names)])
    try:
        source = Source(text, path.name, (f"-I{path.parent}", "-O0"), (), ())
        source.library("fast")
    except (CompileError, NotModelled) as error:
        found.refused = dict.fromkeys(found.kernels, feature(str(error)))
    else:
        for name in found.kernels:
            try:
                source.check_modelled(name)
            except (CompileError, NotModelled) as error:
                found.refused[name] = feature(str(error))
        found.host = {
            name: feature(why.why)
            for name, why in source.left_out.items()
            if name not in found.kernels
        }
    found.seconds = time.monotonic() - begun
    return found


def folders(project: Path, path: Path) -> list[Path]:
    """Return where a project's build finds its own headers: the nearest folders first."""
    ends = {"*.h", "*.cuh", "*.hpp"}
    there = {one.parent for end in ends for one in project.rglob(end) if one.is_file()}
    wanted = {
        parent for one in there for parent in (one, *one.parents) if project in parent.parents
    }
    return sorted({*wanted, project}, key=lambda one: (_steps(one, path), str(one)))[:MOST_FOLDERS]


def _steps(folder: Path, path: Path) -> int:
    shared = sum(a == b for a, b in zip(folder.parts, path.parent.parts, strict=False))
    return len(folder.parts) + len(path.parent.parts) - 2 * shared


def feature(told: str) -> str:
    """Return in a few words what a refusal is about."""
    told = told.removesuffix(": not modelled on the CPU, only a GPU can run it")
    words = (found[1] for pattern in _WORDS if (found := pattern.search(told)))
    return next(words, told.partition("\n")[0])[:80]


def line(one: File) -> str:
    """Return a file's line on the screen."""
    why = "; ".join(sorted({*one.refused.values()}))
    good = len(one.kernels) - len(one.refused)
    return f"{good}/{len(one.kernels)} {one.seconds:.0f} s {one.path} {why}"


def tables(files: list[File]) -> str:
    """Return the tables, in Markdown."""
    kernels = sum(len(one.kernels) for one in files)
    refused = sum(len(one.refused) for one in files)
    whole_files = sum(not one.refused for one in files)
    some = sum(len(one.refused) < len(one.kernels) for one in files)
    by_file = Counter(why for one in files for why in {*one.refused.values()})
    by_kernel = Counter(why for one in files for why in one.refused.values())
    lines = [
        "| | of | load | |", "|---|---|---|---|",
        _row("kernels", kernels, kernels - refused),
        _row("files, every kernel", len(files), whole_files),
        _row("files, a kernel at least", len(files), some),
        "", "| what refuses kernels | files | kernels |", "|---|---|---|",
        *(f"| {why} | {count} | {by_kernel[why]} |" for why, count in by_file.most_common()),
    ]  # fmt: skip
    return "\n".join(lines)


def features(paths: list[Path]) -> str:
    """Return how many files speak of each feature, in Markdown."""
    counts: Counter[str] = Counter()
    for path in paths:
        text = without_comments(path.read_text(errors="replace"))
        counts.update(name for name, pattern in FEATURES.items() if re.search(pattern, text))
    rows = [f"| {name} | {count} |" for name, count in counts.most_common()]
    return "\n".join([f"| feature | of {len(paths)} files |", "|---|---|", *rows])


def _row(what: str, of: int, good: int) -> str:
    return f"| {what} | {of} | {good} | {100 * good / of:.0f} % |"


if __name__ == "__main__":
    main()
