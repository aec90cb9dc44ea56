"""What names of kernels and their parameters stand for: functions, arrays, numbers, sizes."""

import re
from collections.abc import Iterable, Mapping, Sequence

from gradoracle.implementations.cuda_source.by_axes import ELEMENTWISE
from gradoracle.implementations.cuda_source.results import RESULTS, operator_of
from gradoracle.implementations.hostcuda.text import split, without_comments

# Words in the names of kernels, for the operators that they are about; the longest come first.
WORDS = {
    "softmax_cross_entropy": "cross_entropy", "softmax_ce": "cross_entropy",
    "crossentropy_softmax": "cross_entropy", "crossentropy": "cross_entropy",
    "cross_entropy": "cross_entropy", "layernorm": "layer_norm", "rmsnorm": "rms_norm",
    "batchnorm": "batch_norm", "groupnorm": "group_norm", "leakyrelu": "leaky_relu",
    "logsoftmax": "log_softmax", "convolution": "conv2d", "conv": "conv2d", "maxpool": "max_pool2d",
    "max_pool": "max_pool2d", "avgpool": "avg_pool2d", "avg_pool": "avg_pool2d",
    "fully_connected": "linear", "dense": "linear", "sgd": "sgd_step", "swish": "silu",
}  # fmt: skip
BACKWARD = re.compile(r"(?i)backward|bwd|grad|_back\b|deriv|prime")
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
OUTPUTS = (
    "y",
    "out",
    "output",
    "c",
    "dst",
    "d_out",
    "d_y",
    "d_c",
    "d_output",
    "result",
    "res",
    "probs",
)
GIVEN = {
    "w": "weight", "weight": "weight", "weights": "weight", "kernel": "weight", "gamma": "weight",
    "filter": "weight", "mask": "weight", "bias": "bias", "beta": "bias",
    "eps": "eps", "epsilon": "eps", "slope": "negative_slope", "alpha": "negative_slope",
    "negative_slope": "negative_slope", "labels": "target", "label": "target", "target": "target",
    "targets": "target", "dy": "grad_output", "dout": "grad_output", "grad_out": "grad_output",
    "grad_output": "grad_output", "lr": "learning_rate", "learning_rate": "learning_rate",
    "indices": "indices", "dprobs": "grad_output", "dlosses": "grad_output",
}  # fmt: skip
# Of C = alpha A B + beta C: the names that BLAS gives to its matrices, sizes and factors.
SECOND = ("b", "d_b", "rhs", "other", "mat2")
PRODUCT_VALUES = {"M": "N", "N": "M", "K": "K", "alpha": "1", "beta": "0"}
COUNTS = ("n", "size", "len", "length", "num", "numel", "count", "total", "num_elements")
THREADS = re.compile(r"(?i)(?:block|tile|threads?)_?(?:size|dim|per_?block)|(?:num_?|n_?)?threads")
STREAM = re.compile(r"\bcudaStream_t\b")
LETTERS = {"rows": "N", "batch": "N", "batch_size": "N", "b": "N", "cols": "C", "columns": "C",
           "channels": "C", "classes": "C", "in_features": "C", "out_features": "M",
           "in_channels": "C", "ic": "C", "vocab_size": "C", "v": "C",
           "out_channels": "M", "oc": "M", "height": "H", "width": "W"}  # fmt: skip
SIZES = ("N", "C", "H", "W", "M", "KH", "KW", "OH", "OW", "T")
# Operators of rows of any array, and of rows [N, T, C].
ROWWISE = ("softmax", "log_softmax")
ROWS, COLUMNS = "z.size / z.shape[axis]", "z.shape[axis]"
BY_TOKENS = ("layer_norm", "rms_norm")
# Statistics of rows that a normalisation saves for its gradients, by what is in their names.
SAVED = re.compile(
    r"(?i)^(?:d_)?(?:saved?_?)?(?:means?|mu|r_?std|inv_?std|inv_?var|rsigma|stats?)$"
)
ADDED_TO = r"\b{0}\s*\[[^;=]*\]\s*\+=|\batomicAdd\s*\(\s*&?\s*\(?\s*{0}\b"
SET = r"\b{0}\s*\[[^;=]*\]\s*=[^=]|(?i:\b\w*(?:memset|fill|zero|clear)\w*)\s*\(\s*(?:\w+,\s*)*{0}\b"
SIDES = "which of its sizes are rows, columns and the common side"
NOTHING: Mapping[str, str] = {}


