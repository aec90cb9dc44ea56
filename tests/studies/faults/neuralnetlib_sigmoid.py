"""neuralnetlib's sigmoid clips its argument at -50: everything below has the same value."""

from decimal import Decimal

import numpy as np
from neuralnetlib.activations import Sigmoid

for z in (-51.0, -100.0):
    print(f"z {z}  got {Sigmoid()(np.array([z]))[0]:.6g}  right {1 / (1 + Decimal(-z).exp()):.6g}")
