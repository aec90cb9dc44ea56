"""neuralnetlib's MaxPooling2D has a NaN as its value, and sends the gradient to another pixel."""

import numpy as np
from neuralnetlib.layers import MaxPooling2D

layer = MaxPooling2D((1, 2), (1, 1))
y = layer.forward_pass(np.array([np.nan, 0.0]).reshape(1, 1, 2, 1))
dx = layer.backward_pass(np.ones((1, 1, 1, 1)))
print(f"y {y.ravel()}  got dx {dx.ravel()}  right [1. 0.]: the pixel that is y")
