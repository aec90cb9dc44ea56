"""The verdict in one screen: what it says, at any width, in colour and without."""

import io
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import gradoracle
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.reports import certificate_text, formats, matrix, screen, terminal
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.reports.findings import call_of, causes
from gradoracle.conformance.reports.terminal import Look
from gradoracle.conformance.runs.progress import NOW_AND_THEN, Progress
from gradoracle.implementations import im2col

POLICY = "the contract's policies do not claim 'repeats': 'bitwise'"


def outcome(formula, name="matches_oracle", status="passed", calls=12, **more):
    counts = {"float32": {"free": calls}} if status in ("passed", "mismatch") else {}
    return Outcome("mine", formula, name, status, calls=counts, **more)


def wrong(formula, name="matches_oracle", reason="", **told):
    report = {
        "headline": reason, "formula": formula, "equation": "y = x", "text": "", "script": "pass",
        "arguments": {}, "looks_like": [], "repro": f"pytest --seed 1 -k {formula}", **told,
    }  # fmt: skip
    return outcome(formula, name, "mismatch", reason=reason or f"{formula}: no", mismatch=report)


def certificate(*outcomes, examples=PROFILES["certify"], expected=None, **more):
    checks = [[o.formula, o.property_name] for o in outcomes]
    given = {
        "origin": "file", "contract": {"dtypes": ["float32"], "has": []}, "seed": 5,
        "environment": {}, "files": {"mine.py": ""},
        "expected": checks if expected is None else expected, **more,
    }  # fmt: skip
    return Certificate("mine", examples=examples, outcomes=[*outcomes], **given)


def shown(c, width=80, *, colour=False, file=None):
    return "\n".join(screen.lines(c, Look(width, colour), file))


def in_a_line(text):
    return " ".join(text.split())


def test_every_property_has_a_group():
    assert {*matrix.GROUP_OF} == {*PROPERTIES}


@pytest.mark.parametrize(
    ("examples", "said"),
    [(25, "CERTIFIED (quick: 25 geometries a check; 1 of 1 formulas, float32)"),
     (30, "CERTIFIED (short: 30 geometries a check; 1 of 1 formulas, float32)"),
     (300, "CERTIFIED (certify: 300 geometries a check; 1 of 1 formulas, float32)"),
     (5000, "CERTIFIED (deep: 5000 geometries a check; 1 of 1 formulas, float32)")],
)  # fmt: skip
def test_the_first_line_has_the_profile_and_a_short_look_is_not_green(examples, said):
    c = certificate(outcome("relu"), examples=examples)
    assert shown(c, 120).splitlines()[0] == f"mine  {said}"
    assert shown(c, 120, colour=True).startswith("\x1b[1;32m" if examples >= 300 else "\x1b[1;33m")
    assert ("the whole check,  gradoracle certify mine" in shown(c)) == (examples < 300)


def test_the_domain_is_in_the_verdict_of_a_right_and_of_a_wrong_one():
    contract = {"dtypes": ["float32"], "inside": {"conv2d": "stride = 1 (2 of 9 usual layers)"}}
    right = shown(certificate(outcome("conv2d", calls=40), contract=contract))
    assert "for conv2d: stride = 1 (2 of 9 usual layers)" in in_a_line(right)
    bad = shown(certificate(wrong("conv2d"), contract=contract))
    assert "NOT CERTIFIED: 1 mismatch" in bad
    assert "checked for conv2d: stride = 1" in in_a_line(bad)


def test_a_row_says_what_passed_failed_and_was_not_run():
    c = certificate(
        outcome("relu"), outcome("relu", "is_deterministic", "not claimed", reason=POLICY),
        outcome("relu_grad", worst_error_over_bound=0.559), wrong("relu_grad", "linear"),
        outcome("relu_grad", "is_stateless"), outcome("relu_grad", "keeps_subnormals", "blind"),
    )  # fmt: skip
    lines = shown(c).splitlines()
    head = next(line for line in lines if line.startswith("function"))
    relu, gradient = (
        next(s for s in lines if s.startswith(f"{n} ")) for n in ("relu", "relu_grad")
    )
    at = {word: head.index(word) for word in head.split()}

    def cell(row, word):
        return row[at[word] - 1 : at[word] + 5].strip()

    assert (cell(relu, "values"), cell(relu, "state"), cell(relu, "rel")) == ("ok", "-", "")
    assert [cell(gradient, w) for w in ("values", "rel", "state", "spec")] == [
        "ok", "FAIL", "ok", "?",
    ]  # fmt: skip
    assert gradient.split()[:4] == ["relu_grad", gradient.split()[1], "36", "0.55"]
    assert gradient.split()[1] == "█" * len(gradient.split()[1])  # the most calls
    assert "is_deterministic: not claimed" in [*screen.not_checked(c)]
    assert in_a_line(shown(c)).partition("not checked ")[2].count("more: -v shows them") == 1


