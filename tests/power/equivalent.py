"""Mutants of im2col that compute the same, and why: nobody can tell them apart by its answers."""

BY_NAME = "the protocol gives arrays by position and options by name"
EQUIVALENT = {
    "activations.py: def leaky_relu(z: Array, *, negative_slope: float) -> Array: -> "
    "def leaky_relu(z: Array, /, negative_slope: float) -> Array:": BY_NAME,
}
