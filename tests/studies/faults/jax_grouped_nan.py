"""On a CPU, XLA computes a grouped convolution as a dense one: NaN reaches the other groups."""

import jax
import numpy as np

x, w = np.array([[[np.nan], [1.0]]]), np.ones((2, 1, 1))
for dtype in ("float32", "float64"):
    with jax.enable_x64(dtype == "float64"):
        y = jax.lax.conv_general_dilated(
            x.astype(dtype), w.astype(dtype), (1,), "VALID", feature_group_count=2
        )
        print(f"{dtype}  got {np.ravel(y)}  right [nan 1.]")
