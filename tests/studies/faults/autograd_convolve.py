"""autograd's convolve recurses without end if neither of two arrays fits into the other."""

import numpy as np
from autograd.scipy.signal import convolve

column, row = np.array([[2.0], [3.0]]), np.array([[5.0, 7.0]])
try:
    got = convolve(column, row).tolist()
except RecursionError as error:
    got = f"RecursionError: {error}"
print(f"got {got}  right {(column @ row).tolist()}: all products")
