"""The calls that code is made for, as far as its text shows them: conditions of a domain."""

import re
from collections.abc import Sequence

from gradoracle.implementations.cuda_source.arguments import Code, Guess
from gradoracle.implementations.cuda_source.expressions import constants
from gradoracle.implementations.cuda_source.launches import functions_in
from gradoracle.implementations.cuda_source.names import is_asked_for, name_of
from gradoracle.implementations.cuda_source.results import operator_of
from gradoracle.implementations.cuda_source.words import (
    BY_TOKENS,
    COUNTED,
    HAVE,
    LOSSES,
    ROWWISE,
    STEPS,
)

# Operators with eps, and arguments of operators that may be None.
NORMALISING = (*BY_TOKENS, "batch_norm", "group_norm", "instance_norm")
OPTIONAL = {
    **dict.fromkeys(NORMALISING, ("weight", "bias")),
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear"), ("bias",)),
    **dict.fromkeys(("rms_norm", "cross_entropy_loss"), ("weight",)),
}
# Options of images, the sizes that speak of them, and what they are where none does.
_MOVED = {"stride": (("SH", "SW"), 1), "padding": (("PH", "PW"), 0)}
_TAPS = {"dilation": (("DH", "DW"), 1), "groups": (("G",), 1)}
_POOLED = {"padding": _MOVED["padding"], "ceil_mode": ((), False)}
SPATIAL: dict[str, dict[str, tuple[tuple[str, ...], int]]] = {
    "conv2d": {**_MOVED, **_TAPS},
    "conv_transpose2d": {**_MOVED, **_TAPS, "output_padding": ((), 0)},
    "max_pool2d": {**_POOLED, "dilation": _TAPS["dilation"]},
    "avg_pool2d": _POOLED,
}
# What a text calls the numbers of its windows where it defines them.
_NAMED = {
    "stride": re.compile(r"(?i)\w*stride\w*"), "padding": re.compile(r"(?i)\w*pad(?:ding)?\w*"),
}  # fmt: skip
WINDOW = {"KH", "KW", "kernel_size", "weight_shape"}
# The sizes without which a function has one of a kind, and the conditions that this makes.
_OF_FILTERS = {"N": "n = 1", "C": "c = 1", "M": "m = 1"}
_OF_PLANES = {"N": "n = 1", "C": "c = 1"}
_PLANES = ("max_pool2d", "avg_pool2d", "batch_norm", "group_norm", "instance_norm")
_ALONE: dict[str, dict[str, str]] = {
    "conv2d": _OF_FILTERS,
    "conv_transpose2d": _OF_FILTERS,
    **dict.fromkeys(_PLANES, _OF_PLANES),
    **{name: {"N": "n = 1, t = 1"} for name in BY_TOKENS},
    "linear": {"N": "n = 1"},
}
_QUOTIENT = re.compile(r"(?:^|dim3\(|,)\s*\(?([NCMK])\)?\s*/\s*(\d+)\s*(?=$|[,)])")
FOUR = re.compile(r"\bfloat4\b")
CAUSAL = re.compile(r"(?i)causal|mask|<=|>\s*\w+\s*[;)]")


def add_conditions(code: Code, guess: Guess) -> None:
    """Add the conditions that code shows to a guess, and what of them it leaves open."""
    operator = operator_of(guess.function)
    used = {word for one in guess.arguments for word in re.findall(r"\w+", one)}
    guess.conditions += _of_elements(code.body, operator, guess.arguments)
    _of_options(code, guess, operator, used)
    guess.conditions += _of_optional(code.body, guess, operator)
    _of_windows(code, guess, operator, used)
    if operator in STEPS:
        _of_steps(code, guess, operator, used)
    if operator == "add":
        _of_sums(code, guess)
    if operator in LOSSES:
        _of_losses(code, guess, operator)
    if operator == "scaled_dot_product_attention":
        _of_attention(code, guess, used)


def alone(guess: Guess, sizes: Sequence[str] = ()) -> list[str]:
    """Return that sizes which neither arguments nor a launch use are 1, as of one image."""
    used = {word for one in (*guess.arguments, *sizes) for word in re.findall(r"\w+", one)}
    letters = _ALONE.get(operator_of(guess.function), {})
    known = {condition.partition(" ")[0] for condition in guess.conditions}
    said = [one for letter, of in letters.items() if letter not in used for one in of.split(", ")]
    if guess.function.endswith("_grad_bias"):
        said = [one for one in said if one[0] in "nm"]
    return [one for one in said if one.partition(" ")[0] not in known]


