"""One answer checked by the rounding bound of its formula: what `gradoracle` offers to any test."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.assertions.arrays import as_numpy, format_named
from gradoracle.conformance.assertions.calls import call_from, name_of, require_by_name, topic_of
from gradoracle.conformance.backends.contract import Contract, read_contract
from gradoracle.conformance.backends.mismatch import Answer, Mismatch
from gradoracle.conformance.misconceptions import Suspects
from gradoracle.conformance.operators.record import rounded
from gradoracle.conformance.properties.comparison import (
    Verdict,
    headline,
    require_form,
    truth_of,
    verdict,
)
from gradoracle.conformance.reports.explain import Topic
from gradoracle.conformance.reports.mismatch_text import in_a_line, row, wrong_elements
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    displayed,
    is_data,
    is_place,
    output_of,
    part_by,
    parts_of,
)
from gradoracle.oracle.expected.transform_bounds import DIRECT
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, data_dtype
from gradoracle.oracle.float_formats import HALVES, dtype_of
from gradoracle.oracle.shapes import Array

WIDER = "float32"  # what sums of half precision are held in, unless another accumulator is named
FEW = 2_000  # numbers of a call that is compared with known wrong formulas, which are loops
ULPS = 2  # of float64 that a value may be off: it is rounded to it, maybe from extended precision


class Expected(NamedTuple):
    """The expected value of a call.

    `value` holds the elements in float64, or indices in int64, and `allowed` how far from it an
    answer may be, per element, in float64: 0 where nothing rounds, infinity where nothing is
    proved.
    """

    value: Array
    allowed: Array


@dataclass(frozen=True)
class Checked:
    """A call of a formula, and what is claimed of its answer: a contract without a backend."""

    formula: Formula
    call: Call
    contract: Contract

    @property
    def dtype(self) -> str:
        """The dtype of the call's numbers."""
        return data_dtype(self.call).name

    @property
    def accumulator(self) -> str:
        """The dtype that sums are held in."""
        return self.contract.accumulator(self.dtype)


def expected(
    function: str, /, *args: Any, accumulator: Any = None, algorithm: str = DIRECT, **arguments: Any
) -> Expected | Any:
    """Return the value of a function on its arguments, and how far off an answer may be.

    The arguments are those of `assert_within_bound`.  Of max_pool2d it is the maxima's values;
    "max_pool2d_indices" has their places.  Of a function that returns a tuple (adam_step, split,
    layer_norm_vjp) it is a tuple with one `Expected` per result, and None for the gradient by what
    is None:

        parameter, exp_avg, exp_avg_sq = expected("adam_step", ...)

    The value is exact, and rounded to float64 once.  (Of more than 4096 elements that are made of
    elementary functions, the last digit of float64 may be off by one.)  Where an answer may be off
    at all, `allowed` has two units in the last place of that float64 added, so that

        abs(got.astype(float64) - value) <= allowed

    holds for every answer within the bound.  Three things that `assert_within_bound` accepts, it
    does not say: NaN in the plane of one, subnormal numbers flushed to zero, and infinity where an
    overflow may be right, which is an infinite `allowed`.

    Raises:
        TypeError, ValueError: as `assert_within_bound`.
    """
    topic = topic_of(function)
    require_by_name(topic.formula, args)
    parts = parts_of(topic.formula)
    found = tuple(
        None
        if _is_absent(part, arguments)
        else _expected(_checked(Topic(topic.operator, part), accumulator, algorithm, arguments))
        for part in parts
    )
    return found if len(parts) > 1 else found[0]


def _expected(one: Checked) -> Expected:
    """Return the value of one result, and how far off it may be."""
    right = truth_of(one, one.formula, one.call)
    value = right.as_float(np.dtype(np.float64))
    allowed = np.asarray(right.bound(one.dtype, one.accumulator), np.float64)
    if right.is_exact(one.dtype, one.accumulator):
        return Expected(value, np.zeros(value.shape))
    with np.errstate(all="ignore"):
        room = (allowed + ULPS * np.spacing(abs(value))) * (1 + 2.0**-50)
    return Expected(value, np.where((allowed > 0) & np.isfinite(value), room, allowed))


