"""TensorFlow rounds a slope of float64 to float32; NaN and infinities get lost in two functions."""

import numpy as np
import tensorflow as tf

got = tf.nn.leaky_relu(tf.constant([-1.0], tf.float64), 0.01).numpy()[0]
print(f"leaky_relu of float64, slope 0.01  got {got!r}  right -0.01")
got = tf.nn.max_pool2d(tf.fill((1, 1, 1, 1), -np.inf), 1, 1, "VALID").numpy().item()
print(f"max_pool2d of -inf alone  got {got}  right -inf")
for z in ([np.nan, 0.0], [0.0, np.nan]):
    got = tf.nn.softmax(tf.constant(z, tf.float32)).numpy()
    print(f"softmax of {z}  got {got}  right [nan nan]")
