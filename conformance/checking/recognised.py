"""Answers that follow another convention than the protocol's, told in one line.

A mismatch of a function's plain answers is looked at once more: whether the function has other
parameters, returns its result in a container, in a wider dtype, with channels last or without the
axis of images, takes its arguments so, has another value for an option that it does not take,
follows a convention that contracts have a policy for, or has the digits of a coarser format.
What is recognised is what small calls confirm: given and read in the other convention, every answer
is right that was wrong.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.contract import POLICIES, Contract
from gradoracle.conformance.backends.declarations import of_fixed_option, of_policy
from gradoracle.conformance.backends.mismatch import RAISED, Declined, Mismatch
from gradoracle.conformance.drawing.choices import ROW, Choices
from gradoracle.conformance.operators.domain import has_neutral
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import Claimant, verdict
from gradoracle.oracle.axes import IMAGES, Axes
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    algebra,
    argument_names,
    is_data,
    is_pointwise,
    optional,
    output_of,
)
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, data_dtype, truth
from gradoracle.oracle.float_formats import FORMATS, is_real
from gradoracle.oracle.formulas.conventions import under
from gradoracle.oracle.shapes import Array

MOST, ENOUGH, FEWEST = 24, 4, 2  # small calls: made, and wrong ones that a reading explains
CONTAINER = re.compile(r"returned an? (\w+)(?: of \d+)? \(")
# Values of options that functions are often written for, beside those that a record lists.
OFTEN: Mapping[str, tuple[Any, ...]] = {
    "eps": (1e-6, 1e-8, 1e-12, 1e-7, 1e-3), "approximate": ("tanh", "none"),
    "negative_slope": (0.2, 0.1, 0.01, 0.3), "training": (False, True),
    "reduction": ("sum", "mean"),
}  # fmt: skip
# Formats of fewer digits, of which a step may have been computed, the finest first.
COARSER = {
    "float64": (("float32", "float32"),),
    "float32": (("float16", "float16, or TF32"), ("bfloat16", "bfloat16")),
}
ROOM = 4  # times the bound: what was given may be rounded, too
NEAR = 12  # errors are near the unit roundoff, of the largest number of an answer
TUPLE = "return one array: what the gradient needs again it is given by its own arguments"
NONE = "is a return statement missing?"


class Plain(NamedTuple):
    """A call, and what the function itself made of it: None if it refused."""

    formula: Formula
    call: Call
    got: Array | None


class Claims(NamedTuple):
    """What a backend might claim."""

    contract: Contract


@dataclass(frozen=True)
class Reading:
    """Another convention: a sentence, how calls are given in it and how answers are read.

    `give` returns None for calls that have no such form.
    """

    sentence: str
    read: Callable[[Plain, Array], Array]
    give: Callable[[Call], Call | None] | None = None  # None: as they are


def recognised(
    backend: Backend,
    operator: Operator,
    formula: Formula,
    mismatch: Mismatch,
    dtype: str,
    seed: int,
) -> str:
    """Return the line that says which other convention explains a mismatch, or "".

    `formula` is the one whose plain answer is wrong, `dtype` the one that it is wrong in.
    """
    line = _of_signature(backend, formula, mismatch) or _of_container(formula, mismatch)
    if line:
        return line
    ended = {*backend.ended}
    try:
        found = _of_values(backend, operator, formula, _dtypes(mismatch, dtype), seed)
    except Mismatch:  # it ended on arguments in another form
        return ""
    finally:
        backend.ended &= ended
    return f"{formula.__name__}: {found}" if found else ""


def _dtypes(mismatch: Mismatch, dtype: str) -> str:
    """Return the dtype to look at: what is wrong with a wider answer shows in a narrow one."""
    return "float32" if mismatch.kind == "dtype" and dtype == "float64" else dtype


# -- parameters -----------------------------------------------------------------------------------


def _of_signature(backend: Backend, formula: Formula, mismatch: Mismatch) -> str:
    """Return what is to be changed about a function's parameters, if a call does not fit them."""
    name = output_of(formula).function
    own = backend.asked.description.signatures.get(name)
    if own is None or not mismatch.kind.startswith(f"{RAISED}TypeError"):
        return ""
    wrong = "; ".join(_unlike(formula, own))
    return f"{name}: takes ({parameters(formula)}); yours is ({own}): {wrong}" if wrong else ""


def parameters(formula: Formula) -> str:
    """Return the protocol's parameters of a formula's function, as Python writes them."""
    arrays, options = argument_names(formula)
    given = [f"{name}=None" if name in optional(formula) else name for name in arrays]
    return ", ".join([*given, *(["*"] if options else []), *options])


