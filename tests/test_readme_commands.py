"""Every command that the README files show is run here, or listed with what runs it or forbids it.

They are run in one folder, on a backend of relu and a certificate of it. Of `certify`, which
certifies for minutes, the checks are listed: names, files and options are read all the same.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gradoracle.conformance.cli import app
from tests.test_readme import PAGES, ROOT, blocks

pytestmark = pytest.mark.slow

FEW = """
from gradoracle.implementations.im2col import relu
def relu_grad(grad_output, z):
    return grad_output * (z >= 0)
def conv2d(x, weight, bias=None, **options):
    return x
my_conv = conv2d
contract = {"functions": ["relu", "relu_grad"], "dtypes": ["float32"]}
"""
# What a command begins with or has in it, and why it is not run here.
NETWORK = "it installs packages: .ci/run does so, in new environments"
ELSEWHERE = {
    r"^python3 -m venv|\.venv/bin/|^pip install": NETWORK,
    r"^pytest tests": "it takes minutes, and this test is one of them",
    r"^pytest --pyargs": "it starts Python: tests/test_pytest_run.py, test_c_libraries.py",
    r"^gradoracle (bench|history)": "timing takes minutes: tests/test_benchmarks.py",
    r"^gradoracle campaign|--shard 7": "it needs Dask, and minutes: tests/test_campaign.py",
    r"--device cuda|tests\.gpu|kernel\.cu": "it needs a GPU or compiles: tests/test_cuda_source.py",
    r"kernel\.c(pp)?$|libmine\.so": "it compiles: tests/test_c_libraries.py",
    r"^gradoracle backends": "it loads and compiles all of them: tests/test_command_line.py",
    r"cupy": "it compiles for minutes: tests/test_cupy_kernels.py",
    r"--torch|--jax|--numpy": "the libraries may be missing: tests/test_adapters.py",
    r"examples\.(triton|numba)": "the libraries may be missing: tests/test_kernel_examples.py",
    r"examples\.lenet": "it trains a network: tests/test_network.py",
    r"examples\.(resnet|transformer)": "it trains a network: tests/test_graph.py",
    r"tests\.studies|tests/studies": "other people's packages are needed: tests/test_studies.py",
    r"--operators-from": "it starts Python: tests/test_extend.py, test_operator_of_mine.py",
    r"--html book/": "the whole book takes a minute: tests/test_pages.py",
}
# What stands for something of the reader's, and what it is here.
PLACES = {
    "NAME...": "./mine.py", "NAME": "./mine.py", "FILE...": "1.json 2.json", "[N]": "1",
    "FILE": "certificate.json", "WHOLE": "whole.json", "DEVIATIONS": "known.json",
    "OLD": "certificate.json", "NEW": "again.json",
}  # fmt: skip
WRITES = {"--certificate", "-o", "--to", "--html"}  # options whose file is not one that is read


def lines():
    """Return every command of every page, without its comment."""
    found = {}
    for page in PAGES:
        for text in blocks(page, "sh"):
            for line in text.splitlines():
                command = line.partition(" #")[0].strip()
                if command:
                    found.setdefault(command, page)
    return found


def why_not(command):
    """Return why a command is not run here; none: it is."""
    return next((why for sign, why in ELSEWHERE.items() if re.search(sign, command)), "")


RUN = [command for command in lines() if not why_not(command)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with everything that commands name."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "mypkg").mkdir()
    for name in ("mine", "kernels", "mypkg/kernels", "mypkg/__init__"):
        (folder / f"{name}.py").write_text(FEW)
    (folder / "deviations.json").write_text("[]")
    was = Path.cwd()
    os.chdir(folder)
    certify = ["certify", "./mine.py", "--operators", "relu", "--profile", "quick", "--seed", "7",
               "--in-process"]  # fmt: skip
    try:
        made = CliRunner().invoke(app, [*certify, "--certificate", "certificate.json"])
        assert made.exit_code == 1, made.output
        shutil.copy("certificate.json", "again.json")
        for part in ("1", "2"):
            words = ["--shard", f"{part}/2", "--certificate", f"{part}.json"]
            made = CliRunner().invoke(app, [*certify, *words])
            assert made.exit_code in (0, 1), made.output
    finally:
        os.chdir(was)
    return folder


def words_of(command):
    """Return the words of a command with what stands for something replaced."""
    words = []
    for word in shlex.split(command):
        is_new = word in PLACES and words[-1] in WRITES
        place = PLACES[word].split(" ") if word in PLACES else [word]
        words += [f"new.{words[-1][-4:]}"] if is_new else place
    return words


@pytest.mark.parametrize("command", RUN)
def test_a_command_runs(command, folder, monkeypatch, tmp_path):
    """Each command runs in a folder of its own: what another wrote must not change it."""
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "own"))
    variables, words = {}, words_of(command)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    assert words[0] == "gradoracle", command
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    checks = ["--list"] if words[1] == "certify" and "--resume" not in words else []
    if words[1:3] == ["remember", "--forget"]:
        CliRunner().invoke(app, ["certify", "./mine.py", "--profile", "quick", "--remember", "-x",
                                 "--in-process", "--operators", "relu"])  # fmt: skip
    ran = CliRunner().invoke(app, [*words[1:], *checks])
    # 2 and 3 are of what could not be read or done; a run that is to be resumed was none
    allowed = (2,) if "--resume" in words else (0, 1)
    assert ran.exit_code in allowed, ran.output
    assert ran.output.strip() or ran.exit_code == 0
    assert "Traceback" not in ran.output


def test_every_reason_is_one_of_a_command():
    for sign in ELSEWHERE:
        assert any(re.search(sign, command) for command in lines()), sign
    assert len(RUN) >= 30


def test_every_test_that_a_reason_names_exists():
    named = {name for why in ELSEWHERE.values() for name in re.findall(r"test_\w+\.py", why)}
    assert not [name for name in named if not (ROOT / "tests" / name).is_file()]


def test_brought_operators_are_explained(tmp_path):
    """The example of an operator from its forward formula, as a reader pastes it."""
    page = blocks("conformance/operators/README.md", "python")
    example = next(code for code in page if "def pair_loss" in code)
    (tmp_path / "myformulas.py").write_text(example)
    (command,) = (one for one in lines() if one.startswith("gradoracle explain pair_loss_grad_b"))
    ran = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)], cwd=tmp_path, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "the gradient of pair_loss by b" in ran.stdout
