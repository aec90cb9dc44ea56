"""What a mismatch looks like, to the letter; its script fails until the fault is mended."""

import subprocess
import sys
import textwrap

import pytest

from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.misconceptions import MISCONCEPTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.runs.certify import checks
from tests.planted.conv2d import FAULTS, backend

pytestmark = pytest.mark.slow

FLIPPED = """\
from gradoracle.implementations import im2col
from gradoracle.implementations.im2col import conv2d, conv2d_grad_bias, conv2d_grad_weight

def conv2d_grad_input(grad_output, weight, **options):
    return im2col.conv2d_grad_input(grad_output, weight[:, :, ::-1, ::-1], **options)
"""

EXPECTED = """\
flipped_kernels breaks matches_oracle
  conv2d_grad_input[0, 0, 0, 0]: got 1.0, want 0.0 (the data are exact); 2 of 2 elements wrong
  minimal call  grad_output float32[1, 1, 1, 1] = [[[[1.0]]]]
                weight float32[1, 1, 1, 2] = [[[[0.0, 1.0]]]]
                input_shape=(1, 1, 1, 2), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
  wrong         conv2d_grad_input[0, 0, 0, 0]: got 1.0, want 0.0
                conv2d_grad_input[0, 0, 0, 1]: got 0.0, want 1.0
  exact         its terms add up to at most 1 in magnitude, in steps of 1: float32 holds every such
                  sum up to 16,777,216
  property      matches_oracle: The answer equals the formula evaluated in exact arithmetic: on
                  these data nothing rounds.
  formula       dx[n,c,h,w] = sum of dy[n,m,i,j] weight[m,c,p,q] over m of c's group and all (p, q)
                              with i*S + p*D - P = h and j*S + q*D - P = w
                (001, fifth display: h = h' + p, kernel *not* flipped where dy is read at (h - p))
  looks like    the kernel is flipped, as 001's last display prints it: dY is read at (h-p, w-q)
                  already, so it flips twice (the forward pass is a cross-correlation)
  again         pytest --pyargs gradoracle.conformance --backend flipped_kernels --seed 1
                  --hypothesis-profile quick -k flipped_kernels-conv2d_grad_input-matches_oracle
  script        needs NumPy and the backend only:
    import numpy as np
    import flipped_kernels
    backend = flipped_kernels

    grad_output = np.array([[[[1.0]]]], "float32")
    weight = np.array([[[[0.0, 1.0]]]], "float32")

    got = backend.conv2d_grad_input(grad_output, weight, input_shape=(1, 1, 1, 2), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    want = np.array([[[[0.0, 1.0]]]], "float32")
    print("got", got.dtype, got.shape, got, "\\nwant", want.dtype, want.shape, want)
    assert (got.shape, got.dtype) == ((1, 1, 1, 2), "float32")
    assert (got == want).all()  # the data are exact"""  # noqa: E501 - a script's line


def mismatch(candidate, function, property_name, examples=1000):
    case = next(c for c in checks() if c[1].__name__ == function and c[2].name == property_name)
    outcome = examine(wrap(candidate), *case, examples=examples, seed=1)
    assert outcome.status == "mismatch"
    return outcome.mismatch


@pytest.fixture
def flipped_kernels(tmp_path, monkeypatch):
    (tmp_path / "flipped_kernels.py").write_text(FLIPPED)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_report_to_the_letter(flipped_kernels):
    del flipped_kernels
    assert mismatch("flipped_kernels", "conv2d_grad_input", "matches_oracle", 25).text == EXPECTED


def run(script, folder):
    root = str(__import__("pathlib").Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=folder,
        env={"PYTHONPATH": f"{folder}:{root}", "PATH": ""},
    )  # fmt: skip


def test_script_fails_while_the_fault_is_there_and_passes_once_it_is_mended(flipped_kernels):
    script = mismatch("flipped_kernels", "conv2d_grad_input", "matches_oracle").script
    broken = run(script, flipped_kernels)
    assert broken.returncode == 1
    assert "AssertionError" in broken.stderr
    mended = FLIPPED.replace("[:, :, ::-1, ::-1]", "")
    (flipped_kernels / "flipped_kernels.py").write_text(mended)
    assert run(script, flipped_kernels).returncode == 0


