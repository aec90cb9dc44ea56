"""Reading the `gradoracle:` comments of a file of CUDA C++, C or C++."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gradoracle.implementations.cuda_source.expressions import NUMBERS, SourceError, parsed
from gradoracle.implementations.cuda_source.results import RESULTS

C_TYPES = {"float32": "float", "float64": "double"}
CUDA_TYPES = {**C_TYPES, "float16": "half", "bfloat16": "__nv_bfloat16"}
_COMMENT = re.compile(r"^[^\"]*?//+\s*gradoracle\s*:(.*)", re.IGNORECASE)
_BLOCK = re.compile(r"/\*[\s*]*gradoracle\s*:", re.IGNORECASE)
_CONTINUED = re.compile(r"\s*//+\s?(?!\s*gradoracle\s*:)(.*)")
_OF = r"(\w+(?:\s*,\s*(?:\w+|\*))*)\s*=\s*"
_LAUNCH = re.compile(_OF + r"([\w:<>{},\s*]+?)\s*<<<(.+?)>>>\s*\((.*)\)\s*;?\s*$", re.DOTALL)
_CALL = re.compile(_OF + r"([\w:]+(?:\s*<[\w:{},\s*]*>)?)\s*()\((.*)\)\s*;?\s*$", re.DOTALL)
_OPTIONS = re.compile(r"options\s*=\s*(-[DIU].*)$", re.DOTALL)
_WORKSPACE = re.compile(r"(\w+)\s*:\s*workspace\s*=\s*(\w+)\s*\[(.+)\]\s*$", re.DOTALL)
_DOMAIN = re.compile(r"domain\s+(\w+)\s*:\s*(.+)$", re.DOTALL)
_DEVIATION = re.compile(r"deviation\s+(\w+)(?:\s+(\w+))?\s*:\s*(.+)$", re.DOTALL)
_SLOT = re.compile(r"(^|[,(])\s*\*(?=\s*(?:,|\)|$))")
SETTINGS = ("dtypes", "not_claimed", "accumulators", "algorithms")
_SETTING = re.compile(rf"(?:contract\s+)?((?:{'|'.join(SETTINGS)})\s*=.+)$", re.DOTALL)
_CONTRACT = re.compile(r"contract\b\s*:?\s*(.*)$", re.DOTALL)
POLICIES = (
    "ties", "nan", "repeats", "non_finite", "subnormals", "bad_arguments", "labels", "indices",
    "index_origin", "relu_at_zero", "leaky_relu_at_zero", "causal", "masked_rows", "variance",
    "log_sum_exp",
    "attention_operands", "alignment", "batch", "threads", "accumulate", "output_mask",
)  # fmt: skip
REDUCTIONS = ("mean", "sum")
SLOT = "result_"  # with its number: what a * among the arguments becomes
LAUNCH_LIKE = "relu = kernel<<<(z.size + 255) / 256, 256>>>(z, y, z.size)"
CALL_LIKE = "relu = my_relu(z, y, z.size)"


@dataclass(frozen=True)
class Launch:
    """A kernel, how many blocks and threads run it, and on what; or a function of the host."""

    kernel: str
    sizes: tuple[ast.expr, ...]  # blocks, threads, bytes of shared memory; none: a call
    arguments: tuple[ast.expr, ...]
    where: str
    results: tuple[str, ...] = ()  # the functions whose results are marked * , in order

    @property
    def reduces(self) -> bool:
        """Whether it is no function of the file, but the mean or the sum of an array."""
        return not self.sizes and self.kernel in REDUCTIONS


@dataclass
class Plan:
    """What one function does: its launches, and an array that they share."""

    launches: list[Launch] = field(default_factory=list)
    workspace: tuple[str, ast.expr] | None = None


def read(text: str, file: str, *, calls: bool = False) -> tuple[dict[str, Plan], dict[str, Any]]:
    """Return what the comments of a text say: a plan of every function, and the contract.

    A plan is of launches, or of plain `calls`.
    """
    plans: dict[str, Plan] = {}
    block = _BLOCK.search(text)
    if block:
        line = text.count("\n", 0, block.start()) + 1
        raise SourceError(f"{file}:{line}: a gradoracle: comment begins with //, not with /*")
    contract: dict[str, Any] = {}
    claims = partial(
        _read_contract, contract=contract, dtypes=[*(C_TYPES if calls else CUDA_TYPES)]
    )
    for line, said in _comments(text):
        where = f"{file}:{line}"
        if not (claims(said, where=where) or _read_workspace(said, plans, where)):
            launch = _launch(said, where, calls=calls)
            for function in launch.results:
                plans.setdefault(function, Plan()).launches.append(launch)
    if not any(plan.launches for plan in plans.values()):
        how, like = ("functions are called", CALL_LIKE) if calls else (
            "kernels are launched", LAUNCH_LIKE
        )  # fmt: skip
        raise SourceError(
            f"{file}: no comment says how its {how}; write  // gradoracle: {like}  (gradoracle new "
            f"--from {file} proposes comments)"
        )
    return plans, contract


def _read_contract(
    said: str, *, contract: dict[str, Any], where: str, dtypes: Sequence[str]
) -> bool:
    """Add what a comment claims to a contract; return False if it claims nothing."""
    if found := _OPTIONS.match(said):
        contract.setdefault("options", []).extend(found[1].split())
    elif found := _DOMAIN.match(said):
        domains = contract.setdefault("domain", {})
        several = [text for text in (domains.get(found[1]), found[2]) if text]
        domains[found[1]] = ", ".join(several)
    elif found := _DEVIATION.match(said):
        entry = {"formula": found[1], "property": found[2], "reason": found[3]}
        contract.setdefault("deviations", []).append(entry)
    elif found := _SETTING.match(said) or _CONTRACT.match(said):
        for name, rule in _entries(found[1], where):
            if name in SETTINGS:
                contract[name] = _setting(name, rule, where, dtypes)
            elif name in POLICIES:
                number = re.fullmatch(r"\d*\.?\d+", rule)
                contract.setdefault("policies", {})[name] = float(rule) if number else rule
            else:
                raise SourceError(
                    f"{where}: a contract has no {name!r}; there are {', '.join(SETTINGS)}, "
                    f"{', '.join(POLICIES)}"
                )
    return found is not None


def _entries(text: str, where: str) -> list[tuple[str, str]]:
    """Return the names and values of a list such as `ties = split, dtypes = float32, float64`."""
    found: list[tuple[str, str]] = []
    for part in (one.strip() for one in text.split(",")):
        name, equals, rule = (word.strip() for word in part.partition("="))
        if equals and name and rule:
            found.append((name, rule))
        elif found and part and not equals:
            found[-1] = found[-1][0], f"{found[-1][1]}, {part}"
        else:
            raise SourceError(f"{where}: write  contract labels = int32, ties = split, got {text}")
    return found


def _read_workspace(said: str, plans: dict[str, Plan], where: str) -> bool:
    found = _WORKSPACE.match(said)
    if found:
        kind = found[2]
        if kind not in (*NUMBERS, "T"):
            raise SourceError(f"{where}: a workspace holds T, {', '.join(NUMBERS)}, not {kind}")
        plan = plans.setdefault(_function(found[1], where), Plan())
        plan.workspace = kind, parsed(found[3], where)[0]
    return found is not None


def _launch(said: str, where: str, *, calls: bool) -> Launch:
    launched = None if calls else _LAUNCH.match(said)
    found = launched or _CALL.match(said)
    if not found:
        what = f"call such as  {CALL_LIKE}" if calls else f"launch such as  {LAUNCH_LIKE}"
        raise SourceError(f"{where}: {said!r} is no {what}")
    functions = tuple(_function(name.strip(), where) for name in found[1].split(","))
    sizes = parsed(found[3], where) if launched else ()
    if launched and not 2 <= len(sizes) <= 3:
        raise SourceError(f"{where}: <<<blocks, threads, shared memory>>>, got {found[3]}")
    slots = len(_SLOT.findall(found[4]))
    numbers = iter(range(slots))
    given = _SLOT.sub(lambda slot: f"{slot[1]} {SLOT}{next(numbers)}", found[4])
    arguments = parsed(given, where) if given.strip() else ()
    prepares = not slots and re.search(r"\bscratch\s*\(|\bworkspace\b", found[4])
    if len(functions) > 1 and slots != len(functions) and not prepares:
        raise SourceError(f"{where}: {len(functions)} results, but {slots} arguments marked *")
    return Launch(found[2].strip(), sizes, arguments, where, functions)


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
        or said.endswith(("=", ","))
        or ("<<<" in said and not re.search(r">>>\s*\(", said))
    )


def _function(name: str, where: str) -> str:
    if name not in RESULTS:
        raise SourceError(f"{where}: no function {name!r}; there are {', '.join(RESULTS)}")
    return name


def _setting(name: str, text: str, where: str, dtypes: Sequence[str]) -> Any:
    entries = [entry.strip() for entry in text.split(",")]
    pairs: list[tuple[str, ...]] = [
        tuple(part.strip() for part in entry.split(":")) for entry in entries
    ]
    if name == "algorithms":
        if any(len(pair) != 2 for pair in pairs):
            raise SourceError(f"{where}: write  algorithms = conv2d: winograd2, got {text}")
        return {_function(pair[0], where): pair[1] for pair in pairs}
    if name == "not_claimed":
        if any(len(pair) != 2 for pair in pairs):
            raise SourceError(f"{where}: write  not_claimed = float64: softmax, got {text}")
        return {dtype: [f for d, f in pairs if d == dtype] for dtype, _ in pairs}
    if any(dtype not in dtypes for pair in pairs for dtype in pair):
        raise SourceError(f"{where}: {name} are of {', '.join(dtypes)}, got {text}")
    if name == "dtypes":
        return entries
    if any(len(pair) != 2 for pair in pairs):
        raise SourceError(f"{where}: write  accumulators = float32: float64, got {text}")
    return {pair[0]: pair[1] for pair in pairs}
