"""Comments that a file of CUDA C++ could have: what its names, types and launches let one guess.

    // gradoracle: relu = relu_kernel<<<ceil_div(z.size, 256), 256>>>(z, y, z.size)

A host function that launches the kernel is called in its place, where its parameters say more than
the launch: its sizes are what the author passes, and no launch has to be put in other words.  Each
is a proposal for the author to read; what could not be guessed is named beside it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from gradoracle.implementations.cuda_source.by_axes import ELEMENTWISE
from gradoracle.implementations.cuda_source.results import RESULTS, operator_of
from gradoracle.implementations.hostcuda.text import (
    at_file_scope,
    braced,
    code_only,
    parenthesised,
    split,
    without_comments,
)
from gradoracle.implementations.hostcuda.translation import found_kernels

# Words in the names of kernels, for the operators that they are about; the longest come first.
WORDS = {
    "softmax_cross_entropy": "cross_entropy", "crossentropy": "cross_entropy",
    "cross_entropy": "cross_entropy", "layernorm": "layer_norm", "rmsnorm": "rms_norm",
    "batchnorm": "batch_norm", "groupnorm": "group_norm", "leakyrelu": "leaky_relu",
    "logsoftmax": "log_softmax", "convolution": "conv2d", "conv": "conv2d", "maxpool": "max_pool2d",
    "max_pool": "max_pool2d", "avgpool": "avg_pool2d", "avg_pool": "avg_pool2d",
    "fully_connected": "linear", "dense": "linear", "sgd": "sgd_step", "swish": "silu",
}  # fmt: skip
BACKWARD = re.compile(r"(?i)backward|bwd|grad|_back\b")
PRODUCT = re.compile(r"(?i)mat_?mul|gemm")
POINTWISE = {"relu", "leaky_relu", "sigmoid", "tanh", *ELEMENTWISE}
# Names that parameters have, for the arguments and results of the protocol.
INPUTS = (
    "x",
    "in",
    "inp",
    "input",
    "a",
    "z",
    "src",
    "data",
    "d_in",
    "d_x",
    "d_a",
    "d_input",
    "logits",
)
OUTPUTS = ("y", "out", "output", "c", "dst", "d_out", "d_y", "d_c", "d_output", "result", "res")
GIVEN = {
    "w": "weight", "weight": "weight", "weights": "weight", "kernel": "weight", "gamma": "weight",
    "filter": "weight", "mask": "weight", "bias": "bias", "beta": "bias",
    "eps": "eps", "epsilon": "eps", "slope": "negative_slope", "alpha": "negative_slope",
    "negative_slope": "negative_slope", "labels": "target", "label": "target", "target": "target",
    "targets": "target", "dy": "grad_output", "dout": "grad_output", "grad_out": "grad_output",
    "grad_output": "grad_output", "lr": "learning_rate", "learning_rate": "learning_rate",
    "indices": "indices",
}  # fmt: skip
# Of C = alpha A B + beta C: the names that BLAS gives to its matrices, sizes and factors.
SECOND = ("b", "d_b", "rhs", "other", "mat2")
ROUNDED_UP = re.compile(r"\b(?:i?div_?up|ceil_?div|div_?ceil|cdiv)\s*\(", re.IGNORECASE)
PRODUCT_VALUES = {"M": "N", "N": "M", "K": "K", "alpha": "1", "beta": "0"}
COUNTS = ("n", "size", "len", "length", "num", "numel", "count", "total", "num_elements")
THREADS = re.compile(r"(?i)(?:block|tile|threads?)_?(?:size|dim|per_?block)|(?:num_?|n_?)?threads")
STREAM = re.compile(r"\bcudaStream_t\b")
LETTERS = {"rows": "N", "batch": "N", "batch_size": "N", "b": "N", "cols": "C", "columns": "C",
           "channels": "C", "classes": "C", "in_features": "C", "out_features": "M",
           "height": "H", "width": "W"}  # fmt: skip
SIZES = ("N", "C", "H", "W", "M", "KH", "KW", "OH", "OW", "T")
# Operators of rows of any array; of rows [N, T, C]; with eps; with weights or biases.
ROWWISE = ("softmax", "log_softmax")
ROWS, COLUMNS = "z.size / z.shape[axis]", "z.shape[axis]"
BY_TOKENS = ("layer_norm", "rms_norm")
NORMALISING = (*BY_TOKENS, "batch_norm", "group_norm", "instance_norm")
OPTIONAL = {
    **dict.fromkeys(NORMALISING, ("weight", "bias")),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear"), ("bias",)),
}
SIDES = "which of its sizes are rows, columns and the common side"
FOUR = re.compile(r"\bfloat4\b")
NOTHING: Mapping[str, str] = {}
LAUNCHED = r"\b(\w+)\s*(?:<[^<>;]*>)?\s*<<<"
SIZE_OF = re.compile(r"\bsizeof\s*\(\s*(?:float|int)\s*\)")
_FUNCTIONS_OF_SIZES = ("ceil_div", "dim3", "min", "max", "shape", "size")


class Host(NamedTuple):
    """A function of the host that launches kernels."""

    name: str
    parameters: str
    launches: tuple[str, ...]
    passed: Mapping[str, str]  # by its parameters, those of kernels that are given them


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
    for host in _hosts(text, {name: one.parameters for name, one in found.items()}):
        proposal = _call(text, host)
        launched = [of[name] for name in host.launches]
        if proposal and all(
            len(proposal.unknown) < len(one.unknown) or not one.comment for one in launched
        ):
            of.update(dict.fromkeys(host.launches, proposal))
    return [*dict.fromkeys(of.values())]


def _hosts(text: str, kernels: Mapping[str, str]) -> Iterator[Host]:
    """Yield the functions at file scope that launch kernels, but `main` and templates."""
    code = code_only(text)
    for found in re.finditer(r"\b(\w+)\s*\(", code):
        given, end = parenthesised(code, found.end() - 1)
        opening = re.compile(r"\s*\{").match(code, end)
        if opening is None or not at_file_scope(code[: found.start()]):
            continue
        before = re.split(r"[;{}]", code[: found.start()])[-1]
        if "__global__" in before or "template" in before or found[1] == "main":
            continue
        body = code[opening.end() - 1 : braced(code, opening.end() - 1)]
        launched = [*re.finditer(LAUNCHED, body)]
        if launched and all(one[1] in kernels for one in launched):
            passed: dict[str, str] = {}
            for one in launched:
                said = parenthesised(body, body.find("(", body.find(">>>", one.end()))).most
                passed |= dict(
                    zip((n.strip() for n in split(said)), _names(kernels[one[1]]), strict=False)
                )
            yield Host(found[1], given, (*dict.fromkeys(one[1] for one in launched),), passed)


def _call(text: str, host: Host) -> Proposal | None:
    """Return the proposal to call a host function; None where none of the protocol is like it."""
    names = (host.name, *reversed(host.launches))
    function = next((of for name in names if (of := function_of(name)) is not None), None)
    if function is None:
        return None
    arguments, unknown = _arguments(text, host.parameters, function, host.passed)
    if function == "matmul" and any(_is_common(text, name) for name in host.launches):
        unknown = (*unknown, SIDES)
    comment = f"{function} = {host.name}({', '.join(arguments)})"
    return Proposal(host.name, _line(comment), unknown, _domain(text, function, arguments))


def _proposal(text: str, name: str, parameters: str, *, template: bool) -> Proposal:
    function = function_of(name)
    if function is None:
        return Proposal(name, "", ("no function of the protocol has a name like it",))
    arguments, unknown = _arguments(text, parameters, function)
    kernel = f"{name}<{{T}}>" if template else name
    sizes, more = _launch(text, name, function, dict(zip(_names(parameters), arguments,
                                                         strict=True)))  # fmt: skip
    if function == "matmul" and (_is_common(text, name) or re.search(r"\bK\b", sizes[0])):
        more.append(SIDES)
    comment = f"{function} = {kernel}<<<{', '.join(sizes)}>>>({', '.join(arguments)})"
    return Proposal(name, _line(comment), (*unknown, *more), _domain(text, function, arguments))


def _line(comment: str) -> str:
    """Return a comment in one line, however its parts stood in the text."""
    return " ".join(comment.split())


def _names(parameters: str) -> list[str]:
    """Return the names of parameters."""
    return [_name(one.partition("=")[0]) for one in split(parameters)]


def _name(parameter: str) -> str:
    return re.sub(r"\[.*", "", parameter, flags=re.DOTALL).replace("*", " ").split()[-1]


def _arguments(
    text: str, parameters: str, function: str, passed: Mapping[str, str] = NOTHING
) -> tuple[list[str], tuple[str, ...]]:
    """Return what parameters are given, and what of it is unknown.

    `passed` has other names for some of them, which may say more.
    """
    given = [" ".join(one.partition("=")[0].split()) for one in split(parameters)]
    unknown: list[str] = []
    if function == "matmul" and not {*map(_name, given)} >= {"M", "N", "K"}:
        unknown.append(SIDES)
    sizes = _sizes(function, [_name(one) for one in given if "*" not in one and "[" not in one])
    arguments: list[str] = []
    for one in given:
        names = dict.fromkeys((_name(one), passed.get(_name(one), _name(one))))
        guesses = (_argument(text, one, name, function, sizes) for name in names)
        arguments.append(next(filter(None, guesses), "?"))
        if arguments[-1] == "?":
            unknown.append(f"the parameter {one!r}")
    pointers = [one for one in given if "*" in one or "[" in one]
    if not any(argument in (*RESULTS[function].names, "*") for argument in arguments) and pointers:
        unknown.append("no parameter looks like the result")
    return arguments, tuple(unknown)


def _sizes(function: str, names: Sequence[str]) -> dict[str, str]:
    """Return what sizes among parameters are given."""
    operator = operator_of(function)
    found = {n: n if n in SIZES else LETTERS.get(n.lower(), "") for n in names}
    found |= {n: "N" for n in names if not found[n] and n.lower() in COUNTS}
    found = {n: letter for n, letter in found.items() if letter}
    if operator in POINTWISE:
        first = next(iter(found), "")
        return {n: "z.size" if n == first else "1" for n in found}
    if operator in ROWWISE:
        return {n: COLUMNS if letter == "C" else ROWS for n, letter in found.items()}
    if operator in BY_TOKENS and "T" not in found.values():
        return {n: "N * T" if letter == "N" else letter for n, letter in found.items()}
    return found


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
        if name in arguments and not _is_asked_for(plain, name):
            found.append(f"{name} required")
    return tuple(found)


def _is_asked_for(plain: str, name: str) -> bool:
    """Return whether a text asks if a pointer of some names is null."""
    words = [word for word, of in GIVEN.items() if of == name]
    return any(_is_optional(plain, word) for word in words)


def _is_optional(plain: str, name: str) -> bool:
    name = re.escape(name)
    asked = rf"\b{name}\s*(?:[!=]=\s*(?:nullptr|NULL|0)\b|\?|&&)|(?:!|\bif\s*\()\s*{name}\s*\)"
    return re.search(asked, plain) is not None


def function_of(kernel: str) -> str | None:
    """Return the function of the protocol that a kernel's name speaks of, if it is one's."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kernel).lower()
    names = {**{one: one for one in {*map(operator_of, RESULTS)}}, **WORDS}
    names |= {"".join(one.split("_")): of for one, of in names.items()}
    hits = [one for one in names if re.search(rf"(?<![a-z]){one}(?![a-z])|^{one}|{one}$", word)]
    if not hits and PRODUCT.search(word):
        hits = ["matmul"]
    if not hits:
        return None
    operator = names[max(hits, key=len)]
    if not BACKWARD.search(word):
        return operator if operator in RESULTS else None
    ends = [f"{operator}{end}" for end in ("_grad", "_grad_input", "_grad_x")]
    return next((one for one in ends if one in RESULTS), None)


