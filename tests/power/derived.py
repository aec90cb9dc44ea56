"""How the rivals call operators whose gradients are derived from their forward formulas.

Which functions there are, and what they take, is read from the records; shapes and options are
written here, as a user of each rival would choose them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.further_ranks import FURTHER_RANKS
from gradoracle.oracle.declaration import argument_names, axes_of, output_of
from gradoracle.oracle.derive import GRAD_OUTPUT, body_of

# No rival has been taught to call these: padding and folding, products, indexing, optimisers.
WITHOUT_RIVALS = (
    "adam_step", "adamw_step", "adaptive_avg_pool2d", "adaptive_max_pool2d", "add", "bilinear",
    "bmm", "broadcast_matmul", "cat", "circular_pad2d", "clip_grad_norm", "cumsum",
    "dropout_with_mask", "ema", "embedding", "fold", "gather", "index_select",
    "interpolate_bilinear2d", "interpolate_nearest2d", "lp_pool2d", "matmul", "max_unpool2d",
    "pixel_shuffle", "pixel_unshuffle",
    "reflection_pad2d", "replication_pad2d", "rotary_embedding", "scaled_dot_product_attention",
    "scatter_add", "sgd_momentum_step", "split", "unfold", "zero_pad2d",
)  # fmt: skip
RECORDS = {
    o.name: o
    for o in OPERATORS
    if body_of(o.formula) is not None and o.name not in WITHOUT_RIVALS and o not in FURTHER_RANKS
}
NORMALISATIONS = ("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm")
OF_MEANS = (*NORMALISATIONS, "batch_norm_update")
LOSSES = (
    "binary_cross_entropy_with_logits", "cross_entropy_loss", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "nll_loss", "soft_target_cross_entropy",
)  # fmt: skip
OF_AXES = (*NORMALISATIONS, *LOSSES, "batch_norm_update", "glu", "prelu")
OF_ANY_SHAPE = tuple(name for name in RECORDS if name not in OF_AXES)

# The options as PyTorch has them by default.
DEFAULTS: dict[str, dict[str, Any]] = {
    "batch_norm": {"training": True, "eps": 1e-5},
    "batch_norm_update": {"momentum": 0.1},
    "group_norm": {"num_groups": 2, "eps": 1e-5},
    **{name: {"eps": 1e-5} for name in ("instance_norm", "layer_norm", "rms_norm")},
    **{name: {"reduction": "mean"} for name in LOSSES},
    "huber_loss": {"reduction": "mean", "delta": 1.0},
    "kl_div": {"reduction": "mean", "log_target": False},
    "nll_loss": {"reduction": "mean", "ignore_index": -100},
    "cross_entropy_loss": {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0},
    "soft_target_cross_entropy": {"reduction": "mean", "label_smoothing": 0.0},
    "elu": {"alpha": 1.0},
    "gelu": {"approximate": "none"},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "log_softmax": {"axis": 1},
    "softplus": {"beta": 1.0, "threshold": 20.0},
}
# And others that a careful user tries.
OTHERS: dict[str, list[dict[str, Any]]] = {
    "batch_norm": [{"training": False}, {"eps": 1e-3}],
    "batch_norm_update": [{"momentum": 0.5}],
    "group_norm": [{"num_groups": 1}, {"num_groups": 4}],
    **{name: [{"eps": 1e-3}] for name in ("instance_norm", "layer_norm", "rms_norm")},
    **{name: [{"reduction": "sum"}, {"reduction": "none"}] for name in LOSSES},
    "huber_loss": [{"reduction": "sum"}, {"reduction": "none"}, {"delta": 0.5}],
    "kl_div": [{"reduction": "sum"}, {"reduction": "none"}, {"log_target": True}],
    "nll_loss": [{"reduction": "sum"}, {"reduction": "none"}, {"ignore_index": 1}],
    "cross_entropy_loss": [
        {"reduction": "sum"},
        {"reduction": "none"},
        {"ignore_index": 1},
        {"label_smoothing": 0.1},
    ],
    "soft_target_cross_entropy": [
        {"reduction": "sum"},
        {"reduction": "none"},
        {"label_smoothing": 0.1},
    ],
    "elu": [{"alpha": 0.5}],
    "gelu": [{"approximate": "tanh"}],
    "hardtanh": [{"min_val": -0.5, "max_val": 2.0}],
    "log_softmax": [{"axis": 0}],
    "softplus": [{"beta": 2.0, "threshold": 5.0}],
}


def options(operator: str) -> list[dict[str, Any]]:
    """Return PyTorch's default options, then others with one or two changed."""
    usual = DEFAULTS.get(operator, {})
    return [usual, *(usual | change for change in OTHERS.get(operator, []))]


def shapes(operator: str, sides: Mapping[str, int], *, optional: bool = True) -> dict[str, Any]:
    """Return the shapes of an operator's arrays, from the lengths of its axes by letter."""
    axes = axes_of(RECORDS[operator].formula)
    return {
        name: None if name in axes.optional and not optional else tuple(sides[n] for n in letters)
        for name, letters in axes.arrays.items()
        if name != GRAD_OUTPUT
    }


def complete(operator: str, arrays: Mapping[str, Any], given: Mapping[str, Any], seed: int) -> Any:
    """Return arrays with labels and targets that are legal."""
    call = RECORDS[operator].complete({**arrays, **given}, seed)
    return {name: call[name] for name in arrays}


def in_pytorch(operator: str) -> Callable[..., Any]:
    """Return PyTorch's function."""
    witness = RECORDS[operator].witness
    assert witness is not None
    found: Callable[..., Any] = witness(torch)
    return found


def gradients(
    operator: str, arrays: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[tuple[str, str, Callable[[Any, Any, Any], Any]]]:
    """Yield function, argument and how it is asked, of every gradient that this call has."""
    record = RECORDS[operator]
    for formula in record.gradients:
        argument = record.argument_of(formula)
        if arrays[argument] is None:
            continue
        names, keywords = argument_names(formula)

        def ask(
            function: Any, dy: Any, _: Any, names: Any = names, keywords: Any = keywords
        ) -> Any:
            known = {**arrays, GRAD_OUTPUT: dy}
            return function(*(known[n] for n in names), **{n: given[n] for n in keywords})

        yield output_of(formula).function, argument, ask
