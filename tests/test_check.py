"""The library call: results as data, the same verdicts as pytest, and errors that help."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import FOUND
from gradoracle.conformance.runs.environment import environment
from gradoracle.implementations import im2col
from tests.planted.conv2d import FAULTS, backend

pytestmark = pytest.mark.slow

EVERYTHING = {formula.__name__ for operator in OPERATORS for formula in operator.formulas}


def stripped(certificate):
    data = json.loads(certificate.to_json())
    for outcome in data["outcomes"]:
        outcome["seconds"] = 0
    del data["sha256"]
    return data


# Operators of every kind of formula; .ci/run certifies all.
SOME = ("avg_pool2d", "linear", "relu", "softmax", "sgd_step")


def test_right_backend_is_certified():
    some = [o for o in OPERATORS if o.name in SOME]
    assert len(some) == len(SOME)
    everything = {formula.__name__ for operator in some for formula in operator.formulas}
    certificate = gradoracle.check(im2col, operators=SOME, examples=10, seed=1)
    assert certificate.passed
    assert certificate.why_not == ""
    assert certificate.mismatches == []
    assert certificate.witnesses == {
        "exact oracle": True, "finite differences": True, "PyTorch": True,
    }  # fmt: skip
    data = json.loads(certificate.to_json())
    assert data["schema"] == 8
    assert data["certified"] is True
    assert data["seed"] == 1
    assert [[o["formula"], o["property_name"]] for o in data["outcomes"]] == data["expected"]
    assert {formula for formula, _ in data["expected"]} == everything
    judged = [o for o in data["outcomes"] if o["status"] != "not claimed"]
    unjudged = {o["property_name"] for o in data["outcomes"] if o["status"] == "not claimed"}
    assert unjudged == {
        "is_deterministic", "is_batch_invariant", "is_thread_safe", "writes_into_out",
        "selects_by_output_mask", "matches_forward_mode", "matches_double_backward",
    }  # fmt: skip
    assert all(o["calls"]["float32"] and o["calls"]["float64"] for o in judged)
    assert "CERTIFIED" in certificate.text()


def without_subnormals(function):
    """What an accelerator makes of a kernel: subnormal numbers are 0, those it returns, too."""

    def zeroed(array):
        return np.where(abs(array) < np.finfo(array.dtype).tiny, array.dtype.type(0), array)

    def flushed(*arrays, **options):
        return zeroed(function(*map(zeroed, arrays), **options))

    return flushed


def test_subnormal_numbers_may_be_taken_for_zero_unless_they_are_claimed_to_be_kept():
    names = ("relu", "relu_grad", "leaky_relu", "leaky_relu_grad", "sigmoid", "tanh_grad")
    functions = {name: without_subnormals(getattr(im2col, name)) for name in names}
    contract = {"functions": names, "dtypes": ["float32", "float64"]}
    certificate = gradoracle.check(SimpleNamespace(contract=contract, **functions), seed=1)
    assert certificate.passed, certificate.text()
    kept = {**contract, "policies": {"subnormals": "kept"}}
    certificate = gradoracle.check(SimpleNamespace(contract=kept, **functions), seed=1)
    assert {m.formula for m in certificate.mismatches} == {*names[:4]}


def test_wrong_backend_is_not(tmp_path):
    certificate = gradoracle.check(FAULTS["dx_flips_twice"].backend(), examples=15, seed=1)
    assert not certificate.passed
    assert "mismatch" in certificate.why_not
    assert {m.formula for m in certificate.mismatches} == {"conv2d_grad_input"}
    assert "flips twice" in " ".join(certificate.mismatches[0].text.split())
    (tmp_path / "c.json").write_text(certificate.to_json())
    assert "NOT CERTIFIED" in certificate.text()


def test_same_seed_same_calls_and_verdicts():
    wrong = SimpleNamespace(sigmoid=im2col.sigmoid, sigmoid_grad=lambda dy, z: dy)
    one, two = (stripped(gradoracle.check(wrong, examples=12, seed=5)) for _ in range(2))
    assert one == two


def test_the_blas_of_a_certificate_is_numpys_whatever_else_is_loaded(monkeypatch):
    def library(folder, version):
        return {"user_api": "blas", "internal_api": "openblas", "version": version,
                "num_threads": 1, "filepath": f"/site-packages/{folder}/lib.so"}  # fmt: skip

    openmp = {"user_api": "openmp", "filepath": "/numpy.libs/libgomp.so"}
    found = [openmp, library("scipy.libs", "0.3.30"), library("numpy.libs", "0.3.31")]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: found)
    assert environment()["BLAS"] == "openblas 0.3.31, 1 thread"
    found.pop()
    assert environment()["BLAS"] == "openblas 0.3.30, 1 thread"


def test_a_seed_may_be_any_integer():
    wrong = SimpleNamespace(relu=np.abs)
    for seed in (-1, 2**70):
        found = gradoracle.check(wrong, operators=["relu"], examples=10, seed=seed)
        assert {one.formula for one in found.mismatches} == {"relu"}


def test_seeds_are_fresh_and_differ():
    some = ["relu"]
    seeds = {gradoracle.check(im2col, operators=some, examples=1).seed for _ in range(3)}
    assert len(seeds) == 3
    one, two = (
        stripped(gradoracle.check(im2col, operators=some, examples=40, seed=s)) for s in (1, 2)
    )
    assert [o["calls"] for o in one["outcomes"]] != [o["calls"] for o in two["outcomes"]]


def test_stop_at_first_mismatch_stops():
    certificate = gradoracle.check(
        FAULTS["dx_flips_twice"].backend(), seed=1, stop_at_first_mismatch=True
    )
    assert len(certificate.mismatches) == 1
    assert not certificate.whole


def test_missing_functions_are_not_claimed_and_never_passed():
    only = SimpleNamespace(conv2d=im2col.conv2d, conv2d_grad_weight=im2col.conv2d_grad_weight)
    certificate = gradoracle.check(only, examples=10, seed=1)
    assert certificate.passed
    claimed = {o.formula for o in certificate.outcomes if o.status != "not claimed"}
    assert claimed == {"conv2d", "conv2d_grad_weight"}
    absent = EVERYTHING - claimed
    assert f"not claimed: {', '.join(sorted(absent))}\n" in certificate.text()


def test_one_operator_alone_can_be_judged():
    certificate = gradoracle.check(im2col, operators=["linear", "tanh"], examples=15, seed=1)
    assert certificate.passed
    names = {o.formula for o in certificate.outcomes}
    assert names == {n for n in EVERYTHING if n.startswith(("linear", "tanh"))}


def test_a_backend_with_nothing_is_not_certified():
    certificate = gradoracle.check(SimpleNamespace(), examples=5, seed=1)
    assert not certificate.passed
    assert certificate.why_not.startswith("the backend claims no function of the protocol")


def test_a_claimed_function_that_is_not_there_is_a_mismatch():
    source = SimpleNamespace(conv2d=im2col.conv2d, contract={"functions": ["conv2d",
                             "conv2d_grad_bias"]})  # fmt: skip
    certificate = gradoracle.check(source, examples=5, seed=1)
    assert (
        "claimed by the contract, but there is no such function"
        in certificate.mismatches[0].headline
    )


def test_declining_everything_is_not_certified():
    def decline(*arrays, **options):
        raise NotImplementedError("later")

    certificate = gradoracle.check(backend(conv2d_grad_bias=decline), examples=5, seed=1)
    assert not certificate.passed
    assert "no call was checked" in certificate.why_not
    assert "declined" in certificate.text()


def test_declining_some_is_printed_with_the_count():
    def conv2d(x, weight, bias=None, **o):
        if o["groups"] > 1:
            raise NotImplementedError
        return im2col.conv2d(x, weight, bias, **o)

    certificate = gradoracle.check(backend(conv2d=conv2d), examples=40, seed=1)
    assert certificate.passed
    assert "declined: " in certificate.text()
    assert sum(o.declined for o in certificate.outcomes) > 10


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_a_mismatch_everywhere(bad):
    def conv2d_grad_bias(dy):
        return im2col.conv2d_grad_bias(dy) * dy.dtype.type(bad)

    wrong = backend(conv2d_grad_bias=conv2d_grad_bias)
    with np.errstate(all="ignore"):
        certificate = gradoracle.check(wrong, examples=20, seed=1)
    broken = {o.property_name for o in certificate.outcomes if o.status in FOUND}
    assert broken >= {
        "matches_oracle", "within_rounding_bound", "gradient_is_the_slope", "finite_differences",
        "matches_torch", "forms_agree", "linear", "batch_independent",
        "returns_what_the_protocol_says",
    }  # fmt: skip


class Liar(np.ndarray):
    def __eq__(self, other):
        return np.ones(self.shape, bool)

    __hash__ = None


def test_array_subclasses_are_not_arrays():
    wrong = backend(conv2d_grad_bias=lambda dy: np.zeros(dy.shape[1], dy.dtype).view(Liar))
    certificate = gradoracle.check(wrong, seed=1, stop_at_first_mismatch=True)
    assert (
        "conv2d_grad_bias: returned a Liar (float32[1]), want a NumPy array"
        in certificate.mismatches[0].headline
    )


def test_errors_help():
    with pytest.raises(
        ValueError, match="no operator 'conv4d' .did you mean 'conv\\dd'.*; there are conv2d"
    ):
        gradoracle.check(im2col, operators=["conv4d"])
    with pytest.raises(ValueError, match="examples must be at least 1, got 0"):
        gradoracle.check(im2col, examples=0)
    with pytest.raises(LookupError, match="no backend 'nobody'"):
        gradoracle.check("nobody")


def test_progress_hears_every_outcome():
    heard = []
    certificate = gradoracle.check(
        im2col, operators=["linear", "softmax"], examples=2, seed=1, progress=heard.append
    )
    assert heard == certificate.outcomes


def test_without_torch_its_witness_is_not_run_and_said_so(monkeypatch):
    from gradoracle.conformance.runs import certify

    monkeypatch.setattr(certify.importlib.util, "find_spec", lambda name: None)
    certificate = gradoracle.check(im2col, operators=["linear", "relu"], examples=10, seed=1)
    assert certificate.passed
    assert certificate.witnesses["PyTorch"] is False
    text = certificate.text()
    assert "witnesses: exact oracle, finite differences; not run: PyTorch" in text
    assert "pip install 'gradoracle[torch]'" in text


class Handles:
    """Arrays of its own: integers that stand for them; results that are computed when read."""

    operators = ("conv2d", "max_pool2d", "avg_pool2d")

    def __init__(self):
        self.arrays = {}

    def from_numpy(self, array):
        if array.ndim not in (1, 4):
            raise ValueError("one or four axes")
        self.arrays[len(self.arrays)] = array
        return len(self.arrays) - 1

    def to_numpy(self, value):
        return value() if callable(value) else self.arrays[value]

    def __getattr__(self, name):
        if name not in FUNCTIONS:
            raise AttributeError(name)

        def function(*arrays, **options):
            given = [None if a is None else self.arrays[a] for a in arrays]

            def compute():
                return getattr(im2col, name)(*given, **options)

            if name == "max_pool2d":
                return [lambda: compute()[0], lambda: compute()[1]]
            return compute

        return function


def test_lazy_backends_with_arrays_of_their_own_are_judged():
    certificate = gradoracle.check(Handles(), operators=Handles.operators, examples=25, seed=1)
    assert certificate.passed, certificate.mismatches[0].text


def test_an_argument_that_changes_behind_a_handle_is_seen():
    class Changes(Handles):
        def to_numpy(self, value):
            for array in [*self.arrays.values()][-4:]:
                np.add(array, 1, out=array)
            return super().to_numpy(value)

    certificate = gradoracle.check(Changes(), operators=["avg_pool2d"], examples=25, seed=1)
    assert {m.property_name for m in certificate.mismatches} >= {"leaves_inputs_unchanged"}


@pytest.mark.parametrize("broken", ["from_numpy", "to_numpy"])
def test_conversions_that_raise_are_verdicts(broken):
    def fail(value):
        raise OSError("no device")

    wrong = backend()
    setattr(wrong, broken, fail)
    certificate = gradoracle.check(wrong, examples=5, seed=1)
    assert "no device" in certificate.mismatches[0].headline


def test_a_dtype_that_is_never_judged_is_not_certified():
    def decline(function):
        def narrow(*arrays, **options):
            if arrays[0].dtype == np.float64:
                raise NotImplementedError("float32 only")
            return function(*arrays, **options)

        return narrow

    names = [name for name in FUNCTIONS if name.startswith("linear")]
    narrow = SimpleNamespace(**{name: decline(getattr(im2col, name)) for name in names})
    certificate = gradoracle.check(narrow, examples=20, seed=1)
    assert not certificate.passed
    assert "no call was checked in float64" in certificate.why_not
    narrow.contract = {"dtypes": ["float32"]}
    assert gradoracle.check(narrow, examples=20, seed=1).passed


def test_dtypes_are_those_of_any_library():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    options = {"operators": ["relu"], "examples": 2, "seed": 1}
    for one in ("float32", np.float32, np.dtype("float32"), torch.float32, jax.float32,
                jax.zeros(1, "float32").dtype):  # fmt: skip
        certificate = gradoracle.check(im2col, dtypes=[one], **options)
        assert {dtype for o in certificate.outcomes for dtype in o.calls} == {"float32"}
    for one in (torch.int8, np.int8, "int8"):
        with pytest.raises(ValueError, match="does not claim dtype 'int8'; it claims float32"):
            gradoracle.check(im2col, dtypes=[one], **options)
    for one in (None, {}, "floaty"):
        with pytest.raises(ValueError, match="does not claim dtype"):
            gradoracle.check(im2col, dtypes=[one], **options)


def test_huge_results_are_not_copied():
    wrong = backend(conv2d_grad_bias=lambda dy: np.broadcast_to(dy.dtype.type(0), (10**6, 10**6)))
    certificate = gradoracle.check(wrong, examples=3, seed=1)
    assert "returned 1000000000000 elements [1000000, 1000000]" in (
        certificate.mismatches[0].headline
    )


def test_floating_point_errors_of_a_backend_do_not_reach_us():
    def conv2d(*arrays, **options):
        np.seterr(all="raise")
        return im2col.conv2d(*arrays, **options) * arrays[0].dtype.type(3e38)

    ours = np.geterr()
    with np.errstate():  # a failure here is no other test's
        assert not gradoracle.check(backend(conv2d=conv2d), examples=10, seed=1).passed
        assert np.geterr() == ours


def test_progress_hears_the_mismatch_that_stops_a_run():
    heard = []
    gradoracle.check(FAULTS["dx_is_zero"].backend(), seed=1, stop_at_first_mismatch=True,
                      progress=heard.append)  # fmt: skip
    assert [o.status for o in heard] == ["mismatch"]


@pytest.mark.parametrize(("name", "seed"), [("torch", 2), ("oracle", 3)])
def test_shipped_backends_are_certified(name, seed):
    some = ["max_pool2d", "cross_entropy"]  # .ci/run certifies all of them
    certificate = gradoracle.check(name, operators=some, examples=3, seed=seed)
    assert certificate.passed, certificate.mismatches[0].text


def test_the_certificate_prints_what_the_contract_claims():
    rules = {"non_finite": "any", "ties": "any-subgradient"}
    claims = {"dtypes": ["float32", "float16"], "accumulators": {"float16": "float32"}}
    candidate = SimpleNamespace(relu=im2col.relu, contract={**claims, "policies": rules})
    text = gradoracle.check(candidate, operators=["relu"], examples=2, seed=1).text()
    policies = "ties any-subgradient, nan first, repeats any, non_finite any, subnormals any"
    assert f"\n  policies: {policies}\n" in text
    assert "\n  repeats, which are not claimed: differ in 0 of 8 calls\n" in text
    assert "\n  accumulators: float32 of float16\n" in text
    plain = gradoracle.check(SimpleNamespace(relu=im2col.relu), examples=2, seed=1).text()
    assert "non_finite plane" in plain
    assert "accumulators" not in plain


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"backend": None}, "a backend is a name, an import path, a module or an object .* None"),
        ({"backend": {"relu": abs}}, r"make an object of it: types.SimpleNamespace\(\*\*functions"),
        ({"backend": abs}, r"got the function abs; give .* types.SimpleNamespace\(abs=abs\)"),
        (
            {"operators": "relu"},
            r"operators must be a list of names such as \['relu'\], got 'relu'",
        ),
        ({"operators": 3}, "operators must be a list of names .* got 3"),
        ({"seed": "a"}, "seed must be an integer or None, got 'a'"),
        ({"seed": 1.5}, "seed must be an integer or None, got 1.5"),
        ({"examples": True}, "examples must be an integer or None, got True"),
    ],
)
def test_arguments_of_another_kind_are_named(arguments, said):
    with pytest.raises(TypeError, match=said):
        gradoracle.check(**{"backend": im2col, **arguments})


def test_what_the_docstring_names_can_be_imported():
    for name in gradoracle.__all__:
        assert getattr(gradoracle, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gradoracle.nothing  # noqa: B018
    told = gradoracle.check(im2col, operators=("relu",), examples=np.int64(2), seed=np.uint8(1))
    assert json.loads(told.to_json())["examples"] == 2


def softmax_grad_by_the_jacobian(error):
    """A right one whose memory grows with the square of the axis, of which there are 2 GiB."""

    def softmax_grad(grad_output, z, *, axis):
        p = np.moveaxis(im2col.softmax(z, axis=axis), axis, -1)
        if p.shape[-1] ** 2 * p.itemsize > 2**31:
            raise error
        return im2col.softmax_grad(grad_output, z, axis=axis)

    return softmax_grad


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 32.0 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 34 bytes"),
    ],
    ids=["NumPy", "PyTorch"],
)
def test_what_has_no_memory_for_a_large_call_is_not_wrong(error):
    right = SimpleNamespace(
        softmax=im2col.softmax, softmax_grad=softmax_grad_by_the_jacobian(error)
    )
    certificate = gradoracle.check(right, operators=["softmax"], seed=1)
    assert certificate.passed, certificate.mismatches[0].text
    text = certificate.text()
    assert "or needed more memory than there is" in " ".join(text.split())
    assert re.search(r"softmax_grad declined \d+ with too little memory for a large array\n", text)


def test_what_has_no_memory_for_a_small_call_is():
    def relu(z):
        raise MemoryError

    certificate = gradoracle.check(SimpleNamespace(relu=relu), examples=5, seed=1)
    assert "relu: raised MemoryError on a legal call" in certificate.mismatches[0].headline
