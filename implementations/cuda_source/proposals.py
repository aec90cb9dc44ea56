"""Comments that a file of CUDA C++ could have: what its names, types and launches let one guess.

    // gradoracle: relu = relu_kernel<<<ceil_div(z.size, 256), 256>>>(z, y, z.size)

Each is a proposal for the author to read; what could not be guessed is named beside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gradoracle.implementations.cuda_source.by_axes import ELEMENTWISE
from gradoracle.implementations.cuda_source.results import RESULTS, operator_of
from gradoracle.implementations.hostcuda.text import (
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
LETTERS = {"rows": "N", "batch": "N", "batch_size": "N", "b": "N", "cols": "C", "columns": "C",
           "channels": "C", "classes": "C", "in_features": "C", "out_features": "M",
           "height": "H", "width": "W"}  # fmt: skip
SIZES = ("N", "C", "H", "W", "M", "KH", "KW", "OH", "OW", "T")


@dataclass(frozen=True)
class Proposal:
    """A comment for one kernel, and what of it is no guess yet."""

    kernel: str
    comment: str  # "" where not even the function could be guessed
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as lines of comments, ready to be put before the kernel."""
        if not self.comment:
            return f"// {self.kernel}: not guessed: {'; '.join(self.unknown)}"
        if self.unknown:
            return f"// to complete: {self.comment}\n//     not guessed: {'; '.join(self.unknown)}"
        return f"// gradoracle: {self.comment}"


def proposals(text: str) -> list[Proposal]:
    """Return a proposal for every kernel of a text, in the order of the text."""
    found = {one.name: one for one in found_kernels(code_only(text))}
    return [
        _proposal(text, name, one.parameters, template=one.template) for name, one in found.items()
    ]


def _proposal(text: str, name: str, parameters: str, *, template: bool) -> Proposal:
    function = function_of(name)
    given = [" ".join(one.partition("=")[0].split()) for one in split(parameters)]
    if function is None:
        return Proposal(name, "", ("no function of the protocol has a name like it",))
    unknown: list[str] = []
    if function == "matmul":
        unknown.append("whether M, N and K are rows, columns and the common side, as in BLAS")
    arguments = [_argument(one, function, unknown) for one in given]
    pointers = [one for one in given if "*" in one or "[" in one]
    if not any(argument in (*RESULTS[function].names, "*") for argument in arguments) and pointers:
        unknown.append("no parameter looks like the result")
    kernel = f"{name}<{{T}}>" if template else name
    grid, block = _launch(text, name, function, unknown)
    comment = f"{function} = {kernel}<<<{grid}, {block}>>>({', '.join(arguments)})"
    return Proposal(name, comment, tuple(unknown))


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


def _argument(parameter: str, function: str, unknown: list[str]) -> str:
    """Return what a parameter is given, or a question mark, and say so."""
    results = RESULTS[function]
    name = re.sub(r"\[.*", "", parameter).replace("*", " ").split()[-1]
    word, pointer = name.lower(), "*" in parameter or "[" in parameter
    known = GIVEN.get(word.removeprefix("d_"))
    first = next((one for one in results.arguments if one in ("x", "z", "logits")), "")
    named = name if name in (*results.arguments, *results.names) else known
    if pointer and named in (*results.arguments, *results.names):
        return str(named)
    if pointer and "const" not in parameter and (word in OUTPUTS or word.startswith(("d", "out"))):
        return results.names[0]
    if pointer and word in INPUTS:
        return first or results.arguments[0]
    if function == "matmul" and (guess := _of_product(name, pointer=pointer)):
        return guess
    if not pointer and (word in COUNTS or name in SIZES or word in LETTERS):
        elementwise = operator_of(function) in POINTWISE and word in COUNTS
        return "z.size" if elementwise else name if name in SIZES else LETTERS.get(word, "N")
    if pointer or not known:
        unknown.append(f"the parameter {parameter!r}")
    return "?" if pointer or not known else known


def _of_product(name: str, *, pointer: bool) -> str:
    """Return what a parameter of a matrix product with BLAS's names is given, else nothing."""
    if pointer:
        return "other" if name.lower() in SECOND else ""
    return PRODUCT_VALUES.get(name, "")


def _launch(text: str, name: str, function: str, unknown: list[str]) -> tuple[str, str]:
    """Return blocks and threads, as the host's code launches the kernel or as kernels are."""
    plain = without_comments(text)
    found = re.search(rf"\b{name}\s*(?:<[^<>;]*>)?\s*<<<", plain)
    elementwise = operator_of(function) in POINTWISE
    if found:
        inside = plain[found.end() : plain.find(">>>", found.end())]
        sizes = [one.strip() for one in split(inside)]
        threads = _value(plain, sizes[1]) if len(sizes) > 1 else ""
        if elementwise and re.fullmatch(r"\d+", threads):
            return f"ceil_div(z.size, {threads})", threads
        grid = _value(plain, sizes[0]) if sizes else ""
        if threads and grid:
            unknown.append("whether its launch has the protocol's names")
            return _in_our_words(grid, function), _in_our_words(threads, function)
    if elementwise:
        return "ceil_div(z.size, 256)", "256"
    unknown.append("how many blocks and threads run it")
    return "?", "?"


def _value(plain: str, expression: str) -> str:
    """Return an expression of the host's code with its variables' values put in."""
    for _ in range(4):
        if not re.fullmatch(r"[A-Za-z_]\w*", expression):
            break
        if re.search(rf"\b(?:int|unsigned|size_t|long)\s+{expression}\s*[,)]", plain):
            break  # a function is given it: what one of its callers gives is not every call's
        found = re.search(
            rf"\b(?:const\s+|constexpr\s+)*(?:int|unsigned|size_t|auto|dim3)\s+{expression}\s*"
            rf"(?:=\s*([^;,]+)|(\())|#\s*define\s+{expression}\s+(\S+)",
            plain,
        )
        if not found:
            break
        if found[2]:
            return f"dim3({parenthesised(plain, found.end() - 1).most})"
        expression = (found[1] or found[3]).strip()
    return expression


def _in_our_words(expression: str, function: str) -> str:
    """Return an expression of a launch with `ceil_div`, and a product's sides by our letters."""
    expression = ROUNDED_UP.sub("ceil_div(", expression)
    if function != "matmul":
        return expression
    return re.sub(r"\b[MNK]\b", lambda found: PRODUCT_VALUES.get(found[0], found[0]), expression)


def with_proposals(text: str, found: Sequence[Proposal]) -> str:
    """Return a text with its proposals as comments above it; those to complete say so."""
    said = "\n".join(map(str, found))
    return f"// Proposed by gradoracle; read them before you rely on them.\n{said}\n\n{text}"
