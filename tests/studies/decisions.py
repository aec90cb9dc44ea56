"""What is known of each mismatch: a fault that a script shows, a refusal, or a convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Decision(NamedTuple):
    """What some mismatches of a library are; empty fields are about all of its mismatches.

    `known` is a script of `faults`, or says what is no fault: "refusal" where the library raises
    or returns nothing, "convention" where its documentation says what it does instead.
    """

    known: str
    library: str
    formulas: Sequence[str] = ()
    properties: Sequence[str] = ()
    says: str = ""  # in what the report says first, or in the call

    @property
    def is_fault(self) -> bool:
        """Whether it names a script."""
        return ":" not in self.known

    def is_about(self, library: str, formula: str, property_name: str, text: str) -> bool:
        """Return whether a mismatch is one of these."""
        return (
            self.library == library
            and (not self.formulas or formula in self.formulas)
            and (not self.properties or property_name in self.properties)
            and self.says in text
        )


def ranks(name: str, suffix: str = "") -> tuple[str, ...]:
    """Return the formulas of one, two and three spatial axes."""
    return tuple(f"{name}{rank}d{suffix}" for rank in (1, 2, 3))


NON_FINITE = ("propagates_non_finite",)
SHAPE = "got shape"
NO_IMAGES = "refusal: no images"
EMPTY, EMPTY_64 = "float32[0, ", "float64[0, "  # in a call
# The first that is about a mismatch counts.
DECISIONS = (
    Decision("onnxruntime_sigmoid", "onnxruntime", ("sigmoid",)),
    Decision("onnxruntime_max_pool_nan", "onnxruntime", (), ("points_at_the_maximum",)),
    Decision("onnxruntime_conv_transpose", "onnxruntime", ranks("conv_transpose")),
    Decision(NO_IMAGES, "onnxruntime", ("cross_entropy",), says=EMPTY),
    Decision(
        "onnx_reference_conv_transpose", "onnx", ranks("conv_transpose"), says="cannot reshape"
    ),
    Decision("onnx_reference_conv_transpose", "onnx", ranks("conv_transpose"), says="groups=2"),
    Decision(
        "refusal: an output_padding without a stride", "onnx", ranks("conv_transpose"),
        says="expected size of input",
    ),
    Decision("onnx_reference_pooling", "onnx", ranks("max_pool", "_values")),
    Decision("onnx_reference_pooling", "onnx", ranks("max_pool", "_indices")),
    Decision("onnx_reference_pooling", "onnx", ranks("avg_pool")),
    Decision("convention: ONNX's options are float32", "onnx", ("leaky_relu",)),
    Decision("onnx_reference_cross_entropy", "onnx", ("cross_entropy",)),
    Decision("equinox_pooling", "equinox"),
    Decision("openvino_softmax_nan", "openvino", ("softmax",), NON_FINITE),
    Decision(NO_IMAGES, "openvino", ("linear",), says=EMPTY),
    Decision("opencv_dnn_nan", "opencv-dnn", ranks("conv"), NON_FINITE),
    Decision("opencv_dnn_tanh", "opencv-dnn", ("tanh",)),
    Decision("opencv_dnn_crashes", "opencv-dnn", says="crashed: "),
    Decision(NO_IMAGES, "opencv-dnn", says=EMPTY),
    Decision("opencv_dnn_groups", "opencv-dnn", ranks("conv_transpose"), NON_FINITE),
    Decision("opencv_dnn_padding", "opencv-dnn", ranks("conv")),
    Decision("opencv_dnn_ceil_mode", "opencv-dnn", ranks("avg_pool")),
    Decision("opencv_dnn_ceil_mode", "opencv-dnn", says="ceil_mode=True"),
    Decision("opencv_dnn_indices", "opencv-dnn", ranks("max_pool", "_indices"), says="got -1"),
    Decision("refusal: sequences and volumes", "opencv-dnn", says="only 4D (N,C,H,W) inputs"),
    Decision(
        "convention: a number has shape [1]", "opencv-dnn", ("cross_entropy",),
        says="got shape [1], want []",
    ),
    Decision("opencv_filter2d_zero_weight", "opencv-filter2D", (), NON_FINITE),
    Decision("opencv_filter2d_strides", "opencv-filter2D", (), ("ignores_memory_layout",)),
    Decision("autograd_convolve", "autograd", says="RecursionError"),
    Decision("autograd_maximum", "autograd", says="the dtype is float64"),
    Decision("keras_float64", "keras", says="got dtype float32, want float64"),
    Decision("optax_cross_entropy", "optax", ("cross_entropy", "cross_entropy_grad")),
    Decision("mlx_leaky_relu", "mlx", ("leaky_relu", "leaky_relu_grad")),
    Decision("mlx_sigmoid", "mlx", ("sigmoid", "sigmoid_grad")),
    Decision("mlx_crashes", "mlx", says="SIGFPE"),
    Decision("mlx_conv_transpose", "mlx", ranks("conv_transpose")),
    Decision(NO_IMAGES, "mlx", ("cross_entropy",), says=EMPTY),
    Decision("refusal: NaN", "numpy-ml", ("cross_entropy",), says="should be stochastic"),
    Decision("numpy_ml_cross_entropy", "numpy-ml", ("cross_entropy",)),
    Decision("numpy_ml_max_pool_padding", "numpy-ml", ("max_pool2d_vjp",)),
    Decision("neuralnetlib_sigmoid", "neuralnetlib", ("sigmoid", "sigmoid_grad")),
    Decision("neuralnetlib_cross_entropy", "neuralnetlib", ("cross_entropy",)),
    Decision("neuralnetlib_max_pool_nan", "neuralnetlib", ("max_pool2d_vjp",)),
    Decision(NO_IMAGES, "neuralnetlib", says=EMPTY_64),
    Decision("refusal: NaN", "scikit-learn", ("cross_entropy",), says="Input contains NaN"),
    Decision(
        "convention: probabilities are clipped to the dtype's epsilon", "scikit-learn",
        ("cross_entropy",),
    ),
    Decision("paddle_avg_pool_ceil_mode", "paddle", says="ceil_mode=True"),
    Decision("paddle_elu", "paddle", ("elu", "elu_grad")),
    Decision(
        "convention: the slope is 0.1666667, as documented", "paddle",
        ("hardsigmoid", "hardsigmoid_grad"),
    ),
    Decision("paddle_avg_pool", "paddle", ranks("avg_pool", "_grad_input")),
    Decision("tensorflow_crashes", "tensorflow", says="SIGFPE"),
    Decision("tensorflow_conv2d_empty", "tensorflow", ("conv2d",), says=SHAPE),
    Decision(
        "refusal: gradients of dilated convolutions on a CPU", "tensorflow",
        says="do not yet support dilation rates",
    ),
    Decision("convention: a NaN is no maximum", "tensorflow", ("max_pool2d_vjp",), says="nan"),
    Decision(
        "tensorflow_nn", "tensorflow",
        ("leaky_relu", "leaky_relu_grad", "softmax", "max_pool2d_values"),
    ),
    Decision("convention: a variance in one pass", "jax.nn", ("layer_norm", "layer_norm_grad_x")),
    Decision("convention: the slope at a kink is 1", "jax.nn", ("hardtanh_grad",)),
    Decision("convention: subnormal numbers are 0", "jax.nn", ("hardtanh",)),
    Decision("torch_batch_norm", "torch", ("batch_norm_grad_x",)),
    Decision("torch_batch_norm_bias", "torch", ("batch_norm_grad_bias",)),
    Decision("torch_group_norm_values", "torch", ("group_norm",)),
    Decision("torch_group_norm", "torch", says="SIGSEGV"),
    Decision("torch_hardsigmoid", "torch", ("hardsigmoid_grad",)),
    Decision("torch_max_unpool", "torch", says="view size is not compatible"),
    Decision("refusal: windows larger than a volume", "torch", says="smaller than kernel size"),
    Decision(NO_IMAGES, "torch", ("scaled_dot_product_attention_grad_attn_mask",), says=EMPTY),
    Decision("inductor_avg_pool", "torch@inductor", ranks("avg_pool", "_grad_input")),
)  # fmt: skip


def decided(library: str, formula: str, property_name: str, text: str) -> Decision | None:
    """Return what is known of a mismatch, None if that is nothing."""
    found = (one for one in DECISIONS if one.is_about(library, formula, property_name, text))
    return next(found, None)
