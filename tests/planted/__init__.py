"""All planted faults and controls: importing this package plants them."""

from tests.planted import (  # noqa: F401
    activations,
    adaptive_max_pool,
    adaptive_pool,
    against_convolutions,
    against_others,
    all_gradients,
    attention,
    avg_pool2d,
    conv2d,
    conv2d_numbers,
    conv_transpose2d,
    cross_entropy,
    cross_entropy_options,
    dense,
    fast_paths,
    further_activations,
    further_losses,
    halves,
    indexing,
    interpolate,
    joining,
    layouts,
    max_pool2d,
    max_pool2d_back,
    max_unpool,
    memory,
    moved_pixels,
    narrow,
    normalisation,
    not_finite,
    optimisers,
    products,
    second_round,
    softmax,
    state,
)
from tests.planted.fault import CONTROLS, FAULTS, GAPS
from tests.planted.ranks import RANKED

__all__ = ["CONTROLS", "FAULTS", "GAPS", "RANKED"]
