"""What the README files show is what there is."""

import importlib.util
import re
import shlex
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.contract import POLICIES
from gradoracle.conformance.benchmarks import hooks as timing
from gradoracle.conformance.cli import app
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.pytest_plugin import hooks
from gradoracle.conformance.reports.certificate_text import ALWAYS_TOLD
from gradoracle.oracle.declaration import evaluate, parts_of, whole_of
from tests import conftest

ROOT = Path(__file__).parent.parent
FOLDERS = ("conformance", "oracle", "implementations", "tests")
PACKAGES = sorted(
    {file.parent for folder in FOLDERS for file in (ROOT / folder).rglob("__init__.py")}
    - {ROOT / "tests" / "third_party" / "smallconv"}  # somebody else's
)
MOST_LINES = 140  # of the README at the top
PAGES = {
    str(file.relative_to(ROOT)): file.read_text("utf-8")
    for file in (
        ROOT / "README.md",
        ROOT / ".github" / "CONTRIBUTING.md",
        *(folder / "README.md" for folder in PACKAGES),
    )
    if file.is_file()
}
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FILE = re.compile(r"`((?:\w[\w.]*/)+[\w.]+\.(?:py|cuh?|cpp|h|json|toml|yml|md))`")
MODULE = re.compile(r"\bpython3? -m ([\w.]+)")
OPTION = re.compile(r"--[a-z][\w-]*")
# pytest's own options that the pages show, and those of its plugins.
OF_PYTEST = {"--pyargs", "--dist", "--hypothesis-profile"}
COMMANDS = typer.main.get_command(app).commands


def blocks(page, *languages):
    """Return the fenced blocks of a page, of some languages or of all."""
    found = ((language, text) for _, language, text in FENCE.findall(PAGES[page]))
    return [text for language, text in found if not languages or language in languages]


def prose(page):
    """Return a page without its fenced blocks."""
    return FENCE.sub("", PAGES[page])


def commands(page, name):
    """Return the arguments of every call of a command, in fenced blocks and in the text."""
    spans = re.findall(r"`([^`]+)`", prose(page))
    lines = [line for text in blocks(page) for line in text.splitlines()]
    for line in (*spans, *lines):
        for command in re.split(r"&&|;|\|(?!\w)", line.partition(" #")[0]):
            words = re.split(rf"(?:^|[\s/]){name} ", command, maxsplit=1)
            if len(words) == 2:
                yield words[1].split()


def anchors(page):
    """Return what GitHub calls the headings of a page."""
    titles = HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class Options:
    """Collects the names of options, as pytest's parser and as a group of it."""

    def __init__(self):
        self.names = set()

    def getgroup(self, *_):
        return self

    def addoption(self, *names, **_):
        self.names.update(names)


def test_the_first_page_is_short():
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", ["README.md", "tests/README.md"])
def test_a_page_says_how_many_slow_tests_take_turns(page):
    assert {8: "an eighth", 16: "a sixteenth"}[conftest.TURNS] in PAGES[page]


