"""An operator is its formulas and one record: everything else follows."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle.conformance.backends import backend as backends
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.drawing.values import normal, small_integers, styles
from gradoracle.conformance.operators import arrays
from gradoracle.conformance.operators.record import Arguments, Operator, Styles
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import composed, declare_axes
from gradoracle.oracle.numbers.elementary import exp, log


def _each(out, function, *arrays):
    for at in range(len(out)):
        out[at] = function(*(a[at] for a in arrays))


@composed(images="kept")
def own_softplus(z):
    """Return y, of z's shape and dtype.

        y = log(1 + e^z)

    (a test's own formula.)
    """

    def one(v):
        return v + log(1 + exp(-v)) if v > 0 else log(1 + exp(v))

    return run(_each, np.zeros(z.size, z.dtype), one, z.ravel(), products=0).reshape(z.shape)


@composed(images="kept")
def own_softplus_grad(grad_output, z):
    """Return dz from dy and z.

        dz = dy / (1 + e^-z)

    (a test's own formula.)
    """
    if grad_output.shape != z.shape:
        raise ValueError(f"z has shape {z.shape}, but grad_output {grad_output.shape}")

    def one(dy, v):
        return dy / (1 + exp(-v)) if v > 0 else dy * exp(v) / (1 + exp(v))

    flat = grad_output.ravel(), z.ravel()
    return run(_each, np.zeros(z.size, z.dtype), one, *flat, products=0).reshape(z.shape)


def grid(random, sizes, limits):
    """Multiples of 1/16."""
    arrays = small_integers(random, sizes, limits)
    arrays["z"] = random.integers(-64, 65, sizes["z"]) / 16
    return arrays


def arguments(sizes):
    shape = arrays.shape_of(sizes)
    return Arguments({"z": shape, "grad_output": shape}, {})


declare_axes(Axes("z: n *; grad_output: n *"), own_softplus, own_softplus_grad)
SOFTPLUS = Operator(
    formula=own_softplus,
    gradients={own_softplus_grad: "z"},
    geometry=partial(arrays.array, options={}),
    arguments=arguments,
    witness=lambda torch: torch.nn.functional.softplus,
    styles=Styles(exact=(), floats=styles(normal, grid), slopes=styles(grid)),
    curvature=lambda _: 0.1,  # |sigmoid''| <= 1 / (6 sqrt 3)
)


# By a contract only.
UNCLAIMED = {
    "is_deterministic": "'repeats': 'bitwise'", "is_batch_invariant": "'batch': 'bitwise'",
    "is_thread_safe": "'threads': 'safe'", "writes_into_out": "'accumulate': 'out'",
}  # fmt: skip


def right_forward(z):
    return (np.maximum(z, 0) + np.log(1 + np.exp(-abs(z)))).astype(z.dtype)


def right_gradient(grad_output, z):
    if grad_output.shape != z.shape:
        raise ValueError("shapes")
    e = np.exp(-abs(z))
    return (grad_output * np.where(z > 0, 1, e) / (1 + e)).astype(z.dtype)


def outcomes(monkeypatch, **functions):
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", ("own_softplus", "own_softplus_grad"))
    judged = wrap(SimpleNamespace(**functions))
    found = {}
    for property_ in PROPERTIES.values():
        for formula in property_.formulas(SOFTPLUS):
            found[formula.__name__, property_.name] = examine(
                judged, SOFTPLUS, formula, property_, examples=60, seed=1
            )
    return found


@pytest.mark.slow
def test_a_right_backend_of_a_new_operator_passes_everything(monkeypatch):
    pytest.importorskip("torch")
    found = outcomes(monkeypatch, own_softplus=right_forward, own_softplus_grad=right_gradient)
    left = {k: (o.status, o.reason) for k, o in found.items() if o.status != "passed"}
    assert left == {
        (formula, name): ("not claimed", f"the contract's policies do not claim {claim}")
        for formula, _ in found
        for name, claim in UNCLAIMED.items()
    }
    # An array of any shape is legal, so the forward pass has no bad call.
    assert ("own_softplus", "rejects_bad_arguments") not in found
    assert ("own_softplus_grad", "rejects_bad_arguments") in found
    assert {name for _, name in found} >= {
        "within_rounding_bound", "gradient_is_the_slope", "finite_differences", "matches_torch",
        "batch_independent", "rejects_bad_arguments",
    }  # fmt: skip
    others = {"linear", "forms_agree", "network_backward", "graph_backward"}
    assert not others & {name for _, name in found}


@pytest.mark.slow
def test_a_wrong_gradient_of_a_new_operator_is_told_with_its_formula(monkeypatch):
    pytest.importorskip("torch")
    found = outcomes(
        monkeypatch,
        own_softplus=right_forward,
        own_softplus_grad=lambda dy, z: right_gradient(dy, -z),
    )
    wrong = {name for (formula, name), o in found.items() if o.status == "mismatch"}
    assert wrong >= {"within_rounding_bound", "gradient_is_the_slope", "finite_differences",
                     "matches_torch"}  # fmt: skip
    text = found["own_softplus_grad", "within_rounding_bound"].mismatch.text
    assert "dz = dy / (1 + e^-z)" in text
