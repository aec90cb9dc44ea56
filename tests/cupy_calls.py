"""One call of each further function of the CUDA kernels: arrays, then options."""

import numpy as np


def integers(*shape):
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(float)


EPS, GROUPS = {"eps": 0.5}, {"num_groups": 2, "eps": 0.5}
TRAINING, RUNNING = {"training": True, "eps": 0.5}, {"training": False, "eps": 0.5}
ROWS, DROWS, OF_ROWS, BIAS = integers(3, 4, 5), integers(5, 4, 3).T, integers(5), integers(5) + 1
PLANES, DPLANES, OF_PLANES = integers(2, 4, 3, 5), integers(2, 4, 5, 3).swapaxes(2, 3), integers(4)
MEAN, VAR = integers(4) / 4, abs(integers(4)) + 1
BATCH = [PLANES, MEAN, VAR]

Z, DZ = integers(3, 4, 5) / 2, integers(5, 4, 3).T
X, T = integers(4, 6) / 2, abs(integers(6, 4)).T / 4
DX, ONE = integers(6, 4).T, np.array(3.0)
PER_CLASS = abs(integers(6)) + 1
CLASSES = np.array([1, -100, 5, 0])
CLASS = {"ignore_index": -100, "reduction": "mean"}
SMOOTHED = {**CLASS, "label_smoothing": 0.25}
SOFT = {"label_smoothing": 0.25, "reduction": "mean"}

TOKENS, TABLE = np.array([[1, 3, 1], [0, 1, 3]]), integers(5, 4)
DTOKENS = integers(2, 3, 4)
PLACES = np.array([[[2, 0], [2, 2], [1, 0]], [[0, 0], [2, 1], [2, 2]]])  # along axis 1 of VALUES
VALUES = integers(2, 3, 2)
CHOSEN = np.array([2, 0, 2, 1, 2])

QUERY, KEY, VALUE = integers(2, 4, 3, 5) / 4, integers(2, 2, 6, 5) / 4, integers(2, 2, 6, 3)
DY = integers(2, 4, 3, 3)
MASK = np.where(integers(2, 4, 3, 6) > 2, -np.inf, integers(6, 3, 4, 2).T / 4)
ATTENTION = {"is_causal": False, "scale": None, "enable_gqa": True}
CAUSAL = {**ATTENTION, "is_causal": True, "scale": 0.5}

A, B, DAB = integers(17, 5), integers(5, 19), integers(17, 19)
STEP = {
    "learning_rate": 0.5, "beta1": 0.75, "beta2": 0.875, "eps": 0.25, "weight_decay": 0.125,
    "step": 3,
}  # fmt: skip
MOMENTUM = {
    "learning_rate": 0.5, "momentum": 0.75, "dampening": 0.25, "weight_decay": 0.125,
    "nesterov": False,
}  # fmt: skip
MOMENTS = [integers(3, 4), integers(4, 3).T, integers(2, 6)[:, :4].repeat(2, 0)[:3],
           abs(integers(3, 4))]  # fmt: skip