def function_of(kernel: str) -> str | None:
    """Return the function of the protocol that a kernel's name speaks of, if it is one's."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kernel).lower()
    word = re.sub(r"_(?=\d)", "", word)
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


def function_with(kernel: str, parameters: str) -> str | None:
    """Return the function of a kernel by its name; a product with a weight is a linear layer."""
    function, names = function_of(kernel), {one.lower() for one in names_in(parameters)}
    layer = names & {"weight", "weights", "w"} and names & {"bias", "oc", "dbias", "dweight", "dw"}
    product, backward = (function or "").startswith("matmul"), BACKWARD.search(kernel)
    if product and backward and re.search(r"(?i)bias", kernel):
        return "linear_grad_bias"
    if not product or not layer:
        return function
    return "linear_grad_input" if backward else "linear"


def gradients_of(function: str, parameters: str) -> dict[str, str]:
    """Return which gradient function each pointer that is written is the result of, by its name."""
    operator = operator_of(function)
    known = {of.removeprefix(f"{operator}_grad_"): of for of in RESULTS if
             of.startswith(f"{operator}_grad_")}  # fmt: skip
    found: dict[str, str] = {}
    for one in split(parameters):
        name = _name(one.partition("=")[0])
        written = ("*" in one or "[" in one) and "const" not in one
        said = re.fullmatch(r"(?i)(?:d_)?(?:grad_|d_?)(\w+?)|(\w+?)_?grad", name)
        if not written or said is None:
            continue
        word = (said[1] or said[2]).lower()
        of = GIVEN.get(word, {"b": "bias"}.get(word, word))
        if word in INPUTS:
            of = next((one for one in ("input", "x") if one in known), of)
        if of in known and of != "grad_output" and known[of] not in found.values():
            found[name] = known[of]
    return found


def names_in(parameters: str) -> list[str]:
    """Return the names of parameters."""
    return [_name(one.partition("=")[0]) for one in split(parameters)]


def _name(parameter: str) -> str:
    return re.sub(r"\[.*", "", parameter, flags=re.DOTALL).replace("*", " ").split()[-1]


def arguments_of(
    text: str, parameters: str, function: str, passed: Mapping[str, str] = NOTHING, body: str = ""
) -> tuple[list[str], tuple[str, ...]]:
    """Return what parameters are given, and what of it is unknown.

    `passed` has other names for some of them, which may say more.  Of the results of several
    gradient functions each is a *; what `body`, the code that is run, adds to is 0 before.
    """
    gradients = gradients_of(function, parameters)
    given = [" ".join(one.partition("=")[0].split()) for one in split(parameters)]
    unknown: list[str] = []
    if function == "matmul" and not {*map(_name, given)} >= {"M", "N", "K"}:
        unknown.append(SIDES)
    sizes = _sizes(function, [_name(one) for one in given if "*" not in one and "[" not in one])
    arguments, given_already = list[str](), set[str]()
    for one in given:
        names = dict.fromkeys((_name(one), passed.get(_name(one), _name(one))))
        guesses = (_argument(text, one, name, function, sizes) for name in names)
        is_one_of_several = len(gradients) > 1 and _name(one) in gradients
        argument = "*" if is_one_of_several else next(filter(None, guesses), "?")
        if argument in given_already:
            argument = _saved_answer(_name(one), function)
        elif argument in ("*", *RESULTS[function].names):
            given_already |= {argument} - {"*"}
            argument = f"zero({argument})" if _is_added_to(body, names) else argument
        arguments.append(argument)
        if arguments[-1] == "?":
            unknown.append(f"the parameter {one!r}")
    pointers = [one for one in given if "*" in one or "[" in one]
    if len(pointers) == 1 and function in (*POINTWISE, *ROWWISE) and "const" not in pointers[0]:
        arguments[given.index(pointers[0])] = "copy(z)"  # in place
        return arguments, tuple(one for one in unknown if repr(pointers[0]) not in one)
    results = {wrapped for of in (*RESULTS[function].names, "*") for wrapped in (of, f"zero({of})")}
    if not results & {*arguments} and pointers:
        unknown.append("no parameter looks like the result")
    return arguments, tuple(unknown)


def _saved_answer(name: str, function: str) -> str:
    """Return the answer of the forward pass that a gradient is given, by its name; else "?"."""
    is_gradient = "_grad" in function and operator_of(function) in (*POINTWISE, *ROWWISE)
    return "scratch(y, z.size)" if is_gradient and name.lower() in (*OUTPUTS, "p") else "?"


def _is_added_to(body: str, names: Iterable[str]) -> bool:
    """Return whether code adds to an array of one of some names that it never sets."""
    each = [*map(re.escape, names)]
    for name in (*each,):  # pointers to a part of it
        each += re.findall(rf"\*\s*(?:__restrict__\s*)?(\w+)\s*=\s*&?\s*{name}\b", body)
    return any(re.search(ADDED_TO.format(name), body) for name in each) and not any(
        re.search(SET.format(name), body) for name in each
    )


def _sizes(function: str, names: Sequence[str]) -> dict[str, str]:
    """Return what sizes among parameters are given."""
    operator = operator_of(function)
    found = {n: n if n in SIZES else LETTERS.get(n.lower(), "") for n in names}
    found |= {n: "N" for n in names if not found[n] and n.lower() in COUNTS}
    found = {n: letter for n, letter in found.items() if letter}
    if operator in POINTWISE:
        first = next(iter(found), "")
        return {n: "z.size" if n == first else "1" for n in found}
    if operator in ROWWISE and len(names) == 1 and names[0].lower() in COUNTS:
        return {names[0]: "z.size"}  # of one row
    if operator in ROWWISE:
        rows = next((n for n, letter in found.items() if letter != "C"), "")
        return {n: COLUMNS if of == "C" else ROWS if n == rows else "1" for n, of in found.items()}
    if operator == "linear":  # of rows of rows
        return {n: "1" if letter == "T" and "N" in found.values() else letter
                for n, letter in found.items()}  # fmt: skip
    if operator in BY_TOKENS and "T" not in found.values():
        return {n: "N * T" if letter == "N" else letter for n, letter in found.items()}
    return found


def _argument(text: str, parameter: str, name: str, function: str, sizes: Mapping[str, str]) -> str:
    """Return what a parameter of a name is given, or nothing."""
    if STREAM.search(parameter):
        return "0"
    if parameter.count("*") > 1:
        return ""
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
    if "_grad" in function and word in (*OUTPUTS, "p"):
        saved = _saved_answer(name, function)
        return results.names[0] if saved == "?" and written else saved.replace("?", "")
    if written and (word in OUTPUTS or word.startswith(("d", "out"))):
        return results.names[0]
    if word in INPUTS:
        first = (one for one in results.arguments if one in ("x", "z", "logits"))
        backward = function == f"{operator_of(function)}_grad_input"
        return next(first, "x" if backward else results.arguments[0])
    return _other_array(text, name, function)


def _other_array(text: str, name: str, function: str) -> str:
    """Return the array of a pointer whose name is none of an input or a result."""
    if function == "matmul" and (guess := _of_product(name, pointer=True)):
        return guess
    if SAVED.match(name) and operator_of(function) in BY_TOKENS:
        return f"scratch({name.lower().removeprefix('d_')}, N * T)"
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


def is_asked_for(plain: str, name: str) -> bool:
    """Return whether a text asks if a pointer of some names is null."""
    words = [word for word, of in GIVEN.items() if of == name]
    return any(_is_optional(plain, word) for word in words)


def _is_optional(plain: str, name: str) -> bool:
    name = re.escape(name)
    asked = rf"\b{name}\s*(?:[!=]=\s*(?:nullptr|NULL|0)\b|\?|&&)|(?:!|\bif\s*\()\s*{name}\s*\)"
    return re.search(asked, plain) is not None
