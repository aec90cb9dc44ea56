"""TensorFlow's conv2d of no images has the shape of an unpadded result, whatever the padding."""

import tensorflow as tf

padding = [[0, 0], [0, 0], [1, 1], [0, 0]]
for images in (1, 0):
    x, w = tf.zeros((images, 1, 1, 1)), tf.zeros((1, 1, 1, 1))
    print(f"got {tf.nn.conv2d(x, w, 1, padding).shape}  right ({images}, 1, 3, 1)")