def assert_within_bound(
    got: Any,
    function: str,
    /,
    *args: Any,
    accumulator: Any = None,
    algorithm: str = DIRECT,
    **arguments: Any,
) -> None:
    """Raise AssertionError unless every element of `got` is within the proven rounding bound.

        assert_within_bound(dw, "conv2d_grad_weight", grad_output=dy, x=x, weight_shape=w.shape,
                            padding=1)

    `function` is one of the protocol's, and `arguments` are its own, by name: `gradoracle explain
    conv2d_grad_weight` prints them.  One number stands for a tuple of equal ones.  What is left out
    is neutral: bias None, stride 1, padding 0, dilation 1, groups 1, output_padding 0, ceil_mode
    False, count_include_pad True; but the stride of a pooling is its kernel_size, as in PyTorch.

    Arrays are NumPy's, PyTorch's, JAX's, CuPy's or any that has DLPack or `__array__`, on any
    device; all numbers are of one dtype, which `got` must have, too.  The answer of max_pool2d is
    y or (y, indices).

    `accumulator` is the dtype that sums are held in and elementary functions computed in.  By
    default that is the dtype of the data, and float32 for float16 and bfloat16, as tensor cores and
    most libraries have it.  Sums in half precision itself are off by more: accumulator="float16"
    allows them.  Options that are numbers (negative_slope, learning_rate) are
    rounded to the accumulator, as a kernel is given them.

    `algorithm` is "direct" for sums in any order, or for convolutions "winograd2", "winograd4",
    "winograd6" or "fft", whose bounds are wider.

    Where no sum of the call can round, in any order, the answer must be equal.  NaN and infinities
    must be where the formula has them and may spread over that plane; subnormal numbers may be
    flushed to zero.  The first of several maxima wins.

    Raises:
        AssertionError: an element is wrong, or the shape, or the dtype.  The message names the
            element, what it should be and how far off it may be, and has the formula.
        TypeError: an argument is missing, unknown, or no array.
        ValueError: the arguments fit no call; there is no such function, accumulator or algorithm;
            or nothing is proved of any element (too many terms for the accumulator, sums that may
            overflow, slopes at NaN), so that no answer could fail.
    """
    __tracebackhide__ = True
    topic = topic_of(function)
    require_by_name(topic.formula, args)
    for formula, one in _results(topic, got, arguments):
        checked = _checked(Topic(topic.operator, formula), accumulator, algorithm, arguments)
        _require_settled(topic, checked)
        message = _mismatch(checked, one)
        if message:
            raise AssertionError(message)


def _results(topic: Topic, got: Any, given: Mapping[str, Any]) -> list[tuple[Formula, Any]]:
    """Return the formulas of a function's results, each with its own.

    By what is None there is no gradient among all gradients at once, but None.
    """
    __tracebackhide__ = True
    operator, formula = topic
    together = len(parts_of(formula)) > 1
    formulas = parts_of(formula) if together else (formula, *operator.also)
    several = isinstance(got, (tuple, list)) and len(formulas) > 1
    if not together and not (several and formula is operator.formula):
        return [(formula, got)]
    name, count = output_of(formula).function, len(got) if several else 1
    if count != len(formulas):
        raise AssertionError(f"{name}: got {count} results, want {len(formulas)}")
    found = list(zip(formulas, got, strict=True))
    for at, (one, result) in enumerate(found):
        if _is_absent(one, given) and result is not None:
            raise AssertionError(f"{name}: result {at} must be None, as {part_by(one)} is")
    return [(one, result) for one, result in found if not _is_absent(one, given)]


def _is_absent(formula: Formula, given: Mapping[str, Any]) -> bool:
    """Return whether a result is the gradient by an argument that is None."""
    argument = part_by(formula)
    return argument is not None and given.get(argument) is None


