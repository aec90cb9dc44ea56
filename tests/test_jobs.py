"""How the checks of one run are dealt to its processes."""

from collections import Counter

from gradoracle.conformance.runs.jobs import _Ahead

CASES = [
    (formula, property_)
    for operator in ("relu", "tanh", "linear")
    for property_ in ("matches_oracle", "linear", "is_stateless")
    for formula in (operator, f"{operator}_grad")
]


def test_a_process_has_the_checks_of_an_operator_in_their_order():
    ahead = _Ahead(CASES)
    for at in range(6):
        assert ahead.next_of("first") == CASES[at]
        assert ahead.next_of("second") == CASES[6 + at]
    assert ahead.next_of("first") == CASES[12]


def test_a_process_without_an_operator_takes_what_another_has_left_last():
    ahead = _Ahead(CASES[:6])
    assert ahead.next_of("first") == CASES[0]
    assert [ahead.next_of("second") for _ in range(3)] == CASES[5:2:-1]
    assert [ahead.next_of("first") for _ in range(2)] == CASES[1:3]
    assert ahead.next_of("first") is None
    assert ahead.next_of("second") is None


def test_every_check_is_dealt_once_whoever_asks():
    ahead, dealt, at = _Ahead(CASES), [], 0
    while (case := ahead.next_of(at * at % 3)) is not None:
        dealt.append(case)
        at += 1
    assert Counter(dealt) == Counter(CASES)
