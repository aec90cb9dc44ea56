"""Reading the `gradoracle:` comments of a file of CUDA C++."""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from gradoracle.implementations.cuda_source.expressions import NUMBERS, SourceError, parsed
from gradoracle.implementations.cuda_source.results import RESULTS

C_TYPES = {"float32": "float", "float64": "double"}
_COMMENT = re.compile(r"^[^\"]*?//+\s*gradoracle\s*:(.*)", re.IGNORECASE)
_BLOCK = re.compile(r"/\*[\s*]*gradoracle\s*:", re.IGNORECASE)
_CONTINUED = re.compile(r"\s*//+\s?(?!\s*gradoracle\s*:)(.*)")
_LAUNCH = re.compile(r"(\w+)\s*=\s*([\w:<>{},\s*]+?)\s*<<<(.+?)>>>\s*\((.*)\)\s*;?\s*$", re.DOTALL)
_WORKSPACE = re.compile(r"(\w+)\s*:\s*workspace\s*=\s*(\w+)\s*\[(.+)\]\s*$", re.DOTALL)
_DOMAIN = re.compile(r"domain\s+(\w+)\s*:\s*(.+)$", re.DOTALL)
_SETTING = re.compile(r"(dtypes|accumulators|algorithms)\s*=\s*(.+)$", re.DOTALL)


@dataclass(frozen=True)
class Launch:
    """A kernel, how many blocks and threads run it, and on what."""

    kernel: str
    sizes: tuple[ast.expr, ...]  # blocks, threads, bytes of shared memory
    arguments: tuple[ast.expr, ...]
    where: str


@dataclass
class Plan:
    """What one function does: its launches, and an array that they share."""

    launches: list[Launch] = field(default_factory=list)
    workspace: tuple[str, ast.expr] | None = None


def read(text: str, file: str) -> tuple[dict[str, Plan], dict[str, Any]]:
    """Return what the comments of a text say: a plan of every function, and the settings."""
    plans: dict[str, Plan] = {}
    block = _BLOCK.search(text)
    if block:
        line = text.count("\n", 0, block.start()) + 1
        raise SourceError(f"{file}:{line}: a gradoracle: comment begins with //, not with /*")
    settings: dict[str, Any] = {}
    for line, said in _comments(text):
        where = f"{file}:{line}"
        launch, workspace, setting, domain = (
            p.match(said) for p in (_LAUNCH, _WORKSPACE, _SETTING, _DOMAIN)
        )
        if domain:
            settings.setdefault("domain", {})[domain[1]] = domain[2]
        elif setting:
            settings[setting[1]] = _setting(setting[1], setting[2], where)
        elif workspace:
            kind = workspace[2]
            if kind not in (*NUMBERS, "T"):
                raise SourceError(f"{where}: a workspace holds T, {', '.join(NUMBERS)}, not {kind}")
            plan = plans.setdefault(_function(workspace[1], where), Plan())
            plan.workspace = kind, parsed(workspace[3], where)[0]
        elif launch:
            plan = plans.setdefault(_function(launch[1], where), Plan())
            sizes = parsed(launch[3], where)
            if not 2 <= len(sizes) <= 3:
                raise SourceError(f"{where}: <<<blocks, threads, shared memory>>>, got {launch[3]}")
            arguments = parsed(launch[4], where) if launch[4].strip() else ()
            plan.launches.append(Launch(launch[2].strip(), sizes, arguments, where))
        else:
            raise SourceError(
                f"{where}: {said!r} is no launch such as  relu = kernel<<<(z.size + 255) / 256, "
                "256>>>(z, y, z.size)"
            )
    if not any(plan.launches for plan in plans.values()):
        raise SourceError(
            f"{file}: no comment says how its kernels are launched; write  // gradoracle: relu = "
            "kernel<<<(z.size + 255) / 256, 256>>>(z, y, z.size)"
        )
    return plans, settings


def _comments(text: str) -> list[tuple[int, str]]:
    """Return the comments that are for us, each with its line, joined where they go on."""
    found: list[tuple[int, str]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        begun = _COMMENT.search(line)
        if not begun:
            continue
        said, after = begun[1].strip(), number
        while _goes_on(said) and after < len(lines):
            going_on = _CONTINUED.match(lines[after])
            if not going_on:
                break
            said, after = f"{said} {going_on[1].strip()}", after + 1
        found.append((number, said))
    return found


def _goes_on(said: str) -> bool:
    return (
        said.count("(") > said.count(")")
        or said.endswith("=")
        or ("<<<" in said and not re.search(r">>>\s*\(", said))
    )


def _function(name: str, where: str) -> str:
    if name not in RESULTS:
        raise SourceError(f"{where}: no function {name!r}; there are {', '.join(RESULTS)}")
    return name


def _setting(name: str, text: str, where: str) -> Any:
    entries = [entry.strip() for entry in text.split(",")]
    pairs: list[tuple[str, ...]] = [
        tuple(part.strip() for part in entry.split(":")) for entry in entries
    ]
    if name == "algorithms":
        if any(len(pair) != 2 for pair in pairs):
            raise SourceError(f"{where}: write  algorithms = conv2d: winograd2, got {text}")
        return {_function(pair[0], where): pair[1] for pair in pairs}
    if any(dtype not in C_TYPES for pair in pairs for dtype in pair):
        raise SourceError(f"{where}: {name} are of {', '.join(C_TYPES)}, got {text}")
    if name == "dtypes":
        return entries
    if any(len(pair) != 2 for pair in pairs):
        raise SourceError(f"{where}: write  accumulators = float32: float64, got {text}")
    return {pair[0]: pair[1] for pair in pairs}
