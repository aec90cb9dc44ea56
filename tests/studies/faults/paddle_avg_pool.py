"""PaddlePaddle's gradient of an average pooling of float64 divides by float32's 3."""

from fractions import Fraction

import numpy as np
import paddle

x = paddle.to_tensor(np.zeros((1, 1, 3, 1)), stop_gradient=False)
y = paddle.nn.functional.avg_pool2d(x, (3, 1), 1, 0)
got = paddle.grad(y, x)[0].numpy().ravel()[0]
print(f"{x.dtype}  got {got!r}  right {1 / 3}  off {float(Fraction(float(got)) * 3 - 1):.2g}")
