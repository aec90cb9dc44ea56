"""TensorFlow divides by zero, which ends the process: pooling whose window is too wide."""

import subprocess
import sys

PROGRAM = """
import tensorflow as tf
x = tf.zeros((1, 1, 1, 1))
with tf.GradientTape() as tape:
    tape.watch(x)
    y = tf.nn.%s(x, (1, 2), 1, "VALID")
print(y.shape, tape.gradient(y, x, tf.ones((1, 1, %d, 1))).shape)
"""
for name, columns in (("avg_pool2d", 0), ("avg_pool2d", 1), ("max_pool2d", 0)):
    program = PROGRAM % (name, columns)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    got = f"{done.stdout.strip() or 'nothing'}, exit status {done.returncode}"
    right = "an error" if columns else "an error, or (1, 1, 0, 1) (1, 1, 1, 1)"
    print(f"{name}, dy of {columns} columns  got {got}  right {right}")