def _argument(text: str, parameter: str, name: str, function: str, sizes: Mapping[str, str]) -> str:
    """Return what a parameter of a name is given, or nothing."""
    if STREAM.search(parameter):
        return "0"
    if "*" in parameter or "[" in parameter:
        return _array(text, name, function, written="const" not in parameter)
    return _number(name, function, sizes)


def _array(text: str, name: str, function: str, *, written: bool) -> str:
    """Return the array that a pointer is given; NULL where the text asks if it is that."""
    results, word = RESULTS[function], name.lower()
    arrays = (*results.arguments, *results.names)
    named = name if name in arrays else GIVEN.get(word.removeprefix("d_"), "")
    if named in arrays:
        return named
    if word in SECOND and "bias" in arrays:
        return "bias"
    if written and (word in OUTPUTS or word.startswith(("d", "out"))):
        return results.names[0]
    if word in INPUTS:
        first = (one for one in results.arguments if one in ("x", "z", "logits"))
        return next(first, results.arguments[0])
    if function == "matmul" and (guess := _of_product(name, pointer=True)):
        return guess
    return "NULL" if _is_optional(without_comments(text), name) else ""


def _number(name: str, function: str, sizes: Mapping[str, str]) -> str:
    """Return the number that a parameter is given."""
    if function == "matmul" and (guess := _of_product(name, pointer=False)):
        return guess
    if name in sizes:
        return sizes[name]
    if THREADS.fullmatch(name):
        return "256"
    known = GIVEN.get(name.lower(), "")
    return name if known == "negative_slope" and operator_of(function) != "leaky_relu" else known


