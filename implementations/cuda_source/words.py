"""The words that kernels, arrays and sizes are named with, and what of the protocol they mean."""

import re

from gradoracle.implementations.cuda_source.by_axes import ELEMENTWISE

# Words in the names of kernels, for the operators that they are about; the longest come first.
WORDS = {
    "softmax_cross_entropy": "cross_entropy", "softmax_ce": "cross_entropy",
    "crossentropy_softmax": "cross_entropy", "crossentropy": "cross_entropy",
    "cross_entropy": "cross_entropy", "layernorm": "layer_norm", "rmsnorm": "rms_norm",
    "batchnorm": "batch_norm", "groupnorm": "group_norm", "leakyrelu": "leaky_relu",
    "logsoftmax": "log_softmax", "convolution": "conv2d", "conv": "conv2d", "maxpool": "max_pool2d",
    "max_pool": "max_pool2d", "max_pooling": "max_pool2d", "avgpool": "avg_pool2d",
    "avg_pool": "avg_pool2d", "avg_pooling": "avg_pool2d", "average_pool": "avg_pool2d",
    "fully_connected": "linear", "dense": "linear", "sgd": "sgd_step", "swish": "silu",
    "sgd_momentum": "sgd_momentum_step", "momentum_sgd": "sgd_momentum_step",
    "momentum_update": "sgd_momentum_step", "adam": "adam_step", "adamw": "adamw_step",
    "residual": "add", "residual_add": "add", "attention": "scaled_dot_product_attention",
    "flash_attn": "scaled_dot_product_attention", "mse": "mse_loss",
}  # fmt: skip
# Operators whose names are common words.
COMMON = ("cat", "cumsum", "ema", "embedding", "fold", "gather", "split", "unfold")
BACKWARD = re.compile(r"(?i)backward|bwd|grad|_back\b|deriv|prime")
PRODUCT = re.compile(r"(?i)mat(?:rix)?_?mul|gemm|gemv|mat_?vec")
POINTWISE = {"relu", "leaky_relu", "sigmoid", "tanh", *ELEMENTWISE}
# Operators of rows of any array, and of rows [N, T, C].
ROWWISE = ("softmax", "log_softmax")
BY_TOKENS = ("layer_norm", "rms_norm")
STEPS = ("sgd_step", "sgd_momentum_step", "adam_step", "adamw_step")
OF_IMAGES = (
    "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "batch_norm", "group_norm",
    "instance_norm", "prelu",
)  # fmt: skip
# Losses that are one number, a mean or a sum, and those of them whose elements are compared.
LOSSES = ("cross_entropy", "cross_entropy_loss", "mse_loss", "l1_loss")
COMPARING = ("mse_loss", "l1_loss", "huber_loss")
# Operators of arrays of any shape, whose elements are counted.
COUNTED = (*POINTWISE, *STEPS, "add")

