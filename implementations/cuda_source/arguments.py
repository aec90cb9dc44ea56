"""What the parameters of a function are given: arrays, options and sizes of the protocol."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from gradoracle.implementations.cuda_source.launches import functions_in
from gradoracle.implementations.cuda_source.names import (
    gradients_of,
    in_words,
    is_optional,
    name_of,
    plain_name,
)
from gradoracle.implementations.cuda_source.products import written_in
from gradoracle.implementations.cuda_source.results import RESULTS, operator_of
from gradoracle.implementations.cuda_source.sizes import sizes_among
from gradoracle.implementations.cuda_source.words import (
    BY_TOKENS,
    GIVEN,
    HAVE,
    INPUTS,
    LOSSES,
    OF_OPERATOR,
    OPTIONS,
    OUTPUTS,
    POINTWISE,
    ROWWISE,
    SECOND,
    STEPS,
    STREAM,
    THREADS,
)
from gradoracle.implementations.hostcuda.text import split

# Statistics of rows that a normalisation saves for its gradients, by what is in their names.
SAVED = re.compile(
    r"(?i)^(?:d_)?(?:saved?_?)?(?:means?|mu|r_?std|inv_?std|inv_?var|rsigma|stats?)$"
)
ADDED_TO = r"\b{0}\s*\[[^;=]*\]\s*\+=|\batomicAdd\s*\(\s*&?\s*\(?\s*{0}\b"
SET = r"\b{0}\s*\[[^;=]*\]\s*=[^=]|(?i:\b\w*(?:memset|fill|zero|clear)\w*)\s*\(\s*(?:\w+,\s*)*{0}\b"
OF_INTEGERS = re.compile(r"\b(?:char|short|int|long|unsigned|bool|size_t|u?int\d+_t)\s*\*")


@dataclass
class Guess:
    """What a function of a file computes, what its parameters are given, and what is unknown."""

    function: str
    arguments: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)  # of the calls that it is made for


class Code(NamedTuple):
    """A function as the guesses read it; `passed` has other names for some of its parameters."""

    name: str
    text: str  # the file
    parameters: str
    body: str
    passed: Mapping[str, str]

    @property
    def each(self) -> list[str]:
        """The parameters, without defaults."""
        return [" ".join(one.partition("=")[0].split()) for one in split(self.parameters)]

    @property
    def pointers(self) -> list[str]:
        """Those that are pointers."""
        return [one for one in self.each if is_pointer(one)]

    @property
    def numbers(self) -> list[str]:
        """The names of those that are not."""
        return [name_of(one) for one in self.each if not is_pointer(one)]

    def names(self, parameter: str) -> dict[str, None]:
        """Return the names that a parameter has, in this function and in a kernel.

        A letter says less than the kernel's name for it.
        """
        name = name_of(parameter)
        both = (name, self.passed.get(name, name))
        return dict.fromkeys(both[::-1] if len(name) == 1 else both)


def is_pointer(parameter: str) -> bool:
    """Return whether a parameter is a pointer or an array."""
    return "*" in parameter or "[" in parameter


def arguments_of(code: Code, function: str) -> Guess:
    """Return what the parameters of a function are given, and what of it is unknown.

    Of the results of several gradient functions each is a *; what its code adds to is 0 before.
    """
    guess = Guess(function)
    gradients = gradients_of(function, code.parameters)
    sizes = sizes_among(function, code.numbers, guess.conditions)
    taken: set[str] = set()
    for one in code.each:
        names = code.names(one)
        is_one_of_several = len(gradients) > 1 and name_of(one) in gradients
        found = (_argument(code, one, name, function, sizes) for name in names)
        argument = "*" if is_one_of_several else next(filter(None, found), "?")
        if argument in taken:
            argument = saved_answer(name_of(one), function)
        elif argument in ("*", *RESULTS[function].names, *RESULTS[function].arguments):
            taken |= {argument} - {"*"}
        guess.arguments.append(argument)
    _by_elimination(code, guess, taken)
    _in_place(code, guess)
    _zeroed(code, guess)
    guess.unknown += _unknown(code, guess)
    return guess


def _zeroed(code: Code, guess: Guess) -> None:
    """Fill results with 0 before, that code adds to and does not set."""
    results = ("*", *RESULTS[guess.function].names)
    for i, (one, argument) in enumerate(zip(code.each, guess.arguments, strict=True)):
        if argument in results and is_added_to(code.body, code.names(one)):
            guess.arguments[i] = f"zero({argument})"


def _by_elimination(code: Code, guess: Guess, taken: set[str]) -> None:
    """Give the one pointer that is left the one array that is left, if the code uses it so."""
    results = RESULTS[guess.function]
    left = [i for i, one in enumerate(code.each)
            if guess.arguments[i] == "?" and is_pointer(one) and one.count("*") <= 1]  # fmt: skip
    written = [i for i in left if written_in(code.body, [*code.names(code.each[i])])]
    has_result = "*" in guess.arguments or taken & {*results.names}
    if len(written) == 1 and not has_result and len(results.names) == 1:
        guess.arguments[written[0]] = results.names[0]
        has_result = True
    # What is named as an answer, as probabilities are, is no input.
    read = [
        i for i in left
        if i not in written and plain_name(name_of(code.each[i])) not in (*OUTPUTS, "p")
    ]  # fmt: skip
    required = [one for one in results.arguments if one not in ("bias", "weight", "attn_mask")]
    missing = [one for one in required if one not in taken]
    if len(read) == len(missing) == 1 and has_result and guess.function not in STEPS:
        guess.arguments[read[0]] = missing[0]


def _in_place(code: Code, guess: Guess) -> None:
    """Give an array that code changes in place the result with its values."""
    function, pointers = guess.function, code.pointers
    if len(pointers) == 1 and function in (*POINTWISE, *ROWWISE) and "const" not in pointers[0]:
        guess.arguments[code.each.index(pointers[0])] = "copy(z)"
        return
    if function not in (*STEPS, "add") or {*RESULTS[function].names} & {*guess.arguments}:
        return
    changed = {"parameter", "exp_avg", "exp_avg_sq", "momentum_buffer", "input"}
    for i, one in enumerate(code.each):
        if guess.arguments[i] in changed and written_in(code.body, [*code.names(one)]):
            guess.arguments[i] = f"copy({guess.arguments[i]})"


def _unknown(code: Code, guess: Guess) -> list[str]:
    """Return what could not be guessed, parameter by parameter, and what may stand there."""
    pairs = zip(code.each, guess.arguments, strict=True)
    found = [f"the parameter {one!r}" for one, argument in pairs if argument == "?"]
    found = found or integers_for(code, guess)
    results = {wrapped for of in (*RESULTS[guess.function].names, "*") for wrapped in
               (of, f"zero({of})")}  # fmt: skip
    in_place = any(one.startswith("copy(") for one in guess.arguments)
    in_place = in_place or (guess.function in LOSSES and _returns_a_number(code))
    if not in_place and not results & {*guess.arguments} and code.pointers:
        found.append("no parameter looks like the result")
    used = {word for one in guess.arguments for word in re.findall(r"\w+", one)}
    return [*found, *(f"which parameter is {one}" for one in _needed(guess) if one not in used)]


def integers_for(code: Code, guess: Guess) -> list[str]:
    """Return which pointers to integers would be given floats."""
    known = {"target", "indices", "NULL", "?"}
    return [
        f"the parameter {one!r}, for which {argument} would hold no integers"
        for one, argument in zip(code.each, guess.arguments, strict=True)
        if is_pointer(one) and argument not in known and OF_INTEGERS.search(one)
    ]  # fmt: skip


def _needed(guess: Guess) -> list[str]:
    """Return the arrays without which a function computes nothing of its operator."""
    arguments = RESULTS[guess.function].arguments
    if "_grad" in guess.function:
        return [one for one in arguments if one == "grad_output"]
    optional = ("bias", "weight", "attn_mask", "running_mean", "running_var", "pos_weight")
    needs_weight = guess.function in ("conv2d", "conv_transpose2d", "linear", "prelu")
    return [one for one in arguments if one not in optional or (one == "weight" and needs_weight)]


def _returns_a_number(code: Code) -> bool:
    """Return whether a function returns a float: its result, where that is one number."""
    before = next((one.before for one in functions_in(code.text) if one.name == code.name), "")
    return re.search(r"\b(?:float|double|T)\s*$", before) is not None


def saved_answer(name: str, function: str) -> str:
    """Return the answer of the forward pass that a gradient is given, by its name; else "?"."""
    is_gradient = "_grad" in function and operator_of(function) in (*POINTWISE, *ROWWISE)
    return "scratch(y, z.size)" if is_gradient and name.lower() in (*OUTPUTS, "p") else "?"


def is_added_to(body: str, names: Iterable[str]) -> bool:
    """Return whether code adds to an array of one of some names that it never sets.

    A result that is scaled by beta is read, too, as BLAS does.
    """
    each = [*map(re.escape, names)]
    for name in (*each,):  # pointers to a part of it
        each += re.findall(rf"\*\s*(?:__restrict__\s*)?(\w+)\s*=\s*&?\s*{name}\b", body)
    if any(re.search(rf"(?i)\bbeta\s*\*\s*{name}\s*\[|\b{name}\s*\[[^;=]*\]\s*\*=\s*beta\b", body)
           for name in each):  # fmt: skip
        return True
    return any(re.search(ADDED_TO.format(name), body) for name in each) and not any(
        re.search(SET.format(name), body) for name in each
    )


def _argument(
    code: Code, parameter: str, name: str, function: str, sizes: Mapping[str, str]
) -> str:
    """Return what a parameter of a name is given, or nothing."""
    if STREAM.search(parameter):
        return "0"
    if parameter.count("*") > 1:
        return ""
    if is_pointer(parameter):
        return _array(code, name, function, written="const" not in parameter)
    return _number(code, name, function, sizes)


def _array(code: Code, name: str, function: str, *, written: bool) -> str:
    """Return the array that a pointer is given; NULL where the text asks if it is that."""
    results, word, operator = RESULTS[function], name.lower(), operator_of(function)
    is_gradient = "_grad" in function
    arrays = (*results.arguments, *results.names)
    plain = word.removeprefix("d_") if is_gradient else plain_name(name)
    named = _named(name, word if is_gradient else plain, operator, arrays)
    if named in arrays:
        return _written_statistic(code, name, named)
    if word in SECOND and "bias" in arrays:
        return "bias"
    if is_gradient and word in (*OUTPUTS, "p"):
        saved = saved_answer(name, function)
        return results.names[0] if saved == "?" and written else saved.replace("?", "")
    is_result = _is_result(word) if is_gradient else plain in OUTPUTS or plain.startswith("out")
    of_loss = operator in LOSSES and plain == "probs"  # it may be given them: no result
    if written and is_result and not of_loss:
        return results.names[0]
    if plain in INPUTS:
        first = (one for one in results.arguments if one in ("x", "z", "logits"))
        backward = function == f"{operator}_grad_input"
        return next(first, "x" if backward else results.arguments[0])
    return _other_array(code, name, plain, function)


def _named(name: str, word: str, operator: str, arrays: Sequence[str]) -> str:
    """Return the array that a name alone stands for."""
    if name in arrays and name not in OF_OPERATOR.get(operator, {}):
        return name
    plain = word.removeprefix("d_")
    own = OF_OPERATOR.get(operator, {}).get(word) or OF_OPERATOR.get(operator, {}).get(plain)
    if own in arrays:
        return own or ""
    return plain if plain in arrays else GIVEN.get(plain, "")


def _is_result(word: str) -> bool:
    """Return whether a word can be a gradient's name."""
    return word in OUTPUTS or word.startswith(("d", "out"))


