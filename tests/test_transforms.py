"""Winograd's and Fourier's convolutions are checked by bounds of their own, and by nothing else."""

import re
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends.contract import read_contract
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.reports import explain
from gradoracle.implementations import cuda_source, im2col
from gradoracle.oracle.expected.transform_bounds import TILES, transform, worst_side
from gradoracle.oracle.expected.truth import truth
from tests import transformed
from tests.calls import call

pytestmark = pytest.mark.slow

ALGORITHMS = (*TILES, "fft")
FORMULAS = (oracle.conv2d, oracle.conv2d_grad_input, oracle.conv2d_grad_weight)


def certificate(candidate, examples=20, **changes):
    return gradoracle.check(candidate, operators=["conv2d"], examples=examples, seed=5, **changes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_right_ones_are_certified(algorithm):
    found = certificate(transformed.backend(algorithm))
    assert found.passed, found.mismatches[0].text
    judged = {o.formula for o in found.outcomes if o.judged}
    assert judged == {*transformed.FUNCTIONS, "conv2d_grad_bias"}
    assert found.level.partition("; ")[2].startswith(
        "4 of 4 formulas, 3 of them bounded in norm only, float16"
    )
    assert f"algorithms: {algorithm} of conv2d, {algorithm} of conv2d_grad_input" in found.text()
    for outcome in found.outcomes:
        if outcome.property_name == "holds_at_scale" and outcome.formula != "conv2d_grad_bias":
            assert outcome.status == "not claimed"
            assert outcome.reason.endswith(f"algorithm is {algorithm}, whose sums are never exact")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_they_are_no_direct_sums(algorithm):
    """The bound of a direct sum tells them from it, which is why the contract must say so."""
    candidate = transformed.backend(algorithm)
    candidate.contract = {"dtypes": ["float32"]}
    found = certificate(candidate, stop_at_first_mismatch=True)
    assert found.mismatches


def test_a_network_of_them_is_judged_by_their_bounds():
    whole = SimpleNamespace(
        **{name: getattr(im2col, name) for name in im2col.__all__ if name != "contract"}
    )
    for name in transformed.FUNCTIONS:
        setattr(whole, name, getattr(transformed.winograd4, name))
    claimed = dict.fromkeys(transformed.FUNCTIONS, "winograd4")
    whole.contract = {"dtypes": ["float32"], "algorithms": claimed}
    found = gradoracle.check(whole, operators=["network_backward"], examples=20, seed=1)
    assert found.passed, found.mismatches[0].text
    whole.contract = {"dtypes": ["float32"]}
    direct = gradoracle.check(
        whole, operators=["network_backward"], examples=60, seed=1, stop_at_first_mismatch=True
    )
    assert direct.mismatches


def a_wrong_coefficient(outputs, taps, right=transformed.matrices):
    a, b, g = (matrix.copy() for matrix in right(outputs, taps))
    g[-2, 0] *= 1.25
    return a, b, g


def without_the_last_row_of_tiles(x, weight, groups, tile, right=transformed.correlated):
    y = right(x, weight, groups, tile).copy()
    if y.shape[2] > tile:
        y[:, :, y.shape[2] // tile * tile :] = 0
    return y


def in_halves(down, across, planes, right=transformed.both):
    return right(down, across, planes.astype(np.float16)).astype(planes.dtype)


def as_tensor_cores_do(down, across, planes, right=transformed.both):
    """Of a significand of 24 bits, 11 are left."""
    bits = np.ascontiguousarray(planes, np.float32).view(np.uint32)
    return right(down, across, (bits + 0x1000 & np.uint32(0xFFFFE000)).view(np.float32))


def without_the_last_channel(x, weight, groups, tile, right=transformed.correlated):
    less = weight.copy()
    if less.shape[1] > 1:
        less[:, -1] = 0
    return right(x, less, groups, tile)


def that_wraps_around(x, padding):
    """Padding as a cyclic convolution of the image itself has it: the other end."""
    mode = "wrap" if x.size else "constant"
    return np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), mode=mode)


