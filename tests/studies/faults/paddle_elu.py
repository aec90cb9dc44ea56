"""PaddlePaddle's elu of float64 rounds alpha to float32."""

from decimal import Decimal

import paddle

z, alpha = paddle.to_tensor([-1.0], "float64"), 0.001
got = paddle.nn.functional.elu(z, alpha).item()
print(f"{z.dtype}  got {got!r}  right {float(Decimal(alpha) * (Decimal(-1).exp() - 1))!r}")
