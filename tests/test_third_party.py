"""A stranger's package, installed by pip into an environment of its own, certified by name."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.plugin import PLUGIN

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A new virtual environment that sees what this one has, with `smallconv` installed in it."""
    folder = tmp_path_factory.mktemp("environment")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    inner = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    outer = sysconfig.get_path("purelib")
    Path(inner, "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n{ROOT}\n")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--no-build-isolation", "--disable-pip-version-check", _copy(folder)],
        check=True, cwd=folder,
    )  # fmt: skip
    return python, folder


def _copy(folder):
    """Copy the package, so that building it leaves nothing in the checkout."""
    import shutil

    return shutil.copytree(ROOT / "tests" / "third_party", folder / "source")


def run(environment, *arguments):
    python, folder = environment
    return subprocess.run(
        [python, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


PYTEST = ("-m", "pytest", "--pyargs", "gradoracle.conformance", *PLUGIN,
          "-p", "no:cacheprovider", "--hypothesis-profile", "quick")  # fmt: skip


def test_it_is_listed(environment):
    result = run(environment, "-m", "gradoracle", "backends")
    assert result.returncode == 0, result.stderr
    assert re.search(r"(?m)^smallconv +2 of \d+ functions, of smallconv 1.2.3$", result.stdout)
    result = run(environment, "-m", "gradoracle", "backends", "smallconv")
    has, lacks = result.stdout.split("not there:")
    assert "smallconv (smallconv 1.2.3)" in has
    assert "\n  conv2d, conv2d_grad_weight\n" in has
    assert "\n  conv2d_grad_input, conv2d_grad_bias\n" in lacks


def test_it_is_certified_by_name(environment):
    result = run(environment, *PYTEST, "--backend", "smallconv")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "smallconv  CERTIFIED" in result.stdout
    left = " ".join(result.stdout.partition("not checked")[2].split())
    assert "conv2d_grad_input, conv2d_grad_bias: the backend does not have them" in left


def test_its_wrong_sibling_is_not(environment):
    result = run(environment, *PYTEST, "--backend", "smallconv-wrong")
    assert result.returncode == 1
    assert "averaged over the batch instead of summed" in " ".join(result.stdout.split())
    assert "NOT CERTIFIED" in result.stdout


def test_an_operator_from_outside_is_checked_like_every_other(environment):
    result = run(environment, "-m", "gradoracle", "certify", "smallconv-quick-gelu",
                 "--operators", "quick_gelu", "--profile", "quick")  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    said = " ".join(result.stdout.split())
    assert "CERTIFIED (quick: 25 geometries a check; 2 of 2 formulas" in said
    assert "operators from smallconv.quick_gelu, whose code ran in the checking process" in said


def test_a_wrong_gradient_of_it_is_told_with_its_formula(environment):
    result = run(environment, "-m", "gradoracle", "certify", "smallconv-quick-gelu-wrong",
                 "--operators", "quick_gelu", "--profile", "quick", "--seed", "1")  # fmt: skip
    assert result.returncode == 1
    assert "quick_gelu_grad[0]: got" in result.stdout
    assert "dz = dy (s + 1.702 z s (1 - s))" in result.stdout


def test_it_is_explained(environment):
    result = run(environment, "-m", "gradoracle", "explain", "quick_gelu_grad")
    assert result.returncode == 0, result.stderr
    assert "1.702 z s (1 - s)" in result.stdout
    assert "def _share(v)" in result.stdout


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("nowhere.at_all", "No module named 'nowhere'"),
        ("smallconv.kernels", "there are none; decorate a formula with gradoracle.operator"),
        ("smallconv.quick_gelu:right", "is no gradoracle.extend.Operator"),
    ],
)
@pytest.mark.parametrize("way", ["certify", "pytest"])
def test_what_brings_no_operators_is_named(environment, module, says, way):
    arguments = {
        "certify": ["-m", "gradoracle", "certify", "im2col", f"--operators-from={module}"],
        "pytest": [*PYTEST, "--backend", "im2col", "--operators-from", module],
    }[way]
    result = run(environment, *arguments)
    assert result.returncode in (2, 4)
    shown = " ".join((result.stdout + result.stderr).replace("\u2502", " ").split())
    assert f"operators from '{module}': " in shown
    assert says in shown
    assert "Traceback" not in shown


def test_a_module_that_is_named_twice_is_taken_once(environment):
    result = run(environment, "-W", "error", "-m", "gradoracle", "explain", "quick_gelu",
                 "--operators-from", "smallconv.quick_gelu")  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_the_hash_of_the_suite_covers_the_record_and_the_formulas(environment):
    _, folder = environment
    program = (
        "from gradoracle.conformance.operators import BROUGHT;"
        "from gradoracle.conformance.runs.fingerprint import suite;"
        "print(BROUGHT[0].modules, suite())"
    )
    before = run(environment, "-c", program).stdout
    assert "('smallconv.quick_gelu', 'smallconv.quick_gelu_formulas')" in before
    (file,) = folder.rglob("site-packages/smallconv/quick_gelu_formulas.py")
    text = file.read_text()
    try:
        file.write_text(text + "\n")
        assert run(environment, "-c", program).stdout != before
    finally:
        file.write_text(text)
