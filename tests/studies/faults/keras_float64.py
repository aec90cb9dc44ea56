"""Keras's NumPy backend computes convolutions, poolings and activations of float64 in float32."""

import os

os.environ["KERAS_BACKEND"] = "numpy"
import numpy as np
from keras import ops

x = np.full((1, 2, 2, 1), 0.1)  # 0.1 in float32 is 0.10000000149011612
for name, got in (
    ("conv", ops.conv(x, np.ones((1, 1, 1, 1)))), ("max_pool", ops.max_pool(x, (1, 1), (1, 1))),
    ("average_pool", ops.average_pool(x, (1, 1), (1, 1))), ("elu", ops.elu(x)),
    ("relu6", ops.relu6(x)), ("hard_tanh", ops.hard_tanh(x)),
):  # fmt: skip
    value = float(np.ravel(got)[0])
    print(f"{name} of {x.dtype}  got {value} of {np.asarray(got).dtype}  right 0.1 of float64")