def _of_product(name: str, *, pointer: bool) -> str:
    """Return what a parameter of a matrix product with BLAS's names is given, else nothing."""
    if pointer:
        return "other" if name.lower() in SECOND else ""
    return PRODUCT_VALUES.get(name, "")


def _launch(
    text: str, name: str, function: str, given: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Return blocks, threads and bytes, as the host's code launches a kernel or as kernels are.

    `given` has what its parameters are given.  The second list says what is not known.
    """
    plain = without_comments(text)
    found = re.search(rf"\b{re.escape(name)}\s*(?:<[^<>;]*>)?\s*<<<", plain)
    elementwise = operator_of(function) in POINTWISE
    if found:
        end = plain.find(">>>", found.end())
        sizes = [_value(plain, one.strip()) for one in split(plain[found.end() : end])]
        passed = parenthesised(plain, plain.find("(", end)).most
        ours = {
            said.strip(): given[parameter]
            for said, parameter in zip(split(passed), given, strict=False)
            if re.fullmatch(r"\s*[A-Za-z_]\w*\s*", said)
        }
        if elementwise and len(sizes) > 1 and re.fullmatch(r"\d+", sizes[1]):
            return [f"ceil_div(z.size, {sizes[1]})", sizes[1], *sizes[2:3]], []
        if len(sizes) > 1:
            said = [_in_our_words(one, function, ours) for one in sizes[:3]]
            words = {w for one in said for w in re.findall(r"(?<![\w.])[A-Za-z_]\w*", one)}
            known = {*_FUNCTIONS_OF_SIZES, *ours.values(), *SIZES, *_defined(plain)}
            strange = sorted(words - known - {"z", "axis"})
            return said, [f"what {', '.join(strange)} of its launch is"] if strange else []
    if elementwise:
        return ["ceil_div(z.size, 256)", "256"], []
    return ["?", "?"], ["how many blocks and threads run it"]


def _is_common(text: str, kernel: str) -> bool:
    """Return whether a launch has blocks along K, which BLAS sums over: others name it so."""
    plain = without_comments(text)
    found = re.search(rf"\b{re.escape(kernel)}\s*(?:<[^<>;]*>)?\s*<<<", plain)
    if found is None:
        return False
    grid = split(plain[found.end() : plain.find(">>>", found.end())])[:1]
    return any(re.search(r"\bK\b", _value(plain, one.strip())) for one in grid)


def _defined(plain: str) -> set[str]:
    """Return the names of numbers that a text defines: a launch may speak of them."""
    return {*re.findall(r"#\s*define\s+(\w+)\s+\(?\d", plain)}


def _value(plain: str, expression: str) -> str:
    """Return an expression of the host's code with its variables' values put in."""
    for _ in range(4):
        if not re.fullmatch(r"[A-Za-z_]\w*", expression):
            break
        if re.search(rf"\b(?:int|unsigned|size_t|long)\s+{expression}\s*[,)]", plain):
            break  # a function is given it: what one of its callers gives is not every call's
        found = re.search(
            rf"\b(?:const\s+|constexpr\s+)*(?:int|unsigned|size_t|auto|dim3)\s+{expression}\s*"
            rf"(?:=\s*([^;]+)|(\())|#\s*define\s+{expression}\s+(\S+)",
            plain,
        )
        if not found:
            break
        if found[2]:
            return f"dim3({parenthesised(plain, found.end() - 1).most})"
        expression = (split(found[1])[0] if found[1] else found[3]).strip()
    return expression


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
