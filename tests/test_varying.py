"""The calls on which each argument is given another value: those that are kept are those found."""

import json
from importlib.resources import files

import pytest

from gradoracle.conformance.operators import OPERATORS, varying
from gradoracle.conformance.operators.domain import names_of, read
from gradoracle.conformance.operators.inside import restricted
from gradoracle.oracle.declaration import Chained, algebra, parts_of

KEPT = json.loads(files(varying.PACKAGE).joinpath(varying.FILE).read_text("ascii"))
FIRST = {
    varying.name_of(operator, parts_of(formula)[0]): (operator, parts_of(formula)[0])
    for operator in OPERATORS
    for formula in operator.formulas
    if not isinstance(algebra(formula), Chained)
}
TELL = "run python -m gradoracle.conformance.operators.varying"


def test_every_formula_of_the_suite_is_kept():
    assert {*KEPT} == {*FIRST}, TELL
    assert [name for name, numbers in KEPT.items() if not numbers] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_what_is_kept_is_what_is_found(name):
    assert KEPT[name] == varying.found(*FIRST[name]), TELL


def test_an_operator_restricted_to_a_domain_has_its_own(monkeypatch):
    operator, formula = FIRST["conv2d: conv2d"]
    monkeypatch.setattr(varying, "_kept", lambda: {"conv2d: conv2d": []})
    monkeypatch.setattr(varying, "_known", {})
    assert varying.that_vary(operator, formula) == ()
    domain = read("stride = 1", names_of(operator.formulas), "conv2d")
    assert varying.that_vary(restricted(operator, domain), formula)
