"""What names of kernels and their parameters say: functions of the protocol, and gradients."""

import re
from collections.abc import Iterable

from gradoracle.implementations.cuda_source.results import RESULTS, operator_of
from gradoracle.implementations.cuda_source.words import (
    BACKWARD,
    COMMON,
    GIVEN,
    INPUTS,
    LETTERS,
    ON_DEVICE,
    PRODUCT,
    WORDS,
)
from gradoracle.implementations.hostcuda.text import split, without_comments

# What names end in that says how, and not what, a kernel computes.
_HOW = re.compile(r"(?:_(?:kernel|forward|fwd|cpu|gpu|cuda|naive|f32|step|update)|\d+)+$")


def in_words(name: str) -> str:
    """Return a name in small letters with an underscore between its words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def function_of(kernel: str) -> str | None:
    """Return the function of the protocol that a kernel's name speaks of, if it is one's."""
    word = re.sub(r"_(?=\d)", "", in_words(kernel))
    names = {**{one: one for one in {*map(operator_of, RESULTS)}}, **WORDS}
    names |= {"".join(one.split("_")): of for one, of in names.items()}
    hits = [one for one in names if re.search(rf"(?<![a-z]){one}(?![a-z])|^{one}|{one}$", word)]
    if not hits and PRODUCT.search(word):
        hits = ["matmul"]
    hits = [one for one in hits if _is_meant(one, word)]
    if not hits:
        return None
    operator = names[max(hits, key=len)]
    if not BACKWARD.search(word):
        return operator if operator in RESULTS else None
    ends = [f"{operator}{end}" for end in ("_grad", "_grad_input", "_grad_x")]
    return next((one for one in ends if one in RESULTS), None)


def _is_meant(hit: str, word: str) -> bool:
    """Return whether a name with a word in it is about that; common words must be all of it."""
    rest = _HOW.sub("", word)
    if hit == "add":
        of = r"(?:vec(?:tor)?|elementwise|tensor|array|mat(?:rix)?)?_?add"
        return re.fullmatch(of, rest) is not None
    return hit not in COMMON or rest == hit


def function_with(kernel: str, parameters: str) -> str | None:
    """Return the function of a kernel by its name; a product with a weight is a linear layer."""
    function = function_of(kernel)
    names = {plain_name(one) for one in names_in(parameters)}
    layer = names & {"weight", "weights", "w"} and names & {"bias", "oc", "dbias", "dweight", "dw"}
    product, backward = (function or "").startswith("matmul"), BACKWARD.search(kernel)
    if product and backward and re.search(r"(?i)bias", kernel):
        return "linear_grad_bias"
    if function == "sgd_step" and names & {"momentum", "velocity", "momentum_buffer", "mu"}:
        return "sgd_momentum_step"
    if function == "cross_entropy_loss" and not re.search("(?i)ignore", parameters):
        return "cross_entropy"  # that of PyTorch's name leaves labels out
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
        name = name_of(one.partition("=")[0])
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
    return [name_of(one.partition("=")[0]) for one in split(parameters)]


def name_of(parameter: str) -> str:
    """Return the name of a parameter from its declaration."""
    words = re.sub(r"\[.*", "", parameter, flags=re.DOTALL).replace("*", " ").replace("&", " ")
    return (words.split() or [""])[-1]


def plain_name(name: str) -> str:
    """Return a name in small letters, without what says that it is on the host or the device."""
    word = ON_DEVICE.sub("", name if "_" in name else name.lower())
    return word.lower()


def letter_of(name: str) -> str:
    """Return the letter of the size that a name stands for; "" where it is none's."""
    words = {in_words(name), in_words(name).replace("_", "")}
    return next((of for pattern, of in LETTERS.items() if any(map(pattern.fullmatch, words))), "")


def is_asked_for(plain: str, name: str) -> bool:
    """Return whether a text asks if a pointer of some names is null."""
    words = [word for word, of in GIVEN.items() if of == name]
    return any(_is_optional(plain, word) for word in words)


def is_optional(text: str, names: Iterable[str]) -> bool:
    """Return whether a text asks if a pointer of one of these names is null."""
    plain = without_comments(text)
    return any(_is_optional(plain, name) for name in names)


def _is_optional(plain: str, name: str) -> bool:
    name = re.escape(name)
    asked = rf"\b{name}\s*(?:[!=]=\s*(?:nullptr|NULL|0)\b|\?|&&)|(?:!|\bif\s*\()\s*{name}\s*\)"
    return re.search(asked, plain) is not None
