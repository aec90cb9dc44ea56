"""OpenCV reads past an array of stride 0, such as numpy.broadcast_to makes."""

import cv2
import numpy as np

x = np.ones((3, 3), "float32")
memory = np.array([0, 2, 4, 8], "float32")
w = np.lib.stride_tricks.as_strided(memory[:1], (3, 1), (0, 0))  # three zeros
print(f"weight {w.tolist()}")
print(f"got {cv2.filter2D(x, -1, w)[1, 1]}  right {cv2.filter2D(x, -1, w.copy())[1, 1]}")
