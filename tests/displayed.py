"""The displayed equations, computed to the letter in a format, in an order of one's choice.

A backend made of them is what a reader of a docstring would write.  Sums of products, and what
selects, are the oracle's own loops; every other equation is written out here once more, beside its
text, so that a changed docstring fails a test until its transcription is changed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.oracle.declaration import (
    Chained,
    Multilinear,
    algebra,
    argument_names,
    evaluate,
    is_data,
    output_of,
    parts_of,
)
from gradoracle.oracle.float_formats import dtype_of
from tests.orders import Sum, rounded, written


class How(NamedTuple):
    """In which format, and in which order, an equation is computed."""

    accumulator: str
    order: Sum
    reciprocal: bool = False  # a quotient is a product with one

    def product(self, *factors: Any) -> Any:
        """Multiply in this order of additions, too: from the right where that is not as printed."""
        if self.order.__name__ != "one_by_one":
            factors = factors[::-1]
        result = factors[0]
        for factor in factors[1:]:
            result = result * factor
        return result

    def sum(self, array: Any, axis: int) -> Any:
        """Add up along an axis, which is kept."""
        return np.expand_dims(self.order([*np.moveaxis(array, axis, 0)]), axis)

    def quotient(self, number: Any, divisor: Any) -> Any:
        """Divide, or multiply with the reciprocal."""
        return number * (_one(divisor) / divisor) if self.reciprocal else number / divisor


def _one(array: Any) -> Any:
    return array.dtype.type(1)


def _relu(how: How, z: Any) -> Any:
    del how
    return np.where(z <= 0, z.dtype.type(0), z)


def _relu_grad(how: How, grad_output: Any, z: Any) -> Any:
    del how
    return np.where(z > 0, grad_output, z.dtype.type(0))


def _leaky_relu(how: How, z: Any, *, negative_slope: float) -> Any:
    return np.where(z > 0, z, how.product(z.dtype.type(negative_slope), z))


def _leaky_relu_grad(how: How, grad_output: Any, z: Any, *, negative_slope: float) -> Any:
    return np.where(z > 0, grad_output, how.product(z.dtype.type(negative_slope), grad_output))


def _sigmoid(how: How, z: Any) -> Any:
    return how.quotient(_one(z), how.order([_one(z), np.exp(-z)]))


def _sigmoid_grad(how: How, grad_output: Any, z: Any) -> Any:
    y = _sigmoid(how, z)
    return how.product(grad_output, y, _one(z) - y)


def _tanh(how: How, z: Any) -> Any:
    """Where an exponential overflows, the equation gives no number: there it is 1 or -1."""
    a, b = np.exp(z), np.exp(-z)
    ends = np.isinf(a) | np.isinf(b)
    return np.where(ends, np.sign(z), how.quotient(a - b, how.order([a, b])))


def _tanh_grad(how: How, grad_output: Any, z: Any) -> Any:
    y = _tanh(how, z)
    return how.product(grad_output, _one(z) - y * y)


def _softmax(how: How, z: Any, *, axis: int) -> Any:
    powers = np.exp(z - z.max(axis=axis, keepdims=True))
    return how.quotient(powers, how.sum(powers, axis))


def _softmax_grad(how: How, grad_output: Any, z: Any, *, axis: int) -> Any:
    p = _softmax(how, z, axis=axis)
    return how.product(p, grad_output - how.sum(how.product(grad_output, p), axis))


def _cross_entropy(how: How, logits: Any, target: Any, *, reduction: str) -> Any:
    top = logits.max(axis=1, keepdims=True)
    sums = np.log(how.sum(np.exp(logits - top), 1))
    chosen = np.take_along_axis(logits, target[:, np.newaxis], 1)
    losses = [*(sums - (chosen - top)).ravel()]
    loss = how.order(losses) if losses else logits.dtype.type(0)
    return how.quotient(loss, logits.dtype.type(len(target))) if reduction == "mean" else loss


def _cross_entropy_grad(how: How, logits: Any, target: Any, *, reduction: str) -> Any:
    p = _softmax(how, logits, axis=1)
    dz = p - (np.arange(logits.shape[1]) == target[:, np.newaxis]).astype(p.dtype)
    return how.quotient(dz, logits.dtype.type(len(target))) if reduction == "mean" else dz


# An equation as its docstring displays it, and what it says.
EQUATIONS: Mapping[Any, tuple[str, Callable[..., Any]]] = {
    oracle.relu: ("y = 0 where z <= 0, else z", _relu),
    oracle.relu_grad: ("dz = dy where z > 0, else 0", _relu_grad),
    oracle.leaky_relu: ("y = z where z > 0, else negative_slope * z", _leaky_relu),
    oracle.leaky_relu_grad: (
        "dz = dy where z > 0, else negative_slope * dy", _leaky_relu_grad,
    ),
    oracle.sigmoid: ("y = 1 / (1 + e^-z)", _sigmoid),
    oracle.sigmoid_grad: ("dz = dy y (1 - y),  y = 1 / (1 + e^-z)", _sigmoid_grad),
    oracle.tanh: ("y = (e^z - e^-z) / (e^z + e^-z)", _tanh),
    oracle.tanh_grad: ("dz = dy (1 - y^2),  y = tanh(z)", _tanh_grad),
    oracle.softmax: ("p_i = e^(z_i - m) / sum_j e^(z_j - m),  m = max_j z_j", _softmax),
    oracle.softmax_grad: ("dz_i = p_i (dp_i - sum_j dp_j p_j),  p = softmax(z)", _softmax_grad),
    oracle.cross_entropy: (
        "E = sum_n ( log sum_c e^(z[n,c] - m_n) - (z[n,t_n] - m_n) ),  m_n = max_c z[n,c]\n"
        "    divided by N for the mean", _cross_entropy,
    ),
    oracle.cross_entropy_grad: (
        "dz[n,c] = softmax(z[n])[c] - 1[c = t_n], divided by N for the mean", _cross_entropy_grad,
    ),
}  # fmt: skip


def literally(formula: Any, call: Mapping[str, Any], how: How) -> Any:
    """Return what an equation gives, every operation rounded, the result rounded to the data's."""
    dtype = next(v.dtype for v in call.values() if is_data(v))
    wide = {
        n: v.astype(dtype_of(how.accumulator)) if is_data(v) else v for n, v in call.items()
    }  # fmt: skip
    with np.errstate(all="ignore"):
        if formula in EQUATIONS:
            names, options = argument_names(formula)
            equation = EQUATIONS[formula][1]
            found = equation(how, *(wide[n] for n in names), **{n: wide[n] for n in options})
            return np.asarray(found).astype(dtype)
        kind = algebra(formula)
        if not isinstance(kind, Multilinear):
            return evaluate(formula, call)
        names = [n for n in (*kind.factors, kind.plus) if n and is_data(wide.get(n))]
        found = evaluate(formula, {**wide, **{n: written(wide[n]) for n in names}})
        number = dtype_of(how.accumulator).type
        flat = [
            rounded(one, number, how.order, reciprocal=how.reciprocal) for one in found.ravel()
        ]  # fmt: skip
        return np.array(flat, dtype_of(how.accumulator)).reshape(found.shape).astype(dtype)


