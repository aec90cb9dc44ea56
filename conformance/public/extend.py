"""Operators of your own, checked as every other: `import gradoracle.extend`.

An operator is its formulas and one record, an `Operator`.  The formulas are functions of loops, the
forward pass and one per gradient, with the displayed equation and its source in the docstring.
`elementwise` makes the record of a function of single numbers.  An operator over windows takes what
is drawn for one of ours, of one to three spatial axes:

    dataclasses.replace(convolution(2), formula=mine, gradients={mine_grad_input: "x"}, ...)

`transposed_convolution`, `max_pooling` and `average_pooling` likewise.  A module that lists its
records in OPERATORS is named by an entry point of the group `gradoracle.operators`, or on the
command line by `--operators-from`.  Its code runs in the process that checks: name only what you
trust.

    from gradoracle.extend import composed, each_element, elementwise, erf, exp, sqrt_2

Where the gradients are not to be written down, `gradoracle.operator` makes the record of a forward
formula.
"""

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.values import Style, styles
from gradoracle.conformance.operators.activations import PIECEWISE, SMOOTH, elementwise
from gradoracle.conformance.operators.avg_pool import average_pooling
from gradoracle.conformance.operators.conv_transpose import transposed_convolution
from gradoracle.conformance.operators.convolution import convolution
from gradoracle.conformance.operators.declared import operator
from gradoracle.conformance.operators.max_pool import max_pooling
from gradoracle.conformance.operators.of_formula import of_formula
from gradoracle.conformance.operators.outside import UnusableOperators
from gradoracle.conformance.operators.record import (
    MEASURED,
    Arguments,
    Corner,
    Geometry,
    Operator,
    Styles,
)
from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import composed, declare_axes, multilinear, output, selection
from gradoracle.oracle.derive import derived, derived_pointwise
from gradoracle.oracle.formulas.activations import each_element
from gradoracle.oracle.numbers.elementary import (
    cos,
    decimal,
    detached,
    each,
    either,
    erf,
    exp,
    expm1,
    largest,
    log,
    log1p,
    pi,
    rsqrt,
    sigmoid,
    sin,
    softplus,
    sqrt,
    sqrt_2,
    sqrt_pi,
    straight_through,
    tanh,
    total,
)
from gradoracle.oracle.numbers.log_sum import log_sum_exp
from gradoracle.oracle.numbers.reverse import maximum, minimum, where

__all__ = [
    "MEASURED",
    "PIECEWISE",
    "SMOOTH",
    "Arguments",
    "Axes",
    "Choices",
    "Corner",
    "Geometry",
    "Operator",
    "Style",
    "Styles",
    "UnusableOperators",
    "average_pooling",
    "composed",
    "convolution",
    "cos",
    "decimal",
    "declare_axes",
    "derived",
    "derived_pointwise",
    "detached",
    "each",
    "each_element",
    "either",
    "elementwise",
    "erf",
    "exp",
    "expm1",
    "largest",
    "log",
    "log1p",
    "log_sum_exp",
    "max_pooling",
    "maximum",
    "minimum",
    "multilinear",
    "of_formula",
    "operator",
    "output",
    "pi",
    "rsqrt",
    "run",
    "selection",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "sqrt_2",
    "sqrt_pi",
    "straight_through",
    "styles",
    "tanh",
    "total",
    "transposed_convolution",
    "where",
]