# Names that parameters have, for the arguments and results of the protocol.
INPUTS = ("x", "in", "inp", "input", "a", "z", "src", "data", "logits")
OUTPUTS = ("y", "o", "out", "output", "c", "dst", "result", "res", "probs", "xout")
ON_DEVICE = re.compile(r"^(?:dev|device|host|gpu|cpu|[dhg])_(?=\w)|(?<=\w)_(?:dev|device|gpu|d)$")
GIVEN = {
    "w": "weight", "weight": "weight", "weights": "weight", "kernel": "weight", "gamma": "weight",
    "filter": "weight", "filters": "weight", "kernels": "weight", "mask": "weight",
    "scale": "weight", "bias": "bias", "biases": "bias", "beta": "bias", "shift": "bias",
    "labels": "target", "label": "target", "target": "target", "targets": "target",
    "truth": "target", "dy": "grad_output", "dout": "grad_output", "grad_out": "grad_output",
    "grad_output": "grad_output", "indices": "indices", "dprobs": "grad_output",
    "dlosses": "grad_output",
}  # fmt: skip
# The names of some arrays of one operator only.
_OF_STEPS = {
    **dict.fromkeys(
        (
            "w",
            "p",
            "x",
            "param",
            "params",
            "parameter",
            "parameters",
            "theta",
            "weight",
            "weights",
            "params_memory",
        ),
        "parameter",
    ),
    **dict.fromkeys(
        (
            "g",
            "dw",
            "dx",
            "grad",
            "grads",
            "gradient",
            "gradients",
            "d_weights",
            "grads_memory",
            "weight_grad",
        ),
        "gradient",
    ),
    **dict.fromkeys(("m", "exp_avg", "moment1", "m_memory", "first_moment"), "exp_avg"),
    **dict.fromkeys(("v", "exp_avg_sq", "moment2", "v_memory", "second_moment"), "exp_avg_sq"),
}
OF_OPERATOR: dict[str, dict[str, str]] = {
    **{step: {**_OF_STEPS} for step in STEPS},
    "batch_norm": {
        **dict.fromkeys(("mean", "mu", "running_mean", "rolling_mean", "moving_mean"),
                        "running_mean"),
        **dict.fromkeys(("var", "variance", "running_var", "rolling_variance", "running_variance",
                         "moving_var", "sigma2"), "running_var"),
    },
    "scaled_dot_product_attention": {
        **dict.fromkeys(("q", "query", "queries"), "query"),
        **dict.fromkeys(("k", "key", "keys"), "key"),
        **dict.fromkeys(("v", "value", "values"), "value"),
    },
    **dict.fromkeys(COMPARING, dict.fromkeys(
        ("pred", "preds", "prediction", "predictions", "output", "outputs", "yhat"), "input"
    )),
    "add": {
        **dict.fromkeys(("inp1", "in1", "a", "x1", "lhs", "residual"), "input"),
        **dict.fromkeys(("inp2", "in2", "b", "x2", "rhs"), "other"),
    },
}  # fmt: skip
OF_OPERATOR["sgd_momentum_step"] |= dict.fromkeys(
    ("v", "buf", "velocity", "momentum_buffer", "vel", "momentum_buf"), "momentum_buffer"
)
# Numbers that are options, by the operators that have them.
OPTIONS = {
    "eps": "eps", "epsilon": "eps", "slope": "negative_slope", "negative_slope": "negative_slope",
    "negslope": "negative_slope", "neg_slope": "negative_slope", "lr": "learning_rate",
    "learning_rate": "learning_rate", "rate": "learning_rate", "eta": "learning_rate",
    "momentum": "momentum", "mu": "momentum", "dampening": "dampening", "beta1": "beta1",
    "beta2": "beta2", "b1": "beta1", "b2": "beta2", "weight_decay": "weight_decay",
    "wd": "weight_decay", "decay": "weight_decay", "t": "step", "step": "step",
    "timestep": "step", "iter": "step", "iteration": "step", "num_groups": "num_groups",
    "alpha": "alpha",
}  # fmt: skip
_NORMALISING = ("batch_norm", "group_norm", "instance_norm", *BY_TOKENS)
_ADAM = ("adam_step", "adamw_step")
HAVE = {
    "eps": (*_NORMALISING, *_ADAM), "negative_slope": ("leaky_relu",), "learning_rate": STEPS,
    "momentum": ("sgd_momentum_step",), "dampening": ("sgd_momentum_step",), "beta1": _ADAM,
    "beta2": _ADAM, "step": _ADAM, "weight_decay": ("sgd_momentum_step", *_ADAM),
    "num_groups": ("group_norm",), "alpha": ("elu", "add"),
}  # fmt: skip

# Of C = alpha A B + beta C: the names that BLAS gives to its second matrix and its factors.
SECOND = ("b", "rhs", "other", "mat2")
FACTORS = {"ALPHA": "1", "BETA": "0", "TA": "0", "TB": "0", "TRANSA": "0", "TRANSB": "0"}
COUNTS = ("n", "size", "len", "length", "num", "numel", "count", "total", "num_elements",
          "num_parameters", "num_params", "elements", "n_elements")  # fmt: skip