WRONG = textwrap.dedent("""
    from gradoracle.implementations import im2col as good
    from gradoracle.implementations.im2col import *
    {}
""")

KINDS = {
    "within_rounding_bound": (
        "conv2d",
        "def conv2d(*a, **o): return (good.conv2d(*a, **o) * (1 + 1e-4)).astype(a[0].dtype)",
    ),
    "leaves_inputs_unchanged": (
        "conv2d_grad_bias",
        "def conv2d_grad_bias(dy):\n    db = good.conv2d_grad_bias(dy); dy += 1; return db",
    ),
    "rejects_bad_arguments": (
        "conv2d_grad_bias", "def conv2d_grad_bias(dy): return dy.sum(axis=(0, -1, -2))",
    ),
    "gradient_is_the_slope": (
        "conv2d_grad_bias", "def conv2d_grad_bias(dy): return dy[:1].sum(axis=(0, 2, 3))",
    ),
    "returns_what_the_protocol_says": (
        "conv2d", "def conv2d(*a, **o): return good.conv2d(*a, **o)[:, :, ::-1].astype('f8')",
    ),
    "linear": ("conv2d", "def conv2d(*a, **o): return good.conv2d(*a, **o) + 1"),
    "is_deterministic": (
        "linear_grad_bias",
        """
contract = {**good.contract, "policies": {"repeats": "bitwise"}}
asked = 0
def linear_grad_bias(dy):
    global asked
    asked += 1
    return dy[::-1 if asked % 3 else 1].sum(axis=0)
""",
    ),
    "ignores_memory_layout": (
        "relu", "def relu(z): return good.relu(z.ravel('K').reshape(z.shape))",
    ),
    "is_batch_invariant": (
        "silu",
        """
contract = {**good.contract, "policies": {"batch": "bitwise"}}
def silu(z): return z / (1 + good.np_exp(-z)) if len(z) % 2 else good.silu(z)
""".replace("good.np_exp", "__import__('numpy').exp"),
    ),
    "is_thread_safe": (
        "relu",
        """
contract = {**good.contract, "policies": {"threads": "safe"}}
kept = None
def relu(z):
    global kept
    kept = good.relu(z)
    for _ in range(20):
        kept = kept + 0
    return kept
""",
    ),
    "writes_into_out": (
        "relu",
        """
contract = {**good.contract, "policies": {"accumulate": "out"}}
def relu(z, *, out):
    out[:-1] = good.relu(z)[:-1]
    return out
""",
    ),
    "selects_by_output_mask": (
        "linear",
        """
contract = {**good.contract, "policies": {"output_mask": "selects"}}
def linear_backward(dy, x, weight, bias=None, *, output_mask):
    dx = good.linear_grad_input(dy, weight)
    dw = good.linear_grad_weight(dy, x)
    return tuple(d if m else None for d, m in zip((dx, dw * 2, dy.sum(0)), output_mask))
""",
    ),
    "matches_forward_mode": (
        "tanh", "def tanh_jvp(tangent, z): return tangent * (1 - good.tanh(z))",
    ),
    "matches_double_backward": (
        "linear",
        """
def linear_double_backward(ddx, ddw, ddb, dy, x, weight, bias=None):
    return good.linear(ddx, weight) + good.linear(x, ddw), dy @ ddw, dy.T @ ddx * 0
""",
    ),
}  # fmt: skip


