"""`gradoracle prove`: right kernels are proved, wrong ones are told with the smallest numbers."""

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from gradoracle import oracle
from gradoracle.conformance.backends.registry import IN_PROCESS
from gradoracle.conformance.cli.prove import prove as prove_command
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.proofs.proof import DEGREE, MISSED, POINTS, in_words, signed, verdict
from gradoracle.conformance.proofs.run import cast_to_integers, proofs
from gradoracle.conformance.proofs.shapes import calls
from gradoracle.conformance.runs.loading import load, wrap
from gradoracle.implementations import hostcuda
from gradoracle.implementations.hostcuda.field import with_elements
from gradoracle.oracle.declaration import evaluate
from gradoracle.oracle.numbers.residues import Residue, Undecidable, residues, values_of

FILE = Path(__file__).parent / "cuda" / "proofs" / "convolution.cu"
TEXT = FILE.read_text()
PRIME = hostcuda.PRIMES[0]
NUMBERS = st.fractions(max_denominator=1000)


# -- numbers --------------------------------------------------------------------------------------


@given(a=NUMBERS, b=NUMBERS, c=NUMBERS)
def test_residues_compute_as_fractions_do(a, b, c):
    def of(number):
        return Residue(hostcuda.residue(number, PRIME), PRIME)

    want = a * b - c + 3 * a - b / 7 + a**2
    got = of(a) * of(b) - c + 3 * of(a) - of(b) / 7 + of(a) ** 2
    assert got.remainder == of(want).remainder
    if c:
        assert (of(a) / of(c)).remainder == of(a / c).remainder
        assert (2 / of(c)).remainder == of(2 / c).remainder


def test_residues_cannot_be_compared_and_have_no_functions():
    x = residues(np.array([[1, 2]]), PRIME)
    for formula, call in ((oracle.relu, {"z": x}), (oracle.softmax, {"z": x, "axis": -1})):
        with pytest.raises(Undecidable):
            evaluate(formula, call)
    with pytest.raises(Undecidable):
        oracle.prelu(x.reshape(1, 1, 1, 2), residues(np.array([3]), PRIME))
    with pytest.raises(Undecidable, match="no residue is -inf"):
        x + np.float32(-np.inf)
    with pytest.raises(ZeroDivisionError):
        Residue(1, PRIME) / Residue(PRIME, PRIME)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.5f + .25 + 2.f + 1e-3f + 1.5e2", ["1/2", "1/4", "2", "1/1000", "150"]),
        ("x1.f + a[1].y + 0x1f + 12 + v2.x", []), ('"0.5" // 0.5', []), ("3f", ["3"]),
        ("#define HALF 0.5f", ["1/2"]),
    ],
)  # fmt: skip
def test_numbers_of_a_text_become_elements(text, numbers):
    found = re.findall(r"::hostcuda::Element::from\((\d+)u\)", with_elements(text, PRIME))
    assert [int(one) for one in found] == [hostcuda.residue(Fraction(n), PRIME) for n in numbers]


def test_residues_are_printed_as_the_numbers_that_they_are_of():
    for number in ("0", "-3", "1/9", "-2/3", "65535"):
        assert signed(hostcuda.residue(Fraction(number), PRIME), PRIME) == number
    assert signed(123456789, PRIME) == "another number"
    assert signed(2**32 - 1, PRIME) == "what was in memory before"


def test_a_formula_on_residues_is_the_formula_on_integers():
    rng = np.random.default_rng(1)
    x, weight = rng.integers(-9, 9, (2, 2, 5, 4)), rng.integers(-9, 9, (3, 2, 3, 2))
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 1), "groups": 1}
    want = oracle.conv2d(x.astype(np.float64), weight.astype(np.float64), None, **options)
    got = oracle.conv2d(residues(x, PRIME), residues(weight, PRIME), None, **options)
    assert np.array_equal(values_of(got, PRIME), want.astype(np.int64) % PRIME)


def test_the_chance_to_miss_a_difference_is_what_is_said():
    assert all((DEGREE / prime) ** POINTS < MISSED for prime in hostcuda.PRIMES)
    assert f"{MISSED:.0e}" in " ".join(prove_command.__doc__.split())


def test_kernels_run_in_every_order_of_threads():
    with hostcuda.modulo(PRIME):
        assert hostcuda.settings().orders == ("forward", "reverse", "shuffle")
        assert hostcuda.settings().mode == "check"


def test_a_field_is_of_one_of_the_primes():
    with pytest.raises(ValueError, match="prime must be one of"), hostcuda.modulo(7):
        pass


# -- kernels --------------------------------------------------------------------------------------


def proved(path, at=None, count=10, seed=1, names=None):
    """Return what comes of the functions of a file, by name."""
    backend = load(f"{path}@host", IN_PROCESS)
    operators = [o for o in OPERATORS if names is None or o.name in names]
    return {p.formula: p for p in proofs(backend, operators, at or {}, count, seed, lambda _: None)}