def rounded_down(guess: Guess, sizes: Sequence[str]) -> list[str]:
    """Return the conditions of launches whose quotients must have no remainder."""
    quotients = [one for size in sizes for one in _QUOTIENT.findall(size)]
    of_linear = operator_of(guess.function) == "linear"
    axes = {"C": "k"} if of_linear else {}
    return [f"{axes.get(size, size.lower())} % {by} == 0" for size, by in quotients]


def reached(text: str, body: str) -> str:
    """Return code with the functions and macros of a text that it calls, and those they call."""
    functions = {one.name.rpartition("::")[2]: one.body for one in functions_in(text)}
    macros = dict(re.findall(r"#[ \t]*define[ \t]+(\w+)(?:\([^)]*\))?((?:[^\\\n]|\\\n)*)", text))
    found, before = body, ""
    for _ in range(4):
        words = {*re.findall(r"\w+", found)} - {*re.findall(r"\w+", before)}
        if not words:
            break
        before = found
        found += "".join(of for name, of in (*functions.items(), *macros.items()) if name in words)
    return found


def _of_elements(plain: str, operator: str, arguments: Sequence[str]) -> list[str]:
    found = []
    if operator in ROWWISE:
        found.append("axes = 1" if "z.size" in arguments else "axis = -1")
    if FOUR.search(plain) and operator in (*COUNTED, *ROWWISE):
        found.append(f"{'size' if operator in COUNTED else 'length'} % 4 == 0")
    return found


def _of_options(code: Code, guess: Guess, operator: str, used: set[str]) -> None:
    """Add conditions of options that are numbers in the text."""
    plain, conditions = code.body, guess.conditions
    if operator in NORMALISING and "eps" not in used:
        said = {float(one) for one in re.findall(r"\b1e-0?\d+(?=f?\b)", plain)}
        said |= {v for n, v in constants(code.text).items() if n in ("EPS", "EPSILON", "eps")}
        conditions += [f"eps = {min(said)}"] if len(said) == 1 else []
    if operator == "leaky_relu" and "negative_slope" not in used:
        said = {float(one) for one in re.findall(r"(?<![\w.])0?\.\d+(?=f?\b)", plain)}
        conditions += [f"negative_slope = {min(said)}"] if len(said) == 1 else []
    if operator == "elu" and "alpha" not in used:
        conditions.append(f"alpha = {constants(code.text).get('ALPHA', 1.0)}")
    if operator == "gelu":
        whole = reached(code.text, plain)
        by = [of for word, of in (("tanh", "tanh"), ("erf", "none")) if word in whole]
        conditions += [f"approximate = {of}" for of in by[:1]]
        guess.unknown += [] if by else ["whether its approximation is by tanh"]
    if operator == "batch_norm":
        given = "running_mean" in used and "scratch" not in used
        conditions.append(f"training = {not given}")


def _of_optional(plain: str, guess: Guess, operator: str) -> list[str]:
    """Return which arrays that may be None are given always, or never."""
    found = []
    for name in OPTIONAL.get(operator, ()):
        if name in guess.arguments:
            found += [] if is_asked_for(plain, name) else [f"{name} required"]
        elif guess.function == operator and f"{name} absent" not in guess.conditions:
            found.append(f"{name} absent")
    return found


def _of_windows(code: Code, guess: Guess, operator: str, used: set[str]) -> None:
    """Add the options of windows: those that the text defines, else the usual ones."""
    if operator not in SPATIAL:
        return
    numbers = {n: v for n, v in constants(code.text).items() if re.search(rf"\b{n}\b", code.body)}
    for name, (letters, neutral) in SPATIAL[operator].items():
        named = _NAMED.get(name)
        said = [v for n, v in numbers.items() if named is not None and named.fullmatch(n)]
        if used & {name, *letters}:
            continue
        guess.conditions.append(f"{name} = {said[0] if len(said) == 1 else neutral}")
    if guess.function.endswith("_bias"):
        return
    if not used & WINDOW:
        guess.unknown.append("how large its windows are")
    elif operator.endswith("pool2d") and not used & {"stride", "SH", "SW"}:
        _of_steps_of_windows(code, guess, numbers)


def _of_steps_of_windows(code: Code, guess: Guess, numbers: dict[str, int | float]) -> None:
    """Add stride == kernel_size where the code moves windows by their size."""
    sizes = [name_of(one) for one, of in zip(code.each, guess.arguments, strict=True) if of == "KH"]
    said = [v for n, v in numbers.items() if _NAMED["stride"].fullmatch(n)]
    beside = any(re.search(rf"\*\s*{n}\b|\b{n}\s*\*", code.body) for n in sizes)
    if len(said) == 1:
        guess.conditions.append(f"stride = {said[0]}")
    elif beside:
        guess.conditions.append("stride == kernel_size")
    else:
        guess.unknown.append("how far its windows move: stride")


