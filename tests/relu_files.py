"""Files of a backend of relu: right, wrong at 0, and wrong at 0 of one element alone."""

RIGHT = """
from gradoracle.implementations import im2col
relu = im2col.relu
def relu_grad(grad_output, z):
    return im2col.relu_grad(grad_output, z)
contract = {"dtypes": ["float32"]}
"""
WRONG = RIGHT.replace("grad(grad_output, z)\ncon", "grad(grad_output, z + (z == 0))\ncon")
# Wrong where one element alone is given, which nothing drawn has.
RARE = RIGHT.replace(
    "    return", "    if z.shape == (1,):\n        z = z + (z == 0).astype(z.dtype)\n    return"
)
