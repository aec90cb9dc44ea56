"""Comments that a file of CUDA C++ could have: what its names, types and launches let one guess.

    // gradoracle: relu = relu_kernel<<<ceil_div(z.size, 256), 256>>>(z, y, z.size)

A host function that launches the kernel is called in its place, where its parameters say more than
the launch: its sizes are what the author passes, and no launch has to be put in other words.  Each
is a proposal for the author to read; what could not be guessed is listed below it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from gradoracle.implementations.cuda_source.launches import Host, Launched, hosts, launch_of
from gradoracle.implementations.cuda_source.names import (
    BY_TOKENS,
    POINTWISE,
    PRODUCT_VALUES,
    ROWWISE,
    SIDES,
    SIZES,
    arguments_of,
    function_of,
    is_asked_for,
    names_in,
)
from gradoracle.implementations.cuda_source.results import operator_of
from gradoracle.implementations.hostcuda.text import code_only, without_comments
from gradoracle.implementations.hostcuda.translation import found_kernels

ROUNDED_UP = re.compile(r"\b(?:i?div_?up|ceil_?div|div_?ceil|cdiv)\s*\(", re.IGNORECASE)
# Operators with eps, and arguments of operators that may be None.
NORMALISING = (*BY_TOKENS, "batch_norm", "group_norm", "instance_norm")
OPTIONAL = {
    **dict.fromkeys(NORMALISING, ("weight", "bias")),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear"), ("bias",)),
}
FOUR = re.compile(r"\bfloat4\b")
SIZE_OF = re.compile(r"\bsizeof\s*\(\s*(?:float|int)\s*\)")
_FUNCTIONS_OF_SIZES = ("ceil_div", "dim3", "min", "max", "shape", "size")


@dataclass(frozen=True)
class Proposal:
    """A comment for one kernel or host function, and what of it is no guess yet."""

    kernel: str
    comment: str  # "" where not even the function could be guessed
    unknown: tuple[str, ...]
    domain: tuple[str, ...] = field(default=())  # of its operator, what the text is made for

    def __str__(self) -> str:
        """Return it as lines of comments, ready to be put before the kernel."""
        if not self.comment:
            return f"// {self.kernel}: not guessed: {'; '.join(self.unknown)}"
        if self.unknown:
            return f"// to complete: {self.comment}\n//     not guessed: {'; '.join(self.unknown)}"
        return f"// gradoracle: {self.comment}"

    @property
    def operator(self) -> str:
        """The operator of the function that is proposed; "" where there is none."""
        return operator_of(self.comment.partition(" = ")[0])


def proposals(text: str) -> list[Proposal]:
    """Return a proposal for every kernel of a text, in the order of the text.

    Kernels that a host function launches have its one, if less of that is unknown.
    """
    found = {one.name: one for one in found_kernels(code_only(text))}
    of = {
        name: _proposal(text, name, one.parameters, template=one.template)
        for name, one in found.items()
    }
    for host in hosts(text, {name: one.parameters for name, one in found.items()}):
        proposal = _call(text, host)
        launched = [of[name] for name in host.launches]
        if proposal and all(
            len(proposal.unknown) < len(one.unknown) or not one.comment for one in launched
        ):
            of.update(dict.fromkeys(host.launches, proposal))
    return [*dict.fromkeys(of.values())]


def _call(text: str, host: Host) -> Proposal | None:
    """Return the proposal to call a host function; None where none of the protocol is like it."""
    names = (host.name, *reversed(host.launches))
    function = next((of for name in names if (of := function_of(name)) is not None), None)
    if function is None:
        return None
    arguments, unknown = arguments_of(text, host.parameters, function, host.passed)
    if function == "matmul" and any(_is_along_k(launch_of(text, n)) for n in host.launches):
        unknown = (*unknown, SIDES)
    comment = f"{function} = {host.name}({', '.join(arguments)})"
    return Proposal(host.name, _line(comment), unknown, _domain(text, function, arguments))


def _proposal(text: str, name: str, parameters: str, *, template: bool) -> Proposal:
    function = function_of(name)
    if function is None:
        return Proposal(name, "", ("no function of the protocol has a name like it",))
    arguments, unknown = arguments_of(text, parameters, function)
    kernel = f"{name}<{{T}}>" if template else name
    launched = launch_of(text, name)
    given = dict(zip(names_in(parameters), arguments, strict=True))
    sizes, more = _launch(without_comments(text), launched, function, given)
    if function == "matmul" and (_is_along_k(launched) or re.search(r"\bK\b", sizes[0])):
        more.append(SIDES)
    comment = f"{function} = {kernel}<<<{', '.join(sizes)}>>>({', '.join(arguments)})"
    return Proposal(name, _line(comment), (*unknown, *more), _domain(text, function, arguments))


def _line(comment: str) -> str:
    """Return a comment in one line, however its parts stood in the text."""
    return " ".join(comment.split())


def _domain(text: str, function: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the conditions of the calls that a text is made for, as far as it shows them."""
    operator, plain = operator_of(function), without_comments(text)
    found: list[str] = []
    if operator in ROWWISE:
        found.append("axis = -1")
    if FOUR.search(plain) and operator in (*POINTWISE, *ROWWISE):
        found.append(f"{'size' if operator in POINTWISE else 'length'} % 4 == 0")
    if operator in NORMALISING and "eps" not in arguments:
        said = {float(one) for one in re.findall(r"\b1e-0?\d+(?=f?\b)", plain)}
        found += [f"eps = {min(said)}"] if len(said) == 1 else []
    if operator == "leaky_relu" and "negative_slope" not in arguments:
        said = {float(one) for one in re.findall(r"(?<![\w.])0?\.\d+(?=f?\b)", plain)}
        found += [f"negative_slope = {min(said)}"] if len(said) == 1 else []
    if operator == "gelu":
        found.append(f"approximate = {'tanh' if 'tanh' in plain else 'none'}")
    for name in OPTIONAL.get(operator, ()):
        if name in arguments and not is_asked_for(plain, name):
            found.append(f"{name} required")
    return tuple(found)