WRONG = {
    "a_wrong_coefficient": ("winograd4", "matrices", a_wrong_coefficient),
    "without_the_last_row_of_tiles": ("winograd2", "correlated", without_the_last_row_of_tiles),
    "without_the_last_channel": ("winograd6", "correlated", without_the_last_channel),
    "in_halves": ("winograd2", "both", in_halves),
    "in_halves_of_large_tiles": ("winograd6", "both", in_halves),
    "as_tensor_cores_do": ("winograd4", "both", as_tensor_cores_do),
    "that_wraps_around": ("fft", "padded", that_wraps_around),
    "in_single_precision": (
        "fft", "wide", lambda array: array.astype(np.float32)  # float64 claims its own accumulator
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_not(name, monkeypatch):
    algorithm, replaced, wrong = WRONG[name]
    monkeypatch.setattr(transformed, replaced, wrong)
    candidate = transformed.backend(algorithm)
    if name != "in_single_precision":  # the others show where the bound is widest
        candidate.contract = {**candidate.contract, "dtypes": ["float32"], "accumulators": {}}
    found = certificate(candidate, examples=300, stop_at_first_mismatch=True)
    assert found.mismatches


def test_how_wide_the_bound_of_a_layer_is():
    """As conformance/backends/README.md says: 3x3 taps, 4x4 tiles, about 1 % of the largest."""
    one = call((2, 4, 14, 14), (4, 4, 3, 3), padding=(1, 1), dtype=np.float32)
    random = np.random.default_rng(1)
    for name in ("x", "weight"):
        one[name] = random.standard_normal(one[name].shape).astype(np.float32)
    by = truth(oracle.conv2d, one, algorithm="winograd4")
    share = by.bound("float32", "float32") / abs(by.as_float(np.dtype(np.float64))).max()
    assert 0.003 < share.max() < 0.03


def test_how_much_tiles_of_the_usual_sizes_may_grow():
    """By hand from the matrices of Lavin and Gray 2016, section 4."""
    assert worst_side(2, 3).grows == 8
    assert worst_side(4, 3).grows == 48
    assert worst_side(6, 3).grows == float(Fraction(203, 3))


@pytest.mark.parametrize(("outputs", "taps"), [(2, 2), (2, 3), (3, 4), (4, 3), (4, 5), (6, 3)])
def test_the_growth_is_that_of_the_matrices(outputs, taps):
    a, b, g = (abs(matrix) for matrix in transformed.matrices(outputs, taps))
    used = (a * (g.sum(axis=1) * b.sum(axis=0))[:, None]).sum(axis=0).max()
    assert used <= worst_side(outputs, taps).grows * (1 + 1e-12)
    assert worst_side(outputs, taps).grows < 4 * used


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_bound_is_of_the_direct_sum_at_least(formula, algorithm):
    one = call((2, 4, 7, 6), (4, 2, 3, 2), padding=(1, 0), groups=2, dtype=np.float32)
    one = {n: v / 7 if isinstance(v, np.ndarray) else v for n, v in one.items()}
    one = {n: np.float32(v) if isinstance(v, np.ndarray) else v for n, v in one.items()}
    plain, by = truth(formula, one), truth(formula, one, algorithm=algorithm)
    least, bound = (t.bound("float32", "float32") for t in (plain, by))
    assert (bound >= least).all()
    assert bound.max() > 2 * least.max()
    assert not by.is_exact("float32", "float32")
    right = plain.as_float(np.dtype(np.float64))
    assert by.error_over_bound(right.astype(np.float32), "float32").max() < 1
    beyond = (right + 1.01 * bound).astype(np.float32)
    assert (by.error_over_bound(beyond, "float32") > 1).all()
    beyond[0] = np.nan
    assert np.isinf(by.error_over_bound(beyond, "float32")[0]).all()


def test_planes_of_other_channels_and_images_do_not_count():
    one = call((2, 4, 6, 6), (4, 2, 3, 3), groups=2, dtype=np.float32)
    one["x"][0, 0] *= 2**20
    bound = truth(oracle.conv2d, one, algorithm="winograd4").bound("float32", "float32")
    assert bound[0, :2].min() > 2**15 * bound[0, 2:].max()
    assert bound[0, :2].min() > 2**15 * bound[1].max()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_extremes(formula, algorithm):
    one = call((1, 1, 5, 5), (1, 1, 3, 3), padding=(1, 1), dtype=np.float64)
    zeros = {n: v * 0 if isinstance(v, np.ndarray) else v for n, v in one.items()}
    assert not truth(formula, zeros, algorithm=algorithm).bound("float64", "float64").any()
    huge = {n: v * 1e200 if isinstance(v, np.ndarray) else v for n, v in one.items()}
    by = truth(formula, huge, algorithm=algorithm)
    assert np.isinf(by.bound("float64", "float64")).all()
    assert not by.error_over_bound(np.full(by.shape, np.inf), "float64").any()
    large = {n: v * 1e150 if isinstance(v, np.ndarray) else v for n, v in one.items()}
    by = truth(formula, large, algorithm=algorithm)
    right = by.as_float(np.dtype(np.float64))
    assert by.error_over_bound(right, "float64").max() < 1
    assert by.error_over_bound(right * (1 + 1e-9), "float64").max() > 1


def test_where_winograds_is_direct():
    def of(**options):
        one = call((1, 1, 9, 9), options.pop("weight", (1, 1, 3, 3)), **options)
        return transform(oracle.conv2d, one, "winograd4")

    assert of() is not None
    assert of(stride=(2, 1)) is None
    assert of(dilation=(1, 2)) is None
    assert of(weight=(1, 1, 1, 1)) is None
    assert of(weight=(1, 1, 5, 1)) is not None
    assert of(weight=(1, 1, 6, 1)) is None
    assert transform(oracle.conv2d, call((1, 1, 9, 9), (1, 1, 3, 3)), "direct") is None
    pooled = {"x": np.ones((1, 1, 2, 2)), "grad_output": np.ones((1, 1, 2, 2))}
    assert transform(oracle.relu, pooled, "fft") is None


def test_contracts():
    names = ("conv2d", "relu")
    contract = read_contract({"algorithms": {"conv2d": "fft"}}, names)
    assert contract.algorithm("conv2d") == "fft"
    assert contract.algorithm("conv2d_grad_input") == "direct"
    for claims, problem in (
        ({"relu": "fft"}, "function with a choice of algorithms 'relu' is unknown; pick from"),
        ({"conv2d": "winograd"}, "algorithm of conv2d 'winograd' is unknown; pick from ['direct'"),
    ):
        with pytest.raises(ValueError, match=re.escape(problem)):
            read_contract({"algorithms": claims}, names)


def test_subnormals_cannot_be_kept_exactly():
    candidate = transformed.backend("fft")
    candidate.contract = {**candidate.contract, "policies": {"subnormals": "kept"}}
    kept = [c for c in checks() if c[0].name == "conv2d" and c[2].name == "keeps_subnormals"]
    wrapped = wrap(candidate)
    statuses = {one[1].__name__: examine(wrapped, *one, examples=5, seed=5).status for one in kept}
    assert {statuses[name] for name in transformed.FUNCTIONS} == {"not claimed"}
    assert statuses["conv2d_grad_bias"] != "not claimed"


def test_a_counterexamples_script_allows_what_the_bound_does(monkeypatch):
    monkeypatch.setattr(transformed, "correlated", without_the_last_channel)
    found = certificate(transformed.backend("winograd2"), stop_at_first_mismatch=True)
    text = found.mismatches[0].script.replace("backend = ...", "pass")
    with pytest.raises(AssertionError):
        exec(text, {"backend": transformed.backend("winograd2")})  # noqa: S102
    monkeypatch.undo()
    exec(text, {"backend": transformed.backend("winograd2")})  # noqa: S102


def test_a_file_of_kernels_can_claim_it(tmp_path):
    file = tmp_path / "kernels.cu"
    file.write_text("// gradoracle: algorithms = conv2d: winograd2, conv2d_grad_input: fft\n")
    settings = cuda_source.comments.read(
        file.read_text() + "// gradoracle: relu = relu<<<1, 32>>>(z, y)\n", "kernels.cu"
    )[1]
    assert settings["algorithms"] == {"conv2d": "winograd2", "conv2d_grad_input": "fft"}
    with pytest.raises(cuda_source.expressions.SourceError, match="write  algorithms = conv2d"):
        cuda_source.comments.read("// gradoracle: algorithms = conv2d\n", "kernels.cu")


def test_it_is_explained():
    assert any(
        "oracle.expected.transform_bounds" in sentence for sentence in explain.judged(oracle.conv2d)
    )
    assert not any("oracle.expected.transform_bounds" in s for s in explain.judged(oracle.linear))
