"""Comments that a file of CUDA C++ or C could have: what names, types and launches let one guess.

    // gradoracle: relu = relu_kernel<<<ceil_div(z.size, 256), 256>>>(z, y, z.size)

A host function that launches the kernel is called in its place, where its parameters say more than
the launch: its sizes are what the author passes, and no launch has to be put in other words.  In a
file of C every function with arrays is called.  Each is a proposal for the author to read; what
could not be guessed is listed below it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gradoracle.implementations.cuda_source.launches import (
    Host,
    Launched,
    functions_in,
    hosts,
    launch_of,
    namespaces,
    template_of,
)
from gradoracle.implementations.cuda_source.names import (
    BY_TOKENS,
    POINTWISE,
    PRODUCT_VALUES,
    ROWWISE,
    SIDES,
    SIZES,
    arguments_of,
    function_with,
    gradients_of,
    is_asked_for,
    names_in,
)
from gradoracle.implementations.cuda_source.results import operator_of
from gradoracle.implementations.hostcuda.text import braced, code_only, without_comments
from gradoracle.implementations.hostcuda.translation import Found, found_kernels

ROUNDED_UP = re.compile(r"\b(?:i?div_?up|ceil_?div|div_?ceil|cdiv)\s*\(", re.IGNORECASE)
# Operators with eps, and arguments of operators that may be None.
NORMALISING = (*BY_TOKENS, "batch_norm", "group_norm", "instance_norm")
OPTIONAL = {
    **dict.fromkeys(NORMALISING, ("weight", "bias")),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear"), ("bias",)),
}
# Options of images, the sizes that speak of them, and what they are where none does.
_MOVED = {"stride": (("SH", "SW"), 1), "padding": (("PH", "PW"), 0)}
_TAPS = {"dilation": (("DH", "DW"), 1), "groups": (("G",), 1)}
SPATIAL: dict[str, dict[str, tuple[tuple[str, ...], int]]] = {
    "conv2d": {**_MOVED, **_TAPS},
    "conv_transpose2d": {**_MOVED, **_TAPS, "output_padding": ((), 0)},
    **{
        f"{kind}_pool2d": {"padding": _MOVED["padding"], "ceil_mode": ((), False)}
        for kind in ("max", "avg")
    },
}
WINDOW = {"KH", "KW", "kernel_size", "weight_shape"}
NO_FUNCTION = "no function of the protocol has a name like it"
OF_FLOATS = r"\b(?:{0})\s*(?:const\s*)?(?:\*|\w+\s*\[)"
ALIAS = re.compile(
    r"\btypedef\s+(?:float|double)\s+(\w+)\s*;|\busing\s+(\w+)\s*=\s*(?:float|double)\s*;"
)
SAVED_IN = re.compile(r"\bscratch\((\w+), (?:N \* T|z\.size)\)")
BYTE_ORDER = "\ufeff"  # with which some editors begin a file
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
    before: str = ""  # a comment that goes before it

    def __str__(self) -> str:
        """Return it as lines of comments, ready to be put before the kernel."""
        if not self.comment:
            return f"// {self.kernel}: not guessed: {'; '.join(self.unknown)}"
        if self.unknown:
            return f"// to complete: {self.comment}\n//     not guessed: {'; '.join(self.unknown)}"
        return "\n".join(f"// gradoracle: {one}" for one in (self.before, self.comment) if one)

    @property
    def operator(self) -> str:
        """The operator of the function that is proposed; "" where there is none."""
        return operator_of(self.comment.partition(" = ")[0].partition(",")[0])


def proposals(text: str, *, calls: bool = False) -> list[Proposal]:
    """Return a proposal for every kernel of a text, in the order of the text.

    Kernels that a host function launches have its one, if less of that is unknown.  With `calls`
    the text is C: each function that is given floats by a pointer has one.
    """
    if calls:
        names = [one or other for one, other in ALIAS.findall(code_only(text))]
        takes_floats = re.compile(OF_FLOATS.format("|".join(("float", "double", *names))))
        return _after_what_saves([
            _call(text, Host(one.name, one.parameters, (), {}, one.body))
            or Proposal(one.name, "", (NO_FUNCTION,))
            for one in functions_in(text)
            if takes_floats.search(one.parameters) and "__global__" not in one.before
        ])  # fmt: skip
    code = code_only(text)
    found = {one.name: one for one in found_kernels(code)}
    bodies = {name: code[one.end : braced(code, one.end)] for name, one in found.items()}
    of = {name: _proposal(text, one, bodies[name]) for name, one in found.items()}
    for host in hosts(text, {name: one.parameters for name, one in found.items()}):
        body = "".join((host.body, *(bodies[name] for name in host.launches)))
        proposal = _call(text, host._replace(body=body))
        launched = [of[name] for name in host.launches]
        if proposal and all(
            len(proposal.unknown) < len(one.unknown) or not one.comment for one in launched
        ):
            of.update(dict.fromkeys(host.launches, proposal))
    return _after_what_saves([*dict.fromkeys(of.values())])


def _after_what_saves(found: list[Proposal]) -> list[Proposal]:
    """Return proposals; before a gradient that is given statistics, what saves them is called."""
    saving = {
        one.operator: one for one in found
        if one.comment and not one.unknown
        and "_grad" not in one.comment.partition(" = ")[0]
    }  # fmt: skip
    whole = []
    for one in found:
        functions, _, _ = one.comment.partition(" = ")
        saved = {*SAVED_IN.findall(one.comment)} if "_grad" in functions else {*()}
        before = saving.get(one.operator)
        if not saved:
            whole.append(one)
        elif before is not None and saved - {"y"} <= {*SAVED_IN.findall(before.comment)}:
            call = before.comment.partition(" = ")[2]
            size = "z.size" if one.operator in (*POINTWISE, *ROWWISE) else "N * T * C"
            call = re.sub(r"(?<=[(,])(\s*)[yp](?=\s*[,)])", rf"\1scratch(y, {size})", call)
            whole.append(replace(one, before=f"{functions} = {call}"))
        else:
            unknown = (*one.unknown, f"what computes {', '.join(sorted(saved))} for it")
            whole.append(replace(one, unknown=unknown))
    return whole


def _call(text: str, host: Host) -> Proposal | None:
    """Return the proposal to call a host function; None where none of the protocol is like it."""
    names = (host.name, *reversed(host.launches))
    last = (name.rpartition("::")[2] for name in names)
    functions = (function_with(name, host.parameters) for name in last)
    function = next((of for of in functions if of is not None), None)
    if function is None:
        return None
    arguments, unknown = arguments_of(text, host.parameters, function, host.passed, host.body)
    if function == "matmul" and any(_is_along_k(launch_of(text, n)) for n in host.launches):
        unknown = (*unknown, SIDES)
    unknown = (*unknown, *_windows(function, arguments))
    comment = f"{_functions(function, host.parameters)} = {host.name}({', '.join(arguments)})"
    domain = _domain(host.body, function, arguments)
    return Proposal(host.name, _line(comment), unknown, domain)


def _windows(function: str, said: Sequence[str]) -> list[str]:
    """Return that the size of windows is not known, where nothing that is said speaks of it."""
    spoken = {word for one in said for word in re.findall(r"\w+", one)}
    of_windows = operator_of(function) in SPATIAL and not function.endswith("_bias")
    return ["how large its windows are"] if of_windows and not spoken & WINDOW else []


def _functions(function: str, parameters: str) -> str:
    """Return the functions of which a kernel writes the results: those of several gradients."""
    several = gradients_of(function, parameters)
    return ", ".join(several.values()) if len(several) > 1 else function


def _proposal(text: str, kernel: Found, body: str) -> Proposal:
    function = function_with(kernel.name, kernel.parameters)
    if function is None:
        return Proposal(kernel.name, "", (NO_FUNCTION,))
    arguments, unknown = arguments_of(text, kernel.parameters, function, body=body)
    within = namespaces(code_only(text)[: kernel.start])
    name = f"{within}{kernel.name}{_template(text, kernel)}"
    launched = launch_of(text, kernel.name)
    given = dict(zip(names_in(kernel.parameters), arguments, strict=True))
    sizes, more = _launch(without_comments(text), launched, function, given)
    if function == "matmul" and (_is_along_k(launched) or re.search(r"\bK\b", sizes[0])):
        more.append(SIDES)
    of = _functions(function, kernel.parameters)
    comment = f"{of} = {name}<<<{', '.join(sizes)}>>>({', '.join(arguments)})"
    domain = _domain(body, function, arguments)
    more += _windows(function, [*arguments, *sizes])
    return Proposal(kernel.name, _line(comment), (*unknown, *more), domain)


def _template(text: str, kernel: Found) -> str:
    """Return what a kernel's template is given: types, or the numbers of its launch."""
    if not kernel.template:
        return ""
    before = code_only(text)[: kernel.start]
    of_types = re.search(r"\b(?:typename|class)\b", before[before.rfind("template") :])
    return "<{T}>" if of_types else template_of(text, kernel.name)


