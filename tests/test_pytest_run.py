"""`pytest conformance` as a user runs it: options, exit codes, what is printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.pytest_plugin import hooks
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col
from tests.plugin import PLUGIN
from tests.torchless import without_torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent

# Backends of conv2d alone: what else there is, is not claimed.
CONV2D = "from gradoracle.implementations.im2col import conv2d, conv2d_grad_weight"
FLIPPED = f"""
from gradoracle.implementations import im2col
{CONV2D}, conv2d_grad_bias
def conv2d_grad_input(grad_output, weight, **options):
    return im2col.conv2d_grad_input(grad_output, weight[:, :, ::-1, ::-1], **options)
"""
# The functions of a few operators of im2col, and what it claims of them; .ci/run has all of them.
RIGHT = """
from gradoracle.implementations.im2col import contract, max_pool2d, max_pool2d_grad_input
from gradoracle.implementations.im2col import linear, linear_grad_bias, relu, relu_grad, softmax
"""
# Light ones, where it does not matter what they compute.
DECLINES = """
from gradoracle.implementations.im2col import relu
def relu_grad(grad_output, z):
    raise NotImplementedError("no gradient yet")
"""
FORWARD_ONLY = "from gradoracle.implementations.im2col import relu"
NOTHING = "x = 1"
UNIMPORTABLE = "import a_library_that_is_not_there"
NO_TORCH = """
import importlib.abc, sys
class NoTorch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
import importlib.util
_find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else _find(name, *rest)
"""


@pytest.fixture
def run(tmp_path):
    def run(*arguments, path="conformance", torch=False, **modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        hidden = [] if torch else [without_torch(tmp_path)]
        variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *hidden, str(ROOT)])}
        return subprocess.run(
            [sys.executable, "-m", "pytest", path, "-p", "no:cacheprovider", *arguments],
            cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


QUICK = ("--hypothesis-profile", "quick")
CASES = [(formula.__name__, property_.name) for _, formula, property_ in checks()]
WHOLE = len(CASES)
# Are claimed, or not asked for.
OF_NOBODY = (
    "is_deterministic", "is_batch_invariant", "is_thread_safe", "writes_into_out",
    "selects_by_output_mask", "matches_forward_mode", "matches_double_backward",
)  # fmt: skip
POLICIES = (*OF_NOBODY, "keeps_subnormals")
IN_RIGHT = ("max_pool2d_values", "max_pool2d_indices", "max_pool2d_grad_input", "linear",
            "linear_grad_bias", "relu", "relu_grad", "softmax")  # fmt: skip
# By im2col's contract.
CLAIMED = sum(f in IN_RIGHT and name not in OF_NOBODY for f, name in CASES)


def chosen(*words, of=None):
    """Return how many checks `-k "word or word ..."` leaves, or of these formulas."""
    asked = [(f, p) for f, p in CASES if of is None or f in of]
    return sum(any(word in f"{f}-{p}" for word in words) for f, p in asked)


def test_right_backend_passes_and_prints_its_certificate(run, tmp_path):
    file = tmp_path / "certificate.json"
    arguments = ("--backend", "right", *QUICK, "--certificate", str(file))
    result = run(*arguments, torch=True, right=RIGHT)
    assert result.returncode == 0, result.stdout
    assert "CERTIFIED" in result.stdout
    assert f" {CLAIMED} passed in " in result.stdout
    assert re.search(r"certifying right; profile quick, 25 examples a check .* seed \d+",
                     result.stdout)  # fmt: skip
    data = json.loads(file.read_text())
    assert data["certified"] is True
    assert len(data["outcomes"]) == len(data["expected"]) == WHOLE


def test_wrong_backend_fails_with_its_counterexample(run, tmp_path):
    file = tmp_path / "certificate.json"
    some = "conv2d_grad_input and (matches_oracle or slope) or conv2d_grad_bias"
    common = ("--backend", "flipped", *QUICK, "-k", some)
    result = run(*common, "--certificate", str(file), flipped=FLIPPED)
    assert result.returncode == 1
    assert "flipped breaks matches_oracle" in result.stdout
    assert "flips twice" in " ".join(result.stdout.split())
    assert "NOT CERTIFIED" in result.stdout
    assert "Traceback" not in result.stdout
    data = json.loads(file.read_text())
    assert data["certified"] is False
    broken = [o for o in data["outcomes"] if o["status"] == "mismatch"]
    assert {o["formula"] for o in broken} == {"conv2d_grad_input"}
    assert broken[0]["mismatch"]["script"].startswith("import numpy")


def test_seed_repeats_a_run_and_xdist_gives_the_same_certificate(run, tmp_path):
    files = [tmp_path / f"{n}.json" for n in range(3)]
    some = "conv2d_grad_bias and leaves or conv2d_grad_input and (slope or leaves)"
    common = ("--backend", "flipped", *QUICK, "-k", some)
    run(*common, "--seed", "7", "--certificate", str(files[0]), flipped=FLIPPED)
    run(*common, "--seed", "7", "--certificate", str(files[1]), "-n", "2", flipped=FLIPPED)
    run(*common, "--hypothesis-seed", "7", "--certificate", str(files[2]), flipped=FLIPPED)

    def content(file):
        data = json.loads(file.read_text())
        for outcome in data["outcomes"]:
            del outcome["seconds"]
        del data["environment"], data["sha256"]
        return data

    first = content(files[0])
    assert "mismatch" in {o["status"] for o in first["outcomes"]}
    assert first == content(files[1]) == content(files[2])


def test_several_backends_and_selection_by_name(run, tmp_path):
    file = tmp_path / "c.json"
    result = run(
        "--backend", "im2col", "--backend", "oracle", *QUICK, "--certificate", str(file),
        "-k", "conv2d_grad_weight and matches_oracle",
    )  # fmt: skip
    assert result.returncode == 0
    assert "2 passed" in result.stdout
    told = re.findall(r"NOT CERTIFIED: only (\d+) of (\d+) checks were run", result.stdout)
    assert len(told) == 2
    assert all(int(run) == 1 and 1 < int(possible) < WHOLE for run, possible in told)
    for name in ("im2col", "oracle"):
        assert json.loads((tmp_path / f"c.{name}.json").read_text())["certified"] is False


def test_missing_functions_make_no_tests_and_are_said(run):
    result = run("--backend", "forward", *QUICK, torch=True, forward=FORWARD_ONLY)
    assert result.returncode == 0
    passed = sum(formula == "relu" and p not in POLICIES for formula, p in CASES)
    absent = {formula for formula, _ in CASES} - {"relu"}
    homes = {f.__name__: o.name for o in OPERATORS for f in o.formulas}
    said = f"{len(absent) - 1} functions of {len({*homes.values()}) - 1} other operators: not there"
    assert said in result.stdout
    assert "  relu_grad: the backend does not have it\n" in result.stdout
    assert f" {passed} passed in " in result.stdout
    assert "skipped" not in result.stdout.lower()


@pytest.mark.parametrize(("name", "text"), [("declines", DECLINES), ("nothing", NOTHING)])
def test_what_certifies_nothing_fails(run, name, text):
    result = run("--backend", name, *QUICK, **{name: text})
    assert result.returncode == 1
    assert "NOT CERTIFIED" in result.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("im2cl", "no backend 'im2cl' (did you mean 'im2col'?); registered: cupy, cupy@host, "
         "im2col"),
        ("unimportable", "backend 'unimportable' cannot be loaded: "
         "ModuleNotFoundError: No module named 'a_library_that_is_not_there'"),
    ],
)  # fmt: skip
def test_unusable_backend_is_a_usage_error_without_a_traceback(run, name, words):
    result = run("--backend", name, unimportable=UNIMPORTABLE)
    assert result.returncode == 4
    assert words in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_a_seed_that_is_no_number_is_a_usage_error(run):
    result = run("--backend", "im2col", "--seed", "abc")
    assert result.returncode == 4
    assert "invalid int value: 'abc'" in result.stderr


def test_without_torch_the_default_run_certifies_what_can_run(run):
    some = "im2col-relu- or im2col-relu_grad- or oracle-relu- or host-relu-"
    result = run(*QUICK, "-k", some, torch=True, sitecustomize=NO_TORCH)
    assert result.returncode == 0, result.stdout
    assert "gradoracle: certifying im2col, oracle, cupy@host;" in result.stdout
    assert "gradoracle: left out: backend 'torch'" in result.stdout
    assert "gradoracle: left out: backend 'cupy'" in result.stdout
    assert "pip install 'gradoracle[torch]'" in result.stdout
    assert "matches_torch of relu" in result.stdout


SKIPS = """
import pytest
from gradoracle.implementations.im2col import relu
def relu_grad(grad_output, z):
    pytest.skip("not tested")
