"""torch.nn.functional as a backend: each function that it has answers a small call rightly."""

import pytest

import gradoracle
from gradoracle.conformance.backends.registry import IN_PROCESS, wrap
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.textbook import with_ones
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.oracle.declaration import parts_of

torch = pytest.importorskip("torch")
BACKEND = wrap(gradoracle.adapt.torch(torch.nn.functional), confinement=IN_PROCESS)
THERE = [
    (operator, formula)
    for operator in OPERATORS
    for formula in operator.formulas
    if {parts_of(formula)[0].__name__, formula.__name__} & {*BACKEND.functions}
]


@pytest.mark.parametrize(("operator", "formula"), THERE, ids=lambda one: getattr(one, "name", ""))
def test_a_function_of_pytorch_is_right_on_a_small_call(operator, formula):
    geometry = with_ones(operator, formula)[0]
    call = operator.call(geometry.sizes, operator.styles.of("any")[0], 1, "float32")
    require_truth(BACKEND, parts_of(formula)[0], call, BACKEND.ask(parts_of(formula)[0], call))


def test_most_operators_are_there():
    assert len({operator.name for operator, _ in THERE}) > 80