def _written_statistic(code: Code, name: str, named: str) -> str:
    """Return an array; statistics of a batch that code computes are scratch."""
    if named in ("running_mean", "running_var") and written_in(code.body, [name]):
        return f"scratch({named}, C)"
    return named


def _other_array(code: Code, name: str, plain: str, function: str) -> str:
    """Return the array of a pointer whose name is none of an input or a result."""
    if function == "matmul" and plain in SECOND:
        return "other"
    if SAVED.match(name) and operator_of(function) in BY_TOKENS:
        return f"scratch({plain}, N * T)"
    return "NULL" if is_optional(code.text, [name]) else ""


def _number(code: Code, name: str, function: str, sizes: Mapping[str, str]) -> str:
    """Return the number that a parameter is given."""
    operator = operator_of(function)
    option = OPTIONS.get(in_words(name), "")
    if operator in HAVE.get(option, ()) and name not in ("N", "C", "T"):
        return _step(code, name) if option == "step" else option
    if name in sizes:
        return sizes[name]
    of_one_row = "z.size" in sizes.values()
    if operator in ROWWISE and re.fullmatch(r"(?i)temp(?:erature)?" + "|stride" * of_one_row, name):
        return "1"
    if operator == "leaky_relu" and name.lower() == "alpha":
        return "negative_slope"
    if name.lower() == "sqrt_block_size":
        return "16"
    return "256" if THREADS.fullmatch(name) else ""


def _step(code: Code, name: str) -> str:
    """Return the number of a step: code counts from 1 or from 0, which its powers show."""
    said = re.findall(
        rf"\bpow\w*\s*\([^,;]+,\s*(?:\(\w+\)\s*)?\(?\s*{name}\s*(\+\s*1)?\s*\)", code.body
    )
    return {"": "step", "+1": "step - 1"}.get(re.sub(r"\s", "", said[0]), "") if said else ""
