"""A program's own operators and source texts: made, checked and repeated in one program."""

import re
import subprocess
import sys

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.caller import Request
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.registry import Confinement, load
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.registered import Operators
from gradoracle.conformance.runs.certify import operators_named

SOURCE = """
import numpy as np
def relu(z):
    return np.where(z > 0, z, z / 2)
"""


def run(tmp_path, text, *arguments):
    """Run a program and return what it prints."""
    (tmp_path / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "program.py", *arguments], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


COMPOSED = """
import numpy as np, torch
import gradoracle
from gradoracle import assert_within_bound, UnusableBackend  # everything may be imported before
from torch.nn.functional import silu

gated = gradoracle.compose("gated", "silu(linear(x, w)) * linear(x, v)")

@gradoracle.operator("x: n c; weight: c", torch=None)
def weighed(x, weight):
    '''Return y [N, C].

        y = x * weight

    (a page of mine).
    '''
    return x * weight

def right(x, w, v):
    return silu(x @ w.T) * (x @ v.T)

def wrong(x, w, v):
    return silu(x @ w.T) * (x @ v.T) + x.sum() * 1e-3

def checked(function):
    backend = gradoracle.adapt.torch(gated=function, weighed=lambda x, weight: x * weight)
    return gradoracle.check(backend, operators=["gated", weighed], examples=10, seed=1)

for one in (right, wrong):
    found = checked(one)
    print(found.passed, found.environment["operators from"], found.suite)
    print(found)
    print({m.repro for m in found.mismatches})
"""


@pytest.mark.slow
def test_a_program_composes_an_operator_adapts_its_function_and_checks_it(tmp_path):
    pytest.importorskip("torch")
    right, wrong = run(tmp_path, COMPOSED).split("False program.py")
    assert right.startswith("True program.py ")
    assert "6 of 9 formulas" not in right  # the vjp of each is not there
    for name in ("gated", "gated_grad_x", "gated_grad_w", "weighed_grad_weight"):
        assert re.search(rf"^{name} ", right, re.MULTILINE), name
    assert "NOT CERTIFIED" in wrong
    again = "gradoracle.check(backend, operators=['gated'], seed=1, examples=10)"
    assert again in " ".join(wrong.split())
    assert "operators=['gated', 'weighed']" in " ".join(wrong.split())
    suites = re.findall(r"\b[0-9a-f]{64}\b", right + wrong)
    assert len({*suites}) == 1
    changed = run(tmp_path, COMPOSED.replace("a page of mine", "another page"))
    assert not {*suites} & {*re.findall(r"\b[0-9a-f]{64}\b", changed)}


def made(name, expression="relu(z)"):
    """Return an operator that a program makes."""
    return gradoracle.compose(name, expression)


def test_the_last_operator_of_a_name_counts():
    all_ = Operators(OPERATORS, ())
    first, second = made("twice"), made("twice", "tanh(z)")
    sizes = all_.table(lambda: {one.name: len(one.formulas) for one in all_})
    names = all_.names(lambda: (one.name for one in all_))
    before = len(sizes)
    all_.add(first)
    all_.add(second)
    all_.add(second)
    assert all_.own == (second,)
    assert [one.operators for one in all_.brought] == [(second,)]
    assert len(sizes) == len(names) == len(all_) == before + 1
    assert sizes["twice"] == len(second.formulas)
    assert names[-1] == all_[-1].name == "twice"
    assert first not in all_


def test_an_operator_may_not_take_anothers_function():
    with pytest.raises(ValueError, match="operator relu: 'relu' is already an operator's function"):
        operators_named([made("relu", "tanh(z)")])


@pytest.mark.parametrize(
    ("name", "home"),
    [("conv2d_grad_weight", "conv2d"), ("max_pool2d_indices", "max_pool2d"),
     ("conv2d_backward", "conv2d"), ("linear_double_backward", "linear")],
)  # fmt: skip
def test_a_function_is_no_operator_and_the_message_says_whose_it_is(name, home):
    with pytest.raises(UsageError) as caught:
        operators_named([name])
    assert str(caught.value) == (
        f"{name} is a function of the operator {home!r}: name that, and all of its functions that "
        "the backend has are checked"
    )


