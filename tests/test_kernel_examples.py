"""The examples in Triton and Numba: certified in their interpreters, and a fault is found."""

import importlib
import sys
from pathlib import Path

import pytest

import gradoracle
from gradoracle.conformance import examples

pytestmark = pytest.mark.slow

FOLDER = Path(examples.__file__).parent
PACKAGE = examples.__name__
EXAMPLES = {
    "triton_softmax": ("triton", "softmax", "tl.max(row, axis=1)[:, None]", "tl.max(row)"),
    "numba_linear": ("numba.cuda", "linear", "range(x.shape[1])", "range(1, x.shape[1])"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_certified(name):
    library, operator, *_ = EXAMPLES[name]
    pytest.importorskip(library)
    certificate = gradoracle.check(f"{PACKAGE}.{name}", operators=[operator], examples=25, seed=1)
    assert certificate.passed, certificate.text()
    assert sum(outcome.judged for outcome in certificate.outcomes) > 100


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_fault_in_an_example_is_found(name, tmp_path):
    library, operator, right, wrong = EXAMPLES[name]
    pytest.importorskip(library)
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert text.count(right) == 1
    (tmp_path / "faulty.py").write_text(text.replace(right, wrong))
    certificate = gradoracle.check(
        tmp_path / "faulty.py", operators=[operator], examples=100, seed=1,
        stop_at_first_mismatch=True,
    )  # fmt: skip
    assert certificate.mismatches[0].function in (operator, f"{operator}_grad")


@pytest.mark.parametrize(
    ("name", "absent", "words"),
    [
        ("triton_softmax", "triton", "triton is not installed: pip install torch triton"),
        ("triton_softmax", "torch", "torch is not installed: pip install torch triton"),
        ("numba_linear", "numba.cuda", "Numba has no CUDA target here: pip install numba-cuda"),
    ],
)
def test_a_missing_library_is_named(name, absent, words, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # which the module sets, too
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.{name}", raising=False)
    monkeypatch.setitem(sys.modules, absent, None)
    if absent == "numba.cuda":
        import numba

        monkeypatch.delattr(numba, "cuda", raising=False)
    with pytest.raises(ImportError, match=words):
        importlib.import_module(f"{PACKAGE}.{name}")
