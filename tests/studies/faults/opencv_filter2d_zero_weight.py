"""OpenCV's filter2D skips weights of 0, so that NaN and infinities under them do not show."""

import cv2
import numpy as np

x, w = np.array([[np.inf, 1.0]], "float32"), np.array([[0.0, 1.0]], "float32")
print(
    f"got {cv2.filter2D(x, -1, w, anchor=(0, 0))[0, 0]}  right {0.0 * np.inf + 1.0} (inf * 0 + 1)"
)
