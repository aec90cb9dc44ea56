"""Backends are timed beside PyTorch and checked; runs are compared without false alarm."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import load, wrap
from gradoracle.conformance.benchmarks import cases, history, pictures
from gradoracle.conformance.benchmarks import large_calls as large_calls_
from gradoracle.conformance.benchmarks.case import UNVERIFIED
from gradoracle.conformance.benchmarks.command import Comparison
from gradoracle.conformance.benchmarks.history import (
    HistoryError,
    Saved,
    compare,
    named,
    read,
    saved,
    told,
)
from gradoracle.conformance.benchmarks.measure import LEAST, MOST, Product, Timed, rounds
from gradoracle.conformance.benchmarks.results import Timing, lines, timing
from gradoracle.conformance.cli import app
from gradoracle.conformance.operators import OPERATORS
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import output_of
from tests import transformed

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Let a name and its numbers share a line, whatever terminal the tests are run in."""
    monkeypatch.setenv("COLUMNS", "120")


ROOT = Path(__file__).parents[1]
QUICK = ("--networks=LeNet", "--images=1", "--dtypes=float32", "--seconds=0.02")


def pytest_run(*arguments, folder=ROOT):
    """What a new Python makes of a command line, away from this test's own settings."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_XDIST")}
    environment |= {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder, env=environment,
    )  # fmt: skip


def test_every_function_of_a_network_is_timed_beside_pytorch_and_judged(tmp_path):
    pytest.importorskip("torch")
    file = tmp_path / "run.json"
    ran = pytest_run("conformance/benchmarks", "--backend", "im2col", *QUICK,
                     f"--benchmark-json={file}")  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "in turns with torch; processor time, one thread" in ran.stdout
    assert re.search(r"matrix product: float32 \d+ GFLOP/s; copying: [\d.]+ GB/s", ran.stdout)
    count = int(re.search(r"(\d+) of \1 answers found right", ran.stdout)[1])
    run = read(file)
    assert count == len(run.timings) > 30
    assert {t.function for t in run.timings} >= {
        *(f"conv2d{of}" for of in ("", "_grad_input", "_grad_weight", "_grad_bias")), "linear",
        "relu", "max_pool2d", "avg_pool2d_grad_input", "softmax_grad", "cross_entropy", "sgd_step",
    }  # fmt: skip
    for one in run.timings:
        assert LEAST <= len(one.cpu) == len(one.wall) == len(one.beside_cpu) <= MOST
        assert one.ratio > 0
        assert one.wall_ratio > 0
        assert one.bytes > 0
    assert any(one.gflops() > 0 for one in run.timings)
    about = json.loads(file.read_text())["machine_info"]["gradoracle"]
    assert "thread" in about["BLAS"]
    assert {"NumPy", "PyTorch", "OPENBLAS_CORETYPE"} <= set(about)


def test_certification_leaves_the_benchmarks_alone():
    ran = pytest_run("conformance", "--collect-only", "-q", "--backend", "im2col")
    assert ran.returncode == 0, ran.stdout
    assert "test_certify[im2col-conv2d-matches_oracle]" in ran.stdout
    assert "test_function" not in ran.stdout


def test_the_suites_own_times_are_told_where_they_are_asked_for(tmp_path):
    file = tmp_path / "run.json"
    ran = pytest_run("conformance/benchmarks/test_suite.py", "--backend", "im2col", *QUICK, "-k",
                     "leaves_inputs_unchanged or Python", f"--benchmark-json={file}")  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"leaves_inputs_unchanged +[\d.]+ ms +\d+ a second", ran.stdout)
    assert re.search(r"Python itself +[\d.]+ ms", ran.stdout)
    run = read(file)
    assert [t.layer for t in run.timings] == ["leaves_inputs_unchanged", "Python itself"]
    assert {t.verdict for t in run.timings} == {"right"}


BACKEND = """
from gradoracle.implementations.im2col import *

def relu(z):
    return z.clip(0) + 1

def tanh(z):
    raise NotImplementedError("later")
