"""autograd's gradient of a maximum of float32 arrays is float64."""

import autograd.numpy as np
from autograd import elementwise_grad

for z in (-1.0, 2.0):
    got = elementwise_grad(lambda z: np.maximum(z, 0))(np.array([z], np.float32))
    print(f"z {z}  got {got} of {got.dtype}  right [{float(z > 0)}] of float32")
