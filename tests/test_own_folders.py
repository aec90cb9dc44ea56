"""A user's own folders may be called as ours are: nothing of them is imported."""

import os
import subprocess
import sys

import pytest

from gradoracle.conformance.backends.backend import FUNCTIONS

pytestmark = pytest.mark.slow

OURS = ("oracle", "implementations", "conformance")
RELU = """
import numpy as np

def relu(z):
    return np.maximum(z, 0)
"""


@pytest.fixture
def run(tmp_path):
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('my own {name}')\n")
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")
    (tmp_path / "mine.py").write_text(RELU)

    def run(*arguments):
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        variables["COLUMNS"] = "200"
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=tmp_path, env=variables, text=True,
            capture_output=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pytest", "-q", "-p", "no:cacheprovider"), "1 passed"),
        (("gradoracle", "certify", "./mine.py", "--operators", "relu", "--profile", "quick"),
         "CERTIFIED (quick"),
        (("gradoracle", "backends"), f" of {len(FUNCTIONS)} functions"),
        (("pytest", "--pyargs", "gradoracle.conformance", "--backend", "mine", "-q", "-p",
          "no:cacheprovider", "--hypothesis-profile", "quick", "-k", "mine-relu-"), " passed in"),
    ],
    ids=["pytest", "certify", "backends", "certify by pytest"],
)  # fmt: skip
def test_own_folders_disturb_nothing(run, arguments, said):
    result = run(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert said in result.stdout


@pytest.mark.parametrize("name", OURS)
def test_own_folders_are_what_their_names_import(run, name):
    assert f"my own {name}" in run(name).stderr
