"""The table of what each check costs and finds first: `python -m tests.power.budgets`."""

from types import SimpleNamespace

import gradoracle
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.implementations import im2col
from tests.planted.killers import KILLERS
from tests.power import stages
from tests.power.budgets import HEADER, rows, table


def test_table_has_the_calls_and_the_faults_of_every_property():
    backend = SimpleNamespace(relu=im2col.relu, relu_grad=im2col.relu_grad)
    made = gradoracle.check(backend, operators=["relu"], examples=3, seed=1)
    certificate = Certificate.from_json(made.to_json())
    found = {name: dict(zip(HEADER[1:], row, strict=True)) for name, *row in rows(certificate)}
    assert {*found} <= {*PROPERTIES}
    assert "linear" not in found  # relu is not
    calls = sum(n for o in made.outcomes for by in o.calls.values() for n in by.values())
    assert sum(int(row["calls"]) for row in found.values()) == calls > 0
    assert int(found["matches_oracle"]["found first"]) >= 300
    assert found["gradient_is_the_slope"]["dtypes"] == "in turn"
    assert found["matches_oracle"]["dtypes"] == "all"
    assert table(certificate).count("\n") == len(found) + 1


def test_stages_say_by_which_calls_a_fault_is_met(monkeypatch):
    stages.watch(monkeypatch.setattr)
    name = next(n for n, known in sorted(KILLERS.items()) if known[3:] == ["corners"])
    found = [stages.met(name, 1)]
    assert found[0].property == KILLERS[name][2]
    assert found[0].stage == "corners"
    assert found[0].drawn > 0, "calls are drawn before"
    header, _, row = stages.table(found).splitlines()
    columns = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    assert (columns["faults"], columns["corners"], columns["drawn"]) == ("1", "1", "")
