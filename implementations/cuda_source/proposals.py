"""Comments that a file of CUDA C++ or C could have: what names, types and launches let one guess.

    // gradoracle: relu = relu_kernel<<<ceil_div(z.size, 256), 256>>>(z, y, z.size)

A host function that launches the kernel is called in its place, where its parameters say more than
the launch: its sizes are what the author passes, and no launch has to be put in other words.  In a
file of C every function with arrays is called.  Each is a proposal for the author to read; what
could not be guessed is listed below it.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from gradoracle.implementations.cuda_source.arguments import (
    Code,
    Guess,
    arguments_of,
    is_pointer,
)
from gradoracle.implementations.cuda_source.domains import (
    add_conditions,
    alone,
    rounded_down,
)
from gradoracle.implementations.cuda_source.expressions import constants
from gradoracle.implementations.cuda_source.grids import grid_of
from gradoracle.implementations.cuda_source.launches import (
    Defined,
    Host,
    Launched,
    functions_in,
    hosts,
    launch_of,
    namespaces,
    template_of,
)
from gradoracle.implementations.cuda_source.layers import SIDES, product_guess
from gradoracle.implementations.cuda_source.names import (
    function_with,
    gradients_of,
    name_of,
    names_in,
)
from gradoracle.implementations.cuda_source.proposed_text import Proposal, with_proposals
from gradoracle.implementations.cuda_source.results import operator_of
from gradoracle.implementations.cuda_source.sizes import count_of, sizes_among
from gradoracle.implementations.cuda_source.types import (
    aliases,
    given_to,
    sums_in_float,
    template_names,
    types_of,
)
from gradoracle.implementations.cuda_source.words import COUNTED, POINTWISE, ROWWISE
from gradoracle.implementations.hostcuda.text import braced, code_only, split, without_comments
from gradoracle.implementations.hostcuda.translation import Found, found_kernels

__all__ = ["Proposal", "proposals", "with_proposals"]
ROUNDED_UP = re.compile(r"\b(?:i?div_?up|ceil_?div|div_?ceil|cdiv)\s*\(", re.IGNORECASE)
NO_FUNCTION = "no function of the protocol has a name like it"
OF_FLOATS = r"\b(?:{0})\s*(?:const\s*)?(?:\*|\w+\s*\[)"
SAVED_IN = re.compile(r"\bscratch\((\w+), (?:N \* T|z\.size)\)")
SIZE_OF = re.compile(r"\bsizeof\s*\(\s*(?:float|int)\s*\)")
_FUNCTIONS_OF_SIZES = ("ceil_div", "dim3", "min", "max", "shape", "size")


def proposals(text: str, *, calls: bool = False) -> list[Proposal]:
    """Return a proposal for every kernel of a text, in the order of the text.

    Kernels that a host function launches have its one, if less of that is unknown.  With `calls`
    the text is C: each function that is given floats by a pointer has one.
    """
    if calls:
        return _after_what_saves([
            _call(text, Host(one.name, one.parameters, (), {}, one.body, one.template))
            or Proposal(one.name, "", (NO_FUNCTION,))
            for one in functions_in(text)
            if _takes_floats(text, one) and "__global__" not in one.before
        ], [])  # fmt: skip
    code = code_only(text)
    found = {one.name: one for one in found_kernels(code)}
    bodies = {name: code[one.end : braced(code, one.end)] for name, one in found.items()}
    of = {name: _proposal(text, one, bodies[name]) for name, one in found.items()}
    for host in hosts(text, {name: one.parameters for name, one in found.items()}):
        if host.name in found:  # an overload: the kernel would be called
            continue
        body = "".join((host.body, *(bodies[name] for name in host.launches)))
        proposal = _call(text, host._replace(body=body))
        launched = [of[name] for name in host.launches]
        if proposal and all(
            len(proposal.unknown) < len(one.unknown) or not one.comment for one in launched
        ):
            of.update(dict.fromkeys(host.launches, proposal))
    whole = [*dict.fromkeys(of.values())]
    needs = any(SAVED_IN.search(one.comment) for one in whole)
    return _after_what_saves(whole, _references(text) if needs else [])


def _references(text: str) -> list[Proposal]:
    """Return proposals for functions of a text in CUDA that run on the CPU, without launches."""
    plain = (
        one for one in functions_in(text)
        if "__" not in one.before and "<<<" not in one.body and _takes_floats(text, one)
    )  # fmt: skip
    found = (
        _call(text, Host(one.name, one.parameters, (), {}, one.body, one.template)) for one in plain
    )
    return [one for one in found if one is not None]


def _takes_floats(text: str, one: Defined) -> bool:
    names = ("float", "double", *aliases(text), *template_names(one.template))
    return re.search(OF_FLOATS.format("|".join(names)), one.parameters) is not None


def _after_what_saves(found: list[Proposal], references: list[Proposal]) -> list[Proposal]:
    """Return proposals; before a gradient that is given statistics, what saves them is called.

    That is a function among them, or a reference on the CPU.
    """
    saving = {
        one.operator: one for one in (*references, *found)
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
            domain = dict.fromkeys((*one.domain, *before.domain))
            whole.append(replace(one, before=f"{functions} = {call}", domain=(*domain,)))
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
    code = Code(host.name, text, host.parameters, host.body, host.passed)
    guess = _guess(code, function, [launch_of(text, name) for name in host.launches])
    angles = given_to(template_of(text, host.name.rpartition("::")[2]))
    types = types_of(text, host.parameters, host.template, host.body, angles)
    called = f"{host.name}{types.template}({', '.join(guess.arguments)})"
    comment = _line(f"{_functions(guess.function, host.parameters)} = {called}")
    unknown = dict.fromkeys((*guess.unknown, *types.unknown))
    conditions = (*guess.conditions, *alone(guess))
    return Proposal(host.name, comment, (*unknown,), conditions, "", types.dtypes)


def _guess(code: Code, function: str, launched: Sequence[Launched | None]) -> Guess:
    """Return what the parameters of a function are given, with the conditions of its calls."""
    along_k = any(map(_is_along_k, launched))
    guess = product_guess(code, function, blas=not along_k)
    if guess is None:
        guess = arguments_of(code, function)
        guess.unknown += [SIDES] if function == "matmul" else []
    add_conditions(code, guess)
    return guess


def _functions(function: str, parameters: str) -> str:
    """Return the functions of which a kernel writes the results: those of several gradients."""
    several = gradients_of(function, parameters)
    return ", ".join(several.values()) if len(several) > 1 else function


def _proposal(text: str, kernel: Found, body: str) -> Proposal:
    function = function_with(kernel.name, kernel.parameters)
    if function is None:
        return Proposal(kernel.name, "", (NO_FUNCTION,))
    code = Code(kernel.name, text, kernel.parameters, body, {})
    launched = launch_of(text, kernel.name)
    guess = _guess(code, function, [launched])
    template = next((one.template for one in functions_in(text)
                     if one.name.rpartition("::")[2] == kernel.name), "")  # fmt: skip
    types = types_of(text, kernel.parameters, template, body,
                     given_to(template_of(text, kernel.name)))  # fmt: skip
    name = f"{namespaces(code_only(text)[: kernel.start])}{kernel.name}{types.template}"
    given = dict(zip(names_in(kernel.parameters), guess.arguments, strict=True))
    sizes, more = _launch(without_comments(text), launched, guess.function, given, body)
    of = _functions(guess.function, kernel.parameters)
    comment = _line(f"{of} = {name}<<<{', '.join(sizes)}>>>({', '.join(guess.arguments)})")
    unknown = dict.fromkeys((*guess.unknown, *types.unknown, *more))
    conditions = (*guess.conditions, *alone(guess, sizes), *rounded_down(guess, sizes))
    in_float = sums_in_float(body)
    return Proposal(kernel.name, comment, (*unknown,), conditions, "", types.dtypes, in_float)


def _line(comment: str) -> str:
    """Return a comment in one line, however its parts stood in the text."""
    return " ".join(comment.split())


def _launch(
    plain: str, launched: Launched | None, function: str, given: dict[str, str], body: str
) -> tuple[list[str], list[str]]:
    """Return blocks, threads and bytes, as the host's code launches a kernel or as kernels are.

    `given` has what its parameters are given.  The second list says what is not known.
    """
    elementwise = operator_of(function) in COUNTED
    if launched is not None and len(launched.sizes) > 1:
        sizes = launched.sizes[:3]  # without a stream
        if elementwise and re.fullmatch(r"\d+", sizes[1]):
            return [f"ceil_div({count_of(function)}, {sizes[1]})", *sizes[1:]], []
        ours = {
            said: given[parameter]
            for said, parameter in zip(launched.arguments, given, strict=False)
            if said.isidentifier()
        }
        if function != "matmul":  # whose sizes are named in all ways
            around = [one for one in split(launched.within) if not is_pointer(one)]
            ours = {**sizes_among(function, [*map(name_of, around)], []), **ours}
        said = [_in_our_words(one, ours) for one in sizes]
        # Of the host's words: its N need not be ours.
        plainly = " ".join(ROUNDED_UP.sub("(", SIZE_OF.sub("", one)) for one in sizes)
        words = {*re.findall(r"(?<![\w.])[A-Za-z_]\w*", plainly)}
        strange = sorted(words - {*_FUNCTIONS_OF_SIZES, *ours, *constants(plain)})
        return said, [f"what {', '.join(strange)} of its launch is"] if strange else []
    if elementwise:
        return [f"ceil_div({count_of(function)}, 256)", "256"], []
    if found := grid_of(body, given, constants(plain)):
        return found, []
    return ["?", "?"], ["how many blocks and threads run it"]


def _is_along_k(launched: Launched | None) -> bool:
    """Return whether a launch has blocks along K: BLAS sums over K, others name a side so."""
    return launched is not None and any(re.search(r"\bK\b", one) for one in launched.sizes[:1])


def _in_our_words(expression: str, given: dict[str, str]) -> str:
    """Return an expression of a launch with `ceil_div`, and the sizes as the protocol has them."""
    expression = SIZE_OF.sub("4", ROUNDED_UP.sub("ceil_div(", expression))
    return re.sub(r"\b[A-Za-z_]\w*\b", partial(_replaced, given), expression)


def _replaced(given: dict[str, str], found: re.Match[str]) -> str:
    value = given.get(found[0], found[0])
    return f"({value})" if " " in value else value
