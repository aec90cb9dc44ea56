"""TensorFlow divides by zero, which ends the process: a max pooling whose window is too wide."""

import subprocess
import sys

PROGRAM = """
import tensorflow as tf
x = tf.zeros((1, 1, 1, 1))
with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.nn.%s(x, (1, 2), 1, "VALID")
print(y.shape, tape.gradient(y, x).shape)
"""
for name in ("avg_pool2d", "max_pool2d"):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM % name], capture_output=True, text=True, check=False
    )
    got = done.stdout.strip() or "nothing"
    print(
        f"{name}  got {got}, exit status {done.returncode}  right an error, or shape (1, 1, 0, 1)"
    )
