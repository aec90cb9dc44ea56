"""What people meet who bring functions of their own for the first time."""

import subprocess
import sys

import numpy as np
import pytest

import gradoracle
from gradoracle import adapt
from gradoracle.conformance import DOMAIN

QUICK = {"profile": "quick", "seed": 1}


def linear(x, w, b):
    return (x @ w.T + b).astype(x.dtype)


def square_pool(image, kernel_size, stride):
    """The values of max pooling, of one image [C, H, W], with one number for a pair."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (kernel_size,) * 2, (1, 2))
    return windows[:, ::stride, ::stride].max((3, 4))


def test_a_function_that_needs_a_bias_is_certified_for_calls_with_one():
    made = adapt.numpy(linear=linear)
    assert made.contract["domain"] == {"linear": {"bias": "required"}}
    certificate = gradoracle.check(made, operators=["linear"], **QUICK)
    assert certificate.passed, certificate.text()
    assert "bias required" in certificate.text()


@pytest.mark.parametrize("entry", ["n = 1", "bias required, n = 1", {"n": 1}])
def test_a_declared_domain_is_kept_beside_the_bias_that_is_needed(entry):
    made = adapt.numpy(linear=linear, contract={"domain": {"linear": entry}})
    text = gradoracle.check(made, operators=["linear"], examples=2, seed=1).text()
    said = "linear: bias required, n = 1" if entry != "n = 1" else "linear: n = 1, bias required"
    assert said in " ".join(text.split())


def test_a_domain_of_the_run_leaves_a_bias_required(monkeypatch):
    monkeypatch.setenv(DOMAIN, "linear: n = 1")
    text = gradoracle.check(
        adapt.numpy(linear=linear), operators=["linear"], examples=2, seed=1
    ).text()
    assert "linear: n = 1, bias required" in " ".join(text.split())


def test_indices_that_a_function_leaves_out_are_not_missed_where_calls_are_declined():
    made = adapt.numpy(max_pool2d=square_pool, layout="CHW", pairs=False)
    certificate = gradoracle.check(made, operators=["max_pool2d"], **QUICK)
    assert certificate.passed, certificate.text()
    assert "stride that differs" in certificate.text()
    assert "ceil_mode=False;" not in certificate.text()


def test_a_function_of_single_numbers_that_is_given_pairs_is_told_of_the_option():
    made = adapt.numpy(max_pool2d=square_pool, layout="CHW")
    certificate = gradoracle.check(made, operators=["max_pool2d"], examples=2, seed=1)
    assert "--no-pairs" in certificate.mismatches[0].headline


def test_a_mismatch_without_an_element_names_its_function():
    source = "def max_pool2d(x, **options):\n    raise ValueError('no')\n"
    certificate = gradoracle.check(source, operators=["max_pool2d"], examples=1, seed=1)
    assert {one.function for one in certificate.mismatches} == {"max_pool2d"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def relu(z) return z", "SyntaxError: .*: def relu"),
        ("```python\nimport numpy\n```", "fenced by ```: give what is between the fences"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
    ],
)
def test_text_that_cannot_be_imported_shows_its_line(source, reason):
    with pytest.raises(gradoracle.UnusableBackend, match=reason) as error:
        gradoracle.check(source, operators=["relu"])
    assert "from_file" not in str(error.value)


def test_one_line_is_the_text_of_a_module():
    certificate = gradoracle.check("def relu(z): return z", operators=["relu"], examples=1, seed=1)
    assert certificate.mismatches


@pytest.mark.parametrize("source", ["", " \n "])
def test_an_empty_text_is_no_backend(source):
    with pytest.raises(ValueError, match="the backend is an empty text"):
        gradoracle.check(source)


FUSED = """
import math
import torch

class GeluAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, residual):
        z = x + residual
        ctx.save_for_backward(z)
        return 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))

    @staticmethod
    def backward(ctx, dy):
        (z,) = ctx.saved_tensors
        cdf = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
        dz = dy * (cdf + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi))
        return dz, {factor} * dz
"""
RECORD = """
import gradoracle
GELU_ADD = gradoracle.compose("gelu_add", "gelu(x + residual)")
"""


@pytest.mark.parametrize(("factor", "code"), [(1, 0), (2, 1)])
def test_an_autograd_function_of_a_brought_operator_is_checked(tmp_path, factor, code):
    pytest.importorskip("torch")
    (tmp_path / "ours.py").write_text(FUSED.format(factor=factor))
    (tmp_path / "fused.py").write_text(RECORD)
    command = (
        "certify --torch gelu_add=./ours.py:GeluAdd --operators-from ./fused.py "
        "--operators gelu_add --profile quick --seed 1"
    )
    done = subprocess.run(
        [sys.executable, "-m", "gradoracle", *command.split()],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert ("gelu_add_grad_residual[" in done.stdout) is bool(code)
    assert "looked at its callers" not in done.stdout
