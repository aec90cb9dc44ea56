"""float16 and bfloat16: their formats, their bounds, and how they come to a backend and back."""

import subprocess
import sys
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Candidate, Request
from gradoracle.conformance.backends.contract import read_contract
from gradoracle.conformance.backends.isolation.wire import Garbled, Segment
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import IN_PROCESS, UnusableBackend, load, wrap
from gradoracle.conformance.checking import call_list, outcomes
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.drawing.memory_layouts import LAYOUTS, laid
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.properties import PROPERTIES, NotJudged, comparison
from gradoracle.conformance.properties.answers import moved_by
from gradoracle.conformance.reports.certificate import FOUND, Certificate
from gradoracle.conformance.runs.jobs import limit
from gradoracle.implementations import im2col
from gradoracle.oracle.chains.propagation import Propagation, Undecided
from gradoracle.oracle.declaration import Chained, algebra
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.expected.truth import ComposedTruth, truth
from gradoracle.oracle.float_formats import FORMATS, HALVES, dtype_of, is_real

pytestmark = pytest.mark.slow

BFLOAT16 = dtype_of("bfloat16")
WIDE = dict.fromkeys(HALVES, "float32")


def dot(dtype, x, weight):
    """The call of a linear layer of one output."""
    return {
        "x": np.array([x], np.float64).astype(dtype_of(dtype)),
        "weight": np.array([weight], np.float64).astype(dtype_of(dtype)), "bias": None,
    }  # fmt: skip


def answers(*numbers, dtype):
    return np.array([[*numbers]], np.float64).astype(dtype_of(dtype))


# -- the formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_those_that_arrays_have(name):
    dtype, limits = dtype_of(name), FORMATS[name]
    one, half = dtype.type(1), 2.0**-limits.bits
    assert is_real(dtype)
    assert dtype.type(1 + 2 * half) > one
    assert dtype.type(1 + half) == one  # a tie goes to the even one
    largest = (2 - 2.0 ** (1 - limits.bits)) * 2.0**limits.largest_exponent
    assert float(dtype.type(largest)) == largest
    smallest = 2.0**-limits.subnormal_scale
    assert float(dtype.type(smallest)) == smallest
    assert float(dtype.type(smallest / 2)) == 0


def test_where_halves_overflow_is_as_computed_by_hand():
    assert FORMATS["float16"].overflow == 65504 + 16 == 65520
    assert np.float32(65519.99).astype(np.float16) == 65504
    with np.errstate(over="ignore"):
        assert np.isinf(np.float32(65520).astype(np.float16))
    largest = 255 * 2**120  # of bfloat16: eight ones
    assert FORMATS["bfloat16"].overflow == largest + 2**119
    below = np.float32(largest + 2**119 - 2**104)
    assert float(below.astype(BFLOAT16)) == largest
    assert np.isinf(np.float32(largest + 2**119).astype(BFLOAT16))


def test_a_void_of_two_bytes_is_no_number():
    assert not is_real(np.dtype("V2"))


# -- the bounds -----------------------------------------------------------------------------------


def test_a_wider_accumulator_leaves_one_rounding():
    call = dot("float16", [1 / 3, 1 / 5, 1 / 7], [1, 3, 5])
    terms = [Fraction(float(a)) * b for a, b in zip(call["x"][0], (1, 3, 5), strict=True)]
    want = sum(terms)
    gamma = Fraction(3, 2**24) / (1 - Fraction(3, 2**24))
    u = Fraction(1, 2**11)
    allowed = gamma * want + u * want + gamma * u * want
    bound = truth(oracle.linear, call).bound("float16", "float32").item()
    assert bound == pytest.approx(float(allowed), rel=1e-12)
    # Products that are finer than the normal numbers may end between two subnormal ones.
    finer = {**call, "x": call["x"] / np.float16(8)}
    bound = truth(oracle.linear, finer).bound("float16", "float32").item()
    assert bound == pytest.approx(float(allowed / 8 + Fraction(1, 2**24)), rel=1e-3)