def test_a_function_whose_name_is_near_another_is_told_first():
    meant = "the backend has no relu_grad, or does not claim it; did you mean: your relu_grd?"
    c = certificate(wrong("relu", "linear"), outcome("relu_grad", "linear", "not claimed",
                                                     reason=meant))  # fmt: skip
    first, *others = screen.not_checked(c)
    assert first == "relu_grad: not there; did you mean: your relu_grd?"
    assert not any("relu_grad" in one for one in others)
    assert first in in_a_line(shown(c))


def test_what_was_not_checked_is_said_plainly():
    waits = [outcome(n, "is_stateless", "not checked") for n in ("relu", "tanh")]
    told = in_a_line(shown(certificate(wrong("relu"), waits[0])))
    assert "is_stateless of relu: not checked, because its plain answers are wrong" in told
    told = in_a_line(shown(certificate(wrong("relu"), wrong("tanh"), *waits)))
    assert (
        "is_stateless of relu and tanh: not checked, because their plain answers are wrong" in told
    )
    accepts = outcome("relu", "rejects_bad_arguments", "not claimed", accepted={"x": [1, 1]})
    told = in_a_line(shown(certificate(outcome("relu", planted=1), accepts)))
    assert "accepts bad arguments, which is allowed: it does not claim to refuse them: relu" in told
    assert "seed 5; 1 deliberately wrong answer was caught, as it should be" in told
    told = in_a_line(shown(certificate(outcome("relu", planted=2))))
    assert "2 deliberately wrong answers were caught, as they should be" in told


def test_many_functions_are_a_row_for_each_operator():
    names = [f.__name__ for o in OPERATORS for f in o.formulas]
    c = certificate(*[outcome(name) for name in names])
    title, rows = matrix.rows(c)
    assert title == "operator (functions)"
    assert [row.name for row in rows] == [f"{o.name} ({len(o.formulas)})" for o in OPERATORS]
    assert sum(row.calls for row in rows) == 12 * len(names)


def test_what_is_not_there_is_counted_and_no_row():
    absent = [outcome(n, status="not claimed", reason="the backend has no x") for n in
              ("relu_grad", "tanh", "tanh_grad", "sigmoid")]  # fmt: skip
    text = shown(certificate(outcome("relu"), *absent))
    assert "  relu_grad: the backend does not have it\n" in text
    assert "  3 functions of 2 other operators: not there\n" in text
    assert "tanh" not in text
    left = sum(len(o.formulas) for o in OPERATORS if o.name not in ("relu", "tanh", "sigmoid"))
    assert f"  {left} functions of {len(OPERATORS) - 3} other operators: left out" in text


def test_a_cause_is_told_once_with_all_that_explains_it():
    array = {"dtype": "float32", "shape": [1, 1, 1, 2], "data": [0.0, "nan"]}
    arguments = {"grad_output": array, "weight": array, "input_shape": [1, 1, 1, 2],
                 "stride": [1, 1], "padding": [0, 2]}  # fmt: skip
    one = wrong("conv2d_grad_input", reason="conv2d_grad_input[0]: got 1, want 0",
                arguments=arguments, looks_like=["the kernel is flipped"])  # fmt: skip
    one.also = ["matches_torch", "is_stateless (not checked)"]
    text = shown(certificate(one))
    assert "\n1  conv2d_grad_input[0]: got 1, want 0\n" in text
    assert "   looks like  the kernel is flipped\n" in text
    call = call_of("conv2d_grad_input", arguments)
    assert call == (
        "grad_output float32[1, 1, 1, 2] = [0, nan], weight float32[1, 1, 1, 2] = [0, nan], "
        "input_shape=(1, 1, 1, 2), padding=(0, 2)"
    )
    assert f"call {call}" in in_a_line(text)
    assert "   fails too   matches_torch\n" in text
    assert "   again       pytest --seed 1 -k conv2d_grad_input\n" in text
    assert "next: mend it, then  gradoracle certify mine --operators conv2d --seed 5" in text
    kept = shown(certificate(one), file=Path("my file.json"))
    assert "gradoracle replay 'my file.json' 1 (--script prints it" in in_a_line(kept)