def _of_steps(code: Code, guess: Guess, operator: str, used: set[str]) -> None:
    """Add what a step of an optimiser does without: no decay, no dampening."""
    options = [name for name, of in HAVE.items() if operator in of]
    neutral = {"weight_decay": "0", "dampening": "0"}
    missing = [one for one in options if one not in used]
    guess.conditions += [f"{one} = {neutral[one]}" for one in missing if one in neutral]
    guess.unknown += [f"what {one} is" for one in missing if one not in neutral]
    if operator != "sgd_momentum_step":
        return
    guess.conditions += ["nesterov = False", "momentum_buffer required"]
    given = {of: name_of(one) for one, of in zip(code.each, guess.arguments, strict=True)}
    factor, rate = given.get("momentum", "momentum"), given.get("learning_rate", "lr")
    buffer = given.get("copy(momentum_buffer)", "")
    set_by = re.search(rf"\b{buffer}\s*\[[^;=]*\]\s*=([^;]*);", code.body) if buffer else None
    if set_by is None or re.search(rf"\b{rate}\b", set_by[1]):
        guess.unknown.append("whether its buffer holds gradients, as the protocol's, or steps")
    if len(re.findall(rf"\b{factor}\b", code.body)) != 1 or re.search("(?i)nesterov", code.body):
        guess.unknown.append("whether its momentum is Nesterov's or dampened")


def _of_sums(code: Code, guess: Guess) -> None:
    """Add that a sum has no factor, if it is one."""
    given = [of.removeprefix("copy(").rstrip(")") for of in guess.arguments]
    names = [
        code.passed.get(name_of(one), name_of(one))
        for one, of in zip(code.each, given, strict=True) if of in ("input", "other")
    ]  # fmt: skip
    at = r"\s*\[\s*(\w+)\s*\]\W{0,3}"
    body = code.body
    is_sum = len(names) == 2 and any(
        re.search(rf"\b{one}{at}\s*\+\s*[\w(&\s]*\b{other}\s*\[\s*\1\s*\]\W{{0,3}};", body)
        or re.search(rf"\b{one}{at}\s*\+=\s*{other}\s*\[\s*\1\s*\]\s*;", body)
        for one, other in (names, names[::-1])
    )
    if not is_sum and not re.search(r"=\s*\w+\.x\s*\+\s*\w+\.x\s*;", body):
        guess.unknown.append("whether it is a plain sum of two arrays")
    if "alpha" not in guess.arguments:
        guess.conditions.append("alpha = 1")
    guess.conditions.append("broadcast = False")


def _of_losses(code: Code, guess: Guess, operator: str) -> None:
    """Add whether a loss is the mean or the sum, by a division by how many there are."""
    pairs = [*zip(code.each, guess.arguments, strict=True)]
    rows = [
        code.passed.get(name_of(one), name_of(one)) for one, of in pairs if of in ("N", "N * C")
    ]
    floats = any(of == "target" and re.search(r"float|double", one) for one, of in pairs)
    if operator == "cross_entropy_loss":
        guess.conditions += ["ignore_index = -100", "label_smoothing = 0"]
    if any(name_of(one) == "losses" for one, _ in pairs):
        guess.unknown.append("a loss for each row, which the protocol has with ignored labels only")
        return
    if operator.startswith("cross_entropy") and floats:
        guess.unknown.append("its target: integers here, a class for each row")
    if "reduction" in guess.arguments or "mean" in guess.arguments:
        return
    if len(rows) != 1:
        guess.unknown.append("whether it is the mean or the sum: reduction")
        return
    divides = re.search(rf"/\s*(?:\(\w+\)\s*)?\(?\s*(?:\(\w+\)\s*)?{rows[0]}\b", code.body)
    guess.conditions.append(f"reduction = {'mean' if divides else 'sum'}")


def _of_attention(code: Code, guess: Guess, used: set[str]) -> None:
    """Add what attention goes over: one head, or a batch of them, without a mask."""
    sizes = [of for one, of in zip(code.each, guess.arguments, strict=True)
             if "*" not in one and of in ("N", "Q", "L", "E")]  # fmt: skip
    guess.conditions += ["attn_mask absent", "is_causal = False", "l == s", "e == v", "q == h"]
    if sizes == ["L", "E"]:
        guess.conditions += ["n = 1", "h = 1"]
    elif sizes != ["N", "Q", "L", "E"]:
        guess.unknown.append("how its arrays lie: [N, H, T, E] in the protocol")
    if CAUSAL.search(code.body):
        guess.unknown.append("whether it hides later positions")
    if "scale" not in used and "sqrt" not in code.body:
        guess.unknown.append("by what it scales the products of queries and keys")
    elif "scale" not in used:
        guess.conditions.append("scale = None")
