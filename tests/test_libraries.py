"""Libraries as registered backends, and functions that run ONNX models."""

import sys

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.adapters import onnx_models
from gradoracle.conformance.backends.registry import (
    IN_PROCESS,
    LIBRARIES,
    UnusableBackend,
    load,
    registered,
    wrap,
)
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.runs.certify import run_check
from gradoracle.implementations import im2col

pytestmark = pytest.mark.slow
CHECKS = {(f.__name__, p.name): (o, f, p) for o, f, p in checks(OPERATORS)}
EXTRAS = {"jax": ("jax",), "onnxruntime": ("onnx", "onnxruntime")}


def outcome(backend, formula, property_name="matches_oracle"):
    return run_check(wrap(backend), *CHECKS[formula, property_name], examples=10, seed=1)


@pytest.mark.parametrize("name", [*LIBRARIES])
def test_a_missing_library_names_the_extra(monkeypatch, name):
    assert registered()[name].distribution == "gradoracle"
    for module in EXTRAS[name]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnusableBackend, match=rf"pip install 'gradoracle\[{name}\]'$"):
        load(name, IN_PROCESS)


# ONNX


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return onnx_models.onnxruntime()


@pytest.mark.parametrize(
    "formula",
    ["conv1d", "conv2d", "conv3d", "max_pool2d_indices", "max_pool3d_values", "relu", "linear"],
)
def test_onnx_runtime_is_exact_on_integers(runtime, formula):
    assert outcome(runtime, formula).status == "passed"


@pytest.mark.parametrize("formula", ["avg_pool2d", "leaky_relu", "softmax", "cross_entropy"])
def test_onnx_runtime_is_within_the_bound(runtime, formula):
    name = "within_rounding_bound"
    found = outcome(runtime, formula, name)
    empty = "float32[0," in found.text or "float64[0," in found.text
    assert found.status == "passed" or (formula == "cross_entropy" and empty)


def test_dtypes_that_it_has_no_kernel_for_are_not_claimed(runtime):
    has = wrap(runtime).contract.dtypes_of
    assert has(["linear"]) == ("float32", "float64")
    assert has(["conv2d"]) == ("float32",)
    x = np.ones((1, 1, 2, 2))
    options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    with pytest.raises(NotImplementedError, match="Could not find an implementation for Conv"):
        runtime.conv2d(x, x, None, **options)


def test_a_fault_of_a_session_is_found(runtime):
    def session(model):
        run = onnx_models.in_onnx_runtime(model)
        return lambda arrays: [one + (one > 100) for one in run(arrays)]

    made = gradoracle.adapt.onnx(session, functions=["conv2d"])
    found = outcome(made, "conv2d")
    assert found.status == "mismatch"
    assert not hasattr(made, "relu")


def test_a_session_is_made_once_for_the_options_and_with_static_for_every_shape(runtime):
    del runtime
    made = []

    def session(model):
        made.append(model)
        return lambda arrays: [im2col.relu(arrays[0])]

    for static, sessions in ((False, 1), (True, 2)):
        made.clear()
        backend = gradoracle.adapt.onnx(session, functions=["relu"], static=static)
        for size in (1, 2, 2):
            backend.relu(np.ones((1, size), "float32"))
        assert len(made) == sessions


def test_what_is_no_node_of_onnx(runtime):
    del runtime
    with pytest.raises(ValueError, match="sgd_step is no node of ONNX; those are conv1d, "):
        gradoracle.adapt.onnx(print, functions=["sgd_step"])


def test_the_script_of_a_report_makes_the_backend(runtime):
    del runtime
    backend = load("onnxruntime", IN_PROCESS)
    found = run_check(backend, *CHECKS["max_pool2d_indices", "points_at_the_maximum"],
                      examples=25, seed=1)  # fmt: skip
    assert found.status == "mismatch"  # NaN wins where it is the first of a window, and only there
    assert "onnx_models.onnxruntime('')" in found.mismatch.text


# JAX


@pytest.mark.parametrize(
    ("formula", "property_name"),
    [
        ("conv2d_grad_weight", "matches_oracle"), ("conv_transpose1d", "matches_oracle"),
        ("max_pool2d_vjp", "matches_oracle"), ("avg_pool1d", "within_rounding_bound"),
        ("cross_entropy_grad", "within_rounding_bound"), ("linear_grad_bias", "matches_oracle"),
    ],
)  # fmt: skip
def test_jax_is_right(formula, property_name):
    pytest.importorskip("jax")
    from gradoracle.conformance.backends.adapters.jax_library import jax

    found = run_check(wrap(jax()), *CHECKS[formula, property_name], examples=2, seed=1)
    assert found.status == "passed", found.text


# Other libraries that differentiate


class Boxed(list):
    """An array in a box, as libraries have arrays of their own."""

    @property
    def shape(self):
        return self[0].shape


class Tape:
    """A library's gradient of relu, whose slope at 0 is 0 or 1."""

    def __init__(self, at_zero):
        self.at_zero = at_zero

    def from_numpy(self, array):
        return Boxed([np.array(array)])

    def to_numpy(self, boxed):
        return boxed[0]

    def zeros(self, shape, like):
        return Boxed([np.zeros(shape, like[0].dtype)])

    def vjp(self, function, at, grad_output):
        assert isinstance(function(at), Boxed)
        positive = at[0] >= 0 if self.at_zero else at[0] > 0
        return Boxed([grad_output[0] * positive])


@pytest.mark.parametrize(("at_zero", "status"), [(False, "passed"), (True, "mismatch")])
def test_an_engine_of_another_library_takes_the_gradients(at_zero, status):
    def relu(z):
        return Boxed([np.maximum(z[0], 0)])

    made = gradoracle.adapt.autodiff(Tape(at_zero), relu=relu, dtypes=["float32"])
    assert outcome(made, "relu").status == "passed"
    assert outcome(made, "relu_grad").status == status


def test_an_engine_without_arrays_of_its_own_is_given_numpys():
    class Engine:
        def zeros(self, shape, like):
            return np.zeros(shape, like.dtype)

        def vjp(self, function, at, grad_output):
            return im2col.tanh_grad(grad_output, at)

    made = gradoracle.adapt.autodiff(Engine(), tanh=im2col.tanh)
    assert outcome(made, "tanh_grad", "within_rounding_bound").status == "passed"
    with pytest.raises(ValueError, match=r"adapt\.autodiff needs a function"):
        gradoracle.adapt.autodiff(Engine())