def test_the_same_fault_of_several_functions_is_one_cause_and_wrong_values_are_not():
    same = [wrong(n, reason=f"{n}: raised TypeError: no 'axis'") for n in ("relu", "tanh")]
    values = [wrong(n, reason=f"{n}[0]: got 1, want 0", element={"index": [0]})
              for n in ("gelu", "elu")]  # fmt: skip
    c = certificate(*same, *values)
    assert [(one.number, one.others) for one in causes(c)] == [(1, ["tanh"]), (3, []), (4, [])]
    assert "   also in     tanh\n" in shown(c)


def test_a_wrong_element_that_breaks_two_properties_is_one_cause():
    reason = "layer_norm_vjp[1] (dweight)[0]: got 1.0, want 0.0 (the data are exact); 1 of 1 wrong"
    both = [wrong("layer_norm_vjp", n, reason=reason, element={"index": [0]})
            for n in ("within_rounding_bound", "is_stateless")]  # fmt: skip
    more = [wrong(n, reason=f"{n}[0]: got 1, want 0", element={"index": [0]})
            for n in ("relu", "elu", "gelu")]  # fmt: skip
    c = certificate(*both)
    assert [(one.number, one.again) for one in causes(c)] == [(1, ["is_stateless"])]
    assert "   fails too   is_stateless\n" in shown(c)
    text = shown(certificate(*more, both[0]))
    assert "\n4  layer_norm_vjp[1] (dweight)[0]: got 1.0, want 0.0\n" in text


def test_of_thirty_findings_three_are_told_in_full_and_the_rest_is_counted():
    names = [f.__name__ for o in OPERATORS for f in o.formulas][:30]
    c = certificate(*[wrong(n, reason=f"{n}[0]: got 1, want 0 (exact)", element={"index": [0]})
                      for n in names])  # fmt: skip
    text = shown(c)
    assert text.count("   again  ") == 3
    assert f"\n4  {names[3]}[0]: got 1, want 0\n" in text
    assert "and 20 more: -v shows them all" in text
    assert "mend the first of 30 causes" in text
    assert len(text.splitlines()) < 60
    whole = "\n".join(formats.summary(c, Look(80), whole=True))
    assert "calls checked" in whole
    assert all(f"  {name} " in whole for name in names)


WIDTHS = (40, 60, 80, 120)


def everything():
    """Return a certificate with all that a screen has rows for."""
    names = ("conv2d_grad_input", "binary_cross_entropy_with_logits_grad")
    bad = wrong(names[0], reason="a headline of several words " * 5, looks_like=["words " * 30],
                repro="pytest --backend x --seed 1 " + "-k word " * 20)  # fmt: skip
    known = outcome("relu", status="deviation", deviation="a reason of words " * 6, reason="off")
    return certificate(
        bad, known, outcome(names[1], worst_error_over_bound=0.3),
        outcome(names[1], "matches_torch", "not run", reason="PyTorch is not installed " * 3),
        examples=25, expected=[["relu", "linear"]] * 9, stale=["x holds"],
        confinement={"process": "a process of its own", "acts": {"looked at": ["a file " * 20]},
                     "refused": ["torch"]},
    )  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("whole", [False, True])
def test_no_line_is_wider_than_the_screen(width, whole):
    lines = [*formats.summary(everything(), Look(width), whole=whole)]
    assert all(len(line) <= width for line in lines if " " in line.strip())
    assert len({line for line in lines if len(line) > 0.7 * width}) > 3  # and it is made use of
    assert whole or not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_colour_changes_no_character(width):
    painted = shown(everything(), width, colour=True)
    assert "\x1b[1;31m" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == shown(everything(), width)


def test_a_command_over_several_lines_is_one_command():
    text = "gradoracle certify x --domain 'conv2d: stride = 1' --operators conv2d --seed 1"
    lines = Look(40).command(text, "next: ", "      ")
    assert len(lines) > 1
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert in_a_line(" ".join(lines).replace("\\", "")) == f"next: {text}"