@pytest.mark.slow
def test_right_kernels_are_proved_at_ten_shapes():
    found = proved(FILE)
    assert found.pop("relu").status == "undecided"
    assert {one.status for one in found.values()} == {"proved"}, [*map(str, found.values())]
    assert {len(one.shapes) for one in found.values()} == {10}
    assert len(found) == 6
    strides = {re.search(r"stride = (.*?), padding", s)[1] for s in found["conv2d"].shapes}
    assert len(strides) > 1


@pytest.mark.slow
def test_the_shipped_kernels_are_proved():
    found = [*proofs(load("cupy@host", IN_PROCESS), OPERATORS, {}, 10, 1, lambda _: None)]
    assert {one.status for one in found} == {"proved", "undecided"}
    known = {one.formula for one in found if one.status == "proved"}
    assert len(known) >= 45
    assert {"conv2d_grad_input", "conv2d_grad_weight", "matmul_grad_other"} <= known


# A function, what its text has, and what stands there instead.
FAULTS = {
    "flipped": ("conv2d_grad_input", "* KH + p) * KW + q];\n            }\n    dx",
                "* KH + KH - 1 - p) * KW + KW - 1 - q];\n            }\n    dx"),
    "no bias": ("conv2d", "b ? b[m] : 0.0f", "0.0f"),
    "bias of the next": ("conv2d", "b[m] : 0.0f", "b[(m + 1) % M] : 0.0f"),
    "dilation of the other side": ("conv2d", "p * DH", "p * DW"),
    "stride of the other side": ("conv2d", "ow * SW", "ow * SH"),
    "the first row is no pixel": ("conv2d", "h >= 0 && h < H", "h > 0 && h < H"),
    "every third channel": ("conv2d", "c < C; ++c", "c < C; c += 1 + c % 2"),
    "a number that is nearly 1": ("conv2d", "y[i] = sum", "y[i] = 1.0000001f * sum"),
    "remainders of strides": ("conv2d_grad_input", "oh % SH || ow % SW || ", ""),
    "a tap is left out": ("conv2d_grad_input", "if (oh < 0 ||", "if (q == 2 || oh < 0 ||"),
    "half of the tree": ("conv2d_grad_weight", "int half = 16", "int half = 8"),
    "one image only": ("conv2d_grad_weight", "i < N * OH * OW", "i < OH * OW"),
    "overwrites": ("conv2d_grad_weight", "sum += dy[((n * M + m) * OH + oh) * OW + ow] * x",
                   "sum = dy[((n * M + m) * OH + oh) * OW + ow] * x"),
    "counts what is outside": ("avg_pool2d", "1.0f / (KH * KW)", "1.0f / (KH * KW + PH)"),
    "divides as integers do": ("avg_pool2d", "1.0f / (KH * KW)", "1 / (KH * KW)"),
    "not zeroed": ("linear_grad_weight", "zero(dw)", "dw"),
    "the last sample": ("linear_grad_weight", "n < N; ++n", "n < N - 1; ++n"),
    "steps up": ("sgd_step", "w[i] - rate", "w[i] + rate"),
    "squares": ("sgd_step", "rate * g[i]", "rate * g[i] * g[i]"),
}  # fmt: skip


def with_fault(tmp_path, name):
    """Return the function that has a fault, and the file that it is in."""
    function, there, instead = FAULTS[name]
    assert TEXT.count(there) >= 1
    file = tmp_path / "wrong.cu"
    file.write_text(TEXT.replace(there, instead, 1))
    return function, file


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_kernel_is_told_with_the_smallest_numbers(tmp_path, name):
    function, file = with_fault(tmp_path, name)
    operator = next(o for o in OPERATORS if function in {f.__name__ for f in o.formulas})
    found = proved(file, names=[operator.name])
    assert found[function].status == "differs"
    assert {p.status for f, p in found.items() if f != function} <= {"proved"}
    # One or two numbers in a product; what is neither, such as a bias, alone.
    assert found[function].reason.count(" = ") <= 3, found[function].reason
    assert f"{function}[" in found[function].reason


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_faults_are_found_from_every_seed(tmp_path, seed):
    for name in ("flipped", "dilation of the other side", "squares"):
        function, file = with_fault(tmp_path, name)
        operator = next(o.name for o in OPERATORS if function in {f.__name__ for f in o.formulas})
        assert proved(file, seed=seed, names=[operator])[function].status == "differs"


@pytest.mark.slow
def test_what_takes_numbers_for_integers_is_not_called_wrong(tmp_path):
    file = tmp_path / "bits.cu"
    file.write_text(
        "// gradoracle: batch_mean = mean<<<1, out.size>>>(gradient_per_image, out, out.size, N)\n"
        "__global__ void mean(const float *g, float *out, int n, int b) {\n"
        "    float sum = 0;\n"
        "    for (int i = 0; i < b; ++i) sum += g[i * n + threadIdx.x];\n"
        "    const int sign = *(const int *)&sum & 0x80000000;\n"
        "    out[threadIdx.x] = sign ? -(-sum / b) : sum / (2 * b - b - 0 * sign);\n"
        "}\n"
    )
    assert cast_to_integers(str(file)).startswith("bits.cu:5: takes a pointer for one to integers")
    assert not cast_to_integers(str(FILE))
    assert proved(file)["batch_mean"].status == "proved"
    file.write_text(file.read_text().replace("-(-sum / b)", "sum / b + 1"))
    found = proved(file)["batch_mean"]
    assert found.status == "undecided"
    assert "bits.cu:5" in found.reason


