"""KernelBench's check: a fixed shape per operator, a few random inputs, allclose of the output.

`eval_kernel_against_ref` in ScalingIntelligence/KernelBench, src/eval.py: the reference model and
the new one get the same inputs from `torch.randn` in float32, five times as its evaluations were
run (`num_correct_trials`); shapes must be equal and `torch.allclose(atol=t, rtol=t)` hold, where t
was 1e-2 as published (Ouyang et al. 2025) and is 1e-4 for float32 today
(`get_tolerance_for_precision`).  An exception is a failure.  The shapes are those of its problems
(level 1, by number), the sides made smaller for the sake of NumPy's speed.
"""

from typing import Any

import torch

from tests.power import derived
from tests.power.layers import normals, pairs, tensor

PUBLISHED, TODAY = 1e-2, 1e-4
TRIALS = 5
IMAGES = {"n": 4, "c": 16, "h": 28, "w": 28}
ROWS = {"n": 16, "t": 4, "c": 256}
# The problem's number, the shapes and the options: of several convolutions those with most options.
PROBLEMS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "conv2d": (
        "80 (dilated, padded, asymmetric kernel)",
        {"x": (4, 16, 28, 28), "weight": (32, 16, 5, 9), "bias": (32,)},
        {"stride": (1, 1), "padding": (2, 4), "dilation": (2, 3), "groups": 1},
    ),
    "conv_transpose2d": (
        "75 (strided, grouped, padded, dilated, asymmetric)",
        {"x": (4, 16, 14, 20), "weight": (16, 8, 3, 5), "bias": (32,)},
        {
            "stride": (2, 3), "padding": (1, 2), "output_padding": (0, 0), "dilation": (2, 1),
            "groups": 4,
        },
    ),
    "max_pool2d": (
        "42",
        {"x": (4, 16, 32, 32)},
        {
            "kernel_size": (4, 4), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1),
            "ceil_mode": False,
        },
    ),
    "avg_pool2d": (
        "45",
        {"x": (4, 16, 64, 64)},
        {
            "kernel_size": (11, 11), "stride": (11, 11), "padding": (0, 0), "ceil_mode": False,
            "count_include_pad": True,
        },
    ),
    "relu": ("19", {"z": (16, 1024)}, {}),
    "leaky_relu": ("20", {"z": (16, 1024)}, {"negative_slope": 0.01}),
    "sigmoid": ("21", {"z": (16, 1024)}, {}),
    "tanh": ("22", {"z": (16, 1024)}, {}),
    "softmax": ("23", {"z": (16, 1024)}, {"axis": 1}),
    "linear": (
        "1 (matrix multiplication)", {"x": (128, 64), "weight": (32, 64), "bias": (32,)}, {},
    ),
    "cross_entropy": ("95", {"logits": (256, 10)}, {"reduction": "mean"}),
    "batch_mean": ("48 (mean over an axis)", {"gradient_per_image": (16, 32, 32)}, {}),
    "sgd_step": (
        "none: the shape of 19", {"parameter": (16, 1024), "gradient": (16, 1024)},
        {"learning_rate": 0.1},
    ),
    **{
        name: (number, {"z": (16, 1024)}, derived.options(name)[other])
        for name, number, other in (
            ("elu", "31", 0), ("gelu", "26", 0), ("hardsigmoid", "28", 0),
            ("hardswish", "none: the shape of 19", 0), ("hardtanh", "32", 0),
            ("log_softmax", "24", 0), ("logsigmoid", "none: the shape of 19", 0),
            ("mish", "none: the shape of 19", 0), ("relu6", "none: the shape of 19", 0),
            ("silu", "25", 0), ("softplus", "29", 0), ("glu", "none: the shape of 19", 0),
        )
    },
    **{
        name: (number, derived.shapes(name, IMAGES), derived.options(name)[0])
        for name, number in (
            ("batch_norm", "33"), ("group_norm", "35"), ("instance_norm", "34"),
            ("prelu", "none: the shape of 35"), ("batch_norm_update", "33"),
        )
    },
    **{
        name: (number, derived.shapes(name, ROWS), derived.options(name)[0])
        for name, number in (
            ("layer_norm", "40"), ("rms_norm", "36"), ("mse_loss", "94"), ("huber_loss", "96"),
            ("kl_div", "98"), ("nll_loss", "95, after log_softmax"), ("cross_entropy_loss", "95"),
            ("soft_target_cross_entropy", "95, with probabilities"),
            ("l1_loss", "none: the shape of 94"),
            ("binary_cross_entropy_with_logits", "none: the shape of 94"),
        )
    },
}  # fmt: skip


def judge(
    backend: Any, operator: str, seed: int, *, tolerance: float = TODAY, backward: bool = False
) -> None:
    """Raise AssertionError, or what the backend raises, if an output is not close."""
    _, shapes, options = PROBLEMS[operator]
    for trial in range(TRIALS):
        sample = normals(operator, 100 * seed + trial, shapes, "float32", **options)
        for function, got, want in pairs(backend, sample, seed, backward=backward):
            _compare(function, got, want, tolerance)


def _compare(function: str, got: Any, want: Any, tolerance: float) -> None:
    ours, theirs = tensor(want), tensor(got)
    assert ours.shape == theirs.shape, f"{function}: shape {theirs.shape}, want {ours.shape}"
    close = torch.allclose(ours, theirs, atol=tolerance, rtol=tolerance)  # raises for other dtypes
    assert close, f"{function}: not close"