def test_every_package_has_a_page():
    missing = [folder for folder in (*PACKAGES, ROOT) if not (folder / "README.md").is_file()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in LINK.findall(prose(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), link
        if anchor:
            assert anchor in anchors(str(file.resolve().relative_to(ROOT))), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    for name in FILE.findall(prose(page)):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_page_names_the_modules_of_its_package(folder):
    if folder == ROOT / "tests":
        return  # it names folders
    text = (folder / "README.md").read_text("utf-8")
    for file in folder.glob("*.py"):
        assert file.name == "__init__.py" or f"`{file.name}`" in text, file.name


@pytest.mark.parametrize("page", PAGES)
def test_options_of_gradoracle_exist(page):
    for first, *rest in commands(page, "gradoracle"):
        if first in COMMANDS:
            known = {name for option in COMMANDS[first].params for name in option.opts}
            assert {*OPTION.findall(" ".join(rest))} <= {*known, "--help"}, first


@pytest.mark.parametrize("page", PAGES)
def test_options_of_pytest_exist(page):
    known = Options()
    for module in (hooks, timing, conftest):
        module.pytest_addoption(known)
    for arguments in commands(page, "pytest"):
        assert {*OPTION.findall(" ".join(arguments))} <= {*known.names, *OF_PYTEST}, arguments


def test_commands_are_found():
    (certify,) = (one for one in commands("README.md", "gradoracle") if "./my_kernels.py" in one)
    assert certify[:2] == ["certify", "./my_kernels.py"]
    assert ["tests", "-n", "3", "--dist", "worksteal"] in [*commands("README.md", "pytest")]
    assert {"--certificate", "--github"} < {
        word for one in commands("README.md", "gradoracle") for word in one
    }


@pytest.mark.parametrize("page", PAGES)
def test_code_compiles(page):
    for code in blocks(page, "python"):
        compile(code, page, "exec")
    for code in blocks(page, "sh"):
        for line in code.splitlines():
            shlex.split(line, comments=True)


@pytest.mark.parametrize("page", PAGES)
def test_modules_that_are_run_exist(page):
    for name in MODULE.findall(PAGES[page]):
        assert importlib.util.find_spec(name) is not None, name


def test_the_worked_example_is_the_tested_one():
    package = ROOT / "tests" / "third_party" / "smallconv"
    files = (*package.glob("quick_gelu*.py"), package / "pair_loss.py")
    tested = "".join(file.read_text("utf-8") for file in files)
    examples = blocks("conformance/operators/README.md", "python")
    (saved,) = (one for one in examples if "outputs=" in one)
    (fused,) = (one for one in examples if "gradoracle.compose" in one)
    (labelled,) = (one for one in examples if "def with_labels" in one)
    several = [one for one in examples if one not in (saved, fused, labelled)]
    assert len(several) == 3
    assert all(example in tested for example in several)
    made = {}
    exec(fused, made)  # noqa: S102
    assert [one.name for one in made.values() if isinstance(one, Operator)] == [
        "conv_relu_add", "swiglu", "add_norm", "mlp",
    ]  # fmt: skip
    names = {"np": np, "gradoracle": gradoracle}
    exec(saved, names)  # noqa: S102
    x = np.random.default_rng(0).standard_normal((3, 5))
    call = {"x": x, "weight": np.arange(5.0), "eps": 1e-5}
    record = names["layer_norm_saved"]
    found = [evaluate(formula, call) for formula in parts_of(whole_of(record.formula))]
    rstd = 1 / np.sqrt(x.var(1) + 1e-5)
    y = (x - x.mean(1, keepdims=True)) * rstd[:, np.newaxis] * np.arange(5.0)
    for got, want in zip(found, (y, x.mean(1), rstd), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_the_example_with_labels_checks_a_kernel():
    (example,) = (
        one for one in blocks("conformance/operators/README.md", "python") if "with_labels" in one
    )
    made = {"np": np, "gradoracle": gradoracle, "__name__": __name__}
    exec(example, made)  # noqa: S102

    def back(grad_output, x, label, *, margin, own=True):
        rows = np.arange(len(x))
        over = (margin - x[rows, label][:, None] + x > 0).astype(x.dtype)
        over[rows, label] = 0
        if own:
            over[rows, label] = -over.sum(1)
        return over * grad_output[:, None]

    def mismatches(**options):
        found = gradoracle.check(
            SimpleNamespace(hinge_loss_grad=partial(back, **options)), operators=["hinge_loss"],
            profile="quick", seed=1,
        )  # fmt: skip
        assert any(one.judged for one in found.outcomes)
        return {one.function for one in found.mismatches}

    assert not mismatches()
    assert mismatches(own=False) == {"hinge_loss_grad"}


def sample():
    """Return the command of the screen that the page of runs shows, and what it prints."""
    text = prose_and_blocks("conformance/runs/README.md", "## The certificate")
    command, shown = (block for _, _, block in FENCE.findall(text)[:2])
    return command.split()[1:], shown


def prose_and_blocks(page, heading):
    """Return what is below a heading of a page."""
    return PAGES[page].partition(f"\n{heading}\n")[2]


def steady(text):
    """Return a screen without what another processor or library changes: times and errors."""
    text = re.sub(r"\d+\.\d+ s", "0.0 s", text)
    return re.sub(r"(?m)^(\S+ +\S+ +\d+ +)\d\.\d\d", r"\1x.xx", text)


@pytest.mark.slow
def test_the_screen_is_what_the_command_prints(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    arguments, shown = sample()
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    _, name, verdict = run.stdout.partition("im2col  ")  # behind lines that tell how far it is
    assert steady(name + verdict) == steady(shown)
    assert steady(shown) != shown


@pytest.mark.slow
def test_the_first_screen_is_what_the_command_prints(monkeypatch, tmp_path):
    _, _, after = PAGES["README.md"].partition("`my_kernels.py` has one:\n```python\n")
    written, _, after = after.partition("```\n")
    shown = after.partition("```text\n")[2].partition("```\n")[0]
    (tmp_path / "my_kernels.py").write_text(written)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    command = ["certify", "./my_kernels.py", "--operators", "conv2d", "--profile", "quick"]
    run = CliRunner().invoke(app, [*command, "--seed", "1"])
    assert run.exit_code == 1
    printed = run.stdout.splitlines()
    assert [
        line for line in shown.splitlines() if not any(one.startswith(line) for one in printed)
    ] == []


def test_every_formula_counts_in_the_sample():
    arguments, shown = sample()
    chosen = arguments[arguments.index("--operators") + 1].split(",")
    rows = [line.split()[0] for line in shown.splitlines() if re.search(r" [█░]+ ", line)]
    assert rows == [f.__name__ for o in OPERATORS if o.name in chosen for f in o.formulas]
    assert f"{len(rows)} of {len(rows)} formulas" in shown
    left, operators = map(int, re.search(r"(\d+) functions of (\d+) other", shown).groups())
    assert len(rows) + left == sum(len(o.formulas) for o in OPERATORS)
    assert len(chosen) + operators == len(OPERATORS)


def test_the_policies_that_are_always_told_exist():
    assert {*ALWAYS_TOLD} <= {*POLICIES}


def test_every_property_and_policy_is_explained():
    for name in PROPERTIES:
        assert f"\n| `{name}` |" in PAGES["conformance/properties/README.md"]
    for policy in POLICIES:
        assert re.search(rf"\n\| [^|]*`{policy}`[^|]*\|", PAGES["conformance/backends/README.md"])
