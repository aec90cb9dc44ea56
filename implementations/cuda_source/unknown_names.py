"""Names in comments that no call of their function has: an error when the file is loaded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from inspect import signature

from gradoracle.implementations.cuda_source.comments import SLOT, Launch, Plan
from gradoracle.implementations.cuda_source.expressions import FUNCTIONS, SourceError
from gradoracle.implementations.cuda_source.results import ARRAYS, RESULTS

SIZE = re.compile(r"[A-Z]{1,2}")  # whether a call has one follows from its arrays
OF_ARRAYS = ("size", "ndim", "shape")
WORDS = {"NULL", "nullptr", "mean", "True", "False"}
MAKERS = ("T", "zero", "copy", "scratch")


def require_known(plans: Mapping[str, Plan], constants: Mapping[str, object]) -> None:
    """Raise SourceError where a comment uses a name that no call of its function has.

    `constants` are the numbers that the text gives names to.
    """
    for function, plan in plans.items():
        known = {*_known(function), *constants, *ARRAYS, *WORDS}
        for launch in plan.launches:
            for node in (*launch.sizes, *launch.arguments):
                for wrong, among in _unknown(node, known):
                    raise SourceError(_message(launch, function, wrong, among))


@cache
def _known(function: str) -> frozenset[str]:
    """Return the arguments, results and options of a function."""
    from gradoracle.implementations import im2col  # noqa: PLC0415 - few processes need it

    results = RESULTS[function]
    made = getattr(im2col, function, None)
    options = () if made is None else signature(made).parameters
    return frozenset((*results.arguments, *results.names, *options))


def _unknown(node: ast.expr, known: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield what is not known in an expression, and what stands in such a place."""
    scratch = {
        call.args[0].id
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "scratch"
        and call.args and isinstance(call.args[0], ast.Name)
    }  # fmt: skip
    called = {id(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and part.attr not in OF_ARRAYS:
            array = ast.unparse(part.value)
            yield ast.unparse(part), [f"{array}.{one}" for one in OF_ARRAYS]
        if not isinstance(part, ast.Name) or part.id.startswith(SLOT):
            continue
        if id(part) in called:
            if part.id not in (*FUNCTIONS, *MAKERS):
                yield part.id, [*FUNCTIONS, *MAKERS]
        elif part.id not in known | scratch and not SIZE.fullmatch(part.id):
            yield part.id, sorted(known)


def _message(launch: Launch, function: str, wrong: str, among: list[str]) -> str:
    near = get_close_matches(wrong, among, 1, 0.7)
    own = sorted(_known(function))
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(own)}, and sizes"
    return f"{launch.where}: {wrong!r} means nothing in a call of {function}{hint}"
