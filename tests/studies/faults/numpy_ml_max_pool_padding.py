"""numpy-ml's Pool2D looks for a maximum in the image without its padding when it goes back."""

import collections
import collections.abc

import numpy as np

collections.Hashable = collections.abc.Hashable
from numpy_ml.neural_nets.layers import Pool2D

x = np.array([[5.0, 1.0], [2.0, 3.0]])
layer = Pool2D((2, 2), stride=2, pad=(1, 1), mode="max")
y = layer.forward(x[None, :, :, None])
print(f"y {y.ravel()}: every pixel is alone in its window")
try:
    got = layer.backward(np.ones((1, 2, 2, 1)))[0, :, :, 0].tolist()
except Exception as error:
    got = f"{type(error).__name__}: {error}"
print(f"got dx {got}  right [[1.0, 1.0], [1.0, 1.0]]")
