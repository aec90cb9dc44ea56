"""autograd's gradient of a maximum of float32 arrays is float64."""

import autograd.numpy as np
from autograd import grad

z = np.array([-1.0, 2.0], np.float32)
for name, function, right in (
    ("maximum", lambda z: np.sum(np.maximum(z, 0)), "[0. 1.]"), ("max", np.max, "[0. 1.]"),
):  # fmt: skip
    got = grad(function)(z)
    print(f"{name}  got {got} of {got.dtype}  right {right} of float32")
