"""`gradoracle explain`: every formula, in every width, piped and not."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gradoracle import oracle
from gradoracle.conformance.cli import app
from gradoracle.conformance.misconceptions import MISCONCEPTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.convolution import CONV2D
from gradoracle.conformance.operators.network import NETWORK
from gradoracle.conformance.reports.explain import (
    SCREEN,
    UnknownFormula,
    find,
    loops,
    misconceptions,
    show,
    show_all,
    topics,
)
from gradoracle.conformance.reports.worked_chain import chain_example
from gradoracle.oracle.declaration import displayed, evaluate
from gradoracle.oracle.document_forms.forms import FORMS
from gradoracle.oracle.errata import ERRATA, errata_of

ROOT = Path(__file__).parent.parent
NAMES = sorted(topics())
ANSI = "\x1b["


def flat(text):
    return " ".join(text.split())


def explained(name, width=80, *, terminal=False):
    console = Console(
        file=io.StringIO(), width=width, highlight=False, markup=False, force_terminal=terminal,
        color_system="standard" if terminal else None,
    )  # fmt: skip
    show(console, find(name))
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_formula_is_explained(name):
    topic = find(name)
    equation, source = displayed(topic.formula)
    text = flat(explained(name))
    assert flat(equation) in text
    assert flat(source.replace("`", "")) in text
    for erratum in errata_of(topic.formula):
        assert f"{erratum.kind}: {erratum.name}" in text
        assert flat(erratum.printed) in text
        assert flat(erratum.right) in text
    for form in FORMS.get(topic.formula, ()):
        assert form.name in text
        assert flat(form.source) in text
    for sentence in misconceptions(topic.formula):
        assert flat(sentence) in text
    assert f"--backend NAME -k NAME-{name}-" in text


@pytest.mark.parametrize("name", NAMES)
def test_every_formula_has_its_loops_and_its_properties(name):
    text = explained(name, 200)
    for heading in ("signature", "formula", "source", "meaning", "loops", "how it is checked",
                    "properties that check it", "certify"):  # fmt: skip
        assert f"\n{heading}\n" in text
    for piece in loops(find(name).formula):
        compile(piece, name, "exec")
        assert all(line.strip() in text for line in piece.splitlines())
    assert "# noqa" not in text
    assert "`" not in text.split("\nloops\n")[0]


@pytest.mark.parametrize(
    "width", [40, 80, *(pytest.param(n, marks=pytest.mark.slow) for n in (60, 120))]
)
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_too_long_and_none_ends_in_spaces(name, width):
    for line in explained(name, width).splitlines():
        assert line == line.rstrip()
        assert len(line) <= width or " " not in line.strip(), line


def test_loops_are_those_that_run():
    assert loops(oracle.conv2d)[0].startswith("def _sum_by_window(")
    assert "max(z" not in "".join(loops(oracle.softmax))
    names = {n: re.findall(r"^def (\w+)", "\n".join(loops(f)), re.MULTILINE) for n, f in (
        ("relu_grad", oracle.relu_grad), ("max_pool2d_vjp", oracle.max_pool2d_vjp),
        ("sigmoid_grad", oracle.sigmoid_grad), ("cross_entropy_grad", oracle.cross_entropy_grad),
        ("batch_mean", oracle.batch_mean), ("tanh", oracle.tanh),
    )}  # fmt: skip
    assert names["relu_grad"] == ["relu_grad", "_loop"]
    assert set(names["max_pool2d_vjp"]) == {"find_maxima", "_send_back", "meetings", "flat"}
    assert set(names["sigmoid_grad"]) == {"_sigmoid", "_by_exponentials", "_sigmoid_grad", "_loop"}
    assert set(names["cross_entropy_grad"]) >= {"_cross_entropy_grad", "_row_grad", "probabilities"}
    assert names["batch_mean"] == ["_batch_mean"]
    assert names["tanh"][:2] == ["_tanh", "_displayed_tanh"]


def test_counterexample_is_shown_with_both_answers():
    text = explained("conv2d_grad_input", 120)
    assert "  misprint: flips twice\n" in text
    lines = text.split("misprint: flips twice\n")[1].splitlines()[:6]
    assert [flat(line) for line in lines] == [
        "where 001, last display; 000, Steps 3 and 4, on dE/dX",
        "printed dX[h,w] = sum dY[h-p, w-q] W[K-1-p, K-1-q]",
        "right W[p,q] with dY[h-p, w-q], or the flipped W with dY[h+p-(K-1), w+q-(K-1)]",
        "call grad_output=[[[[1]]]], weight=[[[[1, 0]]]], input_shape=(1, 1, 1, 2)",
        "gives [[[[0, 1]]]]",
        "want [[[[1, 0]]]]",
    ]
    assert "gives no value: 1/beta with beta = 0" in flat(explained("conv2d_grad_weight"))
    assert "1/4" in explained("avg_pool2d_grad_input")


@pytest.mark.slow
def test_every_erratum_is_explained_somewhere():
    pages = {name: flat(explained(name, 200)) for name in NAMES}
    for erratum in ERRATA:
        assert f"{erratum.kind}: {erratum.name} where" in pages[erratum.formula.__name__]


def test_every_misconception_is_listed_somewhere():
    listed = {sentence for name in NAMES for sentence in misconceptions(find(name).formula)}
    assert {m.sentence for m in MISCONCEPTIONS} <= listed


@pytest.mark.parametrize(("given", "name"), [
    ("max_pool2d", "max_pool2d_values"), ("conv2d", "conv2d"), ("softmax", "softmax"),
    ("Conv2D-Grad-Input", "conv2d_grad_input"), ("oracle.relu", "relu"), (" tanh ", "tanh"),
])  # fmt: skip
def test_names_are_read_kindly(given, name):
    assert find(given).formula.__name__ == name


def test_results_of_one_function_name_each_other():
    text = explained("max_pool2d")
    assert "max_pool2d(x, *, kernel_size, stride, padding, dilation, ceil_mode)[0]" in flat(text)
    assert "gradoracle explain max_pool2d_indices" in text
    assert "gradoracle explain max_pool2d_values" in explained("max_pool2d_indices")


@pytest.mark.parametrize(("given", "meant"), [
    ("conv2d_grad_inpt", "conv2d_grad_input"), ("maxpool", "max_pool2d"), ("conv2d_dw", "conv2d"),
    ("cross_entropy_lose", "cross_entropy_loss"),
])  # fmt: skip
def test_unknown_name_suggests_what_was_meant(given, meant):
    with pytest.raises(UnknownFormula, match=meant):
        find(given)
    result = CliRunner().invoke(app, ["explain", given])
    assert result.exit_code == 2
    assert f"There is no formula '{given}'. Did you mean" in flat(result.stderr)
    assert meant in result.stderr
    assert result.stdout == ""


def test_unknown_name_without_anything_close():
    result = CliRunner().invoke(app, ["explain", "zzz"])
    assert result.exit_code == 2
    assert flat(result.stderr) == (
        "There is no formula 'zzz'. `gradoracle explain` lists them all."
    )


def test_without_a_name_every_formula_is_listed():
    result = CliRunner().invoke(app, ["explain"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for operator in OPERATORS:
        assert operator.name in lines
        for formula in operator.formulas:
            (line,) = [one for one in lines if one.startswith(f"  {formula.__name__} ")]
            assert len(line.split()) > 2
    assert ANSI not in result.stdout


def test_a_narrow_terminal_gets_one_line_for_each_formula():
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None,
                      highlight=False, markup=False)  # fmt: skip
    show_all(console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines[:-1])) <= 60
    assert any(line.endswith("...") for line in lines)


def run(*arguments, **environment):
    result = subprocess.run(
        [sys.executable, "-m", "gradoracle", "explain", *arguments], cwd=ROOT, check=False,
        capture_output=True, env={"PATH": "", "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def test_piped_output_has_no_colours():
    text = run("conv2d_grad_weight", PYTHONUTF8="1").decode()
    assert ANSI not in text
    assert "sum_{n,i,j} dy[n,m,i,j]" in text


def test_colours_are_for_terminals():
    assert "\x1b[1;36mformula\x1b[0m" in explained("relu", terminal=True)


def test_no_color_takes_the_colours_away(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = explained("relu", terminal=True)
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", text)


@pytest.mark.slow
def test_an_output_without_these_letters_gets_question_marks():
    text = run("network_backward", "--all", PYTHONIOENCODING="ascii").decode("ascii")
    whole = run("network_backward", "--all", PYTHONUTF8="1").decode()
    assert not whole.isascii()
    assert text.count("?") > whole.count("?")


@pytest.mark.slow
def test_how_it_is_judged_follows_the_algebra():
    judged = {name: flat(explained(name)).split("how it is checked ")[1] for name in NAMES}
    assert judged["conv2d"].startswith(
        "Multilinear: a sum of products, linear in x and in weight, added to bias."
    )
    assert "It divides" in judged["avg_pool2d"].split("properties")[0]
    assert "It divides" not in judged["conv2d"].split("properties")[0]
    assert judged["relu"].startswith("Selection: every element is one of the data, or 0")
    assert judged["max_pool2d_indices"].startswith("Selection: every element is a place")
    assert judged["softmax"].startswith("Composed of sums")
    assert "subtracted from parameter" in judged["sgd_step"]
    assert "Summed over the images." in judged["conv2d_grad_bias"]


@pytest.mark.slow
def test_the_hint_selects_the_formulas_checks():
    command = [sys.executable, "-m", "pytest", "--pyargs", "gradoracle.conformance",
               "--backend", "im2col",
               "-k", "im2col-conv2d-", "--collect-only", "-q"]  # fmt: skip
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    collected = re.findall(r"\[(\S+)\]", result.stdout)
    assert collected
    assert all(test.startswith("im2col-conv2d-") for test in collected), collected


def test_a_network_is_spelled_out_link_by_link():
    call, links = chain_example(NETWORK)
    names = [link.formula.__name__ for link in links]
    assert names == [
        "conv2d", "relu", "linear", "cross_entropy", "cross_entropy_grad", "linear_grad_weight",
        "linear_grad_input", "relu_grad", "conv2d_grad_weight", "conv2d_grad_input", "sgd_step",
        "sgd_step",
    ]  # fmt: skip
    stepped = np.concatenate([link.answer.ravel() for link in links[-2:]])
    np.testing.assert_allclose(stepped, evaluate(NETWORK.formula, call), rtol=1e-14)
    text = explained("network_backward", 120)
    assert "steps     conv2d, relu, linear" in text
    for link in links:
        assert not link.sentence or link.sentence.split(" = ")[-1] in text
        assert f"{link.formula.__name__}: " in text
    assert chain_example(CONV2D) is None


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["graph_backward", "network_backward"])
def test_the_example_of_a_chain_fits_a_screen_of_60_lines(name, width):
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    show(console, find(name), everything=False)
    text = console.file.getvalue()
    assert text.splitlines()[2] == "example"
    assert text.count("\n") <= SCREEN
    assert bool(re.search(r"^    y\[[0-9,]+\] = ", text, re.MULTILINE)) == (width >= 80)
    assert "padding=1" in flat(text) or name == "network_backward"
    assert "dilation" not in flat(text).partition("signature")[0]
