"""What `gradoracle new` writes is certified as it is."""

import os
import subprocess
import sys

import pytest

from tests.torchless import without_torch

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    def run(*arguments, cwd=".", **variables):
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path / cwd, capture_output=True, text=True, check=False,
            env=os.environ | variables,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        ((), "mine.kernels"),
        (("--torch",), "mine.kernels:backend"),
        (("--cuda",), "mine.kernels:backend"),
        (("--c",), "mine.kernels:backend"),
    ],
)
def test_a_new_package_passes_its_own_test(run, tmp_path, kind, backend):
    made = run("gradoracle", "new", "mine", *kind)
    assert made.returncode == 0, made.stderr
    assert "Now: cd mine && pip install -e '.[test]' && gradoracle certify mine" in made.stdout
    assert f'mine = "{backend}"' in (tmp_path / "mine" / "pyproject.toml").read_text()
    assert ".gradoracle/" in (tmp_path / "mine" / ".gitignore").read_text().splitlines()
    hidden = [] if kind else [without_torch(tmp_path)]
    path = os.pathsep.join([*hidden, str(tmp_path / "mine")])
    own = run("pytest", "-q", "-p", "no:cacheprovider", cwd="mine", PYTHONPATH=path)
    assert own.returncode == 0, own.stdout
    assert "1 passed" in own.stdout
    left = [p for p in (tmp_path / "mine").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    for file in left:
        assert not {"NAME", "ENTRY", "FILLED", "DEPENDENCIES", "KERNELS"} & {
            *file.read_text().split()
        }


def test_its_entry_point_gives_it_a_name(run, tmp_path):
    assert run("gradoracle", "new", "mine").returncode == 0
    installed = run(
        "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", "lib", "./mine"
    )
    assert installed.returncode == 0, installed.stderr
    certified = run(
        "gradoracle", "certify", "mine", "--profile", "quick", "--operators", "relu",
        PYTHONPATH=str(tmp_path / "lib"),
    )  # fmt: skip
    assert certified.returncode == 0, certified.stdout + certified.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("my-kernels",), "'my-kernels' must be a name in small letters, such as mykernels"),
        (("there",), "there is a 'there' here already; nothing was written"),
        (("mine", "--torch", "--cuda"), "--torch and --cuda: one of them"),
        (("--to", "checked.c"), "--to needs --from FILE"),
    ],
)
def test_what_cannot_be_written_is_told(run, tmp_path, arguments, said):
    (tmp_path / "there").mkdir()
    told = run("gradoracle", "new", *arguments, COLUMNS="200")
    assert told.returncode == 2
    assert said in told.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["there"]
