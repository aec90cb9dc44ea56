"""The `gradoracle` command, and what importing us costs others."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.cli import app

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_backends_lists_names_and_how_many_functions(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(app, ["backends"])
    assert result.exit_code == 0
    count = len(FUNCTIONS)
    for words in (
        rf"(?m)^oracle +{count} of {count} functions$",
        r"(?m)^torch@mps +(cannot run: )?\w",
    ):
        assert re.search(words, result.stdout), result.stdout
    assert "To add yours: register one with" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_backends_says_why_one_cannot_run(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for words, code in ((["backends", "torch"], 3), (["backends"], 0)):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code
        said = " ".join((result.stdout + result.stderr).split())
        assert "ImportError: PyTorch is not installed" in said
        assert "pip install 'gradoracle[torch]'" in said


def test_the_functions_of_one_backend_are_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "60")
    file = tmp_path / "mine.py"
    file.write_text("from gradoracle.implementations.im2col import relu, linear, linear_grad_input")
    result = CliRunner().invoke(app, ["backends", str(file)])
    assert result.exit_code == 0
    has, lacks = result.stdout.split("not there:")
    assert f"3 of {len(FUNCTIONS)} functions:\n  relu\n  linear, linear_grad_input\n" in has
    assert "\n  relu_grad\n" in lacks
    assert "\n  linear_grad_weight, linear_grad_bias\n" in lacks
    unknown = CliRunner().invoke(app, ["backends", "im2cool"])
    assert (unknown.exit_code, "did you mean 'im2col'?" in unknown.stderr) == (2, True)


def test_help_and_version():
    runner = CliRunner()
    assert "pytest --pyargs gradoracle.conformance --backend NAME" in " ".join(
        runner.invoke(app, ["--help"]).stdout.split()
    )
    assert runner.invoke(app, ["--version"]).stdout.startswith("gradoracle ")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("gradoracle.conformance", "numpy hypothesis numba torch rich pytest"),
        ("gradoracle.conformance.pytest_plugin.entry", "numpy hypothesis numba torch rich"),
        ("gradoracle.conformance.cli", "numpy hypothesis numba torch pytest"),
        ("gradoracle.conformance.runs.certify", "numba torch pytest rich"),
        ("gradoracle.oracle", "numba torch hypothesis pytest"),
        ("gradoracle.implementations", "numpy torch"),
        ("gradoracle", "numpy hypothesis numba torch rich pytest"),
    ],
)
def test_imports_stay_light(module, heavy):
    code = (
        f"import sys, {module}\n"
        f"loaded = [m for m in {heavy.split()!r} if m in sys.modules]\n"
        "sys.exit(', '.join(loaded) if loaded else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_check_of_imports_can_fail():
    code = "import sys, numpy\nsys.exit('numpy' if 'numpy' in sys.modules else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT,
                          capture_output=True).returncode == 1  # fmt: skip


@pytest.mark.parametrize("name", typer.main.get_command(app).commands)
def test_every_help_has_an_example(name):
    text = " ".join(typer.main.get_command(app).commands[name].help.split())
    assert re.search(rf"\bgradoracle {name}\b", text)


HELP = """
from typer.testing import CliRunner
from gradoracle.conformance.cli import app
import typer
for name in ("", *typer.main.get_command(app).commands):
    print(CliRunner().invoke(app, [name, "--help"] if name else ["--help"]).output)
"""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_help_fits_the_terminal_and_cuts_no_word(columns):
    told = {**os.environ, "COLUMNS": str(columns)}
    command = [sys.executable, "-c", HELP]
    text = subprocess.run(command, env=told, text=True, capture_output=True, check=True).stdout
    assert text.count("Usage: ") == 19
    usage = "Usage: root [OPTIONS] COMMAND [ARGS]..."  # which a program's own name begins
    assert max(len(line) for line in text.splitlines() if line != usage) <= columns
    assert "…" not in text
    assert not [line for line in text.splitlines() if line.rstrip(" │").endswith("-")]
    words = {word.strip('.,;:()"') for word in text.split()}
    long_ones = ("conv2d=mypkg.ops:my_conv", "gradoracle.regressions.json")
    for word in ("--import-timeout", "gradoracle.operator", *(long_ones if columns > 40 else ())):
        assert word in words


# -- what shells complete, and what would be run --------------------------------------------------


def completed(*words):
    """Return what bash completes the last of these words to."""
    return subprocess.run(
        [Path(sys.executable).with_name("gradoracle")], text=True, capture_output=True, check=True,
        env={**os.environ, "_GRADORACLE_COMPLETE": "complete_bash",
             "COMP_WORDS": " ".join(("gradoracle", *words)), "COMP_CWORD": str(len(words))},
    ).stdout.split()  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("exp",), ["explain"]),
        (("certify", "im"), ["im2col"]),
        (("certify", "im2col", "--operators", "relu,lea"), ["relu,leaky_relu"]),
        (("certify", "im2col", "--profile", "q"), ["quick"]),
        (("certify", "im2col", "--dtypes", "bf"), ["bfloat16"]),
        (("explain", "conv2d_grad_w"), ["conv2d_grad_weight"]),
    ],
)
def test_shells_complete_names(words, expected):
    assert completed(*words) == expected


def test_checks_are_listed_and_none_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def relu(z):\n    raise SystemExit('called')\n")
    run = CliRunner().invoke(app, ["certify", "./mine.py", "--operators", "relu", "--list"])
    assert run.exit_code == 0, run.output
    lines = run.output.splitlines()
    assert "relu matches_oracle" in lines
    assert {line.split()[0] for line in lines} == {"relu"}  # no gradient, which it does not have
    assert not (tmp_path / ".gradoracle").exists()
