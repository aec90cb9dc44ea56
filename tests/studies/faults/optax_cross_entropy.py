"""Optax's cross entropy of integer labels subtracts large numbers from each other."""

from decimal import Decimal

import numpy as np
import optax

for shift in (0.0, 1e4, 1e6):
    logits = np.array([[shift, shift + 0.4375]], "float32")  # exact in float32
    got = float(optax.softmax_cross_entropy_with_integer_labels(logits, np.array([1]))[0])
    right = (1 + Decimal("-0.4375").exp()).ln()
    print(f"logits {logits[0].tolist()}  got {got:.8f}  right {right:.8f}")
