"""Equinox's poolings with use_ceil refuse windows, and count the padding that this adds."""

import equinox
import jax.numpy as jnp


def run(layer, *options, size=2):
    """Return what a layer makes of ones, or the exception that it raises."""
    try:
        return layer(*options, use_ceil=True)(jnp.ones((1, size))).ravel().tolist()
    except RuntimeError as error:
        return f"RuntimeError: {str(error)[:52]}"


print(f"maxima of single numbers  got {run(equinox.nn.MaxPool1d, 1, 2)}  right [1.0]")
got = run(equinox.nn.AvgPool1d, 2, 2, size=3)
print(f"means of three ones in pairs  got {got}  right [1.0, 1.0]")