def _unlike(formula: Formula, own: str) -> Iterator[str]:
    """Yield what must change about parameters, so that the protocol's call fits them."""
    try:
        (function,) = ast.parse(f"def function({own}): pass").body
    except (SyntaxError, ValueError):
        return
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 - for the type checker
    given, (arrays, options) = function.args, argument_names(formula)
    places = [one.arg for one in (*given.posonlyargs, *given.args)]
    by_name = {one.arg for one in (*given.args[max(0, len(arrays) - len(given.posonlyargs)) :],
                                   *given.kwonlyargs)}  # fmt: skip
    absent = [name for name in arrays[len(places) :] if name not in optional(formula)]
    if absent and given.vararg is None:
        yield f"add {', '.join(absent)}"
    missing = [n for n in options if n not in by_name and not has_neutral(formula, n)]
    if missing and given.kwarg is None:
        yield f"add {', '.join(missing)} by name"
    needed = places[len(arrays) : len(places) - len(given.defaults)]
    needed += [k.arg for k, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is None]
    extra = [name for name in needed if name not in options]
    if extra:
        yield f"give {', '.join(extra)} a default, for nothing is passed there"


# -- containers -----------------------------------------------------------------------------------


def _of_container(formula: Formula, mismatch: Mismatch) -> str:
    """Return what to return instead of a result that is no array."""
    said = mismatch.headline.partition(": ")[2]
    found = CONTAINER.match(said)
    if found is None or ", want a NumPy array" not in said:
        return ""
    kind = found[1]
    first = next((n for n in argument_names(formula)[0]), "x")
    advice = {"tuple": TUPLE, "NoneType": NONE}.get(kind, f"return np.asarray(y, {first}.dtype)")
    return f"{mismatch.headline}: {advice}"


# -- values ---------------------------------------------------------------------------------------


def _of_values(
    backend: Backend, operator: Operator, formula: Formula, dtype: str, seed: int
) -> str:
    """Return the sentence of the reading by which all wrong answers to small calls are right."""
    styles = operator.styles.of("any")
    asked = [*_asked(backend, operator, formula, styles[:1], dtype, seed)]
    wrong, plain = [one for one in asked if not _is_right(backend, one, one.got)], [*asked]
    if len(wrong) >= FEWEST:
        for reading in _readings(operator, formula, wrong):
            if _explains(backend, reading, wrong):
                return reading.sentence
        for name, value in _other_values(backend, operator, formula):
            if _is_for(backend, operator, asked, name, value):
                said = f"{name} = {f'{value:g}' if type(value) is float else value}"
                # Of a gradient alone: what goes forward may be right without.
                line = of_fixed_option(backend, output_of(formula).function, said)
                return f"the values are right for {said}: {line} declares that"
    policies = [*_policies(backend, asked[0])] if asked else []
    if policies:
        for some in (styles, operator.styles.of("floats")):
            asked += _asked(backend, operator, formula, some, dtype, seed)
    for policy, rule in policies:
        if _is_by(backend, operator, asked, policy, rule):
            return (
                f'the values are right under the policy "{policy}": {json.dumps(rule)}; if that is '
                f"intended, declare {of_policy(backend, policy, rule)}"
            )
    return _of_fewer_digits(plain, wrong)


def _of_fewer_digits(asked: Sequence[Plain], wrong: Sequence[Plain]) -> str:
    """Return in which format the answers are as accurate as its rounding leaves them.

    They are of the right dtype: of others that is what is wrong.
    """
    dtypes = {
        one.got.dtype == answer_dtype(one.formula, one.call) for one in wrong if one.got is not None
    }
    if len(wrong) < FEWEST or dtypes != {True}:
        return ""
    given = data_dtype(wrong[0].call).name
    for name, words in COARSER.get(given, ()):
        off = [_off(one, name) for one in asked]
        known = [one for one in off if one is not None]
        if len(known) < len(off) or not all(share <= 1 for share, _ in known):
            continue
        unit = 2.0 ** -FORMATS[name].bits
        sizes = [size for _, size in known if size]  # none where a dtype alone is wrong
        if sizes and unit / NEAR < median(sizes) < unit * NEAR:
            return f"the values are right to the digits of {words}: is something computed in it?"
    return ""