@pytest.mark.parametrize("side", [2, 3, 41, 89, 112, 178])
@pytest.mark.parametrize("shrunk", [2.0**14, 1.0, 2.0**-8, 2.0**-15, 2.0**-24])
def test_a_share_of_many_pixels_may_be_subnormal(side, shrunk):
    """Whole data divided by an odd count are finer than the data: the quotient is rounded."""
    call = {
        "grad_output": np.full((1, 1, 1, 1), shrunk, np.float16),
        "input_shape": (1, 1, side, 112),
    }
    right = truth(oracle.adaptive_avg_pool2d_grad_input, call)
    got = right.as_float(np.dtype(np.float64)).astype(np.float16)
    for accumulator in ("float16", "float32", "float64"):
        assert right.error_over_bound(got, accumulator).max() <= 1
    steps_away = got.view(np.int16) + np.int16(2)
    assert right.error_over_bound(steps_away.view(np.float16), "float32").min() > 1


@pytest.mark.parametrize(("dtype", "step"), [("float16", 2.0**-10), ("bfloat16", 2.0**-7)])
def test_a_result_that_is_truncated_is_wrong(dtype, step):
    call = dot(dtype, [1, 0.75 * step], [1, 1])
    right = truth(oracle.linear, call)
    assert right.error_over_bound(answers(1 + step, dtype=dtype), "float32") <= 1
    assert right.error_over_bound(answers(1, dtype=dtype), "float32") > 1