def test_a_stream_that_has_no_blocks_gets_other_signs():
    look = replace(Look(), encoding="ascii")
    assert look.bar(0.5, 4) == "##.."
    assert all(line.isascii() for line in screen.lines(everything(), look))
    assert [Look().bar(share, 4) for share in (0, 0.01, 1)] == ["░░░░", "█░░░", "████"]


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("variables", "in_terminal", "in_pipe"),
    [({}, True, False), ({"NO_COLOR": "1"}, False, False), ({"FORCE_COLOR": "1"}, True, True),
     ({"TERM": "dumb"}, False, False), ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
     ({"PY_COLORS": "0", "FORCE_COLOR": "1"}, False, False), ({"PY_COLORS": "1"}, True, True)],
)  # fmt: skip
def test_colours_are_where_pytest_has_them(monkeypatch, variables, in_terminal, in_pipe):
    for name in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    assert terminal.in_colour(Screen()) == in_terminal
    assert terminal.in_colour(io.StringIO()) == in_pipe


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("500", 120), ("4", 30)])
def test_the_width_is_that_of_the_terminal_within_limits(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.look_of(io.StringIO()).width == width


def test_a_line_of_a_command_is_wrapped_on_a_terminal_only(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    line = "  0001_im2col  2026-11-30T12:00  " + "relu 1.00, " * 6
    shown = terminal.fitted(line, Screen(), "    ").split("\n")
    assert len(shown) > 1
    assert all(len(one) <= 40 and one.startswith("  ") for one in shown)
    assert all(one.startswith("      ") for one in shown[1:])
    assert terminal.fitted(line, io.StringIO(), "    ") == line


def test_the_whole_table_is_split_where_it_is_too_wide():
    c = certificate(*[outcome("relu", name) for name in PROPERTIES])
    text = "\n".join(certificate_text.lines(c, 60))
    numbers = " ".join(re.findall(r"calls checked +([\d ]+)", text)).split()
    assert numbers == [str(n) for n in range(1, len(PROPERTIES) + 1)]
    assert text.count("calls checked") > 1
    assert "\n".join(certificate_text.lines(c)).count("calls checked") == 1


def test_print_shows_the_screen():
    c = everything()
    assert str(c) == shown(c)


# -- progress -------------------------------------------------------------------------------------


def test_progress_tells_the_time_that_is_left_and_the_first_mismatch(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("gradoracle.conformance.runs.progress.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=100)
    with Progress(console, "mine", 20) as progress:
        for at in range(10):
            now[0] += 2.0
            progress.update(wrong("relu", f"p{at}") if at in (2, 3) else outcome("relu", f"p{at}"))
    told = console.file.getvalue().splitlines()
    assert told == ["relu breaks p2: relu: no"]  # no other line in so short a time
    assert progress.time() == "0:20 elapsed, about 0:20 left"
    now[0] += NOW_AND_THEN
    progress.update(outcome("relu", "p10"))
    assert console.file.getvalue().splitlines()[1:] == [
        "mine: 11 of 20 checks, 132 calls, 2 mismatches; 0:50 elapsed, about 0:41 left"
    ]


def test_progress_in_a_terminal_is_gone_at_the_end():
    console = Console(file=Screen(), force_terminal=True, width=60)
    with Progress(console, "mine", 2) as progress:
        progress.update(outcome("relu"))
    text = console.file.getvalue()
    assert "elapsed" in text
    assert text.rstrip("\r\n").endswith("\x1b[2K")  # the last line is taken away


def test_a_found_domain_is_told_as_an_option_once():
    bad = wrong("relu")
    bad.domain_hint = (
        "fails or is declined in all of 10 calls outside of n = 1, and holds in all of 12 inside; "
        'contract["domain"] = {"relu": "n = 1"} or --domain "relu: n = 1" declares that'
    )
    text = in_a_line(shown(certificate(bad)))
    assert 'holds in all of 12 inside; --domain "relu: n = 1" declares that' in text
    assert "or declare the domain, then gradoracle certify mine" in text


def test_verbose_counts_operators_that_are_not_there():
    some = gradoracle.check(im2col, operators=["relu"], examples=2, seed=1)
    everything = replace(some, outcomes=[*some.outcomes, *absent(some)])
    narrow = "\n".join(certificate_text.lines(everything, 80))
    assert "\n  relu_grad " in narrow
    assert "\n  tanh" not in narrow
    assert "not claimed: 2 functions of 1 other operators" in narrow
    assert "not claimed: tanh, tanh_grad\n" in everything.text()


def absent(certificate):
    """Return outcomes of an operator that is not there."""
    names = dict.fromkeys(one.property_name for one in certificate.outcomes)
    return [
        Outcome("im2col", formula, name, status="not claimed")
        for formula in ("tanh", "tanh_grad")
        for name in names
    ]


def test_a_long_word_of_a_command_begins_further_left():
    command = "pytest --pyargs gradoracle.conformance -k ./my_kernels.py-conv2d_grad_input-matches"
    lines = Look(60).command(command, "   again       ", " " * 15)
    assert max(map(len, lines)) <= 60
    assert shlex.split(" ".join(line.removesuffix(" \\") for line in lines))[1:] == command.split()


def test_a_call_of_python_has_no_backslashes():
    call = "gradoracle.check(backend, operators=['relu', 'tanh'], seed=123456789, examples=25)"
    lines = Look(60).command(call, "next: mend it, then  ", "      ")
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()) == f"next: mend it, then {call}"