THREADS = re.compile(r"(?i)(?:block|tile|threads?)_?(?:size|dim|per_?block)|(?:num_?|n_?)?threads")
STREAM = re.compile(r"\bcudaStream_t\b")
SIZES = ("N", "C", "H", "W", "M", "KH", "KW", "OH", "OW", "T", "SH", "SW", "PH", "PW", "DH", "DW")
_IN, _OUT = r"(?:in|input|inp|i|x)", r"(?:out|output|o|y)"
_TAPS = r"(?:kernel|filter|weight|window|pool|mask|ker|k|f)"
# What sizes are called, in small letters with an underscore between words.
LETTERS = {
    re.compile(words): letter
    for words, letter in {
        r"rows|(?:n_?|num_?)?(?:batch|batches|images|rows|samples)|batch_?size|b": "N",
        r"cols|columns|dim|dims|hidden|hidden_(?:size|dim)|embed_dim|d_model|features": "C",
        r"(?:n_?|num_?)?(?:classes|columns|cols|channels|features|class)|v|vocab_?size": "C",
        rf"(?:n_?|num_?)?{_IN}_?(?:ch|chan|channels?|c|features|feat|dim|depth|maps)": "C",
        rf"(?:c|ch|channels)_?{_IN}|ic|input_size|in_size": "C",
        rf"(?:n_?|num_?)?{_OUT}_?(?:ch|chan|channels?|c|features|feat|dim|depth|maps)": "M",
        rf"(?:c|ch|channels)_?{_OUT}|oc|output_size|(?:n_?|num_?)filters|filters": "M",
        rf"height|(?:{_IN}|img|image)_?(?:h|height|rows)|(?:h|height)_?{_IN}": "H",
        rf"width|(?:{_IN}|img|image)_?(?:w|width|cols)|(?:w|width)_?{_IN}": "W",
        rf"{_OUT}_?(?:h|height|rows)|(?:h|height)_?{_OUT}|(?:h|height)_col": "OH",
        rf"{_OUT}_?(?:w|width|cols)|(?:w|width)_?{_OUT}|(?:w|width)_col": "OW",
        rf"{_TAPS}_?(?:h|height|rows)|(?:h|height)_?{_TAPS}": "KH",
        rf"{_TAPS}_?(?:w|width|cols)|(?:w|width)_?{_TAPS}": "KW",
        rf"{_TAPS}_?(?:size|dim|len)|ksize|kernel": "K",
        r"stride_?(?:h|y)|s_?h": "SH", r"stride_?(?:w|x)|s_?w": "SW", r"stride|strides?": "S",
        r"pad(?:ding)?_?(?:h|y)|p_?h": "PH", r"pad(?:ding)?_?(?:w|x)|p_?w": "PW",
        r"pad|padding": "P", r"dil(?:ation)?_?(?:h|y)": "DH", r"dil(?:ation)?_?(?:w|x)": "DW",
        r"dilation": "D", r"groups": "G",
        r"spatial|spatial_?(?:size|dim)|hw|plane|plane_?size|image_?size": "HW",
        r"(?:seq_?len(?:gth)?|tokens|n_tokens)": "T",
    }.items()
}  # fmt: skip
# Of images: numbers that stand for both sides, and what those are.
BOTH_SIDES = {"K": "KH", "S": "SH", "P": "PH", "D": "DH"}
# The letters of cuDNN's documentation, where R and S are among them.
OF_CUDNN = {"K": "M", "R": "KH", "S": "KW", "P": "OH", "Q": "OW"}
# What attention's sizes are called: images, heads, positions, features.
ATTENDED = {
    re.compile(words): letter
    for words, letter in {
        r"b|n?batch(?:_?size)?|bs": "N", r"nh|h|(?:n_?|num_?)?heads?": "Q",
        r"n|t|l|s|seq(?:_?len(?:gth)?)?|sequence_length|(?:n_?|num_?)?tokens": "L",
        r"d|e|hs|d_?k|d_?head|head_?(?:dim|size)|dim|embed_dim|d_model": "E",
    }.items()
}  # fmt: skip
