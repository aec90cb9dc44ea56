"""Forward mode, derived by going back twice: slopes, adjoints, and what rounding decides."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.textbook import textbook
from gradoracle.oracle.declaration import argument_names, evaluate, has_slope
from gradoracle.oracle.derive import TANGENT, forward_mode, has_forward_mode
from gradoracle.oracle.numbers.reverse import TracedArray, Undecided, tangent
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.numbers.running_error_arrays import Lanes

DERIVED = {o.name: o for o in OPERATORS if has_forward_mode(o.formula)}
STEP = 1e-6


def calls(operator):
    """Yield small calls of float64 with a tangent for each argument that has a slope."""
    random = np.random.default_rng(7)
    names = argument_names(operator.formula)[0]
    for geometry in textbook(operator)[:6]:
        call = operator.call(geometry.sizes, operator.styles.of("floats")[0], 3, "float64")
        tangents = {
            TANGENT + n: random.normal(size=call[n].shape) if has_slope(call[n]) else None
            for n in names
            if n in operator.gradients.values()
        }
        yield call, tangents


@pytest.mark.parametrize("name", DERIVED)
def test_it_is_the_slope_along_the_tangents(name):
    operator = DERIVED[name]
    for call, tangents in calls(operator):
        got = evaluate(forward_mode(operator.formula), {**call, **tangents})
        ends = []
        for sign in (1, -1):
            moved = {
                n.removeprefix(TANGENT): call[n.removeprefix(TANGENT)] + sign * STEP * v
                for n, v in tangents.items()
                if v is not None
            }
            ends.append(np.asarray(evaluate(operator.formula, {**call, **moved})))
        want = (ends[0] - ends[1]) / (2 * STEP)
        assert np.shape(got) == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", DERIVED)
def test_it_is_the_adjoint_of_the_gradients(name):
    """<dy, J v> = <J^T dy, v>."""
    operator = DERIVED[name]
    for call, tangents in calls(operator):
        along = np.asarray(evaluate(forward_mode(operator.formula), {**call, **tangents}))
        dy = np.random.default_rng(8).normal(size=along.shape)
        back = 0.0
        for formula, argument in operator.gradients.items():
            if tangents[TANGENT + argument] is not None:
                found = evaluate(formula, {**call, "grad_output": dy})
                back += float((found * tangents[TANGENT + argument]).sum())
        np.testing.assert_allclose((dy * along).sum(), back, rtol=1e-9, atol=1e-12)


def test_it_has_the_signature_of_tangents_and_arguments():
    names, options = argument_names(forward_mode(oracle.layer_norm))
    assert names == ("tangent_x", "tangent_weight", "tangent_bias", "x", "weight", "bias")
    assert options == ("eps",)


def test_a_result_that_an_argument_does_not_reach_has_no_derivative_by_it():
    x, other = TracedArray(np.ones(3)), TracedArray(np.ones(3))
    assert (tangent(x * 2, [(other, np.ones(3))]) == 0).all()
    assert (tangent(x * x, [(x, np.ones(3)), (other, np.ones(3))]) == 2).all()


def test_where_rounding_decides_a_selection_nothing_is_said():
    arithmetic = Arithmetic(2.0**-24, 0.0)
    lanes = Lanes(np.array([1.0, 1.0]), np.zeros(2), arithmetic)
    x = TracedArray(lanes)
    with pytest.raises(Undecided):
        tangent((x / 3).max(0), [(x, lanes)])


def test_a_gradient_that_users_agreed_on_has_no_forward_mode():
    """PyTorch's and JAX's forward mode move the row padding_idx, too, and disagree at zeros."""
    for formula in (oracle.embedding, oracle.lp_pool2d, oracle.ema):
        assert not has_forward_mode(formula)