"""


def test_any_backend_can_be_the_other_one():
    ran = pytest_run("conformance/benchmarks", "--backend", "oracle", *QUICK, "--functions=relu",
                     "--beside=im2col")  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "timing oracle in turns with im2col" in ran.stdout
    assert re.search(r"ms +/ other +wall", ran.stdout)
    assert re.search(r"relu LeNet 6x28x28( +[\d.]+){3}", ran.stdout)
    none = pytest_run("conformance/benchmarks", "--backend", "oracle", *QUICK, "--beside=nothing")
    assert (none.returncode, "no backend 'nothing'" in none.stderr) == (4, True)


def test_wrong_answers_fail_and_what_is_declined_is_skipped(tmp_path):
    (tmp_path / "mine.py").write_text(BACKEND)
    ran = pytest_run(
        str(ROOT / "conformance" / "benchmarks"), "--backend", "mine", *QUICK,
        "--functions=relu,relu_grad,tanh", "-c", os.devnull, folder=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout
    assert "1 failed, 1 passed, 1 skipped" in ran.stdout
    assert "wrong: relu[" in ran.stdout
    assert "1 of 2 answers found right" in ran.stdout


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--networks=AlexNet", "--networks 'AlexNet' is unknown; pick from ResNet-50"),
        ("--images=0", "--images must be numbers above 0, got '0'"),
        ("--dtypes=float16", "--dtypes 'float16' is unknown; pick from float32, float64"),
        (
            "--functions=relu7",
            "--functions 'relu7' is unknown; pick from conv2d, conv2d_grad_input",
        ),
        ("--backend=nothing", "no backend 'nothing'"),
        ("-n2", "leave out -n"),
    ],
)
def test_bad_options_are_told(option, said):
    ran = pytest_run("conformance/benchmarks", option, "--collect-only", "-q")
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert said in ran.stderr + ran.stdout


def one_of_each():
    """One case of every function, the smallest layer."""
    found = {}
    for case in cases.cases(("LeNet", "U-Net"), (2,), ("float32",)):
        if case.network == "LeNet" or case.function.startswith("conv_transpose2d"):
            found.setdefault(case.formula, case)
    return [case for case in found.values() if "transpose" not in case.function]


@pytest.mark.parametrize("case", one_of_each(), ids=lambda case: case.formula.__name__)
def test_answers_are_judged_in_every_function(case):
    backend, call = wrap(im2col), case.call()
    timed = Timed(backend, case.formula, call)
    timed.once()
    got = timed.answer()
    assert case.verdict(backend, call, got) == "right"
    with pytest.raises(Mismatch):
        case.verdict(backend, call, got * np.float32(1.01) + np.float32(1))


def large_calls():
    """One large call of every function that no layer of a network has."""
    return [*cases.cases((cases.LARGE,), (1,), ("float32",))]


@pytest.mark.parametrize("case", large_calls(), ids=lambda case: case.formula.__name__)
def test_answers_of_large_calls_are_checked(case):
    backend, call = wrap(im2col), case.call()
    largest = max(v.size for v in call.values() if isinstance(v, np.ndarray))
    assert large_calls_.ELEMENTS / 4 <= largest <= large_calls_.ELEMENTS
    if not backend.has(case.formula):
        return  # a function for all gradients at once, where im2col has one for each
    timed = Timed(backend, case.formula, call)
    timed.once()
    answers = timed.answers(call)
    for part, got in answers.items():
        assert case.verdict(backend, call, got, part) == "right"
        with pytest.raises(Mismatch):
            case.verdict(backend, call, got + got.dtype.type(1), part)


def test_every_function_is_timed():
    timed = {case.function for case in cases.cases(cases.all_networks(), (1,), ("float32",))}
    chains = {"network_backward", "graph_backward"}  # no function of a backend
    known = {output_of(f).function for o in OPERATORS for f in o.formulas}
    assert timed == known - chains
    assert len({case.name for case in large_calls()}) == len(large_calls())


def test_eight_images_are_eight_times_as_many():
    (one,) = (c for c in large_calls() if c.function == "layer_norm")
    (eight,) = (c for c in cases.cases((cases.LARGE,), (8,), ("float32",))
                if c.function == "layer_norm")  # fmt: skip
    assert len(eight.call()["x"]) == 8 * len(one.call()["x"])
    assert eight.layer == one.layer


def test_transforms_are_timed_and_not_judged():
    backend = wrap(transformed.backend("winograd2"))
    case = next(cases.cases(("LeNet",), (1,), ("float32",)))
    call = case.call()
    timed = Timed(backend, case.formula, call)
    timed.once()
    assert case.verdict(backend, call, timed.answer()) == UNVERIFIED


def test_every_layer_of_a_network_is_there():
    found = [*cases.cases(cases.all_networks(), (1,), ("float32",))]
    assert len({case.name for case in found}) == len(found)
    assert {case.network for case in found} >= {
        "LeNet", "VGG-16", "ResNet-50", "MobileNet v2", "U-Net",
    }  # fmt: skip
    forward = [c for c in found if c.network == "ResNet-50" and c.formula.__name__ == "conv2d"]
    assert sum(case.products for case in forward) > 10**9


def test_late_results_are_waited_for_and_short_calls_repeated():
    waited = []
    lazy = SimpleNamespace(relu=lambda z: z, synchronize=lambda: waited.append(1))
    case = next(c for c in cases.cases(("LeNet",), (1,), ("float32",)) if c.function == "relu")
    timed = Timed(wrap(lazy), case.formula, case.call())
    assert LEAST <= rounds([timed], 0.01) <= MOST
    assert timed.repeat > 10
    timed.round()
    assert len(waited) == 2 + 2 * timed.repeat
    assert len(timed.times.cpu) == len(timed.times.wall) == 1
    with pytest.raises(TypeError, match="only a backend in this process"):
        Timed(load("im2col"), case.formula, case.call())


# Runs that nobody timed, to tell what comparing them says.


def made(case, seconds, *, beside=0.0, **changes):
    alone = {"beside_wall": (), "beside_cpu": ()}
    both = {n: (beside,) * len(seconds) for n in alone} if beside else alone
    whole = {
        "case": case, "backend": "mine", "network": "LeNet", "layer": case, "function": "relu",
        "formula": "relu", "images": 1, "dtype": "float32", "products": 1000, "bytes": 100,
        "verdict": "right", "wall": tuple(seconds), "cpu": tuple(seconds), **both, **changes,
    }  # fmt: skip
    return Timing(**whole)


def run_of(*timings, machine="a", run="r", when="2026-01-01", commit="abc", number=1):
    return Saved(
        (Path(f"{number:04}_mine.json"),), run, when, commit, {"processor": machine}, timings,
        {"float32": 1e11}, 1e10,
    )  # fmt: skip


def noisy(random, *, processes=3, cases_=40, spread=0.05, slower=(), by=1.3):
    """A run: every process has its own luck in every case, and every round a little."""
    timings = []
    for _ in range(processes):
        for case in range(cases_):
            usual = 1e-3 * np.exp(spread * random.standard_normal())
            usual *= by if case in slower else 1
            timings.append(
                made(f"case {case}", usual * (1 + 0.01 * random.random(20)), beside=1e-3)
            )
    return run_of(*timings)


def test_noise_is_not_told_and_a_change_is():
    random = np.random.default_rng(1)
    alarms = found = 0
    for _ in range(40):
        old = noisy(random)
        alarms += sum(change.told for change in compare(old, noisy(random)))
        changes = compare(old, noisy(random, slower={7}))
        assert {c.verdict for c in changes} <= {"same", "slower", "faster"}
        found += next(c for c in changes if c.case == "case 7").verdict == "slower"
        alarms += sum(c.told for c in changes if c.case != "case 7")
    assert alarms <= 2  # of 3200; each of 80 comparisons has one with a chance of 1 %
    assert found >= 20
    twice = compare(noisy(random), noisy(random, slower={7, 8}, by=2.0))
    assert [c.case for c in twice if c.verdict == "slower"] == ["case 7", "case 8"]
    faster = compare(noisy(random, slower={3}, by=2.0), noisy(random))
    assert [c.case for c in faster if c.verdict == "faster"] == ["case 3"]


def test_a_small_change_is_not_worth_telling_however_sure():
    old = run_of(*[made("a", [1.0, 1.0001] * 10)] * 5)
    new = run_of(*[made("a", [1.05, 1.0501] * 10)] * 5)
    assert not compare(old, new)[0].told
    assert compare(old, new, least=0.02)[0].told


def test_a_slower_machine_slows_pytorch_as_well():
    old = run_of(*[made("a", [1.0, 1.01] * 10, beside=1.0)] * 5)
    new = run_of(*[made("a", [2.0, 2.02] * 10, beside=2.0)] * 5)
    assert compare(old, new)[0].factor == pytest.approx(1)
    alone = run_of(*[made("a", [2.0, 2.02] * 10)] * 5)
    assert compare(old, alone)[0].factor == pytest.approx(2)


def test_comparisons_say_what_changed_and_refuse_what_cannot_be_compared(capsys):
    old = run_of(*[made("a", [1.0, 1.01] * 10)] * 5)
    new = run_of(*[made("a", [2.0, 2.02] * 10)] * 5, number=2)
    text = "\n".join(told(compare(old, new)))
    assert "slower: a  x 2.00" in text
    assert "1 slower, 0 faster, 0 the same but for noise" in text
    assert Comparison(0.1).told(old, new) == 0
    assert Comparison(0.1, fail=True).told(old, new) == 1
    assert Comparison(0.1, fail=True).told(new, old) == 0
    capsys.readouterr()
    other = replace(new, machine={"processor": "b"})
    with pytest.raises(HistoryError, match="not from the same machine .*'a' was 'b' later"):
        Comparison(0.1).told(old, other)
    assert Comparison(0.1, any_machine=True).told(old, other) == 0
    assert "another machine: processor: 'a' was 'b' later" in capsys.readouterr().out
    with pytest.raises(HistoryError, match="nothing in common"):
        compare(old, run_of(made("b", [1.0] * 10)))


def test_tables_show_ratios_means_and_what_was_wrong():
    timings = [
        made("a", [1.0] * 10, beside=2.0), made("b", [4.0] * 10, beside=2.0),
        made("c", [1.0] * 10, products=0, verdict="wrong: c"),
    ]  # fmt: skip
    text = "\n".join(lines(timings, {"float32": 4000.0}, 200.0))
    assert re.search(r"LeNet a +1000.000 +0.50 +0.50 +0.0 +25%", text)
    assert re.search(r"geometric mean of LeNet, 2 layers +1.00 +1.00", text)
    assert re.search(r"relu LeNet c +1000.000 +0.0 +50%", text)
    assert "2 of 3 answers found right" in text
    assert "mine c: wrong: c" in text


def test_tables_show_what_the_products_alone_take_and_the_memory_held():
    one = replace(
        made("a", [1.0] * 10, beside=2.0), product_cpu=(1.5,) * 10, bytes=100, own=40, peak=90
    )
    assert (one.product_ratio, one.memory) == (0.75, 1.5)
    unseen = replace(one, peak=10)  # less than its result: it lies where nothing is counted
    assert unseen.memory is None
    text = "\n".join(lines([one, one], {"float32": 4000.0}, 200.0))
    assert re.search(r"LeNet a +1000.000 +0.50 +0.50 +0.75 +0.0 +25% +1.50", text)
    assert re.search(r"geometric mean of LeNet, 2 layers +0.50 +0.50 +0.75", text)


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_numbers_fit_a_narrow_screen(columns, monkeypatch):
    timings = [made(n, [0.5] * 10, beside=1.0, products=1000) for n in "ab"]
    wide_lines = [*lines(timings, {"float32": 4000.0}, 200.0)]
    monkeypatch.setenv("COLUMNS", f"{columns}")
    narrow = [*lines(timings, {"float32": 4000.0}, 200.0)]
    assert max(map(len, narrow)) <= columns
    assert " ".join(narrow).split() == " ".join(wide_lines).split()


def test_products_are_those_of_the_formula():
    some = [
        one
        for one in cases.cases(cases.all_networks(), (2,), ("float32",))
        if one.sides is not None
    ]
    assert {one.function for one in some} == {
        f"{of}{what}"
        for of in (*(f"conv{t}{rank}d" for t in ("", "_transpose") for rank in (1, 2, 3)), "linear")
        for what in ("", "_grad_input", "_grad_weight")
    }  # fmt: skip
    assert all(math.prod(one.sides) == one.products for one in some)
    product = Product(some[0].sides, "float32")
    product.round()
    assert len(product.times.cpu) == 1


def test_the_memory_that_a_call_holds_is_its_result_and_what_it_needs_beside_it():
    some = cases.cases(("LeNet",), (1,), ("float32",))
    case = next(one for one in some if one.function == "linear")
    timed = Timed(wrap(im2col), case.formula, case.call())
    assert 4 * 120 <= timed.peak() < 4 * 120 + 2000


def test_files_that_are_no_runs_are_told(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"benchmarks": [{"extra_info": {"cpu": [1]}}]}')
    for file in (bad, tmp_path / "none.json"):
        said = "is no run of gradoracle's benchmarks|cannot be read: No such file"
        with pytest.raises(HistoryError, match=said):
            read(file)
    with pytest.raises(ValueError, match="'case' is missing"):
        timing({"cpu": [1]})
    with pytest.raises(HistoryError, match="has the number 7; there are 0001_mine"):
        named([run_of(made("a", [1.0]))], "7")


def test_pictures(tmp_path, monkeypatch):
    random = np.random.default_rng(1)
    runs = [replace(noisy(random), when=f"2026-01-0{day}", commit=f"c{day}") for day in (1, 2, 3)]
    for name, narrow in (("p.png", False), ("p.svg", False), ("n.svg", True)):
        pictures.draw(runs, tmp_path / name, narrow=narrow)
        assert (tmp_path / name).stat().st_size > 10_000
    means = pictures.means_of([*runs, run_of(made("case 0", [1.0], beside=2.0))], "relu")
    assert means[-1] == pytest.approx(0.5)
    assert means[0] == pytest.approx(1, rel=0.2)
    assert pictures.means_of([run_of(made("a", [1.0], beside=2.0)), runs[0]], "relu")[0] is None

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(pictures, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'gradoracle\[bench\]'"):
        pictures.draw(runs, tmp_path / "q.png")
    monkeypatch.setattr(history, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'gradoracle\[bench\]'"):
        compare(runs[0], runs[1])


def test_bands_are_of_the_processes_of_a_run():
    run = run_of(*[made("a", [seconds], beside=1.0) for seconds in (1.0, 2.0, 4.0)])
    assert pictures.bands_of([run], "relu") == [(1.0, 4.0)]
    assert pictures.means_of([run], "relu") == [pytest.approx(2.0)]
    other = run_of(made("b", [1.0], beside=1.0))
    assert pictures.bands_of([other, run], "relu") == [None, (1.0, 4.0)]


def test_a_picture_sums_up_and_names_the_slowest_layers():
    cases_ = [made(f"case {at}", [1.0 + at], beside=1.0) for at in range(30)]
    other = made("case 3", [0.5], beside=1.0, formula="tanh")
    run = run_of(*cases_, other)
    named = pictures.slowest(run)
    assert len(named) == pictures.MOST
    assert named[-1] == "LeNet case 29"
    first, mean, ends = pictures.summary(run)
    assert first == "mine, run 0001_mine: 30 cases timed"
    assert re.fullmatch(r"[\d.]+ of PyTorch's processor time in the mean", mean)
    assert re.fullmatch(r"fastest tanh 0.50, slowest relu [\d.]+", ends)
    beside = replace(run, machine={"beside": "im2col"})
    assert "of im2col's processor time" in "".join(pictures.summary(beside))
    alone = run_of(made("a", [1.0]))
    assert [*pictures.summary(alone)] == ["mine, run 0001_mine: 1 case timed alone, beside nothing"]


def test_a_picture_says_how_fast_the_roof_is(tmp_path):
    pytest.importorskip("matplotlib").rcParams["svg.fonttype"] = "none"
    runs = [noisy(np.random.default_rng(1), cases_=3)]
    pictures.draw(runs, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    for said in ("roof of float32: NumPy's matrix product, 200", "copying, 10.0 GB/s", "case 2"):
        assert said in text.replace("&#x27;", "'"), said


def test_the_command_keeps_compares_and_draws(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    bench = ["bench", "im2col", *QUICK, "--functions=relu,linear"]
    nothing = CliRunner().invoke(app, [*bench, "--compare"])
    assert nothing.exit_code == 2
    assert "no run of im2col is kept in" in nothing.output
    first = ["--save", "--processes=2"]
    for more in (first, ["--save", "--processes=1", "--compare", "--picture", "p.png"]):
        ran = CliRunner().invoke(app, [*bench, *more])
        assert ran.exit_code == 0, ran.output
    assert "the same but for noise" in ran.output
    assert (tmp_path / "p.png").stat().st_size > 10_000
    runs = saved(Path(".gradoracle/benchmarks"), "im2col")
    assert [run.name for run in runs] == ["0001_im2col", "0003_im2col"]
    assert len(runs[0].timings) == 2 * 4
    assert saved(Path(".gradoracle/benchmarks"), "torch") == []
    shown = CliRunner().invoke(app, ["history", "im2col", "1", "3", "--picture", "h.svg"])
    assert shown.exit_code == 0, shown.output
    assert "0001_im2col" in shown.output
    assert "the same but for noise" in shown.output
    wrong = CliRunner().invoke(app, ["bench", "nothing", *QUICK])
    assert wrong.exit_code == 2
    empty = CliRunner().invoke(app, ["history", "--storage", "elsewhere"])
    assert empty.exit_code == 2
    assert "gradoracle bench NAME --save" in empty.output


def test_channels_last_is_pytorch_in_one_group():
    pytest.importorskip("torch")
    from gradoracle.implementations.torch_reference import channels_last

    some = cases.cases(("LeNet",), (1,), ("float32",))
    case = next(c for c in some if c.function == "conv2d" and c.layer.startswith("6x14"))
    timed = Timed(wrap(channels_last), case.formula, case.call())
    timed.once()
    assert timed.result.stride()[1] == 1  # the channels of a pixel lie side by side
    assert case.verdict(wrap(channels_last), case.call(), timed.answer()) == "right"
    x, weight = np.ones((1, 2, 2, 1), np.float32), np.ones((4, 1, 1, 1), np.float32)
    options = {"stride": (1, 2), "padding": (0, 1), "dilation": (1, 2), "groups": 2}
    with pytest.raises(NotImplementedError, match="may crash"):
        channels_last.conv2d(*map(channels_last.from_numpy, (x, weight)), **options)