def _off(one: Plain, name: str) -> tuple[float, float] | None:
    """Return the largest error over what rounding leaves in a format, and over the largest number.

    None where there is no answer to compare, or its numbers leave the format's range.
    """
    right = truth(one.formula, one.call)
    want, bound = right.as_float(np.dtype(np.float64)), right.bound(name, name)
    if one.got is None or one.got.shape != want.shape or not np.isfinite(bound).all():
        return None
    with np.errstate(all="ignore"):
        error = np.where(one.got == want, 0.0, abs(one.got.astype(np.float64) - want))
        shares = np.where(error > 0, error / (ROOM * bound), 0.0)
        if is_pointwise(one.formula):  # no sum, whose digits cancel: each element by itself
            alone = error / (NEAR * 2.0 ** -FORMATS[name].bits * abs(want))
            shares = np.maximum(shares, np.where(error > 0, alone, 0.0))
    largest = abs(want[np.isfinite(want)]).max(initial=0.0)
    if not np.isfinite(shares).all():
        return math.inf, math.inf
    return float(shares.max(initial=0.0)), float(error.max(initial=0.0) / (largest or 1.0))


def _other_values(
    backend: Backend, operator: Operator, formula: Formula
) -> Iterator[tuple[str, Any]]:
    """Yield other values for options that a function is not given, whose default was taken."""
    for name in sorted(backend.left_out(formula) & {*argument_names(formula)[1]}):
        listed = operator.values.get(name, ())
        known = (*OFTEN.get(name, ()), *(() if callable(listed) else listed))
        for value in dict.fromkeys(known):
            if isinstance(value, (bool, float, str)):
                yield name, value


def _is_for(
    backend: Backend, operator: Operator, asked: Sequence[Plain], name: str, value: Any
) -> bool:
    """Return whether all answers are right with another value of an option."""
    policies = backend.contract.policies
    for one in asked:
        of = value
        if isinstance(value, float):
            of = float(data_dtype(one.call).type(value))
        other = one._replace(call={**one.call, name: of})
        if operator.unsettled(policies, one.formula, other.call):
            continue
        try:
            if not _is_right(backend, other, one.got):
                return False
        except ValueError:  # there is no such call: its dy is of another result
            return False
    return True


def _policies(backend: Backend, one: Plain) -> Iterator[tuple[str, str | float]]:
    """Yield the policies under which another answer is right than under the contract."""
    mine = backend.contract.policies
    formula, call = under(mine, one.formula, one.call)
    for policy, rules in POLICIES.items():
        for rule in rules:
            of, by = under({**mine, policy: rule}, one.formula, one.call)
            if of is not formula or (by is one.call) != (call is one.call):
                yield policy, rule


def _is_by(
    backend: Backend, operator: Operator, asked: Sequence[Plain], policy: str, rule: str | float
) -> bool:
    """Return whether all answers are right under a policy, and some are wrong without it."""
    policies = {**backend.contract.policies, policy: rule}
    by, wrong = Claims(replace(backend.contract, policies=policies)), 0
    for one in asked:
        if operator.unsettled(policies, one.formula, one.call):
            continue
        if not _is_right(by, one, one.got):
            return False
        wrong += not _is_right(backend, one, one.got)
    return wrong >= FEWEST


def _asked(
    backend: Backend, operator: Operator, formula: Formula, styles: Sequence[Any], dtype: str,
    seed: int,
) -> Iterator[Plain]:  # fmt: skip
    """Yield small calls with their plain answers; declined ones are left out."""
    random = np.random.default_rng(seed % 2**64)
    for _, style in zip(range(MOST), cycle(styles), strict=False):
        drawn = operator.geometry(Choices(random.bytes(ROW)), "small")
        call = operator.call(drawn.sizes, style, drawn.seed, dtype)
        whole = all(array.size for array in call.values() if is_data(array))
        if not (whole and operator.has_answer(formula, call)):
            continue
        try:
            got: Array | None = backend.ask(formula, call)
        except Declined:
            continue
        except Mismatch:
            got = None
        if not operator.unsettled(backend.contract.policies, formula, call):
            yield Plain(formula, call, got)


def _explains(backend: Backend, reading: Reading, wrong: Sequence[Plain]) -> bool:
    """Return whether every wrong answer that a reading is about is right by it, and some are."""
    right = 0
    for one in wrong:
        got = one.got
        if reading.give is not None:
            given = reading.give(one.call)
            if given is None or not backend.is_inside(one.formula, given):
                continue
            refused, got = backend.refuses(one.formula, given)
            got = None if refused or not isinstance(got, np.ndarray) else got
        if got is None:
            continue
        try:
            read = reading.read(one, got)
        except (ValueError, IndexError):  # of another number of axes
            return False
        if not _is_right(backend, one, read):
            return False
        right += 1
        if right == ENOUGH:
            return True
    return right >= FEWEST


def _is_right(backend: Claimant, one: Plain, got: Array | None) -> bool:
    formula, call = one.formula, one.call
    if (
        got is None
        or got.shape != answer_shape(formula, call)
        or got.dtype != answer_dtype(formula, call)
    ):
        return False
    return not verdict(backend, formula, call, got).wrong.any()