def _checked(
    topic: Topic, accumulator: Any, algorithm: str, arguments: Mapping[str, Any]
) -> Checked:
    """Return the call, whose options are rounded to the accumulator, and what is claimed."""
    call, function = call_from(topic, arguments), output_of(topic.formula).function
    dtype = data_dtype(call).name
    held = WIDER if dtype in HALVES else dtype
    if accumulator is not None:
        held = format_named("accumulator", accumulator)
    claimed: dict[str, Any] = {"accumulators": {dtype: held}}
    if algorithm != DIRECT:
        claimed["algorithms"] = {function: algorithm}
    contract = read_contract(claimed, [function])
    options = {name: value for name, value in call.items() if isinstance(value, float)}
    return Checked(topic.formula, {**call, **rounded(options, dtype_of(held))}, contract)


def _require_settled(topic: Topic, checked: Checked) -> None:
    """Raise ValueError where what is right is not defined."""
    if topic.operator.unsettled(checked.contract.policies, checked.formula, checked.call):
        name = name_of(checked.formula)
        raise ValueError(
            f"{name} is not defined on these data: a slope at NaN, or 0 times infinity"
        )


def _require_bounded(checked: Checked, judged: Verdict) -> None:
    """Raise ValueError where an answer that is not wrong could not have been."""
    if judged.exact or judged.share.any() or not judged.share.size:
        return
    if np.isinf(judged.right.bound(checked.dtype, checked.accumulator)).all():
        raise ValueError(
            f"{name_of(checked.formula)}: nothing is proved of sums held in "
            f"{checked.accumulator}: they have too many terms for its significand, or may "
            "overflow; name a wider accumulator, or take the data of exact_inputs"
        )


def _mismatch(checked: Checked, got: Any) -> str:
    """Return what is wrong with an answer, as a report; "" if nothing is."""
    formula, call = checked.formula, checked.call
    answer, dtype = as_numpy("the answer", got), answer_dtype(formula, call)
    try:
        require_form(formula.__name__, answer, answer_shape(formula, call), dtype)
    except Mismatch as mismatch:
        return _report(mismatch.headline, checked, [], [], [])
    judged = verdict(checked, formula, call, answer)
    if not judged.wrong.any():
        _require_bounded(checked, judged)
        return ""
    return _report(
        headline(formula, answer, judged, checked.accumulator),
        checked,
        wrong_elements(formula, answer, judged, dtype),
        _allowed(checked, answer, judged),
        _looks_like(checked, answer),
    )


def _report(
    first: str, checked: Checked, wrong: list[str], allowed: list[str], looks_like: list[str]
) -> str:
    equation, source = displayed(checked.formula)
    rows = [
        ("call", [in_a_line(checked.formula, checked.call)]),
        ("wrong", wrong),
        ("allowed", allowed),
        ("formula", [*equation.splitlines(), f"({source})"]),
        ("looks like", looks_like),
    ]
    return "\n".join([first, *(line for title, content in rows for line in row(title, content))])


def _allowed(checked: Checked, got: Array, judged: Verdict) -> list[str]:
    """Return how far the first wrong element is off, and how far it may be."""
    at = tuple(np.argwhere(judged.wrong)[0].tolist())
    if judged.exact or is_place(checked.formula):
        return ["0: on these data nothing rounds"]
    want = judged.right.as_float(np.dtype(np.float64))[at]
    error = abs(float(got[at]) - float(want))
    bound = float(judged.right.bound(checked.dtype, checked.accumulator)[at])
    if not math.isfinite(error):
        return []
    held = f"data in {checked.dtype}, sums in {checked.accumulator}"
    return [f"{bound:.3g} ({held}); the first is off by {error:.3g}"]


def _looks_like(checked: Checked, got: Array) -> list[str]:
    """Return the known wrong formulas that give the same answer to a small call."""
    arrays = [value for value in checked.call.values() if is_data(value)]
    if sum(array.size for array in arrays) > FEW or not all(array.ndim for array in arrays):
        return []  # a number has no images, which many of them are about
    suspects = Suspects(checked.formula)
    suspects.see(Answer(checked.formula, checked.call, got))
    return suspects.sentences
