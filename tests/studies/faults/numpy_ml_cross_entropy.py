"""numpy-ml's cross entropy adds 2.2e-16 to the probability: below 1e-13 the loss is wrong."""

import collections
import collections.abc
from decimal import Decimal

import numpy as np

collections.Hashable = collections.abc.Hashable
from numpy_ml.neural_nets.losses import CrossEntropy

for z in (-3.0, -30.0, -60.0):
    exps = np.exp([0.0, z])
    got = CrossEntropy.loss(np.array([[0.0, 1.0]]), (exps / exps.sum())[None])
    print(f"logits [0, {z}]  got {got:.17g}  right {(1 + Decimal(z).exp()).ln() - Decimal(z):.17g}")
