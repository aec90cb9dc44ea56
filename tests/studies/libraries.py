"""The packages that are checked, as data."""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
GLUE = HERE / "glue"


class Library(NamedTuple):
    """A package: the distributions it is installed from, and what names its backend."""

    name: str
    distributions: tuple[str, ...]
    glue: str = ""  # a module of `glue`
    registered: str = ""  # or a registered name
    one_by_one: bool = False  # whether each operator is checked in a run of its own
    seconds: int = 1500  # that a run may take

    @property
    def backend(self) -> str:
        """What `gradoracle certify` is given."""
        return self.registered or f"tests.studies.glue.{self.glue}:backend"

    @property
    def lines(self) -> int:
        """Lines of code of the glue, without blank lines, comments and the docstring."""
        return code_lines(GLUE / f"{self.glue}.py") if self.glue else 0


def code_lines(path: Path) -> int:
    """Return how many lines of a file have code."""
    silent = (
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENCODING, tokenize.ENDMARKER,
    )  # fmt: skip
    with path.open("rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if t.type not in silent]
    if tokens and tokens[0].type == tokenize.STRING:  # the docstring
        tokens = tokens[1:]
    return len({line for t in tokens for line in range(t.start[0], t.end[0] + 1)})


LIBRARIES = {
    one.name: one
    for one in (
        Library("torch", ("torch",), glue="pytorch"),
        Library("torch@inductor", ("torch",), registered="torch@inductor", one_by_one=True),
        Library("jax", ("jax", "jaxlib"), registered="jax", one_by_one=True),
        Library("jax.nn", ("jax", "jaxlib"), glue="jax_nn"),
        Library("onnxruntime", ("onnxruntime", "onnx"), registered="onnxruntime"),
        Library("onnx", ("onnx",), glue="onnx_reference"),
        Library("openvino", ("openvino", "onnx"), glue="openvino_models"),
        Library("opencv-dnn", ("opencv-python-headless", "onnx"), glue="opencv_dnn"),
        Library("opencv-filter2D", ("opencv-python-headless",), glue="opencv_filter"),
        Library("autograd", ("autograd",), glue="autograd_numpy"),
        Library("mlx", ("mlx", "mlx-cpu"), glue="mlx_core"),
        Library("mlx.nn", ("mlx", "mlx-cpu"), glue="mlx_nn"),
        Library("numpy-ml", ("numpy-ml",), glue="numpy_ml_layers"),
        Library("neuralnetlib", ("neuralnetlib",), glue="neuralnetlib_layers"),
        Library("scipy", ("scipy",), glue="scipy_functions"),
        Library("scikit-learn", ("scikit-learn",), glue="sklearn_functions"),
        Library("micrograd", ("micrograd",), glue="micrograd_values"),
        Library("keras", ("keras", "jax"), glue="keras_numpy"),
        Library("paddle", ("paddlepaddle",), glue="paddle_functional"),
        Library("tensorflow", ("tensorflow-cpu",), glue="tensorflow_nn"),
        Library("optax", ("optax", "jax"), glue="optax_losses"),
        Library("equinox", ("equinox", "jax"), glue="equinox_layers"),
        Library("flax", ("flax", "jax"), glue="flax_layers"),
    )
}

# Of a script in `faults`: the library, the formulas and the properties whose mismatches
# it explains; no formulas, no properties: all.
FAULTS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "onnxruntime_sigmoid": ("onnxruntime", ("sigmoid",), ()),
    "onnxruntime_max_pool_nan": ("onnxruntime", (), ("points_at_the_maximum",)),
    "onnxruntime_conv_transpose": (
        "onnxruntime", ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), (),
    ),
    "mlx_leaky_relu": ("mlx", ("leaky_relu", "leaky_relu_grad"), ()),
    "mlx_sigmoid": ("mlx", ("sigmoid", "sigmoid_grad"), ()),
    "mlx_crashes": ("mlx", (), ("rejects_bad_arguments", "returns_what_the_protocol_says")),
    "mlx_conv_transpose": ("mlx", ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), ()),
    "opencv_filter2d_zero_weight": ("opencv-filter2D", (), ("propagates_non_finite",)),
    "opencv_filter2d_strides": ("opencv-filter2D", (), ("ignores_memory_layout",)),
    "neuralnetlib_sigmoid": ("neuralnetlib", ("sigmoid", "sigmoid_grad"), ()),
    "neuralnetlib_cross_entropy": ("neuralnetlib", ("cross_entropy",), ()),
    "neuralnetlib_max_pool_nan": ("neuralnetlib", ("max_pool2d_vjp",), ()),
    "numpy_ml_cross_entropy": (
        "numpy-ml", ("cross_entropy",), ("within_rounding_bound", "is_stateless"),
    ),
    "opencv_dnn_nan": (
        "opencv-dnn", ("conv1d", "conv2d", "conv3d"), ("propagates_non_finite",),
    ),
    "opencv_dnn_tanh": ("opencv-dnn", ("tanh",), ()),
    "openvino_softmax_nan": ("openvino", ("softmax",), ("propagates_non_finite",)),
    "paddle_avg_pool": (
        "paddle", tuple(f"avg_pool{rank}d_grad_input" for rank in (1, 2, 3)), (),
    ),
    "tensorflow_nn": (
        "tensorflow", ("leaky_relu", "leaky_relu_grad", "softmax", "max_pool2d_values"),
        ("matches_oracle", "propagates_non_finite"),
    ),
    "inductor_avg_pool": ("torch@inductor", ("avg_pool2d_grad_input",), ()),
    "numpy_ml_max_pool_padding": ("numpy-ml", ("max_pool2d_vjp",), ()),
}  # fmt: skip
