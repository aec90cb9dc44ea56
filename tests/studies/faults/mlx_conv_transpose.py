"""MLX refuses a transposed convolution whose padding takes away all but the gap of a stride."""

import mlx.core as mx

mx.set_default_device(mx.cpu)
x, w = mx.array([[[3.0], [4.0]]]), mx.array([[[5.0]]])  # [N, W, C] and [M, W, C]
try:
    got = mx.conv_transpose1d(x, w, stride=2, padding=1).tolist()
except ValueError as error:
    got = str(error)
print(f"got {got}")
print("right [[[0.0]]]: of 15, 0, 20 the padding takes the first and the last place")
