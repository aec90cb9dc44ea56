"""A proposal, and a text with its proposals as comments above it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gradoracle.implementations.cuda_source.results import RESULTS, operator_of, sizes_of
from gradoracle.implementations.cupy_kernels.machine import HALVES

BYTE_ORDER = "\ufeff"  # with which some editors begin a file
DEFAULT = ("float32",)


@dataclass(frozen=True)
class Proposal:
    """A comment for one kernel or host function, and what of it is no guess yet."""

    kernel: str
    comment: str  # "" where not even the function could be guessed
    unknown: tuple[str, ...]
    domain: tuple[str, ...] = field(default=())  # of its operator, what the text is made for
    before: str = ""  # a comment that goes before it
    dtypes: tuple[str, ...] = DEFAULT  # those that its arrays may have
    sums_in_float: bool = False  # whether it computes in float what it holds in half precision

    def __str__(self) -> str:
        """Return it as lines of comments, ready to be put before the kernel."""
        if not self.comment:
            return f"// {self.kernel}: not guessed: {'; '.join(self.unknown)}"
        if self.unknown:
            said = [f"// to complete: {self.comment}", f"not guessed: {'; '.join(self.unknown)}"]
            of_parameters = any(one.startswith("the parameter") for one in self.unknown)
            said += _choices(self.functions[0]) if of_parameters else []
            return "\n//     ".join(said)
        whole = filter(None, (self.before, self.comment))
        return "\n".join(f"// gradoracle: {one}" for one in whole)

    @property
    def functions(self) -> list[str]:
        """The functions of the protocol whose results it has."""
        return self.comment.partition(" = ")[0].split(", ")

    @property
    def operator(self) -> str:
        """The operator of the function that is proposed; "" where there is none."""
        return operator_of(self.functions[0])


def _choices(function: str) -> list[str]:
    """Return what may stand for a parameter that could not be guessed."""
    of = RESULTS[function]
    arrays = dict.fromkeys((*of.arguments, *of.names))
    sizes = sizes_of(function) or [f"{of.arguments[0]}.size", f"{of.arguments[0]}.shape[0]"]
    numbers = f"{', '.join(sizes)}, an option of {operator_of(function)}, a constant"
    given = f"{', '.join(arrays)}, scratch(NAME, COUNT), NULL"
    return [f"for an array: {given}; for a number: {numbers}"]


def with_proposals(text: str, found: Sequence[Proposal]) -> str:
    """Return a text with its proposals as comments above it; those to complete say so.

    Domains are those of what is complete: of the operator, or of each function where they differ.
    """
    text = text.removeprefix(BYTE_ORDER)
    once: set[str] = set()
    lines: list[str] = []
    called: dict[str, list[Proposal]] = {}
    for one in found:
        is_whole = bool(one.comment and not one.unknown)
        again = is_whole and not once.isdisjoint(one.functions)
        lines.append(str(one).replace("// gradoracle: ", "// instead: ") if again else str(one))
        if is_whole and not again:
            once.update(one.functions)
            called.setdefault(one.operator, []).append(one)
    domains = [line for operator, ones in called.items() for line in _domains(operator, ones)]
    lines += [f"// gradoracle: domain {of}: {', '.join(said)}" for of, said in domains]
    if any("% 4 == 0" in condition for _, said in domains for condition in said):
        lines.append("// gradoracle: contract alignment = 16")
    lines += _dtypes([one for ones in called.values() for one in ones])
    said = "\n".join(lines)
    return f"// Proposed by gradoracle; read them before you rely on them.\n{said}\n\n{text}"


def _dtypes(called: Sequence[Proposal]) -> Iterator[str]:
    """Yield a comment that claims dtypes, where pointers do not say them, in C and with {T}.

    Of half precision, one that sums are held in float, where all that the code has is float.
    """
    halves = {dtype for one in called for dtype in one.dtypes if dtype in HALVES}
    in_float = [dtype for dtype in sorted(halves)
                if all(one.sums_in_float for one in called if dtype in one.dtypes)]  # fmt: skip
    if in_float:
        pairs = ", ".join(f"{dtype}: float32" for dtype in in_float)
        yield f"// gradoracle: contract accumulators = {pairs}"
    if halves or all("float32" in one.dtypes for one in called):
        return
    if all(one.dtypes == ("float64",) for one in called):
        yield "// gradoracle: contract dtypes = float64"
        return
    not_claimed = [
        f"{dtype}: {function}" for dtype in ("float32", "float64") for one in called
        if dtype not in one.dtypes for function in one.functions
    ]  # fmt: skip
    yield (
        f"// gradoracle: contract dtypes = float32, float64, not_claimed = {', '.join(not_claimed)}"
    )


def _domains(operator: str, found: Sequence[Proposal]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the domain of an operator, or of each of its functions where they differ.

    What one function shows is so of the others, unless they are given that very option.
    """
    known: dict[str, str] = {}
    for one in found:
        for condition in one.domain:
            known.setdefault(condition.partition(" ")[0], condition)
    of = [
        tuple(condition for name, condition in known.items()
              if condition.endswith("required")
              or not re.search(rf"[(,]\s*{name}\s*[,)]", one.comment))
        for one in found
    ]  # fmt: skip
    if len({*of}) == 1:
        return [(operator, of[0])] if of[0] else []
    return [
        (function, said)
        for one, said in zip(found, of, strict=True) if said
        for function in one.functions
    ]  # fmt: skip