def _line(comment: str) -> str:
    """Return a comment in one line, however its parts stood in the text."""
    return " ".join(comment.split())


def _domain(plain: str, function: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the conditions of the calls that code is made for, as far as it shows them."""
    operator = operator_of(function)
    spoken = {word for one in arguments for word in re.findall(r"\w+", one)}
    found: list[str] = []
    if operator in ROWWISE:
        found.append("axes = 1" if "z.size" in arguments else "axis = -1")
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
    found += [
        f"{name} = {neutral}" for name, (letters, neutral) in SPATIAL.get(operator, {}).items()
        if not spoken & {name, *letters}
    ]  # fmt: skip
    if operator == "batch_norm" and "running_mean" not in spoken:
        found.append("training = True")
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
    """Return a text with its proposals as comments above it; those to complete say so.

    Domains are those of what is complete: of the operator, or of each function where they differ.
    """
    text = text.removeprefix(BYTE_ORDER)
    once: set[str] = set()
    lines: list[str] = []
    called: dict[str, list[Proposal]] = {}
    for one in found:
        function = one.comment.partition(" = ")[0]
        is_whole = bool(one.comment and not one.unknown)
        again = is_whole and function in once
        lines.append(str(one).replace("// gradoracle: ", "// instead: ") if again else str(one))
        if is_whole and not again:
            once.add(function)
            called.setdefault(one.operator, []).append(one)
    domains = [line for operator, ones in called.items() for line in _domains(operator, ones)]
    lines += [f"// gradoracle: domain {of}: {', '.join(said)}" for of, said in domains]
    if any("% 4 == 0" in condition for _, said in domains for condition in said):
        lines.append("// gradoracle: contract alignment = 16")
    said = "\n".join(lines)
    return f"// Proposed by gradoracle; read them before you rely on them.\n{said}\n\n{text}"


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
        for function in one.comment.partition(" = ")[0].split(", ")
    ]  # fmt: skip
