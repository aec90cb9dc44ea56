"""MLX's sigmoid loses accuracy far below 0: about 20 units in the last place at -24."""

from decimal import Decimal

import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)
for z in (-10.0, -23.5, -60.0):
    got = mx.sigmoid(mx.array([z])).item()
    right = 1 / (1 + Decimal(-z).exp())
    off = abs(Decimal(got) - right) / Decimal(float(np.spacing(np.float32(right))))
    print(f"z {z:.9g}  got {got:.9g}  right {right:.9g}  off {off:.3g} units in the last place")