def test_operators_that_are_neither_names_nor_records_are_refused():
    with pytest.raises(TypeError, match="operators must be names or records of operators, got"):
        operators_named([3])


def test_a_source_text_is_repeated_by_a_call_and_its_script_runs_alone(tmp_path):
    found = gradoracle.check(SOURCE, operators=["relu"], examples=25, seed=1)
    one, text = found.mismatches[0], str(found)
    assert found.backend == "source text"
    assert "given.py" not in text
    assert one.repro == "gradoracle.check(source, seed=1, examples=25)"
    assert one.repro in " ".join(text.split())
    assert "gradoracle certify" not in text
    again = eval(one.repro, {"gradoracle": gradoracle, "source": SOURCE})  # noqa: S307 - as printed
    assert again.mismatches[0].headline == one.headline
    script = tmp_path / "script.py"
    script.write_text(one.script)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "got float32 (1,) [-0.5]" in done.stdout
    assert "AssertionError" in done.stderr
    script.write_text(one.script.replace("z / 2", "z * 0"))
    assert (
        subprocess.run([sys.executable, script], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("text", ["'''of quotes'''", "# ends in '", "# ends in a backslash \\"])
def test_a_script_holds_any_source(text):
    source = f"import numpy as np\ndef relu(z): return z + 1\n{text}"
    found = gradoracle.check(source, operators=["relu"], examples=2, seed=1)
    names = {"__name__": "script"}
    with pytest.raises(AssertionError):
        exec(found.mismatches[0].script, names)  # noqa: S102 - as a user runs it
    assert names["SOURCE"] == source


@pytest.mark.parametrize(
    ("source", "said"),
    [("import numpy as np\ndef relu(z:", "source text cannot be loaded: "),
     ("import numpy as np\ndef rectify(z): return z", "source text' has none of the protocol"),
     ("class backend:\n    relu = abs", "it has relu: define them as functions of the text")],
)  # fmt: skip
def test_a_source_text_that_cannot_be_used_is_named_as_one(source, said):
    with pytest.raises(gradoracle.UnusableBackend) as caught:
        gradoracle.check(source)
    assert said in str(caught.value).replace("the source text has", "the source text' has")
    assert "/given.py" not in str(caught.value)


@pytest.mark.parametrize("before", ["", "Here it is:\n\n", "  "])
def test_a_fenced_source_text_is_to_be_given_without_its_fences(before):
    plain = 'def relu(z):\n    """Of z:\n\n    ```\n    """\n    return z * (z > 0)\n'
    with pytest.raises(gradoracle.UnusableBackend) as caught:
        gradoracle.check(f"{before}```python\n{plain}```\n")
    said = "the source text is fenced by ```: give what is between the fences"
    assert str(caught.value) == said
    kept = gradoracle.check(plain, operators=["relu"], examples=2, seed=1)
    assert "passed" in {o.status for o in kept.outcomes}


def test_an_object_is_repeated_by_a_call_of_python():
    class Kernels:
        def relu(z):  # noqa: N805 - a class as a namespace
            return z * 2

    text = str(gradoracle.check(Kernels, operators=["relu"], examples=25, seed=1))
    assert text.startswith("Kernels  NOT CERTIFIED")
    plain = " ".join(text.split())
    assert "again gradoracle.check(backend, seed=1, examples=25)" in plain
    assert "next: mend" in plain
    assert "then gradoracle.check(backend, operators=['relu'], seed=1, examples=25)" in plain
    assert "more: .text() of this certificate" in plain


def test_a_function_that_never_returned_is_given_time_to_compile_only_once(tmp_path):
    (tmp_path / "hangs.py").write_text("def relu(z):\n    while True:\n        pass\n")
    limits = Limits(call=0.2, first=1.5)
    backend = load(str(tmp_path / "hangs.py"), Confinement(limits=limits))
    z = np.ones(3, np.float32)
    try:
        told = [backend.asked.perform(Request("relu", [z], {})).text for _ in range(3)]
    finally:
        backend.asked.close()
    assert "within 1.5 s" in told[0]
    assert all("within 0.2 s" in one for one in told[1:])