@pytest.mark.parametrize("property_name", KINDS)
def test_every_kind_of_script_runs_and_fails(property_name, tmp_path, monkeypatch):
    function, source = KINDS[property_name]
    module = f"wrong_{property_name}"
    (tmp_path / f"{module}.py").write_text(WRONG.format(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    result = run(mismatch(module, function, property_name).script, tmp_path)
    assert result.returncode == 1
    assert "AssertionError" in result.stderr, result.stderr


MENDED = {
    "is_batch_invariant": ("if len(z) % 2 else good.silu(z)", "if False else good.silu(z)"),
    "is_thread_safe": ("    global kept\n", ""),
    "writes_into_out": ("out[:-1] = good.relu(z)[:-1]", "out[...] = good.relu(z)"),
    "selects_by_output_mask": ("dw * 2", "dw"),
    "matches_forward_mode": ("(1 - good.tanh(z))", "(1 - good.tanh(z) ** 2)"),
    "matches_double_backward": (" * 0", ""),
}


@pytest.mark.parametrize("property_name", MENDED)
def test_a_script_of_a_claim_passes_once_the_fault_is_mended(property_name, tmp_path, monkeypatch):
    function, source = KINDS[property_name]
    module = f"mended_{property_name}"
    (tmp_path / f"{module}.py").write_text(WRONG.format(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    script = mismatch(module, function, property_name).script
    wrong, right = MENDED[property_name]
    assert wrong in source
    (tmp_path / f"{module}.py").write_text(WRONG.format(source.replace(wrong, right)))
    result = run(script, tmp_path)
    assert result.returncode == 0, result.stderr


# fault: words of the misconception that must explain it
EXPLAINED = {
    "y_flips_the_kernel": "the kernel is flipped",
    "dx_flips_twice": "flips twice",
    "dx_flips_one_axis": "flipped in its height only",
    "dw_reads_dy_flipped": "dY is read flipped",
    "dx_keeps_the_padding": "padding is not removed",
    "dx_drops_remainder_rows": "that no window reaches are missing",
    "dx_stores_instead_of_adding": "overwrite each other",
    "y_uses_the_first_groups_filters": "groups are ignored",
    "dw_reads_the_first_groups_channels": "groups are ignored",
    "dw_is_averaged_over_the_batch": "averaged over the batch",
    "dw_is_averaged_over_batch_and_pixels": "averaged over batch and output pixels",
    "db_counts_the_first_image_only": "only the first image counts",
    "dx_is_zero": "all zeros",
    "dx_takes_height_for_both_of_stride": "height's stride is used for the width as well",
    "dx_exchanges_sides_of_dilation": "height's dilation is used for the width and the width's",
    "y_exchanges_sides_of_padding": "height's padding is used for the width and the width's",
    "dx_exchanges_stride_and_dilation": "stride and dilation are exchanged",
    "y_repeats_the_first_image": "every image gets the answer of the first",
    "y_adds_the_first_groups_bias": "every group adds the bias of the first",
}


@pytest.mark.parametrize("fault", EXPLAINED)
def test_misconception_is_named(fault):
    planted = FAULTS[fault]
    found = mismatch(planted.backend(), planted.function, "matches_oracle", examples=3000)
    assert any(EXPLAINED[fault] in sentence for sentence in found.looks_like), found.looks_like
    assert EXPLAINED[fault] in " ".join(found.text.split())


@pytest.mark.parametrize(
    "fault", ["dx_wrong_past_16_channels", "dw_has_a_nan", "dw_1x1_with_even_filters"]
)
def test_no_misconception_is_named_where_none_explains(fault):
    planted = FAULTS[fault]
    assert mismatch(planted.backend(), planted.function, "matches_oracle").looks_like == []


def test_misconceptions_name_real_functions_and_differ():
    known = {f.__name__ for operator in OPERATORS for f in operator.formulas}
    for misconception in MISCONCEPTIONS:
        assert set(misconception.functions) <= known
    named = [(name, m.sentence) for m in MISCONCEPTIONS for name in m.functions]
    assert len(set(named)) == len(named)


def test_the_line_to_repeat_it_repeats_it(flipped_kernels):
    text = mismatch("flipped_kernels", "conv2d_grad_input", "matches_oracle", 40).repro
    assert text == (
        "python -c \"import gradoracle; print(gradoracle.check('flipped_kernels', seed=1, "
        'examples=40))"'
    )
    result = run(text.partition('"')[2].rstrip('"'), flipped_kernels)
    assert "NOT CERTIFIED" in result.stdout, result.stderr
    default = mismatch("flipped_kernels", "conv2d_grad_input", "matches_oracle", 300).repro
    assert default == (
        "pytest --pyargs gradoracle.conformance --backend flipped_kernels --seed 1 "
        "-k flipped_kernels-conv2d_grad_input-matches_oracle"
    )


def test_a_call_that_raised_is_the_one_that_is_shown():
    def conv2d(x, weight, bias=None, **options):
        raise OSError("no device")

    found = mismatch(backend(conv2d=conv2d), "conv2d_grad_input", "gradient_is_the_slope")
    assert found.formula == "conv2d"
    assert "conv2d: raised OSError: no device on a legal call" in found.headline
    assert "got = backend.conv2d(" in found.script
