"""PaddlePaddle averages over a window of padding alone with ceil_mode, which gives NaN."""

import paddle

x = paddle.to_tensor([4.0, 2.0]).reshape([1, 1, 2, 1])
y = paddle.nn.functional.avg_pool2d(x, (1, 2), (1, 2), (0, 1), ceil_mode=True, exclusive=True)
print(f"got {y.tolist()}  right [[[[4.0], [2.0]]]]: the second window begins behind the image")
