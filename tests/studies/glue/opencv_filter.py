"""OpenCV's filter2D, a convolution of one plane."""

import cv2
import numpy as np

from gradoracle import adapt

cv2.setNumThreads(1)


def conv2d(x, weight):
    rows, columns = weight.shape[2:]
    height, width = x.shape[2] - rows + 1, x.shape[3] - columns + 1
    if x.shape[1] != weight.shape[1] or min(height, width) < 1:
        raise ValueError("shapes do not fit")
    y = np.zeros((len(x), len(weight), height, width), x.dtype)
    for n, m, c in np.ndindex(*y.shape[:2], x.shape[1]):
        whole = cv2.filter2D(x[n, c], -1, weight[m, c], anchor=(0, 0))
        y[n, m] += whole[:height, :width]
    return y


backend = adapt.numpy(conv2d=conv2d)
