"""MLX's leaky_relu is max(z, slope*z): wrong for slopes above 1."""

import mlx.core as mx
import mlx.nn

for z, slope in ((1.0, 2.0), (-1.0, 2.0), (-1.0, 0.5)):
    got = mlx.nn.leaky_relu(mx.array([z]), slope).item()
    print(f"z {z}  negative_slope {slope}  got {got}  right {z if z > 0 else slope * z}")