@pytest.mark.parametrize(("dtype", "most"), [("float16", 2048), ("bfloat16", 256)])
def test_too_many_terms_have_no_bound_in_halves_themselves(dtype, most):
    for count, bounded in ((most // 2, True), (most, False)):
        call = dot(dtype, [1] * count, [1] * count)
        right = truth(oracle.linear, call)
        assert right.bounded(dtype, dtype).all() == bounded
        assert right.bounded(dtype, "float32").all()
        inexact = {**call, "x": call["x"] + dtype_of(dtype).type(0.5)}
        bound = truth(oracle.linear, inexact).bound(dtype, dtype)
        assert np.isfinite(bound).all() == bounded
        share = truth(oracle.linear, inexact).error_over_bound(answers(0, dtype=dtype), dtype)
        assert share.all() == bounded


def test_exact_data_judge_where_nothing_bounds_rounding():
    x = np.zeros(300)
    x[[3, 200]] = 5, 8
    call = dot("bfloat16", x, np.ones(300))
    backend = wrap(SimpleNamespace(
        linear=lambda x, weight, bias: im2col.linear(x, weight, bias) + x.dtype.type(1),
        contract={"dtypes": ["bfloat16"]},
    ))  # fmt: skip
    with pytest.raises(Mismatch, match="the data are exact"):
        PROPERTIES["matches_oracle"].check(backend, LINEAR, oracle.linear, call)


def test_what_nothing_bounds_is_not_judged():
    call = dot("bfloat16", np.full(300, 1.5), np.full(300, 1.25))
    backend = wrap(SimpleNamespace(linear=im2col.linear, contract={"dtypes": ["bfloat16"]}))
    for name in ("matches_oracle", "within_rounding_bound", "matches_torch"):
        with pytest.raises(NotJudged):
            PROPERTIES[name].check(backend, LINEAR, oracle.linear, call)


def test_infinity_is_right_where_the_result_overflows():
    for number, rounded, right in (
        (65504, 65504, True), (65504, np.inf, False),
        (65536, np.inf, True), (-65536, -np.inf, True),
    ):  # fmt: skip
        call = dot("float16", [abs(number) / 2, abs(number) / 2], [np.sign(number)] * 2)
        share = truth(oracle.linear, call).error_over_bound(
            answers(rounded, dtype="float16"), "float32"
        )
        assert (share <= 1).all() == right


def test_infinity_is_wrong_where_only_what_is_added_up_in_half_precision_overflows():
    call = dot("float16", [60000, 60000, -60000, -60000, 0.3], [1] * 5)
    right, got = truth(oracle.linear, call), answers(np.inf, dtype="float16")
    assert not (right.error_over_bound(got, "float32") <= 1).any()
    assert (right.error_over_bound(got, "float16") <= 1).all()  # its own sums may


def test_a_mean_may_overflow_before_it_is_divided():
    gradient = np.full((4, 1), 20000.5, np.float16)
    right = MultilinearTruth(oracle.batch_mean, {"gradient_per_image": gradient})
    assert not right.bounded("float16", "float16").any()
    assert right.bounded("float16", "float32").all()


def test_elementary_functions_in_float32_are_rounded_once():
    z = np.array([0.5, -9.0, -16.0], np.float16)
    bound = ComposedTruth(oracle.sigmoid, {"z": z}).bound("float16", "float32")
    y = 1 / (1 + np.exp(-z.astype(np.float64)))
    half_step = 2.0**-11 * y
    # In float32 e^x may be off by |x| units, as 2^(x log2(e)) is.
    assert (bound < half_step * 1.006 + 2.0**-24).all()
    assert (bound >= half_step).all()
    own = ComposedTruth(oracle.sigmoid, {"z": z}).bound("float16", "float16")
    assert (own > 2 * bound).all()


def test_elementary_functions_overflow_where_half_precision_does():
    z = np.full((1, 40000), 0.25, np.float16)  # a sum of 40 000 powers, each 1
    right = ComposedTruth(oracle.softmax, {"z": z, "axis": 1})
    assert np.isinf(right.bound("float16", "float16")).all()
    slope = {"z": np.array([60000.0], np.float16), "negative_slope": -2.0}
    assert np.isfinite(ComposedTruth(oracle.leaky_relu, slope).bound("float16", "float16")).all()
    down = {**slope, "z": -slope["z"]}
    assert np.isinf(ComposedTruth(oracle.leaky_relu, down).bound("float16", "float32")).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_chains_are_bounded_in_the_accumulator_and_rounded_after_every_link(dtype):
    call = dot(dtype, [0.5] * 20, [0.3] * 20)
    u = 2.0 ** -FORMATS[dtype].bits
    wide = Propagation(dtype, "float32").ask(oracle.linear, call)
    own = Propagation(dtype).ask(oracle.linear, call)
    assert u * wide.value < wide.error < 1.01 * u * wide.value
    assert own.error > 20 * u * own.value
    many = dot(dtype, [0.5] * 4000, [0.3] * 4000)
    assert Propagation(dtype, "float32").ask(oracle.linear, many).error > 0
    with pytest.raises(Undecided):
        Propagation(dtype).ask(oracle.linear, many)


# -- the numbers ----------------------------------------------------------------------------------


NOT_FINITE = (
    "infinities and nans", "minus infinity", "one far below", "pixels not finite", "hidden keys",
)  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.name)
def test_styles_stay_in_range(operator, dtype):
    unbounded = calls = 0
    for kind in ("exact", "floats", "slopes"):
        for style in operator.styles.of(kind):
            if style.name in NOT_FINITE:
                continue
            for seed, geometry in enumerate(drawn(operator, 6)):
                call = operator.call(geometry.sizes, style, seed, dtype)
                numbers = [
                    a for a in call.values() if isinstance(a, np.ndarray) and is_real(a.dtype)
                ]
                assert {a.dtype for a in numbers} == {dtype_of(dtype)}
                assert all(np.isfinite(a).all() for a in numbers), style.name
                if not isinstance(algebra(operator.formula), Chained):
                    bound = truth(operator.formula, call).bound(dtype, "float32")
                    calls, unbounded = calls + 1, unbounded + bool(np.isinf(bound).any())
    # squares and cubes of the largest numbers overflow, as those of the formulas of arrays and gelu
    squared = operator.name in {of.formulas[0].__name__ for of in oracle.DERIVED}
    assert unbounded <= (0.1 if squared else 0.05) * calls


def drawn(operator, count):
    geometries = []
    draw(operator, "medium", count, 1, geometries.extend)
    return geometries


@pytest.mark.parametrize("dtype", HALVES)
def test_options_are_numbers_of_the_dtype(dtype):
    for operator in OPERATORS:
        for geometry in drawn(operator, 12):
            styles = operator.styles.of("all")
            call = operator.call(geometry.sizes, styles[0], geometry.seed, dtype)
            given = [call, *(step.options for step in call.get("steps", ()))]
            for value in (v for options in given for v in options.values()):
                if isinstance(value, float):
                    assert float(dtype_of(dtype).type(value)) == value


def test_a_step_that_rounds_is_not_judged():
    array, step = np.array([1000.0], np.float64).astype(BFLOAT16), np.ones(1, BFLOAT16)
    with pytest.raises(NotJudged, match="not exact in bfloat16"):
        moved_by(array, step)
    assert moved_by(array / 8, step).item() == 126


def test_halves_are_judged_in_turn_and_the_others_always():
    backend = wrap(SimpleNamespace(relu=im2col.relu, contract=im2col.contract))
    (operator,) = (o for o in OPERATORS if o.name == "relu")
    exam = Examination(backend, operator, oracle.relu, PROPERTIES["matches_oracle"], 1, 1)
    assert set(exam.dtypes_for(0)) == set(FORMATS)  # nothing was checked yet
    exam.calls.update(dict.fromkeys([(d, "free") for d in FORMATS], 1))
    random = np.random.default_rng(3)
    turns = Counter(d for _ in range(400) for d in exam.dtypes_for(int(random.integers(2**32))))
    assert turns["float32"] == turns["float64"] == 400
    assert turns["float16"] + turns["bfloat16"] == 400
    assert 150 < turns["float16"] < 250
    corners = Counter(d for at in range(10) for d in exam.dtypes_for(2**20 + at))
    assert corners["float16"] == corners["bfloat16"] == 5


def test_a_backend_of_halves_alone_is_judged_in_both():
    contract = {"dtypes": [*HALVES], "accumulators": WIDE}
    backend = wrap(SimpleNamespace(relu=im2col.relu, contract=contract))
    certificate = gradoracle.check(backend, operators=["relu"], examples=2, seed=1)
    assert certificate.passed, certificate.why_not
    assert all(set(o.calls) == {*HALVES} for o in certificate.outcomes if o.judged)
    assert "1 of 2 formulas, float16 and bfloat16" in certificate.text()


# -- contracts ------------------------------------------------------------------------------------


def test_halves_are_claimed_only_by_name():
    assert read_contract(None, FUNCTIONS).dtypes == ("float32", "float64")
    contract = read_contract({"dtypes": [*FORMATS], "accumulators": WIDE}, FUNCTIONS)
    assert contract.accumulator("bfloat16") == "float32"
    assert contract.accumulator("float64") == "float64"


@pytest.mark.parametrize(
    ("not_claimed", "reason"),
    [
        (["conv2d"], "not_claimed must be a dict such as"),
        ({"float16": "conv2d"}, "not_claimed must be a dict such as"),
        ({"bfloat16": ["conv2d"]}, "claimed dtype 'bfloat16' is unknown; pick from"),
        ({"float16": ["conv4d"]}, "function 'conv4d' is unknown"),
    ],
)
def test_a_contract_with_wrong_exceptions_says_why(not_claimed, reason):
    with pytest.raises(ValueError, match=reason):
        read_contract({"dtypes": ["float32", "float16"], "not_claimed": not_claimed}, FUNCTIONS)


@pytest.fixture
def only_asked(monkeypatch):
    """Let a check make few of the calls that are listed, and take every answer for right.

    Which functions a check asks for, and in which dtypes, is the same.
    """
    in_turn, judge = call_list._judge_in_turn, call_list.judge
    monkeypatch.setattr(
        call_list, "_judge_in_turn", lambda exam, of, seed=0: in_turn(exam, of[:2], seed)
    )
    monkeypatch.setattr(call_list, "judge", lambda exam, of: judge(exam, of[:2]))
    monkeypatch.setattr(comparison, "_verdict", taken_for_right)
    monkeypatch.setattr(outcomes, "blindness", lambda *_: (1, ""))


def taken_for_right(backend, formula, call, got):
    """The verdict that no element is wrong."""
    del backend, formula, call
    return comparison.Verdict(np.zeros(got.shape, bool), True, np.zeros(got.shape), None)  # noqa: FBT003


@pytest.mark.usefixtures("only_asked")
@pytest.mark.parametrize(
    "operator", [o.name for o in OPERATORS if not o.name.endswith(("1d", "3d"))]
)
def test_what_is_not_claimed_in_a_dtype_is_never_asked_for_there(operator):
    """Asking may end the process, where a library has no such kernel."""
    every = [name for name in FUNCTIONS if hasattr(im2col, name)]
    for left in (every[::2], every[1::2]):
        asked = set()

        def recorded(name, asked=asked):
            def function(*arrays, **options):
                asked.update((name, a.dtype.name) for a in arrays if hasattr(a, "dtype"))
                return getattr(im2col, name)(*arrays, **options)

            return function

        candidate = SimpleNamespace(**{name: recorded(name) for name in every})
        candidate.contract = {
            "dtypes": ["float32", "float16"], "not_claimed": {"float16": left},
            "accumulators": {"float16": "float32"},
        }  # fmt: skip
        gradoracle.check(candidate, operators=[operator], examples=3, seed=1)
        assert asked
        unclaimed = {(name, "float16") for name in left} & asked
        assert not unclaimed


def test_what_is_not_claimed_in_a_dtype_is_not_judged_there_and_said():
    contract = {"dtypes": ["float32", "float16"], "not_claimed": {"float16": ["tanh_grad"]}}
    contract["accumulators"] = {"float16": "float32"}

    def tanh_grad(dy, z):
        assert z.dtype == np.float32
        return im2col.tanh_grad(dy, z)

    backend = SimpleNamespace(tanh=im2col.tanh, tanh_grad=tanh_grad, contract=contract)
    certificate = gradoracle.check(backend, operators=["tanh"], examples=20, seed=1)
    assert certificate.passed, certificate.why_not
    for outcome in (o for o in certificate.outcomes if o.status == "passed"):
        judged = {"float32", "float16"} if outcome.formula == "tanh" else {"float32"}
        assert set(outcome.calls) == judged
    assert "not claimed in float16: tanh_grad" in certificate.text()


def test_bfloat16_without_ml_dtypes_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    dtype_of.cache_clear()
    backend = SimpleNamespace(relu=im2col.relu, contract={"dtypes": ["bfloat16"]})
    try:
        with pytest.raises(UnusableBackend) as error:
            wrap(backend)
    finally:
        dtype_of.cache_clear()
    assert str(error.value) == (
        "backend 'SimpleNamespace' claims bfloat16: ml_dtypes is not installed: "
        "pip install 'gradoracle[bfloat16]'"
    )


def test_without_ml_dtypes_what_is_shipped_claims_no_bfloat16():
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "from gradoracle.implementations import im2col; import gradoracle\n"
        "c = gradoracle.check(im2col, operators=['relu'], examples=3, seed=1)\n"
        "print(c.verdict, c.contract['dtypes'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "CERTIFIED ('float32', 'float64', 'float16')"


# -- to a backend and back ------------------------------------------------------------------------

NUMBERS = np.array([[1.5, -0.0, np.inf], [np.nan, 2.0**-133, 3e38]]).astype(BFLOAT16)


@pytest.fixture
def segment(tmp_path):
    with (tmp_path / "memory").open("w+b") as file:
        file.truncate(1 << 16)
        yield Segment(__import__("os").dup(file.fileno()))


@pytest.mark.parametrize("array", [NUMBERS, NUMBERS.T, NUMBERS[:0], NUMBERS[0, 0].reshape(())])
def test_bfloat16_goes_over_the_wire_by_name(segment, array):
    name, shape, start = segment.lay(array)
    assert name == "bfloat16"
    there = segment.array([name, [*shape], start], 100)
    assert there.dtype == BFLOAT16
    assert there.shape == array.shape
    assert there.tobytes() == array.tobytes()


def test_no_other_name_stands_for_bfloat16(segment):
    segment.lay(NUMBERS)
    for name in (
        "bfloat1",
        "BFLOAT16",
        "bfloat16 ",
        "ml_dtypes.bfloat16",
        ["bfloat16"],
        None,
        "<V2",
    ):
        with pytest.raises(Garbled):
            segment.array([name, [2, 3], 0], 100)


@pytest.mark.parametrize("dtype", HALVES)
def test_what_lies_between_halves_is_nan(dtype):
    array = np.arange(6.0).reshape(2, 3).astype(dtype_of(dtype))
    for layout in LAYOUTS:
        other = laid(array, layout)
        assert other.dtype == array.dtype
        assert (other == array).all()
    sliced = laid(array, "sliced")
    assert np.isnan(sliced.base[..., 1::2]).all()


def test_dlpack_hands_on_no_bfloat16_and_the_verdict_says_what_does(torch):
    candidate = Candidate(
        SimpleNamespace(relu=lambda z: torch.ones(2, dtype=torch.bfloat16)), FUNCTIONS
    )
    reply = candidate.perform(Request("relu", [np.ones(2, BFLOAT16)], {}))
    assert reply.kind == "unread"
    assert "NumPy reads no bfloat16 through DLPack" in reply.text
    halves = Candidate(SimpleNamespace(relu=torch.from_numpy), FUNCTIONS)
    reply = halves.perform(Request("relu", [np.ones(2, np.float16)], {}))
    assert reply.kind == "answer"
    assert reply.arrays[0].dtype == np.float16


@pytest.mark.parametrize("name", ["im2col", "torch"])
def test_shipped_backends_claim_halves_with_accumulators_of_float32(name):
    if name == "torch":
        pytest.importorskip("torch")
    contract = load(name, IN_PROCESS).contract
    assert set(contract.dtypes) == set(FORMATS)
    assert contract.accumulators == WIDE


TRUNCATES = """
import numpy as np

contract = {"dtypes": ["float32", "bfloat16"], "accumulators": {"bfloat16": "float32"}}


def linear(x, weight, bias=None):
    if x.ndim != 2 or weight.ndim != 2 or (bias is not None and bias.shape != (len(weight),)):
        raise ValueError("shapes")
    y = np.ascontiguousarray(x.astype(np.float32) @ weight.T.astype(np.float32))
    y = y if bias is None else y + bias.astype(np.float32)
    if x.dtype == np.float32:
        return y
    return (y.view(np.uint32) >> 16).astype(np.uint16).view(x.dtype)
"""


@pytest.fixture
def truncating(tmp_path, monkeypatch):
    (tmp_path / "truncating.py").write_text(TRUNCATES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    yield "truncating"
    sys.modules.pop("truncating", None)


def test_a_bfloat16_backend_in_a_process_of_its_own_is_reported(truncating, tmp_path):
    certificate = gradoracle.check(truncating, operators=["linear"], seed=2, examples=60)
    met = {o.property_name: o for o in certificate.outcomes if o.status in FOUND}
    assert "what rounding in float32 explains" in met["within_rounding_bound"].reason
    found = {m.property_name: m for m in certificate.mismatches}
    report = certificate.mismatches[0]
    assert "x bfloat16[" in report.text
    assert report.script.startswith("import ml_dtypes")
    again = Certificate.from_json(certificate.to_json())
    assert [m.headline for m in again.mismatches] == [m.headline for m in certificate.mismatches]
    for one in found.values():
        script = tmp_path / "again.py"
        script.write_text(one.script)
        result = subprocess.run(  # noqa: PLW1510 - it fails
            [sys.executable, script], capture_output=True, text=True
        )
        assert result.returncode == 1
        assert "AssertionError" in result.stderr, result.stderr


def test_the_script_passes_once_it_rounds_to_nearest(truncating, tmp_path):
    certificate = gradoracle.check(
        truncating, operators=["linear"], seed=2, examples=60, stop_at_first_mismatch=True
    )
    (tmp_path / "truncating.py").write_text(TRUNCATES.replace(
        "return (y.view(np.uint32) >> 16).astype(np.uint16).view(x.dtype)",
        "return y.astype(x.dtype)",
    ))  # fmt: skip
    script = tmp_path / "again.py"
    script.write_text(certificate.mismatches[0].script)
    subprocess.run([sys.executable, script], capture_output=True, check=True)
    mended = gradoracle.check(truncating, operators=["linear"], seed=2, examples=60)
    assert mended.passed, mended.why_not
    assert mended.confinement["process"] == "a process of its own"
    assert "ml_dtypes" not in mended.confinement["modules"]


def test_a_bfloat16_answer_where_none_was_asked_for_is_told():
    backend = SimpleNamespace(relu=lambda z: z.astype(BFLOAT16), contract={"dtypes": ["float32"]})
    certificate = gradoracle.check(backend, operators=["relu"], examples=3, seed=1)
    assert "relu: got dtype bfloat16, want float32" in certificate.mismatches[0].headline


def test_limited_to_one_dtype_only_that_is_judged():
    backend = load("im2col")
    limit(backend, ["bfloat16"])
    certificate = gradoracle.check(backend, operators=["sgd_step"], examples=10, seed=1)
    backend.asked.close()
    assert certificate.passed
    assert {d for o in certificate.outcomes for d in o.calls} == {"bfloat16"}


def test_what_rounds_when_it_is_moved_is_not_called_exact():
    """y = 33*7 + 32 + 1 moves by 33 to 297, which bfloat16 lacks: 201, at |weight| + 1, it has."""
    bfloat16 = dtype_of("bfloat16")
    call = {
        "x": np.array([[33, -32]], bfloat16), "weight": np.array([[7, -1]], bfloat16),
        "bias": np.array([1], bfloat16), "grad_output": np.array([[1]], bfloat16),
    }  # fmt: skip
    backend = wrap("gradoracle.implementations.im2col")
    differences = PROPERTIES["finite_differences"]
    assert differences.check(backend, LINEAR, oracle.linear_grad_weight, call) == 0