NORMALISATIONS = {
    "layer_norm": ([ROWS, OF_ROWS, BIAS], EPS),
    "layer_norm_grad_x": ([DROWS, ROWS, OF_ROWS], EPS),
    "layer_norm_grad_weight": ([DROWS, ROWS], EPS),
    "layer_norm_grad_bias": ([DROWS], {}),
    "rms_norm": ([ROWS, OF_ROWS], EPS),
    "rms_norm_grad_x": ([DROWS, ROWS, OF_ROWS], EPS),
    "rms_norm_grad_weight": ([DROWS, ROWS], EPS),
    "instance_norm": ([PLANES, OF_PLANES, MEAN], EPS),
    "instance_norm_grad_x": ([DPLANES, PLANES, OF_PLANES], EPS),
    "instance_norm_grad_weight": ([DPLANES, PLANES], EPS),
    "instance_norm_grad_bias": ([DPLANES], {}),
    "group_norm": ([PLANES, OF_PLANES, MEAN], GROUPS),
    "group_norm_grad_x": ([DPLANES, PLANES, OF_PLANES], GROUPS),
    "group_norm_grad_weight": ([DPLANES, PLANES], GROUPS),
    "group_norm_grad_bias": ([DPLANES], {}),
    "batch_norm": ([*BATCH, OF_PLANES, MEAN], TRAINING),
    "batch_norm_grad_x": ([DPLANES, *BATCH, OF_PLANES], TRAINING),
    "batch_norm_grad_weight": ([DPLANES, *BATCH], RUNNING),
    "batch_norm_grad_bias": ([DPLANES], {}),
    "batch_norm_update": (BATCH, {"momentum": 0.25}),
}
ACTIVATIONS = {
    "elu": {"alpha": 1.5},
    "gelu": {"approximate": "tanh"},
    "hardsigmoid": {},
    "hardswish": {},
    "hardtanh": {"min_val": -1.5, "max_val": 1.0},
    "logsigmoid": {},
    "mish": {},
    "relu6": {},
    "silu": {},
    "softplus": {"beta": 2.0, "threshold": 3.0},
    "log_softmax": {"axis": 1},
}
PAIRS = {
    "mse_loss": {"reduction": "mean"},
    "l1_loss": {"reduction": "sum"},
    "huber_loss": {"reduction": "mean", "delta": 1.25},
}
LOSSES = {
    "binary_cross_entropy_with_logits": ([X, T, PER_CLASS], {"reduction": "mean"}),
    "kl_div": ([X, T], {"reduction": "mean", "log_target": False}),
    "nll_loss": ([X, CLASSES, PER_CLASS], CLASS),
    "cross_entropy_loss": ([X, CLASSES, PER_CLASS], SMOOTHED),
}
ATTENTION_CALLS = {
    "scaled_dot_product_attention": ([QUERY, KEY, VALUE, MASK], ATTENTION),
    "scaled_dot_product_attention_grad_query": ([DY, QUERY, KEY, VALUE], CAUSAL),
    "scaled_dot_product_attention_grad_key": ([DY, QUERY, KEY, VALUE, MASK > 0], ATTENTION),
    "scaled_dot_product_attention_grad_value": ([DY, QUERY, KEY, VALUE, MASK], ATTENTION),
    "scaled_dot_product_attention_grad_attn_mask": ([DY, QUERY, KEY, VALUE, MASK], ATTENTION),
}
CALLS = {
    **NORMALISATIONS,
    **{name: ([Z], options) for name, options in ACTIVATIONS.items()},
    **{f"{name}_grad": ([DZ, Z], options) for name, options in ACTIVATIONS.items()},
    "glu": ([X], {}),
    "glu_grad": ([DX[:, :3], X], {}),
    "prelu": ([PLANES, OF_PLANES], {}),
    "prelu_grad_x": ([DPLANES, PLANES, OF_PLANES], {}),
    "prelu_grad_weight": ([DPLANES, PLANES, OF_PLANES], {}),
    **{name: ([X, T], options) for name, options in PAIRS.items()},
    **{f"{name}_grad_input": ([ONE, X, T], options) for name, options in PAIRS.items()},
    **{
        f"{name}_grad_target": ([DX, X, T], {**options, "reduction": "none"})
        for name, options in PAIRS.items()
    },
    **LOSSES,
    **{f"{name}_grad": ([ONE, *arrays], options) for name, (arrays, options) in LOSSES.items()},
    "soft_target_cross_entropy": ([X, T, PER_CLASS], SOFT),
    "soft_target_cross_entropy_grad_input": ([ONE, X, T, PER_CLASS], SOFT),
    "soft_target_cross_entropy_grad_target": ([ONE, X, T, PER_CLASS], SOFT),
    "adaptive_avg_pool2d": ([PLANES], {"output_size": (2, 3)}),
    "adaptive_avg_pool2d_grad_input": (
        [integers(2, 4, 2, 3)], {"input_shape": PLANES.shape},
    ),
    "embedding": ([TOKENS, TABLE], {"padding_idx": None}),
    "embedding_grad": ([DTOKENS, TOKENS, TABLE], {"padding_idx": -2}),
    "gather": ([VALUES, PLACES], {"axis": 1}),
    "gather_grad": ([VALUES, VALUES, PLACES], {"axis": 1}),
    "scatter_add": ([VALUES, PLACES, integers(3, 2, 2).swapaxes(0, 1)], {"axis": -2}),
    "scatter_add_grad_input": ([VALUES, VALUES, PLACES, VALUES], {"axis": 1}),
    "scatter_add_grad_src": ([VALUES, VALUES, PLACES, VALUES], {"axis": 1}),
    "index_select": ([VALUES, CHOSEN], {"axis": 1}),
    "index_select_grad": ([integers(2, 5, 2), VALUES, CHOSEN], {"axis": 1}),
    **ATTENTION_CALLS,
    "matmul": ([A, B], {}),
    "matmul_grad_input": ([DAB, B], {}),
    "matmul_grad_other": ([DAB, A], {}),
    "bmm": ([integers(2, 3, 4), integers(2, 4, 5)], {}),
    "bmm_grad_input": ([integers(2, 3, 5), integers(2, 4, 5)], {}),
    "bmm_grad_mat2": ([integers(2, 3, 5), integers(2, 3, 4)], {}),
    "rotary_embedding": (
        [integers(2, 2, 3, 5), integers(5, 2), integers(5, 2) / 2],
        {"interleaved": True, "offset": 1},
    ),
    "rotary_embedding_grad": (
        [integers(2, 2, 3, 5), integers(5, 2), integers(5, 2) / 2],
        {"interleaved": False, "offset": 2},
    ),
    "sgd_momentum_step": (MOMENTS[:3], MOMENTUM),
    "adam_step": (MOMENTS, STEP),
    "adamw_step": (MOMENTS, STEP),
}  # fmt: skip
# Those whose results are no sums of products: they are rounded, each in its way.
EXACT = (
    "embedding", "gather", "scatter_add", "index_select", "matmul", "bmm", "rotary",
    "prelu", "relu6", "hardtanh", "layer_norm_grad_bias", "instance_norm_grad_bias",
    "group_norm_grad_bias", "batch_norm_grad_bias",
)  # fmt: skip