def _readings(operator: Operator, formula: Formula, wrong: Sequence[Plain]) -> Iterator[Reading]:
    """Yield the conventions that are looked for, those of answers alone first."""
    axes, (first, *_) = operator.axes, argument_names(formula)[0]
    want = answer_dtype(formula, wrong[0].call)
    found = {one.got.dtype.name for one in wrong if one.got is not None}
    if len(found) == 1 and is_real(want):
        yield Reading(
            f"the values are right; the dtype is {min(found)} where {want} was given: return "
            f"y.astype({first}.dtype)",
            lambda _, got: _narrowed(got, want),
        )
    yield from _channels_last(operator, formula)
    if axes.rank and axes.batched:
        yield Reading(
            "the values are right, the axis of images is missing: return y[np.newaxis], or better "
            "take batches",
            lambda _, got: got[np.newaxis],
            lambda call: call if axes.sizes(call).get(IMAGES) == 1 else None,
        )
        yield Reading(
            "takes one image [C, ...] without the axis of images; the protocol gives a batch "
            "[N, C, ...]: call it for every image and stack the results",
            lambda _, got: got[np.newaxis] if algebra(formula).images == "kept" else got,
            lambda call: _one_image(axes, call),
        )


def _narrowed(got: Array, dtype: np.dtype[Any]) -> Array:
    """Return an answer in a narrower dtype.

    Raises:
        ValueError: it is not wider.
    """
    if not (is_real(got.dtype) and FORMATS[got.dtype.name].bits > FORMATS[dtype.name].bits):
        raise ValueError("it is not wider")
    with np.errstate(all="ignore"):
        return got.astype(dtype)


def _channels_last(operator: Operator, formula: Formula) -> Iterator[Reading]:
    """Yield the readings with channels as the last axis, and the ways a weight then has."""
    axes, rank = operator.axes, operator.axes.rank
    if not rank:
        return
    letters = {1: "NWC", 2: "NHWC", 3: "NTHWC"}[rank]
    last, first = (0, *range(2, rank + 2), 1), (0, rank + 1, *range(1, rank + 1))
    space = {n for n, of in axes.space.items() if of and n != "weight"}
    back = ", ".join(map(str, first))
    yield Reading(
        f"the values agree with channels last ({letters}): return y.transpose({back})",
        lambda _, got: np.transpose(got, first),
    )
    spatial = (*range(2, rank + 2),)
    of_weights = {"": (*range(rank + 2),)}
    if "weight" in argument_names(formula)[0] or "weight_shape" in argument_names(formula)[1]:
        of_weights = {
            " and weights as they are": (*range(rank + 2),),
            " and weights [M, ..., C]": (0, *spatial, 1),
            " and weights [..., C, M]": (*spatial, 1, 0),
        }
    for words, order in of_weights.items():
        orders = {**dict.fromkeys(space, last), "weight": order}
        of_weight = operator.argument_of(formula) == "weight"
        result = (*np.argsort(order).tolist(),) if of_weight else first
        yield Reading(
            f"the values agree with channels last ({letters}{words}): the protocol's arrays are "
            f"[N, C, ...]; transpose the arguments, and the result back by y.transpose({back})",
            partial(_put_back, result),
            partial(_transposed, axes, orders),
        )


def _put_back(order: Sequence[int], one: Plain, got: Array) -> Array:
    del one
    return np.transpose(got, order) if got.ndim > 1 else got


def _transposed(axes: Axes, orders: Mapping[str, Sequence[int]], call: Call) -> Call:
    """Return a call with its arrays, and the shapes among its options, in other orders."""
    changed: dict[str, Any] = {
        name: np.ascontiguousarray(np.transpose(call[name], order))
        for name, order in orders.items()
        if isinstance(call.get(name), np.ndarray) and call[name].ndim == len(order)
    }
    for option, name in axes.shapes.items():
        if option in call and name in orders:
            changed[option] = tuple(call[option][at] for at in orders[name])
    return {**call, **changed}


def _one_image(axes: Axes, call: Call) -> Call | None:
    """Return a call for one image without the axis of images; None where it has several."""
    sizes = axes.sizes(call)
    if sizes.get(IMAGES) != 1:
        return None
    changed: dict[str, Any] = {name: call[name][0] for name in axes.batched if is_given(call, name)}
    for option, name in axes.shapes.items():
        if option in call and name in axes.batched:
            changed[option] = call[option][1:]
    return {**call, **changed}


def is_given(call: Call, name: str) -> bool:
    """Return whether a call has an array of this name."""
    return isinstance(call.get(name), np.ndarray)