RACE = ("__syncthreads();", ";")
NOT_DECIDED = {
    "compares": ("sum = b ?", "sum = x[0] > 0 ? 1.0f : b ?", "compares numbers"),
    "a function": ("y[i] = sum;", "y[i] = sqrtf(sum) * sqrtf(sum);", "takes a function"),
    "a cast": ("y[i] = sum;", "y[i] = (int) sum;", "wrong.cu:"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_DECIDED)
def test_what_depends_on_the_numbers_is_not_decided_and_the_line_is_told(tmp_path, name):
    there, instead, told = NOT_DECIDED[name]
    file = tmp_path / "wrong.cu"
    file.write_text(TEXT.replace(there, instead, 1))
    line = file.read_text()[: file.read_text().index(instead)].count("\n") + 1
    found = proved(file, names=["conv2d"])
    assert found["conv2d"].status == "undecided"
    assert told in found["conv2d"].reason
    assert f"wrong.cu:{line}" in found["conv2d"].reason
    assert found["conv2d_grad_input"].status == "proved"


@pytest.mark.slow
def test_a_missing_barrier_is_a_fault(tmp_path):
    file = tmp_path / "wrong.cu"
    file.write_text(TEXT.replace(*RACE, 1))
    found = proved(file, names=["conv2d"])["conv2d_grad_weight"]
    assert found.status == "fault"
    assert "uninitialised shared memory" in found.reason  # or a race, in another order of threads


def test_an_answer_of_another_shape_is_a_fault():
    linear = next(o for o in OPERATORS if o.name == "linear")
    backend = wrap(SimpleNamespace(linear=lambda x, weight, bias: x[:, :0]))
    (call,) = calls(backend, linear, linear.formula, "n = 2, k = 3, m = 4, bias absent", 1)
    came = verdict(backend, linear.formula, call, 1)
    assert (came.status, came.reason) == ("fault", "linear: got shape [2, 0], want [2, 4]")


@pytest.mark.slow
def test_the_shape_is_the_one_that_was_asked_for():
    at = "n = 1, c = 2, h = 6, w = 5, m = 3, p = 3, q = 2, stride = 2, padding = 1, dilation = 1"
    found = proved(FILE, at={"conv2d": at})
    assert {one.status for one in found.values()} == {"proved"}
    for shape in found["conv2d"].shapes:
        assert shape.startswith("c = 2, h = 6, m = 3, n = 1, p = 3, q = 2, w = 5, stride = 2")
    assert len(found["conv2d"].shapes) == 2  # with a bias and without
    with pytest.raises(ValueError, match="no function of it; it has those of"):
        proved(FILE, at={"softmax": "n = 1"})
    with pytest.raises(ValueError, match="'z' is no option, axis"):
        proved(FILE, at={"conv2d": "z = 1"})


def test_why_a_kernel_cannot_be_decided_is_one_line():
    told = "k.cu:3:7: error: no match for \u2018operator<\u2019 (operand types are ...)"
    assert in_words(told) == "k.cu:3: compares numbers: what it does depends on them"
    assert in_words("wholly unknown") == "wholly unknown"


# -- the command ----------------------------------------------------------------------------------


def prove(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "gradoracle", "prove", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_prints_writes_and_ends_with_its_codes(tmp_path):
    done = prove(FILE, "--operators", "linear,sgd_step", "--json", "p.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "linear_grad_weight               PROVED at 10 shapes" in done.stdout
    assert "A proof is about real numbers" in done.stdout
    kept = json.loads((tmp_path / "p.json").read_text())
    assert [one["formula"] for one in kept["proofs"]] == ["linear_grad_weight", "sgd_step"]
    assert all(len(one["shapes"]) == 10 for one in kept["proofs"])

    undecided = prove(FILE, "--operators", "relu", cwd=tmp_path)
    assert undecided.returncode == 3
    assert "not decided: relu\n    its formula compares numbers" in undecided.stdout

    with_fault(tmp_path, "steps up")
    wrong = prove("wrong.cu", "--operators", "sgd_step", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "sgd_step                         WRONG; holds at 0 shapes" in wrong.stdout
    assert re.search(r"with gradient\[0\] = \S+ and 0 elsewhere:\n    sgd_step\[0\]", wrong.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("im2col",), "im2col is no CUDA text that runs on the CPU: give a kernel.cu"),
        (("nothing.cu",), "there is no file 'nothing.cu'"),
        ((FILE, "--at", "conv2d"), "'conv2d' is no domain; write one like"),
        ((FILE, "--at", "conv2d: z = 1"), "domain of conv2d: 'z' is no option"),
        ((FILE, "--operators", "conv9d"), "no operator 'conv9d'"),
    ],
)
def test_what_is_asked_wrongly_is_told(tmp_path, arguments, said):
    done = prove(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
