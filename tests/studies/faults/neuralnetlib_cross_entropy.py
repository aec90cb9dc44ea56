"""neuralnetlib's cross entropy clips the probability at 1e-15: no loss is above 34.6."""

from decimal import Decimal

import numpy as np
from neuralnetlib.activations import Softmax
from neuralnetlib.losses import SparseCategoricalCrossentropy

for z in (-3.0, -40.0, -100.0):
    got = SparseCategoricalCrossentropy()(np.array([1]), Softmax()(np.array([[0.0, z]])))
    print(f"logits [0, {z}]  got {got:.10g}  right {(1 + Decimal(z).exp()).ln() - Decimal(z):.10g}")
