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
