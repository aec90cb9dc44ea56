"""`gradoracle certify` reads [tool.gradoracle] of the nearest pyproject.toml that has it."""

import os
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gradoracle.conformance import DEVIATIONS, DOMAIN, POLICIES
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.cli import app, settings
from gradoracle.conformance.runs import command

WHOLE = """
[tool.gradoracle]
backend = ["./kernels.py", "im2col"]
operators = ["relu", "linear"]
dtypes = "float32, float64"
profile = "quick"
seed = 7
domain = "linear: n = 1"
"""


@pytest.fixture
def orders(tmp_path, monkeypatch):
    """Return a function that gives the orders of a command, in place of running them."""
    (tmp_path / "kernels.py").write_text("")
    (tmp_path / "below" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DOMAIN, "")
    monkeypatch.setenv(DEVIATIONS, "")
    seen = []

    def note(order, *_):
        seen.append(order)
        raise UsageError("seen")

    monkeypatch.setattr(command, "certify", note)

    def certify(*arguments, table=WHOLE, folder=""):
        (tmp_path / "pyproject.toml").write_text(table)
        monkeypatch.chdir(tmp_path / folder)
        seen.clear()
        done = CliRunner().invoke(app, ["certify", *arguments], env={"COLUMNS": "400"})
        assert done.exit_code == 2, done.output
        return seen[0] if seen else done.output

    return certify


def test_a_command_without_a_name_takes_all_from_the_table(orders):
    order = orders()
    assert order.name == "./kernels.py"
    assert order.operators == ("relu", "linear")
    assert order.dtypes == ("float32", "float64")
    assert (order.examples, order.seed) == (25, 7)
    assert os.environ[DOMAIN] == "linear: n = 1"


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["im2col"], "name", "im2col"),
        (["--operators", "tanh"], "operators", ("tanh",)),
        (["--dtypes", "float64"], "dtypes", ("float64",)),
        (["--profile", "deep"], "examples", 5000),
        (["--seed", "9"], "seed", 9),
        (["im2col", "--numpy", "relu=numpy:abs"], "name", "im2col"),
        (["--numpy", "relu=numpy:abs"], "name", "numpy!relu=numpy:abs,dtypes=float32+float64"),
    ],
)
def test_the_command_line_overrides_the_table(orders, arguments, name, value):
    order = orders(*arguments)
    assert getattr(order, name) == value
    others = {"operators": ("relu", "linear"), "seed": 7}
    assert all(getattr(order, n) == v for n, v in others.items() if n != name)


def test_the_table_is_found_upwards_and_names_files_from_there(orders, tmp_path):
    order = orders(folder="below/deep")
    assert order.name == "../../kernels.py"
    (tmp_path / "below" / "pyproject.toml").write_text("[tool.other]\na = 1\n")
    assert orders(folder="below/deep").name == "../../kernels.py"
    own = '[tool.gradoracle]\nbackend = "torch"\n'
    (tmp_path / "below" / "pyproject.toml").write_text(own)
    assert orders(folder="below/deep").name == "torch"


def test_modules_and_objects_are_no_files(orders):
    table = '[tool.gradoracle]\nbackend = "{}"\n'
    for name in ("kernels", "kernels.py:backend", "./kernels.py"):
        assert orders(table=table.format(name)).name == name
    below = orders(table=table.format("kernels.py:backend"), folder="below")
    assert below.name == "../kernels.py:backend"
    assert orders(table=table.format("kernels"), folder="below").name == "kernels"


def test_files_of_the_table_lie_in_its_folder(orders, tmp_path):
    (tmp_path / "d.json").write_text("[]")
    table = '[tool.gradoracle]\nbackend = "im2col"\ndeviations = "d.json"\nregressions = "r.json"\n'
    assert orders(table=table, folder="below").remembered == []
    assert Path(os.environ[DEVIATIONS]).resolve() == tmp_path / "d.json"
    (tmp_path / "r.json").write_text("[")
    assert "../r.json has no remembered calls" in orders(table=table, folder="below")
    (tmp_path / "d.json").write_text("{}")
    assert "deviations ../d.json: must be a list" in orders(table=table, folder="below")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("tool.gradoracle = 3", "tool.gradoracle must be a table, got 3"),
        (
            '[tool.gradoracle]\noperator = "relu"',
            "tool.gradoracle.operator is unknown (did you mean operators?); there are backend, "
            "operators, operators-from, dtypes, profile, domain, policy, deviations, regressions, "
            "seed",
        ),
        (
            "[tool.gradoracle]\noperators = 3",
            "tool.gradoracle.operators must be a text or a list of texts, got 3",
        ),
        ('[tool.gradoracle]\nbackend = ["a", 1]', "tool.gradoracle.backend must be a text or a"),
        ("[tool.gradoracle]\nbackend = []", "tool.gradoracle.backend must be a text or a list"),
        ('[tool.gradoracle]\nbackend = ""', "tool.gradoracle.backend must be a text or a list"),
        ('[tool.gradoracle]\nseed = "7"', "tool.gradoracle.seed must be an integer, got '7'"),
        ("[tool.gradoracle]\nseed = true", "tool.gradoracle.seed must be an integer, got True"),
        ('[tool.gradoracle]\nprofile = ["quick"]', "tool.gradoracle.profile must be a text, got"),
        (
            '[tool.gradoracle]\nbackend = "im2col"\nprofile = "hard"',
            "no profile 'hard'; there are quick, certify, deep",
        ),
        ("[tool.gradoracle", "pyproject.toml: "),
    ],
)
def test_what_is_wrong_is_named_with_what_is_valid(orders, table, said):
    assert said in " ".join(orders(table=table).replace("│", " ").split())


def test_without_a_table_a_name_is_needed(orders):
    assert "[tool.gradoracle] backend =" in orders(table="[tool.other]\n")
    assert orders("im2col", table="").operators is None


def next_of(*arguments):
    """Return the words of the command that a run says to be next."""
    done = CliRunner().invoke(app, ["certify", *arguments], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    _, _, command = done.output.partition("\nnext: the whole check,")
    return shlex.split(command.partition("\nmore: ")[0].replace("\\\n", ""))


def test_the_next_command_leaves_out_what_the_table_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (DOMAIN, DEVIATIONS, POLICIES):
        monkeypatch.setenv(name, "")
    table = '[tool.gradoracle]\nbackend = "im2col"\noperators = ["relu"]\ndtypes = "float32"\n'
    more = 'profile = "quick"\nseed = 7\ndomain = "linear: n = 1"\n'
    (tmp_path / "pyproject.toml").write_text(table + more)
    ours = ["gradoracle", "certify"]
    assert next_of() == [*ours, "--profile", "certify"]
    assert next_of("im2col", "--seed", "8", "--github") == [
        *ours, "--profile", "certify", "--seed", "8", "--github",
    ]  # fmt: skip
    monkeypatch.setenv(DOMAIN, "")
    (tmp_path / "pyproject.toml").write_text(table.replace("im2col", "oracle"))
    found = next_of("im2col", "--profile", "quick", "--seed", "7")
    assert found == [*ours, "im2col", "--seed", "7"]


def test_every_key_is_an_option_of_certify():
    from typer.main import get_command

    known = {one.name for one in get_command(app).commands["certify"].params}
    assert {key.replace("-", "_") for key in settings.KINDS} <= known