def backend(dtype: str, how: How, operator: Operator) -> SimpleNamespace:
    """Return an operator's functions, every one its displayed equation, computed in one way.

    A chain has the functions of all operators.
    """
    contract = {"dtypes": [dtype], "accumulators": {dtype: how.accumulator}}
    own = {output_of(f).function for f in operator.formulas}
    chained = isinstance(algebra(operator.formula), Chained)
    functions = {name: _function(name, how) for name in _formulas() if chained or name in own}
    return SimpleNamespace(**functions, contract=contract)


@cache
def _formulas() -> Mapping[str, list[Any]]:
    """Return the formulas of each function; of one with parts, the parts have their own."""
    every = [f for o in OPERATORS for f in o.formulas]
    parted = {f.__name__ for f in every if parts_of(f) != (f,)}
    found: dict[str, list[Any]] = {name: [] for name in FUNCTIONS if name not in parted}
    for formula in every:
        if output_of(formula).function in found:
            found[output_of(formula).function].append(formula)
    return found


def _function(name: str, how: How) -> Callable[..., Any]:
    formulas = _formulas()[name]

    def function(*arrays: Any, **options: Any) -> Any:
        answers = {}
        for formula in formulas:
            names = argument_names(formula)[0]
            call = {**dict.fromkeys(names), **dict(zip(names, arrays, strict=False)), **options}
            answers[output_of(formula).place] = literally(formula, call, how)
        return answers[None] if None in answers else tuple(answers[n] for n in sorted(answers))

    return function
