"""Sizes that shrinking lowers: a record refuses them, or every formula takes the call."""

import pytest

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.variations import drawn
from gradoracle.conformance.properties.property import is_function
from gradoracle.oracle.declaration import parts_of
from gradoracle.oracle.expected.truth import answer_shape

LOWEST = (0, 1)


def lowered(operator):
    """Yield the calls of some geometries with one size lowered, of those that there are."""
    style = operator.styles.of("any")[0]
    for number in (0, 1, 2, 3, 7):
        sizes = drawn(operator, number).sizes
        for name, low in ((n, low) for n in sizes for low in LOWEST if sizes[n] > low):
            try:
                operator.arguments({**sizes, name: low})
            except ValueError:
                continue
            yield {**sizes, name: low}, operator.call({**sizes, name: low}, style, 1, "float32")


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
def test_what_a_record_makes_a_call_of_is_legal(operator):
    count = 0
    for sizes, call in lowered(operator):
        for formula in (f for f in operator.formulas if is_function(f)):
            if operator.has_answer(formula, call):
                assert answer_shape(parts_of(formula)[0], call) is not None, sizes
                count += 1
    assert count or not any(map(is_function, operator.formulas))