def _launch(
    plain: str, launched: Launched | None, function: str, given: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Return blocks, threads and bytes, as the host's code launches a kernel or as kernels are.

    `given` has what its parameters are given.  The second list says what is not known.
    """
    elementwise = operator_of(function) in POINTWISE
    if launched is not None and len(launched.sizes) > 1:
        sizes = launched.sizes[:3]  # without a stream
        if elementwise and re.fullmatch(r"\d+", sizes[1]):
            return [f"ceil_div(z.size, {sizes[1]})", *sizes[1:]], []
        ours = {
            said: given[parameter]
            for said, parameter in zip(launched.arguments, given, strict=False)
            if said.isidentifier()
        }
        said = [_in_our_words(one, function, ours) for one in sizes]
        words = {w for one in said for w in re.findall(r"(?<![\w.])[A-Za-z_]\w*", one)}
        known = {*_FUNCTIONS_OF_SIZES, *ours.values(), *SIZES, *_defined(plain)}
        strange = sorted(words - known - {"z", "axis"})
        return said, [f"what {', '.join(strange)} of its launch is"] if strange else []
    if elementwise:
        return ["ceil_div(z.size, 256)", "256"], []
    return ["?", "?"], ["how many blocks and threads run it"]


def _is_along_k(launched: Launched | None) -> bool:
    """Return whether a launch has blocks along K: BLAS sums over K, others name a side so."""
    return launched is not None and any(re.search(r"\bK\b", one) for one in launched.sizes[:1])


def _defined(plain: str) -> set[str]:
    """Return the names of numbers that a text defines: a launch may speak of them."""
    return {*re.findall(r"#\s*define\s+(\w+)\s+\(?\d", plain)}


def _in_our_words(expression: str, function: str, given: dict[str, str]) -> str:
    """Return an expression of a launch with `ceil_div`, and the sizes as the protocol has them."""
    expression = SIZE_OF.sub("4", ROUNDED_UP.sub("ceil_div(", expression))
    if function == "matmul":
        given = {**PRODUCT_VALUES, **given}
    return re.sub(r"\b[A-Za-z_]\w*\b", partial(_replaced, given), expression)


def _replaced(given: dict[str, str], found: re.Match[str]) -> str:
    value = given.get(found[0], found[0])
    return f"({value})" if " " in value else value


def with_proposals(text: str, found: Sequence[Proposal]) -> str:
    """Return a text with its proposals as comments above it; those to complete say so."""
    domains: dict[str, list[str]] = {}
    once: set[str] = set()
    lines: list[str] = []
    for one in found:
        function = one.comment.partition(" = ")[0]
        again = not one.unknown and function in once
        once |= {function} if one.comment and not one.unknown else set()
        lines.append(str(one).replace("// gradoracle: ", "// instead: ") if again else str(one))
        known = domains.setdefault(one.operator, [])
        known += [condition for condition in one.domain if condition not in known]
    lines += [
        f"// gradoracle: domain {operator}: {', '.join(conditions)}"
        for operator, conditions in domains.items()
        if conditions
    ]
    if any("% 4 == 0" in condition for conditions in domains.values() for condition in conditions):
        lines.append("// gradoracle: contract alignment = 16")
    said = "\n".join(lines)
    return f"// Proposed by gradoracle; read them before you rely on them.\n{said}\n\n{text}"
