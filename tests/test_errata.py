"""Every erratum is one: the printed formula is wrong on its counterexample, and on nothing less."""

from itertools import product

import numpy as np
import pytest

from oracle.errata import ERRATA, counterexample
from oracle.formula import evaluate

IDS = [erratum.name.replace(" ", "_") for erratum in ERRATA]


def differ(wrong, right):
    if isinstance(wrong, IndexError):
        return True
    return np.shape(wrong) != np.shape(right) or not (np.asarray(wrong) == right).all()


@pytest.mark.parametrize("erratum", ERRATA, ids=IDS)
def test_printed_formula_is_wrong_on_the_counterexample(erratum):
    wrong, right = erratum.shown()
    assert differ(wrong, right), erratum.printed


@pytest.mark.parametrize("erratum", ERRATA, ids=IDS)
def test_right_value_is_the_oracles_or_its_derivative(erratum):
    _, right = erratum.shown()
    if erratum.name in ("Y has C channels", "a stride times smaller"):
        assert right == evaluate(erratum.formula, erratum.call).shape[-len(right) :]
    elif erratum.name == "averages twice":
        assert right == evaluate(erratum.formula, erratum.call) / 2
    else:
        assert not differ(right, evaluate(erratum.formula, erratum.call))


def size(call):
    return (
        sum(call["x"].shape) + sum(call["weight"].shape) + sum(call["stride"]),
        sum(int((call[n] != 0).sum()) for n in ("x", "weight", "grad_output")),
    )


def smaller_calls(limit):
    """Every call of one image row, or of two 1x1 images, that is smaller in shape than `limit`."""
    for n, c, m, k, w, s in product((1, 2), (1, 2), (1, 2), (1, 2), (1, 2, 3), (1, 2)):
        if k > w or n + c + m + c + k + w + 3 + s + 1 >= limit[0]:
            continue
        places = (w - k) // s + 1
        for number in (0, 1):
            yield counterexample(
                np.full((m, c, 1, k), number).tolist(), stride=(1, s),
                grad_output=np.ones(n * m * places, int), x=np.full((n, c, 1, w), number).tolist(),
            )  # fmt: skip


# These are wrong wherever they are read, or differ in more than the smallest shape can show.
NOTATION = {"Y has C channels", "one channel too many", "beta + 1 images", "a bias per pixel",
            "dE/dX under the sum", "averages twice", "divides Z by Y"}  # fmt: skip


@pytest.mark.parametrize(
    "erratum", [e for e in ERRATA if e.name not in NOTATION], ids=lambda e: e.name
)
def test_nothing_smaller_tells_printed_and_right_apart(erratum):
    limit = size(erratum.call)
    for call in smaller_calls(limit):
        right = erratum.corrected(call) if erratum.corrected else evaluate(erratum.formula, call)
        assert not differ(erratum.as_printed(call), right), call


def test_errata_name_their_place_and_both_formulas():
    for erratum in ERRATA:
        assert erratum.where[:3] in ("000", "001", "002", "003")
        assert erratum.printed != erratum.right
    assert len({e.name for e in ERRATA}) == len(ERRATA) >= 10
