"""MLX divides by zero, which ends the process: groups=0, and a gradient of no images."""

import subprocess
import sys

GROUPS = """
import mlx.core as mx
mx.set_default_device(mx.cpu)
one = mx.zeros((1, 1, 1, 1))
print(mx.conv2d(one, one, groups=0))
"""
NO_IMAGES = """
import mlx.core as mx
mx.set_default_device(mx.cpu)
x, w = mx.zeros((0, 1, 1, 1)), mx.zeros((1, 1, 1, 1))
_, found = mx.vjp(lambda w: mx.conv2d(x, w, dilation=(1, 2)), [w], [mx.zeros((0, 1, 1, 1))])
print(found)
"""
for name, program, right in (
    ("groups=0", GROUPS, "an exception"), ("no images", NO_IMAGES, "a gradient of 0"),
):  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    print(f"{name}  got exit status {done.returncode} {done.stdout.strip()}  right {right}")