"""
WARNS = """
import warnings
from gradoracle.implementations import im2col
from gradoracle.implementations.im2col import relu_grad
def relu(z):
    warnings.warn("slow path", RuntimeWarning)
    return im2col.relu(z)
"""


def test_a_backend_that_skips_its_tests_fails(run):
    result = run("--backend", "skips", *QUICK, skips=SKIPS)
    assert result.returncode == 1
    assert "relu_grad: raised Skipped: not tested on a legal call" in result.stdout


def test_warnings_of_a_backend_change_no_verdict(run):
    assert run("--backend", "warns", *QUICK, "-W", "error", warns=WARNS).returncode == 0


def test_a_backend_named_twice_is_judged_once_and_parts_do_not_add_up(run):
    words = ("relu-leaves", "softmax-rejects", "linear-forms")
    result = run("--backend", "im2col,im2col", *QUICK, "-k", " or ".join(words))
    lacking = [name for name in FUNCTIONS if not hasattr(im2col, name)]
    count = chosen(*words) - chosen(*words, of=lacking)
    assert 0 < count < WHOLE
    assert f"{count} passed" in result.stdout
    (told,) = re.findall(r"NOT CERTIFIED: only (\d+) of (\d+) checks were run", result.stdout)
    assert int(told[0]) <= count < int(told[1]) < WHOLE


@pytest.mark.parametrize("value", ["", " ", ",", "im2col,"])
def test_an_empty_backend_is_a_usage_error(run, value):
    result = run("--backend", value)
    assert result.returncode == 4
    assert "names nothing; give a registered name or an import path" in result.stderr


def test_a_certificate_that_cannot_be_written_is_told_before_anything_runs(run, tmp_path):
    for path, why in (
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "nowhere" / "c.json", "cannot be written: there is no folder"),
        (Path("/proc/c.json"), "cannot be written: "),
    ):
        result = run("--backend", "im2col", "--certificate", str(path))
        assert result.returncode == 4
        assert f"--certificate {path}: {why}" in result.stderr


def test_an_old_certificate_does_not_outlive_a_run_that_writes_none(run, tmp_path):
    file = tmp_path / "c.json"
    file.write_text("certified long ago")
    run("--backend", "im2col", "--certificate", str(file), "-k", "nothing_is_called_this")
    assert not file.exists()


def test_an_unknown_profile_is_a_usage_error(run):
    result = run("--backend", "im2col", "--hypothesis-profile", "quik")
    assert result.returncode != 0
    assert "quik" in result.stdout + result.stderr


def test_two_runs_in_one_process_are_two_runs(run, tmp_path):
    (tmp_path / "forward.py").write_text(FORWARD_ONLY)
    (tmp_path / "twice.py").write_text(
        "import pytest, sys\n"
        "common = ['conformance', '--backend', 'forward', '--hypothesis-profile', 'quick']\n"
        "common += ['-p', 'no:cacheprovider']\n"
        "pytest.main([*common, '-k', 'oracle'])\n"
        "sys.exit(pytest.main([*common, '-k', 'not oracle']))\n"
    )
    result = subprocess.run(
        [sys.executable, str(tmp_path / "twice.py")], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}, check=False,
    )  # fmt: skip
    assert result.stdout.count("NOT CERTIFIED: only") == 2


def test_a_backend_in_the_current_folder_is_found(run, tmp_path):
    (tmp_path / "here.py").write_text(FORWARD_ONLY)
    pytest_script = Path(sys.executable).parent / "pytest"
    result = subprocess.run(
        [pytest_script, str(ROOT / "conformance"), "--backend", "here", *QUICK, "-p",
         "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\nhere  CERTIFIED (quick: " in result.stdout


def test_other_sessions_do_not_meet_our_options(run, tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--backend'); parser.addoption('--seed')"
    )
    (tmp_path / "test_theirs.py").write_text(
        "import sys\ndef test_it(request):\n    assert request.config.getoption('--seed') == 'x'\n"
        "    assert 'gradoracle.conformance.pytest_plugin.hooks' not in sys.modules"
    )
    result = run("--seed", "x", *PLUGIN, path=str(tmp_path / "test_theirs.py"))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("numprocesses", "dist", "then"),
    [(2, "no", "worksteal"), (2, "load", "load"), (None, "no", "no"), (0, "no", "no")],
)
def test_processes_that_are_done_take_checks_of_others_unless_told_otherwise(
    numprocesses, dist, then
):
    option = SimpleNamespace(numprocesses=numprocesses, dist=dist)
    hooks.pytest_cmdline_main(SimpleNamespace(option=option))
    assert option.dist == then


def test_without_xdist_there_is_nothing_to_share_out():
    option = SimpleNamespace()
    hooks.pytest_cmdline_main(SimpleNamespace(option=option))
    assert vars(option) == {}
